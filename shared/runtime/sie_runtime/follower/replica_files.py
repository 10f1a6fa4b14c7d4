"""The files of a replica: its last verified snapshot and the entries since.

*shell.* Two generations in one folder: `snapshot-<epoch>.json` with `tail-<epoch>.ndjson` (the
entries after it), and the generation before. So at least `tail_entries_min` raw entries can be
given back to a writer that lost them. Promises that what is read at boot is only ever a prefix. A
line that does not parse is passed over. What follows it is kept, and read again once the replica
has what it lacks. All is verified again by the replica; nothing here is trusted. Writes are not
synced: losing them costs a fetch. What was kept is not written anew at boot, so that a crash then
costs nothing. Where no snapshot can be read, the entries after the next one stay: a writer may have
lost them, and they lead on from it. A disk that fails is counted and costs the persistence only:
the next write begins a generation of its own. It is tried with the next entry and not before, so a
gauge tells until then that it failed. Safe to call from threads.
"""

import logging
import threading
from collections.abc import Iterator
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO, Final

from prometheus_client import Counter, Gauge

from sie_core.chain import is_of_lineage
from sie_core.registry import Registry
from sie_runtime.process.disk_room import free_bytes
from sie_schemas import snapshot as snapshots
from sie_schemas.entry import Entry, EntryCorrupt, Stub, parse_envelope, to_envelope
from sie_schemas.snapshot import Snapshot, SnapshotCorrupt

__all__ = ["ReplicaFiles", "show_room"]

_LOG: Final = logging.getLogger(__name__)
_FAILURES = Counter("sie_replica_file_failures_total", "Writes that the replica's disk refused.")
_REFUSED = Gauge(
    "sie_replica_files_refused",
    "1 from a write that the replica's disk refused until one that it took.",
)
_FREE = Gauge("sie_replica_disk_free_bytes", "Room that is left on the disk of a replica's files.")


def show_room(folder: Path) -> None:
    """Show the room that is left for the files of this process's replica from now on."""
    _FREE.set_function(partial(free_bytes, folder))


class ReplicaFiles:
    """The files of one replica. Owner: its follower."""

    def __init__(self, folder: Path, *, tail_entries_min: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._tail_entries_min = tail_entries_min
        self._lineage: tuple[Entry, ...] = ()
        self._last: Entry | None = None
        self._tail: BinaryIO | None = None
        self._tail_count = 0
        self._broken = False
        self._lock = threading.Lock()
        self._found: tuple[Snapshot | None, tuple[Entry, ...]] | None = None
        """The files that `load` gave and nothing was written over: the generation to go on with."""
        self._confirmed = 0
        """The number of entries of `_found` that the replica has verified."""
        self._orphaned = False
        """True if tails were found, and no snapshot that leads up to them."""

    def load(self) -> tuple[Snapshot | None, tuple[Entry, ...]]:
        """The newest snapshot that can be read, and all the entries that are kept after it."""
        for epoch in sorted(self._generations(), reverse=True):
            snapshot: Snapshot | None = None
            if epoch > 0:
                try:
                    snapshot = snapshots.decode(self._snapshot_path(epoch).read_bytes())
                except (OSError, SnapshotCorrupt) as error:
                    _LOG.warning("a local snapshot is of no use: %s", error)
                    self._orphaned = True
                    continue
            self._orphaned = False
            self._found = snapshot, tuple(self._after(epoch, since=epoch))
            self._confirmed = 0
            return self._found
        return None, ()

    def took_snapshot(self, snapshot: Snapshot, registry: Registry) -> tuple[Entry, ...]:
        """Begin a new generation with a snapshot that was verified.

        Gives the entries of tails without a snapshot that follow this one. They are kept, and are
        the replica's to verify.
        """
        with self._lock:
            self._lineage = snapshot.lineage
            self._last = snapshot.entry
            found = self._found[0] if self._found is not None else None
            # The tail may be the last copy of an entry that its writer lost, so a boot alone writes
            # nothing over what it read.
            if found is not None and found.entry.hash == snapshot.entry.hash and not self._tail:
                # It is the one that was read from here.
                return ()
            self._found = None
            kept = tuple(self._after(snapshot.entry.epoch)) if self._orphaned else ()
            self._orphaned = False
            if not kept or kept[0].prev_hash != snapshot.entry.hash:
                self._try_begin(registry)
                return ()
            self._try_begin(registry, kept)
            if not self._broken:
                self._close_tail()
                self._found, self._confirmed = (snapshot, kept), 0
            return kept

    def took_entries(self, entries: tuple[Entry, ...], registry: Registry) -> None:
        """Add entries that were applied; `registry` is the state after them."""
        with self._lock:
            for entry in entries:
                if is_of_lineage(entry):
                    self._lineage = (*self._lineage, entry)
            self._last = entries[-1]
            if self._are_found(entries):
                return
            try:
                if not self._broken:
                    self._write(entries)
            except OSError as error:
                self._fail(error)
            if self._broken or self._tail_count >= self._tail_entries_min:
                self._try_begin(registry)

    def entries(self, after: int, until: int) -> list[Entry]:
        """The entries kept after `after` up to `until`, in order, without a gap."""
        return list(takewhile(lambda entry: entry.epoch <= until, self._after(after)))

    def close(self) -> None:
        """Close the tail."""
        with self._lock:
            self._close_tail()

    # -- generations --

    def _after(self, epoch: int, *, since: int = 0) -> Iterator[Entry]:
        """The entries after an epoch, linked, in the tails of generations from `since` on.

        Of two with one epoch the later one counts: what an older one led up to is of another
        history then, and does not follow.
        """
        kept: dict[int, Entry] = {}
        for generation in sorted(self._generations()):
            if generation >= since:
                kept |= {each.epoch: each for each in _entries(self._tail_path(generation))}
        before: Entry | None = None
        while (entry := kept.get(epoch + 1)) is not None:
            if before is not None and entry.prev_hash != before.hash:
                return
            yield entry
            epoch, before = entry.epoch, entry

    def _are_found(self, entries: tuple[Entry, ...]) -> bool:
        """True if these are the next ones of what was read from here; then they are kept as is."""
        if self._found is None or self._tail is not None:
            return False
        expected = self._found[1][self._confirmed : self._confirmed + len(entries)]
        if [entry.hash for entry in expected] != [entry.hash for entry in entries]:
            return False
        self._confirmed += len(entries)
        return True

    def _write(self, entries: tuple[Entry, ...]) -> None:
        tail = self._tail
        if tail is None:
            tail = self._go_on() if self._found is not None else None
        if tail is None:
            tail = self._begin_tail(entries[0].epoch - 1)
        tail.write(_lines(entries))
        tail.flush()
        self._tail_count += len(entries)

    def _go_on(self) -> BinaryIO:
        """Open the tail that was found, without entries that were read and not verified.

        What lies behind a damaged line was not read: it stays, for whoever has to give it back.
        """
        assert self._found is not None
        snapshot, found = self._found
        epoch = snapshot.entry.epoch if snapshot is not None else 0
        read = found[-1].epoch if found else epoch
        unread = [each for each in _entries(self._tail_path(epoch)) if each.epoch > read + 1]
        tail = self._begin_tail(epoch, (*found[: self._confirmed], *unread))
        self._found = None
        return tail

    def _try_begin(self, registry: Registry, kept: tuple[Entry, ...] = ()) -> None:
        try:
            self._begin(registry, kept)
            self._broken = False
            _REFUSED.set(0)
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        _REFUSED.set(1)
        _FAILURES.inc()
        if not self._broken:
            _LOG.error("the replica's files cannot be written: %s", error)
        self._broken = True
        try:
            self._close_tail()
        except OSError:
            # Closing flushes; what does not fit then did not fit before.
            self._tail = None

    def _close_tail(self) -> None:
        if self._tail is not None:
            self._tail.close()
            self._tail = None

    def _begin(self, registry: Registry, kept: tuple[Entry, ...]) -> None:
        entry = self._last
        if entry is None:
            return
        rows = (
            snapshots.encode_row(one.kind, one.key, one.modified_epoch, one.document)
            for one in registry
        )
        path = self._snapshot_path(entry.epoch)
        partial = path.with_suffix(".partial")
        partial.write_bytes(snapshots.encode(self._lineage, entry, rows))
        # A crash before this line leaves the older generation; after it, the newer one.
        partial.replace(path)
        self._begin_tail(entry.epoch, kept)
        # The generation before stays: a new one begins with no entries, and a writer may ask for
        # the last.
        for old in sorted(self._generations(), reverse=True)[2:]:
            self._snapshot_path(old).unlink(missing_ok=True)
            self._tail_path(old).unlink(missing_ok=True)

    def _begin_tail(self, epoch: int, kept: tuple[Entry, ...] = ()) -> BinaryIO:
        """Begin the tail of a generation with what is kept of an older one."""
        self._close_tail()
        path = self._tail_path(epoch)
        partial = path.with_suffix(".partial")
        partial.write_bytes(_lines(kept))
        # A crash before this line leaves the tail that was there; after it, what is kept of it.
        partial.replace(path)
        self._tail = path.open("ab")
        self._tail_count = len(kept)
        return self._tail

    def _generations(self) -> set[int]:
        found = set()
        for path in [*self._folder.glob("snapshot-*.json"), *self._folder.glob("tail-*.ndjson")]:
            number = path.stem.partition("-")[2]
            if number.isascii() and number.isdigit():
                found.add(int(number))
        return found

    def _snapshot_path(self, epoch: int) -> Path:
        return self._folder / f"snapshot-{epoch}.json"

    def _tail_path(self, epoch: int) -> Path:
        return self._folder / f"tail-{epoch}.ndjson"


def _lines(entries: tuple[Entry, ...]) -> bytes:
    return b"".join(to_envelope(entry) + b"\n" for entry in entries)


def _entries(path: Path) -> Iterator[Entry]:
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return
    except OSError as error:
        # A disk that does not give it back costs what is in it, and not the process.
        _LOG.warning("a local tail is of no use: %s", error)
        return
    for line in lines:
        try:
            entry = parse_envelope(line)
        except EntryCorrupt:
            # The lines after it are as good as they were.
            continue
        if not isinstance(entry, Stub):
            yield entry
