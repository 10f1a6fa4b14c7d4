"""The lease desk: gives, renews and ends leases, and knows those that are alive.

*shell.* Owns this gateway's copy of the table of leases. It is read anew at an interval, and
whenever a request names a lease that is not in it. Promises that what is given was judged against
every lease that is alive, whichever gateway gave it. A write that rests on an older table is
refused by the store, and judged again. Keeps nothing that another gateway would need.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import msgspec

from sie_core.resolver import Resolver
from sie_gateway import metrics
from sie_gateway.fleet.routing import Wanted
from sie_gateway.leases.leases import (
    LeaseCaps,
    check_grant,
    check_name,
    lease_view,
    list_entry,
    pinned_models,
    pool_view,
    spec_of,
    under_lease,
    warm_workers,
)
from sie_runtime.streams.lease_store import LeaseMoved, LeaseTable
from sie_schemas.api.leases import Lease, LeaseRequest
from sie_schemas.api.pools import PoolDeleted, PoolList, PoolRenewed, PoolResponse
from sie_schemas.errors import FixRequest, Later
from sie_schemas.fleet import Heartbeat, WantedModel, WorkerKind

__all__ = ["LeaseDesk", "Leases"]

_LOG: Final = logging.getLogger(__name__)
_ATTEMPTS_MAX: Final = 20
"""Each loses to another gateway's write; twenty in a row mean that something else is wrong."""
_PAUSE_S: Final = 0.05
"""The longest pause before a write that somebody overtook is judged again."""
_NONE_TIMES: Final = 5
"""So many times longer until the next look while there is no lease."""


class Leases(Protocol):
    """The part of the lease store that a gateway needs: the broker's, or one in memory."""

    async def read(self) -> LeaseTable:
        """Every lease that is alive."""
        ...

    async def put(self, lease: Lease, /, *, version: int) -> None:
        """Write what was judged against the table of that version. Raises `LeaseMoved`."""
        ...

    async def renew(self, lease: Lease, /, *, revision: int) -> None:
        """Write a lease anew if it is there as it was read. Raises `LeaseMoved`."""
        ...

    async def drop(self, name: str, /) -> None:
        """End a lease."""
        ...


class LeaseDesk:
    """One for each gateway process. Every method raises `BusUnavailable` while the broker is
    away."""

    def __init__(
        self,
        store: Leases,
        *,
        resolver: Callable[[], Resolver],
        workers: Callable[[], list[Heartbeat]],
        caps: LeaseCaps,
        ttl_s: float,
        look_s: float,
        tell: Callable[[WorkerKind, Sequence[WantedModel]], Awaitable[None]],
        wall: Callable[[], float] = time.time,
        rng: random.Random | None = None,
    ) -> None:
        """`tell` says to the workers of a kind which models to load. `wall` gives Unix seconds,
        `rng` the pauses of those who were overtaken."""
        self._store = store
        self._resolver = resolver
        self._workers = workers
        self._caps = caps
        self._ttl_s = ttl_s
        self._look_s = look_s
        self._tell = tell
        self._wall = wall
        self._rng = rng or random.Random()
        self._table = LeaseTable({}, 0)
        self._looking: asyncio.Task[None] | None = None
        """The read that is under way."""
        self._next: asyncio.Task[None] | None = None
        """The read that begins when that one has ended."""

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the table fresh until `stop`."""
        while not stop.is_set():
            times = 1
            try:
                await self._look()
                times = 1 if self._table.held else _NONE_TIMES
            except Later as error:
                # That none is known does not say that there is none: it is asked again soon.
                _LOG.debug("the leases are as they were: %s", error.message)
            try:
                async with asyncio.timeout(self._look_s * times):
                    await stop.wait()
            except TimeoutError:
                continue

    async def placed(self, wanted: Wanted) -> Wanted:
        """The request as placed by the lease that it names; the same where it names none.

        A name that is neither a lease nor a pool is left to routing, which says so.
        """
        if wanted.pool is None or wanted.pool in self._resolver().pools:
            return wanted
        if wanted.pool not in self._table.held:
            await self._look()
        found = self._table.held.get(wanted.pool)
        return under_lease(wanted, found.lease.spec) if found is not None else wanted

    async def create(self, request: LeaseRequest) -> PoolResponse:
        """Give a lease, or change and renew the one of that name.

        Raises `FixRequest`, or `Later` POOL_CAPACITY_UNAVAILABLE, NOT_READY.
        """
        for attempt in range(_ATTEMPTS_MAX):
            table = await self._store.read()
            before = table.held.get(request.name)
            others = [each.lease for name, each in table.held.items() if name != request.name]
            check_grant(self._registry(), others, request, self._caps)
            now = self._wall()
            lease = Lease(
                spec=spec_of(request),
                ttl_s=request.ttl_seconds or self._ttl_s,
                created_at=before.lease.created_at if before is not None else now,
                renewed_at=now,
            )
            try:
                # Against the whole table, since whether it fits depends on all others. The broker
                # compares the version, so that a copy that lags misleads nobody.
                await self._store.put(lease, version=table.version)
            except LeaseMoved:
                await self._pause(attempt)
                continue
            # `placed` looks up only names that it does not know: a lease that changed would place
            # by its old share until the next look.
            await self._look()
            await self._tell_pinned(lease)
            return lease_view(lease, self._workers())
        raise _crowded(request.name)

    async def renew(self, name: str) -> PoolRenewed:
        """Let a lease last its time from now. Raises `FixRequest` POOL_NOT_FOUND."""
        check_name(self._registry(), name)
        for attempt in range(_ATTEMPTS_MAX):
            held = (await self._store.read()).held.get(name)
            if held is None:
                raise _absent(name)
            lease = msgspec.structs.replace(held.lease, renewed_at=self._wall())
            try:
                # Against its own row only: its share stays, so that other leases do not matter.
                await self._store.renew(lease, revision=held.revision)
            except LeaseMoved:
                await self._pause(attempt)
                continue
            await self._tell_pinned(lease)
            return {"message": "Pool renewed", "ttl_seconds": lease.ttl_s}
        raise _crowded(name)

    async def delete(self, name: str) -> PoolDeleted:
        """End a lease. Raises `FixRequest` POOL_NOT_FOUND."""
        check_name(self._registry(), name, deleting=True)
        if name not in (await self._store.read()).held:
            raise _absent(name)
        await self._store.drop(name)
        # Not at the next look: no request of this gateway runs under what it has just ended.
        left = {other: each for other, each in self._table.held.items() if other != name}
        self._table = LeaseTable(left, self._table.version)
        return {"message": "Pool deleted"}

    async def get(self, name: str) -> PoolResponse:
        """A lease, or a pool of the log. Raises `FixRequest` POOL_NOT_FOUND."""
        pool = self._registry().pools.get(name)
        if pool is not None:
            return pool_view(pool, self._workers())
        held = (await self._store.read()).held.get(name)
        if held is None:
            raise _absent(name)
        return lease_view(held.lease, self._workers())

    async def overview(self) -> PoolList:
        """Every pool of the log and every lease, by name."""
        pools = self._registry().pools
        there: dict[str, list[Heartbeat]] = {}
        for worker in self._workers():
            there.setdefault(worker.pool, []).append(worker)
        views = {name: pool_view(pool, there.get(name, ())) for name, pool in pools.items()}
        leases = [each.lease for each in (await self._store.read()).held.values()]
        # The log wins, as in `placed` and `get`: its pool may have come after a lease of that name.
        views = {
            lease.spec.name: lease_view(lease, there.get(lease.spec.queue_pool, ()))
            for lease in leases
        } | views
        return {"pools": [list_entry(views[name]) for name in sorted(views)]}

    def pinned(self, kind: WorkerKind) -> list[WantedModel]:
        """The models that the leases that are known here keep loaded on workers of a kind."""
        resolver = self._resolver()
        return [
            wanted
            for each in self._table.held.values()
            for wanted in pinned_models(resolver, each.lease.spec).get(kind, ())
        ]

    def _registry(self) -> Resolver:
        """The registry that a lease is judged by. Raises `Later` NOT_READY before there is one:
        that no pool is known yet does not say that there is none."""
        resolver = self._resolver()
        if resolver.position is None:
            raise Later("this gateway has no verified registry yet", code="NOT_READY")
        return resolver

    async def _tell_pinned(self, lease: Lease) -> None:
        for kind, models in pinned_models(self._resolver(), lease.spec).items():
            await self._tell(kind, models)

    async def _look(self) -> None:
        """Read the table as it is from now on. A read that is under way may be older than a lease
        that was just given. Whoever asks before the next one begins shares its answer."""
        if self._next is None:
            self._next = asyncio.create_task(self._read(self._looking))
            self._next.add_done_callback(_noted)
        # A request that is given up must not take the answer from the others.
        await asyncio.shield(self._next)

    async def _read(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            # Not awaited itself: its error belongs to those who asked for it.
            await asyncio.wait([before])
        # Before the read: who asks from here on may have written since, and needs the next one.
        self._looking, self._next = self._next, None
        try:
            self._table = await self._store.read()
        finally:
            self._looking = None
        leases: dict[str, list[Lease]] = {}
        for each in self._table.held.values():
            leases.setdefault(each.lease.spec.queue_pool, []).append(each.lease)
        # A pool that left the log must not keep workers for ever.
        metrics.POOL_WARM_WORKERS.clear()
        for name, pool in self._resolver().pools.items():
            metrics.POOL_WARM_WORKERS.labels(name).set(warm_workers(pool, leases.get(name, ())))

    async def _pause(self, attempt: int) -> None:
        """Those who were overtaken together do not come back together."""
        await asyncio.sleep(self._rng.random() * min(_PAUSE_S, 0.002 * 2**attempt))


def _noted(read: asyncio.Task[None]) -> None:
    """Its error belongs to those who wait for it; they may all have left."""
    if not read.cancelled():
        read.exception()


def _absent(name: str) -> FixRequest:
    return FixRequest(
        f"there is no lease {name!r}; one that is not renewed ends", code="POOL_NOT_FOUND"
    )


def _crowded(name: str) -> Later:
    return Later(
        f"the lease {name!r} was not written: too many were changed at the same time",
        code="POOL_CAPACITY_UNAVAILABLE",
        retry_after_s=0.5,
    )
