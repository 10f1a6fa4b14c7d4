"""The evidence on a loss: who holds an entry, who could have warned, who could give it back.

*shell.* Looks at streams, at what replicas serve and at their files; changes nothing. An excuse is
judged against it. A loss is one only where nobody could give back what comes next. A writer may
begin over an entry only where everybody who knew it was out of its reach.
"""

import contextlib
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sie_core.chain import Position
from sie_schemas.entry import Entry, EntryCorrupt, parse_envelope
from sie_schemas.snapshot import SnapshotCorrupt, decode
from sie_testing.stage.broken import Broken

if TYPE_CHECKING:
    from sie_testing.simulation.processes import ReplicaProcess, WriterProcess
    from sie_testing.simulation.volume import Volume
    from sie_testing.simulation.world import World

__all__ = [
    "ROLL_CALL",
    "Reach",
    "check_given_up",
    "check_warned",
    "known_to",
    "note_vanished",
    "reach_of",
]

ROLL_CALL: Final = "sie.config.rollcall"
"""The subject on which a writer asks, at its start, who has seen its log."""


@dataclass(frozen=True, slots=True)
class Reach:
    """The processes that a roll call reached, and how disturbed the world was by then."""

    disturbances: int
    linked: frozenset[tuple[str, int, int]]
    """(name, life, session) of each process that the broker reaches."""


def reach_of(world: "World") -> Reach:
    """The processes that a roll call reaches now."""
    found = set()
    for process in (world.writer, *world.replicas):
        client, host = process.client, process.host
        if client is not None and host is not None and client.linked and not host.paused:
            found.add((process.name, host.life, client.session))
    return Reach(world.disturbances, frozenset(found))


def check_warned(world: "World", writer: "WriterProcess", begins: Entry) -> None:
    """A writer begins a term over an entry: raise `Broken` if somebody could have warned it.

    Somebody could who knew the entry and was in its reach from its start until now, undisturbed.
    """
    then, now = writer.reach, reach_of(world)
    if then is None or then.disturbances != now.disturbances or not world.broker.up:
        return
    reached = {name for name, _, _ in then.linked & now.linked}
    if writer.name not in reached:
        return
    world.count("check: a writer that was warned does not begin")
    for entry in world.truth.held_at(begins.log_id, begins.epoch):
        if entry.hash == begins.hash:
            continue
        knew = [who for who in _who_could_tell(world, entry) if who in {"the stream"} | reached]
        if knew:
            raise Broken(
                f"{writer.name} begins at epoch {begins.epoch} over another entry, "
                f"which {', '.join(knew)} had and could have told of"
            )


def _who_could_tell(world: "World", entry: Entry) -> Iterator[str]:
    if any(each.hash == entry.hash for each in _on_streams(world, entry.log_id)):
        yield "the stream"
    for replica in world.replicas:
        client = replica.client
        here = replica.follower.position if replica.follower is not None else None
        if here is None or client is None or not client.listens(ROLL_CALL):
            continue
        if any(interest.waiting_max == 1 for interest in client.interests):
            continue
        if here.log_id == entry.log_id and entry.hash in world.truth.path(here.hash):
            yield replica.name


def check_given_up(world: "World", last: Position) -> None:
    """An operator gives up what came after `last`: raise `Broken` if somebody still has it.

    Where disks held two entries of one epoch up to there, he chooses between two histories.
    """
    if any(
        len(held) > 1 and log_id == last.log_id and epoch <= last.epoch
        for (log_id, epoch), held in world.truth.epochs.items()
    ):
        world.count("operator: chooses between two histories")
        return
    world.count("check: what is given up, nobody could give back")
    if _leads_on(_on_streams(world, last.log_id), last):
        raise Broken(f"what came after {last} is given up, and the stream has it")
    for replica in world.replicas:
        if _leads_on(_in_files(replica), last):
            raise Broken(f"what came after {last} is given up, and the files of {replica.name} do")


def known_to(world: "World", reach: Reach) -> set[str]:
    """The hashes of what those whom a roll call reaches have applied, and could tell of."""
    reached = {name for name, _, _ in reach.linked}
    found: set[str] = set()
    for replica in world.replicas:
        here = replica.follower.position if replica.follower is not None else None
        if here is not None and replica.name in reached:
            found.update(world.truth.path(here.hash))
    return found


def note_vanished(
    world: "World",
    volume: "Volume",
    among: Iterable[Entry] | None = None,
    but: Container[str] = (),
) -> None:
    """A writer opens a file, or begins: remember what nobody could give back or tell it of.

    `among` are those in question: by default whatever was ever committed. `but` are hashes that
    somebody could have told it of since it opened the file.
    """
    truth = world.truth
    held = {entry.hash for entry in volume.entries}
    lacking = truth.entries if among is None else [entry.hash for entry in among]
    if held.issuperset(lacking):
        return
    for name in world.broker.streams:
        held.update(entry.hash for entry in _on_streams(world, name.removeprefix("CFG_")))
    replicas = (*world.replicas, *world.twins)
    for replica in replicas:
        here = replica.follower.position if replica.follower is not None else None
        held.update(truth.path(here.hash) if here is not None else ())
        held.update(entry.hash for entry in (*_in_files(replica), *_in_snapshots(replica)))
    for found in lacking:
        if found not in held and found not in but:
            truth.vanished[found] = None


def _leads_on(kept: Iterable[Entry], last: Position) -> bool:
    """True if these hold the entries after a position, up to one that the writer has signed."""
    following = {entry.prev_hash: entry for entry in kept if entry.epoch > last.epoch}
    entry = following.get(last.hash)
    while entry is not None:
        if entry.signature is not None:
            return True
        entry = following.get(entry.hash)
    return False


def _on_streams(world: "World", log_id: str) -> list[Entry]:
    stream = world.broker.streams.get(f"CFG_{log_id}")
    return list(_entries(stream.messages.values())) if stream is not None else []


def _in_files(replica: "ReplicaProcess") -> Iterator[Entry]:
    for name, data in replica.folder.files.items():
        if name.startswith("tail-"):
            yield from _entries(bytes(data).splitlines())


def _in_snapshots(replica: "ReplicaProcess") -> Iterator[Entry]:
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
