"""Slips planted where none had been: a replica's voice and queue, vectors, faces.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["UNSURVEYED_MUTANTS"]

_VOICE = "tests/property/test_replica_voice_laws.py::"
_VECTORS = "tests/property/test_vector_laws.py::"
_FACES = "tests/property/test_face_answer_laws.py::"
_REPORTS = "shared/runtime/sie_runtime/follower/replica_reports.py"
_FEEDS = "shared/runtime/sie_runtime/follower/replica_feeds.py"
_QUEUE = "shared/runtime/sie_runtime/follower/replica_queue.py"
_SERVER = "data_plane/sie_server"
_PACED = (
    f"{_VOICE}test_while_the_bus_is_silent_a_report_goes_over_http_soon_if_new_and_at_once_if"
    "_stopped",
)
_LISTENS = (
    f"{_VOICE}test_a_replica_answers_a_roll_call_at_once_and_does_what_its_writer_says_while_it"
    "_listens",
)
_QUEUED = (
    f"{_VOICE}test_what_a_queue_has_taken_comes_out_once_and_in_order_and_a_run_of_entries_as_one",
)
_TAIL = (
    f"{_VOICE}test_a_writer_is_given_as_many_whole_entries_as_fit_or_the_part_of_one_that_it_lacks",
)
_SPLADE = (
    f"{_VECTORS}test_the_weights_of_a_vocabulary_are_those_of_all_tokens_however_long_the_text",
)
_IDS = (
    f"{_VECTORS}test_the_device_sees_the_ids_of_its_tables_and_texts_that_it_reads_and_no_others",
)
_ROUTED = (
    f"{_VECTORS}test_each_text_is_answered_by_the_model_of_its_side_in_the_place_that_it_has",
)
_RANKED = (f"{_FACES}test_a_ranking_has_every_document_that_was_not_cut_off_on_purpose",)
_TYPES = (f"{_FACES}test_coheres_types_are_told_once_each_and_are_all_of_one_vector",)

_PATIENT = (
    "tests/property/test_patience_laws.py::test_a_request_is_sent_again_as_long_as_its_lack_is"
    "_waited_for_and_never_sooner_than_asked",
)

_LEASED = (
    "tests/property/test_leasing_laws.py::test_of_several_leases_those_are_due_whose_time_has_come"
    "_and_the_most_urgent_first",
)

UNSURVEYED_MUTANTS = (
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
        "long-text-counts-by-its-end",
        "of a long text the weights of its last part are its weights",
        f"{_SERVER}/vectors/steps.py",
        "found = torch.maximum(found, row) if strongest else found + row",
        "found = row if strongest else found + row",
        _SPLADE,
    ),
    edit(
        "length-one-before-the-cut",
        "vectors that were cut are told to have length 1, and have not",
        f"{_SERVER}/vectors/steps.py",
        (
            "vectors = vectors if self._kept is None else vectors[:, : self._kept]\n        return "
            "nn.functional.normalize(vectors.float(), dim=-1) if unit else vectors"
        ),
        (
            "vectors = nn.functional.normalize(vectors.float(), dim=-1) if unit else vectors\n"
            "        return vectors if self._kept is None else vectors[:, : self._kept]"
        ),
        (
            f"{_VECTORS}test_a_vector_has_length_one_where_the_request_wants_it_also_when_it_was_cut",
        ),
    ),
    edit(
        "word-counts-as-often-as-it-is-there",
        "repeated words outweigh all others in a search",
        f"{_SERVER}/vectors/tables.py",
        "row[ids.to(place)] = 1",
        "row[ids.to(place)] += ids.to(place).bincount(minlength=len(row))[ids.to(place)]",
        (f"{_VECTORS}test_a_token_of_a_table_of_weights_counts_once_however_often_it_is_there",),
    ),
    edit(
        "greatest-by-their-sign",
        "the strongest weights of a sparse vector are left out where they are negative",
        f"{_SERVER}/backends/heads/vector_answers.py",
        "rows.abs().topk(kept",
        "rows.topk(kept",
        (
            f"{_VECTORS}test_a_sparse_row_has_its_greatest_numbers_whatever_their_sign_at_their"
            "_places",
        ),
    ),
    edit(
        "one-id-beyond-the-table",
        "one text ends the device for all who use it",
        f"{_SERVER}/backends/forward/token_inputs.py",
        "values.min() <= values.max() < bound",
        "values.min() <= values.max() <= bound",
        _IDS,
    ),
    edit(
        "sides-are-not-put-back",
        "a batch of queries and documents is answered in another order",
        f"{_SERVER}/backends/encode/routed.py",
        "sorted(range(len(rows)), key=order.__getitem__)",
        "range(len(rows))",
        _ROUTED,
    ),
    edit(
        "sides-are-swapped",
        "queries are read as documents and documents as queries",
        f"{_SERVER}/backends/encode/routed.py",
        "return self._queries if is_query else self._documents",
        "return self._documents if is_query else self._queries",
        _ROUTED,
    ),
    edit(
        "ten-documents-by-default",
        "of a long list the eleventh document has no place",
        "data_plane/sie_gateway/faces/cohere.py",
        "ranking(answer)[: request.top_n]",
        "ranking(answer)[: request.top_n or 10]",
        _RANKED,
    ),
    edit(
        "every-version-is-the-second",
        "clients of the first version are told another",
        "data_plane/sie_gateway/faces/cohere.py",
        "lambda answer: _render(version, answer, request))",
        'lambda answer: _render("2", answer, request))',
        _RANKED,
    ),
    edit(
        "several-types-of-the-first",
        "of several types of numbers the exact ones are made of rounded ones",
        "data_plane/sie_gateway/faces/cohere_embed.py",
        'if len(kinds) == 1 else "float32",',
        'if kinds else "float32",',
        _TYPES,
    ),
    edit(
        "busy-is-only-for-who-waits",
        "a client that will not wait for a start is refused where others are merely ahead of it",
        "sdk/sie_sdk/patience.py",
        "return grown if elapsed_s + grown <= patience.provision_timeout_s else None",
        (
            "return grown if patience.wait_for_capacity and elapsed_s + grown <= "
            "patience.provision_timeout_s else None"
        ),
        _PATIENT,
    ),
    edit(
        "tries-overflow",
        "a client that waits without a bound ends with an OverflowError after half a day",
        "sdk/sie_sdk/patience.py",
        "2 ** min(attempt, 30)",
        "2 ** attempt",
        _PATIENT,
    ),
    edit(
        "late-lease-is-due-at-once-again",
        "a client asks a gateway that is away in a loop without a pause",
        "sdk/sie_sdk/leases/calls.py",
        "again_at = now + min(",
        "again_at = held.due_at + min(",
        _LEASED,
    ),
    edit(
        "last-lease-is-waited-for",
        "of two leases the shorter one ends while the longer one is waited for",
        "sdk/sie_sdk/leases/calls.py",
        "return max(0.0, min(held",
        "return max(0.0, max(held",
        _LEASED,
    ),
    edit(
        "two-pieces-are-no-pieces",
        "a list in two requests is answered by two versions of a model",
        "sdk/sie_sdk/exchange.py",
        "return older(answers) if len(answers) > 1 else []",
        "return older(answers) if len(answers) > 2 else []",
        (
            "tests/property/test_patience_laws.py::test_pieces_of_another_revision_than_the_newest"
            "_are_asked_for_again",
        ),
    ),
    edit(
        "one-text-makes-images-short",
        "images are decoded on the loop, and a worker is taken for dead",
        "data_plane/sie_worker/forms/lengths.py",
        "if any(item.images for item in job.items):",
        "if all(item.images for item in job.items):",
        (
            "tests/property/test_length_laws.py::test_a_job_with_an_image_in_any_place_is_not_read"
            "_on_the_loop",
        ),
    ),
    edit(
        "query-is-read-once",
        "a long query beside many short texts holds up a worker's loop",
        "data_plane/sie_worker/forms/lengths.py",
        "(is_read_once and size <= characters_max) or",
        "(size <= characters_max) or",
        ("tests/property/test_length_laws.py::test_no_more_is_read_on_the_loop_than_its_bound",),
    ),
    edit(
        "width-is-dropped",
        "a vector of all numbers goes where a shorter one was asked for",
        "data_plane/sie_gateway/faces/cohere_embed.py",
        "dimensions=request.output_dimension,",
        "dimensions=None,",
        (f"{_FACES}test_cohere_has_vectors_of_the_width_that_was_asked_for",),
    ),
    edit(
        "no-time-is-the-usual-time",
        "a client that waits for nothing waits a quarter of an hour",
        "sdk/sie_sdk/exchange.py",
        "usual.provision_timeout_s if timeout_s is None else timeout_s",
        "timeout_s or usual.provision_timeout_s",
        (
            "tests/property/test_patience_laws.py::test_what_a_call_says_of_its_patience_counts_also"
            "_where_it_is_nothing",
        ),
    ),
    edit(
        "every-lease-lasts-as-ever",
        "a short lease ends before it is renewed",
        "sdk/sie_sdk/leases/calls.py",
        'float(pool.get("spec", {}).get("ttl_seconds", _TTL_S))',
        'float(pool.get("ttl_seconds", _TTL_S))',
        (
            "tests/property/test_leasing_laws.py::test_a_lease_lasts_as_long_as_the_answer_says_and"
            "_as_ever_where_it_does_not",
        ),
    ),
)
