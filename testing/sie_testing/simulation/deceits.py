"""Faults in which somebody is told what is not so: by HTTP, by the bus, by memory, by a new log.

*shell.* As `sie_testing.simulation.faults`: each acts on the world at once and leaves behind a
timer that takes it back. Promises that whatever is told is of a kind that a broken proxy, an old
message, a stranger or a bad memory tells. The writer itself never lies.
"""

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from sie_core.registry import Entity, Registry
from sie_schemas.fleet import Head
from sie_testing.stage.broker import Arrival

if TYPE_CHECKING:
    from sie_testing.simulation.world import World

__all__ = ["DECEITS", "end_deceits"]

_REFUSALS: Final = (401, 403, 500, 503)
_GARBAGE: Final = (b"", b"{}", b"<html>no</html>", b"\xff\xfe\x00")
_EPOCHS_AHEAD: Final = 5
"""From the next entry, which may be on its way, to one that nobody has written."""


def end_deceits(world: "World") -> None:
    """Everybody is answered truly again."""
    world.calls.answered = lambda status, body: (status, body)
    world.calls.asked = dict


def _http_refused(world: "World", rng: random.Random) -> str:
    """A proxy in front of the writer answers every fetch and report with a word of its own."""
    status = rng.choice((*_REFUSALS, 200, 200))
    body = rng.choice(_GARBAGE)
    torn = status == 200 and rng.random() < 0.5

    def answered(_status: int, true: bytes) -> tuple[int, bytes]:
        world.took_effect("http-refused")
        return status, true[: int(len(true) * rng.random())] if torn else body

    world.calls.answered = answered
    world.in_a_while(rng, lambda: end_deceits(world))
    return f"every answer is {status}{' and torn' if torn else ''}"


def _polls_without_digest(world: "World", rng: random.Random) -> str:
    """A proxy drops the digest from every question for the head."""

    def asked(query: dict[str, str]) -> dict[str, str]:
        if "digest" in query:
            world.took_effect("polls-without-digest")
        return {name: value for name, value in query.items() if name != "digest"}

    world.calls.asked = asked
    world.in_a_while(rng, lambda: end_deceits(world))
    return "on their way to the writer"


def _stream_replaced(world: "World", rng: random.Random) -> str:
    """The broker comes back with another store: a stream's last messages are no entries."""
    names = [name for name, stream in world.broker.streams.items() if stream.messages]
    if not names:
        return ""
    stream = world.broker.streams[names[-1]]
    world.broker.stop()
    world.in_a_while(rng, world.broker.start)
    spoilt = sorted(stream.messages)[-rng.randint(1, 3) :]
    for sequence in spoilt:
        data = stream.messages[sequence]
        # One that was cut before may be empty.
        stream.messages[sequence] = data[: rng.randrange(max(1, len(data)))]
    return f"sequences {spoilt[0]} to {spoilt[-1]}"


def _bookmark_replayed(world: "World", rng: random.Random) -> str:
    """An old bookmark is heard again: as it was, for a later epoch, or of another log."""
    if not world.bookmarks:
        return ""
    subject, data = rng.choice(world.bookmarks)
    head = msgspec.json.decode(data, type=Head)
    shape = rng.randrange(3)
    if shape == 1:
        head = msgspec.structs.replace(head, epoch=head.epoch + rng.randint(1, _EPOCHS_AHEAD))
    if shape == 2:
        head = msgspec.structs.replace(head, log_id=head.log_id[::-1])
        subject = f"sie.config.head.{head.log_id}"
    arrival = Arrival(subject, msgspec.json.encode(head))
    heard = 0
    for replica in world.replicas:
        if replica.client is not None and replica.client.linked:
            heard += replica.client.offer(arrival)
    said = ("as it was", "for a later epoch", "of another log")[shape]
    return f"{said}, {head.log_id[:8]}.{head.epoch}" if heard else ""


def _registry_damaged(world: "World", rng: random.Random) -> str:
    """A replica's memory goes bad: one entity of its registry is gone, older or another."""
    replica = rng.choice(world.replicas)
    entities = sorted(replica.registry, key=lambda entity: (entity.kind, entity.key))
    if not entities:
        return ""
    spoilt = rng.randrange(len(entities))
    one = entities[spoilt]
    shape = rng.randrange(3)
    if shape == 0:
        del entities[spoilt]
    elif shape == 1:
        entities[spoilt] = Entity(one.kind, one.key, one.modified_epoch + 1, one.document)
    else:
        entities[spoilt] = Entity(one.kind, one.key, one.modified_epoch, one.document + b" ")
    replica.spoil_registry(Registry.of(entities))
    return f"{one.kind} {one.key} of {replica.name}"


def _new_log(world: "World", rng: random.Random) -> str:
    """An operator begins a superseding log on a file that lacks nothing."""
    del rng
    writer = world.writer
    plane, volume = writer.plane, writer.volume
    if plane is None or not world.serves_all_of(writer):
        return ""
    writer.kill()
    world.discard_after(volume)
    return f"after {len(volume.entries) - 1} entries"


DECEITS: Final[dict[str, Callable[["World", random.Random], str]]] = {
    "bookmark-replayed": _bookmark_replayed,
    "http-refused": _http_refused,
    "new-log": _new_log,
    "polls-without-digest": _polls_without_digest,
    "registry-damaged": _registry_damaged,
    "stream-replaced": _stream_replaced,
}
"""Kind of fault -> what it does, as in `FAULTS`."""
