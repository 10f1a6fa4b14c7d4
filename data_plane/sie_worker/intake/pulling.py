"""Pulling: one puller for each model that placement gives this worker.

*shell*: owns the pullers. Opens and closes them as the placement moves. A puller that could not be
opened, since the bus is away, is tried again at the next look. Demand is what the window leaves, so
that this worker never takes more than it can run soon. Does not look into jobs.
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
        self._changed = asyncio.Event()

    @property
    def models(self) -> frozenset[str]:
        """The models that are pulled for now."""
        return frozenset(self._pullers)

    def changed(self) -> None:
        """The placement may have moved."""
        self._changed.set()

    def wake(self) -> None:
        """There may be room for more."""
        room = self._demand()
        for puller in self._pullers.values():
            puller.wake(room)

    async def run(self, stop: asyncio.Event) -> None:
        """Pull until `stop`; every puller is closed when it returns."""
        async with asyncio.TaskGroup() as group:
            looking = group.create_task(self._keep_looking())
            await stop.wait()
            looking.cancel()
        for model_id in list(self._pullers):
            await self._close(model_id)

    async def _keep_looking(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
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
            await self._close(model_id)
        opening = sorted(placed - self._pullers.keys())
        if opening and not self._broker_clock.is_known:
            # Once for all: where nobody answers, each look takes seconds.
            await self.look_at_clock(opening[0])
        for model_id in opening:
            try:
                await self._open(model_id)
            except BusUnavailable as error:
                _LOG.info("nothing is pulled for %s yet: %s", model_id, error.message)
                # The bus is away or slow: the rest would fail alike, each after its time.
                return
        metrics.PULLED_MODELS.set(len(self._pullers))

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
            demand=self._demand,
        )

    async def _close(self, model_id: str) -> None:
        await self._pullers.pop(model_id).close()
