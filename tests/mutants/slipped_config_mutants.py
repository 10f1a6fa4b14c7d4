"""Slips planted in sie-config and in the files of replicas.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["SLIPPED_CONFIG_MUTANTS"]

SLIPPED_CONFIG_MUTANTS = (
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
        "checkpoint-in-recovery",
        "a writer that lost entries overwrites what tells of them",
        "control_plane/sie_config/upkeep/checkpoint_keeper.py",
        "        if isinstance(self._sequencer.state, Recovery):\n            return\n",
        "",
        (
            (
                "tests/unit/test_quick_start.py::test_a_checkpoint_is_stored_only_of_a_"
                "log_that_may_be_written"
            ),
        ),
    ),
    edit(
        "full-disk-is-asked-at-each-look",
        "a full disk is written to at every look, by a snapshot each",
        "control_plane/sie_config/upkeep/checkpoint_keeper.py",
        (
            "        self._file.epoch = export.epoch\n        try:\n            await "
            "self._thread.run(self._file.write, export.data)\n"
        ),
        (
            "        try:\n            await self._thread.run(self._file.write, "
            "export.data)\n            self._file.epoch = export.epoch\n"
        ),
        (
            (
                "tests/unit/test_quick_start.py::test_a_disk_that_takes_no_checkpoint_i"
                "s_asked_again_after_as_many_entries"
            ),
        ),
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
        "view-leaves-with-the-first",
        "a page of the console that is closed takes the view from the others",
        "control_plane/sie_config/http/console/feed.py",
        "return await asyncio.shield(self._made)",
        "return await self._made",
        ("tests/unit/test_console_feed.py::test_a_client_that_leaves_takes_the_view_from_nobody",),
    ),
    edit(
        "head-is-what-the-client-has",
        "a browser that is cut off behind the head misses entries",
        "control_plane/sie_config/http/console/feed.py",
        'event_id=self._id(after) if is_near else "")',
        "event_id=self._id(plane.sequencer.position.epoch))",
        (
            (
                "tests/unit/test_console_feed.py::test_a_client_that_is_cut_off_behind_"
                "any_event_misses_nothing"
            ),
        ),
    ),
    edit(
        "first-asker-takes-it-along",
        "a replica that gives up takes the snapshot from a crowd",
        "control_plane/sie_config/upkeep/exports.py",
        "await asyncio.shield(self._making)",
        "await self._making",
        (
            (
                "tests/unit/test_config_self_check.py::test_an_export_is_made_for_those"
                "_who_stay_whoever_leaves"
            ),
        ),
    ),
    edit(
        "failed-export-is-awaited",
        "one snapshot that failed is the answer to every later request",
        "control_plane/sie_config/upkeep/exports.py",
        (
            "        try:\n            data = await self._thread.run(self._join, registry, "
            "lineage, last)\n        finally:\n            # Here and not in a callback: "
            "whoever comes next must not wait for what is over.\n            self._making "
            "= None"
        ),
        (
            "        data = await self._thread.run(self._join, registry, lineage, last)\n"
            "        self._making = None"
        ),
        (
            (
                "tests/unit/test_config_self_check.py::test_an_export_that_failed_is_ma"
                "de_again_for_who_comes_next"
            ),
        ),
    ),
    edit(
        "older-tail-has-it",
        "a replica gives back entries of a log that it has left",
        "shared/runtime/sie_runtime/follower/replica_files.py",
        "kept |= {each.epoch: each for each in _entries(self._tail_path(generation))}",
        "kept = {each.epoch: each for each in _entries(self._tail_path(generation))} | kept",
        (
            (
                "tests/unit/test_replica_files.py::test_after_its_newest_snapshot_a_rep"
                "lica_gives_back_what_it_applied_since"
            ),
        ),
    ),
    edit(
        "load-reads-every-tail",
        "a replica boots into entries of a log that it has left",
        "shared/runtime/sie_runtime/follower/replica_files.py",
        "tuple(self._after(epoch, since=epoch))",
        "tuple(self._after(epoch))",
        (
            (
                "tests/unit/test_replica_files.py::test_after_its_newest_snapshot_a_rep"
                "lica_gives_back_what_it_applied_since"
            ),
        ),
    ),
)
