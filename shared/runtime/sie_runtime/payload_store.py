"""The payload store: jobs that are larger than a message, in the broker's object store.

*shell.* Owns the bucket `sie_jobs` (stream `OBJ_sie_jobs`, one subject for the chunks of an object;
the job on the queue stands in for the object store's own record of it). Promises that what `get`
gives is what `put` was given, by its SHA-256, and that an object does not outlive its time, also
when its owner crashed: every chunk carries a time to live. A dropped object is rolled up into one
empty message that lives for a second, because no role may purge a stream.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from nats.js.api import DiscardPolicy, StorageType, StreamConfig

from sie_runtime.bus import Bus
from sie_runtime.settings import setting
from sie_runtime.shared_stream import SharedStream, StreamRefusal
from sie_schemas.errors import Later
from sie_schemas.jobs import PayloadRef

__all__ = ["PayloadGone", "PayloadSettings", "PayloadStore"]

_STREAM: Final = "OBJ_sie_jobs"
_SUBJECTS: Final = "$O.sie_jobs"


class PayloadGone(Exception):
    """The object is not there any more: its request has ended."""


@dataclass(frozen=True, kw_only=True)
class PayloadSettings:
    """Bounds of the store. Gateways of one cluster use the same."""

    payload_store_bytes_max: int = setting(
        1024 * 1024 * 1024, help="bytes of all objects together before new ones are refused"
    )
    payload_chunk_bytes: int = setting(
        256 * 1024, help="bytes in one message of an object; below the broker's limit (1 MiB)"
    )
    payload_timeout_s: float = setting(
        5.0, help="seconds that the broker may take for one chunk of an object"
    )
    payload_age_max_s: float = setting(
        1800.0, help="seconds after which an object is gone, whatever its chunks say"
    )


class PayloadStore:
    """Objects by id. One for each process; the gateway puts and drops, workers get."""

    def __init__(self, bus: Bus, settings: PayloadSettings | None = None) -> None:
        self._settings: Final = settings or PayloadSettings()
        self._bucket = SharedStream(
            bus,
            _config(self._settings, bus),
            holds="large jobs",
            timeout_s=self._settings.payload_timeout_s,
        )

    async def put(self, object_id: str, data: bytes, *, ttl_s: float) -> PayloadRef:
        """Store an object for `ttl_s` seconds. Raises `BusUnavailable`, or `Later` QUEUE_FULL."""
        await self._bucket.ensure()
        size = self._settings.payload_chunk_bytes
        headers = {"Nats-TTL": _ttl(ttl_s)}
        for start in range(0, len(data), size):
            await self._publish(object_id, data[start : start + size], headers)
        return PayloadRef(
            object_id=object_id, size=len(data), sha256=hashlib.sha256(data).hexdigest()
        )

    async def get(self, ref: PayloadRef) -> bytes:
        """The object. Raises `PayloadGone`, `BusUnavailable`."""
        parts: list[bytes] = []
        held, sequence = 0, 0
        while held < ref.size:
            part, sequence = await self._chunk(ref.object_id, sequence + 1)
            parts.append(part)
            held += len(part)
        data = b"".join(parts)
        if hashlib.sha256(data).hexdigest() != ref.sha256:
            raise PayloadGone(f"object {ref.object_id} is not what was stored")
        return data

    async def drop(self, object_id: str) -> None:
        """Forget an object. Raises `BusUnavailable`; its time to live then ends it."""
        await self._publish(object_id, b"", {"Nats-Rollup": "sub", "Nats-TTL": _ttl(1.0)})

    async def _publish(self, object_id: str, data: bytes, headers: Mapping[str, str]) -> None:
        try:
            await self._bucket.publish(f"{_SUBJECTS}.C.{object_id}", data, headers)
        except StreamRefusal as error:
            message = f"the object store refuses the request: {error}"
            raise Later(message, code="QUEUE_FULL") from error

    async def _chunk(self, object_id: str, sequence: int) -> tuple[bytes, int]:
        """The first chunk of an object at or after a sequence, and where it was."""
        wanted = {"seq": sequence, "next_by_subj": f"{_SUBJECTS}.C.{object_id}"}
        found = await self._bucket.get(wanted)
        if found is None or not found[1].data:
            raise PayloadGone(f"object {object_id} is gone")
        return bytes(found[1].data), found[0]


def _ttl(seconds: float) -> str:
    return f"{max(1, math.ceil(seconds))}s"


def _config(settings: PayloadSettings, bus: Bus) -> StreamConfig:
    return StreamConfig(
        name=_STREAM,
        subjects=[f"{_SUBJECTS}.C.>", f"{_SUBJECTS}.M.>"],
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        max_age=settings.payload_age_max_s,
        max_bytes=settings.payload_store_bytes_max,
        allow_rollup_hdrs=True,
        allow_direct=True,
        allow_msg_ttl=True,
        num_replicas=bus.stream_replicas,
    )
