"""Demand: which models were asked for where no worker was, so that the next one loads them first.

*shell.* Owns what this gateway remembers of requests that found no worker of their kind. Tells the
workers of that kind: at once, for one that is just starting, and again to each that asks. Promises
to remember no more than a bound for each kind, the newest, and nothing longer than `keep_s`. A word
that is lost costs a model that loads with its first job instead.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from sie_gateway import metrics
from sie_runtime.broker.bus import BusUnavailable
from sie_runtime.broker.protocols import Incoming, ResultBus, Subscribed
from sie_schemas.fleet import (
    DEMAND_DECODER,
    DEMAND_SUBJECT,
    WantedModel,
    WantedModels,
    WorkerKind,
    wanted_subject,
)
from sie_schemas.malformed import MALFORMED

__all__ = ["DemandBoard", "Remembered"]

_MODELS_MAX: Final = 64
"""Models wanted of one kind of worker: more than one worker holds; the newest count."""
_ENCODER: Final = msgspec.msgpack.Encoder()


class Remembered:
    """The models asked for of each kind of worker, and when. `keep_s` is how long that counts."""

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._asked: dict[WorkerKind, dict[WantedModel, float]] = {}

    def ask(self, kind: WorkerKind, wanted: WantedModel, now: float) -> bool:
        """Remember a request; whether it is news: a crowd that asks for one model is told once."""
        models = self._asked.setdefault(kind, {})
        # Taken out first, so that the oldest stands in front.
        before = models.pop(wanted, None)
        models[wanted] = now
        while len(models) > _MODELS_MAX:
            del models[next(iter(models))]
        # Not told again however long it is asked for: a worker that starts asks by itself.
        return before is None or now - before > self._keep_s

    def of(self, kind: WorkerKind, now: float) -> list[WantedModel]:
        """The models that are wanted of workers of a kind, the newest first."""
        kept = {
            wanted: at
            for wanted, at in self._asked.get(kind, {}).items()
            if now - at <= self._keep_s
        }
        if kept:
            self._asked[kind] = kept
        else:
            self._asked.pop(kind, None)
        return list(reversed(kept))


class DemandBoard:
    """One for each gateway process."""

    def __init__(self, bus: ResultBus, *, keep_s: float) -> None:
        self._bus = bus
        self._remembered = Remembered(keep_s)
        self._subscription: Subscribed | None = None
        self._pinned: Callable[[WorkerKind], Sequence[WantedModel]] = lambda kind: ()

    async def open(self, pinned: Callable[[WorkerKind], Sequence[WantedModel]]) -> None:
        """Answer workers that ask. `pinned` gives what leases keep loaded on workers of a kind."""
        self._pinned = pinned
        self._subscription = await self._bus.subscribe(DEMAND_SUBJECT, self._answer)

    async def close(self) -> None:
        """Answer no more."""
        if self._subscription is not None:
            await self._subscription.unsubscribe()
            self._subscription = None

    async def found_cold(self, kind: WorkerKind, wanted: WantedModel) -> None:
        """A request found no worker of this kind."""
        if self._remembered.ask(kind, wanted, _now()):
            await self.tell(kind, (wanted,))

    async def tell(self, kind: WorkerKind, models: Sequence[WantedModel]) -> None:
        """Say to the workers of a kind what to load."""
        # Nothing is lost for good: it is remembered, and workers ask for it.
        with suppress(BusUnavailable):
            await self._bus.publish(
                wanted_subject(*kind), _ENCODER.encode(WantedModels(models=tuple(models)))
            )

    async def _answer(self, message: Incoming) -> None:
        try:
            asked = DEMAND_DECODER.decode(message.data)
        except MALFORMED:
            metrics.MALFORMED_MESSAGES.labels("demand").inc()
            return
        kind = WorkerKind(asked.pool, asked.machine_profile, asked.bundle)
        wanted = [*self._remembered.of(kind, _now()), *self._pinned(kind)]
        if wanted:
            await self.tell(kind, tuple(dict.fromkeys(wanted)))


def _now() -> float:
    return asyncio.get_running_loop().time()
