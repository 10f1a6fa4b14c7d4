"""The evidence on a loss: who holds an entry, who could have warned, who could give it back.

*shell.* Looks at streams, at what replicas serve and at their files; changes nothing. An excuse is
judged against it. A loss is one only where nobody could give back what comes next. A writer may
begin over an entry only where everybody who knew it was out of its reach.
"""

import contextlib
from collections.abc import Container, Iterable, Iterator
from typing import Final

from sie_core.chain import Position
from sie_schemas.entry import Entry, EntryCorrupt, parse_envelope
from sie_schemas.snapshot import SnapshotCorrupt, decode
from sie_testing.simulation.ground import Ground, Reach
from sie_testing.simulation.processes import ReplicaProcess, WriterProcess
from sie_testing.simulation.volume import Volume
from sie_testing.stage.broken import Broken

__all__ = ["ROLL_CALL", "Evidence"]

ROLL_CALL: Final = "sie.config.rollcall"
"""The subject on which a writer asks, at its start, who has seen its log."""


class Evidence:
    """Of one world. `twins` are replicas under the name of one that lives."""

    def __init__(
        self, ground: Ground, replicas: list[ReplicaProcess], twins: list[ReplicaProcess]
    ) -> None:
        self._ground = ground
        self._replicas = replicas
        self._twins = twins

    def reach_of(self, writer: WriterProcess) -> Reach:
        """The processes that a roll call reaches now."""
        found = set()
        for process in (writer, *self._replicas):
            client, host = process.client, process.host
            if client is not None and host is not None and client.linked and not host.paused:
                found.add((process.name, host.life, client.session))
        return Reach(self._ground.disturbances, frozenset(found))

    def check_warned(self, writer: str, then: Reach | None, now: Reach, begins: Entry) -> None:
        """A writer begins a term over an entry: raise `Broken` if somebody could have warned it.

        Somebody could who knew the entry, and was in its reach from its start until now.
        """
        if then is None or then.disturbances != now.disturbances or not self._ground.broker.up:
            return
        reached = {name for name, _, _ in then.linked & now.linked}
        if writer not in reached:
            return
        self._ground.count("check: a writer that was warned does not begin")
        for entry in self._ground.truth.held_at(begins.log_id, begins.epoch):
            if entry.hash == begins.hash:
                continue
            knew = [who for who in self._who_could_tell(entry) if who in {"the stream"} | reached]
            if knew:
                raise Broken(
                    f"{writer} begins at epoch {begins.epoch} over another entry, "
                    f"which {', '.join(knew)} had and could have told of"
                )

    def _who_could_tell(self, entry: Entry) -> Iterator[str]:
        if any(each.hash == entry.hash for each in self._on_streams(entry.log_id)):
            yield "the stream"
        for replica in self._replicas:
            client = replica.client
            here = replica.follower.position if replica.follower is not None else None
            if here is None or client is None or not client.listens(ROLL_CALL):
                continue
            if any(interest.waiting_max == 1 for interest in client.interests):
                continue
            if here.log_id == entry.log_id and entry.hash in self._ground.truth.path(here.hash):
                yield replica.name

    def check_given_up(self, last: Position) -> None:
        """An operator gives up what came after `last`: raise `Broken` if somebody still has it.

        Where disks held two entries of one epoch up to there, he chooses between two histories.
        """
        if any(
            len(held) > 1 and log_id == last.log_id and epoch <= last.epoch
            for (log_id, epoch), held in self._ground.truth.epochs.items()
        ):
            self._ground.count("operator: chooses between two histories")
            return
        self._ground.count("check: what is given up, nobody could give back")
        if _leads_on(self._on_streams(last.log_id), last):
            raise Broken(f"what came after {last} is given up, and the stream has it")
        for replica in self._replicas:
            if _leads_on(_in_files(replica), last):
                raise Broken(
                    f"what came after {last} is given up, and the files of {replica.name} do"
                )

    def known_to(self, reach: Reach) -> set[str]:
        """The hashes of what those whom a roll call reaches have applied, and could tell of."""
        reached = {name for name, _, _ in reach.linked}
        found: set[str] = set()
        for replica in self._replicas:
            here = replica.follower.position if replica.follower is not None else None
            if here is not None and replica.name in reached:
                found.update(self._ground.truth.path(here.hash))
        return found

    def note_vanished(
        self,
        volume: Volume,
        among: Iterable[Entry] | None = None,
        but: Container[str] = (),
    ) -> None:
        """A writer opens a file, or begins: remember what nobody could give back or tell it of.

        `among` are those in question: by default whatever was ever committed. `but` are hashes that
        somebody could have told it of since it opened the file.
        """
        truth = self._ground.truth
        held = {entry.hash for entry in volume.entries}
        lacking = truth.entries if among is None else [entry.hash for entry in among]
        if held.issuperset(lacking):
            return
        for name in self._ground.broker.streams:
            held.update(entry.hash for entry in self._on_streams(name.removeprefix("CFG_")))
        replicas = (*self._replicas, *self._twins)
        for replica in replicas:
            here = replica.follower.position if replica.follower is not None else None
            held.update(truth.path(here.hash) if here is not None else ())
            held.update(entry.hash for entry in (*_in_files(replica), *_in_snapshots(replica)))
        for found in lacking:
            if found not in held and found not in but:
                truth.vanished[found] = None

    def _on_streams(self, log_id: str) -> list[Entry]:
        stream = self._ground.broker.streams.get(f"CFG_{log_id}")
        return list(_entries(stream.messages.values())) if stream is not None else []


def _leads_on(kept: Iterable[Entry], last: Position) -> bool:
    """True if these hold the entries after a position, up to one that the writer has signed."""
    following = {entry.prev_hash: entry for entry in kept if entry.epoch > last.epoch}
    entry = following.get(last.hash)
    while entry is not None:
        if entry.signature is not None:
            return True
        entry = following.get(entry.hash)
    return False


def _in_files(replica: ReplicaProcess) -> Iterator[Entry]:
    for name, data in replica.folder.files.items():
        if name.startswith("tail-"):
            yield from _entries(bytes(data).splitlines())


def _in_snapshots(replica: ReplicaProcess) -> Iterator[Entry]:
    """The last entry and the lineage of each that reads back: a torn one proves nothing."""
    for name, data in replica.folder.files.items():
        if not name.startswith("tail-"):
            with contextlib.suppress(SnapshotCorrupt):
                found = decode(bytes(data))
                yield from (found.entry, *found.lineage)


def _entries(messages: Iterable[bytes]) -> Iterator[Entry]:
    for data in messages:
        try:
            entry = parse_envelope(data)
        except EntryCorrupt:
            continue
        if isinstance(entry, Entry):
            yield entry
