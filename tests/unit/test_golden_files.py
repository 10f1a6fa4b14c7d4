"""Files that release 0.1.0 wrote: every later release reads them, and finds what was in them.

`tests/data/golden_v1` is never made again. It holds a log with every kind of change, of which the
second half supersedes the first, as a backup; what its writer kept beside it; an export; and the
files of a replica.
"""

import contextlib
import shutil
import sqlite3
from pathlib import Path

import pytest
from tests.support.config_writer import client_of, put, running

from sie_config.log.checkpoint import registry_of
from sie_config.log.log_file import LogFile
from sie_config.log.storage_faults import LogDamaged, LogNewer, StorageFailed
from sie_config.offline.keys import adopt
from sie_config.offline.log_reader import LogReader
from sie_config.offline.restore import restore
from sie_config.offline.verification import verify_log
from sie_config.writer.writer_state import Serving, describe
from sie_core.chain import begins_log, position_of
from sie_core.replica.events import RangeArrived, SnapshotArrived
from sie_core.replica.replica import Replica
from sie_runtime.follower.replica_files import ReplicaFiles
from sie_schemas import snapshot as snapshots
from sie_schemas.entry import ChangeKind
from sie_testing.signing import FIRST_CONTACT

GOLDEN = Path(__file__).parents[1] / "data" / "golden_v1"
HEAD = 17
HASH = "9dbc5efb65d2fda5ec4411e41c345f4ddcbb13261824de6c8a5ecfd6802d7ee4"
DIGEST = "c01f30fcb5f4c1cdb1a124339efc4cbb34726d7501ebe126828d8d63934581ff"


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    """A copy: SQLite may write beside what it reads."""
    return Path(shutil.copytree(GOLDEN, tmp_path / "golden"))


def test_the_golden_log_is_sound_and_holds_every_kind_of_change(golden):
    found = verify_log(golden / "backup.sqlite")
    assert found.report.sound
    position = found.report.position
    assert position is not None
    assert (position.epoch, position.hash, position.digest) == (HEAD, HASH, DIGEST)
    with LogReader.open(golden / "backup.sqlite") as reader:
        entries = list(reader.entries())
        keys = {(row.actor, row.key, row.changed) for row in reader.key_rows()}
        assert reader.low_water() == 9
    kinds = {change.kind for entry in entries for change in entry.changes}
    assert kinds == set(ChangeKind) - {ChangeKind.KEY_PUT}, "it was not signed then"
    assert {entry.forced for entry in entries} == {"", "moving house"}
    assert keys == {("ann", "k1", True), ("ann", "k2-changes-nothing", False)}
    [_, begin] = found.lineage
    change = begins_log(begin)
    assert change is not None
    assert change.supersedes is not None
    assert (change.supersedes.epoch, change.supersedes.lost) == (12, (13, 13))


async def test_a_writer_goes_on_from_golden_files(golden, tmp_path):
    data = tmp_path / "data"
    restore(golden / "backup.sqlite", data, bus=None, discard=None)
    for kept in ("log.sqlite.head", "log.sqlite.checkpoint"):
        shutil.copy(golden / kept, data / kept)
    async with running(data) as plane:
        assert "sie log adopt" in str(describe(plane.sequencer.state))
    adopted = adopt(data / "log.sqlite", key_file=None, bus=None, actor="ann", reason="upgraded")
    assert adopted.sound
    async with running(data) as plane, client_of(plane) as client:
        assert isinstance(plane.sequencer.state, Serving)
        assert plane._log.taken_over == HEAD
        assert plane.sequencer.position.epoch == HEAD + 2
        assert plane.sequencer.registry.digest == DIGEST
        await put(plane, "more")
        past = await client.get(f"/v1/configs/models/org/m-1?at={HEAD}")
        assert past.json()["document"]["profiles"]["default"]["options"] == {
            "a": 0.1,
            "b": 1e-07,
            "c": 123456789012345,
            "f": True,
        }
        told = (await client.get(f"/v1/configs/export?at={HEAD}")).content
    export = snapshots.decode((golden / "export").read_bytes())
    assert registry_of(export).digest == export.entry.state_digest == DIGEST
    assert snapshots.decode(told) == export


async def test_a_log_that_continues_another_serves_both_and_tells_each_moment_its_own(
    golden, tmp_path
):
    data = tmp_path / "data"
    restore(golden / "backup.sqlite", data, bus=None, discard=None)
    async with running(data) as plane, client_of(plane) as client:
        first, second = lineage = plane.sequencer.lineage
        assert first.log_id != second.log_id
        for epoch in range(1, HEAD + 1):
            told = (await client.get(f"/v1/configs/export?at={epoch}")).content
            found = snapshots.decode(told)
            assert found.entry.epoch == epoch
            began = [begin.hash for begin in lineage if begin.epoch <= epoch]
            assert [begin.hash for begin in found.lineage] == began
        for begin in lineage:
            query: dict[str, str | int] = {"log_id": begin.log_id, "after": 8}
            served = (await client.get("/v1/configs/log", params=query)).json()
            epochs = [each["body"]["epoch"] for each in served["entries"]]
            assert epochs == [*range(9, HEAD + 1)]
        stranger: dict[str, str | int] = {"log_id": "0" * 32, "after": 8}
        assert (await client.get("/v1/configs/log", params=stranger)).status_code == 410


def test_a_replica_boots_from_golden_files(golden):
    files, replica = ReplicaFiles(golden / "replica", tail_entries_min=100), Replica(FIRST_CONTACT)
    snapshot, entries = files.load()
    assert snapshot is not None
    replica.receive(SnapshotArrived(0, snapshot))
    replica.receive(RangeArrived(0, entries))
    files.close()
    assert snapshot.entry.epoch < HEAD
    assert replica.position == position_of(entries[-1])
    assert (replica.position.epoch, replica.registry.digest) == (HEAD, DIGEST)


def test_a_file_of_a_newer_release_is_not_called_damaged_and_not_written(golden):
    path = golden / "backup.sqlite"
    LogFile.open(path).close()
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE later (n INTEGER) STRICT")
        connection.execute(
            "INSERT INTO _sqlite_migrations SELECT id + 1, migration_set, '0003-later', applied_at"
            " FROM _sqlite_migrations ORDER BY id DESC LIMIT 1"
        )
    before = path.read_bytes()
    with pytest.raises(LogNewer, match=r"newer release \(0003-later\): start that release"):
        LogFile.open(path)
    with pytest.raises(LogNewer):
        LogFile.open_to_read(path, StorageFailed("the disk takes nothing"))
    [bad] = [finding for finding in verify_log(path).report.findings if finding.state == "bad"]
    assert (bad.what, "newer release" in bad.message) == ("schema", True)
    assert path.read_bytes()[100:] == before[100:]


def test_a_migration_whose_name_the_disk_changed_is_damage(golden):
    path = golden / "backup.sqlite"
    path.write_bytes(path.read_bytes().replace(b"0001-log", b"0009-log"))
    with pytest.raises(LogDamaged):
        LogFile.open(path)
