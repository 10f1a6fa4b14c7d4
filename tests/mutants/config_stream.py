"""Mutants of a writer's stream: publishing, announcing, what it witnesses.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["CONFIG_STREAM_MUTANTS"]

FORGED = "tests/adversary/test_forged_positions.py"
_CONFIG = "control_plane/sie_config"
ANNOUNCER = "control_plane/sie_config/stream/announcer.py"
BOOKMARKS = ("tests/property/test_announcer_laws.py",)
PUBLISHER = "control_plane/sie_config/stream/publisher.py"
PUBLISHING = "tests/unit/test_config_publisher.py"
TWO = "tests/unit/test_config_two_histories.py"

CONFIG_STREAM_MUTANTS = (
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
