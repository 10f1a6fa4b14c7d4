"""Mutants of a writer's start and its keys: recovery, roll call.

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
        (
            f"{_ROLL_CALL_LAWS}who_answers_a_roll_call_in_its_time_is_heard_however_late_the_broker_connected",
        ),
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
        "a-broker-that-hangs-is-no-broker",
        "a log is begun beside the one that a broker in trouble holds",
        "control_plane/sie_config/start/roll_call.py",
        "            if bus.absent:\n                return []\n            raise Untrusted",
        "            if not bus.connected:\n                return []\n            raise Untrusted",
        (
            "tests/property/test_roll_call_laws.py::test_a_log_begins_where_nobody_knows_one_and_nobody_who_is_there_is_silent",
        ),
    ),
)
