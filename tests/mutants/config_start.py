"""Mutants of a writer's start and its stream: recovery, roll call, announcing.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["CONFIG_START_MUTANTS"]

FORGED = "tests/adversary/test_forged_positions.py"
_CONFIG = "control_plane/sie_config"
_LAWS = "tests/property/"
_LOST = (
    f"{_LAWS}test_start_laws.py::test_a_log_that_lost_its_end_goes_as_far_as_stream_and_replicas"
    "_lead_it",
)
RECOVERY = "control_plane/sie_config/start/recovery.py"
ROLL_CALL = "control_plane/sie_config/start/roll_call.py"
_QUESTIONS = "control_plane/sie_config/start/questions.py"
SIMULATED = "tests/property/test_simulated_cluster.py::test_each_fault_alone_is_survived"
_ROLL_CALL_LAWS = f"{_LAWS}test_roll_call_laws.py::test_"
_RESUMED = (
    f"{_ROLL_CALL_LAWS}a_writer_goes_on_where_nobody_saw_more_or_other_and_says_else_what_it_lacks",
)
_BEGUN = (
    f"{_ROLL_CALL_LAWS}a_log_begins_where_nobody_knows_one_and_nobody_who_is_there_is_silent",
)
_WAITED = f"{_ROLL_CALL_LAWS}a_broker_whose_cluster_finds_a_leader_while_a_start_waits_is_heard"
_ONE_TURN = (
    f"{_ROLL_CALL_LAWS}of_questions_that_end_in_one_turn_the_answer_counts_and_every_error_is_read"
)
_LOG_RECOVERY = "tests/integration/test_log_recovery.py"
JUDGED = "tests/unit/test_config_witnesses.py"
DISK = "tests/unit/test_disk_faults.py"
ANNOUNCER = "control_plane/sie_config/stream/announcer.py"
BOOKMARKS = ("tests/property/test_announcer_laws.py",)
PUBLISHER = "control_plane/sie_config/stream/publisher.py"
PUBLISHING = "tests/unit/test_config_publisher.py"
TWO = "tests/unit/test_config_two_histories.py"

CONFIG_START_MUTANTS = (
    edit(
        "recovery-takes-what-nobody-signed",
        "a forged entry on the stream becomes history when the writer starts again",
        "control_plane/sie_config/start/recovery.py",
        "for entry in sequencer.log_keys.trust.proven(offered):",
        "for entry in offered:",
        (FORGED,),
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
        "lost-entries-are-believed",
        "what a replica gives back is written although it folds to another state",
        RECOVERY,
        "    if after.digest != entry.state_digest:\n",
        "    if not after.digest:\n",
        (
            "tests/property/test_start_laws.py::test_a_log_that_lost_its_end_goes_as_far_as_stream_and_replicas"
            "_lead_it",
        ),
    ),
    edit(
        "nothing-is-taken-back",
        "entries that the stream and every replica have are given up",
        ROLL_CALL,
        "            await self._reclaim(verdict.claim.epoch)\n            verdict",
        "            verdict",
        (f"{SIMULATED}[tail-lost]", f"{SIMULATED}[backup-restored]"),
    ),
    edit(
        "stream-is-not-asked-at-the-start",
        "a writer goes on over what the stream has",
        ROLL_CALL,
        "        if self._stream_of is None:\n            return None\n",
        "        if not self._reports.claims() or self._stream_of is None:\n"
        "            return None\n",
        (f"{_LOG_RECOVERY}::test_a_restored_file_gets_its_entries_back_from_the_stream",),
    ),
    edit(
        "superseded-log-is-written-on",
        "an old backup put back by mistake takes writes, and the newer log is gone",
        ROLL_CALL,
        "            epoch = superseded_at(tip, head.log_id)\n",
        "            epoch = superseded_at(tip, log_id)\n",
        (f"{_LOG_RECOVERY}::test_a_file_of_before_the_log_that_superseded_it_is_not_written_on",),
    ),
    edit(
        "the-broker-s-connecting-uses-up-the-roll-call",
        "a writer behind its replicas begins over what they have: the broker was slow to come",
        "control_plane/sie_config/start/roll_call.py",
        "await asyncio.sleep(self._listen_s)",
        "await asyncio.sleep(0.0)",
        ("tests/property/test_simulated_cluster.py::test_a_seed_that_once_found_something_holds",),
    ),
    edit(
        "term-is-used-again",
        "two tenures cannot be told apart: the fence has no edge",
        ROLL_CALL,
        "                term = self._sequencer.term + 1\n",
        "                term = self._sequencer.term\n",
        (JUDGED,),
    ),
    edit(
        "empty-volume-mints-a-log",
        "a lost disk is a new log, and every replica is told to forget",
        ROLL_CALL,
        "        if known:\n",
        "        if known is None:\n",
        (DISK,),
    ),
    edit(
        "bookmark-before-its-entries",
        "a replica that heard the bookmark believes that it missed nothing",
        ANNOUNCER,
        "    if publisher.published >= sequencer.position.epoch:\n",
        "    if publisher.published >= 1:\n",
        BOOKMARKS,
    ),
    edit(
        "published-before-the-brokers-word",
        "an answer says that the stream has what it refused",
        "control_plane/sie_config/stream/publisher.py",
        "                await self._stream.append(entry.epoch, data)\n",
        "                self._set_published(entry.epoch)\n"
        "                await self._stream.append(entry.epoch, data)\n",
        ("tests/unit/test_config_publisher.py",),
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
        "wrong-sequence-is-fatal",
        "one lost acknowledgement of the broker, and nothing is published any more",
        PUBLISHER,
        "            # It lost its tail, or has this entry already, or another: where it ends tells"
        " which.\n            await self._verify()\n",
        "            raise\n",
        (PUBLISHING,),
    ),
    edit(
        "lost-tail-of-the-stream-is-judged",
        "a broker that lost its last messages stops the log",
        PUBLISHER,
        "        epoch = await self._first_other(tip, head.epoch)\n",
        "        epoch = min(await self._first_other(tip, head.epoch), head.epoch)\n",
        (PUBLISHING,),
    ),
    edit(
        "fence-is-ignored",
        "a zombie overwrites what its successor published",
        PUBLISHER,
        "            if found is not None and await self._may_be_lost(",
        "            if found is None and await self._may_be_lost(",
        (PUBLISHING,),
    ),
    edit(
        "zombie-fences-its-successor",
        "an old writer that wakes up stops the new one",
        PUBLISHER,
        " and found.term >= term\n",
        " and found.term >= 0\n",
        (PUBLISHING,),
    ),
    edit(
        "lost-entries-are-overwritten",
        "what a writer lost, and the stream still has, is deleted with the stream",
        PUBLISHER,
        " and found.term >= term\n",
        " and found.term >= ours.term\n",
        (TWO,),
    ),
    edit(
        "stream-is-never-verified-again",
        "a stream that was wiped stays empty",
        PUBLISHER,
        '        """Verify the stream before the next append: after a reconnect,'
        ' and every few seconds."""\n        self._verified = False\n',
        '        """Nothing."""\n',
        (PUBLISHING,),
    ),
    edit(
        "oversized-entry-goes-whole",
        "a batch above the broker's limit is never delivered, nor anything after it",
        PUBLISHER,
        "to_stub(entry) if len(entry.body) >= STUB_BYTES_MIN else to_envelope(entry)",
        "to_envelope(entry)",
        (PUBLISHING,),
    ),
    edit(
        "stream-bears-witness-unsigned",
        "a forged entry on the stream puts the writer into recovery",
        "control_plane/sie_config/stream/stream_witness.py",
        "return found if keys.vouches_for(found) else None",
        "return found",
        (FORGED,),
    ),
    edit(
        "empty-stream-bears-no-witness",
        "a restored file is written on at epochs that were lost",
        "control_plane/sie_config/stream/stream_witness.py",
        "    if tip.last >= tip.first or tip.last <= head.epoch:\n",
        "    if tip.last >= 0:\n",
        (FORGED,),
    ),
    edit(
        "a-bookmark-is-unsigned",
        "of a bookmark inside of a group no replica believes a word",
        ANNOUNCER,
        "head_at(sequencer.log_keys.signed(entry), publisher.low_water)",
        "head_at(entry, publisher.low_water)",
        BOOKMARKS,
    ),
    edit(
        "a-bookmark-is-on-another-subject",
        "replicas hear no bookmark, and poll their writer all day",
        ANNOUNCER,
        'f"sie.config.head.{head.log_id}"',
        'f"sie.config.head.{head.hash}"',
        BOOKMARKS,
    ),
    edit(
        "a-bookmark-has-another-digest",
        "each replica that hears it takes its own memory for damaged",
        ANNOUNCER,
        "digest=entry.state_digest,",
        "digest=entry.hash,",
        BOOKMARKS,
    ),
    edit(
        "a-bookmark-is-of-the-first-term",
        "replicas take a writer's word for that of the one before it",
        ANNOUNCER,
        "term=entry.term,",
        "term=1,",
        BOOKMARKS,
    ),
    edit(
        "a-bookmark-hides-the-low-water",
        "replicas ask for entries that are no longer served",
        ANNOUNCER,
        "low_water=low_water,",
        "low_water=min(low_water, entry.epoch),",
        BOOKMARKS,
    ),
    edit(
        "a-bookmark-is-told-once",
        "one that the broker lost is made good by a poll of every replica",
        ANNOUNCER,
        "times = times + 1 if head.epoch == told else 1",
        "times = times + 1",
        BOOKMARKS,
    ),
    edit(
        "an-idle-writer-announces-at-full-pace",
        "the broker and every process are woken twice as often, all night",
        ANNOUNCER,
        "            told = head.epoch\n",
        "            told = sequencer.position.epoch\n",
        BOOKMARKS,
    ),
    edit(
        "news-wait-for-the-rare-bookmark",
        "what is published between two rare bookmarks is told late",
        ANNOUNCER,
        "if times >= _TOLD_TWICE and publisher.published == told:",
        "if times >= _TOLD_TWICE:",
        BOOKMARKS,
    ),
    edit(
        "silence-makes-a-head-late",
        "the first write after a silence is told a pause too late",
        ANNOUNCER,
        "await first_of(stop.wait(), publisher.moved(), timeout_s=every_s)",
        "await first_of(stop.wait(), timeout_s=every_s)",
        BOOKMARKS,
    ),
    edit(
        "a-broker-that-is-away-ends-the-bookmarks",
        "a writer whose broker was away never announces again",
        ANNOUNCER,
        "            with contextlib.suppress(BusUnavailable):\n",
        "            with contextlib.nullcontext():\n",
        BOOKMARKS,
    ),
    edit(
        "a-new-log-leaves-the-old-head",
        "a log that an operator began anew is in recovery at its next start",
        ROLL_CALL,
        "        self._head_file.remove()\n",
        "",
        _BEGUN,
    ),
    edit(
        "a-head-file-of-another-log-says-nothing",
        "an old file put back beside the head of a newer log takes writes",
        ROLL_CALL,
        "await self._superseding(until) or self._of_another_log()",
        "await self._superseding(until)",
        _RESUMED,
    ),
    edit(
        "a-roll-call-believes-what-nobody-signed",
        "whoever reaches the broker puts a writer into recovery at its start",
        ROLL_CALL,
        "[claim for claim in self._reports.claims() if keys.vouches_for(claim.proof)]",
        "list(self._reports.claims())",
        _RESUMED,
    ),
    edit(
        "a-broker-that-is-away-fences",
        "a writer whose broker is away takes no write",
        ROLL_CALL,
        "fenced = self._bus is not None and self._bus.connected",
        "fenced = self._bus is not None",
        _RESUMED,
    ),
    edit(
        "what-is-lacking-is-not-told",
        "a writer that lost its end does not say up to which entry it has to be given back",
        ROLL_CALL,
        "                    lacking=claim.epoch,\n",
        "",
        _RESUMED,
    ),
    edit(
        "a-silent-broker-knows-no-log",
        "a log is begun beside the one that a slow broker holds",
        ROLL_CALL,
        "            if bus.absent:\n",
        "            if True:\n",
        _BEGUN,
    ),
    edit(
        "a-broker-is-asked-once",
        "a writer with an empty disk ends while the broker's cluster chooses its leader",
        _QUESTIONS,
        "asked, timeout=_ASK_AGAIN_S, return_when",
        "asked, timeout=None, return_when",
        (_WAITED,),
    ),
    edit(
        "a-slow-answer-is-not-waited-for",
        "a writer with an empty disk never begins behind a broker that is slow",
        ROLL_CALL,
        "log_streams, bus, timeout_s=self._broker_wait_s",
        "log_streams, bus, timeout_s=0.2",
        (_WAITED,),
    ),
    edit(
        "a-file-listens-for-a-second",
        "an old backup is served beside the log that superseded it: its cluster chose a leader",
        ROLL_CALL,
        "get_running_loop().time() + self._broker_wait_s",
        "get_running_loop().time() + self._listen_s",
        (_WAITED,),
    ),
    edit(
        "the-stream-is-asked-once",
        "a writer goes on over what it lost and its stream has, whose leader is chosen just now",
        ROLL_CALL,
        "go_on=lambda: bus is not None and bus.connected",
        "go_on=lambda: False",
        (_WAITED,),
    ),
    edit(
        "an-error-beside-an-answer-is-not-read",
        "asyncio tells of a dropped question as of a defect, where another one was answered",
        _QUESTIONS,
        "errors = [(each, each.exception()) for each in answered]",
        "errors = ((each, each.exception()) for each in answered)",
        (_ONE_TURN,),
    ),
    edit(
        "the-broker-s-logs-are-not-heeded",
        "a writer with an empty disk begins a log beside the one on the stream",
        ROLL_CALL,
        "known += await self._streams_of_broker()",
        "await self._streams_of_broker()",
        _BEGUN,
    ),
    edit(
        "an-empty-stream-accuses-its-own-log",
        "a stream that lost what the file has stops the writer for good",
        "control_plane/sie_config/stream/stream_witness.py",
        "if tip.last >= tip.first or tip.last <= head.epoch:",
        "if tip.last >= tip.first or tip.last < head.epoch:",
        (
            "tests/property/test_roll_call_laws.py::test_an_empty_stream_tells_of_entries_past_this_head_and_of_none_up_to_it",
        ),
    ),
    edit(
        "anybody-may-read-the-key",
        "each user of the machine can sign as the writer",
        "control_plane/sie_config/keys/key_file.py",
        "if mode & 0o007:",
        "if mode & 0o002:",
        (
            "tests/property/test_signature_laws.py::test_no_key_is_read_that_anybody_may_read_or_change",
        ),
    ),
    edit(
        "any-key-that-waits-comes-in",
        "where an older key waits, the writer signs with one that nobody believes",
        "control_plane/sie_config/keys/key_file.py",
        "list(keys_of(replayed.lineage))[-1:] == [successor.key_id]",
        "successor.key_id in keys_of(replayed.lineage)",
        (
            "tests/property/test_signature_laws.py::test_a_key_that_waits_comes_in_with_the_change_to_it_that_is_the_log_s_last",
        ),
    ),
    edit(
        "a-begun-change-of-keys-never-ends",
        "a change of keys that a crash cut off can never be made",
        "control_plane/sie_config/keys/key_file.py",
        "    return read_key(waiting) or make_key(waiting)",
        "    return make_key(waiting)",
        (
            "tests/property/test_signature_laws.py::test_a_key_that_waits_comes_in_with_the_change_to_it_that_is_the_log_s_last",
        ),
    ),
    edit(
        "a-stream-names-its-first-as-its-base",
        "a start after a lost stream takes its own log for a fork",
        "control_plane/sie_config/stream/publisher.py",
        "base = await self._journal.entry(low_water - 1) if low_water > 1 else None",
        "base = await self._journal.entry(low_water) if low_water > 1 else None",
        (
            "tests/unit/test_config_publisher.py::test_a_stream_that_is_made_anew_names_the_entry_before_its_first",
        ),
    ),
    edit(
        "a-broker-that-hangs-is-no-broker",
        "a log is begun beside the one that a broker in trouble holds",
        "control_plane/sie_config/start/roll_call.py",
        "            if bus.absent:\n                return []\n            raise Untrusted",
        "            if not bus.connected:\n                return []\n            raise Untrusted",
        (
            "tests/property/test_roll_call_laws.py::test_a_log_begins_where_nobody_knows_one_and_nobody_who_is_there_is_silent",
        ),
    ),
    edit(
        "a-trim-that-was-cut-off-stays-a-bound",
        "each entry that comes takes the oldest away, and followers miss them",
        "control_plane/sie_config/stream/publisher.py",
        "if tip.bounded or tip.first < low_water:",
        "if tip.first < low_water:",
        (
            "tests/unit/test_config_publisher.py::test_a_trim_that_was_cut_off_is_ended_before_another_entry_follows",
        ),
    ),
    edit(
        "a-trim-waits-for-what-is-not-there-yet",
        "to compact while the broker takes no entries is told to have trimmed nothing",
        "control_plane/sie_config/stream/publisher.py",
        "while self.first < min(self._low_water(), self.published):",
        "while self.first < self._low_water():",
        (
            "tests/unit/test_config_publisher.py::test_a_trim_is_ended_though_the_entries_above_the_mark_are_not_published_yet",
        ),
    ),
    edit(
        "a-stream-forgets-an-older-log-too-soon",
        "the file of the hundredth log before is not told that it is superseded",
        "control_plane/sie_config/stream/stream_witness.py",
        "older[: -_OLDER_MAX - 1 : -1]",
        "older[: -_OLDER_MAX : -1]",
        (
            "tests/property/test_older_log_laws.py::test_a_stream_names_the_hundred_newest_of_the_logs_before_its_own",
        ),
    ),
)
