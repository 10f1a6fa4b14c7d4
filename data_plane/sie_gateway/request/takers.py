"""Takers: finds the requests whose jobs no worker will take any more, because a config changed.

*shell* over a pure rule (`has_taker`). A model was moved or deleted, a bundle lost a backend, a
pool or a machine profile went, while jobs lay in the queue. A run is turned away only where all of
this holds:

- The registry of now would not send it there.
- No living worker pulls for it there.
- Each worker that lives there says that it holds none of its jobs.

Its request then finds another place, or gets the answer that it would get now. Looks again while
somebody holds one: it may be given back.
"""

import asyncio
from collections.abc import Callable, Collection

from sie_core.chain import Position
from sie_core.resolver import Resolver
from sie_gateway.fleet.fleet import Fleet
from sie_gateway.fleet.holders import Holders
from sie_gateway.fleet.routing import Cold, Route, Routes
from sie_gateway.fleet.watch import FleetWatch
from sie_gateway.request.dispatch import Dispatcher
from sie_gateway.request.runs import Run
from sie_runtime.process.waiting import first_of
from sie_schemas.errors import SIEError
from sie_schemas.fleet import WorkerKind

__all__ = ["Takers", "has_taker"]


def has_taker(route: Route, resolver: Resolver, fleet: Fleet, *, now: float) -> bool:
    """True if a worker is alive where a route leads and pulls for its model, by a registry."""
    if not any(beat.kind == route.kind for beat in fleet.live(now=now)):
        return False
    return resolver.can_run(route.model.model_id, route.bundle)


class Takers:
    """Looks at the runs of a dispatcher every `look_s` seconds."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        watch: FleetWatch,
        holders: Holders,
        *,
        resolver: Callable[[], Resolver],
        look_s: float,
    ) -> None:
        self._dispatcher = dispatcher
        self._watch = watch
        self._holders = holders
        self._resolver = resolver
        self._look_s = look_s
        self._routes = Routes()
        self._all_are_of: Position | None = None
        """The registry that no run is older than."""

    async def run(self, stop: asyncio.Event) -> None:
        """Look until `stop`, while there is a run."""
        while not stop.is_set():
            await first_of(stop.wait(), self._dispatcher.busy.wait())
            if self._watch.can_judge():
                for kind, runs in self._lost().items():
                    await self._turn_away(kind, runs)
            await first_of(stop.wait(), timeout_s=self._look_s)

    def _lost(self) -> dict[WorkerKind, list[Run]]:
        """The runs that would go elsewhere now, and that nobody takes where they are."""
        resolver, fleet, now = self._resolver(), self._watch.fleet, self._watch.now()
        found: dict[WorkerKind, list[Run]] = {}
        taken: dict[str, bool] = {}
        for run in self._older(resolver):
            subject = run.route.subject
            if subject not in taken:
                taken[subject] = has_taker(run.route, resolver, fleet, now=now)
            if not taken[subject] and self._is_elsewhere(run, resolver):
                found.setdefault(run.route.kind, []).append(run)
        return found

    def _older(self, resolver: Resolver) -> list[Run]:
        """The runs on a route of an earlier registry: those that begin now are on one of this."""
        if self._all_are_of == resolver.position:
            return []
        found = [run for run in self._dispatcher.runs() if run.route.position != resolver.position]
        if not found:
            self._all_are_of = resolver.position
        return found

    def _is_elsewhere(self, run: Run, resolver: Resolver) -> bool:
        if run.wanted is None:
            return False
        try:
            found = self._routes.find(
                resolver, self._watch.fleet, run.wanted, now=self._watch.now()
            )
        except SIEError:
            # It would be refused now: that is its answer.
            return True
        route = found.route if isinstance(found, Cold) else found
        return route.subject != run.route.subject

    async def _turn_away(self, kind: WorkerKind, runs: Collection[Run]) -> None:
        job_ids = [job_id for run in runs for job_id in run.open_jobs()]
        held = await self._holders.held(self._watch.living(kind), job_ids)
        # Somebody who lives did not answer, and may hold one: a job is not taken from under a
        # worker.
        if held is None:
            return
        waiting = self._dispatcher.runs()
        for run in runs:
            # What is in hand has its answer soon; the rest goes with it, or comes back here. One
            # that ended meanwhile may have another after it, which is not to be turned away.
            if run in waiting and held.isdisjoint(run.open_jobs()):
                run.waiting.turn_away()
