"""Mutants of the log file: rows, keys, checkpoints, the lock, witnesses.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["LOG_MUTANTS"]

HEAD_FILE = "control_plane/sie_config/log/head_file.py"
DISK = "tests/unit/test_disk_faults.py"
LOG_FILE = "control_plane/sie_config/log/log_file.py"
POWER = "tests/property/test_power_loss.py"
FILE = "tests/unit/test_store_file.py"
API = "tests/unit/test_config_api.py"
CORNERS = "tests/unit/test_log_corners.py"
_CONFIG = "control_plane/sie_config"
LOG_ROWS = "control_plane/sie_config/log/log_rows.py"
REPLAY = "control_plane/sie_config/log/replay.py"
SCHEMA = "control_plane/sie_config/log/schema.py"
WITNESSES = "control_plane/sie_config/log/witnesses.py"
JUDGED = "tests/unit/test_config_witnesses.py"
LOCK = "control_plane/sie_config/log/writer_lock.py"

LOG_MUTANTS = (
    edit(
        "checkpoint-lineage-believed",
        "a key that somebody put into a file beside the log is trusted",
        "control_plane/sie_config/log/checkpoint.py",
        "if proof != (entry.hash, tuple(e.hash for e in checkpoint.lineage), entry.state_digest):",
        "if (proof[0], proof[2]) != (entry.hash, entry.state_digest):",
        (
            (
                "tests/property/test_checkpoint_laws.py::test_no_start_is_made_from_a_c"
                "heckpoint_that_is_wrong_in_one_part"
            ),
        ),
    ),
    edit(
        "checkpoint-digest-believed",
        "a start serves a state that no entry has",
        "control_plane/sie_config/log/checkpoint.py",
        "if proof != (entry.hash, tuple(e.hash for e in checkpoint.lineage), entry.state_digest):",
        "if proof[:2] != (entry.hash, tuple(e.hash for e in checkpoint.lineage)):",
        (
            (
                "tests/property/test_checkpoint_laws.py::test_no_start_is_made_from_a_c"
                "heckpoint_that_is_wrong_in_one_part"
            ),
        ),
    ),
    edit(
        "checkpoint-hash-believed",
        "a start goes on from the state of another log",
        "control_plane/sie_config/log/checkpoint.py",
        "if proof != (entry.hash, tuple(e.hash for e in checkpoint.lineage), entry.state_digest):",
        "if proof[1:] != (tuple(e.hash for e in checkpoint.lineage), entry.state_digest):",
        (
            (
                "tests/property/test_checkpoint_laws.py::test_no_start_is_made_from_a_c"
                "heckpoint_that_is_wrong_in_one_part"
            ),
        ),
    ),
    edit(
        "checkpoint-keys-of-later",
        "after a key was changed each start folds the whole log",
        "control_plane/sie_config/log/checkpoint.py",
        "entity_kind = 'key' AND epoch <= ?)\",\n        (until,),",
        "entity_kind = 'key')\",\n        (),",
        (
            (
                "tests/property/test_checkpoint_laws.py::test_a_start_from_any_checkpoi"
                "nt_ends_where_the_whole_fold_ends"
            ),
        ),
    ),
    edit(
        "head-written-before-it-is",
        "a head file that a full disk refused stays old for good",
        "control_plane/sie_config/log/head_file.py",
        "        await self._thread.run(self.replace, position)\n        self._written = position",
        "        self._written = position\n        await self._thread.run(self.replace, position)",
        (
            (
                "tests/unit/test_config_witnesses.py::test_a_head_file_that_a_disk_refu"
                "sed_is_written_at_the_next_look"
            ),
        ),
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
        "created-though-it-was-there",
        "after a recovery a repeated write is told otherwise than the first time",
        "control_plane/sie_config/log/key_rows.py",
        "was_there = present.get(entity, before.get(*entity) is not None)",
        "was_there = before.get(*entity) is not None",
        (
            (
                "tests/property/test_checkpoint_laws.py::test_a_key_whose_entry_comes_b"
                "ack_says_as_before_whether_something_was_created"
            ),
        ),
    ),
    edit(
        "keys-of-the-first-registry",
        "after a recovery a repeated write is told that it created what was there",
        "control_plane/sie_config/log/key_rows.py",
        "        before = apply(before, entry)\n",
        "",
        (
            (
                "tests/property/test_checkpoint_laws.py::test_a_key_whose_entry_comes_b"
                "ack_says_as_before_whether_something_was_created"
            ),
        ),
    ),
    edit(
        "links-unlinked",
        "an entry of another history stands in the middle of the log, unnoticed",
        "control_plane/sie_config/log/links.py",
        (
            "            if prev_hash != last:\n                raise LinkBroken(epoch, "
            '"it is not linked to the row before it")\n'
        ),
        "",
        (
            (
                "tests/property/test_checkpoint_laws.py::test_links_name_each_begin_of_"
                "a_log_and_the_first_row_that_does_not_hang_on_the_others"
            ),
        ),
    ),
    edit(
        "links-one-log",
        "a log that superseded another one never starts quickly",
        "control_plane/sie_config/log/links.py",
        "            if row_log_id != log_id:\n                log_id = row_log_id\n",
        "            if not log_id:\n                log_id = row_log_id\n",
        (
            (
                "tests/property/test_checkpoint_laws.py::test_links_name_each_begin_of_"
                "a_log_and_the_first_row_that_does_not_hang_on_the_others"
            ),
        ),
    ),
    edit(
        "refused-row-of-a-group-is-skipped",
        "writes are acknowledged whose entry is not in the file",
        "control_plane/sie_config/log/log_file.py",
        '"INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?)"',
        '"INSERT OR IGNORE INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?)"',
        ("tests/unit/test_store_file.py",),
    ),
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
        "an-actor-is-his-letters",
        "Ann's key is refused, or answered, as ann's",
        LOG_FILE,
        "FROM idempotency WHERE actor = ? AND key = ?",
        "FROM idempotency WHERE actor = ? COLLATE NOCASE AND key = ?",
        ("tests/property/test_idempotency_laws.py",),
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
        "low-water-falls",
        "a range that was trimmed from the stream is promised again",
        LOG_FILE,
        "DO UPDATE SET value = max(value, excluded.value)",
        "DO UPDATE SET value = excluded.value",
        (FILE,),
    ),
    edit(
        "a-failed-disk-takes-a-mark",
        "a process whose commit failed writes on behind it",
        f"{_CONFIG}/log/log_file.py",
        'Raises as `append`."""\n        self._require_writable()',
        'Raises as `append`."""\n        self._check_ours()',
        (
            "tests/unit/test_disk_faults.py::test_after_a_failed_sync_this_process_writes_nothing"
            "_more",
        ),
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
        "replay-believes-digests",
        "an entry that folds to another state than its writer had is served",
        REPLAY,
        "    if after.digest != entry.state_digest:\n",
        "    if not after.digest:\n",
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
        "claim-without-a-hash-forks",
        "a replica that knows no hash stops the writer",
        "control_plane/sie_config/log/witnesses.py",
        "elif claim.hash and hash_at(claim.epoch) != claim.hash:",
        "elif hash_at(claim.epoch) != claim.hash:",
        (
            "tests/unit/test_config_witnesses.py::test_a_file_is_judged_by_who_has_seen_more_or_other",
        ),
    ),
    edit(
        "head-file-is-not-heard",
        "a log that lost its tail is written from an older epoch",
        WITNESSES,
        "    for claim in [*claims, *([own] if own is not None else [])]:\n",
        "    for claim in claims:\n",
        (JUDGED, DISK),
    ),
    edit(
        "farther-claim-is-not-heard",
        "a restored backup takes writes although others have seen more",
        WITNESSES,
        "            if farthest is None or claim.epoch > farthest.epoch:\n",
        "            if farthest is not None and claim.epoch > farthest.epoch:\n",
        (JUDGED,),
    ),
    edit(
        "other-hash-is-not-heard",
        "a file whose history differs from the cluster's takes writes",
        WITNESSES,
        "        elif claim.hash and hash_at(claim.epoch) != claim.hash:\n",
        "        elif not claim.hash:\n",
        (JUDGED,),
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
        "a-tail-that-was-not-written-back-is-served",
        "after a power cut a follower is ahead of its own log",
        "control_plane/sie_config/log/log_file.py",
        '            raise StorageFailed(\n                f"{self._path}: a reader',
        '            StorageFailed(\n                f"{self._path}: a reader',
        (
            "tests/unit/test_store_file.py::test_a_log_whose_tail_a_reader_keeps_from_being_written_back_is_not_opened",
        ),
    ),
)
