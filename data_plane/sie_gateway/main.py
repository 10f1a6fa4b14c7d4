"""`sie-gateway`: wires the edge and runs it until it is told to stop.

*main.* On SIGTERM it takes no new connection, finishes what is in flight, and says that it leaves.
It closes the bus last, because the answers in flight come over it.
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from sie_core.resolver import Resolver
from sie_gateway.faces import FaceModels
from sie_gateway.faces.vocabulary import Vocabulary
from sie_gateway.fleet.demand import DemandBoard
from sie_gateway.fleet.holders import Asker, Holders
from sie_gateway.fleet.kind_loads import KindLoads
from sie_gateway.fleet.lives import Lives
from sie_gateway.fleet.traffic import Traffic
from sie_gateway.fleet.watch import FleetWatch
from sie_gateway.http.admin import Cluster, admin_app
from sie_gateway.http.app import GatewayApp
from sie_gateway.http.live_status import LiveStatus
from sie_gateway.http.request_log import RequestLog
from sie_gateway.http.rules import refusal_body, role_of
from sie_gateway.http.slips import Slips
from sie_gateway.http.widths import Widths
from sie_gateway.leases.lease_desk import LeaseDesk, Leases
from sie_gateway.leases.leases import LeaseCaps
from sie_gateway.request.admission import Caps
from sie_gateway.request.deaths import Deaths
from sie_gateway.request.dispatch import Dispatcher, JobQueue, MessageCaps, ObjectStore
from sie_gateway.request.giving_back import Limits as GivingBackLimits
from sie_gateway.request.inference import Inference, InferenceLimits
from sie_gateway.request.jobs import JobCaps
from sie_gateway.request.lost_jobs import LostJobs
from sie_gateway.request.requests import Limits
from sie_gateway.request.takers import Takers
from sie_gateway.settings import PREFIX, GatewaySettings
from sie_runtime.access.access import Access
from sie_runtime.access.gate import Gate
from sie_runtime.access.rates import Rates
from sie_runtime.access.web_pages import origin_of
from sie_runtime.broker.bus import Bus
from sie_runtime.broker.protocols import ResultBus
from sie_runtime.follower.follower import Follower, ProcessReport
from sie_runtime.http.connections import within_descriptors
from sie_runtime.process import lifecycle
from sie_runtime.process.named_requests import NamedRequests
from sie_runtime.reach import Reach
from sie_runtime.settings import load
from sie_runtime.streams.lease_store import LeaseStore
from sie_runtime.streams.payload_store import PayloadStore
from sie_runtime.streams.work_queue import WorkQueue
from sie_runtime.tls import check_tls, listening_context

__all__ = ["Parts", "build_app", "main", "make_inference", "opened_parts", "serve"]

_LOG: Final = logging.getLogger(__name__)
_ROLE: Final = "gateway"


def main() -> None:
    """Entry point."""
    settings = load(GatewaySettings, prefix=PREFIX)
    check_tls(settings)
    process_id = settings.process_id()
    lifecycle.run(
        partial(serve, settings, process_id),
        role=_ROLE,
        process_id=process_id,
        log_level=settings.log_level,
    )


async def serve(
    settings: GatewaySettings,
    process_id: str,
    stop: asyncio.Event,
    on_listening: Callable[[int], None] | None = None,
) -> None:
    """Run a gateway until `stop`. `on_listening` is told the port."""
    access = Access.open(settings)
    bus = await Bus.connect(settings, role=_ROLE, process_id=process_id)
    traffic = Traffic(time.monotonic)
    follower = Follower(
        settings,
        role=_ROLE,
        process_id=process_id,
        bus=bus,
        process=ProcessReport(traffic=traffic.report, adapters=traffic.report_adapters),
    )
    drained = asyncio.Event()

    def resolver() -> Resolver:
        return follower.resolver

    async with AsyncExitStack() as closing:
        closing.push_async_callback(bus.close)
        parts = await closing.enter_async_context(
            opened_parts(
                settings,
                bus,
                WorkQueue(bus, settings),
                asker=bus,
                gateway_id=process_id,
                objects=PayloadStore(bus, settings),
                leases=LeaseStore(bus, settings),
                resolver=resolver,
            )
        )
        bus.on_reconnect(parts.watch.begin)
        # The queue does not wait for its disk: of 200 jobs a broker that was killed had forgotten
        # 50.
        bus.on_reconnect(parts.lost_jobs.suspect)
        loads = KindLoads(shown_s=settings.cold_shown_s)
        follower.on_change(loads.advance)
        inner = build_app(
            settings,
            parts,
            resolver,
            stop,
            loads=loads,
            replica_not_ready=lambda: follower.not_ready,
            reaches=(follower.writer_reach, bus.reach),
            asked_for=traffic.note,
        )
        # All that lives as long as the process is here now. The collector walked it every few
        # hundred requests.
        lifecycle.spare_collections()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(follower.run(drained), name="follower")
            tasks.create_task(parts.run(drained), name="parts")
            await lifecycle.serve_http(
                Gate(
                    inner,
                    access,
                    role_of,
                    shape=refusal_body,
                    pages=frozenset(map(origin_of, settings.web_pages)) - {""},
                ),
                host=settings.host,
                port=settings.port,
                stop=stop,
                bounds=settings,
                drain_s=settings.drain_s,
                share_port=settings.share_port,
                websockets=True,
                on_listening=on_listening or _log_port,
                tls=listening_context(settings),
            )
            drained.set()


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
    dispatcher = Dispatcher(
        bus,
        queue,
        gateway_id=gateway_id,
        objects=objects,
        caps=MessageCaps(
            settings.payload_bytes_max,
            settings.chunked_bytes_max,
            settings.queue_publish_timeout_s,
        ),
        rng=rng,
    )
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
    desk = LeaseDesk(
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
    deaths = Deaths(
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
    takers = Takers(dispatcher, watch, holders, resolver=resolver, look_s=settings.taker_look_s)
    lost_jobs = LostJobs(dispatcher, holders, living=watch.living, pause_s=settings.taker_look_s)
    await dispatcher.open()
    await watch.open()
    await demand.open(desk.pinned)
    try:
        yield Parts(dispatcher, watch, demand, desk, deaths, takers, lost_jobs)
    finally:
        await demand.close()
        await watch.close()
        await dispatcher.close()


def make_inference(
    settings: GatewaySettings,
    parts: Parts,
    resolver: Callable[[], Resolver],
    *,
    asked_for: Callable[[str, str | None], None] = lambda _model_id, _adapter: None,
    loads: KindLoads | None = None,
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


def build_app(
    settings: GatewaySettings,
    parts: Parts,
    resolver: Callable[[], Resolver],
    stop: asyncio.Event,
    *,
    replica_not_ready: Callable[[], str] = str,
    reaches: Sequence[Reach] = (),
    asked_for: Callable[[str, str | None], None] = lambda _model_id, _adapter: None,
    loads: KindLoads | None = None,
) -> GatewayApp:
    """The HTTP face over the parts that live. `replica_not_ready` says why, empty when ready;
    `reaches` are of what it calls; `asked_for` is told the model and adapter of each request."""

    def not_ready() -> str:
        if stop.is_set():
            return "this gateway is stopping"
        if why := replica_not_ready():
            return why
        if resolver().position is None:
            return "no verified registry is loaded yet"
        if parts.watch.settled:
            return ""
        return ": ".join(["the workers were not heard yet", *_unreached(reaches)])

    counted = loads if loads is not None else KindLoads()
    inference = make_inference(settings, parts, resolver, asked_for=asked_for, loads=counted)
    face_models = FaceModels(
        settings.tei_embed_model,
        settings.tei_rerank_model,
        vocabulary=_vocabulary(settings.token_vocabulary),
        tasks=lambda spec: resolver().tasks_of(spec),
        backend=lambda spec: resolver().backend_of(spec),
    )
    limits = Limits(
        items_max=settings.request_items_max,
        chars_max=settings.request_chars_max,
        payload_bytes_max=settings.item_bytes_max,
    )
    widths = Widths(inference, resolver, limits, retry_after_s=settings.provisioning_retry_after_s)
    slips = Slips(resolver)
    cluster = Cluster(
        resolver=resolver,
        slips=slips,
        workers=parts.watch.live,
        clocks=parts.watch.clocks,
        awaited=lambda: counted.awaited or not parts.watch.hears,
        not_ready=not_ready,
        reaches=reaches,
        config_url=settings.config_public_url or settings.config_url,
        desk=parts.desk,
        face_models=face_models,
        items_max=settings.request_items_max,
        in_flight_max=settings.in_flight_items_max,
        widths=widths.of,
    )
    rest = admin_app(cluster)
    return GatewayApp(
        inference,
        NamedRequests(rest, rest.routes),
        limits=limits,
        body_bytes_max=settings.body_bytes_max,
        provisioning_retry_after_s=settings.provisioning_retry_after_s,
        live=LiveStatus(
            cluster.view,
            interval_s=settings.live_status_s,
            stop=stop,
            # The rest is for requests.
            watchers_max=max(1, within_descriptors(settings.http_connections_max) // 8),
        ),
        face_models=face_models,
        request_log=RequestLog(settings.log_requests, position=lambda: resolver().position),
        slips=slips,
        rates=Rates("tenant", per_s=settings.tenant_rate_per_s, burst=settings.tenant_burst)
        if settings.tenant_rate_per_s
        else None,
    )


def _unreached(reaches: Sequence[Reach]) -> list[str]:
    return [reach.why_not for reach in reaches if reach.why_not]


def _vocabulary(path: Path | None) -> Vocabulary | None:
    """The vocabulary of a file. Raises `ValueError`, which says what is amiss."""
    if path is None:
        return None
    try:
        return Vocabulary.parse(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"token_vocabulary: {path} is no vocabulary: {error}") from error


def _log_port(port: int) -> None:
    _LOG.info("listening on port %d", port)


if __name__ == "__main__":
    main()
