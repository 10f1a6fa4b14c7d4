"""What a replica hears and what it asks for: the events and commands of `sie_core.replica`.

*types.* An answer carries the id of the fetch that it answers, so that a late one is recognised.
"""

from dataclasses import dataclass

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
    "ResyncAsked",
    "SnapshotArrived",
    "Ticked",
]


# ---- events -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EntryArrived:
    """One entry came by itself, from the stream."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class HeadAnnounced:
    """Somebody who should know says where the log ends."""

    head: Head


@dataclass(frozen=True, slots=True)
class RangeArrived:
    """The answer to a `Fetch`: entries in order, perhaps fewer than were asked for."""

    fetch_id: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class SnapshotArrived:
    """The answer to a `FetchSnapshot`, or a local file at boot (`fetch_id` 0)."""

    fetch_id: int
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Gone:
    """The range that a `Fetch` asked for is below the low water, or of a log that is no more."""

    fetch_id: int


@dataclass(frozen=True, slots=True)
class FetchFailed:
    """A fetch came to nothing; a later tick tries again."""

    fetch_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time passed: `now` is in seconds of any steady clock."""

    now: float


@dataclass(frozen=True, slots=True)
class ResyncAsked:
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


@dataclass(frozen=True, slots=True)
class Advance:
    """Serve this registry from now on, and persist how it came: entries, or a snapshot."""

    registry: Registry
    position: Position
    entries: tuple[Entry, ...] = ()
    snapshot: Snapshot | None = None


@dataclass(frozen=True, slots=True)
class Fetch:
    """Get the entries after `after`, up to `until`."""

    id: int
    log_id: str
    after: int
    until: int


@dataclass(frozen=True, slots=True)
class FetchSnapshot:
    """Get a snapshot of the writer's log. `reason` says why for the metric."""

    id: int
    reason: str


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Another log, or a snapshot that does not verify: do not follow, serve what was verified."""

    reason: str


@dataclass(frozen=True, slots=True)
class Halt:
    """The position cannot advance any more: a fork, or a change that this release cannot read."""

    reason: str


Command = Advance | Fetch | FetchSnapshot | Quarantine | Halt
