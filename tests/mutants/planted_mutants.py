"""Mutants planted by somebody who had not looked at the tests: SDK, command line, the past.

*types.*
"""

from tests.mutants.mutant import Edit, Mutant, edit

__all__ = ["PLANTED_MUTANTS"]

PLANTED_MUTANTS = (
    edit(
        "busy-is-asked-at-one-pace",
        ("clients of a cluster that is full come again as fast as ever, and keep it full"),
        "sdk/sie_sdk/patience.py",
        ("return grown if elapsed_s + grown <= patience.provision_timeout_s else None"),
        ("return delay if elapsed_s + delay <= patience.provision_timeout_s else None"),
        (
            (
                "tests/property/test_sdk_call_laws.py::test_a_pause_doubles_until_half_a_"
                "minute_where_nobody_knows_how_long_it_takes"
            ),
        ),
    ),
    edit(
        "one-failed-item-fails-the-list",
        "of a thousand texts one is too long, and none has a vector",
        "sdk/sie_sdk/exchange.py",
        'if call.is_single and "error" in entries[0]:',
        'if entries and "error" in entries[0]:',
        (
            (
                "tests/property/test_sdk_call_laws.py::test_an_item_that_failed_stands_in"
                "_its_place_of_a_list_and_alone_is_raised"
            ),
        ),
    ),
    edit(
        "what-was-sent-in-part-is-sent-again",
        "a slow connection has a large request run twice",
        "sdk/sie_sdk/wire/transport.py",
        "httpx.ReadTimeout | httpx.WriteTimeout | httpx.PoolTimeout",
        "httpx.ReadTimeout | httpx.PoolTimeout",
        (
            (
                "tests/property/test_sdk_call_laws.py::test_what_may_have_been_sent_and_w"
                "as_not_answered_in_time_is_not_sent_again"
            ),
        ),
    ),
    edit(
        "a-word-that-is-false-is-not-said",
        "a client whose texts are queries by default cannot call one a document",
        "sdk/sie_sdk/exchange.py",
        'if told.get("is_query") is not None:',
        'if told.get("is_query"):',
        (
            (
                "tests/property/test_sdk_call_laws.py::test_what_a_call_says_travels_as_i"
                "t_was_said_and_nothing_else_does"
            ),
        ),
    ),
    edit(
        "sick-workers-are-capacity",
        "a client that waited for a worker goes on with one that answers nobody",
        "sdk/sie_sdk/exchange.py",
        ('if worker.get("healthy") and (gpu is None or worker.get("gpu") == gpu.lower())'),
        'if gpu is None or worker.get("gpu") == gpu.lower()',
        (
            (
                "tests/property/test_sdk_call_laws.py::test_only_workers_that_are_well_an"
                "d_of_the_wanted_kind_are_capacity"
            ),
        ),
    ),
    edit(
        "too-many-requests-end-a-lease",
        "a client that is told to wait loses its workers",
        "sdk/sie_sdk/leases/calls.py",
        " and not isinstance(error, Later):",
        ":",
        (
            (
                "tests/property/test_leasing_laws.py::test_a_lease_is_lost_by_what_no_tim"
                "e_mends_and_by_nothing_else"
            ),
        ),
    ),
    edit(
        "events-go-on-behind-the-head",
        "what was written while a connection was away is never shown",
        "sdk/sie_cli/config/events.py",
        (
            '                if event.name != "head":\n'
            "                    last_id = event.id or last_id"
        ),
        "                last_id = event.id or last_id",
        (
            (
                "tests/property/test_cli_event_laws.py::test_every_entry_is_shown_once_an"
                "d_in_order_whenever_it_was_written"
            ),
        ),
    ),
    edit(
        "the-past-is-read-before-the-present",
        "what is written between the two looks of a command is shown by neither",
        "sdk/sie_cli/config/events.py",
        (
            "    last_id, amiss = _present(work, changes)\n"
            "    rows, has_more = audited(work, told, number)\n"
        ),
        (
            "    rows, has_more = audited(work, told, number)\n"
            "    last_id, amiss = _present(work, changes)\n"
        ),
        (
            (
                "tests/property/test_cli_event_laws.py::test_every_entry_is_shown_once_an"
                "d_in_order_whenever_it_was_written"
            ),
        ),
    ),
    edit(
        "an-audit-shows-more-than-was-asked",
        "the newest three rows are four, or a thousand",
        "sdk/sie_cli/config/views.py",
        "limit=min(_PAGE, left)",
        "limit=min(_PAGE, number)",
        (
            (
                "tests/property/test_cli_event_laws.py::test_the_newest_rows_of_an_audit_"
                "are_as_many_as_were_asked_for"
            ),
        ),
    ),
    edit(
        "pruned-on-an-older-look",
        "what somebody added while files were applied stays, and nobody is told",
        "sdk/sie_cli/config/writes.py",
        (
            "    if_epoch = _begun_at(work, ask) if prune is not None else None\n"
            "    operations = _operations(work, documents, prune)"
        ),
        (
            "    operations = _operations(work, documents, prune)\n"
            "    if_epoch = _begun_at(work, ask) if prune is not None else None"
        ),
        (
            (
                "tests/property/test_cli_prune_laws.py::test_it_leaves_what_the_files_say"
                "_or_changes_nothing"
            ),
        ),
    ),
    edit(
        "pruning-forgets-the-users-condition",
        "an apply that was to rest on one epoch is made on another",
        "sdk/sie_cli/config/config_work.py",
        "if_epoch=self.if_epoch if self.if_epoch is not None else if_epoch,",
        "if_epoch=if_epoch if if_epoch is not None else self.if_epoch,",
        (
            (
                "tests/property/test_cli_prune_laws.py::test_it_leaves_what_the_files_say"
                "_or_changes_nothing"
            ),
        ),
    ),
    Mutant(
        "one-name-in-two-kinds-is-refused",
        "a pool and a bundle cannot both be called default",
        (
            Edit(
                "sdk/sie_cli/config/documents.py",
                "seen: dict[tuple[str, str], LocalDocument] = {}",
                "seen: dict[str, LocalDocument] = {}",
            ),
            Edit(
                "sdk/sie_cli/config/documents.py",
                "seen.setdefault((each.kind, each.key), each)",
                "seen.setdefault(each.key, each)",
            ),
        ),
        (
            (
                "tests/property/test_cli_prune_laws.py::test_it_leaves_what_the_files_say"
                "_or_changes_nothing"
            ),
        ),
    ),
    edit(
        "of-a-list-the-first-is-read",
        "an apply that prunes deletes all of a kustomization but its first document",
        "sdk/sie_cli/config/wrapped.py",
        ("            yield from unwrapped(item)\n        return"),
        ("            yield from unwrapped(item)\n            return"),
        (
            (
                "tests/property/test_cli_wrapped_laws.py::test_every_document_of_a_list_i"
                "s_read_in_its_order_as_the_plain_one"
            ),
        ),
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
        "an-audit-parts-one-moment",
        "a refusal at the very moment of a change is in no page of the audit",
        "control_plane/sie_config/past/audit.py",
        "page = tuple(row for at, row in found if at >= last_us)",
        "page = tuple(row for at, row in found[: query.limit])",
        (
            (
                "tests/property/test_past_laws.py::test_an_audit_tells_each_row_of_its_sp"
                "an_once_in_pages_of_any_length"
            ),
        ),
    ),
    edit(
        "an-audit-begins-behind-its-beginning",
        "an audit from the time of an entry on does not have that entry",
        "control_plane/sie_config/past/audit.py",
        (
            "first = await timeline.last_at(format_ts(query.since_us - 1)) + 1 if "
            "query.since_us else 1"
        ),
        ("first = await timeline.last_at(format_ts(query.since_us)) + 1 if query.since_us else 1"),
        (
            (
                "tests/property/test_past_laws.py::test_an_audit_tells_each_row_of_its_sp"
                "an_once_in_pages_of_any_length"
            ),
        ),
    ),
    edit(
        "a-full-page-is-the-last",
        "of what somebody changed only the newest is told",
        "control_plane/sie_config/past/audit.py",
        (
            "            limit=query.limit + 1,\n"
            "        )\n"
            "        entries = await timeline.entries(epochs)"
        ),
        (
            "            limit=query.limit,\n"
            "        )\n"
            "        entries = await timeline.entries(epochs)"
        ),
        (
            (
                "tests/property/test_past_laws.py::test_an_audit_tells_each_row_of_its_sp"
                "an_once_in_pages_of_any_length"
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
    edit(
        "half-a-body-is-a-body",
        "a document that was cut on its way is written as far as it came",
        "shared/runtime/sie_runtime/http/encodings.py",
        ('            raise _malformed("it breaks off")\n'),
        "            break\n",
        (
            (
                "tests/unit/test_http_words.py::test_a_coded_body_that_breaks_off_is_refu"
                "sed_and_never_read_as_a_shorter_one"
            ),
        ),
    ),
)
