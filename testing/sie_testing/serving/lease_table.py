"""The table of leases in a simulated world: one for all gateways, each with its own way to it.

*shell.* Keeps what the broker's bucket keeps. A write goes through only on the version that it was
judged against, and a lease ends by itself. It is judged here that no pool gives more than it has. A
way is as good as its gateway's link: what is written may be there although nobody said so.
"""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sie_gateway.leases.lease_desk import Leases
from sie_runtime.broker.bus import BusUnavailable
from sie_runtime.streams.lease_store import HeldLease, LeaseMoved, LeaseTable
from sie_schemas.api.leases import Lease, LeaseSpec
from sie_testing.stage.broken import Broken
from sie_testing.stage.broker import Broker, Connection

__all__ = ["LeaseBoard", "WayToLeases"]

_SILENT_S: Final = 2.0
"""Until a gateway gives up what the broker does not answer."""


@dataclass(slots=True)
class LeaseBoard:
    """The table. `most` is how many workers all leases of a pool may have. Where nobody leases in
    a run, to look at it takes no time: such runs are what they were before there were leases."""

    clock: Callable[[], float]
    most: int
    on_grant: Callable[[], None]
    in_use: bool = False
    held: dict[str, tuple[HeldLease, float]] = field(default_factory=dict)
    """By name, until its time is over."""
    version: int = 0
    _specs: dict[str, LeaseSpec] = field(default_factory=dict)
    _began: dict[str, float] = field(default_factory=dict)
    _ended: dict[str, float] = field(default_factory=dict)
    """The moment at which the last lease of each name began, and that at which one ended."""

    def table(self) -> LeaseTable:
        """Every lease that is alive."""
        now = self.clock()
        for name, (_, until) in list(self.held.items()):
            if until <= now:
                self._end(name, until)
        return LeaseTable({name: each for name, (each, _) in self.held.items()}, self.version)

    def spec_of(self, name: str) -> LeaseSpec | None:
        """The share that a name stood for when it was last written; None where it never was."""
        return self._specs.get(name)

    def was_absent(self, name: str, since: float) -> bool:
        """True if there was no lease of a name at some moment from then on."""
        held = self.table().held
        return name not in held or max(self._began[name], self._ended.get(name, 0.0)) >= since

    def had_another(self, name: str, since: float) -> bool:
        """True if there was a lease of another name at some moment from then on."""
        alive = self.table().held.keys() | {n for n, at in self._ended.items() if at >= since}
        return bool(alive - {name})

    def put(self, lease: Lease, *, version: int) -> None:
        """A lease that was judged against a version. Raises `LeaseMoved`."""
        if version != self.version:
            raise LeaseMoved
        others = [each.lease for each in self.table().held.values()]
        pool = lease.spec.queue_pool
        taken = sum(
            sum(each.spec.share.values())
            for each in (*others, lease)
            if each.spec.queue_pool == pool and (each is lease or each.spec.name != lease.spec.name)
        )
        if taken > self.most:
            raise Broken(
                f"lease {lease.spec.name} makes {taken} workers of pool {pool}, which has at most "
                f"{self.most}"
            )
        self.on_grant()
        self._write(lease)

    def renew(self, lease: Lease, *, revision: int) -> None:
        """A lease as it was read. Raises `LeaseMoved`."""
        held = self.table().held.get(lease.spec.name)
        if (held.revision if held is not None else 0) != revision:
            raise LeaseMoved
        self._write(lease)

    def drop(self, name: str) -> None:
        """A lease ends."""
        self.version += 1
        if name in self.held:
            self._end(name, self.clock())

    def forget(self) -> list[str]:
        """The broker has lost every lease; their names."""
        names = list(self.table().held)
        for name in names:
            self._end(name, self.clock())
        return names

    def _end(self, name: str, at: float) -> None:
        del self.held[name]
        self._ended[name] = at

    def _write(self, lease: Lease) -> None:
        self.version += 1
        if lease.spec.name not in self.held:
            self._began[lease.spec.name] = self.clock()
        self._specs[lease.spec.name] = lease.spec
        until = self.clock() + max(1, math.ceil(lease.ttl_s))
        self.held[lease.spec.name] = HeldLease(lease, self.version), until


class WayToLeases(Leases):
    """One gateway's way to the table. `breaks` is told what must never be."""

    def __init__(
        self,
        board: LeaseBoard,
        broker: Broker,
        client: Connection,
        breaks: Callable[[Broken], None],
    ) -> None:
        self._board = board
        self._broker = broker
        self._client = client
        self._breaks = breaks

    async def read(self) -> LeaseTable:
        """The table as it is when the question arrives."""
        await self._goes()
        table = self._board.table()
        await self._goes()
        return table

    async def put(self, lease: Lease, /, *, version: int) -> None:
        """Write what was judged. Raises `LeaseMoved`, `BusUnavailable`."""
        await self._goes()
        try:
            self._board.put(lease, version=version)
        except Broken as error:
            self._breaks(error)
        finally:
            await self._goes()

    async def renew(self, lease: Lease, /, *, revision: int) -> None:
        """Write it anew. Raises as `put` does."""
        await self._goes()
        try:
            self._board.renew(lease, revision=revision)
        finally:
            await self._goes()

    async def drop(self, name: str, /) -> None:
        """End a lease. Raises `BusUnavailable`."""
        await self._goes()
        self._board.drop(name)
        await self._goes()

    async def _goes(self) -> None:
        """One way through the network. Raises `BusUnavailable` where the link is broken."""
        if not self._board.in_use:
            return
        client = self._client
        session = client.session
        if client.linked:
            await asyncio.sleep(self._broker.network.delay_s())
        if not client.linked or client.session != session:
            await asyncio.sleep(_SILENT_S)
            raise BusUnavailable("the broker says nothing of the leases")
