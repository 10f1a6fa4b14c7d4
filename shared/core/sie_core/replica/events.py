"""The things that a replica hears and asks for, and its bounds.

*types.* Events, commands and limits of `sie_core.replica`. An answer carries the id of the fetch
that it answers, so that a late one is recognised.
"""

from dataclasses import dataclass

from msgspec import Struct

from sie_core.chain import Position
from sie_core.registry import Registry
from sie_schemas.entry import Entry
from sie_schemas.fleet import Head
from sie_schemas.snapshot import Snapshot

__all__ = [
    "Advance",
    "Command",
    "EntryArrived",
    "Event",
    "Fetch",
    "FetchFailed",
    "FetchSnapshot",
    "Gone",
    "Halt",
    "HeadAnnounced",
    "Quarantine",
    "RangeArrived",
    "ReplicaLimits",
    "ResyncAsked",
    "SnapshotArrived",
    "Ticked",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaLimits:
    """Bounds and time constants of a replica."""

    buffer_entries_max: int = 1000
    """Entries kept that came too early; the rest is fetched again."""
    delta_entries_max: int = 1000
    """Further behind than this, a snapshot is asked for instead of the entries."""
    digest_every: int = 1000
    """In a long range, the digest is compared at each such epoch, and always at its end."""
    retry_s: float = 0.2
    """Pause after a failed fetch; doubles at each failure."""
    retry_max_s: float = 5.0
    stale_after_s: float = 10.0
    """Without a word of the head for so long, the state is `stale`."""
    other_log_s: float = 30.0
    """A log that turned out not to be the writer's is asked about again after so long."""


# ---- events -------------------------------------------------------------------------------------


class EntryArrived(Struct, frozen=True):
    """One entry came by itself, from the stream."""

    entry: Entry


class HeadAnnounced(Struct, frozen=True):
    """Somebody who should know says where the log ends."""

    head: Head


class RangeArrived(Struct, frozen=True):
    """The answer to a `Fetch`: entries in order, perhaps fewer than were asked for."""

    fetch_id: int
    entries: tuple[Entry, ...]


class SnapshotArrived(Struct, frozen=True):
    """The answer to a `FetchSnapshot`, or a local file at boot (`fetch_id` 0)."""

    fetch_id: int
    snapshot: Snapshot


class Gone(Struct, frozen=True):
    """The range that a `Fetch` asked for is below the low water, or of a log that is no more."""

    fetch_id: int


class FetchFailed(Struct, frozen=True):
    """A fetch came to nothing; a later tick tries again."""

    fetch_id: int
    reason: str


class Ticked(Struct, frozen=True):
    """Time passed: `now` is in seconds of any steady clock."""

    now: float


class ResyncAsked(Struct, frozen=True):
    """An operator's word: forget what was verified, and take the writer's snapshot."""


Event = (
    EntryArrived
    | HeadAnnounced
    | RangeArrived
    | SnapshotArrived
    | Gone
    | FetchFailed
    | Ticked
    | ResyncAsked
)


# ---- commands -----------------------------------------------------------------------------------


class Advance(Struct, frozen=True):
    """Serve this registry from now on, and persist how it came: entries, or a snapshot."""

    registry: Registry
    position: Position
    entries: tuple[Entry, ...] = ()
    snapshot: Snapshot | None = None


class Fetch(Struct, frozen=True):
    """Get the entries after `after`, up to `until`."""

    id: int
    log_id: str
    after: int
    until: int


class FetchSnapshot(Struct, frozen=True):
    """Get a snapshot of the writer's log. `reason` says why for the metric."""

    id: int
    reason: str


class Quarantine(Struct, frozen=True):
    """Another log, or a snapshot that does not verify: do not follow, serve what was verified."""

    reason: str


class Halt(Struct, frozen=True):
    """The position cannot advance any more: a fork, or a change that this release cannot read."""

    reason: str


Command = Advance | Fetch | FetchSnapshot | Quarantine | Halt
