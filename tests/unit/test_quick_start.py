"""A start from a checkpoint: quick, never believed, and the whole log is folded behind it."""

import contextlib
import json
import shutil
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.config_writer import LOG_ID, grown_log, new_file, put, put_model, running
from tests.support.polling import until

from sie_config.log.checkpoint import CheckpointFile
from sie_config.log.store import Store
from sie_config.start.opened_log import LOG_FILE
from sie_config.upkeep.checkpoint_keeper import CheckpointKeeper
from sie_config.writer.draft import Write
from sie_config.writer.writer_state import Recovery, Serving
from sie_config.writer_process import ControlPlane
from sie_core.chain import position_of
from sie_core.registry import Registry
from sie_schemas import snapshot as snapshots
from sie_schemas.entry import Entry, Idempotency, build_entry
from sie_schemas.entry import put as put_change
from sie_testing.contracts.memory_stream import MemoryStream


@contextlib.asynccontextmanager
async def quick(folder: Path, **changes: Any) -> AsyncIterator[ControlPlane]:
    """A control plane that stores a checkpoint every three entries."""
    async with running(folder, checkpoint_entries=3, **changes) as plane:
        yield plane


async def some_log(folder: Path, models: int = 8) -> Path:
    """A closed log with a checkpoint at its end."""
    async with quick(folder) as plane:
        for number in range(models):
            await put(plane, f"m{number}")
    return folder / LOG_FILE


async def replayed(path: Path) -> tuple[int, str]:
    """The part that a start takes over from the checkpoint, and the digest that it comes to."""
    store = await Store.open(path)
    found = await store.replay(CheckpointFile(path).read)
    await store.close()
    assert found.damage is None
    return found.taken_over, found.registry.digest


async def test_a_start_takes_the_checkpoint_over_and_folds_only_what_follows(tmp_path):
    path = await some_log(tmp_path)
    whole = (await replayed(path))[1]
    assert await replayed(path) == (11, whole)
    async with quick(tmp_path) as plane:
        assert plane.sequencer.state == Serving(witnessed=False)
        assert plane.sequencer.registry.digest == whole
        await put(plane, "after")
        assert plane.sequencer.position.epoch == 13


async def test_a_killed_writer_left_a_checkpoint_on_the_way(tmp_path):
    async with quick(tmp_path) as plane:
        for number in range(4):
            await put(plane, f"m{number}")
        file = CheckpointFile(tmp_path / LOG_FILE)
        await until(file.path.exists)
        await until(lambda: (found := file.read()) is not None and found.entry.epoch >= 3)


@pytest.mark.parametrize("spoil", ["gone", "cut", "document", "other log", "newer", "fork"])
async def test_a_checkpoint_that_is_not_of_this_log_is_not_believed(tmp_path, spoil):
    path = await some_log(tmp_path / "data")
    whole = (await replayed(path))[1]
    checkpoint = CheckpointFile(path).path
    data = checkpoint.read_bytes()
    match spoil:
        case "gone":
            checkpoint.unlink()
        case "cut":
            checkpoint.write_bytes(data[: len(data) // 2])
        case "document":
            before, field, after = data.rpartition(b'"batch_wait_ms":5')
            checkpoint.write_bytes(before + field[:-1] + b"6" + after)
        case "other log":
            await some_log(tmp_path / "other")
            checkpoint.write_bytes((tmp_path / "other" / checkpoint.name).read_bytes())
        case "newer":
            shutil.copytree(tmp_path / "data", tmp_path / "longer")
            async with quick(tmp_path / "longer") as plane:
                await put(plane, "later")
            checkpoint.write_bytes((tmp_path / "longer" / checkpoint.name).read_bytes())
        case _:
            await forked(tmp_path, path)
            whole = (await replayed(path))[1]
    assert await replayed(path) == (0, whole)


@pytest.mark.parametrize("epoch", [2, 5, 11])
async def test_a_changed_byte_before_the_checkpoint_is_seen_at_the_start(tmp_path, epoch):
    path = await some_log(tmp_path)
    with contextlib.closing(sqlite3.connect(path)) as bare:
        body = bare.execute("SELECT body FROM log WHERE epoch = ?", (epoch,)).fetchone()[0]
    data = path.read_bytes()
    at = data.index(body) + len(body) - 8
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    async with quick(tmp_path) as plane:
        assert isinstance(plane.sequencer.state, Recovery)
        assert f"damaged at epoch {epoch}" in plane.sequencer.state.reason


async def forked(folder: Path, path: Path) -> None:
    """The log goes on one way, and its checkpoint is of a copy that went on another."""
    shutil.copytree(path.parent, folder / "fork")
    for place, model_id in ((path.parent, "here"), (folder / "fork", "there")):
        async with quick(place) as plane:
            await put(plane, model_id)
    checkpoint = CheckpointFile(path).path
    checkpoint.write_bytes((folder / "fork" / checkpoint.name).read_bytes())


def forged_log() -> list[Entry]:
    """A log whose chain holds and whose epoch 4 names a digest that its fold has not."""
    entries = grown_log(0)
    for epoch, digest in ((4, "0" * 64), (5, "")):
        document = {"name": f"p{epoch}"}
        registry = _fold([*entries], document, epoch)
        entries.append(
            build_entry(
                log_id=LOG_ID,
                epoch=epoch,
                term=1,
                writer="w",
                ts=f"2026-01-01T00:00:0{epoch}.000000Z",
                actor="a",
                reason="",
                request_id="",
                changes=[put_change("pool", f"p{epoch}", document)],
                prev_hash=entries[-1].hash,
                state_digest=digest or registry.digest,
            )
        )
    return entries


def _fold(entries: list[Entry], document: dict[str, str], epoch: int) -> Registry:
    from sie_core.apply import apply, preview

    registry = Registry.EMPTY
    for entry in entries:
        registry = apply(registry, entry)
    return preview(registry, [put_change("pool", f"p{epoch}", document)], epoch)


async def test_what_only_the_fold_can_see_stops_a_writer_that_started_quickly(tmp_path):
    entries = forged_log()
    path = tmp_path / LOG_FILE
    new_file(path, entries).close()
    registry = _fold(entries[:4], {"name": "p5"}, 5)
    rows = [snapshots.encode_row(e.kind, e.key, e.modified_epoch, e.document) for e in registry]
    CheckpointFile(path).write(snapshots.encode(entries[:1], entries[-1], rows))
    assert (await replayed(path))[0] == 5
    async with quick(tmp_path) as plane:
        await until(lambda: isinstance(plane.sequencer.state, Recovery))
        assert "epoch 4 folds to digest" in str(plane.sequencer.state)


async def test_a_writer_without_checkpoints_keeps_none(tmp_path):
    async with running(tmp_path, checkpoint_entries=0) as plane:
        for number in range(8):
            await put(plane, f"m{number}")
    assert not CheckpointFile(tmp_path / LOG_FILE).path.exists()


async def test_entries_that_were_taken_back_still_answer_for_their_keys(tmp_path):
    stream, data = MemoryStream(), tmp_path / "data"
    keyed = Write("ci", "", "r", (put_model("m"),), Idempotency("k", "print"))
    async with running(data, stream) as plane:
        pass
    old = (data / LOG_FILE).read_bytes()
    async with running(data, stream) as plane:
        first, _ = await plane.write(keyed)
        await until(lambda: plane.broadcast.is_published(first.entry.epoch))
    (data / LOG_FILE).write_bytes(old)
    (data / f"{LOG_FILE}.head").unlink()
    async with running(data, stream) as plane:
        again, repeated = await plane.write(keyed)
        assert (again.entry.hash, repeated) == (first.entry.hash, True)


async def test_a_checkpoint_names_the_entry_that_it_is_the_state_of(tmp_path):
    path = await some_log(tmp_path)
    found = CheckpointFile(path).read()
    assert found is not None
    shown = json.loads(CheckpointFile(path).path.read_bytes())
    assert shown["entry"]["hash"] == position_of(found.entry).hash


async def test_a_checkpoint_is_stored_only_of_a_log_that_may_be_written(tmp_path):
    """In recovery what lies beside the log is evidence of what it lost."""
    async with running(tmp_path, checkpoint_entries=0) as plane:
        file = CheckpointFile(tmp_path / LOG_FILE)
        keeper = CheckpointKeeper(file, plane.sequencer, plane.exports, every_entries=3)
        for state in (None, Recovery("it lost its tail")):
            for number in range(4):
                await put(plane, f"m{number}", description=str(state))
            before = file.read()
            if state is not None:
                plane.sequencer.enter(state)
            await keeper.look()
            assert (file.read() == before) is (state is not None)
        await keeper.finish()


async def test_a_disk_that_takes_no_checkpoint_is_asked_again_after_as_many_entries(
    tmp_path, caplog
):
    async with running(tmp_path, checkpoint_entries=0) as plane:
        file = CheckpointFile(tmp_path / LOG_FILE)
        file.path.with_name(f"{file.path.name}.new").mkdir()
        keeper = CheckpointKeeper(file, plane.sequencer, plane.exports, every_entries=3)
        tried_at, tries = 0, 0
        for number in range(7):
            await put(plane, f"m{number}")
            for _ in range(2):
                await keeper.look()
            if plane.sequencer.position.epoch - tried_at >= 3:
                tried_at, tries = plane.sequencer.position.epoch, tries + 1
            refused = [each for each in caplog.records if "was not written" in each.message]
            assert len(refused) == tries
        await keeper.finish()
