"""Two histories of one log: a writer that nobody could warn wrote over entries that somebody has.

It opened a file that had lost its tail while broker and replicas were away (`witnessed: false`).
Whoever has the lost entries then comes back: nothing of them is overwritten, and nothing more is
written, until an operator has chosen.
"""

import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.config_writer import client_of, model, put, running
from tests.support.log_world import metric
from tests.support.polling import until
from tests.support.reports import report_at, witness_of

from sie_config.writer.writer_state import Recovery, Serving
from sie_config.writer_process import ControlPlane
from sie_core.chain import Position, position_of
from sie_schemas.entry import to_envelope
from sie_testing.contracts.memory_stream import MemoryStream

LOST = 3


async def history_and_backup(folder: Path, stream: MemoryStream) -> tuple[Path, list[Position]]:
    """A stream with `LOST` entries that a backup of the log's file lacks; their positions."""
    data, old = folder / "data", folder / "old"
    async with running(data, stream) as plane:
        await put(plane, "before")
        await until(lambda: plane.broadcast.is_published(4))
    shutil.copytree(data, old)
    positions = []
    async with running(data, stream) as plane:
        for number in range(LOST - 1):
            positions.append(plane.sequencer.position)
            await put(plane, f"lost{number}")
        positions.append(plane.sequencer.position)
        await until(lambda: plane.broadcast.is_published(positions[-1].epoch))
    return old, positions


@contextlib.asynccontextmanager
async def unwitnessed(
    old: Path, stream: MemoryStream, writes: int, *, starts: int = 1
) -> AsyncIterator[ControlPlane]:
    """A writer on the backup that found nobody at its starts, and has written meanwhile.

    With the second start its term is above that of the entries that it lost.
    """
    stream.connected = False
    for _ in range(starts - 1):
        async with running(old, stream):
            pass
    async with running(old, stream) as plane:
        assert plane.sequencer.state == Serving(witnessed=False)
        for number in range(writes):
            await put(plane, f"own{number}")
        yield plane


async def refuses(plane: ControlPlane) -> str:
    """Check that it takes no write and serves reads on; gives its reason."""
    await until(lambda: isinstance(plane.sequencer.state, Recovery))
    async with client_of(plane) as client:
        refused = await client.post("/v1/configs/models", json=model("more"))
        assert (refused.status_code, refused.json()["detail"]["code"]) == (503, "LOG_RECOVERY")
        assert (await client.get("/v1/configs/models/before")).status_code == 200
    assert isinstance(plane.sequencer.state, Recovery)
    return plane.sequencer.state.reason


@pytest.mark.parametrize("writes", [0, 1, LOST + 3], ids=["behind", "beside", "past"])
@pytest.mark.parametrize("trimmed", [0, 6], ids=["whole", "trimmed"])
@pytest.mark.parametrize("starts", [1, 2], ids=["equal-term", "newer-term"])
async def test_lost_entries_on_the_stream_are_not_overwritten_and_the_writer_stops(
    tmp_path, writes, trimmed, starts
):
    stream = MemoryStream()
    old, lost = await history_and_backup(tmp_path, stream)
    async with unwitnessed(old, stream, writes, starts=starts) as plane:
        if trimmed:
            stream.connected = True
            await stream.trim(trimmed)
        evidence = dict(stream.messages)
        stream.connected = True

        reason = await refuses(plane)

        first = max(lost[0].epoch, trimmed)
        log8 = lost[0].log_id[:8]
        assert f"{log8}.{first} to {log8}.{lost[-1].epoch}" in reason, "which entries they are"
        assert "--discard-after" in reason, "what can be done"
    assert (stream.messages, stream.recreated) == (evidence, 0)

    # And a restart does not forget it.
    async with running(old, stream) as plane:
        await refuses(plane)
    assert (stream.messages, stream.recreated) == (evidence, 0)


@pytest.mark.parametrize("writes", [0, 1, LOST + 3], ids=["behind", "beside", "past"])
async def test_lost_entries_that_a_replica_has_stop_a_writer_that_was_not_witnessed(
    tmp_path, writes
):
    stream = MemoryStream()
    old, lost = await history_and_backup(tmp_path, stream)
    async with unwitnessed(old, stream, writes) as plane:
        # It says nothing new of a place that both share.
        shared = await plane.journal.entry(lost[0].epoch - 1)
        assert shared is not None
        await plane.replicas.hearing.hear(report_at(position_of(shared)))
        assert isinstance(plane.sequencer.state, Serving)

        await plane.replicas.hearing.hear(witness_of(lost[-1], plane.sequencer.log_keys.own))

        reason = await refuses(plane)
        assert f"gateway g1 has seen {lost[0].log_id[:8]}.{lost[-1].epoch}" in reason
        assert "--discard-after" in reason


async def test_a_replica_of_another_writer_stops_one_that_was_witnessed_too(tmp_path):
    # Nobody can tell a zombie's entry from one that this writer's disk lost before its roll call,
    # to which whoever has it could not answer.
    stream = MemoryStream()
    data, copy = tmp_path / "data", tmp_path / "copy"
    async with running(data, stream) as plane:
        await put(plane, "before")
        await until(lambda: plane.broadcast.is_published(4))
    shutil.copytree(data, copy)
    async with running(copy) as other:
        await put(other, "other")
        strange = other.sequencer.position
    async with running(data, stream) as plane:
        await put(plane, "own")
        assert plane.sequencer.state == Serving(witnessed=True)
        forks = metric("sie_config_forks_total")

        await plane.replicas.hearing.hear(witness_of(strange, plane.sequencer.log_keys.own))

        reason = await refuses(plane)
        assert f"gateway g1 has seen {strange.log_id[:8]}.{strange.epoch}" in reason
        assert metric("sie_config_forks_total") == forks + 1, "no alarm"


class RacedStream(MemoryStream):
    """A stream on which an older writer's entry lands just before the next append."""

    zombies: tuple[bytes, ...] = ()

    async def append(self, epoch: int, data: bytes) -> None:
        zombies, self.zombies = self.zombies, ()
        for number, zombie in enumerate(zombies):
            await super().append(epoch + number, zombie)
        await super().append(epoch, data)


async def test_a_zombies_entry_between_the_roll_call_and_the_first_publish_is_not_overwritten(
    tmp_path,
):
    stream = RacedStream()
    data, copy = tmp_path / "data", tmp_path / "copy"
    async with running(data, stream) as plane:
        await put(plane, "before")
        await until(lambda: plane.broadcast.is_published(4))
    shutil.copytree(data, copy)
    async with running(copy) as zombie:
        # Of the term of its own start; the successor's term will be as new.
        begun, written = zombie.sequencer.last, (await put(zombie, "zombie")).entry
        assert begun is not None
    stream.zombies = (to_envelope(begun), to_envelope(written))

    async with running(data, stream) as successor:
        # Its roll call had found the stream at the head of its file.
        assert successor.sequencer.witnessed
        reason = await refuses(successor)
        assert f".{begun.epoch} to " in reason
        assert "--discard-after" in reason
    assert sorted(stream.messages) == [1, 2, 3, 4, begun.epoch, written.epoch]
    assert stream.messages[written.epoch] == to_envelope(written), "it was overwritten"
