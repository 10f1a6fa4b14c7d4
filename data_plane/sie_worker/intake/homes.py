"""Homes: which models this worker pulls for, as its peers come and go.

*shell*: folds the heartbeats of peers and remembers what placement makes of them, until a resolver,
a peer or what is held changes. `on_change` is called when a peer has come, gone or changed its
room. Decides nothing itself: `peers` says who lives, `placement` where a model belongs.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from sie_core.registry import Registry
from sie_core.resolver import Resolver, runnable_models, touched_models
from sie_runtime.broker.bus import Message
from sie_schemas.fleet import HEARTBEAT_DECODER
from sie_schemas.malformed import MALFORMED
from sie_worker.intake.peers import Peers
from sie_worker.intake.placement import placed

__all__ = ["Homes"]

_LOG: Final = logging.getLogger(__name__)


class Homes:
    """Of one worker. `resolver`, `room` and `held` are what it is to be judged by now."""

    def __init__(
        self,
        worker_id: str,
        peers: Peers,
        *,
        bundle: str,
        resolver: Callable[[], Resolver | None],
        room: Callable[[], int],
        held: Callable[[], frozenset[str]],
        clock: Callable[[], float],
        on_change: Callable[[], None],
    ) -> None:
        self._worker_id = worker_id
        self._peers = peers
        self._bundle = bundle
        self._resolver = resolver
        self._room = room
        self._held = held
        self._clock = clock
        self._on_change = on_change
        self._found: frozenset[str] = frozenset()
        self._registry: Registry | None = None
        self._basis: tuple[Mapping[str, float], frozenset[str]] = ({}, frozenset())
        """The values that `_found` was computed from, with the registry: rooms, held models."""

    @property
    def has_peers(self) -> bool:
        """True if another worker of this kind is ready."""
        return bool(self._peers.rooms(self._clock()))

    def placed(self) -> frozenset[str]:
        """The models that this worker pulls for now."""
        resolver = self._resolver()
        if resolver is None:
            return frozenset()
        # This worker counts although its own heartbeat may not have come back yet.
        rooms = {self._worker_id: float(self._room())} | self._peers.rooms(self._clock())
        basis = (rooms, self._held())
        before = self._registry if basis == self._basis else None
        self._registry, self._basis = resolver.registry, basis
        # A score for each of thousands of models would cost a look more than what changed does.
        touched = touched_models(resolver, self._bundle, before) if before is not None else None
        if touched is None:
            self._found = self._home_to(runnable_models(resolver, self._bundle))
        elif touched:
            models = [model for model in touched if resolver.can_run(model, self._bundle)]
            self._found = (self._found - touched) | self._home_to(models)
        return self._found

    def _home_to(self, models: Iterable[str]) -> frozenset[str]:
        rooms, held = self._basis
        return placed(self._worker_id, rooms=rooms, models=models, held=held)

    def heard(self, message: Message) -> None:
        """Take the heartbeat of a peer."""
        try:
            heartbeat = HEARTBEAT_DECODER.decode(message.data)
        except MALFORMED as error:
            _LOG.warning("a heartbeat on %s cannot be read: %s", message.subject, error)
            return
        if heartbeat.worker_id == self._worker_id:
            return
        if self._peers.heard(heartbeat, self._clock()):
            self._on_change()
