"""The replica: a follower of the log as a pure state machine.

*pure.* `receive(event) -> [command]`; no I/O, no clock, one owner. The driver carries out commands
and brings what comes of them back as events; it may lose, repeat, delay and reorder anything.

Promises, whatever the world does: the registry is always that of a prefix of one log. It advances
one verified entry at a time or by one verified snapshot, never back. Once a key is known it moves
only to positions that the writer's signature covers, and nothing unsigned stops it. A second signed
entry for an applied epoch stops it (FORK); a change of a kind it cannot read halts it. Another log
is followed only if that log supersedes this one. While it is stopped it goes on serving what it
last verified. At most one fetch is in flight and the buffer of early entries is bounded.

The driver's duties: carry out each command once; tick now and then; never call from two tasks. It
answers each `Fetch` and `FetchSnapshot` with `RangeArrived`, `SnapshotArrived`, `Gone` or
`FetchFailed` of the same id.
"""

from typing import Final, assert_never

from sie_core.chain import Position, position_of
from sie_core.registry import Registry
from sie_core.replica.early_entries import EarlyEntries
from sie_core.replica.events import (
    Advance,
    Command,
    EntryArrived,
    Event,
    FetchFailed,
    Gone,
    Halt,
    HeadAnnounced,
    Quarantine,
    RangeArrived,
    ReplicaLimits,
    ResyncAsked,
    SnapshotArrived,
    Ticked,
)
from sie_core.replica.fetches import ReplicaFetches
from sie_core.replica.fold import Fault, digest_fault, fold
from sie_core.replica.hearsay import Hearsay
from sie_core.replica.snapshots import UNSIGNED_LOG, refusal, registry_of, unreadable, why_snapshot
from sie_core.trust import Trust
from sie_schemas.entry import ENTRY_VERSION, Entry
from sie_schemas.fleet import Head, ReplicaState
from sie_schemas.snapshot import Snapshot

__all__ = ["Replica"]


class Replica:
    """See the module. Owner: the task that drives it; attributes may be read by anyone."""

    def __init__(self, trust: Trust, limits: ReplicaLimits | None = None) -> None:
        """`trust` has a key that was pinned by hand, or none: the first snapshot brings it then."""
        self._limits: Final = limits or ReplicaLimits()
        self._pinned: Final = trust
        self._trust = trust
        self._hearsay = Hearsay(wait_s=self._limits.stale_after_s)
        self.registry: Registry = Registry.EMPTY
        self.position: Position | None = None
        self.received: int = 0
        """The newest epoch heard of, on this log."""
        self.stopped: ReplicaState | None = None
        """`quarantined`, `forked` or `halted`, or None while it follows."""
        self.reason: str = ""
        self._head: Head | None = None
        self._early = EarlyEntries(self._limits.buffer_entries_max)
        self._fetches = ReplicaFetches(
            retry_s=self._limits.retry_s, retry_max_s=self._limits.retry_max_s
        )
        self._refused_log: str | None = None
        self._asked_about = ""
        """The other log that the snapshot under way is to tell about."""
        self._stranger: tuple[str, float] = ("", 0.0)
        """A log that the writer does not write, and until when it is not asked about again."""
        self._now = 0.0
        self._head_at: float | None = None

    # -- what a reader may ask --

    @property
    def state(self) -> ReplicaState:
        """One word for how far this replica can be believed to be current."""
        if self.stopped is not None:
            return self.stopped
        if self.position is None:
            return "empty"
        if self._head_at is None or self._now - self._head_at > self._limits.stale_after_s:
            return "stale"
        return "fresh"

    @property
    def forged(self) -> int:
        """The number of messages that nobody vouches for who may: see `Hearsay`."""
        return self._hearsay.forged

    @property
    def behind(self) -> int:
        """The number of epochs that are known to be missing."""
        applied = self.position.epoch if self.position is not None else 0
        return max(0, self.received - applied)

    # -- what the driver does --

    def receive(self, event: Event) -> list[Command]:
        """Take one event in; the commands are to be carried out in order."""
        match event:
            case EntryArrived(entry):
                return self._take_in((entry,)) + self._catch_up()
            case HeadAnnounced(head):
                return self._announced(head)
            case RangeArrived() | SnapshotArrived() | Gone():
                return self._answered(event)
            case FetchFailed(fetch_id, reason):
                return self._failed(fetch_id, reason)
            case Ticked(now):
                self._now = now
                self._hearsay.judge(self.position, self._trust, now)
                return self._catch_up()
            case ResyncAsked():
                return self._resync()
            case _:
                assert_never(event)

    def _resync(self) -> list[Command]:
        """The one way out of a fork but a log that supersedes. What is served stays till then."""
        self.position, self._trust = None, self._pinned
        self.stopped, self.reason, self._refused_log = None, "", None
        self._early.clear()
        return self._ask_snapshot("resync")

    # -- entries --

    def _take_in(self, entries: tuple[Entry, ...]) -> list[Command]:
        commands: list[Command] = []
        for entry in entries:
            commands += self._offer(entry)
            if self._early.is_full:
                # A range longer than the buffer goes in by slices.
                commands += self._drain()
        return commands + self._drain()

    def _range(self, entries: tuple[Entry, ...]) -> list[Command]:
        """Take in the answer to a fetch."""
        before = self.position
        commands = self._take_in(entries)
        here = self.position.epoch if self.position is not None else 0
        last = entries[-1].epoch if entries else 0
        if self.position == before and not self._fetches.asked_after < last <= here:
            # It was of no use: pause, or this would spin. What was only heard of is forgotten.
            self._fetches.pause(self._now)
            known = self._head.epoch if self._head is not None else 0
            self.received = max(here, known, self._early.last)
        else:
            self._fetches.succeeded()
        return commands + self._catch_up()

    def _offer(self, entry: Entry) -> list[Command]:
        """Look at one entry: remember it, recognise it, or raise what it proves."""
        if self.stopped in ("forked", "halted"):
            return []
        here = self.position
        if here is None:
            self._offer_first(entry)
            return []
        begins_next = entry.epoch == here.epoch + 1 and entry.prev_hash == here.hash
        if entry.log_id != here.log_id and not begins_next:
            return self._other_log(entry.log_id)
        second = entry.epoch == here.epoch and entry.hash != here.hash
        if second and self._hearsay.believes(entry, self._trust):
            return self._stop(
                "forked", f"a second entry for epoch {entry.epoch}: {entry.hash[:16]}"
            )
        if entry.epoch > here.epoch + self._limits.buffer_entries_max:
            # Too early to be of use; its signature, if it is good, says how far there is to go.
            if self._hearsay.believes(entry, self._trust):
                self._note_head_epoch(entry.epoch)
        elif entry.epoch > here.epoch:
            self._note_head_epoch(entry.epoch)
            self._early.keep(entry)
        return []

    def _offer_first(self, entry: Entry) -> None:
        """Before anything was verified, only an unbroken chain from epoch 1 is of use, under a key
        that was pinned: a stream may be anybody's."""
        if self._trust.public is not None:
            self._early.keep_linked(entry)
            self._note_head_epoch(entry.epoch)

    def _drain(self) -> list[Command]:
        """Apply what now follows without a gap and is vouched for, as one advance."""
        if self.stopped is not None and self._refused_log is None:
            return []
        here = self.position
        registry = self.registry if here is not None else Registry.EMPTY
        first = here.epoch + 1 if here is not None else 1
        entries, forged = self._early.take_covered(first, self._trust)
        self._hearsay.forged += forged
        folded = fold(here, registry, entries, digest_every=self._limits.digest_every)
        stop = self._fault(folded.fault) if folded.fault is not None else []
        if not folded.applied:
            return stop
        last = position_of(folded.applied[-1])
        # What stopped it stopped it after these; the state must not be cleared by the advance.
        return [self._advance(folded.registry, last, entries=folded.applied), *stop]

    def _fault(self, fault: Fault) -> list[Command]:
        """Stop for what was found, and ask for a snapshot where one may mend it."""
        self._refused_log = None  # What stops it now is no stranger, and does not leave with one.
        stop = self._stop(fault.state, fault.reason)
        return [*stop, *self._ask_snapshot(fault.snapshot)] if fault.snapshot else stop

    # -- heads and other logs --

    def _announced(self, head: Head) -> list[Command]:
        here = self.position
        if here is not None and head.log_id != here.log_id:
            return self._other_log(head.log_id)
        if here is not None and not self._trust.believes(head):
            return self._heard_say(head, here)
        if here is None or head.epoch >= here.epoch:
            # An old word, said again, is no news.
            self._head_at = self._now
        if self._refused_log is not None and self.stopped == "quarantined":
            # Our own log speaks again: the stranger was the reason to stop, and it is gone.
            self.stopped, self.reason, self._refused_log = None, "", None
        self._head = head
        self._note_head_epoch(head.epoch)
        if here is None or self.stopped is not None:
            return self._catch_up()
        if head.epoch == here.epoch and head.hash != here.hash:
            return self._stop("forked", f"the writer has another entry at epoch {here.epoch}")
        if head.epoch == here.epoch and head.digest != here.digest:
            return self._fault(digest_fault(f"epoch {here.epoch}"))
        return self._catch_up()

    def _heard_say(self, head: Head, here: Position) -> list[Command]:
        """A head under a key that is not trusted. If the key was changed meanwhile, the entries up
        to there say so: they are asked for once, and nothing else is made of it."""
        if not self._hearsay.may_be_true(head, here, self._trust, self._now):
            return []
        self._note_head_epoch(head.epoch)
        return self._catch_up()

    def _other_log(self, log_id: str) -> list[Command]:
        """A log that is not ours speaks. Its snapshot tells whether it supersedes ours."""
        stranger, until = self._stranger
        known = self._now < until if log_id == stranger else log_id == self._refused_log
        if known or not self._fetches.idle:
            return []
        self._asked_about = log_id
        return self._ask_snapshot(f"log {log_id[:8]}")

    def _note_head_epoch(self, epoch: int) -> None:
        self.received = max(self.received, epoch)

    # -- snapshots --

    def _snapshot(self, snapshot: Snapshot) -> list[Command]:
        self._fetches.wanted_snapshot = ""
        entry, here = snapshot.entry, self.position
        same_log = here is not None and entry.log_id == here.log_id
        asked_about, self._asked_about = self._asked_about, ""
        if asked_about and entry.log_id != asked_about:
            # Somebody speaks of a log that is not the writer's: one snapshot is enough to know.
            self._stranger = (asked_about, self._now + self._limits.other_log_s)
        if self.stopped == "halted" or (self.stopped == "forked" and same_log):
            return []
        trust = self._trust.through(snapshot)
        if here is not None and not same_log:
            why = refusal(snapshot, here) if trust is not None else UNSIGNED_LOG
            if why:
                self._refused_log = entry.log_id
                if trust is None:  # Its signature may yet come, from a disk that was full, say.
                    self._stranger = (entry.log_id, self._now + self._limits.other_log_s)
                return self._stop("quarantined", why)
        if trust is None:
            return self._forged_snapshot(entry)
        if here is not None and same_log and entry.epoch <= here.epoch:
            return self._not_newer(snapshot, here, trust)
        return self._replace(snapshot, trust)

    def _forged_snapshot(self, entry: Entry) -> list[Command]:
        """Of our own log, or the first of all, and not signed as it should be: as if none came."""
        self._hearsay.forged += 1
        self.reason = f"the snapshot at epoch {entry.epoch} is not signed by the trusted key"
        self._fetches.wanted_snapshot = "unsigned"
        self._fetches.pause(self._now)
        return []

    def _not_newer(self, snapshot: Snapshot, here: Position, trust: Trust) -> list[Command]:
        """A snapshot of our own log that is no further than we are."""
        self._settle_received()
        entry = snapshot.entry
        if entry.epoch < here.epoch:
            # A cache, or a writer that lost its tail. Never back.
            self._fetches.pause(self._now)
            return []
        if entry.hash != here.hash:
            return self._stop("forked", f"the snapshot has another entry at epoch {here.epoch}")
        if self.stopped == "quarantined" or self.registry.digest != entry.state_digest:
            return self._replace(snapshot, trust)
        return self._catch_up()

    def _replace(self, snapshot: Snapshot, trust: Trust) -> list[Command]:
        """Verify a snapshot and take it whole."""
        entry = snapshot.entry
        registry = registry_of(snapshot)
        if registry.digest != entry.state_digest and entry.v == ENTRY_VERSION:
            # Damaged, whatever its kinds seem to be: another copy may be whole.
            self._fetches.pause(self._now)
            return self._stop(
                "quarantined", f"the snapshot at epoch {entry.epoch} is not its digest's"
            )
        if what := unreadable(snapshot):
            return self._stop(
                "halted", f"the snapshot holds {what}, which this release cannot read"
            )
        self.stopped, self.reason, self._refused_log = None, "", None
        self._fetches.succeeded()
        self._trust = trust
        advance = self._advance(registry, position_of(entry), snapshot=snapshot)
        self._settle_received()
        return [advance, *self._drain(), *self._catch_up()]

    # -- asking --

    def _catch_up(self) -> list[Command]:
        """Ask for what is missing, unless a fetch is in flight or the pause is not over."""
        if not self._fetches.may_ask(self._now) or self.stopped in ("forked", "halted"):
            return []
        here, behind = self.position, self.behind
        reason = self._fetches.wanted_snapshot or why_snapshot(
            here, self._head, self.received, self._limits.delta_entries_max
        )
        if reason:
            return self._ask_snapshot(reason)
        if here is None or self.stopped is not None or behind == 0:
            return []
        return self._fetches.ask_entries(here, self.received)

    def _settle_received(self) -> None:
        """A snapshot told where the log ends: forget announcements that nothing has borne out."""
        here = self.position.epoch if self.position is not None else 0
        self.received = max(here, self._early.last)

    def _ask_snapshot(self, reason: str) -> list[Command]:
        return self._fetches.ask_snapshot(reason, self._now)

    def _answered(self, event: RangeArrived | SnapshotArrived | Gone) -> list[Command]:
        if event.fetch_id != 0 and not self._fetches.ended(event.fetch_id):
            return []
        match event:
            case RangeArrived() if event.fetch_id == 0:
                # Nobody asked for it, so it ends no pause and begins none: a busy stream behind a
                # gap would put off for ever what mends the gap.
                return self._take_in(event.entries) + self._catch_up()
            case RangeArrived():
                return self._range(event.entries)
            case SnapshotArrived():
                return self._snapshot(event.snapshot)
            case Gone():
                return self._ask_snapshot("gone")

    def _failed(self, fetch_id: int, reason: str) -> list[Command]:
        if not self._fetches.ended(fetch_id):
            return []
        if self.stopped is None:
            self.reason = reason
        self._fetches.pause(self._now)
        return []

    # -- moving --

    def _advance(
        self,
        registry: Registry,
        position: Position,
        *,
        entries: tuple[Entry, ...] = (),
        snapshot: Snapshot | None = None,
    ) -> Advance:
        if self.position is not None and position.log_id != self.position.log_id:
            self.received = position.epoch
        self.registry, self.position = registry, position
        for entry in entries:
            self._trust = self._trust.after(entry)
            self._hearsay.judge(entry, self._trust, self._now)
        self.reason = self.reason if self.stopped else ""
        self._note_head_epoch(position.epoch)
        self._early.forget(position.epoch)
        return Advance(registry, position, entries, snapshot)

    def _stop(self, state: ReplicaState, reason: str) -> list[Command]:
        if self.stopped == state and self.reason == reason:
            return []
        self.stopped, self.reason = state, reason
        self._early.clear()
        return [Quarantine(reason) if state == "quarantined" else Halt(reason)]
