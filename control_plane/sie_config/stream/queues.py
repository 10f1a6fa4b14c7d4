"""The queues: what the registry wants of the broker, made and mended by the one role that may.

*shell.* Follows the registry of its own process. It makes a work stream for each pool, and a
consumer for each model on each kind of worker that was heard. Beside them it makes what all pools
share. Promises that what the broker lost is there again within `queues_verify_s`. Nothing is made
which the registry does not name, whatever a worker says of itself. While this process is away, what
is there goes on. Only a new pool, a new model and a new kind of worker wait for it, and so do jobs
that crash their workers.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from prometheus_client import Counter, Gauge

from sie_config.settings import ConfigSettings
from sie_config.writer.sequencer import Sequencer
from sie_core.registry import Registry
from sie_core.resolver import Resolver, runnable_models, touched_models
from sie_runtime.broker.bus import Bus, Message
from sie_runtime.process.waiting import first_of
from sie_runtime.streams.dead_letters import DeadLetters
from sie_runtime.streams.provisions import Provisions
from sie_runtime.streams.sweeping import Sweeper
from sie_schemas.errors import SIEError
from sie_schemas.fleet import HEARTBEAT_DECODER, WorkerKind
from sie_schemas.jobs import consumer_name
from sie_schemas.malformed import MALFORMED

__all__ = ["Queues", "keep_queues"]

_LOG: Final = logging.getLogger(__name__)
_AT_ONCE: Final = 32
"""Consumers made at a time: 10,000 models would flood the broker in one turn."""
_LOOKS_APART_S: Final = 0.1
"""In a burst of writes many share a look."""
_CONSUMERS = Gauge("sie_config_queue_consumers", "consumers that workers pull from, over all pools")
_MADE = Counter("sie_config_queues_made_total", "streams and consumers made or mended", ["kind"])


async def keep_queues(
    sequencer: Sequencer, settings: ConfigSettings, bus: Bus, stop: asyncio.Event
) -> None:
    """Make and mend the queues, and sweep them, until `stop`."""
    queues = Queues(
        bus,
        Provisions(bus, settings),
        registry=lambda: sequencer.registry,
        moved=sequencer.moved,
        verify_s=settings.queues_verify_s,
        retry_s=settings.queues_retry_s,
    )
    sweeper = Sweeper(bus, DeadLetters(bus, settings), settings)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(queues.run(stop), name="queues")
        tasks.create_task(sweeper.run(stop), name="sweeper")


class Queues:
    """One for each writer. `moved` ends when the registry may have changed."""

    def __init__(
        self,
        bus: Bus,
        provisions: Provisions,
        *,
        registry: Callable[[], Registry],
        moved: Callable[[], Coroutine[Any, Any, object]],
        verify_s: float,
        retry_s: float,
    ) -> None:
        self._bus = bus
        self._provisions = provisions
        self._registry = registry
        self._moved = moved
        self._verify_s = verify_s
        self._retry_s = retry_s
        self._resolver: Resolver | None = None
        self._kinds: dict[WorkerKind, None] = {}
        """Of the workers that were heard."""
        self._consumers: dict[str, set[str]] = {}
        """By pool, those that are there. A pool that is not in it is to be made sure of."""
        self._looked_at: dict[WorkerKind, Registry] = {}
        """The registry whose models all have their consumer on such workers."""
        self._mended: set[str] = set()
        """Pools whose consumers were made as this process's settings say."""
        self._shared_is_there = False
        self._waits_for = ""
        """The reason for which the last look did not end, as the log was told."""
        self._due = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Follow the registry until `stop`."""
        heard = await self._bus.subscribe("sie.health.*", self._heard)
        forget = self._bus.on_reconnect(self._distrust)
        loop = asyncio.get_running_loop()
        verify_at = loop.time() + self._verify_s
        try:
            while not stop.is_set():
                looked_at = loop.time()
                await self._look(stop, verify_at)
                early_s = looked_at + _LOOKS_APART_S - loop.time()
                if early_s > 0:
                    # In a burst of writes many share a look, and their consumers are made at once:
                    # one by one they held up the log's own syncs by a third.
                    await first_of(stop.wait(), timeout_s=early_s)
                if loop.time() >= verify_at:
                    verify_at = loop.time() + self._verify_s
                    self._distrust()
        finally:
            forget()
            await heard.unsubscribe()

    async def _look(self, stop: asyncio.Event, verify_at: float) -> None:
        """Make what is lacking, and wait until there may be more."""
        # Both before the look: a change during it is not missed.
        self._due.clear()
        moved = asyncio.ensure_future(self._moved())
        try:
            waits: list[Coroutine[Any, Any, object]] = [self._due.wait(), stop.wait()]
            wait_s = self._retry_s
            if await self._made():
                wait_s = max(0.0, verify_at - asyncio.get_running_loop().time())
                # What is written while the broker is away wakes nobody.
                waits.append(asyncio.wait([moved]))
            await first_of(*waits, timeout_s=wait_s)
        finally:
            moved.cancel()

    def _distrust(self) -> None:
        """The broker may have lost anything."""
        self._consumers, self._looked_at = {}, {}
        self._shared_is_there = False
        self._due.set()

    def _heard(self, message: Message) -> None:
        try:
            worker = HEARTBEAT_DECODER.decode(message.data)
        except MALFORMED:
            return
        kind = worker.kind
        # A kind that was heard, and that the registry names: all that it allows would be models
        # times pools times profiles times bundles, and most of them never pulled from.
        if kind not in self._kinds and self._resolver is not None and _names(self._resolver, kind):
            self._kinds[kind] = None
            self._due.set()

    async def _made(self) -> bool:
        """Make what is lacking; False when the broker did not let it end."""
        try:
            await self._make()
        except SIEError as error:
            # Once for each reason: it looks again every half second, for as long as that lasts.
            level = logging.DEBUG if error.message == self._waits_for else logging.INFO
            _LOG.log(level, "the queues wait for the broker", extra={"reason": error.message})
            self._waits_for = error.message
            self._distrust()
            self._due.clear()
            return False
        self._waits_for = ""
        return True

    async def _make(self) -> None:
        self._bus.require_connected()
        self._resolver = resolver = Resolver.of(self._registry(), None, self._resolver)
        if not self._shared_is_there:
            await self._provisions.ensure_shared()
            self._shared_is_there = True
        for pool in resolver.pools:
            if pool not in self._consumers:
                await self._provisions.ensure_pool(pool)
                _MADE.labels("stream").inc()
                there = await self._provisions.consumers(pool) if pool in self._mended else ()
                self._consumers[pool] = set(there)
        for kind in list(self._kinds):
            if _names(resolver, kind):
                await self._make_consumers(kind, self._new_models(resolver, kind))
                self._looked_at[kind] = resolver.registry
                self._mended.add(kind[0])
        _CONSUMERS.set(sum(map(len, self._consumers.values())))

    def _new_models(self, resolver: Resolver, kind: WorkerKind) -> list[str]:
        """The models that may lack their consumer: those that changed since the last look. So a
        write costs what it changes and not what there is."""
        bundle, before = kind[2], self._looked_at.get(kind)
        touched = touched_models(resolver, bundle, before) if before is not None else None
        if touched is None:
            return runnable_models(resolver, bundle)
        return [model for model in touched if resolver.can_run(model, bundle)]

    async def _make_consumers(self, kind: WorkerKind, models: list[str]) -> None:
        pool, machine_profile, bundle = kind
        there = self._consumers[pool]
        names = {consumer_name(machine_profile, bundle, model): model for model in models}
        lacking = [name for name in names if name not in there]
        for start in range(0, len(lacking), _AT_ONCE):
            some = lacking[start : start + _AT_ONCE]
            await asyncio.gather(
                *[
                    self._provisions.ensure_consumer(
                        pool=pool,
                        machine_profile=machine_profile,
                        bundle=bundle,
                        model_id=names[name],
                    )
                    for name in some
                ]
            )
            there.update(some)
            _MADE.labels("consumer").inc(len(some))


def _names(resolver: Resolver, kind: WorkerKind) -> bool:
    """True if the registry has a place for such a worker."""
    pool, machine_profile, bundle = kind
    document = resolver.pools.get(pool)
    return (
        document is not None
        and machine_profile in document["machine_profiles"]
        and bundle in resolver.bundles
    )
