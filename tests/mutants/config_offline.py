"""Mutants of what an operator has of a log: restores, compaction, the console's feed, self-checks.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["CONFIG_OFFLINE_MUTANTS"]

CONFIG_OFFLINE_MUTANTS = (
    edit(
        "the-mark-of-whoever-answers",
        "a compaction with the address of another writer forgets the deltas of that one for ever",
        "control_plane/sie_config/offline/compaction.py",
        "        _require_writer_of(log, url)\n",
        "",
        (
            "tests/unit/test_log_compact.py::test_through_a_writer_the_mark_moves_in_its_own_log_alone",
        ),
    ),
    edit(
        "a-restore-believes-a-forged-claim",
        "one message of a stranger has every good backup refused",
        "control_plane/sie_config/offline/restore.py",
        "    return not keys or vouched_for(claim.proof, keys, verify)",
        "    return True",
        (
            "tests/adversary/test_forged_positions.py::test_a_forged_end_of_the_stream_has_no_good_backup_refused",
        ),
    ),
    edit(
        "what-both-have-is-lost",
        "a new log says that entries are lost which it has",
        "control_plane/sie_config/offline/restore.py",
        "if c.log_id == last.log_id and hashes.get(c.epoch) != c.hash]",
        "if c.log_id == last.log_id]",
        (
            "tests/unit/test_log_restore.py::test_the_range_told_as_lost_is_of_entries_that_another_copy_has_and_the_new_log_lacks",
        ),
    ),
    edit(
        "a-key-is-missed-that-no-log-names",
        "an operator is told to look for a key that there never was",
        "control_plane/sie_config/offline/restore.py",
        "    if named and (key",
        "    if (key",
        (
            "tests/unit/test_log_restore.py::test_of_a_key_is_warned_where_the_log_names_one_that_is_not_there",
        ),
    ),
    edit(
        "the-feed-goes-on-in-another-log",
        "a page shows entries of a new log as the next of the old one",
        "control_plane/sie_config/http/console/feed.py",
        "if head.log_id != log_id or head.epoch < after:",
        "if head.epoch < after:",
        (
            "tests/unit/test_console_feed.py::test_entries_of_another_log_do_not_follow_those_of_the_one_that_was_shown",
        ),
    ),
    edit(
        "a-browser-goes-on-from-the-future",
        "a browser is told that it has entries which there are not",
        "control_plane/sie_config/http/console/feed.py",
        "after - _MISSED_MAX <= seen <= after",
        "after - _MISSED_MAX < seen",
        (
            "tests/unit/test_console_feed.py::test_an_id_that_cannot_be_resumed_from_is_said_and_not_guessed_about",
        ),
    ),
    edit(
        "a-snapshot-of-another-entry-is-sound",
        "a snapshot at an entry that the log has not is given to followers",
        "control_plane/sie_config/upkeep/self_check.py",
        "    if found.entry.hash != at.hash:\n",
        "    if found.entry.epoch != at.epoch:\n",
        (
            "tests/unit/test_config_self_check.py::test_a_snapshot_that_stands_at_another_entry_of_that_epoch_is_found",
        ),
    ),
)
