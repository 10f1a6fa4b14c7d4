"""`sie log verify`: each kind of damage is said, with the first epoch that it spoils."""

import sqlite3
from pathlib import Path

import msgspec
import pytest
from tests.support.config_writer import (
    LOG_ID,
    begun_log,
    new_file,
    put,
    put_model,
    running,
    sign,
)
from tests.support.log_tools import closed_log, forged_log, run_log, states, tamper, whats

from sie_config.log.log_file import LogFile
from sie_config.log.log_rows import entry_of
from sie_config.offline.findings import Report
from sie_config.offline.log_reader import NotReadable
from sie_config.offline.others import verify_export
from sie_config.offline.replaying import replay_to
from sie_config.offline.verification import verify_log
from sie_config.writer.draft import Write
from sie_schemas.entry import EntryCorrupt, Idempotency
from sie_schemas.errors import FixRequest


def head_file(path: Path, epoch: int, hash_: str, log_id: str = LOG_ID) -> None:
    told = {"log_id": log_id, "epoch": epoch, "hash": hash_}
    path.with_name(path.name + ".head").write_bytes(msgspec.json.encode(told))


def keyed_log(folder: Path) -> Path:
    """A log whose epochs 4 and 5 have idempotency keys."""
    draft = begun_log()
    for name in ("a", "b"):
        key = Idempotency(name, f"print-{name}")
        draft.write(Write("ci", "", "r", (put_model(name),), key))
    path = folder / "log.sqlite"
    file = LogFile.open(path)
    file.append(sign(draft), draft.keys)
    file.close()
    return path


def test_a_whole_log_is_sound_and_its_position_is_told(tmp_path):
    path, entries = closed_log(tmp_path, 5)
    head_file(path, 7, entries[6].hash)
    report = verify_log(path).report
    assert report.sound
    assert report.first_bad_epoch is None
    assert report.position is not None
    assert (report.position.epoch, report.position.hash) == (8, entries[-1].hash)


@pytest.mark.parametrize("epoch", [1, 5, 12])
def test_a_changed_byte_is_found_and_its_epoch_named(tmp_path, epoch):
    path, entries = closed_log(tmp_path, 10)
    data = path.read_bytes()
    at = data.index(entries[epoch - 1].body) + len(entries[epoch - 1].body) - 8
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    report = verify_log(path).report
    assert report.first_bad_epoch == epoch
    assert whats(report.findings) == {"entries"}


@pytest.mark.parametrize(
    ("statement", "what", "epoch"),
    [
        ("UPDATE log SET actor = 'mallory' WHERE epoch = 4", "entries", 4),
        ("UPDATE log SET ts = '2030' WHERE epoch = 5", "entries", 5),
        ("UPDATE log SET term = 2 WHERE epoch = 3", "entries", 3),
        ("DELETE FROM log WHERE epoch = 4", "entries", 4),
        ("DELETE FROM change WHERE epoch = 4", "changes", 4),
        ("DELETE FROM change WHERE epoch = 5", "changes", 5),
        ("UPDATE change SET kind = 'model.delete' WHERE epoch = 5", "changes", 5),
        ("INSERT INTO change VALUES ('model', 'z', 5, 9, 'model.put')", "changes", 5),
        ("DELETE FROM idempotency WHERE key = 'b'", "keys", 5),
        ("UPDATE idempotency SET fingerprint = 'x' WHERE key = 'a'", "keys", 4),
        ("UPDATE idempotency SET epoch = 5 WHERE key = 'a'", "keys", 5),
        ("INSERT INTO idempotency VALUES ('ci', 'c', 'f', 9, 0, 0, 0)", "keys", 9),
        ("INSERT INTO meta VALUES ('low_water', 99)", "low water", None),
    ],
)
def test_a_row_that_was_tampered_with_is_found(tmp_path, statement, what, epoch):
    path = keyed_log(tmp_path)
    assert verify_log(path).report.sound
    tamper(path, statement)
    report = verify_log(path).report
    assert what in whats(report.findings)
    assert report.first_bad_epoch == epoch


@pytest.mark.parametrize("damage", [{"claimed": None}, {"claimed": b"f" * 64}, {"body": "text"}])
def test_a_row_of_other_types_than_the_schemas_is_damage_in_words(damage):
    entry = sign(begun_log())[-1]
    row = {"claimed": entry.hash, "prev": entry.prev_hash, "log": entry.log_id, "body": entry.body}
    assert entry_of((entry.epoch, *row.values())).hash == entry.hash
    with pytest.raises(EntryCorrupt, match=f"the row of epoch {entry.epoch} holds no entry"):
        entry_of((entry.epoch, *(row | damage).values()))


def test_a_missing_trigger_is_damage(tmp_path):
    path, _ = closed_log(tmp_path, 1)
    bare = sqlite3.connect(path)
    bare.execute("DROP TRIGGER log_is_linked")
    bare.close()
    assert whats(verify_log(path).report.findings) == {"schema"}


def test_a_forged_digest_is_found_at_its_own_epoch(tmp_path):
    new_file(tmp_path / "log.sqlite", forged_log()).close()
    assert verify_log(tmp_path / "log.sqlite").report.first_bad_epoch == 4


@pytest.mark.parametrize(
    ("epoch", "hash_of", "state"), [(8, 8, "ok"), (6, 6, "ok"), (6, 5, "bad"), (9, 5, "bad")]
)
def test_the_head_file_confirms_or_accuses(tmp_path, epoch, hash_of, state):
    path, entries = closed_log(tmp_path, 5)
    head_file(path, epoch, entries[hash_of - 1].hash)
    report = verify_log(path).report
    assert states(report.to_builtins())["head file"] == state
    assert report.first_bad_epoch == (None if state == "ok" else epoch)


async def test_verifying_beside_a_writer_takes_nothing_from_it(tmp_path):
    async with running(tmp_path) as plane:
        await put(plane, "a")
        report = verify_log(tmp_path / "log.sqlite").report
        assert report.sound
        assert report.position == plane.sequencer.position
        await put(plane, "b")
    assert verify_log(tmp_path / "log.sqlite").report.position == plane.sequencer.position


def test_verifying_what_a_killed_writer_left_leaves_it_to_the_next_one(tmp_path):
    import subprocess
    import sys

    from tests.integration.test_store_kill import ROOT, WRITER

    path = tmp_path / "log.sqlite"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as writer:
        assert writer.stdout is not None
        for _ in range(10):
            last = writer.stdout.readline().split()
        writer.kill()
    wal = path.with_name(path.name + "-wal")
    before = wal.stat().st_size
    report = verify_log(path).report
    assert report.sound
    assert report.position is not None
    assert report.position.epoch >= int(last[0])
    assert wal.stat().st_size == before, "a reader wrote back or removed the writer's tail"
    file = LogFile.open(path)
    assert {e.epoch: e.hash for e in file.verified()}[int(last[0])] == last[1]
    file.close()


def test_no_log_is_not_an_empty_log(tmp_path):
    with pytest.raises(NotReadable):
        verify_log(tmp_path / "log.sqlite")
    assert not list(tmp_path.iterdir()), "looking made a file"


async def test_an_export_is_sound_alone_and_against_its_log_only(tmp_path):
    async with running(tmp_path / "data") as plane:
        await put(plane, "a", description="before")
        data = (await plane.exports.newest(plane.sequencer)).data
        await put(plane, "b")
    log = tmp_path / "data" / "log.sqlite"
    export = tmp_path / "export.json"
    export.write_bytes(data)
    report = Report()
    assert verify_export(export, report, log) is not None
    assert report.sound
    other, _ = closed_log(tmp_path / "other", 8)
    verify_export(export, report, other)
    assert report.first_bad_epoch == 4
    export.write_bytes(data.replace(b"before", b"behind"))
    altered = Report()
    verify_export(export, altered, log)
    assert whats(altered.findings) == {"export"}


def test_a_replay_gives_the_registry_of_an_epoch_and_writes_its_snapshot(tmp_path):
    path, entries = closed_log(tmp_path, 6)
    out = tmp_path / "at-5.json"
    report = replay_to(path, 5, verify=True, out=out)
    assert report.position is not None
    assert report.position.digest == entries[4].state_digest
    checked = Report()
    assert verify_export(out, checked, path) == report.position
    assert checked.sound
    with pytest.raises(FixRequest, match="there is no epoch 99"):
        replay_to(path, 99, verify=False, out=None)


def test_a_replay_names_the_epoch_whose_digest_differs(tmp_path):
    path, entries = closed_log(tmp_path, 3)
    forged = entries[4].body.replace(entries[4].state_digest.encode(), b"0" * 64)
    tamper(path, f"UPDATE log SET body = x'{forged.hex()}' WHERE epoch = 5")
    report = replay_to(path, None, verify=True, out=None)
    assert report.first_bad_epoch == 5


def test_the_status_of_the_command_tells_ci_what_it_found(tmp_path):
    path, entries = closed_log(tmp_path, 3)
    status, report = run_log("verify", tmp_path)
    assert (status, report["sound"], report["position"]["epoch"]) == (0, True, len(entries))
    assert run_log("verify", tmp_path / "nothing")[0] == 3
    assert run_log("verify", "--nonsense", tmp_path)[0] == 2
    tamper(path, "UPDATE log SET actor = 'mallory' WHERE epoch = 4")
    status, report = run_log("verify", path)
    assert (status, report["first_bad_epoch"]) == (1, 4)
