"""One request's way through the gateway: admit, route, queue, wait, assemble.

*shell.* Owns what is in flight. Promises that a request ends in an answer of one revision, in
`Cold` with nothing queued, or in a `SIEError` that says what to do; and that its place is given
back however it ends. Knows nothing of HTTP.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from sie_core.models import Catalog
from sie_gateway import metrics
from sie_gateway.admission import Caps, InFlight
from sie_gateway.dispatch import Dispatcher
from sie_gateway.jobs import JobCaps, check_outputs, jobs_for
from sie_gateway.requests import Asked
from sie_gateway.responses import Answer, assemble, of_one_revision
from sie_gateway.routing import Cold, Lane, Route, Wanted, find_route
from sie_gateway.watch import FleetWatch
from sie_schemas.errors import Later
from sie_schemas.fleet import WantedModel

__all__ = ["Inference", "new_request_id"]

_NO_CAP: Final = nullcontext()


def new_request_id() -> str:
    """An id that no other request has: the queue tells jobs apart by it."""
    return os.urandom(16).hex()


class _Run(Struct, frozen=True):
    """What both runs of a request share. `ends_at` is on the clock of the loop."""

    asked: Asked
    wanted: Wanted
    request_id: str
    tenant: str
    ends_at: float


class Inference:
    """Answers requests. One for each gateway process."""

    def __init__(
        self,
        *,
        dispatcher: Dispatcher,
        watch: FleetWatch,
        catalog: Callable[[], Catalog],
        caps: Caps,
        job_caps: JobCaps,
        timeout_s: float,
        placed: Callable[[Wanted], Awaitable[Wanted]],
        found_cold: Callable[[Lane, WantedModel], Awaitable[None]],
        asked_for: Callable[[str], None],
        lease_items_per_worker: int,
        tenant_caps: Caps | None = None,
    ) -> None:
        """`placed` puts a request whose pool is a lease into the pool of the lease, `found_cold` is
        told of one that found no worker, `asked_for` the model of each."""
        self._dispatcher = dispatcher
        self._watch = watch
        self._catalog = catalog
        self._caps = caps
        self._job_caps = job_caps
        self._timeout_s = timeout_s
        self._placed = placed
        self._found_cold = found_cold
        self._asked_for = asked_for
        self._lease_items_per_worker = lease_items_per_worker
        self._tenant_caps = tenant_caps
        self._in_flight = InFlight()
        self._shares: dict[str, InFlight] = {}
        """What is in flight of each tenant and of each share of a lease that has anything."""
        # Read when it is asked for, and not set twice for each request.
        metrics.IN_FLIGHT_ITEMS.set_function(lambda: self._in_flight.items)

    async def answer(
        self, asked: Asked, wanted: Wanted, *, request_id: str, tenant: str = ""
    ) -> Answer | Cold:
        """Answer a request. Raises `SIEError` with a code of the table.

        A revision that changed under the request costs one more run of all of it, never a mixture.
        """
        ends_at = asyncio.get_running_loop().time() + self._timeout_s
        items, size = len(asked.items), asked.total_size
        # The tenant's own cap first: it is what the tenant can do something about.
        with self._within(f"tenant {tenant!r}", self._tenant_caps, items, size):
            self._in_flight = self._in_flight.plus(items=items, size=size, caps=self._caps)
            try:
                if wanted.pool is not None:
                    wanted = await self._placed(wanted)
                return await self._run(_Run(asked, wanted, request_id, tenant, ends_at))
            finally:
                self._in_flight = self._in_flight.minus(items=items, size=size)

    async def _run(self, run: _Run) -> Answer | Cold:
        for _ in range(2):
            outcome = await self._run_once(run)
            if outcome is not None:
                return outcome
            metrics.RERUNS.inc()
            # The queue must not take the second run's jobs for repetitions of the first's.
            run = replace(run, request_id=f"{run.request_id}-again")
        raise Later(
            f"the configuration of {run.wanted.spec!r} changed twice while the request ran",
            code="REVISION_CHANGED",
        )

    async def _run_once(self, run: _Run) -> Answer | Cold | None:
        """None where the jobs did not all run at the revisions of the route."""
        route = find_route(self._catalog(), self._watch.fleet, run.wanted, now=self._watch.now())
        place = route.route if isinstance(route, Cold) else route
        lane = place.lane
        metrics.child(metrics.LANE_REQUESTS, *lane).inc()
        self._asked_for(place.model.model_id)
        if isinstance(route, Cold):
            self._watch.check_hearing()
            metrics.child(metrics.COLD_REQUESTS, *lane).inc()
            await self._found_cold(lane, _wanted_model(place))
            return route
        in_flight = metrics.child(metrics.LANE_IN_FLIGHT_ITEMS, *lane)
        with self._within_lease(route, run):
            in_flight.inc(len(run.asked.items))
            try:
                return await self._run_on(route, run)
            finally:
                in_flight.dec(len(run.asked.items))

    async def _run_on(self, route: Route, run: _Run) -> Answer | None:
        check_outputs(run.asked, route)
        left_s = max(0.0, run.ends_at - asyncio.get_running_loop().time())
        published_at = time.time()
        jobs = jobs_for(
            run.asked,
            route,
            run_id=run.request_id,
            reply_to=self._dispatcher.inbox,
            published_at=published_at,
            deadline=published_at + left_s,
            caps=self._job_caps,
            tenant=run.tenant,
        )
        results = await self._dispatcher.run(route, jobs, timeout_s=left_s)
        if not of_one_revision(route, results):
            return None
        return assemble(run.asked, route, jobs, results)

    def _within_lease(self, route: Route, run: _Run) -> AbstractContextManager[None]:
        """The lease's share of this kind of worker, as items that may wait for them."""
        lease = run.wanted.lease
        workers = lease.gpu_caps.get(route.machine_profile) if lease is not None else None
        if lease is None or workers is None:
            return _NO_CAP
        caps = Caps(workers * self._lease_items_per_worker, self._caps.bytes_max)
        whose = f"lease {lease.name!r} on {route.machine_profile}"
        return self._within(whose, caps, len(run.asked.items), run.asked.total_size)

    def _within(
        self, whose: str, caps: Caps | None, items: int, size: int
    ) -> AbstractContextManager[None]:
        """Take a request on within somebody's caps, and give back what it took."""
        return _NO_CAP if caps is None else self._shared(whose, caps, items, size)

    @contextmanager
    def _shared(self, whose: str, caps: Caps, items: int, size: int) -> Iterator[None]:
        held = self._shares.get(whose, InFlight())
        self._shares[whose] = held.plus(items=items, size=size, caps=caps, whose=whose)
        try:
            yield
        finally:
            left = self._shares[whose].minus(items=items, size=size)
            if left.items:
                self._shares[whose] = left
            else:
                # The name of a tenant may come from a header: what is idle is not remembered.
                del self._shares[whose]


def _wanted_model(route: Route) -> WantedModel:
    adapter = route.adapter.name if route.adapter is not None else ""
    return WantedModel(model_id=route.model.model_id, profile=route.model.profile, adapter=adapter)
