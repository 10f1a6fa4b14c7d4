"""Pulling: one puller for each model that placement gives this worker.

*shell*: owns the pullers. Opens and closes them as the placement moves. A puller that could not be
opened, since the bus is away, is tried again at the next look. Demand is what the window leaves.
The models at work share it, so that this worker takes no more than it can run soon. Promises that
each puller is closed, whenever and however the pulling ends. Does not look into jobs.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from sie_runtime.broker.bus import BusUnavailable
from sie_runtime.streams.broker_clock import BrokerClock
from sie_runtime.streams.deliveries import Delivery
from sie_runtime.streams.puller import Puller
from sie_runtime.streams.work_queue import WorkQueue
from sie_schemas.fleet import WorkerKind
from sie_schemas.jobs import consumer_name, stream_name
from sie_worker import metrics

__all__ = ["Pulling"]

_LOG: Final = logging.getLogger(__name__)
_LOOKS_APART_S: Final = 0.05
"""A burst of entries is one look at which lanes to pull from."""


class Pulling:
    """The pullers of one worker. `placed` says for which models, `demand` for how many jobs."""

    def __init__(
        self,
        queue: WorkQueue,
        *,
        kind: WorkerKind,
        placed: Callable[[], frozenset[str]],
        demand: Callable[[], int],
        on_job: Callable[[Delivery], None],
        broker_clock: BrokerClock,
        look_s: float,
    ) -> None:
        self._queue = queue
        self._kind = kind
        self._placed = placed
        self._demand = demand
        self._on_job = on_job
        self._broker_clock = broker_clock
        self._look_s = look_s
        self._pullers: dict[str, Puller] = {}
        """By model id."""
        self._closing: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        metrics.PULLED_MODELS.set_function(lambda: len(self._pullers))

    @property
    def models(self) -> frozenset[str]:
        """The models that are pulled for now."""
        return frozenset(self._pullers)

    def changed(self) -> None:
        """The placement may have moved."""
        self._changed.set()

    def wake(self) -> None:
        """There may be room for more."""
        share = self._share()
        for puller in self._pullers.values():
            puller.wake(share)

    async def run(self, stop: asyncio.Event) -> None:
        """Pull until `stop`; every puller is closed when it returns, or raises."""
        try:
            async with asyncio.TaskGroup() as group:
                looking = group.create_task(self._keep_looking(stop))
                await stop.wait()
                looking.cancel()
        finally:
            for model_id in list(self._pullers):
                self._close(model_id)
            if self._closing:
                await asyncio.wait(self._closing)

    async def _keep_looking(self, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        # The client library loses a cancellation here and there.
        while not stop.is_set():
            self._changed.clear()
            looked_at = loop.time()
            await self._follow_placement()
            try:
                async with asyncio.timeout(self._look_s):
                    await self._changed.wait()
            except TimeoutError:
                continue
            # A look is as long as there are models: in a burst of changes many share one.
            await asyncio.sleep(max(0.0, looked_at + _LOOKS_APART_S - loop.time()))

    async def _follow_placement(self) -> None:
        placed = self._placed()
        for model_id in sorted(self._pullers.keys() - placed):
            self._close(model_id)
        opening = sorted(placed - self._pullers.keys())
        if opening and not self._broker_clock.is_known:
            # Once for all: where nobody answers, each look takes seconds.
            await self.look_at_clock(opening[0])
        for model_id in opening:
            try:
                await self._open(model_id)
            except BusUnavailable as error:
                _LOG.info("nothing is pulled for %s yet: %s", model_id, error.message)
                # The bus is away for all of them: the next look tries again.
                return

    async def look_at_clock(self, model_id: str | None = None) -> None:
        """Ask the broker for its time, by one of the consumers that are pulled from."""
        model_id = model_id or next(iter(self._pullers), None)
        if model_id is not None:
            consumer = consumer_name(self._kind.machine_profile, self._kind.bundle, model_id)
            await self._broker_clock.look(stream_name(self._kind.pool), consumer)

    async def _open(self, model_id: str) -> None:
        self._pullers[model_id] = await self._queue.open_puller(
            pool=self._kind.pool,
            machine_profile=self._kind.machine_profile,
            bundle=self._kind.bundle,
            model_id=model_id,
            on_job=self._on_job,
            demand=self._share,
        )

    def _share(self) -> int:
        """The jobs that one model at work may ask for: all of them together fill the room."""
        at_work = sum(puller.is_busy for puller in self._pullers.values())
        return -(-self._demand() // max(1, at_work))

    def _close(self, model_id: str) -> None:
        # A task of its own: where the broker hangs each takes seconds, and a stop ends no other's.
        closing = asyncio.create_task(self._pullers.pop(model_id).close(), name="close-puller")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
