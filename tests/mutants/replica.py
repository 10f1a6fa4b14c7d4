"""Mutants of a replica: what it applies, keeps early, fetches and refuses.

*types.*
"""

from tests.mutants.mutant import Edit, Mutant, edit

__all__ = ["REPLICA_MUTANTS"]

_EARLY = "shared/core/sie_core/replica/early_entries.py"
_STOPS = "tests/property/test_replica_stop_laws.py::"
FOLDING = "shared/core/sie_core/replica/fold.py"
MACHINE = "tests/property/test_replica_machine.py"
STOPS = "tests/unit/test_replica_stops.py"
_REPLICA = "shared/core/sie_core/replica/replica.py"
_DAMAGED = (f"{_STOPS}test_memory_that_is_bad_is_left_by_a_snapshot_alone_whoever_spoke_before",)
_USELESS = (f"{_STOPS}test_an_answer_of_no_use_is_followed_by_a_pause_that_grows_to_its_bound",)
_RESYNC = (f"{_STOPS}test_a_resync_forgets_all_that_was_believed_but_the_key_that_was_pinned",)
_REFUSED = (f"{_STOPS}test_a_log_that_was_refused_is_asked_about_again_only_once_ours_has_spoken",)
CORNERS = "tests/unit/test_log_corners.py"
DISK = "tests/unit/test_disk_faults.py"

REPLICA_MUTANTS = (
    edit(
        "a-broken-run-waits",
        "of an unsigned log another history inside of a run is waited for, and no fork is raised",
        _EARLY,
        " and trust.public is not None:",
        ":",
        (
            f"{_STOPS}test_of_a_log_without_keys_an_entry_of_another_history_is_a_fork_also_inside"
            "_a_run",
        ),
    ),
    edit(
        "forged-entries-are-kept",
        ("a stranger's entry is counted for ever, and stands where the writer's would"),
        "shared/core/sie_core/replica/early_entries.py",
        ("        for forged in coverage.forged:\n            del self._kept[forged.epoch]\n"),
        "",
        (
            (
                "tests/property/test_replica_part_laws.py::test_early_entries_go_in_up_to"
                "_the_last_that_is_signed_and_no_forged_one_stays"
            ),
        ),
    ),
    Mutant(
        "epoch-set-to-max",
        "a lost delta is skipped: the epoch is the writer's, a model is missing for good",
        (
            Edit(
                _EARLY,
                "        run: list[Entry] = []\n",
                "        run: list[Entry] = []\n        first = min(self._kept, default=first)\n",
            ),
            Edit(
                FOLDING,
                "            check_successor(position, entry)\n            next_ = apply",
                "            next_ = apply",
            ),
            Edit(
                FOLDING,
                "if applied and after.digest != applied[-1].state_digest:",
                "if applied and not applied:",
            ),
            Edit(
                FOLDING,
                "if entry.epoch % digest_every == 0 and next_.digest != entry.state_digest:",
                "if digest_every == 0:",
            ),
        ),
        (MACHINE,),
    ),
    edit(
        "unsigned-entries-are-applied",
        "whoever can publish on the stream writes the configuration",
        _EARLY,
        "covered = run[: coverage.count]",
        "covered = run",
        (MACHINE,),
    ),
    edit(
        "unlinked-entries-are-covered",
        "a stranger's entry goes in before the writer's next one",
        _EARLY,
        "if run and entry.prev_hash != run[-1].hash and trust.public is not None:",
        "if not trust.verify:",
        ("tests/unit/test_replica_stops.py",),
    ),
    edit(
        "a-late-answer-is-the-awaited-one",
        "two fetches are under way, and each answer ends the other",
        "shared/core/sie_core/replica/fetches.py",
        ("        if fetch_id != self._under_way:\n            return False"),
        ("        if self._under_way is None:\n            return False"),
        (
            (
                "tests/property/test_replica_part_laws.py::test_one_fetch_is_under_way_an"
                "d_each_that_failed_has_a_longer_pause_up_to_a_bound"
            ),
        ),
    ),
    edit(
        "pauses-have-no-bound",
        "a replica whose writer was away asks again after a day",
        "shared/core/sie_core/replica/fetches.py",
        "now + min(self._retry_s * 2**self._failures, self._retry_max_s)",
        "now + max(self._retry_s * 2**self._failures, self._retry_max_s)",
        (
            (
                "tests/property/test_replica_part_laws.py::test_one_fetch_is_under_way_an"
                "d_each_that_failed_has_a_longer_pause_up_to_a_bound"
            ),
        ),
    ),
    edit(
        "digest-is-not-checked",
        "memory that went bad is served",
        FOLDING,
        "if applied and after.digest != applied[-1].state_digest:",
        "if applied and not applied:",
        (STOPS,),
    ),
    edit(
        "damaged-memory-halts",
        "a replica whose memory lost an entity stands still until an operator comes",
        "shared/core/sie_core/replica/fold.py",
        "if error.unknown_kind\n",
        "if error\n",
        ("tests/property/test_replica_quarantine_laws.py",),
    ),
    edit(
        "damage-is-forgiven-beside-a-stranger",
        "a replica whose memory is bad calls itself fresh, where it once refused another log",
        _REPLICA,
        "        self._refused_log = None  # What stops it now is no stranger, and does not leave"
        " with one.\n",
        "",
        _DAMAGED,
    ),
    edit(
        "a-head-ends-a-quarantine",
        "a replica with another state than its writer's is said to be fresh",
        _REPLICA,
        'if self._refused_log is not None and self.stopped == "quarantined":',
        'if self.stopped == "quarantined":',
        _DAMAGED,
    ),
    edit(
        "known-entries-are-an-answer",
        "an old copy is asked for the same entries as fast as it answers",
        _REPLICA,
        "not self._fetches.asked_after < last <= here:",
        "not 0 < last <= here:",
        _USELESS,
    ),
    edit(
        "an-older-snapshot-begins-no-pause",
        "a cache is asked for its old snapshot as fast as it answers",
        _REPLICA,
        "            # A cache, or a writer that lost its tail. Never back.\n"
        "            self._fetches.pause(self._now)\n",
        "",
        _USELESS,
    ),
    edit(
        "an-old-word-is-news",
        "a replica that a broker repeats old heads to calls itself fresh while its writer is away",
        _REPLICA,
        "if here is None or head.epoch >= here.epoch:\n            # An",
        "if True:\n            # An",
        (f"{_STOPS}test_only_a_word_that_is_as_new_as_the_replica_makes_it_fresh",),
    ),
    edit(
        "resync-keeps-the-old-key",
        "an operator who begins a new log cannot bring its replicas to follow it",
        _REPLICA,
        "self.position, self._trust = None, self._pinned",
        "self.position = None",
        _RESYNC,
    ),
    edit(
        "resync-keeps-entries-of-before",
        "entries of the log that was given up are tried behind the new one, and stop its replica",
        _REPLICA,
        '        self._early.clear()\n        return self._ask_snapshot("resync")',
        '        return self._ask_snapshot("resync")',
        _RESYNC,
    ),
    edit(
        "refused-once-is-refused-for-ever",
        "a log that was made to supersede ours is never asked about again",
        _REPLICA,
        '        self.stopped, self.reason, self._refused_log = None, "", None\n'
        "        self._fetches.succeeded()",
        '        self.stopped, self.reason = None, ""\n        self._fetches.succeeded()',
        _REFUSED,
    ),
    edit(
        "a-stranger-stops-our-own-log",
        "somebody else's log on the bus keeps a replica from its own writer's entries",
        _REPLICA,
        "if self.stopped is not None and self._refused_log is None:",
        "if self.stopped is not None:",
        (f"{_STOPS}test_while_a_stranger_is_refused_our_own_log_goes_on",),
    ),
    edit(
        "the-next-number-is-the-next-entry",
        "an entry of another log forks a replica where its number happens to fit",
        _REPLICA,
        "entry.epoch == here.epoch + 1 and entry.prev_hash == here.hash",
        "entry.epoch == here.epoch + 1",
        (f"{_STOPS}test_an_entry_of_another_log_stops_nobody_wherever_it_stands",),
    ),
    edit(
        "quarantine-ends-with-the-next-entry",
        "a replica whose memory is damaged goes on from the damage",
        _REPLICA,
        "if self.stopped is not None and self._refused_log is None:",
        'if self.stopped in ("forked", "halted"):',
        ("tests/property/test_replica_quarantine_laws.py",),
    ),
    edit(
        "head-compares-epoch-only",
        "a replica with other contents at the writer's epoch counts itself as current",
        _REPLICA,
        "if head.epoch == here.epoch and head.digest != here.digest:",
        "if head.epoch < 0:",
        (STOPS,),
    ),
    edit(
        "gap-is-not-fetched",
        "the delivery is trusted to be complete: what it lost is not asked for",
        _REPLICA,
        "        elif entry.epoch > here.epoch:\n            self._note_head_epoch(entry.epoch)\n",
        "        elif entry.epoch > here.epoch:\n",
        (CORNERS,),
    ),
    edit(
        "a-busy-stream-puts-off-the-fetch",
        "under steady writes a replica with a gap never asks for what it lacks",
        _REPLICA,
        "case RangeArrived() if event.fetch_id == 0:",
        "case RangeArrived() if event.fetch_id < 0:",
        ("tests/property/test_replica_gap_laws.py",),
    ),
    Mutant(
        "snapshot-overlays",
        "what was deleted while a replica was away comes back with its snapshot",
        (
            Edit(
                _REPLICA,
                "registry = registry_of(snapshot)\n",
                "registry = self.registry.with_changes(\n"
                "            {(e.kind, e.key): e for e in registry_of(snapshot)}\n        )\n",
            ),
            Edit(
                _REPLICA,
                "if registry.digest != entry.state_digest and entry.v == ENTRY_VERSION:",
                "if entry.v < 0:",
            ),
        ),
        (CORNERS, MACHINE),
    ),
    edit(
        "snapshot-is-not-checked",
        "a snapshot that somebody changed on the way is served",
        _REPLICA,
        "if registry.digest != entry.state_digest and entry.v == ENTRY_VERSION:",
        "if entry.v < 0:",
        (STOPS, DISK),
    ),
    edit(
        "fork-goes-unnoticed",
        "after a split writer, replicas serve two histories under one epoch",
        _REPLICA,
        "        if second and self._hearsay.believes(entry, self._trust):",
        "        if entry.epoch < 0:",
        (STOPS,),
    ),
    edit(
        "head-fork-goes-unnoticed",
        "a replica that serves another history than the writer's calls itself fresh",
        _REPLICA,
        "if head.epoch == here.epoch and head.hash != here.hash:",
        "if head.epoch < 0:",
        (STOPS,),
    ),
    edit(
        "older-snapshot-is-taken",
        "behind a cache, time runs backwards",
        _REPLICA,
        "if here is not None and same_log and entry.epoch <= here.epoch:",
        "if here is not None and same_log and entry.epoch == here.epoch:",
        (STOPS, MACHINE),
    ),
    edit(
        "any-log-is-followed",
        "a second writer with a log of its own takes over replicas of ours",
        _REPLICA,
        "            if why:\n",
        "            if refusal is None:\n",
        (STOPS,),
    ),
    edit(
        "unsigned-head-stops-a-replica",
        "anybody who speaks on the bus stops every gateway",
        _REPLICA,
        "        if here is not None and not self._trust.believes(head):\n",
        "        if here is not None and head.epoch < 0:\n",
        (MACHINE,),
    ),
    edit(
        "one-more-is-not-far",
        "a replica fetches entries where its bound says snapshot",
        "shared/core/sie_core/replica/snapshots.py",
        "    if behind > delta_entries_max:",
        "    if behind > delta_entries_max + 1:",
        (
            (
                "tests/property/test_replica_part_laws.py::test_entries_are_asked_for_whe"
                "re_they_are_few_enough_and_all_still_served"
            ),
        ),
    ),
    edit(
        "a-failed-fetch-hides-why-it-stopped",
        "an operator reads that a fetch failed, where a replica was damaged",
        "shared/core/sie_core/replica/replica.py",
        "        if self.stopped is None:\n            self.reason = reason\n        self._fetches",
        "        self.reason = reason\n        self._fetches",
        (
            "tests/property/test_replica_stop_laws.py::test_a_fetch_that_comes_to_nothing_does_not_hide_why_a_replica_stopped",
        ),
    ),
    edit(
        "a-stop-is-told-with-each-word",
        "a stranger who speaks on fills the log of each replica",
        "shared/core/sie_core/replica/replica.py",
        "        if self.stopped == state and self.reason == reason:\n            return []\n",
        "",
        ("tests/property/test_replica_stop_laws.py::test_what_stops_a_replica_again_is_told_once",),
    ),
    edit(
        "a-newer-release-is-taken-for-damage",
        "a replica that must be upgraded fetches one snapshot after the other",
        "shared/core/sie_core/replica/replica.py",
        "registry.digest != entry.state_digest and entry.v == ENTRY_VERSION",
        "registry.digest != entry.state_digest",
        (
            "tests/property/test_replica_stop_laws.py::test_a_snapshot_of_a_newer_release_halts_whatever_it_folds_to_here",
        ),
    ),
    edit(
        "a-chain-before-the-first-snapshot-has-no-end",
        "whoever writes a stream fills the memory of a replica that has no state yet",
        "shared/core/sie_core/replica/early_entries.py",
        "if entry.epoch == 1 or (linked and entry.epoch <= self._entries_max):",
        "if entry.epoch == 1 or linked:",
        (
            "tests/property/test_replica_part_laws.py::test_before_a_first_snapshot_no_more_is_kept_than_there_is_room_for",
        ),
    ),
    edit(
        "who-has-what-was-discarded-follows-no-heir",
        "after a restore each replica that had the lost entries stands still",
        "shared/core/sie_core/replica/snapshots.py",
        "if here.epoch == older.epoch and here.hash != older.hash:",
        "if here.epoch >= older.epoch and here.hash != older.hash:",
        (
            "tests/property/test_replica_part_laws.py::test_an_heir_is_followed_but_from_another_history_of_the_very_epoch_that_it_supersedes",
        ),
    ),
    edit(
        "a-forged-head-of-now-is-waited-for",
        "a stranger keeps a replica from looking at a head that may be true",
        "shared/core/sie_core/replica/hearsay.py",
        "        if not by_another or head.epoch <= here.epoch:",
        "        if not by_another or head.epoch < here.epoch:",
        (
            "tests/property/test_replica_stop_laws.py::test_a_head_that_no_entry_to_come_can_bear_out_is_a_forgery_at_once",
        ),
    ),
)
