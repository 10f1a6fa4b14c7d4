"""Mutants of the past: timelines, lookups, blame, refusals.

*types.*
"""

from tests.mutants.mutant import Edit, Mutant, edit

__all__ = ["PAST_MUTANTS"]

_CONFIG = "control_plane/sie_config"
_LAWS = "tests/property/"
_PAST = "tests/property/test_past_laws.py::"
_AUDITED = (f"{_PAST}test_an_audit_tells_each_row_of_its_span_once_in_pages_of_any_length",)
_FORCED = (
    "tests/property/test_read_laws.py::test_the_reason_of_force_is_told_wherever_its_entry_is_and"
    "_of_no_other",
)
_LOOKUP = "tests/unit/test_config_lookup.py::"
_GOES_ON = (f"{_LOOKUP}test_the_lookup_goes_on_where_the_last_process_stopped",)
_BLAMED = (f"{_LOOKUP}test_blame_over_a_long_history_is_the_same_however_it_was_read",)
_KEPT_BLAME = (
    f"{_LOOKUP}test_of_blame_the_pages_of_those_asked_for_last_are_kept_within_bounds[5242880-3]",
)
REFUSALS = "control_plane/sie_config/past/refusals.py"
_MANY_PARTS = (
    f"{_PAST}test_a_registry_of_many_parts_is_whole_and_one_with_a_row_too_few_is_never_believed",
)
TIMELINE = "control_plane/sie_config/past/timeline.py"
PAST = "tests/unit/test_past_properties.py::test_a_moment_is_read_and_reverted_to_alike[4]"
STAMPS = "tests/unit/test_past_properties.py::test_a_stamp_of_the_log_names_its_entry"

PAST_MUTANTS = (
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
        "removal-breaks-no-field",
        "a field is told of somebody who set it before the entity was removed",
        "control_plane/sie_config/past/blame.py",
        "return None if document is None else _traced(before, document, who)",
        "return before if document is None else _traced(before, document, who)",
        ("tests/property/test_history_laws.py",),
    ),
    edit(
        "a-list-made-anew-keeps-the-old-one",
        "after a large batch entities are listed twice, and those that went",
        "control_plane/sie_config/past/listing.py",
        ("            self._keys = {}\n            for each"),
        "            for each",
        (
            (
                "tests/property/test_history_laws.py::test_a_listing_has_the_keys_of_the_"
                "registry_it_was_brought_to"
            ),
        ),
    ),
    Mutant(
        "what-could-not-be-judged-is-believed",
        "after a disk's fault the audit names entries of another log",
        (
            Edit(
                "control_plane/sie_config/past/lookup.py",
                "        epoch, claimed = noted\n",
                ("        epoch, claimed = noted\n        self._noted = epoch\n"),
            ),
            Edit(
                "control_plane/sie_config/past/lookup.py",
                (
                    "            self._connection = None\n"
                    "            connection.close()\n"
                    "            raise"
                ),
                "            raise",
            ),
        ),
        (
            (
                "tests/unit/test_config_lookup.py::test_what_could_not_be_judged_is_judge"
                "d_at_the_next_question"
            ),
        ),
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
        "attempts-are-alike-whatever-they-met",
        "who was not let in is audited as one who asked for what is not there",
        "control_plane/sie_config/past/refusals.py",
        "        name = tuple(texts)\n",
        '        name = (texts[0], "", *texts[2:])\n',
        (
            (
                "tests/property/test_refusal_laws.py::test_each_attempt_is_counted_with_t"
                "hose_alike_whatever_the_clock_and_restarts"
            ),
        ),
    ),
    edit(
        "a-clock-that-went-back-renames",
        "an attempt is counted as another one of before a restart",
        "control_plane/sie_config/past/refusals.py",
        "self._go_on_after(await _newest_us(connection))",
        "await _newest_us(connection)",
        (
            (
                "tests/property/test_refusal_laws.py::test_each_attempt_is_counted_with_t"
                "hose_alike_whatever_the_clock_and_restarts"
            ),
        ),
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
        "the-first-word-of-a-batch-holds",
        "the difference of two moments is from what was never in force",
        "control_plane/sie_config/past/timeline.py",
        '" ORDER BY epoch DESC, ordinal DESC LIMIT 1) FROM wanted"',
        '" ORDER BY epoch DESC, ordinal LIMIT 1) FROM wanted"',
        (
            (
                "tests/property/test_past_laws.py::test_at_every_epoch_each_look_at_the_p"
                "ast_sees_what_was_folded_then"
            ),
        ),
    ),
    edit(
        "a-past-list-has-the-first-word",
        "a list as of an epoch has documents that were never in force",
        "control_plane/sie_config/past/timeline.py",
        'f"SELECT entity_key, max(epoch * {_ORDINALS} + ordinal), kind FROM change"',
        'f"SELECT entity_key, max(epoch * {_ORDINALS} - ordinal) , kind FROM change"',
        (
            (
                "tests/property/test_past_laws.py::test_at_every_epoch_each_look_at_the_p"
                "ast_sees_what_was_folded_then"
            ),
        ),
    ),
    edit(
        "a-difference-ends-before-its-end",
        "the newest entry is missing from every difference",
        "control_plane/sie_config/past/timeline.py",
        "self.entries(range(first + 1, last + 1))",
        "self.entries(range(first + 1, last))",
        (
            (
                "tests/property/test_past_laws.py::test_at_every_epoch_each_look_at_the_p"
                "ast_sees_what_was_folded_then"
            ),
        ),
    ),
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
        "a-history-calls-a-reason-force",
        "each change of a model is said to have passed a gate",
        "control_plane/sie_config/past/origins.py",
        "            entry.forced,\n",
        "            entry.forced or entry.reason,\n",
        _FORCED,
    ),
    edit(
        "a-key-is-its-letters",
        "org/c has the history of org/C too, and is said to be damaged",
        TIMELINE,
        'SELECT epoch, ordinal FROM change WHERE entity_kind = ? AND entity_key = ?"\n'
        '    " AND epoch > ?',
        "SELECT epoch, ordinal FROM change WHERE entity_kind = ? AND lower(entity_key) = lower(?)"
        '"\n    " AND epoch > ?',
        (
            "tests/property/test_read_laws.py::test_what_went_and_came_again_has_all_its_history_and"
            "_nobody_elses",
        ),
    ),
    edit(
        "what-is-looked-at-most-leaves-first",
        "in an incident the one registry that all look at is made again and again",
        "control_plane/sie_config/past/timeline.py",
        "        self._past.move_to_end(entry.hash)\n",
        "",
        (
            "tests/unit/test_timeline_spans.py::test_the_registries_that_were_looked_at_last_are_remembered_and_no_others",
        ),
    ),
    edit(
        "each-who-asks-first-opens-a-file",
        "a control plane does not end: a connection that nobody closes has a thread",
        "control_plane/sie_config/past/timeline.py",
        "        async with self._opening:\n            if self",
        "        if True:\n            if self",
        (
            "tests/unit/test_timeline_spans.py::test_however_many_ask_first_they_share_one_connection",
        ),
    ),
    edit(
        "a-minute-takes-one-row-more",
        "the bound on what strangers may write in a minute is another one",
        "control_plane/sie_config/past/refusals.py",
        "name not in self._rows and len(self._rows) >= self._rows_per_minute",
        "name not in self._rows and len(self._rows) > self._rows_per_minute",
        (
            "tests/property/test_refusal_laws.py::test_a_minute_takes_so_many_rows_of_bounded_texts_and_counts_the_others",
        ),
    ),
    edit(
        "a-refused-path-is-kept-whole",
        "somebody without a token fills the disk of the writer with long addresses",
        "control_plane/sie_config/past/refusals.py",
        "texts = [text[:_TEXT_MAX] for text in (actor, outcome, method, path)]",
        "texts = [text[:_TEXT_MAX] for text in (actor, outcome, method)] + [path]",
        (
            "tests/property/test_refusal_laws.py::test_a_minute_takes_so_many_rows_of_bounded_texts_and_counts_the_others",
        ),
    ),
    edit(
        "the-lookup-waits-for-the-writes-to-end",
        "under steady writes a question first notes millions of entries",
        "control_plane/sie_config/past/lookup.py",
        "(head == seen or head - noted > self._late)",
        "head == seen",
        (
            "tests/unit/test_config_lookup.py::test_the_lookup_lets_writes_go_first_until_it_is_too_far_behind",
        ),
    ),
    edit(
        "the-older-of-two-in-one-entry",
        "a revision that an entry made twice is shown where it was replaced",
        "control_plane/sie_config/past/lookup.py",
        "\" AND epoch <= ? AND (? = '' OR key = ?) ORDER BY epoch DESC, ordinal DESC LIMIT 1\"",
        "\" AND epoch <= ? AND (? = '' OR key = ?) ORDER BY epoch DESC LIMIT 1\"",
        (
            "tests/unit/test_config_lookup.py::test_the_lookup_finds_what_a_look_at_every_entry_finds",
        ),
    ),
    edit(
        "a-flush-takes-what-came-meanwhile",
        "attempts that are refused during a flush are never recorded",
        "control_plane/sie_config/past/refusals.py",
        "                self._unwritten -= taken\n",
        "                self._unwritten.clear()\n",
        (
            "tests/property/test_refusal_laws.py::test_what_is_on_disk_and_what_waits_for_it_is_all_that_was_refused",
        ),
    ),
)
