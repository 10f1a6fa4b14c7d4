"""The payload store: jobs that are larger than a message, in the broker's object store.

*shell.* Reads and writes the bucket `sie_jobs` (stream `OBJ_sie_jobs`). Each chunk of an object has
a subject below that of its pool: a worker can be let read its pool's objects and no other. The job
on the queue stands in for the object store's own record of an object. Promises:

- What `get` gives is what `put` was given, by its SHA-256.
- An object does not outlive its time, also when its owner crashed: every chunk has a time to live.

A dropped chunk is rolled up into an empty message that lives for a second, because no role may
purge a stream.
"""

import asyncio
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sie_runtime.broker.bus import Bus
from sie_runtime.settings import constant
from sie_runtime.streams.shared_stream import SharedStream, StreamRefusal
from sie_schemas.errors import Later
from sie_schemas.jobs import PayloadRef, token

__all__ = ["STREAM", "SUBJECTS", "PayloadGone", "PayloadSettings", "PayloadStore"]

STREAM: Final = "OBJ_sie_jobs"
SUBJECTS: Final = "$O.sie_jobs.C"


class PayloadGone(Exception):
    """The object is not there any more: its request has ended."""


@dataclass(frozen=True, kw_only=True)
class PayloadSettings:
    """The settings by which one process uses the store."""

    payload_chunk_bytes: int = constant(
        256 * 1024, help="bytes in one message of an object; below the broker's limit (1 MiB)"
    )
    payload_timeout_s: float = constant(
        5.0, help="seconds that the broker may take for one chunk of an object"
    )


class PayloadStore:
    """Objects by id. One for each process; the gateway puts and drops, workers get."""

    def __init__(self, bus: Bus, settings: PayloadSettings) -> None:
        self._settings: Final = settings
        timeout_s = self._settings.payload_timeout_s
        self._bucket = SharedStream(bus, STREAM, holds="large jobs", timeout_s=timeout_s)

    async def put(self, object_id: str, data: bytes, *, pool: str, ttl_s: float) -> PayloadRef:
        """Store an object for `ttl_s` seconds. Raises `BusUnavailable`, or `Later` QUEUE_FULL."""
        ref = PayloadRef(
            object_id=f"{token(pool)}.{token(object_id)}",
            size=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
        )
        size = self._settings.payload_chunk_bytes
        headers = {"Nats-TTL": _ttl(ttl_s)}
        for number, start in enumerate(range(0, len(data), size)):
            await self._publish(_chunk(ref, number), data[start : start + size], headers)
        return ref

    async def get(self, ref: PayloadRef) -> bytes:
        """The object. Raises `PayloadGone`, `BusUnavailable`."""
        parts: list[bytes] = []
        held = 0
        while held < ref.size:
            found = await self._bucket.last_of(_chunk(ref, len(parts)))
            if found is None or not found[1].data:
                raise PayloadGone(f"object {ref.object_id} is gone")
            parts.append(bytes(found[1].data))
            held += len(parts[-1])
        data = b"".join(parts)
        if hashlib.sha256(data).hexdigest() != ref.sha256:
            raise PayloadGone(f"object {ref.object_id} is not what was stored")
        return data

    async def drop(self, ref: PayloadRef) -> None:
        """Forget an object of this process. Raises `BusUnavailable`; its time then ends it."""
        gone = {"Nats-TTL": _ttl(1.0)}
        chunks = range(math.ceil(ref.size / self._settings.payload_chunk_bytes))
        await asyncio.gather(*[self._publish(_chunk(ref, each), b"", gone) for each in chunks])

    async def _publish(self, subject: str, data: bytes, headers: Mapping[str, str]) -> None:
        try:
            await self._bucket.publish(subject, data, headers)
        except StreamRefusal as error:
            message = f"the object store refuses the request: {error}"
            raise Later(message, code="QUEUE_FULL") from error


def _chunk(ref: PayloadRef, number: int) -> str:
    return f"{SUBJECTS}.{ref.object_id}.{number}"


def _ttl(seconds: float) -> str:
    return f"{max(1, math.ceil(seconds))}s"
