"""Mutants of sie-config's HTTP, documents, keys and upkeep.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["CONFIG_DOORS_MUTANTS"]

DOORS = "control_plane/sie_config/http/doors.py"
ROLE_LAWS = "tests/property/test_role_laws.py"
_CONFIG = "control_plane/sie_config"
_READ = "tests/property/test_read_laws.py::"
FOLLOW = "control_plane/sie_config/http/follow_routes.py"
API = "tests/unit/test_config_api.py"
CONDITIONS = "tests/property/test_condition_laws.py"
_KEYS = "control_plane/sie_config/keys/log_keys.py"
_SIGNED = "tests/property/test_signature_laws.py::"
_KEY = (f"{_SIGNED}test_a_writer_signs_what_its_key_alone_may_and_begins_with_the_newest_key",)
FORGED = "tests/adversary/test_forged_positions.py"
DISK_WATCH = "control_plane/sie_config/upkeep/disk_watch.py"
DISK = "tests/unit/test_disk_faults.py"
EXPORTS = "control_plane/sie_config/upkeep/exports.py"
_EXPORTED = (
    "tests/property/test_history_laws.py::test_an_export_is_of_one_epoch_never_older_than_its_request"
    "_and_made_once_for_all",
)
CORNERS = "tests/unit/test_log_corners.py"

CONFIG_DOORS_MUTANTS = (
    edit(
        "own-files-are-weights",
        "whoever may propose a change learns what the log's file hashes to, and any that is linked",
        "control_plane/sie_config/documents/manifest_reader.py",
        "if (status.st_dev, status.st_ino) in self._private:",
        "if False:",
        ("tests/property/test_manifest_laws.py",),
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
        "every-route-knows-a-trial",
        "who may only try a change compacts the log for good",
        DOORS,
        "        if self.trial is not None and query and _is_trial(query):\n"
        "            return self.trial\n",
        '        if query and _is_trial(query):\n            return self.trial or "propose"\n',
        (ROLE_LAWS,),
    ),
    edit(
        "unknown-parameter-is-passed-over",
        "a write that was meant as a trial is made",
        DOORS,
        "        if query:\n            check_query(query, self.query, "
        'route=f"{request.method} {request.url.path}")\n',
        "",
        (ROLE_LAWS,),
    ),
    edit(
        "a-continued-log-is-another",
        (
            "after a superseding log every replica takes a snapshot in place of the "
            "entries that it lacks"
        ),
        "control_plane/sie_config/http/follow_routes.py",
        "log_id not in {begin.log_id for begin in plane.sequencer.lineage}",
        "log_id != head.log_id",
        (
            (
                "tests/unit/test_golden_files.py::test_a_log_that_continues_another_serve"
                "s_both_and_tells_each_moment_its_own"
            ),
        ),
    ),
    edit(
        "the-file-is-read-beyond-the-head",
        "a follower is given what is not announced, and may be taken back",
        f"{_CONFIG}/http/follow_routes.py",
        "min(head, after + limit)",
        "after + limit",
        (f"{_READ}test_nothing_is_shown_that_is_in_the_file_and_was_not_announced",),
    ),
    edit(
        "poll-compares-epoch-only",
        "a replica with other contents at the same epoch is never told",
        FOLLOW,
        "    return (log_id or position.log_id, epoch, digest or position.digest) == (\n",
        "    return (position.log_id, epoch, position.digest) == (\n",
        (f"{API}::test_a_long_poll_answers_any_difference_at_once",),
    ),
    edit(
        "trimmed-range-starts-late",
        "a replica that is far behind gets the newer entries and no word of the older",
        FOLLOW,
        "    if after < head.low_water - 1:\n",
        "    if after < 0:\n",
        (API,),
    ),
    edit(
        "writer-ahead-goes-unnoticed",
        "a replica that knows more than its writer is answered with silence",
        FOLLOW,
        "    if after > head.epoch:\n",
        "    if after < 0:\n",
        (API,),
    ),
    edit(
        "a-page-of-a-difference-is-the-last",
        "of what differs the console shows the first page alone",
        "control_plane/sie_config/http/history_routes.py",
        "if limit is not None and len(part) == limit else None",
        "if limit is not None and len(part) > limit else None",
        (
            (
                "tests/unit/test_config_time.py::test_a_difference_in_pages_of_any_length"
                "_is_the_whole_one"
            ),
        ),
    ),
    edit(
        "a-past-export-names-later-logs",
        "a snapshot of before a log was superseded says that it was",
        "control_plane/sie_config/http/history_routes.py",
        ("lineage = [begin for begin in plane.sequencer.lineage if begin.epoch <= epoch]"),
        "lineage = [*plane.sequencer.lineage]",
        (
            (
                "tests/unit/test_golden_files.py::test_a_log_that_continues_another_serve"
                "s_both_and_tells_each_moment_its_own"
            ),
        ),
    ),
    edit(
        "a-page-of-patches-begins-from-nothing",
        "of a long history each page but the first tells its first change as a creation",
        f"{_CONFIG}/http/history_routes.py",
        "earlier = await plane.timeline.entity(kind, key, after) if after else None",
        "earlier = None",
        (
            f"{_READ}test_a_history_in_pages_is_the_whole_and_its_patches_lead_from_each_to_the"
            "_next",
        ),
    ),
    edit(
        "fingerprint-is-the-body-alone",
        "a key used for a delete answers a create with it",
        "control_plane/sie_config/http/write_requests.py",
        'for part in (scope["method"].encode(), scope["path"].encode(), scope["query_string"]):',
        'for part in (scope["path"].encode(),):',
        (CONDITIONS,),
    ),
    edit(
        "a-path-ends-at-an-encoded-mark",
        "the key of a delete is answered where another path was asked for",
        f"{_CONFIG}/http/write_requests.py",
        'scope["path"].encode()',
        "request.url.path.encode()",
        (CONDITIONS,),
    ),
    edit(
        "any-old-key-may-write",
        "a writer goes on under a key that was replaced, and no replica follows it",
        _KEYS,
        "if self.trust.key_id != self.own.key_id:",
        "if self.own.key_id not in self._public:",
        _KEY,
    ),
    edit(
        "own-word-is-not-believed",
        "a restored writer does not believe what it said itself of the entries that it lost",
        _KEYS,
        "self._public | {self.own.key_id: self.own.public}",
        "self._public",
        _KEY,
    ),
    edit(
        "wrong-key-writes",
        "a writer with another key forks every replica from itself",
        "control_plane/sie_config/keys/log_keys.py",
        "if self.trust.key_id != self.own.key_id:",
        "if not self.own.key_id:",
        (FORGED,),
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
        "recovery-overwrites-its-evidence",
        "the second start after a loss knows of no loss",
        DISK_WATCH,
        "if self._sequencer.last is None or isinstance(self._sequencer.state, Recovery):",
        "if self._sequencer.last is None:",
        (DISK,),
    ),
    edit(
        "export-is-older-than-its-request",
        "a replica that asks for a snapshot after a write gets the one before it",
        "control_plane/sie_config/upkeep/exports.py",
        "while self._made is None or self._made.epoch < wanted:",
        "while self._made is None:",
        ("tests/unit/test_config_crowds.py", "tests/unit/test_config_api.py"),
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
        "snapshot-names-a-later-epoch",
        "a snapshot holds the models of one epoch under the number of another",
        EXPORTS,
        "        registry, lineage, last = log.registry, log.lineage, log.last\n",
        "        registry, lineage = log.registry, log.lineage\n"
        "        await asyncio.sleep(0.02)\n        last = log.last\n",
        (CORNERS,),
    ),
    edit(
        "an-export-lacks-the-last-write",
        "who wrote and asks for a snapshot gets the one before the write",
        EXPORTS,
        "wanted = log.last.epoch\n",
        "wanted = log.last.epoch - 1\n",
        _EXPORTED,
    ),
    edit(
        "an-export-that-was-under-way-will-do",
        "who asks while a snapshot is made gets one of before its request",
        EXPORTS,
        "while self._made is None or self._made.epoch < wanted:",
        "if self._made is None or self._made.epoch < wanted:",
        _EXPORTED,
    ),
    edit(
        "an-export-joins-what-is-there-later",
        "a snapshot holds models that came after the entry that it names",
        EXPORTS,
        "self._thread.run(self._join, registry, lineage, last)",
        "self._thread.run(lambda: self._join(log.registry, lineage, last))",
        _EXPORTED,
    ),
    edit(
        "an-export-is-called-by-the-newest-entry",
        "a snapshot of one epoch is answered under the number of another",
        EXPORTS,
        "self._made = Export(last.epoch, last.hash, data)",
        "self._made = Export(log.last.epoch, log.last.hash, data)",
        _EXPORTED,
    ),
    edit(
        "each-asker-has-an-export-made",
        "a crowd of replicas has the writer make a snapshot for each of them",
        EXPORTS,
        "            if self._making is None:\n",
        "            if self._making is None or self._made is None:\n",
        _EXPORTED,
    ),
    edit(
        "one-condition-hides-the-other",
        "a write that was to create is made over what is there",
        "control_plane/sie_config/http/write_requests.py",
        "return Expectation(etags=etags, absent=if_none_match is not None)",
        "return Expectation(etags=etags)",
        (
            "tests/property/test_condition_laws.py::test_each_condition_of_a_write_counts_also_beside_the_other",
        ),
    ),
    edit(
        "what-changed-nothing-is-on-the-stream",
        "a repeated write says that the broker has what it has not",
        "control_plane/sie_config/http/writing.py",
        "is_pending = self._after.ack_stream and not await",
        "is_pending = self._after.ack_stream and outcome.changed and not await",
        (
            "tests/unit/test_config_publisher.py::test_with_the_bus_down_writes_commit_and_say_that_they_are_not_published",
        ),
    ),
    edit(
        "a-write-is-worked-out-for-ever",
        "a patch of what others write all the time is worked out without an end",
        "control_plane/sie_config/http/writing.py",
        "        for _ in range(self._plane.settings.rework_max):",
        "        while True:",
        (
            "tests/property/test_rework_laws.py::test_it_is_worked_out_anew_a_bounded_number_of_times_and_never_on_older_ground",
        ),
    ),
    edit(
        "an-export-has-the-etag-of-its-request",
        "who has the newest snapshot loads it again, or keeps one that it takes for the newest",
        "control_plane/sie_config/http/follow_routes.py",
        'headers={"etag": f\'"{made.hash}"\'}',
        'headers={"etag": tag}',
        (
            "tests/unit/test_config_crowds.py::test_the_etag_of_an_export_is_that_of_the_snapshot_that_was_given_out",
        ),
    ),
    edit(
        "a-past-export-without-its-own-beginning",
        "a follower that starts from the first entry of a log does not know the log",
        "control_plane/sie_config/http/history_routes.py",
        "if begin.epoch <= epoch]",
        "if begin.epoch < epoch]",
        ("tests/unit/test_config_time.py::test_a_past_export_is_the_one_that_was_given_out_then",),
    ),
    edit(
        "who-signs-in-most-signs-others-out",
        "one script that signs in in a loop ends the sessions of everybody",
        "control_plane/sie_config/http/console/sessions.py",
        "        if len(self._kept) > self._kept_max:\n            self._let_one_go()",
        "        if len(self._kept) > self._kept_max:\n            self._kept.popitem(last=False)",
        (
            "tests/adversary/test_console_sessions.py::test_who_signs_in_without_end_takes_nobody_elses_session",
        ),
    ),
    edit(
        "histories-are-made-for-all-at-once",
        "a crowd that asks for a history and reads none holds writes up and fills the memory",
        f"{_CONFIG}/http/history_routes.py",
        "        async with plane.pages.turn():\n            steps",
        "        if True:\n            steps",
        (
            "tests/adversary/test_slow_readers.py::test_a_crowd_that_reads_nothing_holds_up_nobody_and_fills_no_memory[/v1/configs/models/org/m/history?limit=1000&diff=true]",
        ),
    ),
)
