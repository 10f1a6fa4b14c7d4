"""A disk that fails at each operation in turn: what the log file answers, and what is there after.

The log file is the real one, over a disk that fails where it is told to.
"""

import asyncio
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.adversary.disk.crash_images import Synced, Truncated, Wrote
from tests.adversary.disk.recording_disk import Fault, RecordingDisk
from tests.support.config_writer import new_file, put, running
from tests.support.polling import until
from tests.support.written_disk import ENTRIES, LOG_NAME, read_back, scratch_folder

from sie_config.log.head_file import HeadFile
from sie_config.log.log_file import LogFile
from sie_config.log.storage_faults import StorageFailed, StorageFull
from sie_config.upkeep.disk_watch import DiskWatch
from sie_config.writer.writer_state import Recovery, Serving
from sie_core.apply import apply
from sie_core.chain import position_of
from sie_core.registry import Registry
from sie_core.replica.events import RangeArrived, SnapshotArrived
from sie_core.replica.replica import Replica
from sie_runtime.follower.replica_files import ReplicaFiles
from sie_schemas import snapshot as snapshots
from sie_schemas.errors import Later, SIEError, Untrusted
from sie_testing.signing import PINNED

FULL = partial(Fault, code=sqlite3.SQLITE_FULL, kinds=(Wrote,))
SYNC = partial(Fault, code=sqlite3.SQLITE_IOERR_FSYNC, kinds=(Synced,))
WRITE = partial(Fault, code=sqlite3.SQLITE_IOERR_WRITE, kinds=(Wrote, Truncated))
READ_ONLY = partial(Fault, code=sqlite3.SQLITE_READONLY, kinds=(Wrote, Truncated))
STRIDE = 3 if settings().max_examples < 300 else 1
"""Between two operations that are made to fail."""
ANSWERS = {"STORAGE_FULL", "STORAGE_FAILED"}


def grow(file: LogFile, appended: list[int], upto: int = 24) -> None:
    """Append entries two at a time; `appended` grows with each acknowledgement."""
    while len(appended) < upto:
        group = ENTRIES[len(appended) : len(appended) + 2]
        file.append(group)
        appended += [entry.epoch for entry in group]


def run_with(folder: Path, fault: Fault | None) -> tuple[list[int], SIEError | None, int]:
    """One life of a file: what was acknowledged, what it failed with, operations asked for."""
    disk = RecordingDisk(pages_until_checkpoint=6)
    disk.fault = fault
    appended: list[int] = []
    failure: SIEError | None = None
    file: LogFile | None = None
    try:
        file = LogFile.open(folder / LOG_NAME, connect=disk.connect)
        grow(file, appended)
    except SIEError as error:
        failure = error
    attempts = disk.attempts
    disk.fault = None
    if file is not None:
        file.close()
    disk.close()
    return appended, failure, attempts


@pytest.fixture
def scratch() -> Iterator[Path]:
    with scratch_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def operations(tmp_path_factory) -> int:
    return run_with(tmp_path_factory.mktemp("whole"), None)[2]


@pytest.mark.parametrize("after_effect", [False, True])
@pytest.mark.parametrize(
    "fault", [FULL, SYNC, WRITE, READ_ONLY], ids=["full", "sync", "write", "read-only"]
)
def test_a_disk_that_fails_at_any_operation_is_answered_with_a_code_and_loses_nothing(
    scratch, operations, fault, after_effect
):
    codes = set()
    for first in range(after_effect, operations, STRIDE):
        folder = scratch / str(first)
        folder.mkdir()
        planned = fault(first, count=2, after_effect=after_effect)
        appended, failure, _ = run_with(folder, planned)
        if failure is not None:
            codes.add(failure.code)
        file, replayed, entries = read_back(folder / LOG_NAME)
        assert replayed.damage is None
        assert entries == ENTRIES[: len(entries)]
        assert len(entries) >= len(appended)
        file.append(ENTRIES[len(entries) : len(entries) + 1])
        file.close()
    assert codes
    assert codes <= ANSWERS


def test_a_full_disk_leaves_nothing_of_a_write_and_the_next_one_that_fits_is_taken(
    scratch, operations
):
    refused = 0
    for room_from in range(60, operations, 7):
        disk = RecordingDisk(pages_until_checkpoint=6)
        folder = scratch / str(room_from)
        folder.mkdir()
        file = LogFile.open(folder / LOG_NAME, connect=disk.connect)
        disk.fault = FULL(room_from, count=3)
        appended: list[int] = []
        for _ in range(20):
            try:
                grow(file, appended)
                break
            except StorageFull:
                refused += 1
                assert len(list(file.verified())) == len(appended)
        assert len(appended) == 24, "room came back and the file did not notice"
        assert file.failed is None
        file.close()
        disk.close()
    assert refused


def test_after_a_failed_sync_this_process_writes_nothing_more(tmp_path):
    disk = RecordingDisk()
    file = LogFile.open(tmp_path / LOG_NAME, connect=disk.connect)
    file.append(ENTRIES[:3])
    disk.fault = SYNC(disk.attempts, count=10_000)
    with pytest.raises(Later) as caught:
        file.append(ENTRIES[3:4])
    assert caught.value.code == "STORAGE_FAILED"
    # The disk is well again, and nobody can know what it kept.
    disk.fault = None
    asked = disk.attempts
    for write in (partial(file.append, ENTRIES[3:4]), partial(file.move_low_water, 2)):
        with pytest.raises(Later):
            write()
    assert disk.attempts == asked
    file.close()
    disk.close()


# ---- the head file ------------------------------------------------------------------------------


async def lived(folder: Path, upto: int) -> Path:
    """A data folder with a log and the head file of its last entry."""
    path = folder / "log.sqlite"
    new_file(path, ENTRIES[:upto]).close()
    await HeadFile(path).write(position_of(ENTRIES[upto - 1]))
    return path


async def test_a_log_without_its_tail_is_in_recovery_that_names_the_newest_epoch(tmp_path):
    path = await lived(tmp_path, 9)
    path.unlink()
    short = LogFile.open(path)
    short.append(ENTRIES[:6])
    short.close()
    for _ in range(2):
        # The second start finds the evidence that the first one left alone.
        async with running(tmp_path) as plane:
            state = plane.sequencer.state
            assert isinstance(state, Recovery)
            assert "has seen 01234567.9" in state.reason
            assert "ends at 01234567.6" in state.reason


async def test_a_head_file_that_lags_accuses_nobody(tmp_path):
    path = await lived(tmp_path, 4)
    file = LogFile.open(path)
    file.append(ENTRIES[4:9])
    file.close()
    async with running(tmp_path) as plane:
        assert plane.sequencer.state == Serving(witnessed=False)


@pytest.mark.parametrize("kept", [b"", b"{", b'{"log_id":"\xff"}', b'{"log_id":"x"}', b"\0" * 80])
async def test_a_damaged_head_file_is_said_and_never_taken_for_none(tmp_path, kept):
    path = await lived(tmp_path, 4)
    path.with_name(path.name + ".head").write_bytes(kept)
    with pytest.raises(Untrusted, match="cannot be read"):
        async with running(tmp_path):
            pass


async def test_a_lost_file_beside_its_head_file_begins_no_new_log(tmp_path):
    (await lived(tmp_path, 4)).unlink()
    with pytest.raises(Untrusted, match="the log file is empty"):
        async with running(tmp_path):
            pass


@dataclass
class Failed:
    """A store whose disk failed; counts how often it is looked at."""

    read_only = False
    looks = 0

    @property
    def failed(self) -> StorageFailed:
        """The failure."""
        self.looks += 1
        return StorageFailed("a sync failed")


@pytest.mark.parametrize("looks", [1, 2, 9])
async def test_a_process_whose_disk_failed_ends_once_it_writes_again_and_not_before(
    tmp_path, looks
):
    path = await lived(tmp_path, 4)
    position = position_of(ENTRIES[3])
    head = HeadFile(path)
    await head.write(position)
    store = Failed()
    sequencer = SimpleNamespace(last=ENTRIES[3], position=position, state=Serving(True))

    async def settle() -> None:
        raise AssertionError("nothing has become possible")

    # What stands there is no file that could be written.
    (blocked := path.with_name(path.name + ".head.new")).mkdir()
    watch = DiskWatch(cast(Any, store), cast(Any, sequencer), head, None)
    watching = asyncio.create_task(watch.run(asyncio.Event(), every_s=0.001, settle=settle))
    await until(lambda: watching.done() or store.looks > looks)
    assert not watching.done()
    blocked.rmdir()
    with pytest.raises(StorageFailed):
        await watching


# ---- what a replica keeps -----------------------------------------------------------------------


def kept_by_replica(folder: Path) -> dict[str, bytes]:
    """The files of a replica that took a snapshot at epoch 6 and five entries since."""
    registries = [Registry.EMPTY]
    for entry in ENTRIES[:11]:
        registries.append(apply(registries[-1], entry))
    rows = (
        snapshots.encode_row(e.kind, e.key, e.modified_epoch, e.document) for e in registries[6]
    )
    snapshot = snapshots.decode(snapshots.encode(ENTRIES[:1], ENTRIES[5], rows))
    files = ReplicaFiles(folder, tail_entries_min=100)
    files.took_snapshot(snapshot, registries[6])
    files.took_entries(tuple(ENTRIES[6:11]), registries[11])
    files.close()
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@given(st.data())
@settings(max_examples=settings().max_examples)
def test_a_flipped_bit_in_a_replicas_files_is_never_served_nor_given_back(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("replica", numbered=True)
    whole = kept_by_replica(folder)
    name = data.draw(st.sampled_from(sorted(whole)))
    content = bytearray(whole[name])
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    (folder / name).write_bytes(bytes(content))

    files = ReplicaFiles(folder, tail_entries_min=100)
    for entry in files.entries(6, 11):
        assert (entry.hash, entry.body) == (
            ENTRIES[entry.epoch - 1].hash,
            ENTRIES[entry.epoch - 1].body,
        )
    snapshot, entries = files.load()
    replica = Replica(PINNED)
    if snapshot is not None:
        replica.receive(SnapshotArrived(0, snapshot))
    if entries:
        replica.receive(RangeArrived(0, entries))
    here = replica.position
    assert here is None or here == position_of(ENTRIES[here.epoch - 1])
    assert replica.registry.digest == (here.digest if here else Registry.EMPTY.digest)


@pytest.mark.parametrize("suffix", ["-wal", ""])
async def test_a_writer_whose_file_was_taken_stops_although_nobody_writes(tmp_path, suffix):
    async with running(tmp_path) as plane:
        await put(plane, "m")
        (tmp_path / f"log.sqlite{suffix}").unlink()
        await until(lambda: isinstance(plane.sequencer.state, Recovery))
        assert isinstance(plane.sequencer.state, Recovery)
        assert "replaced or removed" in plane.sequencer.state.reason
        with pytest.raises(Untrusted):
            await put(plane, "n")
        assert [entry.epoch for entry in await plane.journal.page(0, 9, 9)] == [1, 2, 3, 4]
