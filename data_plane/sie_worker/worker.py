"""The worker: the parts of the sidecar, wired, and their order of start and end.

*main*: each part has its own rules; here is what they tell each other. `run` ends in this order:
nothing more is pulled; what is in hand runs and is delivered, for at most `drain_s`. The rest goes
back to the queue, and the last heartbeat says goodbye.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from sie_core.resolver import ResolvedModel, Resolver, misplaced
from sie_runtime.broker.bus import Bus, Message
from sie_runtime.streams.broker_clock import BrokerClock
from sie_runtime.streams.dead_letters import DeadLetters
from sie_runtime.streams.payload_store import PayloadStore
from sie_runtime.streams.work_queue import WorkQueue
from sie_schemas.errors import Later
from sie_schemas.fleet import Heartbeat, ModelReport
from sie_worker import metrics
from sie_worker.device.device import Device
from sie_worker.device.devices import Devices
from sie_worker.execution.executor import Executor
from sie_worker.execution.models import Models
from sie_worker.intake.cancelled import CancelledRequests
from sie_worker.intake.heartbeat import HEALTH_SUBJECTS, Heartbeats
from sie_worker.intake.holding import Holding
from sie_worker.intake.homes import Homes
from sie_worker.intake.intake import Intake, Replica
from sie_worker.intake.letters import JobLetters
from sie_worker.intake.peers import Peers
from sie_worker.intake.prefetch import Prefetch
from sie_worker.intake.pulling import Pulling
from sie_worker.jobs.holds import Holds
from sie_worker.jobs.results import Results
from sie_worker.jobs.revisions import KnownRevisions
from sie_worker.parts import device_limits, intake_limits, make_executor, make_scheduler
from sie_worker.scheduling.answer_rate import AnswerRate, MeanFill
from sie_worker.scheduling.gathering import Gathering
from sie_worker.scheduling.window import Window
from sie_worker.settings import WorkerSettings

__all__ = ["Worker"]

_LOG: Final = logging.getLogger(__name__)


class _Drained(Exception):
    """Ends the group in which jobs are worked on."""


class Worker:
    """One sidecar beside the execution processes of a host. `replica` is fed by its owner."""

    def __init__(
        self,
        settings: WorkerSettings,
        *,
        worker_id: str,
        bus: Bus,
        replica: Replica,
        report_soon: Callable[[], None],
        life: str = "",
    ) -> None:
        """`life` is hexadecimal, and random where it is not given."""
        self._settings = settings
        self._worker_id = worker_id
        self._bus = bus
        self._replica = replica
        self._report_soon = report_soon
        self._clock = asyncio.get_running_loop().time
        self._window = Window(items_max=settings.window_items_max * len(settings.socket_path))
        self._broker_clock = BrokerClock(bus, clock=self._clock)
        self._holds = Holds(on_room=self._room_again, age_s=self._broker_clock.age_s)
        metrics.ITEMS_IN_HAND.set_function(lambda: self._holds.open_items)
        self._known = KnownRevisions(
            keep_s=settings.previous_revision_s, resolvers_max=settings.previous_resolvers_max
        )
        self._holding = Holding(
            bus,
            pool=settings.pool,
            held=self._held,
            timeout_s=settings.confirm_timeout_s,
            life=life,
        )
        self._heartbeats = Heartbeats(
            bus, state=self._heartbeat, interval_s=settings.heartbeat_interval_s
        )
        self._results = self._make_results()
        self._rate = AnswerRate()
        self._fill = MeanFill()
        self._cancelled_requests = CancelledRequests(ids_max=settings.cancelled_ids_max)
        self._gathering = Gathering()
        self._executors = [make_executor(settings, path) for path in settings.socket_path]
        self._devices = self._make_devices()
        for executor in self._executors:
            executor.on_change(self._executor_changed)
        self._homes = self._make_homes()
        self._prefetch = self._make_prefetch()
        self._misplaced = ""
        """In words: why no job can come to a worker of this kind; empty where jobs can."""
        self._intake: Intake | None = None
        self._pulling: Pulling | None = None

    @property
    def ready(self) -> bool:
        """True if jobs published now are run."""
        return self._known.current is not None and self._devices.connected > 0

    def reports(self) -> dict[str, ModelReport]:
        """The state of each model here."""
        return self._devices.reports()

    @property
    def trouble(self) -> str:
        """In words: why no job is run here, or none can come; empty where all is well."""
        if self._known.current is None:
            return self._replica.not_ready
        if not self._devices.connected:
            return self._devices.trouble or "no model execution is connected yet"
        return self._misplaced

    def state(self) -> Mapping[str, Any]:
        """The state that `/readyz` tells."""
        return {
            "ready": self.ready and self._bus.connected,
            "worker_id": self._worker_id,
            "registry": self._known.current is not None,
            **self._devices.state(),
            "bus": self._bus.connected,
            "position": str(self._replica.position or ""),
            "items_in_hand": self._holds.open_items,
            "pulls_for": sorted(self._pulling.models) if self._pulling is not None else [],
            "models": self._devices.reports(),
        }

    def advance(self, resolver: Resolver) -> None:
        """The replica has a new resolver."""
        was_ready = self.ready
        self._known.advance(resolver, self._clock())
        self._devices.forget_failures(self._known.is_current)
        self._placement_changed()
        self._place(misplaced(resolver, self._settings.kind))
        if not was_ready:
            self._heartbeats.changed()

    def _place(self, misplaced: str) -> None:
        if misplaced == self._misplaced:
            return
        if misplaced:
            _LOG.warning("no job can come to this worker: %s", misplaced)
        self._misplaced = misplaced
        self._heartbeats.changed()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`, then end as the module says."""
        over = asyncio.Event()
        listening = await self._bus.subscribe(HEALTH_SUBJECTS, self._homes.heard)
        cancels = await self._bus.subscribe("sie.cancel.*", self._cancelled)
        await self._holding.open()
        async with asyncio.TaskGroup() as group:
            for executor in self._executors:
                group.create_task(executor.run(over))
            group.create_task(self._heartbeats.run(over))
            try:
                await self._work(stop)
                await self._give_back_rest()
            finally:
                over.set()
        await listening.unsubscribe()
        await cancels.unsubscribe()
        await self._holding.close()

    async def _work(self, stop: asyncio.Event) -> None:
        try:
            async with asyncio.TaskGroup() as jobs:
                self._intake = self._make_intake(jobs)
                self._pulling = self._make_pulling(self._intake)
                jobs.create_task(self._devices.run(asyncio.Event()))
                jobs.create_task(self._keep_tending())
                jobs.create_task(self._prefetch.run())
                await self._pulling.run(stop)
                await self._drained()
                # An error in the body ends the group and the loops in it.
                raise _Drained
        except* _Drained:
            if self._intake is not None:
                self._intake.close()
            self._intake = self._pulling = None

    async def _drained(self) -> None:
        try:
            async with asyncio.timeout(self._settings.drain_s):
                await self._holds.emptied.wait()
        except TimeoutError:
            _LOG.warning("%d jobs in hand go back to the queue", len(self._holds))

    async def _give_back_rest(self) -> None:
        error = Later("this worker leaves", code="NOT_READY")
        for hold in self._holds:
            # A result that no gateway took by now: another worker runs the job again.
            hold.is_ending = False
        try:
            async with asyncio.timeout(self._settings.confirm_timeout_s):
                await self._results.give_back(list(self._holds), error, delay_s=0.0)
        except TimeoutError:
            _LOG.warning("%d jobs are left to the queue's own time-out", len(self._holds))

    async def _keep_tending(self) -> None:
        """At each interval: extend what is in hand, free what no job can name any more."""
        while True:
            await asyncio.sleep(self._settings.hold_extend_s)
            now = self._clock()
            self._holds.extend(older_than=now - self._settings.hold_extend_s)
            if self._pulling is not None:
                await self._pulling.look_at_clock()
            self._known.forget(now)
            await self._devices.unload_unless(self._is_wanted)

    def _is_pinned(self, model: ResolvedModel) -> bool:
        return model.is_named(self._known.pinned(self._settings.pool))

    def _is_wanted(self, model: ResolvedModel) -> bool:
        if self._known.model(model.model_id, model.profile, model.revision) is not None:
            return True
        return any(hold.job.model_revision == model.revision for hold in self._holds)

    # -- what the parts tell each other --

    def _demand(self) -> int:
        fetching = self._intake.fetching if self._intake is not None else 0
        if not self.ready or fetching >= self._settings.fetches_max:
            return 0
        return self._window.demand(self._holds.open_items, self._clock())

    def _room_again(self) -> None:
        """More may be pulled than before."""
        if self._pulling is not None:
            self._pulling.wake()

    def _drop_holds(self, holds: Collection[int]) -> None:
        self._devices.drop_holds(holds)

    def _executor_changed(self) -> None:
        metrics.EXECUTOR_UP.set(self._devices.connected)
        self._devices.wake()
        self._heartbeats.changed()
        self._placement_changed()
        self._room_again()

    def _models_changed(self) -> None:
        self._heartbeats.changed()
        self._report_soon()

    def _placement_changed(self) -> None:
        self._prefetch.changed()
        if self._pulling is not None:
            self._pulling.changed()

    def _held(self, job_ids: Collection[str]) -> Collection[str]:
        if self._intake is not None:
            return self._intake.held(job_ids)
        return [job_id for job_id in job_ids if self._holds.has(job_id)]

    def _cancelled(self, message: Message) -> None:
        """A client hung up: its request costs nothing any more, what comes later included."""
        request_id = message.subject.rpartition(".")[2]
        self._cancelled_requests.add(request_id)
        self._devices.cancel(request_id)

    def _heartbeat(self) -> Heartbeat:
        position = self._replica.position
        return Heartbeat(
            worker_id=self._worker_id,
            pool=self._settings.pool,
            machine_profile=self._settings.machine_profile,
            bundle=self._settings.bundle,
            ready=self.ready,
            log_id=position.log_id if position is not None else "",
            epoch=position.epoch if position is not None else 0,
            queue_depth=self._holds.open_items,
            models=self._devices.reports(),
            memory_used_bytes=self._devices.memory_bytes,
            memory_total_bytes=self._devices.room_bytes,
            devices=len(self._devices),
            devices_ready=self._devices.connected,
            devices_trouble=self._devices.trouble,
            trouble=self.trouble,
            pending_cost=self._devices.cost_in_hand,
            batches_running=self._devices.batches_out,
            answered_per_s=self._rate.look(self._results.answered, self._clock()),
            batch_fill=self._fill.look(*self._devices.begun, self._clock()),
            life=self._holding.life,
        )

    # -- wiring --

    def _make_results(self) -> Results:
        settings = self._settings
        return Results(
            self._bus,
            self._holds,
            worker_id=self._worker_id,
            confirm_timeout_s=settings.confirm_timeout_s,
            retry_s=settings.confirm_retry_s,
            message_bytes_max=settings.result_bytes_max,
            chunked_bytes_max=settings.chunked_result_bytes_max,
            dead_letters=JobLetters(
                DeadLetters(self._bus, settings),
                worker_id=self._worker_id,
                kind=settings.kind,
            ),
            clock=self._clock,
        )

    def _make_homes(self) -> Homes:
        settings = self._settings
        peers = Peers(settings.kind, silence_s=settings.peer_silence_s)
        return Homes(
            self._worker_id,
            peers,
            bundle=settings.bundle,
            resolver=lambda: self._known.current,
            room=lambda: self._devices.room_bytes,
            held=lambda: self._devices.held,
            clock=self._clock,
            on_change=self._placement_changed,
        )

    def _make_prefetch(self) -> Prefetch:
        settings = self._settings
        return Prefetch(
            self._bus,
            self._devices,
            kind=settings.kind,
            resolver=lambda: self._known.current,
            placed=self._homes.placed,
            ready=lambda: self.ready,
            look_s=settings.placement_look_s,
        )

    def _make_devices(self) -> Devices:
        spread_after, cost_min = self._settings.spread_after, self._settings.piece_cost_min
        made = [self._make_device(str(place), each) for place, each in enumerate(self._executors)]
        return Devices(made, spread_after=spread_after, piece_cost_min=cost_min)

    def _make_device(self, name: str, executor: Executor) -> Device:
        settings = self._settings
        return Device(
            name=name,
            executor=executor,
            models=Models(
                executor,
                pinned=self._is_pinned,
                cooldown_s=settings.load_cooldown_s,
                latency_s=settings.batch_latency_ms / 1000 or None,
                clock=self._clock,
                on_change=self._models_changed,
            ),
            scheduler=make_scheduler(settings, self._gathering),
            holds=self._holds,
            results=self._results,
            limits=device_limits(settings),
            clock=self._clock,
            drop_holds=self._drop_holds,
            has_peers=lambda: self._homes.has_peers,
            cancelled=self._cancelled_requests,
        )

    def _make_intake(self, jobs: asyncio.TaskGroup) -> Intake:
        settings = self._settings
        return Intake(
            replica=self._replica,
            known=self._known,
            devices=self._devices,
            holds=self._holds,
            results=self._results,
            objects=PayloadStore(self._bus, settings),
            cancelled=self._cancelled_requests,
            limits=intake_limits(settings),
            clock=self._clock,
            group=jobs,
            taken=self._window.took,
        )

    def _make_pulling(self, intake: Intake) -> Pulling:
        settings = self._settings
        return Pulling(
            WorkQueue(self._bus, settings),
            kind=settings.kind,
            # Without a device nothing is pulled: what an open pull brings would only go back, and
            # come again, until it has no delivery left.
            placed=lambda: self._homes.placed() if self.ready else frozenset(),
            demand=self._demand,
            on_job=intake.take,
            broker_clock=self._broker_clock,
            look_s=settings.placement_look_s,
        )
