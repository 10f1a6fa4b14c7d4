"""The self-check: that the snapshot is the fold of the deltas, looked at again and again.

*shell.* Owns a fold of its own, made of the entries that followers are given. It never looks at the
registry that is served to make it. Each round:

1. brings that fold to the head;
2. reads the snapshot back as a follower would, and compares the two from their documents up;
3. asks one live replica, drawn by chance, to count its own registry anew.

The first round also compares the rows by which the past is looked up with the entries. Behind a
start from a checkpoint it is the fold of the whole log. Takes a bounded share of the loop, so that
writes are answered meanwhile. Promises to say what differs and where; mends nothing.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from prometheus_client import Counter, Gauge

from sie_config.log.checkpoint import registry_of
from sie_config.log.journal import Journal
from sie_config.log.listing import check_listing
from sie_config.log.replay import step
from sie_config.log.storage_faults import LogDamaged, StorageFailed
from sie_config.upkeep.exports import Exports, Log
from sie_core.chain import ChainBroken, Position, check_successor, position_of
from sie_core.registry import Registry
from sie_runtime.dated_counts import DatedCount
from sie_runtime.process.aside import Aside
from sie_runtime.process.waiting import first_of
from sie_schemas import snapshot as snapshots
from sie_schemas.errors import SIEError
from sie_schemas.fleet import Recount
from sie_schemas.snapshot import SnapshotCorrupt

__all__ = ["Checked", "ReplicaChecked", "SelfCheck"]

_LOG: Final = logging.getLogger(__name__)
_SLICE_ENTRIES: Final = 50
"""Entries folded between two turns of the loop: some 2 ms."""
_ROUNDS = Counter("sie_config_self_checks_total", "rounds of the self-check, by outcome", ["found"])
_LAST_ROUND = Gauge(
    "sie_config_self_checks_last_timestamp_seconds",
    "when a round last came to that, in Unix time",
    ["found"],
)
_CHECKS = DatedCount(_ROUNDS, _LAST_ROUND, ("sound", "differs"))

AskReplica = Callable[[str, str], Awaitable[Recount]]
"""Has a replica, by role and id, count its registry. Raises `SIEError`."""


@dataclass(frozen=True, slots=True)
class ReplicaChecked:
    """The outcome of one replica's own count. `sound` None: it could not be asked."""

    role: str
    id: str
    epoch: int
    digest: str
    sound: bool | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Checked:
    """The outcome of a round. `damage` None: the snapshot at `epoch` is the fold of its deltas."""

    epoch: int
    digest: str
    at: str
    damage: LogDamaged | None
    replica: ReplicaChecked | None

    @property
    def sound(self) -> bool:
        """True if nothing was found, here and at the replica."""
        return self.damage is None and (self.replica is None or self.replica.sound is not False)


class SelfCheck:
    """The check of one log. `replicas` gives role and id of those that live."""

    def __init__(
        self,
        journal: Journal,
        exports: Exports,
        log: Log,
        *,
        known: tuple[Registry, Position] | None,
        replicas: Callable[[], list[tuple[str, str]]],
        ask: AskReplica,
        share: float,
        path: Path | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """`known` was folded from the log by this process already; else the fold begins at 1.
        `path` is the log's file, where there is one."""
        self._journal = journal
        self._exports = exports
        self._log = log
        self._registry = known[0] if known is not None else Registry.EMPTY
        self._last = known[1] if known is not None else None
        self._replicas = replicas
        self._ask = ask
        self._share = share
        self._rng = rng or random.Random()
        self._unlisted = path
        """The file whose rows beside the entries were not compared yet."""
        self._turn = asyncio.Lock()
        self._thread = Aside("self-check")

    async def run(
        self, stop: asyncio.Event, *, every_s: float, found: Callable[[Checked], None]
    ) -> None:
        """A round every so often until `stop`, each told to `found`; 0 is one round only.

        A disk that does not give the file back is the store's to judge: the next round looks again.
        """
        while not stop.is_set():
            try:
                checked = await self.check(stop)
            except StorageFailed as error:
                _LOG.warning("the log was not compared: %s", error.message)
                checked = None
            if checked is not None:
                found(checked)
            if not every_s:
                return
            await first_of(stop.wait(), timeout_s=every_s)

    async def check(self, stop: asyncio.Event | None = None) -> Checked | None:
        """One round. With `stop` it leaves the loop its share, and gives None when told to stop."""
        async with self._turn:
            damage: LogDamaged | None = None
            try:
                if not await self._compare(stop):
                    return None
            except LogDamaged as error:
                damage = error
            asking = asyncio.create_task(self._check_replica())
            try:
                if stop is not None:
                    # A replica may be long in answering; the end of this process may not.
                    await first_of(asyncio.wait([asking]), stop.wait())
                    if not asking.done():
                        return None
                replica = await asking
            finally:
                asking.cancel()
        epoch = self._last.epoch if self._last is not None else 0
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        checked = Checked(epoch, self._registry.digest, now, damage, replica)
        _CHECKS.inc("sound" if checked.sound else "differs")
        return checked

    def close(self) -> None:
        """Look no more."""
        self._thread.end()

    async def _compare(self, stop: asyncio.Event | None) -> bool:
        last = self._log.last
        if last is None or not await self._fold(last.epoch, stop):
            return False
        export = await self._exports.newest(self._log)
        # The log may have moved on while the snapshot was made, and then the fold follows.
        if not await self._fold(export.epoch, stop):
            return False
        if self._last is not None and self._last.epoch == export.epoch:
            problem = await self._thread.run(_difference, export.data, self._registry, self._last)
            if problem:
                raise LogDamaged(problem, first_bad_epoch=None)
        if self._unlisted is not None:
            await self._thread.run(check_listing, self._unlisted, export.epoch)
            # What this process adds to them it has made itself.
            self._unlisted = None
        return True

    async def _fold(self, until: int, stop: asyncio.Event | None) -> bool:
        """Bring the fold to an epoch; False when `stop` came first. Raises `LogDamaged`."""
        loop = asyncio.get_running_loop()
        while self._last is None or self._last.epoch < until:
            if stop is not None and stop.is_set():
                return False
            began = loop.time()
            await self._fold_slice(until)
            if stop is None:
                await asyncio.sleep(0)
            else:
                pause_s = (loop.time() - began) * (1 / self._share - 1)
                await first_of(stop.wait(), timeout_s=pause_s)
        return True

    async def _fold_slice(self, until: int) -> None:
        after = self._last.epoch if self._last is not None else 0
        for entry in await self._journal.page(after, until, _SLICE_ENTRIES):
            try:
                check_successor(self._last, entry)
            except ChainBroken as error:
                raise LogDamaged(
                    f"the log is damaged at epoch {entry.epoch}: {error}",
                    first_bad_epoch=entry.epoch,
                ) from error
            self._registry = step(self._registry, entry)
            self._last = position_of(entry)
        if self._last is None or self._last.epoch == after:
            raise LogDamaged(f"epoch {after + 1} is not in the log", first_bad_epoch=after + 1)

    async def _check_replica(self) -> ReplicaChecked | None:
        living = self._replicas()
        if not living:
            return None
        role, replica = self._rng.choice(living)
        try:
            count = await self._ask(role, replica)
        except SIEError as error:
            return ReplicaChecked(role, replica, 0, "", None, error.message)
        entry = await self._journal.entry(count.epoch) if count.epoch >= 1 else None
        told = (role, replica, count.epoch, count.digest)
        if entry is None or (entry.log_id, entry.hash) != (count.log_id, count.hash):
            return ReplicaChecked(*told, None, "it is not at an entry of this log")
        if entry.state_digest == count.digest:
            return ReplicaChecked(*told, True)
        return ReplicaChecked(*told, False, f"epoch {count.epoch} folds to {entry.state_digest}")


def _difference(data: bytes, fold: Registry, at: Position) -> str:
    """The difference between the fold and what a follower that took this snapshot would hold; empty
    if there is none."""
    try:
        found = snapshots.decode(data)
    except SnapshotCorrupt as error:
        return f"the snapshot at {at} cannot be read: {error}"
    if found.entry.hash != at.hash:
        return f"the snapshot at {at} stands at another entry"
    digest = registry_of(found).digest
    if digest != fold.digest:
        return f"the snapshot at {at} has digest {digest[:16]}…, the fold {fold.digest[:16]}…"
    return ""
