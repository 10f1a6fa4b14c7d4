"""One run: a world from a seed, faults, healing, and the judgement.

*shell.* `run_seed` is the whole of it. Promises the same result, trace and all, for the same plan;
a failure is a value with the story in it, never an exception. Judged while the run goes: what each
replica serves is the fold of a prefix, nobody goes back, one answer for one key. Judged at the end,
when the world is healed. Every replica is at the writer's triple, the stream holds the log, and a
write still goes through. Every acknowledged write is in the log or was announced as lost.
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from sie_config.writer.writer_state import Recovery
from sie_config.writer_process import ControlPlane
from sie_schemas.entry import Entry, EntryCorrupt, log_id8, parse_envelope
from sie_testing.simulation.faults import FAULTS, heal, inject_some
from sie_testing.simulation.load import sure_command
from sie_testing.simulation.processes import ReplicaProcess
from sie_testing.simulation.volume import Volume
from sie_testing.simulation.world import World
from sie_testing.stage.broken import Broken
from sie_testing.stage.run import Result, run_world

__all__ = ["Plan", "Result", "run_seed"]

_HEAL_S: Final = 90.0
_PATIENCE_S: Final = 12.0
_LOOK_S: Final = 1.0
_ASKS_AGAIN_S: Final = 35.0
"""A replica asks about a log that nobody had signed again after half a minute."""
_LOSS: Final = re.compile(r"[0-9a-f]{8}\.\d+")
"""The position in an excuse: not counted apart."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The plan of a run. Equal plans give equal results."""

    seed: int
    steps: int = 10
    """Faults; there are twice as many writes."""
    replicas: int = 3
    faults: tuple[str, ...] = tuple(sorted(FAULTS))
    history: tuple[Entry, ...] = field(default=(), repr=False)
    """A recorded log: the run begins with a part of it, and clients write the rest."""


def run_seed(plan: Plan) -> Result:
    """Run one plan to its end."""
    known = max(0, len(plan.history) - 2 * plan.steps)
    world = World(plan.seed, replicas=plan.replicas, history=plan.history[:known])
    return run_world(world, plan.seed, _run(world, plan, plan.history[known:]))


async def _run(world: World, plan: Plan, history: Sequence[Entry]) -> None:
    rng = world.fault_rng
    kinds = [kind for kind in plan.faults if rng.random() < 0.5] or list(plan.faults)
    world.writer.start()
    await asyncio.sleep(rng.random() * 2)
    for replica in world.replicas:
        replica.start()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(world.write_some(plan.steps, history[::2]))
        tasks.create_task(world.write_some(plan.steps, history[1::2]))
        if kinds:
            tasks.create_task(inject_some(world, kinds, plan.steps))
    heal(world)
    await _converge(world)
    await _last_write(world)
    await _converge(world)
    _retire_others(world)
    _judge(world)


async def _converge(world: World) -> None:
    """Wait for one triple everywhere; the operator helps where the design asks for one."""
    began = last_help = world.loop.time()
    while not _converged(world):
        await asyncio.sleep(_LOOK_S)
        now = world.loop.time()
        if now - began > _HEAL_S:
            raise Broken(f"not converged {_HEAL_S:g} s after healing: {_positions(world)}")
        if now - last_help > _PATIENCE_S:
            last_help = now
            _help(world, now - began)
    world.count("check: every triple is equal")
    world.count("check: the view of the writer says converged")


def _converged(world: World) -> bool:
    plane = world.writer.plane
    if plane is None or not plane.sequencer.has_begun:
        return False
    if isinstance(plane.sequencer.state, Recovery):
        return False
    if plane.broadcast.published_epoch != plane.sequencer.position.epoch:
        return False
    head = plane.sequencer.position
    stream = world.broker.streams.get(f"CFG_{head.log_id}")
    # A stream that was wiped a moment ago is noticed when the publisher looks again.
    if stream is None or stream.last != head.epoch:
        return False
    if not all(
        replica.follower is not None
        and replica.follower.position == head
        and replica.follower.state == "fresh"
        for replica in world.replicas
    ):
        return False
    return _is_known(world, plane)


def _is_known(world: World, plane: ControlPlane) -> bool:
    """True if the writer says so too: who is dead is not waited for, nobody hides (12)."""
    view = plane.replicas_view()
    return bool(view["converged"]) and view["live"] == len(world.replicas)


def _help(world: World, waited_s: float) -> None:
    """Do what an operator does after minutes of alarms, in the order of the manual."""
    writer = world.writer
    _retire_others(world)
    newer = _backup_of_a_newer_log(world)
    if writer.volume.damaged_from or newer is not None:
        writer.kill()
        writer.volume.put_back(newer or world.backups[-1], head_too=True)
        world.count("operator: restores a backup")
        world.trace.say("operator", "puts the newest backup back")
    elif world.in_recovery():
        if world.counts.get("operator: restarts the writer", 0) % 2 == 0:
            world.count("operator: restarts the writer")
            writer.kill()
        else:
            world.count("operator: restarts the writer")
            writer.kill()
            world.discard_after(writer.volume)
    elif waited_s > _ASKS_AGAIN_S:
        for replica in world.replicas:
            _resync(world, replica)


def _retire_others(world: World) -> None:
    """End every writer but the one, and give up what the disk of one that has warned alone holds.

    It told that another writer goes another way, and where the two part.
    """
    for old in (*world.zombies, *world.early):
        has_warned = old.plane is not None and isinstance(old.plane.sequencer.state, Recovery)
        old.kill()
        if has_warned:
            world.evidence.note_vanished(world.writer.volume, among=old.volume.entries)


def _backup_of_a_newer_log(world: World) -> Volume | None:
    """The newest backup of a log that supersedes the one of the writer's disk."""
    mine = world.writer.volume.entries[-1:]
    for backup in reversed(world.backups):
        logs = list(dict.fromkeys(entry.log_id for entry in backup.entries))
        if mine and mine[0].log_id in logs[:-1]:
            return backup
    return None


def _resync(world: World, replica: ReplicaProcess) -> None:
    follower, plane = replica.follower, world.writer.plane
    if follower is None or follower.position is None or plane is None:
        return
    strange = follower.position.log_id != plane.sequencer.position.log_id
    if follower.state != "forked" and not strange:
        return
    if world.has_one_writer():
        raise Broken(f"{replica.name} is {follower.state} without a cause: {follower.reason}")
    world.count("operator: resyncs a replica of another history")
    world.trace.say("operator", f"resyncs {replica.name}: {follower.reason}")
    replica.kill()
    replica.folder.wipe()


async def _last_write(world: World) -> None:
    if not await world.write_once(sure_command(), attempts=30):
        raise Broken("after healing no write goes through")
    world.count("check: a write goes through after healing")


def _judge(world: World) -> None:
    log = world.writer.volume.entries
    if world.counts.get("fault: key-rotated"):
        world.count("check: everybody follows past a change of keys")
    world.truth.check_keys(log)
    _check_stream(world, log)
    if world.truth.overwritten:
        raise Broken(f"{world.truth.overwritten[0]} was deleted with the stream, and is lost")
    if world.truth.forks and world.has_one_writer():
        raise Broken(f"two histories without a cause: {world.truth.forks[0]}")
    _check_losses(world, log)


def _check_losses(world: World, log: Sequence[Entry]) -> None:
    """Every acknowledged write is there, or a disk was lost, and the loss has its excuse (1)."""
    losses = world.truth.lost(log)
    if not losses:
        world.count("check: every acknowledged write is there")
    for loss in losses:
        one = loss.write
        what = f"{one.key}, acknowledged as {log_id8(one.log_id)}.{one.epoch}, is lost"
        if world.has_one_writer():
            raise Broken(f"{what}, and no disk was")
        if not loss.excuse:
            raise Broken(f"{what}, and nobody named it")
        world.count(f"lost: {_LOSS.sub('…', loss.excuse)}")


def _check_stream(world: World, log: Sequence[Entry]) -> None:
    """The stream, which ends at the head, holds a contiguous range of the log (9)."""
    world.count("check: the stream holds the log")
    stream = world.broker.streams[f"CFG_{log[-1].log_id}"]
    held = {entry.epoch: entry for entry in log}
    for sequence in range(stream.first, stream.last + 1):
        try:
            found = parse_envelope(stream.messages[sequence])
        except (KeyError, EntryCorrupt) as error:
            raise Broken(f"sequence {sequence} of the stream is no entry: {error}") from error
        if found.hash != held[sequence].hash:
            raise Broken(f"sequence {sequence} of the stream is not the log's entry")


def _positions(world: World) -> str:
    plane = world.writer.plane
    parts = [f"writer {plane.sequencer.position if plane and plane.sequencer.last else None}"]
    if plane is not None:
        parts.append(f"({plane.sequencer.state})")
    for replica in world.replicas:
        follower = replica.follower
        if follower is not None:
            parts.append(f"{replica.name} {follower.position} {follower.state} {follower.reason}")
    return ", ".join(parts)
