"""Slips of a tired maintainer in sie-config's rooms and in what a replica hears.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["TIRED_MUTANTS"]

_CONFIG = "control_plane/sie_config"
_PAST = "tests/property/test_past_laws.py::"
_REPORTS = "tests/property/test_report_laws.py::"
_WATCH = "tests/property/test_watch_laws.py::"
_READ = "tests/property/test_read_laws.py::"
_SAID_LAST = (f"{_REPORTS}test_what_is_asked_of_the_reports_is_what_their_senders_said_last",)
_MEASURED = (f"{_WATCH}test_each_epoch_is_measured_once_of_each_replica_that_was_heard_before",)
_RESTS = (
    "tests/property/test_draft_laws.py::test_a_write_that_rests_on_another_state_than_is_there"
    "_is_not_made",
)
_HEARD = (
    "tests/property/test_feed_laws.py::test_a_replica_hears_of_each_log_that_it_follows_what"
    "_comes_after_its_place_and_at_once",
)
_AUDITED = (f"{_PAST}test_an_audit_tells_each_row_of_its_span_once_in_pages_of_any_length",)
_LAWS = "tests/property/"
_LOOKUP = "tests/unit/test_config_lookup.py::"
_MANY_PARTS = (
    f"{_PAST}test_a_registry_of_many_parts_is_whole_and_one_with_a_row_too_few_is_never_believed",
)
_BLAMED = (f"{_LOOKUP}test_blame_over_a_long_history_is_the_same_however_it_was_read",)
_KEPT_BLAME = (
    f"{_LOOKUP}test_of_blame_the_pages_of_those_asked_for_last_are_kept_within_bounds[5242880-3]",
)
_GOES_ON = (f"{_LOOKUP}test_the_lookup_goes_on_where_the_last_process_stopped",)
_LOST = (
    f"{_LAWS}test_start_laws.py::test_a_log_that_lost_its_end_goes_as_far_as_stream_and_replicas"
    "_lead_it",
)
_STOPS = (
    f"{_LAWS}test_start_laws.py::test_a_writer_stops_for_an_entry_that_its_key_signed_and_its_log"
    "_has_not_and_for_no_other",
)
_LIFE = (
    f"{_LAWS}test_start_laws.py::test_who_is_quiet_is_asked_in_turn_and_is_gone_when_twice_nobody"
    "_listens",
)

TIRED_MUTANTS = (
    edit(
        "a-key-of-the-log-is-an-entity",
        "a difference over many entries is an error 500 where the log's key was changed",
        f"{_CONFIG}/past/timeline.py",
        " AND +entity_kind IN {ENTITY_KINDS}",
        "",
        (f"{_PAST}test_at_every_epoch_each_look_at_the_past_sees_what_was_folded_then",),
    ),
    edit(
        "a-long-number-is-another-epoch",
        "a read or a revert of an epoch with noughts before it is of another one",
        f"{_CONFIG}/past/timeline.py",
        'digits = at.lstrip("0")[:_EPOCH_DIGITS] or "0"',
        "digits = at[:_EPOCH_DIGITS]",
        (f"{_PAST}test_digits_name_the_epoch_that_they_say_however_many_they_are",),
    ),
    edit(
        "an-audit-of-an-entity-is-of-its-kind",
        "who asks what somebody did to one model is told what they did to the others",
        f"{_CONFIG}/past/lookup.py",
        " AND (? IS NULL OR kind = ?) AND (? IS NULL OR key = ?) ORDER BY",
        ' AND (? IS NULL OR kind = ?) AND (? IS NULL OR ? != "") ORDER BY',
        _AUDITED,
    ),
    edit(
        "one-state-is-one-history",
        "a replica with another entry at the head is shown as converged",
        f"{_CONFIG}/replicas/reports.py",
        """(report.log_id, report.epoch, report.hash, report.digest) == (
            head.log_id,
            head.epoch,
            head.hash,
""",
        """(report.log_id, report.epoch, report.digest) == (
            head.log_id,
            head.epoch,
""",
        (f"{_REPORTS}test_a_replica_has_converged_where_it_is_at_the_head_and_fresh",),
    ),
    edit(
        "a-silent-worker-has-a-place",
        "a model is said to be served by a worker that died",
        f"{_CONFIG}/replicas/living.py",
        'report.role == "worker" and age_s <= ttl_s',
        'report.role == "worker"',
        _SAID_LAST,
    ),
    edit(
        "traffic-does-not-age",
        "a model that nobody asked for since yesterday cannot be removed without force",
        f"{_CONFIG}/replicas/reports.py",
        "age_s + ago_s <= TRAFFIC_S",
        "ago_s <= TRAFFIC_S",
        _SAID_LAST,
    ),
    edit(
        "replicas-of-any-log-hold-up-writes",
        "a replica of another cluster on the bus keeps a writer from writing",
        f"{_CONFIG}/replicas/reports.py",
        "            and seen.report.log_id == log_id\n",
        "",
        _SAID_LAST,
    ),
    edit(
        "the-shortest-is-asked-first",
        "a writer that lost entries asks those who have least, and gives up before the others",
        f"{_CONFIG}/replicas/reports.py",
        "(each.log_id != log_id, -each.epoch, each.role, each.id)",
        "(each.log_id != log_id, each.epoch, each.role, each.id)",
        _SAID_LAST,
    ),
    edit(
        "given-up-until-the-next-word",
        "a replica that an operator has given up holds up the writes again two seconds later",
        f"{_CONFIG}/replicas/reports.py",
        "if self._overruled and set(SPEAKS) <= set(report.speaks):",
        "if self._overruled:",
        (f"{_REPORTS}test_who_is_given_up_holds_up_no_write_until_it_has_read_everything_once",),
    ),
    edit(
        "what-a-replaced-life-saw-is-forgotten",
        "a replica that was started anew on an empty disk no longer tells of what the log lost",
        f"{_CONFIG}/replicas/reports.py",
        "for seen in self.kept.every_life() if",
        "for seen in self.kept.counted() if",
        (f"{_REPORTS}test_the_lives_of_a_name_are_told_apart_and_none_hides_behind_another",),
    ),
    edit(
        "nobody-takes-the-room-of-nobody",
        "a flood of invented names drives out replicas that have no token",
        f"{_CONFIG}/replicas/sightings.py",
        "seen.at - held.at > self._ttl_s or (seen.is_known and not held.is_known)",
        "seen.at - held.at > self._ttl_s or not held.is_known",
        (
            f"{_REPORTS}test_room_is_made_of_silent_rows_and_for_who_is_known_of_nobodys_and_of"
            "_no_others",
        ),
    ),
    edit(
        "a-model-that-is-not-held-ends-the-look",
        "a wait for `effective` ends while a replica serves an older revision of the next model",
        f"{_CONFIG}/replicas/convergence.py",
        "        if held is None:\n            continue",
        '        if held is None:\n            return ""',
        (
            "tests/property/test_convergence_laws.py::test_effective_is_where_no_replica_fails_or"
            "_serves_another_revision_of_what_was_changed",
        ),
    ),
    edit(
        "a-word-during-the-look-is-missed",
        "a wait ends half a second after the last replica said that it is there",
        f"{_CONFIG}/replicas/convergence_watch.py",
        """        heard = self._heard
        found = await self._assess(selector, goal, meant)
        if""",
        """        found = await self._assess(selector, goal, meant)
        heard = self._heard
        if""",
        (f"{_WATCH}test_a_wait_ends_with_the_word_that_reaches_it_and_with_none_before",),
    ),
    edit(
        "a-stream-made-anew-says-its-own-first",
        "a stream that was lost says of itself another beginning than it has",
        f"{_CONFIG}/stream/publisher.py",
        '"base_epoch": str(low_water - 1)',
        '"base_epoch": str(low_water)',
        (
            "tests/unit/test_log_compact.py::test_whatever_befalls_a_stream_it_is_the_log_from_its"
            "_mark_on_and_says_what_is_before",
        ),
    ),
    edit(
        "the-newest-is-not-measured",
        "the time to a replica is that of the entries before the last, and none for a lone one",
        f"{_CONFIG}/replicas/convergence_watch.py",
        "claim.epoch - self._commits_max), claim.epoch + 1)",
        "claim.epoch - self._commits_max), claim.epoch)",
        _MEASURED,
    ),
    edit(
        "behind-since-the-entry-that-it-has",
        "a replica is told to be late by an hour a moment after an entry",
        f"{_CONFIG}/replicas/convergence_watch.py",
        "        lacks = epoch + 1\n",
        "        lacks = epoch\n",
        _MEASURED,
    ),
    edit(
        "an-epoch-of-nought-is-no-belief",
        "a write that expects an empty log is made on any",
        f"{_CONFIG}/writer/draft.py",
        "write.if_epoch is not None and write.if_epoch != last.epoch",
        "write.if_epoch and write.if_epoch != last.epoch",
        _RESTS,
    ),
    edit(
        "a-patch-of-what-went-is-made",
        "a patch that was worked out from a model brings it back after its removal",
        f"{_CONFIG}/writer/draft.py",
        "entity.modified_epoch if entity is not None else 0) != seen.modified_epoch",
        "entity.modified_epoch if entity is not None else 0) > seen.modified_epoch",
        _RESTS,
    ),
    edit(
        "the-next-entry-is-left-to-the-gap",
        "each replica that begins to follow asks the writer for the entry that the stream has",
        "shared/runtime/sie_runtime/follower/replica_feeds.py",
        "start_epoch=here.epoch + 1",
        "start_epoch=here.epoch + 2",
        _HEARD,
    ),
    edit(
        "a-new-log-waits-for-its-turn",
        "what is written after a log is superseded comes seconds late, and to all at once",
        "shared/runtime/sie_runtime/follower/replica_feeds.py",
        "                if not moved.is_set():\n",
        "                if here is not None:\n",
        _HEARD,
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
        "a-past-registry-leaves-as-it-comes",
        "a second look at another moment of the past is an error 500",
        f"{_CONFIG}/past/timeline.py",
        "self._past.popitem(last=False)",
        "self._past.popitem(last=True)",
        (f"{_PAST}test_at_every_epoch_each_look_at_the_past_sees_what_was_folded_then",),
    ),
    edit(
        "the-past-is-not-proved",
        "an export or a revert of the past lacks a model whose row the file lost, and says nothing",
        f"{_CONFIG}/past/timeline.py",
        "if digest != entry.state_digest:",
        "if not digest:",
        _MANY_PARTS,
    ),
    edit(
        "a-part-begins-with-the-first",
        "a registry of the past with more than 400 models is never read to its end",
        f"{_CONFIG}/past/timeline.py",
        "            after = part[-1].key\n",
        "            after = part[0].key\n",
        _MANY_PARTS,
    ),
    edit(
        "blame-skips-a-page-too-soon",
        "blame names a change that came after the moment that is asked of",
        f"{_CONFIG}/past/origins.py",
        "bisect_right(self.epochs, epoch)",
        "bisect_right(self.epochs, epoch + 1)",
        _BLAMED,
    ),
    edit(
        "who-is-asked-most-leaves",
        "the model that everybody looks at in an incident is read from its first change each time",
        f"{_CONFIG}/past/origins.py",
        "            self._known.move_to_end((kind, key))\n",
        "            pass\n",
        _KEPT_BLAME,
    ),
    edit(
        "an-inner-field-is-the-newest-s",
        "each field of an object counts as changed by whoever changed one of them",
        f"{_CONFIG}/past/blame.py",
        "else _traced(old, part, who)",
        "else _traced(None, part, who)",
        (
            f"{_LAWS}test_history_laws.py::test_blame_names_the_first_version_since_which_a_field_has_its_value",
        ),
    ),
    edit(
        "a-lookup-skips-the-entry-after-a-restart",
        "of who changed what, the first entry after each restart is not told",
        f"{_CONFIG}/past/lookup.py",
        "        self._noted = epoch\n        return connection",
        "        self._noted = epoch + 1\n        return connection",
        _GOES_ON,
    ),
    edit(
        "a-lookup-made-again-goes-on-behind",
        "after a fault of its disk a lookup knows nothing of what came before",
        f"{_CONFIG}/past/lookup.py",
        "        self._noted = 0\n        return self._connect(target)",
        "        return self._connect(target)",
        _GOES_ON,
    ),
    edit(
        "only-the-first-profile-has-a-revision",
        "answers of a model's other profiles are traced to no change",
        f"{_CONFIG}/past/lookup.py",
        "            yield model_revision(document, profile), profile\n",
        "            yield model_revision(document, profile), profile\n            return\n",
        (
            "tests/unit/test_config_lookup.py::test_the_lookup_finds_what_a_look_at_every_entry_finds",
        ),
    ),
    edit(
        "the-last-command-says-whether-it-created",
        "a batch that creates a model answers that it created nothing",
        f"{_CONFIG}/writer/draft.py",
        "created = created or admitted.created",
        "created = admitted.created",
        (
            f"{_LAWS}test_draft_laws.py::test_each_write_is_judged_on_what_the_ones_before_it_left_and_told_what_came_of_it",
        ),
    ),
    edit(
        "one-replica-is-asked-for-lost-entries",
        "entries are given up that the second replica has",
        f"{_CONFIG}/start/recovery.py",
        "                if await _adopt(sequencer, offered):\n                    break",
        "                await _adopt(sequencer, offered)\n                break",
        _LOST,
    ),
    edit(
        "the-stream-s-end-loses-its-beginning",
        "one message of noise on the stream gives up the entries before it",
        f"{_CONFIG}/start/recovery.py",
        'the stream gave back no entry", extra={"reason": str(error)})\n    return found',
        'the stream gave back no entry", extra={"reason": str(error)})\n        return []\n'
        "    return found",
        _LOST,
    ),
    edit(
        "what-folds-wrongly-is-taken-back",
        "a restored log goes on from a state that no replica comes to",
        f"{_CONFIG}/start/recovery.py",
        "if after.digest != entry.state_digest:",
        "if not after.digest:",
        _LOST,
    ),
    edit(
        "a-backup-may-end-behind-the-parting",
        "an operator who follows the writer's own words restores both histories in one",
        f"{_CONFIG}/replicas/hearing.py",
        "parted = min(claim.epoch, self._sequencer.begun_at)",
        "parted = claim.epoch",
        _STOPS,
    ),
    edit(
        "one-unheard-question-is-a-death",
        "a replica that changes to another broker is told as gone",
        f"{_CONFIG}/replicas/life_signs.py",
        "in await self._unheard(doubted):",
        "in doubted:",
        _LIFE,
    ),
    edit(
        "a-settled-broker-is-that-of-before",
        "replicas on their way back after a broker's restart are told as gone",
        f"{_CONFIG}/replicas/life_signs.py",
        "if self._clock() >= self._settled_at:",
        "if self._clock() >= 0:",
        _LIFE,
    ),
)
