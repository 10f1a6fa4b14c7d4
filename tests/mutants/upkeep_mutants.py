"""Mutants sought where a log is looked after: access, feeds, gates, audit, the past, starts.

*types.* Each is a slip of a tired maintainer, chosen from the code and not from the tests.
"""

from tests.mutants.mutant import edit

__all__ = ["UPKEEP_MUTANTS"]

ACCESS = "shared/runtime/sie_runtime/access/access.py"
FEEDS = "shared/runtime/sie_runtime/follower/replica_feeds.py"
GATES = "control_plane/sie_config/writer/gates.py"
CONVERGENCE = "control_plane/sie_config/replicas/convergence.py"
REFUSALS = "control_plane/sie_config/past/refusals.py"
TIMELINE = "control_plane/sie_config/past/timeline.py"
ROLL_CALL = "control_plane/sie_config/start/roll_call.py"
PAST = "tests/unit/test_past_properties.py::test_a_moment_is_read_and_reverted_to_alike[4]"
STAMPS = "tests/unit/test_past_properties.py::test_a_stamp_of_the_log_names_its_entry"
RECOVERY = "tests/integration/test_log_recovery.py"
SIMULATED = "tests/property/test_simulated_cluster.py::test_each_fault_alone_is_survived"

UPKEEP_MUTANTS = (
    edit(
        "replica-pattern-is-any-prefix",
        "a gateway's token reports as another whose name begins with its own",
        ACCESS,
        "        return told == self.replica\n",
        "        return told.startswith(self.replica)\n",
        ("tests/unit/test_access.py",),
    ),
    edit(
        "token-taken-back-stays",
        "a token that was taken back is good until the process ends",
        ACCESS,
        "            self._grants = self._read(path)\n        except",
        "            self._grants = tuple(dict.fromkeys((*self._grants, *self._read(path))))\n"
        "        except",
        ("tests/unit/test_access.py",),
    ),
    edit(
        "garbage-keeps-the-bus-alive",
        "a replica that hears only garbage never polls its writer for long",
        FEEDS,
        "            return\n        self._bus_heard_at = self._clock()\n",
        "            self._bus_heard_at = self._clock()\n            return\n"
        "        self._bus_heard_at = self._clock()\n",
        ("tests/unit/test_replica_feeds.py",),
    ),
    edit(
        "misplaced-entry-is-taken",
        "a stream that somebody else wrote feeds a replica",
        FEEDS,
        "        if entry.epoch != sequence:\n",
        "        if entry.epoch < sequence:\n",
        ("tests/unit/test_replica_feeds.py",),
    ),
    edit(
        "removal-is-measured-by-what-is-left",
        "a batch that empties the registry half wants no reason",
        GATES,
        "len(gone) > _REMOVED_SHARE_MAX * size",
        "len(gone) > _REMOVED_SHARE_MAX * size + len(step.after)",
        ("tests/property/test_gate_laws.py",),
    ),
    edit(
        "silent-replica-is-not-asked",
        "a change counts as converged while a gateway serves the state before it",
        CONVERGENCE,
        "and seen.at >= goal.committed_at - ttl_s",
        "and seen.at >= goal.committed_at",
        ("tests/property/test_convergence_laws.py",),
    ),
    edit(
        "quorum-is-of-those-who-answered",
        "a wait ends although nobody serves what it waits for",
        CONVERGENCE,
        "satisfied >= enough and not unserved",
        "satisfied >= enough",
        ("tests/unit/test_config_dark.py",),
    ),
    edit(
        "newest-refusals-leave-first",
        "who floods the audit hides what came after",
        REFUSALS,
        'first_us <= coalesce((SELECT first_us FROM refused"\n'
        '                " ORDER BY first_us DESC LIMIT 1 OFFSET ?), -1)',
        'first_us >= coalesce((SELECT first_us FROM refused"\n'
        '                " ORDER BY first_us LIMIT 1 OFFSET ?), 9e18)',
        ("tests/property/test_refusal_laws.py",),
    ),
    edit(
        "removal-breaks-no-field",
        "a field is told of somebody who set it before the entity was removed",
        "control_plane/sie_config/past/blame.py",
        "return None if document is None else _traced(before, document, who)",
        "return before if document is None else _traced(before, document, who)",
        ("tests/property/test_history_laws.py",),
    ),
    edit(
        "as-of-is-one-early",
        "asked for the time of an entry, the past is that of the one before it",
        TIMELINE,
        "(middle, high) if rows and rows[0][0] <= ts else",
        "(middle, high) if rows and rows[0][0] < ts else",
        (PAST,),
    ),
    edit(
        "clock-that-went-back-hides-the-log",
        "what the log wrote a moment ago is refused as the future",
        TIMELINE,
        "if moment > max(self._now_us(), written):",
        "if moment > self._now_us():",
        (STAMPS,),
    ),
    edit(
        "past-begins-at-the-low-water",
        "after a compaction an audit reads the wrong state below the mark",
        TIMELINE,
        "            if not 1 <= epoch <= head:\n",
        "            if not 3 <= epoch <= head:\n",
        (PAST,),
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
        (f"{RECOVERY}::test_a_restored_file_gets_its_entries_back_from_the_stream",),
    ),
    edit(
        "superseded-log-is-written-on",
        "an old backup put back by mistake takes writes, and the newer log is gone",
        ROLL_CALL,
        "            epoch = superseded_at(tip, head.log_id)\n",
        "            epoch = superseded_at(tip, log_id)\n",
        (f"{RECOVERY}::test_a_file_of_before_the_log_that_superseded_it_is_not_written_on",),
    ),
    edit(
        "damaged-memory-halts",
        "a replica whose memory lost an entity stands still until an operator comes",
        "shared/core/sie_core/replica/fold.py",
        "if error.unknown_kind\n",
        "if error\n",
        ("tests/property/test_replica_quarantine_laws.py",),
    ),
)
