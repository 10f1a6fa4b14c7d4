"""Backups and what becomes of them: whole or refused, and nothing is given up silently."""

import contextlib
import json
import os
import shutil
import threading
from pathlib import Path

import msgspec
import pytest
from tests.support.config_writer import LOG_ID, put, put_model, running, settings_for
from tests.support.log_tools import closed_log, run_log, tamper
from tests.unit.test_log_verify import head_file, keyed_log

from sie_config.keys.key_file import key_path
from sie_config.log.log_file import LogFile
from sie_config.log.storage_faults import StorageFailed, StoreLocked
from sie_config.offline.backup import back_up, manifest_path, read_manifest
from sie_config.offline.keys import change_key
from sie_config.offline.log_reader import LogReader, NotReadable
from sie_config.offline.restore import Discard, restore
from sie_config.offline.verification import verify_log
from sie_config.writer.draft import Write
from sie_config.writer_process import ControlPlane
from sie_core.chain import begins_log
from sie_core.replica.events import FetchSnapshot, HeadAnnounced, ReplicaLimits, SnapshotArrived
from sie_core.replica.replica import Replica
from sie_schemas import snapshot as snapshots
from sie_schemas.entry import Idempotency
from sie_schemas.errors import FixRequest, Untrusted
from sie_testing.signing import FIRST_CONTACT

DISCARD = Discard(5, "ann", "a wrong batch")


def with_key_of(data: Path, folder: Path) -> None:
    """Put the private key of one folder into another, as an operator does."""
    folder.mkdir(exist_ok=True)
    key = key_path(data / "log.sqlite")
    shutil.copy(key, key_path(folder / "log.sqlite"))


def backed_up(folder: Path, models: int = 5) -> Path:
    path, _ = closed_log(folder / "source", models)
    name, report = back_up(path, folder)
    assert report.sound
    return name


async def test_a_backup_beside_a_writer_holds_what_was_answered_before_it(tmp_path):
    data = tmp_path / "data"
    async with running(data) as plane:
        await put(plane, "a")
        position = plane.sequencer.position
        name, report = back_up(data / "log.sqlite", tmp_path)
        await put(plane, "b")
    manifest = read_manifest(name)
    assert (manifest.log_id, manifest.epoch, manifest.hash) == (
        position.log_id,
        position.epoch,
        position.hash,
    )
    assert manifest.size == name.stat().st_size
    assert report.position == position
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "data",
        name.name,
        manifest_path(name).name,
    ]


async def test_a_full_disk_of_the_writer_does_not_stop_a_backup(tmp_path):
    data = tmp_path / "data"
    async with running(data, store_bytes_max=160_000) as plane:
        with pytest.raises(Exception, match="room"):
            for number in range(200):
                await put(plane, f"m{number}", description="x" * 1900)
        position = plane.sequencer.position
        _, report = back_up(data / "log.sqlite", tmp_path)
        assert report.position == position
    with_key_of(data, tmp_path / "new")
    restore(tmp_path / f"log-{position}.sqlite", tmp_path / "new", bus=None, discard=None)
    async with running(tmp_path / "new") as plane:
        await put(plane, "room")


def test_a_backup_replaces_nothing_and_a_damaged_log_gives_none(tmp_path):
    path, _ = closed_log(tmp_path / "source", 3)
    target = tmp_path / "kept.sqlite"
    back_up(path, target)
    with pytest.raises(FixRequest, match="there already"):
        back_up(path, target)
    tamper(path, "UPDATE log SET actor = 'mallory' WHERE epoch = 4")
    _, report = back_up(path, tmp_path / "second.sqlite")
    assert report.first_bad_epoch == 4
    assert {p.name for p in tmp_path.iterdir()} == {
        "source",
        "kept.sqlite",
        "kept.sqlite.manifest.json",
    }


def test_a_file_that_comes_under_the_name_of_a_running_backup_is_not_replaced(tmp_path):
    path, _ = closed_log(tmp_path / "source", 60)
    target = tmp_path / "kept.sqlite"

    def take_the_name() -> None:
        while not any(tmp_path.glob(".partial-backup-*")):
            pass
        target.write_bytes(b"somebody else's")

    other = threading.Thread(target=take_the_name)
    other.start()
    with pytest.raises(FixRequest, match="there already"):
        back_up(path, target)
    other.join()
    assert target.read_bytes() == b"somebody else's"
    assert {each.name for each in tmp_path.iterdir()} == {"source", "kept.sqlite"}


def test_what_killed_backups_left_is_removed_by_a_later_one_and_a_running_one_is_let_be(tmp_path):
    path, _ = closed_log(tmp_path / "source", 3)
    abandoned = [tmp_path / ".partial-backup-0", tmp_path / ".partial-backup-0-journal"]
    running_now = tmp_path / ".partial-backup-1"
    for partial in (*abandoned, running_now):
        partial.write_bytes(b"half")
    for partial in abandoned:
        os.utime(partial, (0, 0))
    name, _ = back_up(path, tmp_path)
    assert {each.name for each in tmp_path.iterdir()} == {
        "source",
        running_now.name,
        name.name,
        manifest_path(name).name,
    }


def test_a_restored_log_is_the_backup_entry_for_entry_and_key_for_key(tmp_path):
    path = keyed_log(tmp_path)
    name, _ = back_up(path, tmp_path / "b.sqlite")
    report = restore(name, tmp_path / "new", bus=None, discard=None)
    assert report.sound
    again = verify_log(tmp_path / "new" / "log.sqlite")
    assert again.report.position == verify_log(path).report.position
    assert set(again.keys) == {("ci", "a"), ("ci", "b")}
    with LogReader.open(path) as old, LogReader.open(tmp_path / "new" / "log.sqlite") as new:
        assert list(old.key_rows()) == list(new.key_rows())


@pytest.mark.parametrize("spoil", ["manifest gone", "byte", "shorter", "manifest of another"])
def test_a_backup_that_is_not_what_its_manifest_says_is_refused(tmp_path, spoil):
    name = backed_up(tmp_path)
    data = name.read_bytes()
    match spoil:
        case "manifest gone":
            manifest_path(name).unlink()
        case "byte":
            name.write_bytes(data[:9000] + bytes([data[9000] ^ 1]) + data[9001:])
        case "shorter":
            name.write_bytes(data[:-4096])
        case _:
            told = json.loads(manifest_path(name).read_bytes()) | {"hash": "0" * 64}
            manifest_path(name).write_text(json.dumps(told))
    with pytest.raises((Untrusted, NotReadable)):
        restore(name, tmp_path / "new", bus=None, discard=None)
    assert not (tmp_path / "new" / "log.sqlite").exists()


def test_a_folder_with_a_log_and_a_folder_in_use_are_left_alone(tmp_path):
    name = backed_up(tmp_path)
    path, _ = closed_log(tmp_path / "other", 1)
    before = path.read_bytes()
    with pytest.raises(FixRequest, match="there already"):
        restore(name, tmp_path / "other", bus=None, discard=None)
    writer = LogFile.open(path)
    with pytest.raises(StoreLocked):
        restore(name, tmp_path / "other", bus=None, discard=None)
    writer.close()
    assert path.read_bytes() == before


def test_entries_that_the_head_file_has_seen_are_not_given_up_silently(tmp_path):
    name = backed_up(tmp_path)
    folder = tmp_path / "new"
    folder.mkdir()
    head_file(folder / "log.sqlite", 10, "a" * 64)
    with pytest.raises(Untrusted, match="epochs 9 to 10 would be lost"):
        restore(name, folder, bus=None, discard=None)
    head_file(folder / "log.sqlite", 8, "b" * 64)
    with pytest.raises(Untrusted, match="another hash"):
        restore(name, folder, bus=None, discard=None)
    assert {p.name for p in folder.iterdir()} == {"log.sqlite.head", "log.sqlite.lock"}


@pytest.mark.parametrize("head", ["a", "b", "c"])
@pytest.mark.parametrize("file", ["a", "b"])
async def test_the_head_of_a_log_that_the_backup_does_not_continue_is_kept(tmp_path, file, head):
    first = backed_up(tmp_path)
    # Log b continues a; c has to do with neither.
    restore(first, tmp_path / "b", bus=None, discard=DISCARD)
    second, begun = back_up(tmp_path / "b" / "log.sqlite", tmp_path)
    assert begun.position is not None
    ids = {"a": LOG_ID, "b": begun.position.log_id, "c": "c" * 32}
    name, file_id, head_id = {"a": first, "b": second}[file], ids[file], ids[head]
    folder = tmp_path / "new"
    with_key_of(tmp_path / "b", folder)
    path = folder / "log.sqlite"
    told = path.with_name("log.sqlite.head")
    head_file(path, 1, verify_log(name).lineage[0].hash, head_id)
    before = told.read_bytes()
    continues = (file, head) in {("a", "a"), ("b", "a"), ("b", "b")}
    if not continues:
        for incomplete in (False, True):
            with pytest.raises(Untrusted, match=f"{head_id[:8]}.*{file_id[:8]}"):
                restore(name, folder, bus=None, discard=None, incomplete=incomplete)
            assert told.read_bytes() == before
            assert not path.exists()
        # Whoever puts the file there by hand: it is told, and not written.
        shutil.copy(name, path)
        assert not verify_log(path).report.sound
        plane = await ControlPlane.open(settings_for(folder))
        assert f"{head_id[:8]}.1" in str(plane.sequencer.state)
        with pytest.raises(Untrusted):
            await put(plane, "m")
        await plane.close()
        assert told.read_bytes() == before
        path.unlink()
    report = restore(name, folder, bus=None, discard=None if continues else DISCARD)
    assert report.sound
    assert verify_log(path).report.sound
    assert head_id not in told.read_text() or head == file


@pytest.mark.parametrize("way", ["restored", "begun"])
async def test_a_new_log_is_never_beside_the_head_of_another(tmp_path, way):
    name = backed_up(tmp_path)
    folder = tmp_path / "new"
    folder.mkdir()
    head_file(folder / "log.sqlite", 7, "a" * 64, "c" * 32)
    # In the way of each head file that is written: as if the process ended just before.
    in_the_way = folder / "log.sqlite.head.new"
    in_the_way.mkdir()
    if way == "restored":
        with pytest.raises(IsADirectoryError):
            restore(name, folder, bus=None, discard=DISCARD)
    else:
        async with running(folder, new_log=True) as plane:
            await put(plane, "m")
    in_the_way.rmdir()
    async with running(folder) as plane:
        await put(plane, "n")


async def test_an_incomplete_restore_starts_in_recovery_and_keeps_the_evidence(tmp_path):
    name = backed_up(tmp_path)
    folder = tmp_path / "new"
    folder.mkdir()
    head_file(folder / "log.sqlite", 10, "a" * 64)
    report = restore(name, folder, bus=None, discard=None, incomplete=True)
    assert report.sound
    plane = await ControlPlane.open(settings_for(folder))
    assert "has seen" in str(plane.sequencer.state)
    with pytest.raises(Untrusted):
        await put(plane, "m")
    await plane.close()


def test_discarding_begins_a_new_log_that_names_what_is_lost(tmp_path):
    path, entries = closed_log(tmp_path / "source", 5)
    name, _ = back_up(path, tmp_path)
    folder = tmp_path / "new"
    folder.mkdir()
    head_file(folder / "log.sqlite", 10, "a" * 64)
    restore(name, folder, bus=None, discard=DISCARD)
    verified = verify_log(folder / "log.sqlite")
    last = verified.last
    assert verified.report.sound
    assert last is not None
    assert (last.epoch, last.term, last.actor, last.reason) == (6, 2, "ann", "a wrong batch")
    assert last.log_id != LOG_ID
    begin = begins_log(last)
    assert begin is not None
    assert begin.supersedes is not None
    assert (begin.supersedes.log_id, begin.supersedes.epoch) == (LOG_ID, 5)
    assert begin.supersedes.hash == entries[4].hash
    assert begin.supersedes.lost == (6, 10)
    assert [entry.hash for entry in verified.lineage] == [entries[0].hash, last.hash]


def test_discarding_drops_the_keys_of_what_is_discarded_and_no_others(tmp_path):
    name, _ = back_up(keyed_log(tmp_path), tmp_path / "b.sqlite")
    restore(name, tmp_path / "new", bus=None, discard=Discard(4, "ann", ""))
    path = tmp_path / "new" / "log.sqlite"
    assert verify_log(path).report.sound
    with LogReader.open(path) as reader:
        assert [row.key for row in reader.key_rows()] == ["a"]


@pytest.mark.parametrize("mark", range(1, 9))
@pytest.mark.parametrize("discard", [None, 1, 5, 8])
def test_what_was_not_served_any_more_is_not_served_once_it_was_restored(tmp_path, mark, discard):
    path, _ = closed_log(tmp_path / "source", 5)
    with contextlib.closing(LogFile.open(path)) as file:
        file.move_low_water(mark)
    name, _ = back_up(path, tmp_path)
    given_up = None if discard is None else Discard(discard, "ann", "")
    restore(name, tmp_path / "new", bus=None, discard=given_up)
    with LogReader.open(tmp_path / "new" / "log.sqlite") as reader:
        assert reader.low_water() == min(mark, 9 if discard is None else discard + 1)


@pytest.mark.parametrize("after", [0, 9, -1])
def test_only_an_epoch_of_the_log_can_be_discarded_after(tmp_path, after):
    name = backed_up(tmp_path)
    with pytest.raises(FixRequest, match="1 to 8"):
        restore(name, tmp_path / "new", bus=None, discard=Discard(after, "ann", ""))
    assert not (tmp_path / "new" / "log.sqlite").exists()


async def test_a_replica_of_the_old_log_follows_the_one_that_supersedes_it(tmp_path):
    data = tmp_path / "data"
    async with running(data) as plane:
        for number in range(4):
            await put(plane, f"m{number}")
        name, _ = back_up(data / "log.sqlite", tmp_path)
        old = (await plane.exports.newest(plane.sequencer)).data
    replica = Replica(FIRST_CONTACT, ReplicaLimits(retry_s=1, retry_max_s=1, stale_after_s=1))
    replica.receive(SnapshotArrived(0, snapshots.decode(old)))
    with_key_of(data, tmp_path / "new")
    restore(name, tmp_path / "new", bus=None, discard=DISCARD)
    async with running(tmp_path / "new") as plane:
        await put(plane, "after")
        new = (await plane.exports.newest(plane.sequencer)).data
        head, registry = plane.head, plane.sequencer.registry
    (asked,) = replica.receive(HeadAnnounced(head))
    assert isinstance(asked, FetchSnapshot)
    replica.receive(SnapshotArrived(asked.id, snapshots.decode(new)))
    assert replica.registry == registry
    assert head.epoch == 8
    assert registry.get("model", "m0") is not None
    assert registry.get("model", "m3") is None


async def test_a_new_log_is_never_signed_by_a_key_that_the_old_one_has_given_up(tmp_path):
    data, folder = tmp_path / "data", tmp_path / "new"
    async with running(data) as plane:
        await put(plane, "a")
    with_key_of(data, folder)
    assert change_key(data / "log.sqlite", key_file=None, actor="ann", reason="a year").sound
    async with running(data) as plane:
        await put(plane, "b")
        last = plane.head.epoch
    name, _ = back_up(data / "log.sqlite", tmp_path)
    with pytest.raises(FixRequest, match="changed for another"):
        restore(name, folder, bus=None, discard=Discard(last, "ann", "the key is lost"))
    key_path(folder / "log.sqlite").unlink()
    restore(name, folder, bus=None, discard=Discard(last, "ann", "the key is lost"))
    async with running(folder) as plane:
        await put(plane, "c")
        snapshot = snapshots.decode((await plane.exports.newest(plane.sequencer)).data)
    fresh = Replica(FIRST_CONTACT, ReplicaLimits(retry_s=1, retry_max_s=1, stale_after_s=1))
    fresh.receive(SnapshotArrived(0, snapshot))
    assert fresh.registry is not None
    assert fresh.registry.get("model", "c") is not None


async def test_an_idempotency_key_of_the_kept_part_still_has_its_answer(tmp_path):
    data = tmp_path / "data"
    key = Idempotency("k", "print")
    first = Write("ci", "", "r", (put_model("a"),), key)
    async with running(data) as plane:
        outcome, _ = await plane.write(first)
        await put(plane, "b")
        name, _ = back_up(data / "log.sqlite", tmp_path)
    restore(name, tmp_path / "new", bus=None, discard=Discard(4, "ann", ""))
    async with running(tmp_path / "new") as plane:
        again, repeated = await plane.write(first)
        assert (again.entry.hash, again.created, repeated) == (outcome.entry.hash, True, True)


def test_the_commands_tell_by_their_status(tmp_path):
    path, _ = closed_log(tmp_path / "source", 5)
    status, report = run_log("backup", tmp_path / "b.sqlite", path)
    assert (status, report["sound"]) == (0, True)
    assert run_log("backup", tmp_path / "b.sqlite", path)[0] == 2
    folder = tmp_path / "new"
    folder.mkdir()
    head_file(folder / "log.sqlite", 10, "a" * 64)
    assert run_log("restore", tmp_path / "b.sqlite", folder)[0] == 1
    assert run_log("restore", tmp_path / "nothing", folder)[0] == 3
    status, report = run_log("restore", tmp_path / "b.sqlite", folder, "--discard-after", "8")
    assert (status, report["position"]["epoch"]) == (0, 9)
    assert msgspec.json.decode((folder / "log.sqlite.head").read_bytes())["epoch"] == 9


def test_a_place_that_cannot_be_written_is_named_and_no_traceback_is_shown(tmp_path):
    path, _ = closed_log(tmp_path / "data", 2)
    backup = tmp_path / "b.sqlite"
    assert run_log("backup", backup, path)[0] == 0
    # A file stands where a folder would be: this refuses root too.
    status, words = run_log("restore", backup, backup / "folder")
    assert (status, "Traceback" in words) == (3, False)
    assert f"{backup / 'folder'}" in words
    status, words = run_log("backup", "/proc/b.sqlite", path)
    assert (status, "Traceback" in words) == (3, False)
    assert "/proc/" in words


def test_a_log_whose_folder_cannot_be_made_does_not_open_and_says_where(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageFailed, match="file/data"):
        LogFile.open(tmp_path / "file" / "data" / "log.sqlite")
