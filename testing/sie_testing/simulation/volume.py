"""A writer's disk in memory: the log file, its lock, its key, its reader and its head file.

*shell.* Stands in for SQLite where a simulation needs thousands of writers a minute; what SQLite
itself does at a power cut is proved elsewhere. Promises what the file promises: a group is whole or
absent, a gap is refused, one lock. Nothing is read back that was not committed. A test may fill it,
let a commit fail with its outcome unknown, or put an older state back.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sie_config.log.head_file import HeadFile
from sie_config.log.journal import Journal
from sie_config.log.log_file import LogFile
from sie_config.log.log_rows import KeyRow
from sie_config.log.replay import replay
from sie_config.log.storage_faults import LogDamaged, StorageFailed, StorageFull, StoreLocked
from sie_config.log.witnesses import Claim
from sie_config.writer.draft import Draft, Tenure
from sie_config.writer.rules import Index
from sie_core.chain import ChainBroken, Position, check_successor, position_of
from sie_core.trust import keys_of
from sie_runtime.signing import SigningKey
from sie_schemas.entry import Change, ChangeKind, Entry, Supersedes, put_key
from sie_schemas.errors import SIEError
from sie_testing.signing import WRITER_KEY

__all__ = ["MemoryHeadFile", "MemoryJournal", "MemoryLogFile", "Volume"]

_PATH: Final = Path("/volume/log.sqlite")


@dataclass(slots=True)
class Volume:
    """The contents of the disk. Owner: the simulated world; processes come and go."""

    entries: list[Entry] = field(default_factory=list)
    keys: dict[tuple[str, str], KeyRow] = field(default_factory=dict)
    low_water: int = 1
    head: Claim | None = None
    key: SigningKey = WRITER_KEY
    """The contents of the key file beside the log."""
    older_keys: tuple[SigningKey, ...] = ()
    """Keys that were in it before, the oldest first."""
    holder: object | None = None
    """The holder of the lock: the file object of one life of one process."""
    full: bool = False
    fail_next: str = ""
    """`before` or `after`: the next commit fails, without or with its effect."""
    damaged_from: int = 0
    """The first epoch that does not read back; 0 is none."""
    on_fault: Callable[[str], None] = lambda kind: None
    """Called when a fault of this kind takes effect."""

    def copy(self) -> "Volume":
        """A backup, or a clone: everything but the lock and the faults."""
        return Volume(
            list(self.entries),
            dict(self.keys),
            self.low_water,
            self.head,
            self.key,
            self.older_keys,
            on_fault=self.on_fault,
        )

    def put_back(self, older: "Volume", *, head_too: bool) -> None:
        """Restore a backup over this disk; the head file perhaps stays the newer one.

        The key file stays as it is: a backup has none.
        """
        self.entries, self.keys = list(older.entries), dict(older.keys)
        self.low_water = older.low_water
        self.damaged_from = 0
        if head_too:
            self.head = older.head

    @property
    def names_its_key(self) -> bool:
        """True if the key here is the one that signs the log here, at its head."""
        return list(keys_of(self.entries))[-1:] in ([], [self.key.key_id])

    @property
    def has_retired_key(self) -> bool:
        """True if the key here has signed this log, and another does now."""
        return not self.names_its_key and self.key.key_id in keys_of(self.entries)

    def begin_heir(self, log_id: str, writer: str, now_us: int) -> Entry:
        """`sie log restore --discard-after` its end: a new log, superseding the one on here.

        It refuses a key that the log has changed for another: see `has_retired_key`.
        """
        last = self.entries[-1]
        begin = Change(
            kind=ChangeKind.LOG_BEGIN, supersedes=Supersedes(last.log_id, last.epoch, last.hash)
        )
        changes = [begin] if self.names_its_key else [begin, put_key(self.key.document)]
        tenure = Tenure(log_id, last.term + 1, writer)
        entry = self._written(tenure, changes, self.key, now_us, "the lost entries are given up")
        self.head = None
        return entry

    def change_key(self, key: SigningKey, now_us: int) -> Entry:
        """`sie log change-key`: another key signs what follows; the one of today signs that."""
        last = self.entries[-1]
        tenure = Tenure(last.log_id, last.term, last.writer)
        changes = [put_key(key.document)]
        entry = self._written(tenure, changes, self.key, now_us, "the key is changed")
        self.older_keys, self.key = (*self.older_keys, self.key), key
        return entry

    def _written(
        self, tenure: Tenure, changes: list[Change], signer: SigningKey, now_us: int, reason: str
    ) -> Entry:
        """An entry that an operator's command appends to a log that nobody has open."""
        replayed = replay(iter(self.entries))
        last = self.entries[-1]
        draft = Draft(replayed.registry, Index.of(replayed.registry), last, tenure, now_us)
        entry = signer.signed(draft.begin(changes, actor="operator", reason=reason))
        self.entries.append(entry)
        return entry


class MemoryLogFile(LogFile):
    """One life's view of the log file."""

    def __init__(
        self,
        volume: Volume,
        *,
        on_commit: Callable[[Sequence[Entry]], None],
    ) -> None:
        self._on_commit = on_commit
        if volume.holder is not None:
            raise StoreLocked("the file is held by another writer: one log has one writer")
        volume.holder = self
        self._volume = volume
        self.failed: SIEError | None = None

    @property
    def path(self) -> Path:
        """A name; nothing is there."""
        return _PATH

    def verified(self, after: Position | None = None) -> Iterator[Entry]:
        """Every entry after a position, oldest first. Raises `LogDamaged`."""
        for entry in list(self._volume.entries):
            if after is not None and entry.epoch <= after.epoch:
                continue
            if entry.epoch == self._volume.damaged_from:
                raise LogDamaged(
                    f"epoch {entry.epoch} does not read back", first_bad_epoch=entry.epoch
                )
            yield entry

    def look(self) -> None:
        """Nobody replaces it."""

    def append(self, entries: Sequence[Entry], keys: Sequence[KeyRow] = ()) -> None:
        """Write a group: whole or not at all."""
        volume = self._volume
        if self.failed is not None:
            raise self.failed
        if volume.holder is not self:
            self.failed = StorageFailed("the file under this process is not its own any more")
            raise self.failed
        if volume.full:
            volume.on_fault("disk-full")
            raise StorageFull("no room to write; free space, then send the write again")
        if volume.fail_next != "before":
            self._commit(entries, keys)
        if volume.fail_next:
            volume.on_fault("commit-fails")
            volume.fail_next = ""
            self.failed = StorageFailed("could not write; the outcome is unknown")
            raise self.failed

    def key_row(self, actor: str, key: str) -> KeyRow | None:
        """The row that was stored for an idempotency key."""
        return self._volume.keys.get((actor, key))

    def low_water(self) -> int:
        """The first epoch that is served as a delta."""
        return self._volume.low_water

    def move_low_water(self, epoch: int) -> None:
        """Move the mark up, never down."""
        self._volume.low_water = max(self._volume.low_water, epoch)

    def bound(self, bytes_max: int) -> None:
        """Memory has no bound here; `Volume.full` is the fault."""

    def close(self) -> None:
        """Give up the lock."""
        if self._volume.holder is self:
            self._volume.holder = None

    def _commit(self, entries: Sequence[Entry], keys: Sequence[KeyRow]) -> None:
        last: Position | None = None
        if self._volume.entries:
            last = position_of(self._volume.entries[-1])
        for entry in entries:
            try:
                check_successor(last, entry)
            except ChainBroken as error:
                self.failed = StorageFailed(f"the file refuses an entry: {error}")
                raise self.failed from error
            last = position_of(entry)
        self._volume.entries.extend(entries)
        self._on_commit(entries)
        for row in keys:
            # The real table's primary key: a second row of one key is refused.
            assert (row.actor, row.key) not in self._volume.keys, f"key {row.key} came twice"
            self._volume.keys[row.actor, row.key] = row


class MemoryJournal(Journal):
    """The reader of a volume."""

    def __init__(self, volume: Volume, *, tail_entries: int) -> None:
        self._volume = volume
        self._tail = deque(maxlen=tail_entries)

    async def close(self) -> None:
        """Nothing is open."""

    async def _read(self, after: int, until: int) -> list[Entry]:
        # A read of a disk lets others run.
        await asyncio.sleep(0)
        entries = self._volume.entries
        first = entries[0].epoch if entries else 1
        return entries[max(0, after + 1 - first) : max(0, until + 1 - first)]


class MemoryHeadFile(HeadFile):
    """The head file of a volume."""

    def __init__(self, volume: Volume, file: MemoryLogFile) -> None:
        self._volume = volume
        self._file = file

    def read(self) -> Claim | None:
        """The claim in it; None if there is none."""
        return self._volume.head

    async def write(self, position: Position, *, again: bool = False) -> None:
        """Replace it, while the file beside it is held."""
        if self._volume.holder is self._file:
            self._volume.head = Claim(
                "the head file", position.log_id, position.epoch, position.hash
            )

    def remove(self) -> None:
        """Take it away, while the file beside it is held."""
        if self._volume.holder is self._file:
            self._volume.head = None
