"""Mutants of the log file: the schema, the append, the lock, and what is said of damage.

*types.*
"""

from tests.mutants.mutant import Edit, Mutant, edit

__all__ = ["STORAGE_MUTANTS"]

LOG_FILE = "control_plane/sie_config/log/log_file.py"
LOG_ROWS = "control_plane/sie_config/log/log_rows.py"
LOCK = "control_plane/sie_config/log/writer_lock.py"
SCHEMA = "control_plane/sie_config/log/schema.py"
HEAD_FILE = "control_plane/sie_config/log/head_file.py"
REPLAY = "control_plane/sie_config/log/replay.py"
PLANE = "control_plane/sie_config/writer_process.py"
DISK_WATCH = "control_plane/sie_config/upkeep/disk_watch.py"

POWER = "tests/property/test_power_loss.py"
FILE = "tests/unit/test_store_file.py"
DISK = "tests/unit/test_disk_faults.py"
API = "tests/unit/test_config_api.py"
CORNERS = "tests/unit/test_log_corners.py"

STORAGE_MUTANTS = (
    edit(
        "entry-and-key-in-two-commits",
        "a power cut between them leaves a write whose retry is written again",
        LOG_FILE,
        "            if keys:\n                connection.executemany(\n",
        '            if keys:\n                connection.execute("COMMIT")\n'
        '                connection.execute("BEGIN IMMEDIATE")\n'
        "                connection.executemany(\n",
        (POWER,),
    ),
    edit(
        "keys-live-in-memory",
        "after a restart a retried write is written twice",
        LOG_FILE,
        "            if keys:\n                connection.executemany(\n",
        "            if keys and not keys:\n                connection.executemany(\n",
        (f"{API}::test_property_07_a_key_survives_a_restart_and_a_refusal_stores_none", FILE),
    ),
    edit(
        "keys-are-forgotten-after-a-window",
        "a client that retries late writes twice",
        LOG_FILE,
        "FROM idempotency WHERE actor = ? AND key = ?",
        "FROM idempotency WHERE actor = ? AND key = ? AND epoch > (SELECT max(epoch) - 2 FROM log)",
        (CORNERS,),
    ),
    edit(
        "key-is-not-the-actors",
        "one team's key answers another team's write",
        LOG_FILE,
        "FROM idempotency WHERE actor = ? AND key = ?",
        "FROM idempotency WHERE ? != '' AND key = ?",
        (FILE,),
    ),
    edit(
        "synchronous-normal",
        "a power cut takes back acknowledged writes",
        SCHEMA,
        '"PRAGMA synchronous = FULL"',
        '"PRAGMA synchronous = NORMAL"',
        (POWER,),
    ),
    edit(
        "lock-is-shared",
        "two writers append to one file",
        LOCK,
        "fcntl.LOCK_EX | fcntl.LOCK_NB",
        "fcntl.LOCK_SH | fcntl.LOCK_NB",
        (FILE,),
    ),
    edit(
        "foreign-wal",
        "commits go into a file that was unlinked, and are gone with the process",
        LOG_FILE,
        'for file in (self._path, _sibling(self._path, "-wal"), _sibling(self._path, ".lock")):',
        'for file in (self._path, _sibling(self._path, ".lock")):',
        (FILE,),
    ),
    edit(
        "commit-into-an-unlinked-file",
        "a write is acknowledged that went into a file which somebody had just unlinked",
        LOG_FILE,
        "one: say it now.\n        self._check_ours()\n",
        "one: say it now.\n",
        (FILE,),
    ),
    edit(
        "own-files-are-weights",
        "whoever may propose a change learns what the log's file hashes to, and any that is linked",
        "control_plane/sie_config/documents/manifest_reader.py",
        "if (status.st_dev, status.st_ino) in self._private:",
        "if False:",
        ("tests/property/test_manifest_laws.py",),
    ),
    edit(
        "replaced-file-is-not-noticed",
        "a restored backup under a running writer swallows what it commits",
        LOG_FILE,
        "                ours = _inode(file) == expected\n",
        "                ours = _inode(file) is not None\n",
        (FILE,),
    ),
    edit(
        "unsynced-tail-is-served",
        "followers apply what a killed writer left, and a power cut takes it from the file",
        LOG_FILE,
        "            file._write_back()\n",
        "",
        ("tests/integration/test_store_kill.py",),
    ),
    edit(
        "append-after-a-failed-sync",
        "the disk lost a page that the next commit builds on",
        LOG_FILE,
        "        if not isinstance(fault, StorageFull):\n",
        "        if fault is None:\n",
        (DISK,),
    ),
    edit(
        "damage-ends-the-log",
        "a damaged entry is read as the end: the writer goes on from an older epoch",
        LOG_FILE,
        "            raise_damaged(self._path, 1 if last is None else last.epoch + 1, error)\n",
        "            del error\n            return\n",
        (FILE,),
    ),
    edit(
        "row-types-are-believed",
        "a damaged page ends the process with a type error instead of a word",
        LOG_ROWS,
        "    if not isinstance(claimed, str) or not isinstance(body, bytes):\n",
        "    if epoch is None:\n",
        (
            "tests/unit/test_log_verify.py::test_a_row_of_other_types_than_the_schemas_is_damage_in_words",
        ),
    ),
    edit(
        "schema-is-believed",
        "a trigger that lost a letter guards nothing, and nobody knows",
        SCHEMA,
        "    wrong = _schema_rows(connection) ^ "
        "_fresh_schema(_applied(connection) or frozenset(_STATEMENTS))\n",
        "    wrong = _schema_rows(connection) - _schema_rows(connection)\n",
        (CORNERS,),
    ),
    edit(
        "gap-is-written",
        "the file itself takes an entry that skips an epoch",
        SCHEMA,
        "    WHEN NEW.epoch != (SELECT coalesce",
        "    WHEN NEW.epoch < (SELECT coalesce",
        (FILE,),
    ),
    edit(
        "link-is-not-guarded",
        "the file itself takes an entry of another history",
        SCHEMA,
        "    WHEN NEW.prev_hash != coalesce(",
        "    WHEN NEW.epoch = 0 AND NEW.prev_hash != coalesce(",
        (FILE,),
    ),
    edit(
        "guard-is-off",
        "any SQL can rewrite history",
        SCHEMA,
        "    connection.set_authorizer(_authorize)\n",
        "    assert connection\n",
        (FILE,),
    ),
    edit(
        "low-water-falls",
        "a range that was trimmed from the stream is promised again",
        LOG_FILE,
        "DO UPDATE SET value = max(value, excluded.value)",
        "DO UPDATE SET value = excluded.value",
        (FILE,),
    ),
    edit(
        "replay-believes-digests",
        "an entry that folds to another state than its writer had is served",
        REPLAY,
        "    if after.digest != entry.state_digest:\n",
        "    if not after.digest:\n",
        (FILE,),
    ),
    edit(
        "unreadable-head-file-is-none",
        "a read error is taken for a first start: the writer goes on from a lost tail",
        HEAD_FILE,
        "        except (OSError, *MALFORMED) as error:\n",
        "        except (OSError, *MALFORMED) as error:\n            return None\n",
        (DISK,),
    ),
    edit(
        "recovery-overwrites-its-evidence",
        "the second start after a loss knows of no loss",
        DISK_WATCH,
        "if self._sequencer.last is None or isinstance(self._sequencer.state, Recovery):",
        "if self._sequencer.last is None:",
        (DISK,),
    ),
    Mutant(
        "damaged-log-is-written",
        "a writer appends to the verified part of a damaged file",
        (
            Edit(
                PLANE,
                "        elif damage is not None:\n"
                "            self.sequencer.enter(Recovery(damage.message))\n",
                "        elif damage is not None:\n            await self._roll_call.resume()\n",
            ),
        ),
        ("tests/unit/test_config_witnesses.py",),
    ),
)
