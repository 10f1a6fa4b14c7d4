"""The lease store: the leases of `/v1/pools` in a JetStream bucket, the same for every gateway.

*shell.* Reads and writes the bucket `sie_leases` (stream `KV_sie_leases`, one message for each
lease, which carries its own time to live). Promises that a write which rests on a table goes
through only if nobody wrote since that table was read. It names the stream's last sequence, and the
broker compares. So what was judged over all leases together still holds when one of them is
written. A lease that expires moves no sequence: it only makes room.
"""

import asyncio
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from sie_runtime.broker.bus import Bus, BusUnavailable
from sie_runtime.settings import constant
from sie_runtime.streams.shared_stream import SharedStream, StreamRefusal
from sie_runtime.streams.stored import StoredMessage, read_stored
from sie_schemas.api.leases import LEASE_DECODER, Lease
from sie_schemas.malformed import MALFORMED

__all__ = [
    "STREAM",
    "SUBJECTS",
    "HeldLease",
    "LeaseMoved",
    "LeaseStore",
    "LeaseStoreSettings",
    "LeaseTable",
]

_LOG: Final = logging.getLogger(__name__)
STREAM: Final = "KV_sie_leases"
SUBJECTS: Final = "$KV.sie_leases"
_MOVED: Final = frozenset({10071, 10164})
"""JetStream's codes for a last sequence that is not the expected one."""
_LEASES_AT_ONCE_MAX: Final = 1024
"""The most that the broker gives in one answer."""


class LeaseMoved(Exception):
    """Somebody else wrote in between: read again, and judge again."""


@dataclass(frozen=True, kw_only=True)
class LeaseStoreSettings:
    """Bounds of the store."""

    lease_timeout_s: float = constant(5.0, help="seconds that the broker may take for a lease")


@dataclass(frozen=True, slots=True)
class HeldLease:
    """A lease and the sequence of its message."""

    lease: Lease
    revision: int


@dataclass(frozen=True, slots=True)
class LeaseTable:
    """Every lease by name, as of the stream's sequence `version`."""

    held: Mapping[str, HeldLease]
    version: int


class LeaseStore:
    """The leases of one cluster. One for each gateway process."""

    def __init__(self, bus: Bus, settings: LeaseStoreSettings) -> None:
        self._bus = bus
        self._timeout_s: Final = settings.lease_timeout_s
        self._jetstream = bus.client.jetstream(timeout=self._timeout_s)
        self._bucket = SharedStream(bus, STREAM, holds="leases", timeout_s=self._timeout_s)

    async def read(self) -> LeaseTable:
        """Every lease that is alive. Raises `BusUnavailable`."""
        async with self._bucket.asking(), asyncio.timeout(self._timeout_s):
            messages, version = await self._last_of_each()
            while version is None:
                # No message; or one came in between, or a copy that lags answered.
                version = await self._empty_since()
                if version is None:
                    messages, version = await self._last_of_each()
        held: dict[str, HeldLease] = {}
        for message in messages:
            if "KV-Operation" in message.headers:
                continue
            try:
                lease = LEASE_DECODER.decode(message.data)
            except MALFORMED as error:
                _LOG.warning("%s is no lease: %s", message.subject, error)
                continue
            held[lease.spec.name] = HeldLease(lease, message.sequence)
        return LeaseTable(held, version)

    async def put(self, lease: Lease, *, version: int) -> None:
        """Write a lease that was judged against a table. Raises `LeaseMoved`, `BusUnavailable`."""
        await self._write(lease, {"Nats-Expected-Last-Sequence": str(version)})

    async def renew(self, lease: Lease, *, revision: int) -> None:
        """Write a lease anew if it is still there as it was read. Raises as `put` does."""
        await self._write(lease, {"Nats-Expected-Last-Subject-Sequence": str(revision)})

    async def drop(self, name: str) -> None:
        """End a lease. Raises `BusUnavailable`."""
        gone = {"KV-Operation": "PURGE", "Nats-TTL": "1s"}
        await self._publish(name, b"", gone)

    async def _write(self, lease: Lease, expected: Mapping[str, str]) -> None:
        ttl = {"Nats-TTL": f"{max(1, math.ceil(lease.ttl_s))}s"}
        await self._publish(lease.spec.name, msgspec.json.encode(lease), {**expected, **ttl})

    async def _publish(self, name: str, data: bytes, headers: Mapping[str, str]) -> None:
        try:
            await self._bucket.publish(f"{SUBJECTS}.{name}", data, headers)
        except StreamRefusal as error:
            if error.code in _MOVED:
                raise LeaseMoved from error
            raise BusUnavailable(f"the broker takes no lease: {error}") from error

    async def _last_of_each(self) -> tuple[list[StoredMessage], int | None]:
        """The last message of each lease, and the sequence that this is as of; None: no message.

        A copy of the stream that lags may answer; its sequence then tells how far it is.
        """
        wanted = {"multi_last": [f"{SUBJECTS}.>"], "batch": _LEASES_AT_ONCE_MAX}
        found = await read_stored(
            self._bus, STREAM, wanted, holds="leases", timeout_s=self._timeout_s
        )
        return found.messages, found.up_to

    async def _empty_since(self) -> int | None:
        """The last sequence of a stream without a message, by its leader; None: there is one."""
        state = (await self._jetstream.stream_info(STREAM)).state
        return None if state.messages else state.last_seq
