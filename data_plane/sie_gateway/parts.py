"""The gateway's parts beside its HTTP face, wired, and their order of start and end.

*main*: each part has its own rules; here is what they tell each other. The dispatcher
is closed last, because the answers in flight come to it.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sie_core.resolver import Resolver
from sie_gateway.fleet.demand import DemandBoard
from sie_gateway.fleet.holders import Asker, Holders
from sie_gateway.fleet.kind_loads import KindLoads
from sie_gateway.fleet.lives import Lives
from sie_gateway.fleet.watch import FleetWatch
from sie_gateway.leases.lease_desk import LeaseDesk, Leases
from sie_gateway.leases.leases import LeaseCaps
from sie_gateway.request.admission import Caps
from sie_gateway.request.deaths import Deaths
from sie_gateway.request.dispatch import Dispatcher, JobQueue, MessageCaps, ObjectStore
from sie_gateway.request.giving_back import Limits as GivingBackLimits
from sie_gateway.request.inference import Inference, InferenceLimits
from sie_gateway.request.jobs import JobCaps
from sie_gateway.request.lost_jobs import LostJobs
from sie_gateway.request.takers import Takers
from sie_gateway.settings import GatewaySettings
from sie_runtime.broker.protocols import ResultBus

__all__ = ["Parts", "make_inference", "opened_parts"]


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts beside the HTTP face: each owns its own state, and the bus is under all."""

    dispatcher: Dispatcher
    watch: FleetWatch
    demand: DemandBoard
    desk: LeaseDesk
    deaths: Deaths
    takers: Takers
    lost_jobs: LostJobs

    async def run(self, stop: asyncio.Event) -> None:
        """Run the parts that look at intervals, until `stop`."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.desk.run(stop), name="lease-desk")
            tasks.create_task(self.deaths.run(stop), name="deaths")
            tasks.create_task(self.takers.run(stop), name="takers")
            tasks.create_task(self.lost_jobs.run(stop), name="lost-jobs")


@asynccontextmanager
async def opened_parts(
    settings: GatewaySettings,
    bus: ResultBus,
    queue: JobQueue,
    *,
    asker: Asker,
    gateway_id: str,
    leases: Leases,
    resolver: Callable[[], Resolver],
    objects: ObjectStore | None = None,
    wall: Callable[[], float] = time.time,
    rng: random.Random | None = None,
) -> AsyncIterator[Parts]:
    """The parts, listening to the bus until the context ends. `rng` is seeded by a simulation."""
    caps = MessageCaps(
        settings.payload_bytes_max, settings.chunked_bytes_max, settings.queue_publish_timeout_s
    )
    dispatcher = Dispatcher(bus, queue, gateway_id=gateway_id, objects=objects, caps=caps, rng=rng)
    watch = FleetWatch(
        bus,
        ttl_s=settings.fleet_ttl_s,
        settle_s=settings.fleet_settle_s,
        lives=Lives(doubt_s=settings.worker_doubt_s, dead_s=settings.worker_dead_s),
    )
    holders = Holders(
        asker, answer_s=settings.worker_answer_s, queue_s=settings.queue_publish_timeout_s
    )
    demand = DemandBoard(bus, keep_s=settings.demand_keep_s)
    look_s = settings.taker_look_s
    parts = Parts(
        dispatcher,
        watch,
        demand,
        _desk_of(settings, leases, watch, demand, resolver=resolver, wall=wall, rng=rng),
        _deaths_of(settings, dispatcher, watch, holders),
        Takers(dispatcher, watch, holders, resolver=resolver, look_s=look_s),
        LostJobs(dispatcher, holders, living=watch.living, pause_s=look_s),
    )
    await dispatcher.open()
    await watch.open()
    await demand.open(parts.desk.pinned)
    try:
        yield parts
    finally:
        await demand.close()
        await watch.close()
        await dispatcher.close()


def _desk_of(
    settings: GatewaySettings,
    leases: Leases,
    watch: FleetWatch,
    demand: DemandBoard,
    *,
    resolver: Callable[[], Resolver],
    wall: Callable[[], float],
    rng: random.Random | None,
) -> LeaseDesk:
    return LeaseDesk(
        leases,
        resolver=resolver,
        workers=watch.live,
        caps=LeaseCaps(
            settings.leases_max, settings.lease_ttl_max_s, settings.lease_warm_workers_max
        ),
        ttl_s=settings.lease_ttl_s,
        look_s=settings.lease_look_s,
        tell=demand.tell,
        wall=wall,
        rng=rng,
    )


def _deaths_of(
    settings: GatewaySettings, dispatcher: Dispatcher, watch: FleetWatch, holders: Holders
) -> Deaths:
    return Deaths(
        watch.lives,
        holders,
        runs=dispatcher.runs,
        busy=dispatcher.busy,
        is_over=watch.forget,
        limits=GivingBackLimits(
            pause_s=settings.worker_dead_s,
            deliveries_max=settings.queue_deliveries_max,
            suspect_after=settings.suspect_after_deaths,
        ),
        look_s=settings.taker_look_s,
        clock=watch.now,
    )


def make_inference(
    settings: GatewaySettings,
    parts: Parts,
    resolver: Callable[[], Resolver],
    *,
    asked_for: Callable[[str, str | None], None],
    loads: KindLoads,
    wall: Callable[[], float] = time.time,
) -> Inference:
    """The part that answers requests, over those that live. `wall` gives Unix seconds."""
    return Inference(
        dispatcher=parts.dispatcher,
        watch=parts.watch,
        resolver=resolver,
        limits=InferenceLimits(
            caps=Caps(settings.in_flight_items_max, settings.in_flight_bytes_max),
            job_caps=JobCaps(settings.job_items_max, settings.job_bytes_max),
            timeout_s=settings.request_timeout_s,
            lease_items_per_worker=settings.lease_items_per_worker,
            tenant_caps=Caps(settings.tenant_items_max, settings.in_flight_bytes_max)
            if settings.tenant_items_max
            else None,
        ),
        placed=parts.desk.placed,
        found_cold=parts.demand.found_cold,
        asked_for=asked_for,
        loads=loads,
        wall=wall,
    )
