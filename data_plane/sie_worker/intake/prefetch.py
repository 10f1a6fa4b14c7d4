"""Prefetch: loads models before their jobs come, what the pool pins and what found no worker.

*shell*: owns the list of what is still to be loaded, and one loop that loads one model after the
other. So a job's own load waits for at most one of them. Asks the gateways whenever this worker
begins to be of use or hears the broker again; they also tell without being asked. Takes only models
that placement gives this worker. Promises nothing: a load that fails is reported as every other. A
model that is not here when its job comes is loaded by the job.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

import msgspec

from sie_core.resolver import ResolvedModel, Resolver
from sie_runtime.broker.bus import Bus, BusUnavailable, Message
from sie_schemas.errors import SIEError
from sie_schemas.fleet import (
    DEMAND_SUBJECT,
    WANTED_DECODER,
    DemandAsked,
    WantedModel,
    WorkerKind,
    wanted_subject,
)
from sie_schemas.jobs import AdapterPin
from sie_schemas.malformed import MALFORMED
from sie_worker.device.devices import Devices

__all__ = ["Prefetch"]

_LOG: Final = logging.getLogger(__name__)
_WANTED_MAX: Final = 256
"""Models wanted and not loaded: beyond it the oldest wish is forgotten, and asked anew."""
_ENCODER: Final = msgspec.msgpack.Encoder()


class Prefetch:
    """The prefetching of one worker. `ready` says whether a load could succeed now."""

    def __init__(
        self,
        bus: Bus,
        devices: Devices,
        *,
        kind: WorkerKind,
        resolver: Callable[[], Resolver | None],
        placed: Callable[[], frozenset[str]],
        ready: Callable[[], bool],
        look_s: float,
    ) -> None:
        self._bus = bus
        self._devices = devices
        self._kind = kind
        self._resolver = resolver
        self._placed = placed
        self._ready = ready
        self._look_s = look_s
        self._wanted: dict[WantedModel, None] = {}
        """The models that were told and not tried yet, the oldest first."""
        self._is_asked = False
        """True once the gateways were asked, and no word of theirs was missed since."""
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """This worker may be of use now, or for other models."""
        self._changed.set()

    async def run(self) -> None:
        """Load until cancelled."""
        told = await self._bus.subscribe(wanted_subject(*self._kind), self._told)
        forget_bus = self._bus.on_reconnect(self._ask_anew)
        try:
            while True:
                self._changed.clear()
                if not self._ready():
                    # The words that gateways say meanwhile are for others.
                    self._is_asked = False
                else:
                    await self._ask()
                    await self._load_all()
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._look_s):
                        await self._changed.wait()
        finally:
            forget_bus()
            await told.unsubscribe()

    def _ask_anew(self) -> None:
        self._is_asked = False
        self._changed.set()

    def _told(self, message: Message) -> None:
        try:
            models = WANTED_DECODER.decode(message.data).models
        except MALFORMED as error:
            _LOG.warning("a word on %s cannot be read: %s", message.subject, error)
            return
        self._wanted.update(dict.fromkeys(models))
        while len(self._wanted) > _WANTED_MAX:
            del self._wanted[next(iter(self._wanted))]
        self._changed.set()

    async def _ask(self) -> None:
        if self._is_asked:
            return
        self._is_asked = True
        question = DemandAsked(**self._kind._asdict())
        # What is lost here is asked anew when the bus is back.
        with suppress(BusUnavailable):
            await self._bus.publish(DEMAND_SUBJECT, _ENCODER.encode(question))

    async def _load_all(self) -> None:
        for wanted in self._pinned():
            await self._load(wanted)
        while self._wanted and self._ready():
            wanted = next(iter(self._wanted))
            del self._wanted[wanted]
            await self._load(wanted)

    def _pinned(self) -> Iterator[WantedModel]:
        resolver = self._resolver()
        for spec in resolver.pinned(self._kind.pool) if resolver is not None else ():
            model_id, _, profile = spec.partition(":")
            yield WantedModel(model_id=model_id, profile=profile or "default")

    async def _load(self, wanted: WantedModel) -> None:
        resolver = self._resolver()
        if resolver is None:
            return
        try:
            resolved = self._resolved(resolver, wanted)
            if resolved is None:
                return
            model = await self._devices.ensure(resolved)
            if wanted.adapter:
                adapter = resolver.adapter(resolved.model_id, wanted.adapter)
                pin = AdapterPin(adapter.name, adapter.revision)
                await self._devices.ensure_adapter(model, pin, adapter)
        except SIEError as error:
            _LOG.info("%s was not loaded ahead: %s", wanted.model_id, error.message)

    def _resolved(self, resolver: Resolver, wanted: WantedModel) -> ResolvedModel | None:
        """The model, where it is this worker's to load."""
        kind = self._kind
        resolved = resolver.resolve(
            f"{wanted.model_id}:{wanted.profile}", bundle=kind.bundle, pool=kind.pool
        )
        return resolved if resolved.model_id in self._placed() else None
