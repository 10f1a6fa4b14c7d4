"""Mutants of following the log: feeds, fetches, reports, a replica's files.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["FOLLOWER_MUTANTS"]

FOLLOWER = "shared/runtime/sie_runtime/follower/follower.py"
_FEEDS = "shared/runtime/sie_runtime/follower/replica_feeds.py"
_FEED_TESTS = ("tests/unit/test_replica_feeds.py",)
_HEARD = (
    "tests/property/test_feed_laws.py::test_a_replica_hears_of_each_log_that_it_follows_what"
    "_comes_after_its_place_and_at_once",
)
_VOICE = "tests/property/test_replica_voice_laws.py::"
FILES = "shared/runtime/sie_runtime/follower/replica_files.py"
REPLICA_FILES = "tests/unit/test_replica_files.py"
_QUEUE = "shared/runtime/sie_runtime/follower/replica_queue.py"
_QUEUED = (
    f"{_VOICE}test_what_a_queue_has_taken_comes_out_once_and_in_order_and_a_run_of_entries_as_one",
)
_REPORTS = "shared/runtime/sie_runtime/follower/replica_reports.py"
_LISTENS = (
    f"{_VOICE}test_a_replica_answers_a_roll_call_at_once_and_does_what_its_writer_says_while_it"
    "_listens",
)
_COUNTED = (
    f"{_VOICE}test_a_writer_that_asks_for_a_count_is_answered_also_by_a_replica_that_serves_nothing",
)
_PACED = (
    f"{_VOICE}test_while_the_bus_is_silent_a_report_goes_over_http_soon_if_new_and_at_once_if"
    "_stopped",
)
_TAIL = (
    f"{_VOICE}test_a_writer_is_given_as_many_whole_entries_as_fit_or_the_part_of_one_that_it_lacks",
)
_STORED = "shared/runtime/sie_runtime/follower/stored_log.py"
_FEED_LAWS = ("tests/property/test_feed_laws.py",)

FOLLOWER_MUTANTS = (
    edit(
        "snapshot-is-kept-before-it-is-verified",
        "a forged snapshot is refused, and served after the next start",
        FOLLOWER,
        "        for command in self._replica.receive(event):\n",
        "        if isinstance(event, SnapshotArrived) and self._files is not None:\n"
        "            self._files.took_snapshot(event.snapshot, self._replica.registry)\n"
        "        for command in self._replica.receive(event):\n",
        ("tests/adversary/test_forged_positions.py",),
    ),
    edit(
        "a-replica-ahead-of-its-writer-spins",
        "a replica that differs from its writer asks it without a pause, as do a thousand of them",
        _FEEDS,
        "fruitless = fruitless + 1 if silent and hasty and seen == (head, here) else 0",
        "fruitless = 0",
        _FEED_TESTS,
    ),
    edit(
        "a-stopped-replica-holds-a-long-poll",
        "a replica that stopped has a poll open at its writer all the time",
        _FEEDS,
        "if silent and self._following() else 0.0",
        "if silent else 0.0",
        _FEED_TESTS,
    ),
    edit(
        "an-idle-replica-never-rests",
        "an idle cluster of a thousand replicas wakes ten thousand times a second",
        _FEEDS,
        "(_CALM_TICKS if calm else 1)",
        "1",
        _FEED_TESTS,
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
        "moved-once-is-moved-for-ever",
        "a replica that followed a new log spins on a stream that is not there",
        _FEEDS,
        "moved, self._moved_log = self._moved_log, asyncio.Event()\n        moved.set()",
        "self._moved_log.set()",
        (
            f"{_VOICE}test_a_stream_that_cannot_be_had_is_asked_for_ever_less_often_and_at_once_of_a"
            "_new_log",
        ),
    ),
    edit(
        "feed-that-is-over-hears-on",
        "each feed that ended is told of every reconnection, and kept for ever",
        _FEEDS,
        "            forget()",
        "            pass",
        (
            f"{_VOICE}test_a_stream_that_cannot_be_had_is_asked_for_ever_less_often_and_at_once_of_a"
            "_new_log",
        ),
    ),
    edit(
        "bookmark-of-another-log-waits",
        "replicas hear late of a log that succeeds theirs",
        _FEEDS,
        "here.log_id == head.log_id and here.epoch < head.epoch:",
        "here.epoch < head.epoch:",
        (f"{_VOICE}test_a_bookmark_waits_only_for_entries_of_the_log_that_is_followed",),
    ),
    edit(
        "garbage-keeps-the-bus-alive",
        "a replica that hears only garbage never polls its writer for long",
        _FEEDS,
        "            return\n        self._bus_heard_at = self._clock()\n",
        "            self._bus_heard_at = self._clock()\n            return\n"
        "        self._bus_heard_at = self._clock()\n",
        ("tests/unit/test_replica_feeds.py",),
    ),
    edit(
        "misplaced-entry-is-taken",
        "a stream that somebody else wrote feeds a replica",
        _FEEDS,
        "        if entry.epoch != sequence:\n",
        "        if entry.epoch < sequence:\n",
        ("tests/unit/test_replica_feeds.py",),
    ),
    edit(
        "a-kept-snapshot-has-an-older-lineage",
        "after a log that superseded ours a replica's own files cannot be read back",
        "shared/runtime/sie_runtime/follower/replica_files.py",
        ("            self._lineage = snapshot.lineage\n            self._last = snapshot.entry"),
        (
            "            self._lineage = self._lineage or snapshot.lineage\n"
            "            self._last = snapshot.entry"
        ),
        (
            (
                "tests/property/test_replica_part_laws.py::test_the_snapshot_that_was_tak"
                "en_is_the_one_that_is_kept_with_all_its_lineage"
            ),
        ),
    ),
    edit(
        "a-damaged-line-ends-a-tail",
        "of a thousand kept entries one is damaged, and those after it cannot be given back",
        FILES,
        "            # The lines after it are as good as they were.\n            continue",
        "            return",
        (REPLICA_FILES,),
    ),
    edit(
        "the-next-boot-drops-what-lies-behind-a-damaged-line",
        "entries that a writer has lost are overwritten by the replica that alone has them",
        FILES,
        "tail = self._begin_tail(epoch, (*found[: self._confirmed], *unread))",
        "tail = self._begin_tail(epoch, found[: self._confirmed])",
        (REPLICA_FILES,),
    ),
    edit(
        "tail-with-a-hole-is-given-back",
        "a replica that kept 7 and 9 offers them to a writer as 7 and 8",
        FILES,
        "        while (entry := kept.get(epoch + 1)) is not None:\n"
        "            if before is not None and entry.prev_hash != before.hash:\n"
        "                return\n"
        "            yield entry\n",
        "        for entry in (kept[each] for each in sorted(kept) if each > epoch):\n"
        "            yield entry\n",
        (REPLICA_FILES,),
    ),
    edit(
        "orphaned-entries-are-written-over",
        "a replica with a damaged snapshot destroys entries that a writer lost and it alone has",
        FILES,
        "kept = tuple(self._after(snapshot.entry.epoch)) if self._orphaned else ()",
        "kept = ()",
        (REPLICA_FILES,),
    ),
    edit(
        "anothers-entries-are-kept-behind-a-snapshot",
        "the tail of another history stands behind a snapshot that it does not lead on from",
        FILES,
        "if not kept or kept[0].prev_hash != snapshot.entry.hash:",
        "if not kept:",
        (REPLICA_FILES,),
    ),
    edit(
        "a-resync-brings-back-what-was-given-up",
        "what an operator has a replica give up comes back from its own files",
        FILES,
        "if self._orphaned else ()",
        "if self._orphaned is not None else ()",
        (REPLICA_FILES,),
    ),
    edit(
        "later-tails-are-not-read",
        "behind a damaged snapshot a replica boots older than it was, and fetches what it has",
        FILES,
        "tuple(self._after(epoch, since=epoch))",
        "tuple(_entries(self._tail_path(epoch)))",
        (REPLICA_FILES,),
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
    edit(
        "last-run-of-a-turn-is-dropped",
        "entries that came behind everything else are lost, and fetched again",
        _QUEUE,
        "    if run:\n        merged.append(RangeArrived(0, tuple(run)))\n    return merged",
        "    return merged",
        _QUEUED,
    ),
    edit(
        "flood-is-folded-in-one-turn",
        "requests stand still while a replica catches up",
        _QUEUE,
        "range(min(len(waiting), _AT_ONCE))",
        "range(len(waiting))",
        _QUEUED,
    ),
    edit(
        "roll-call-waits-for-its-turn",
        "a writer that starts does not hear of the replica that has what it lost",
        _REPORTS,
        "await self._publish(self._reporter.report(leaving=False))",
        "self.soon()",
        _LISTENS,
    ),
    edit(
        "anybody-may-say-resync",
        "whoever speaks on the bus has every replica fetch a snapshot, again and again",
        _REPORTS,
        'if not message.is_asked_by("config"):',
        "if False:",
        _LISTENS,
    ),
    edit(
        "recount-is-believed",
        "memory that went bad is told to be well by the check that looks for it",
        _REPORTS,
        "digest = await asyncio.to_thread(resolver.registry.recounted)\n",
        "digest = here.digest\n",
        _LISTENS,
    ),
    edit(
        "recount-of-nothing-is-silent",
        "a round of the self-check stands still for a replica that has just started",
        _REPORTS,
        "            await message.respond(msgspec.json.encode(nothing))\n",
        "",
        _COUNTED,
    ),
    edit(
        "stopped-waits-for-its-turn",
        "a replica that saw a fork is gone before it could say so",
        _REPORTS,
        "pause_s = 0.0 if report.state in _STOPPED else pause_s / 4",
        "pause_s = pause_s / 4",
        _PACED,
    ),
    edit(
        "halted-is-not-stopped",
        "a writer hears late of what its replicas cannot read",
        _REPORTS,
        '_STOPPED: Final = frozenset({"quarantined", "forked", "halted"})',
        '_STOPPED: Final = frozenset({"quarantined", "forked"})',
        _PACED,
    ),
    edit(
        "another-state-is-no-news",
        "the writer counts a replica as fresh that has stopped at the same epoch",
        _REPORTS,
        "told = (report.log_id, report.epoch, report.state)",
        "told = (report.log_id, report.epoch)",
        _PACED,
    ),
    edit(
        "silent-bus-is-spoken-to-alone",
        "reports go into a bus that brings nothing, and the writer waits for nobody",
        _REPORTS,
        "if not published or self._feeds.bus_silent:",
        "if not published:",
        _PACED,
    ),
    edit(
        "change-while-speaking-is-old-news",
        "convergence is told two seconds late",
        _REPORTS,
        "            self._due.clear()\n            await self._say()",
        "            await self._say()\n            self._due.clear()",
        (
            f"{_VOICE}test_the_newest_position_is_told_within_the_least_pause_however_fast_a_replica"
            "_advances",
        ),
    ),
    edit(
        "long-entry-is-left-out-of-a-tail",
        "a writer that lost entries is given back those around the one that does not fit",
        _REPORTS,
        "if len(line) + 1 > room:\n            break",
        "if len(line) + 1 > room:\n            continue",
        _TAIL,
    ),
    edit(
        "part-of-an-entry-is-always-the-first",
        "a writer asks for ever for the rest of an entry that is longer than an answer",
        _REPORTS,
        "[offset : offset + bytes_max]",
        "[:bytes_max]",
        _TAIL,
    ),
    edit(
        "a-lagging-copy-is-the-end-of-the-log",
        "a replica of a broker's lagging copy misses what was written as it began",
        _STORED,
        "            if self._newest < self._next:\n",
        "            if True:\n",
        _FEED_LAWS,
    ),
    edit(
        "a-gap-in-the-feed-is-passed-over",
        "an entry that the connection dropped is missing at a replica until the next poll",
        _STORED,
        "        if sequence > self._next or not self._on_message(sequence, data):",
        "        if not self._on_message(sequence, data):",
        _FEED_LAWS,
    ),
    edit(
        "a-feed-outlives-its-connection",
        "what was written while a replica was cut off is not asked for",
        _STORED,
        '        if self._begun:\n            self._end("reconnected")',
        '        if False:\n            self._end("reconnected")',
        _FEED_LAWS,
    ),
    edit(
        "another-stream-s-message-is-fed",
        "a message of another stream takes the place of an entry",
        _STORED,
        'if message.headers.get("Nats-Stream") == self._stream and sequence.isdigit():',
        "if sequence.isdigit():",
        _FEED_LAWS,
    ),
    edit(
        "no-room-is-not-told",
        "what a slow replica did not take is missing until a head names it",
        _STORED,
        "        if sequence > self._next or not self._on_message(sequence, data):\n",
        "        if sequence > self._next or self._on_message(sequence, data) is None:\n",
        ("tests/integration/test_broker_contracts.py",),
    ),
)
