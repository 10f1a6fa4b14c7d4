"""The log file's corners: what it refuses, what it survives, what it says of damage."""

import contextlib
import sqlite3
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.support.config_writer import LOG_ID, grown_log, new_file
from tests.support.log_tools import forged_log

from sie_config.log.log_file import LogFile
from sie_config.log.log_rows import KeyRow
from sie_config.log.replay import replay
from sie_config.log.schema import connect_reader, connect_writer, guard
from sie_config.log.storage_faults import LogDamaged, StorageFailed, StorageFull, StoreLocked
from sie_schemas.entry import GENESIS_HASH, Entry, build_entry, parse_envelope
from sie_schemas.errors import Untrusted

FORBIDDEN = [
    "UPDATE log SET actor = 'mallory' WHERE epoch = 2",
    "UPDATE log SET body = x'7b7d'",
    "DELETE FROM log WHERE epoch = 4",
    "DELETE FROM log",
    "DELETE FROM change",
    "UPDATE idempotency SET epoch = 1",
    "DELETE FROM idempotency",
    "DROP TABLE log",
    "DROP TRIGGER log_is_dense",
    "DROP TRIGGER log_refuses_delete",
    "ALTER TABLE log RENAME TO old",
    "ALTER TABLE log ADD COLUMN extra TEXT",
    "CREATE TRIGGER harmless AFTER INSERT ON log BEGIN SELECT 1; END",
    "CREATE TABLE other (a)",
    "PRAGMA writable_schema = ON",
    "PRAGMA synchronous = OFF",
    "PRAGMA journal_mode = DELETE",
    "DELETE FROM sqlite_master",
    "UPDATE sqlite_master SET sql = ''",
    "ATTACH DATABASE ':memory:' AS other",
]


def entries_of(path: Path) -> list[Entry]:
    """The entries that a reader finds in a closed file."""
    file = LogFile.open(path)
    try:
        return list(file.verified())
    finally:
        file.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.sqlite"


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_a_statement_that_could_change_history_is_refused_on_every_connection(path, statement):
    file = new_file(path, grown_log(2))
    row = KeyRow("a", "k", "f", 1, changed=True, created=True, modified_epoch=1)
    file.append([], [row])
    writer = connect_writer(path)
    guard(writer)
    for connection in (file._connection, writer, connect_reader(path)):
        with pytest.raises(sqlite3.DatabaseError):
            connection.execute(statement)
        if connection is not file._connection:
            connection.close()
    assert [entry.epoch for entry in file.verified()] == [1, 2, 3, 4, 5]
    file.close()


@pytest.mark.parametrize("verb", ["UPDATE log SET actor = 'm'", "DELETE FROM log"])
def test_without_the_guard_the_triggers_still_refuse(path, verb):
    file = new_file(path, grown_log(1))
    bare = connect_writer(path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        bare.execute(verb)
    bare.close()
    file.close()


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize(
    "damage",
    [{"hash": "short"}, {"log_id": "short"}, {"term": 0}, {"ts": None}, {"actor": None}],
    ids=lambda damage: next(iter(damage)),
)
def test_a_group_with_one_row_that_the_file_refuses_leaves_nothing_of_it(path, size, damage):
    entries = grown_log(2 + size)
    file = new_file(path, entries[:-size])
    group = [*entries[-size:-1], replace(entries[-1], **damage)]

    with pytest.raises((StorageFailed, sqlite3.Error)):
        file.append(group)

    file.close()
    assert [entry.hash for entry in entries_of(path)] == [e.hash for e in entries[:-size]]


@pytest.mark.parametrize("insert", ["INSERT", "INSERT OR REPLACE", "INSERT OR IGNORE"])
@pytest.mark.parametrize(
    ("epoch", "prev"), [(7, "head"), (7, "genesis"), (2, "head"), (6, "other"), (0, "head")]
)
def test_a_gap_an_overwrite_and_a_wrong_link_are_refused(path, insert, epoch, prev):
    entries = grown_log(2)
    file = new_file(path, entries)
    prev_hash = {"head": entries[-1].hash, "genesis": GENESIS_HASH}.get(prev, "f" * 64)
    with pytest.raises(sqlite3.IntegrityError):
        file._connection.execute(
            f"{insert} INTO log VALUES (?, ?, ?, ?, 1, '', '', x'00')",
            (epoch, "a" * 64, prev_hash, LOG_ID),
        )
    assert len(list(file.verified())) == 5
    file.close()


def test_a_second_writer_is_refused_with_the_first_one_s_process_id(path):
    first = new_file(path, grown_log(0))
    with pytest.raises(StoreLocked, match=r"process \d+"):
        LogFile.open(path)
    first.close()
    LogFile.open(path).close()


def test_an_entry_that_does_not_fit_leaves_nothing_and_room_heals_it(path):
    entries = grown_log(400)
    new_file(path, entries[:3]).close()
    file = LogFile.open(path, bytes_max=200_000)
    with pytest.raises(StorageFull):
        file.append(entries[3:])
    assert file.failed is None
    assert len(list(file.verified())) == 3
    file.append(entries[3:10])
    file.close()
    roomy = LogFile.open(path)
    roomy.append(entries[10:])
    assert len(list(roomy.verified())) == len(entries)
    roomy.close()


@pytest.mark.parametrize("suffix", ["-wal", "-shm", ".lock", ""])
def test_a_file_that_was_replaced_under_the_writer_stops_it(path, suffix):
    entries = grown_log(2)
    file = new_file(path, entries[:3])
    victim = path.with_name(path.name + suffix)
    copy = path.with_name("copy")
    copy.write_bytes(b"")
    copy.replace(victim)
    for _ in range(2):
        with pytest.raises(Untrusted, match="replaced or removed"):
            file.append(entries[3:])
    file.close()


def test_what_was_acknowledged_outlives_the_write_ahead_log_that_somebody_took_away(path):
    entries = grown_log(4)
    file = new_file(path, entries[:6])
    # A reader that stays keeps a last close from folding anything in.
    reader = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    reader.execute("SELECT count(*) FROM log").fetchone()
    path.with_name(path.name + "-wal").unlink()
    with pytest.raises(Untrusted, match="replaced or removed"):
        file.append(entries[6:])
    image = path.with_name("as-after-kill.sqlite")
    image.write_bytes(path.read_bytes())
    with contextlib.closing(sqlite3.connect(image)) as found:
        assert found.execute("SELECT max(epoch) FROM log").fetchone() == (6,)
    reader.close()
    file.close()


class _Overtaken(sqlite3.Connection):
    """A connection whose write-ahead log somebody unlinks while a transaction is open."""

    victim: Path | None = None

    def execute(self, sql, parameters=(), /):
        if sql == "COMMIT" and self.victim is not None:
            self.victim.unlink()
        return super().execute(sql, parameters)


@pytest.mark.parametrize("deed", ["append", "low water"])
@pytest.mark.parametrize("suffix", ["-wal", ""])
def test_a_commit_into_a_file_that_was_unlinked_meanwhile_is_not_told_as_done(path, suffix, deed):
    entries = grown_log(2)

    def connect(where: Path) -> sqlite3.Connection:
        return sqlite3.connect(where, isolation_level=None, factory=_Overtaken)

    file = LogFile.open(path, connect=connect)
    file.append(entries[:3])
    assert isinstance(file.connection, _Overtaken)
    file.connection.victim = path.with_name(path.name + suffix)
    with pytest.raises(Untrusted, match="replaced or removed"):
        file.append(entries[3:])
    with pytest.raises(Untrusted, match="replaced or removed"):
        file.append([]) if deed == "append" else file.move_low_water(2)
    file.close()


@pytest.mark.parametrize("epoch", [1, 4, 12])
def test_one_changed_byte_is_damage_that_names_the_first_bad_epoch(path, epoch):
    entries = grown_log(20)
    new_file(path, entries).close()
    data = path.read_bytes()
    # A fold or a digest would not see a changed time; the hash does.
    at = data.index(entries[epoch - 1].body) + len(entries[epoch - 1].body) - 8
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    file = LogFile.open(path)
    replayed = replay(file.verified())
    assert replayed.damage is not None
    assert replayed.damage.first_bad_epoch == epoch
    assert (replayed.last.epoch if replayed.last else 0) == epoch - 1
    file.close()


def test_a_file_that_is_no_database_is_damage_and_never_an_empty_log(path):
    path.write_bytes(b"not a database at all" * 500)
    with pytest.raises(LogDamaged):
        LogFile.open(path)
    assert path.read_bytes().startswith(b"not a database")


def test_a_forged_digest_is_damage_at_its_own_epoch(path):
    file = new_file(path, forged_log())
    replayed = replay(file.verified())
    assert replayed.damage is not None
    assert replayed.damage.first_bad_epoch == 4
    file.close()


def test_an_idempotency_row_is_written_with_its_entry_and_survives(path):
    entries = grown_log(1)
    file = new_file(path, entries[:3])
    row = KeyRow("ci", "key-1", "print", 4, changed=True, created=True, modified_epoch=4)
    file.append(entries[3:], [row])
    file.close()
    again = LogFile.open(path)
    assert again.key_row("ci", "key-1") == row
    assert again.key_row("other actor", "key-1") is None
    with pytest.raises(Exception, match="UNIQUE"):
        again.append([], [row])
    again.close()


def test_the_low_water_mark_only_rises(path):
    file = new_file(path, grown_log(0))
    assert file.low_water() == 1
    file.move_low_water(3)
    file.move_low_water(2)
    assert file.low_water() == 3
    file.close()


def golden_entries() -> list[Entry]:
    golden = Path(__file__).parents[1] / "data" / "golden_log_v1.ndjson"
    entries = [parse_envelope(line) for line in golden.read_bytes().splitlines()]
    return [entry for entry in entries if isinstance(entry, Entry)]


def test_the_golden_log_verifies_and_folds_to_its_digest_for_ever(path):
    entries = golden_entries()
    file = new_file(path, entries)
    replayed = replay(file.verified())
    assert replayed.damage is None
    assert replayed.last == entries[-1]
    assert len(entries) == 5
    assert entries[-1].hash == "b53eaae1aef4d8cda69a869ea6fc7db224df9253767ab275e3721cb2cbdb77ea"
    assert replayed.registry.digest == entries[-1].state_digest
    file.close()


def test_an_entry_made_today_of_the_golden_fields_has_the_golden_bytes():
    for entry in golden_entries():
        again = build_entry(
            log_id=entry.log_id,
            epoch=entry.epoch,
            term=entry.term,
            writer=entry.writer,
            ts=entry.ts,
            actor=entry.actor,
            reason=entry.reason,
            request_id=entry.request_id,
            changes=entry.changes,
            prev_hash=entry.prev_hash,
            state_digest=entry.state_digest,
            idempotency=entry.idempotency,
        )
        assert (again.body, again.hash) == (entry.body, entry.hash)


def test_on_a_disk_that_takes_nothing_only_what_is_written_back_is_read(path):
    failed = StorageFailed("the disk fails")
    with pytest.raises(
        StorageFailed, match=r"the disk fails\. Nothing can be served .* no log yet"
    ):
        LogFile.open_to_read(path, failed)
    entries = grown_log(2)
    writing = new_file(path, entries)
    with pytest.raises(StorageFailed, match=r"log\.sqlite-wal waits to be written back first"):
        LogFile.open_to_read(path, failed)
    writing.close()
    file = LogFile.open_to_read(path, failed)
    assert list(file.verified()) == entries
    with pytest.raises(StorageFailed, match="Reads go on"):
        file.append(grown_log(3)[-1:])
    file.close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TRIGGER log_is_dense")
    with pytest.raises(LogDamaged, match="log_is_dense"):
        LogFile.open_to_read(path, failed)


def test_a_log_whose_tail_a_reader_keeps_from_being_written_back_is_not_opened(tmp_path):
    """A power cut would take what a follower has applied already."""
    path, entries = tmp_path / "log.sqlite", grown_log(2)
    file = new_file(path, entries[:4])
    with contextlib.closing(connect_reader(path)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM log").fetchone() == (4,)
        file.append(entries[4:])
        file.close()
        with pytest.raises(StorageFailed, match="a reader keeps the write-ahead log"):
            LogFile.open(path)
        reader.execute("COMMIT")
    LogFile.open(path).close()
    with contextlib.closing(connect_reader(path)) as reader:
        assert reader.execute("SELECT count(*) FROM log").fetchone() == (len(entries),)
