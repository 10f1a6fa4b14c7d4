"""One request's way through the gateway: admit, route, queue, wait, assemble.

*shell.* Owns what is in flight. Promises that a request ends in an answer of one revision, in
`Cold` with nothing queued, or in a `SIEError` that says what to do. Its place is given back however
it ends. Knows nothing of HTTP.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import count
from typing import Final

from msgspec import Struct

from sie_core.chain import Position
from sie_core.resolver import Resolver
from sie_gateway import metrics
from sie_gateway.fleet.kind_loads import KindLoads
from sie_gateway.fleet.routing import Cold, Route, Routes, Wanted
from sie_gateway.fleet.watch import FleetWatch
from sie_gateway.request.admission import Caps, InFlight, Shares
from sie_gateway.request.dispatch import Dispatcher
from sie_gateway.request.jobs import JobCaps, check_asked, jobs_for
from sie_gateway.request.requests import Asked
from sie_gateway.request.responses import Answer, assemble, of_one_revision
from sie_gateway.request.runs import Run
from sie_gateway.request.waiting import Takerless, UntilGone, Waiting
from sie_runtime.broker.overdue import Overdue
from sie_schemas.errors import FixRequest, Later
from sie_schemas.fleet import WantedModel, WorkerKind

__all__ = ["Inference", "InferenceLimits", "new_request_id"]

_IDS: Final = random.Random()
"""Seeded by the system, in place of a call into it for each id; its own, so that nobody seeds it
anew."""
_NO_CAP: Final = nullcontext()
_LOOK_S: Final = 1.0
"""A request that is held looks so often whether a config changed; a worker that comes wakes it."""
_BEHIND_S: Final = 1.0
"""A gateway is rarely so long behind a worker: an entry takes milliseconds to each of them."""
_GLANCE_S: Final = 0.02
_PATIENCE_S: Final = 0.25
"""Most requests are over by then. To watch the client and the deadline of each would cost more than
to answer the few whose client has left."""


def new_request_id() -> str:
    """An id that no other request has: the queue tells jobs apart by it."""
    return f"{_IDS.getrandbits(128):032x}"


class _Request(Struct, frozen=True):
    """A request that was taken on. The first of its runs has its id."""

    asked: Asked
    wanted: Wanted
    id: str
    tenant: str
    waiting: Waiting
    patient_until: float
    """On the clock of the fleet: so long it is held where it finds no worker."""


class InferenceLimits(Struct, frozen=True, kw_only=True):
    """The bounds of what one gateway takes on."""

    caps: Caps
    """Of all that is in flight."""
    job_caps: JobCaps
    timeout_s: float
    """The longest wait for an answer."""
    lease_items_per_worker: int
    """Items of a lease that may wait for one worker of its share."""
    tenant_caps: Caps | None = None
    """Of one tenant; None for no bound of its own."""


class Inference:
    """Answers requests. One for each gateway process."""

    def __init__(
        self,
        *,
        dispatcher: Dispatcher,
        watch: FleetWatch,
        resolver: Callable[[], Resolver],
        limits: InferenceLimits,
        placed: Callable[[Wanted], Awaitable[Wanted]],
        found_cold: Callable[[WorkerKind, WantedModel], Awaitable[None]],
        asked_for: Callable[[str, str | None], None],
        wall: Callable[[], float],
        loads: KindLoads,
    ) -> None:
        """`placed` puts a request whose pool is a lease into the pool of the lease. `found_cold` is
        told of one that found no worker, `asked_for` the model and adapter of each. `wall` gives
        Unix seconds."""
        self._wall = wall
        self._dispatcher = dispatcher
        self._watch = watch
        self._resolver = resolver
        self._limits = limits
        self._placed = placed
        self._found_cold = found_cold
        self._asked_for = asked_for
        self._routes = Routes()
        self._loads = loads
        patience_s = min(_PATIENCE_S, limits.timeout_s)
        self._young: Overdue[Waiting, None] = Overdue(patience_s, self._grown_old)
        self._old: Overdue[Waiting, None] = Overdue(limits.timeout_s - patience_s, _expire)
        self._in_flight = InFlight()
        self._shares = Shares()
        metrics.IN_FLIGHT_ITEMS.set_function(lambda: self._in_flight.items)

    def model_named(self, spec: str) -> str:
        """The registry's name of the model that a request named; empty where it has none."""
        try:
            return self._resolver().resolve(spec).name if spec else ""
        except FixRequest:
            return ""

    async def answer(
        self,
        asked: Asked,
        wanted: Wanted,
        *,
        request_id: str,
        tenant: str = "",
        until_gone: UntilGone | None = None,
        patience_s: float = 0.0,
        trace: str = "",
    ) -> Answer | Cold:
        """Answer a request. Raises `SIEError` with a code of the table, and `ClientGone` when
        `until_gone` was over first. A request that finds no worker is held until `patience_s` after
        it came, or as long as any request may take.

        A revision that changed under the request costs one more run of all of it, never a mixture.
        """
        items, size = len(asked.items), asked.total_size
        # The tenant's own cap first: it is what the tenant can do something about.
        with self._within_tenant(tenant, asked):
            self._in_flight = self._in_flight.plus(items=items, size=size, caps=self._limits.caps)
            waiting = Waiting(self._limits.timeout_s, until_gone, trace)
            patient_until = self._watch.now() + patience_s
            self._young.add(waiting, None)
            try:
                if wanted.pool is not None:
                    wanted = await self._placed(wanted)
                request = _Request(asked, wanted, request_id, tenant, waiting, patient_until)
                return await self._outcome(request)
            finally:
                self._young.pop(waiting)
                self._old.pop(waiting)
                waiting.close()
                self._in_flight = self._in_flight.minus(items=items, size=size)

    async def _outcome(self, request: _Request) -> Answer | Cold:
        at = self._resolver().position
        try:
            outcome = await self._patient(request, request.id)
        except Takerless:
            return await self._again(request)
        if outcome is None:
            await self._catch_up(at, request.waiting)
            return await self._again(request, has_changed=True)
        return outcome

    async def _patient(self, request: _Request, run_id: str) -> Answer | Cold | None:
        """As `_run`, once a worker is there; `Cold` where none came while it was patient."""
        outcome = await self._run(request, run_id)
        while isinstance(outcome, Cold) and self._watch.now() < request.patient_until:
            load = self._loads.of(outcome.route.kind)
            # It waits for an answer of this kind of worker: the autoscaler sees how many do.
            load.in_flight_items += len(request.asked.items)
            try:
                left_s = min(_LOOK_S, request.patient_until - self._watch.now())
                await request.waiting.pause(self._watch.more_ready(), timeout_s=left_s)
            except TimeoutError:
                return outcome
            finally:
                load.in_flight_items -= len(request.asked.items)
            # A config may have changed too, so it is routed anew and not only where it was.
            found = self._routes.find(
                self._resolver(), self._watch.fleet, request.wanted, now=self._watch.now()
            )
            if isinstance(found, Cold) and _needs(found) == _needs(outcome):
                outcome = found
            else:
                # Where a config moved it, others are to be started, and to load another model.
                outcome = await self._run(request, run_id)
        return outcome

    async def _again(self, request: _Request, *, has_changed: bool = False) -> Answer | Cold:
        """Run it once more because a config changed under it, until its time is over.

        `has_changed`: a revision did. Once is enough of that; where it lay may change again.
        """
        changes = int(has_changed)
        for again in count(1):
            (metrics.RERUNS if has_changed else metrics.REROUTES).inc()
            # The queue must not take these jobs for repetitions of an earlier run's.
            run_id = f"{request.id}-again{again}"
            has_changed = False
            try:
                outcome = await self._patient(request, run_id)
            except Takerless:
                continue
            if outcome is not None:
                return outcome
            has_changed = True
            changes += 1
            if changes > 1:
                break
        raise Later(
            f"the configuration of {request.wanted.spec!r} changed twice while the request ran",
            code="REVISION_CHANGED",
        )

    async def _catch_up(self, at: Position | None, waiting: Waiting) -> None:
        """Wait for a registry past the one that a run was of, for a bounded time.

        A worker that has just started knows only the revisions of now. While this gateway is behind
        it, another run at the old ones would end as the first one did.
        """
        until = self._watch.now() + _BEHIND_S
        while self._resolver().position == at and self._watch.now() < until:
            await waiting.pause(asyncio.sleep(_GLANCE_S), timeout_s=_BEHIND_S)

    def _grown_old(self, waiting: Waiting, _: None) -> None:
        self._old.add(waiting, None)
        waiting.attend()

    async def _run(self, request: _Request, run_id: str) -> Answer | Cold | None:
        """None where the jobs did not all run at the revisions of the route."""
        asked, wanted, waiting = request.asked, request.wanted, request.waiting
        now = self._watch.now()
        found = self._routes.find(self._resolver(), self._watch.fleet, wanted, now=now)
        route = found.route if isinstance(found, Cold) else found
        load = self._loads.of(route.kind)
        check_asked(asked, route)
        load.requests.inc()
        self._asked_for(
            route.model.model_id, route.adapter.name if route.adapter is not None else None
        )
        if isinstance(found, Cold):
            # A gateway that has just started has heard no worker yet, nor has one without a broker:
            # silence is a cold pool only for those who listen. A 202 here counted a demand that was
            # none.
            self._watch.check_hearing()
            load.found_cold()
            await self._found_cold(route.kind, _wanted_model(route))
            return found
        inbox = await self._dispatcher.inbox_of(route.pool)
        published_at = self._wall()
        jobs = jobs_for(
            asked,
            route,
            run_id=run_id,
            reply_to=inbox,
            published_at=published_at,
            deadline=published_at + max(0.0, waiting.ends_at - now),
            caps=self._limits.job_caps,
            tenant=request.tenant,
            trace=waiting.trace,
        )
        with self._within_lease(route, wanted, asked):
            load.in_flight_items += len(asked.items)
            try:
                results = await self._dispatcher.run(Run(route, jobs, waiting, wanted))
            finally:
                load.in_flight_items -= len(asked.items)
        return assemble(asked, route, jobs, results) if of_one_revision(route, results) else None

    def _within_tenant(self, tenant: str, asked: Asked) -> AbstractContextManager[None]:
        """The tenant's own cap, where there is one."""
        if self._limits.tenant_caps is None:
            return _NO_CAP
        return self._shared(f"tenant {tenant!r}", self._limits.tenant_caps, asked)

    def _within_lease(
        self, route: Route, wanted: Wanted, asked: Asked
    ) -> AbstractContextManager[None]:
        """The lease's share of this kind of worker, as items that may wait for them."""
        lease = wanted.lease
        workers = lease.gpu_caps.get(route.machine_profile) if lease is not None else None
        if lease is None or workers is None:
            return _NO_CAP
        caps = Caps(workers * self._limits.lease_items_per_worker, self._limits.caps.bytes_max)
        return self._shared(f"lease {lease.name!r} on {route.machine_profile}", caps, asked)

    def _shared(self, whose: str, caps: Caps, asked: Asked) -> AbstractContextManager[None]:
        return self._shares.taken(whose, caps, items=len(asked.items), size=asked.total_size)


def _expire(waiting: Waiting, _: None) -> None:
    waiting.expire()


def _needs(cold: Cold) -> tuple[WorkerKind, WantedModel]:
    """The worker that it waits for."""
    return cold.route.kind, _wanted_model(cold.route)


def _wanted_model(route: Route) -> WantedModel:
    adapter = route.adapter.name if route.adapter is not None else ""
    return WantedModel(model_id=route.model.model_id, profile=route.model.profile, adapter=adapter)
