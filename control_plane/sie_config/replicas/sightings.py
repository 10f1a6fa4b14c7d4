"""Sightings: the last report of each life of each replica, bounded in number and in bytes.

*shell.* Judges no report. Time is given. A process that starts takes the place of the one that had
its name. One that speaks again after that lives too, and both are counted, so that neither hides
behind the other's word. Silent rows make room, and for one that is known those of nobody too.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final

from prometheus_client import Counter, Gauge

from sie_schemas.fleet import ReplicaReport

__all__ = ["Sighting", "Sightings"]

_LOG: Final = logging.getLogger(__name__)
_SHARED = Counter(
    "sie_config_replica_names_shared_total", "Times that a second process spoke under one name."
)
_LIVES_MAX: Final = 8
"""Processes under one name: a restart in a loop is told, and costs no more memory."""
_REPLICAS = Gauge("sie_config_replicas", "Replicas whose last report is kept.")


@dataclass(frozen=True, slots=True)
class Sighting:
    """The last report of a replica, and when it came."""

    report: ReplicaReport
    at: float
    replaced: bool = False
    """A later life of the name has spoken, and this one not since."""
    is_known: bool = True
    """The broker, or a token that names this replica, says who it is."""
    size: int = 0
    """Bytes that its report had."""
    by_bus: bool = False
    """The report came by the bus, where a sign of life can be asked for."""
    gone: bool = False
    """Since then nobody listens under its name at the broker."""


class Sightings:
    """The last report of each replica, by role, id and life. Owner: `Reports`."""

    def __init__(self, *, ttl_s: float, forget_s: float, replicas_max: int, bytes_max: int) -> None:
        self._ttl_s = ttl_s
        self._forget_s = forget_s
        self._replicas_max = replicas_max
        self._bytes_max = bytes_max
        self._bytes = 0
        self._forgot_at = float("-inf")
        self._swept_at = {True: float("-inf"), False: float("-inf")}
        """By whether somebody knows the newcomer that room was looked for."""
        self._seen: dict[tuple[str, str], dict[str, Sighting]] = {}

    def every_life(self) -> Iterator[Sighting]:
        """All that is kept, also of lives whose place another one took."""
        return chain.from_iterable(lives.values() for lives in self._seen.values())

    def counted(self) -> Iterator[Sighting]:
        """Every life but those whose place another one took."""
        return (seen for seen in self.every_life() if not seen.replaced)

    def shared_names(self) -> list[tuple[str, str]]:
        """Role and id that more than one process goes by."""
        return [
            name
            for name, lives in self._seen.items()
            if sum(not seen.replaced for seen in lives.values()) > 1
        ]

    def keep(self, seen: Sighting) -> bool:
        """Keep a report as the last of its life; False where there is no room for it."""
        report = seen.report
        name, is_kept = (report.role, report.id), True
        if report.leaving:
            self._drop(name, report.life)
        elif self._has_room(name, seen) or self._makes_room(name, seen):
            lives = self._seen.setdefault(name, {})
            self._take_turns(lives, report)
            self._drop_life(lives, report.life)
            lives[report.life] = seen
            self._bytes += seen.size
        else:
            is_kept = False
        _REPLICAS.set(len(self._seen))
        return is_kept

    def _has_room(self, name: tuple[str, str], seen: Sighting) -> bool:
        held = self._seen.get(name, {}).get(seen.report.life)
        grown = self._bytes + seen.size - (held.size if held is not None else 0)
        return grown <= self._bytes_max and (
            name in self._seen or len(self._seen) < self._replicas_max
        )

    def _makes_room(self, name: tuple[str, str], seen: Sighting) -> bool:
        """Let go of silent rows, and of those of nobody in particular for one that is known."""
        # Looked for once a second: a flood of names must not cost a walk for each, and one of
        # nobody in particular must not take the turn of those that are known.
        if seen.at - self._swept_at[seen.is_known] < 1.0:
            return False
        self._swept_at[seen.is_known] = seen.at
        for lives in [*self._seen.values()]:
            for held in [*lives.values()]:
                if seen.at - held.at > self._ttl_s or (seen.is_known and not held.is_known):
                    self._drop((held.report.role, held.report.id), held.report.life)
        return self._has_room(name, seen)

    def _drop_life(self, lives: dict[str, Sighting], life: str) -> None:
        held = lives.pop(life, None)
        if held is not None:
            self._bytes -= held.size

    def _take_turns(self, lives: dict[str, Sighting], report: ReplicaReport) -> None:
        """Judge the other lives of a name by a report of one."""
        known = lives.get(report.life)
        if known is None:
            for life, seen in lives.items():
                lives[life] = replace(seen, replaced=True)
            if len(lives) >= _LIVES_MAX:
                self._drop_life(lives, min(lives, key=lambda life: lives[life].at))
        elif known.replaced:
            _SHARED.inc()
            _LOG.warning(
                "two processes report as %s %s: give each an id of its own",
                report.role,
                report.id,
            )

    def _drop(self, name: tuple[str, str], life: str) -> None:
        lives = self._seen.get(name, {})
        self._drop_life(lives, life)
        if not lives:
            self._seen.pop(name, None)

    def note_gone(self, role: str, replica_id: str, *, asked_at: float) -> None:
        """Nobody listened under this name when asked then; a report since says otherwise."""
        lives = self._seen.get((role, replica_id), {})
        for life, seen in lives.items():
            if seen.at < asked_at:
                lives[life] = replace(seen, gone=True)

    def drop_all(self, role: str, replica_id: str) -> bool:
        """Forget every life of a name; whether it was known."""
        name = (role, replica_id)
        lives = [*self._seen.get(name, ())]
        for life in lives:
            self._drop(name, life)
        return bool(lives)

    def forget_silent(self, now: float) -> None:
        """Let go of those that were silent for as long as any is kept."""
        # Not at each report: with thousands of replicas that would be the most of the work.
        if now - self._forgot_at < min(1.0, self._ttl_s):
            return
        self._forgot_at = now
        gone = [
            (name, life)
            for name, lives in self._seen.items()
            for life, seen in lives.items()
            if now - seen.at > self._forget_s
        ]
        for name, life in gone:
            self._drop(name, life)
        _REPLICAS.set(len(self._seen))
