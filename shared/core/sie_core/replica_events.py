"""The things that a replica hears and asks for: the events and commands of `sie_core.replica`.

*types.* An answer carries the id of the fetch that it answers, so that a late one is recognised.
"""

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
    "ResyncAsked",
    "SnapshotArrived",
    "Ticked",
]


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
