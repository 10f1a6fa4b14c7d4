"""The schema of the log file, and the guard that every connection to it wears.

*shell.* Promises that rows of the log are never changed, removed, skipped or linked wrongly,
whoever writes the SQL. Triggers refuse the row, the guard refuses the statement. A new file gets
its tables only through the migrations here. Does not read or write entries.
"""

import contextlib
import functools
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sie_schemas.errors import OurFault

if TYPE_CHECKING:
    from sqlite_utils import Database

__all__ = [
    "connect_bare",
    "connect_reader",
    "connect_writer",
    "guard",
    "is_current",
    "is_written_back",
    "migrate",
    "migrations_damage",
    "newer_migrations",
    "schema_damage",
]

_LOG: Final = """
CREATE TABLE log (
  epoch INTEGER PRIMARY KEY CHECK (epoch >= 1),
  hash TEXT NOT NULL CHECK (length(hash) = 64),
  prev_hash TEXT NOT NULL CHECK (length(prev_hash) = 64),
  log_id TEXT NOT NULL CHECK (length(log_id) = 32),
  term INTEGER NOT NULL CHECK (term >= 1),
  ts TEXT NOT NULL,
  actor TEXT NOT NULL,
  body BLOB NOT NULL
) STRICT
"""

# One row for each change, so that the history of one entity needs no scan of all entries.
_CHANGE: Final = """
CREATE TABLE change (
  entity_kind TEXT NOT NULL,
  entity_key TEXT NOT NULL,
  epoch INTEGER NOT NULL REFERENCES log (epoch),
  ordinal INTEGER NOT NULL,
  kind TEXT NOT NULL,
  PRIMARY KEY (entity_kind, entity_key, epoch, ordinal)
) STRICT, WITHOUT ROWID
"""

# `epoch` is the entry that answered the key, or the head at which the write changed nothing.
_IDEMPOTENCY: Final = """
CREATE TABLE idempotency (
  actor TEXT NOT NULL,
  key TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  changed INTEGER NOT NULL,
  created INTEGER NOT NULL,
  modified_epoch INTEGER NOT NULL,
  PRIMARY KEY (actor, key)
) STRICT, WITHOUT ROWID
"""

# The writer's word for a position, beside its entry. Whether it is right is its reader's to check.
_SIGNATURE: Final = """
CREATE TABLE signature (
  epoch INTEGER PRIMARY KEY REFERENCES log (epoch),
  key_id TEXT NOT NULL,
  value TEXT NOT NULL
) STRICT
"""

_META: Final = "CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT"

# `INSERT OR REPLACE` deletes without firing delete triggers; the gap trigger runs before it.
_TRIGGERS: Final = (
    """
    CREATE TRIGGER log_is_dense BEFORE INSERT ON log
    WHEN NEW.epoch != (SELECT coalesce(max(epoch), 0) + 1 FROM log)
    BEGIN SELECT RAISE(ABORT, 'the epoch does not follow the head of the log'); END
    """,
    """
    CREATE TRIGGER log_is_linked BEFORE INSERT ON log
    WHEN NEW.prev_hash != coalesce(
      (SELECT hash FROM log WHERE epoch = NEW.epoch - 1), printf('%064d', 0))
    BEGIN SELECT RAISE(ABORT, 'prev_hash is not the hash of the head of the log'); END
    """,
    *(
        f"""
        CREATE TRIGGER {table}_refuses_{verb.lower()} BEFORE {verb} ON {table}
        BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END
        """
        for table in ("log", "change", "idempotency")
        for verb in ("UPDATE", "DELETE")
    ),
)
_SIGNATURE_TRIGGERS: Final = tuple(
    f"""
    CREATE TRIGGER signature_refuses_{verb.lower()} BEFORE {verb} ON signature
    BEGIN SELECT RAISE(ABORT, 'signature is append-only'); END
    """
    for verb in ("UPDATE", "DELETE")
)

_MIGRATION_SET: Final = "sie-config-log"
_STATEMENTS: Final = {
    "0001-log": (_LOG, _CHANGE, _IDEMPOTENCY, _META, *_TRIGGERS),
    "0002-signature": (_SIGNATURE, *_SIGNATURE_TRIGGERS),
}
_RECORDED: Final = {"id", "migration_set", "name", "applied_at"}
_OURS: Final = "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL"


def schema_damage(connection: sqlite3.Connection) -> str:
    """The parts of the schema that are not as its migrations made them; empty if all are.

    A trigger whose text lost one letter may still parse, and guard nothing. A file that an older
    release wrote, and nobody migrated yet, is whole without the later tables.
    """
    wrong = _schema_rows(connection) ^ _fresh_schema(_applied(connection) or frozenset(_STATEMENTS))
    return ", ".join(sorted({str(name) for _, name, _ in wrong}))


def migrations_damage(connection: sqlite3.Connection) -> str:
    """The unreadable parts of the record of migrations; empty if all can be read, or there is none
    yet."""
    columns = connection.execute("PRAGMA table_info(_sqlite_migrations)").fetchall()
    found = {column[1] for column in columns}
    return ", ".join(sorted(_RECORDED - found)) if found else ""


def newer_migrations(connection: sqlite3.Connection) -> str:
    """The changes that a newer release made to the schema of this file; empty if there is nothing.

    Only beside all that this release does: a name that the disk changed is damage.
    """
    found, known = _applied(connection), frozenset(_STATEMENTS)
    return ", ".join(sorted(found - known)) if found > known else ""


def is_current(connection: sqlite3.Connection) -> bool:
    """True if the file went through every migration of this release."""
    return _applied(connection) >= frozenset(_STATEMENTS)


def _applied(connection: sqlite3.Connection) -> frozenset[str]:
    """The migrations that the file says it went through; none where it does not say."""
    if not connection.execute("PRAGMA table_info(_sqlite_migrations)").fetchall():
        return frozenset()
    rows = connection.execute(
        "SELECT name FROM _sqlite_migrations WHERE migration_set = ?", (_MIGRATION_SET,)
    )
    return frozenset(str(name) for (name,) in rows)


@functools.cache
def _fresh_schema(applied: frozenset[str]) -> frozenset[tuple[str, str, str]]:
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
        for name, statements in _STATEMENTS.items():
            if name in applied:
                for statement in statements:
                    fresh.execute(statement)
        return _schema_rows(fresh)


def _schema_rows(connection: sqlite3.Connection) -> frozenset[tuple[str, str, str]]:
    # The record of migrations is another library's: its text may differ between releases.
    rows = connection.execute(_OURS).fetchall()
    return frozenset(
        (kind, name, sql) for kind, name, sql in rows if "_sqlite_migrations" not in str(name)
    )


_APPEND_ONLY: Final = frozenset({"log", "change", "idempotency", "signature"})
_SCHEMA_TABLES: Final = frozenset({"sqlite_master", "sqlite_schema", "_sqlite_migrations"})
_FORBIDDEN: Final = frozenset(
    {
        sqlite3.SQLITE_ALTER_TABLE,
        sqlite3.SQLITE_ATTACH,
        sqlite3.SQLITE_CREATE_INDEX,
        sqlite3.SQLITE_CREATE_TABLE,
        sqlite3.SQLITE_CREATE_TRIGGER,
        sqlite3.SQLITE_CREATE_VIEW,
        sqlite3.SQLITE_DROP_INDEX,
        sqlite3.SQLITE_DROP_TABLE,
        sqlite3.SQLITE_DROP_TRIGGER,
        sqlite3.SQLITE_DROP_VIEW,
    }
)
_FORBIDDEN_PRAGMAS: Final = frozenset(
    {"writable_schema", "ignore_check_constraints", "schema_version", "journal_mode", "synchronous"}
)
_WRITES: Final = frozenset({sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE})


def _authorize(
    action: int, first: str | None, second: str | None, _database: str | None, _by: str | None
) -> int:
    if action in _FORBIDDEN:
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_PRAGMA and first in _FORBIDDEN_PRAGMAS and second is not None:
        return sqlite3.SQLITE_DENY
    if action in _WRITES and first in _SCHEMA_TABLES:
        return sqlite3.SQLITE_DENY
    if action in _WRITES and action != sqlite3.SQLITE_INSERT and first in _APPEND_ONLY:
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK


def guard(connection: sqlite3.Connection) -> None:
    """Refuse, on this connection, every statement that could change what was written."""
    connection.set_authorizer(_authorize)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the schema up to date; a new file gets its tables here, each step in a transaction.

    Raises `OurFault` when two SQLite libraries would meet in this process. Their POSIX locks do not
    see each other, and closing one file handle drops the other's.
    """
    if is_current(connection):
        return
    # It imports numpy, click and dateutil, a quarter of the processor time of sie-config's start
    # (0.33 of 1.36 s). No file needs it twice, and a reader of the log never.
    import sqlite_utils.utils  # noqa: PLC0415
    from sqlite_utils import Database, Migrations  # noqa: PLC0415

    if vars(sqlite_utils.utils)["sqlite3"] is not sqlite3:
        raise OurFault(
            "sqlite-utils chose another SQLite than the standard library's: uninstall pysqlite3"
        )
    migrations = Migrations(_MIGRATION_SET)
    for name, statements in _STATEMENTS.items():
        migrations(name=name)(_applying(statements))
    migrations.apply(Database(connection, execute_plugins=False))


def _applying(statements: Iterable[str]) -> Callable[["Database"], None]:
    def migrate_one(database: "Database") -> None:
        for statement in statements:
            database.execute(statement)

    return migrate_one


def connect_bare(path: Path) -> sqlite3.Connection:
    """A bare connection of the standard library's SQLite; no transaction begins by itself."""
    # Opened by one thread and used by that thread alone; closing may happen at exit from another.
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)


def connect_writer(
    path: Path, connect: Callable[[Path], sqlite3.Connection] = connect_bare
) -> sqlite3.Connection:
    """The one connection that writes, also the WAL back. WAL, and a commit is on disk (FULL).

    `connect` makes the bare connection: a test puts a disk under it that fails.
    """
    connection = connect(path)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        # NORMAL would sync at checkpoints only: an answered write could be gone after a power cut.
        connection.execute("PRAGMA synchronous = FULL")
        # Pages and schema may come from a damaged disk or a stranger's backup.
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
    except (sqlite3.Error, UnicodeDecodeError):
        connection.close()
        raise
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """A read-only connection that writes nothing back, with the guard on.

    Where the disk takes no file beside the log, SQLite cannot share it with a writer; there is none
    then. With nothing in the write-ahead log the file is read as one that does not change.
    """
    connection = _connect_reader(path, "mode=ro")
    try:
        connection.execute("SELECT 1 FROM sqlite_schema").fetchone()
    except sqlite3.OperationalError as error:
        code = error.sqlite_errorcode & 0xFF
        if code in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN} and is_written_back(path):
            connection.close()
            return _connect_reader(path, "mode=ro&immutable=1")
    except (sqlite3.Error, UnicodeDecodeError):
        # What is wrong inside the file is for the first who reads it.
        pass
    return connection


def is_written_back(path: Path) -> bool:
    """True if the log is there, and all of it is in its one file."""
    wal = path.with_name(path.name + "-wal")
    return path.is_file() and not (wal.exists() and wal.stat().st_size)


def _connect_reader(path: Path, query: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{query}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=5.0,
    )
    try:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("PRAGMA query_only = ON")
    except sqlite3.Error:
        connection.close()
        raise
    guard(connection)
    return connection
