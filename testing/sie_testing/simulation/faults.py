"""The faults of a simulated world: what each does, and how it ends.

*shell.* A fault acts on the world at once, and leaves behind a timer that takes it back where that
is due. `heal` takes everything back. Which faults a run has, and when, is drawn from its seed. Each
run knows only some kinds, so that rare ones are not drowned by common ones.
"""

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from sie_testing.simulation.deceits import DECEITS, end_deceits
from sie_testing.simulation.disk_faults import DISK_FAULTS, mend_key
from sie_testing.simulation.http import CONFIG
from sie_testing.simulation.processes import ReplicaProcess, WriterProcess
from sie_testing.stage.broker import BROKER
from sie_testing.stage.run import inject

if TYPE_CHECKING:
    from sie_testing.simulation.world import World

__all__ = ["FAULTS", "heal", "inject_some"]

_BETWEEN_S: Final = 0.9
"""A sixth of the longest fault: several are there at once, most of the time."""
LATER: Final = frozenset(
    {
        "acks-lost",
        "clocks-apart",
        "commit-fails",
        "deltas-spoiled",
        "disk-full",
        "http-refused",
        "key-restored",
        "low-water-moved",
        "polls-without-digest",
        "slow-consumer",
    }
)
"""Faults that wait for an occasion: each counts when it finds one."""


async def inject_some(world: "World", kinds: Sequence[str], count: int) -> None:
    """Do `count` faults of these kinds."""
    await inject(world, FAULTS, kinds, count, between_s=_BETWEEN_S, later=LATER)


def heal(world: "World") -> None:
    """Take every fault back, and let every process live."""
    world.trace.say("world", "heals")
    end_twins(world)
    world.network.mend_all()
    world.broker.start()
    world.broker.acks_to_lose = 0
    world.broker.spoil = _as_it_is
    end_deceits(world)
    world.writer.volume.full = False
    world.writer.volume.fail_next = ""
    mend_key(world)
    for process in world.processes:
        if process.client is not None:
            process.client.waiting_max = 1000
        process.resume()
        if process not in (*world.zombies, *world.early):
            process.held_down = False
            process.start()


def _as_it_is(data: bytes) -> list[bytes]:
    return [data]


# ---- processes ----------------------------------------------------------------------------------


def _kill_writer(world: "World", rng: random.Random) -> str:
    return "the writer" if world.writer.kill() else ""


def _stop_writer(world: "World", rng: random.Random) -> str:
    return "the writer, gently" if world.writer.end() else ""


def _pause_writer(world: "World", rng: random.Random) -> str:
    paused = world.writer.pause()
    world.in_a_while(rng, world.writer.resume)
    return "the writer" if paused else ""


def _kill_replica(world: "World", rng: random.Random) -> str:
    replica = rng.choice(world.replicas)
    return replica.name if replica.kill() else ""


def _stop_replica(world: "World", rng: random.Random) -> str:
    replica = rng.choice(world.replicas)
    return replica.name if replica.end() else ""


def _pause_replica(world: "World", rng: random.Random) -> str:
    replica = rng.choice(world.replicas)
    paused = replica.pause()
    world.in_a_while(rng, replica.resume)
    return replica.name if paused else ""


def _tear_replica_files(world: "World", rng: random.Random) -> str:
    return _spoil_files(world, rng, lambda replica: replica.folder.tear(rng))


def _flip_replica_bit(world: "World", rng: random.Random) -> str:
    return _spoil_files(world, rng, lambda replica: replica.folder.flip_bit(rng))


def _wipe_replica(world: "World", rng: random.Random) -> str:
    return _spoil_files(world, rng, lambda replica: replica.folder.wipe())


def _spoil_files(
    world: "World", rng: random.Random, spoil: Callable[[ReplicaProcess], None]
) -> str:
    replica = rng.choice(world.replicas)
    replica.kill()
    before = {name: bytes(data) for name, data in replica.folder.files.items()}
    spoil(replica)
    return replica.name if replica.folder.files != before else ""


def _twin_replica(world: "World", rng: random.Random) -> str:
    """Somebody starts another replica under a name that is taken, for a while."""
    if world.twins:
        return ""
    replica = rng.choice(world.replicas)
    twin = ReplicaProcess(world, replica.name, replica.role)
    world.twins.append(twin)
    twin.start()

    def end() -> None:
        plane = world.writer.plane
        names = plane.replicas.reports.kept.shared_names() if plane is not None else []
        if (replica.role, replica.name) in names:
            world.count("check: two replicas of one name are told apart")
        end_twins(world)

    world.in_a_while(rng, end, at_least_s=1.0)
    return replica.name


def end_twins(world: "World") -> None:
    """Whoever took the name of another is sent away, and his folder goes with him."""
    for twin in world.twins:
        twin.held_down = True
        twin.kill()
    world.twins.clear()


def _second_writer(world: "World", rng: random.Random) -> str:
    """Somebody starts another writer on the same file, while the first one lives."""
    if world.writer.volume.holder is None:
        return ""
    world.early.append(WriterProcess(world, "early", world.writer.volume))
    world.early[-1].behind_url = False
    world.early[-1].start()
    world.early[-1].held_down = True
    return "on the same file"


def _failover(world: "World", rng: random.Random) -> str:
    """The writer hangs; its volume is cloned and another one takes its place; then it wakes."""
    old = world.writer
    # Nobody clones an empty volume: beside replicas such a clone rightly never begins a log.
    if old.plane is None or world.zombies or not old.volume.entries:
        return ""
    old.pause()
    old.behind_url = False
    world.calls.serving = None
    world.zombies.append(old)
    world.writer = WriterProcess(world, "config", old.volume.copy())
    world.writer.start()
    world.in_a_while(rng, old.resume, at_least_s=1.0)
    old.held_down = True
    return "a second writer on a clone"


# ---- network and broker -------------------------------------------------------------------------


def _partition(world: "World", rng: random.Random) -> str:
    names = [CONFIG, *(replica.name for replica in world.replicas)]
    one, other = rng.choice(
        [(name, BROKER) for name in names]
        + [(name, CONFIG) for name in names if name != CONFIG]
        + [("client", CONFIG)]
    )
    both = rng.random() < 0.7
    world.network.cut(one, other, both=both)
    world.in_a_while(rng, lambda: world.network.mend(one, other))
    return f"{one} {'|' if both else '>|'} {other}"


def _broker_down(world: "World", rng: random.Random) -> str:
    world.broker.stop()
    world.in_a_while(rng, world.broker.start)
    return "the broker"


def _stream_wiped(world: "World", rng: random.Random) -> str:
    names = sorted(world.broker.streams)
    for name in names:
        world.broker.wipe(name)
    return f"{len(names)} streams" if names else ""


def _stream_loses_tail(world: "World", rng: random.Random) -> str:
    for name, stream in world.broker.streams.items():
        if stream.last > stream.first + 1:
            world.broker.lose_tail(name, rng.randint(stream.first, stream.last - 1))
            return f"to sequence {stream.last}"
    return ""


def _acks_lost(world: "World", rng: random.Random) -> str:
    world.broker.acks_to_lose = rng.randint(1, 3)
    return f"{world.broker.acks_to_lose} acknowledgements"


def _deltas_spoiled(world: "World", rng: random.Random) -> str:
    """Deliveries of the stream are lost, repeated or damaged on the way."""

    def spoil(data: bytes) -> list[bytes]:
        shape = rng.random()
        if shape < 0.6:
            world.took_effect("deltas-spoiled")
        if shape < 0.3:
            return []
        if shape < 0.5:
            return [data, data]
        if shape < 0.6:
            place = rng.randrange(len(data))
            return [data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]]
        return [data]

    def restore() -> None:
        world.broker.spoil = _as_it_is

    world.broker.spoil = spoil
    world.in_a_while(rng, restore)
    return "lost, repeated or damaged"


def _slow_consumer(world: "World", rng: random.Random) -> str:
    replica = rng.choice(world.replicas)
    if replica.client is None or replica.host is None:
        return ""
    for interest in replica.client.interests:
        interest.waiting_max = 1
    replica.pause()
    world.in_a_while(rng, replica.resume)
    return replica.name


def _clock_jumps(world: "World", rng: random.Random) -> str:
    world.skew_us += int(rng.uniform(-3600, 3600) * 1e6)
    return f"to {world.skew_us / 1e6:+.0f} s"


def _clocks_apart(world: "World", rng: random.Random) -> str:
    """The clock of one writer's host is set: whoever takes its place has another one."""
    writer = rng.choice([world.writer, *world.zombies])
    writer.skew_us = int(rng.uniform(-600, 600) * 1e6)
    return f"{writer.skew_us / 1e6:+.0f} s at {writer.name}"


FAULTS: Final[dict[str, Callable[["World", random.Random], str]]] = {
    **DECEITS,
    **DISK_FAULTS,
    "acks-lost": _acks_lost,
    "broker-down": _broker_down,
    "clock-jumps": _clock_jumps,
    "clocks-apart": _clocks_apart,
    "deltas-spoiled": _deltas_spoiled,
    "failover": _failover,
    "partition": _partition,
    "replica-bit-flipped": _flip_replica_bit,
    "replica-files-torn": _tear_replica_files,
    "replica-killed": _kill_replica,
    "replica-paused": _pause_replica,
    "replica-stopped": _stop_replica,
    "replica-twin": _twin_replica,
    "replica-wiped": _wipe_replica,
    "second-writer": _second_writer,
    "slow-consumer": _slow_consumer,
    "stream-loses-tail": _stream_loses_tail,
    "stream-wiped": _stream_wiped,
    "writer-killed": _kill_writer,
    "writer-paused": _pause_writer,
    "writer-stopped": _stop_writer,
}
"""Kind of fault -> what it does; it gives words for the trace, none when it could not happen."""
