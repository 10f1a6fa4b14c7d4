"""The watch over convergence: when entries were committed, and who got there when.

*shell.* Owns the times of the newest commits and the epoch that each replica was last heard at.
Measures the time from commit to report, and lets callers wait for a goal. It never writes, and a
replica's word changes nothing but the answer here.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from typing import Final

import msgspec
from msgspec import UNSET
from prometheus_client import Histogram

from sie_config.log.journal import Journal
from sie_config.log.storage_faults import LogDamaged
from sie_config.log.witnesses import Claim
from sie_config.replicas.affected import About, about
from sie_config.replicas.convergence import Convergence, Goal, Selector, Until, assess, select
from sie_config.replicas.living import live_of
from sie_config.replicas.reports import Reports
from sie_config.replicas.sightings import Sighting
from sie_config.writer.dark import Dark, unserved
from sie_core.chain import Position, position_of
from sie_core.registry import Entity
from sie_core.resolver import Resolver
from sie_runtime.process.waiting import Waits, first_of
from sie_schemas.entry import Entry
from sie_schemas.revisions import model_revision

__all__ = ["ConvergenceWatch"]

_PROPAGATION = Histogram(
    "sie_config_propagation_seconds",
    "from the commit of an entry to a replica's word that it applied it",
    ["role"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
_LOOK_AGAIN_S: Final = 0.5
"""Silence is noticed by the clock alone; all else wakes the waiters."""
_SOURCES_MAX: Final = 10_000
"""Replicas whose progress is measured: each pod has a name that never comes back."""


class ConvergenceWatch:
    """One for a control plane; everything runs on one loop."""

    def __init__(
        self,
        reports: Reports,
        journal: Journal,
        *,
        clock: Callable[[], float],
        ttl_s: float,
        commits_max: int,
        resolver: Callable[[Iterable[str]], Resolver],
        earlier: Callable[[str, str, int], Awaitable[Entity | None]],
    ) -> None:
        """`resolver` gives what is read now of some models, `earlier` an entity at an epoch."""
        self._resolver = resolver
        self._earlier = earlier
        self._reports = reports
        self._journal = journal
        self._clock = clock
        self._ttl_s = ttl_s
        self._commits_max = commits_max
        self._commits: OrderedDict[int, float] = OrderedDict()
        self._older: OrderedDict[int, datetime] = OrderedDict()
        """The moments of older entries that a replica lacks."""
        self._applied: dict[str, int] = {}
        """The last epoch of each source, the last that was heard last."""
        self._started_at = clock()
        self._heard = asyncio.Event()

    def committed(self, epoch: int) -> None:
        """Note that an entry was committed now."""
        self._commits[epoch] = self._clock()
        while len(self._commits) > self._commits_max:
            self._commits.popitem(last=False)

    def committed_at(self, epoch: int) -> float:
        """The time of an entry's commit; for one that is older than we know, when we started."""
        return self._commits.get(epoch, self._started_at)

    async def lag_s(self, epoch: int) -> float | None:
        """The seconds that a replica at `epoch` has been behind; None where the entry that it lacks
        cannot be read."""
        lacks = epoch + 1
        if lacks in self._commits:
            return round(self._clock() - self._commits[lacks], 3)
        if lacks not in self._older:
            try:
                found = await self._journal.entry(lacks)
            except LogDamaged:
                # Its own trouble, which is told; whoever looks is still shown where all are.
                found = None
            if found is None:
                return None
            # Kept, for a console asks again and again, and an entry may have megabytes.
            self._older[lacks] = datetime.fromisoformat(found.ts)
            while len(self._older) > self._commits_max:
                self._older.popitem(last=False)
        return round((datetime.now(UTC) - self._older[lacks]).total_seconds(), 3)

    def heard(self, claim: Claim | None) -> None:
        """Note a report, and let those who wait look again."""
        if claim is not None:
            self._measure(claim)
        # A new one, not a cleared one: who waited is woken, who waits from now on is not.
        heard, self._heard = self._heard, asyncio.Event()
        heard.set()

    async def wait(
        self,
        entry: Entry,
        selector: Selector,
        until: Until,
        *,
        quorum: int | None,
        replicas_min: int,
        timeout_s: float,
        waits: Waits,
        whose: str,
    ) -> Convergence:
        """Wait for the replicas to take an entry: at once if they are there, else when they are.

        One that has to wait is one of `waits`, of `whose`, and may end early for a newcomer.
        """
        goal = Goal(
            log_id=entry.log_id,
            epoch=entry.epoch,
            committed_at=self.committed_at(entry.epoch),
            until=until,
            models=_revisions_of(entry),
            quorum=quorum,
            replicas_min=replicas_min,
        )
        deadline = asyncio.get_running_loop().time() + timeout_s
        meant = await self._about(entry) if until == "effective" else None
        # Before the look: a report that comes during it is not slept through.
        heard = self._heard
        found = await self._assess(selector, goal, meant)
        if found.reached or timeout_s <= 0:
            return found
        # One wait from here to its end: one that left and came again with each report would be a
        # newcomer each time, and end an older one.
        is_reached = False
        async with waits.until(deadline, whose):
            while not is_reached:
                await first_of(heard.wait(), timeout_s=_LOOK_AGAIN_S)
                heard = self._heard
                found = await self._assess(selector, goal, meant)
                is_reached = found.reached
        return found if is_reached else await self._assess(selector, goal, meant)

    async def _about(self, entry: Entry) -> About:
        bundles = [change.key for change in entry.changes if change.entity_kind == "bundle"]
        found = [await self._earlier("bundle", key, entry.epoch - 1) for key in bundles]
        return about(entry, [entity.document for entity in found if entity is not None])

    async def _assess(self, selector: Selector, goal: Goal, meant: About | None) -> Convergence:
        selected = select(self._reports.sightings(), selector, goal, self._ttl_s)
        positions = await self._positions(selected, goal.epoch)
        now = self._clock()
        dark = () if meant is None else self._unserved(meant, now)
        return assess(selected, goal, positions, now=now, ttl_s=self._ttl_s, unserved=dark)

    def _unserved(self, meant: About, now: float) -> tuple[Dark, ...]:
        live = live_of(self._reports.sightings(), now, self._ttl_s)
        asked = live.asked if meant.moves else {}
        resolver = self._resolver({*meant.models, *asked})
        return unserved(resolver, meant.model_ids(resolver, asked), live)

    async def _positions(self, selected: list[Sighting], epoch_min: int) -> dict[int, Position]:
        positions: dict[int, Position] = {}
        for epoch in {seen.report.epoch for seen in selected if seen.report.epoch >= epoch_min}:
            entry = await self._journal.entry(epoch)
            if entry is not None:
                positions[epoch] = position_of(entry)
        return positions

    def _measure(self, claim: Claim) -> None:
        # A new source tells nothing: it may have applied all of it long ago. Taken out first, so
        # that the one heard longest ago stands in front.
        before = self._applied.pop(claim.source, claim.epoch)
        self._applied[claim.source] = claim.epoch
        if len(self._applied) > _SOURCES_MAX:
            del self._applied[next(iter(self._applied))]
        took = _PROPAGATION.labels(claim.source.partition(" ")[0])
        now = self._clock()
        # Anybody may claim to be at 2^53: no more is counted up than commits are remembered.
        for epoch in range(max(before + 1, claim.epoch - self._commits_max), claim.epoch + 1):
            if epoch in self._commits:
                took.observe(now - self._commits[epoch])


def _revisions_of(entry: Entry) -> dict[str, frozenset[str]]:
    revisions: dict[str, frozenset[str]] = {}
    for change in entry.changes:
        if change.entity_kind == "model" and change.document is not UNSET:
            document = msgspec.json.decode(change.document)
            revisions[change.key] = frozenset(
                model_revision(document, profile) for profile in document["profiles"]
            )
    return revisions
