"""Mutants planted by somebody who had not looked at the tests: requests, items, replicas.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["PLANTED_DATA_MUTANTS"]

PLANTED_DATA_MUTANTS = (
    edit(
        "a-body-of-the-very-bound-is-refused",
        "what may just be sent is refused",
        "shared/runtime/sie_runtime/http/bodies.py",
        "        if size > bytes_max:",
        "        if size >= bytes_max:",
        (
            (
                "tests/unit/test_http_words.py::test_a_body_is_read_up_to_its_bound_and_r"
                "efused_from_the_next_byte_on"
            ),
        ),
    ),
    edit(
        "weights-of-types-are-not-read",
        "a client gets the form that it likes least",
        "data_plane/sie_gateway/faces/native.py",
        "return float(found.group(1)) if found is not None else 1.0",
        "return 1.0",
        (
            (
                "tests/property/test_negotiation_laws.py::test_the_form_that_is_liked_bes"
                "t_is_given_and_json_where_none_is"
            ),
        ),
    ),
    edit(
        "nothing-is-an-answer",
        ("an item that a worker passed over breaks the whole answer, or moves the others"),
        "data_plane/sie_gateway/request/responses.py",
        "if len(result.answers) != len(job.items) or not all(result.answers):",
        "if len(result.answers) != len(job.items):",
        (
            (
                "tests/property/test_gateway_laws.py::test_an_answer_has_one_entry_for_ea"
                "ch_item_in_order_each_with_content_or_error"
            ),
        ),
    ),
    edit(
        "the-last-job-tells-the-time",
        "what made a request slow is not seen",
        "data_plane/sie_gateway/request/responses.py",
        "inference_ms=max([timing.inference_ms for timing in timings])",
        "inference_ms=timings[-1].inference_ms",
        (
            (
                "tests/property/test_gateway_laws.py::test_an_answer_tells_the_slowest_of"
                "_its_jobs_all_their_tokens_and_each_worker"
            ),
        ),
    ),
    edit(
        "a-batch-is-in-the-type-of-its-first",
        "who asked for int8 gets floats, where another's text ran before it",
        "data_plane/sie_worker/forms/answers.py",
        'all(dtype == "float32" for dtype in output_dtypes)',
        'output_dtypes[0] == "float32"',
        (
            (
                "tests/property/test_answer_laws.py::test_a_batch_answers_each_item_as_a_"
                "batch_of_that_item_alone_does"
            ),
        ),
    ),
    edit(
        "no-number-is-a-relevance",
        "a ranking has NaN for a probability, which is no JSON",
        "data_plane/sie_worker/forms/answers.py",
        "if all(math.isfinite(number) for number in row.values())",
        'if math.isfinite(row["score"])',
        (
            (
                "tests/property/test_answer_laws.py::test_an_answer_to_a_pair_has_numbers"
                "_alone_or_is_an_error"
            ),
        ),
    ),
    edit(
        "a-failed-item-may-fail-again",
        "a job ends although items of it have no outcome",
        "data_plane/sie_worker/jobs/holds.py",
        ("        if self._answers[index] is not None:\n            return False\n"),
        ("        if self._answers[index]:\n            return False\n"),
        (
            (
                "tests/property/test_hold_laws.py::test_an_item_keeps_its_first_outcome_a"
                "nd_is_counted_until_then"
            ),
        ),
    ),
    edit(
        "a-closed-job-frees-room-again",
        "a worker takes ever more jobs than it can run",
        "data_plane/sie_worker/jobs/holds.py",
        "if hold.settle_item(index, outcome) and hold.number in self._by_number:",
        "if hold.settle_item(index, outcome):",
        (
            (
                "tests/property/test_hold_laws.py::test_an_item_keeps_its_first_outcome_a"
                "nd_is_counted_until_then"
            ),
        ),
    ),
    edit(
        "an-adapter-comes-back-to-nobody",
        "the device's memory fills with adapters of models that left",
        "data_plane/sie_server/adapters/adapter_shelf.py",
        "if self._places.get(revision, {}).get(pin) is place:",
        "if True:",
        (
            (
                "tests/property/test_shelf_laws.py::test_an_adapter_is_found_until_its_mo"
                "del_leaves_and_then_holds_no_memory"
            ),
        ),
    ),
    edit(
        "a-token-is-taken-by-two-windows",
        "an entity at a seam is told twice, or cut",
        "data_plane/sie_server/backends/extraction/windows.py",
        "first = start + (shared + 1) // 2 if start else 0",
        "first = start + shared // 2 if start else 0",
        (
            (
                "tests/property/test_window_laws.py::test_each_token_is_taken_once_in_ord"
                "er_from_a_window_that_the_model_reads"
            ),
        ),
    ),
    edit(
        "the-end-of-a-text-is-not-read",
        "entities at the end of a long text are not found",
        "data_plane/sie_server/backends/extraction/windows.py",
        "starts = range(0, max(1, count - shared), room - shared)",
        "starts = range(0, max(1, count - room), room - shared)",
        (
            (
                "tests/property/test_window_laws.py::test_each_token_is_taken_once_in_ord"
                "er_from_a_window_that_the_model_reads"
            ),
        ),
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
        "a-share-is-set-back",
        "a tenant's cap forgets what came while another request of it ran",
        "data_plane/sie_gateway/request/admission.py",
        "left = self._held[whose].minus(items=items, size=size)",
        "left = held",
        (
            (
                "tests/property/test_gateway_laws.py::test_what_each_has_in_flight_is_hel"
                "d_to_its_own_caps_and_given_back_in_any_order"
            ),
        ),
    ),
    edit(
        "what-just-fits-is-refused",
        "who wants nothing cut cannot send as much as the model reads",
        "data_plane/sie_worker/forms/cutting.py",
        "if reads <= 0 or count <= reads:",
        "if reads <= 0 or count < reads:",
        (
            (
                "tests/property/test_cutting_laws.py::test_a_text_that_just_fits_is_run_a"
                "nd_one_token_more_is_refused_for_itself"
            ),
        ),
    ),
    edit(
        "ahead-of-the-writer-is-gone",
        "a replica that knows more than its writer takes the writer's snapshot",
        "shared/runtime/sie_runtime/follower/log_source.py",
        "if response.status_code == httpx.codes.GONE:",
        "if response.status_code in (httpx.codes.GONE, httpx.codes.CONFLICT):",
        (
            (
                "tests/unit/test_log_source.py::test_what_is_no_answer_is_a_failure_of_ev"
                "ery_fetch_and_never_an_empty_one"
            ),
        ),
    ),
    edit(
        "one-timer-for-the-first-alone",
        "a request waits for ever beside one that was answered",
        "shared/runtime/sie_runtime/broker/overdue.py",
        ("                self._timer = loop.call_at(due_at, self._look)\n                break"),
        "                break",
        (
            (
                "tests/property/test_overdue_laws.py::test_each_that_waits_is_told_once_a"
                "t_its_time_in_order_and_who_left_is_not"
            ),
        ),
    ),
    edit(
        "what-is-overdue-is-told-again",
        "a job is given up, and again, and again",
        "shared/runtime/sie_runtime/broker/overdue.py",
        ("            found = self._waiting.pop(key, None)\n            if found is not None:"),
        ("            found = self._waiting.get(key)\n            if found is not None:"),
        (
            (
                "tests/property/test_overdue_laws.py::test_each_that_waits_is_told_once_a"
                "t_its_time_in_order_and_who_left_is_not"
            ),
        ),
    ),
    edit(
        "newest-connections-leave-first",
        "who just came in is sent away, and a crowd that asks for nothing stays",
        "shared/runtime/sie_runtime/http/connections.py",
        "most.sort(key=lambda visitor: visitor.since)",
        "most.sort(key=lambda visitor: -visitor.since)",
        (
            (
                "tests/property/test_connection_laws.py::test_who_leaves_for_a_newcomer_w"
                "aited_longest_of_the_address_that_has_most"
            ),
        ),
    ),
    edit(
        "replaced-reports-use-up-room",
        "after enough reports no replica is heard any more",
        "control_plane/sie_config/replicas/sightings.py",
        ("            self._drop_life(lives, report.life)\n            lives[report.life] = seen"),
        "            lives[report.life] = seen",
        (
            (
                "tests/property/test_report_laws.py::test_reports_that_took_the_place_of_"
                "others_use_up_no_room"
            ),
        ),
    ),
    edit(
        "a-page-of-a-difference-is-the-last",
        "of what differs the console shows the first page alone",
        "control_plane/sie_config/http/history_routes.py",
        "if limit is not None and len(part) == limit else None",
        "if limit is not None and len(part) > limit else None",
        (
            (
                "tests/unit/test_config_time.py::test_a_difference_in_pages_of_any_length"
                "_is_the_whole_one"
            ),
        ),
    ),
    edit(
        "a-continued-log-is-another",
        (
            "after a superseding log every replica takes a snapshot in place of the "
            "entries that it lacks"
        ),
        "control_plane/sie_config/http/follow_routes.py",
        "log_id not in {begin.log_id for begin in plane.sequencer.lineage}",
        "log_id != head.log_id",
        (
            (
                "tests/unit/test_golden_files.py::test_a_log_that_continues_another_serve"
                "s_both_and_tells_each_moment_its_own"
            ),
        ),
    ),
    edit(
        "a-past-export-names-later-logs",
        "a snapshot of before a log was superseded says that it was",
        "control_plane/sie_config/http/history_routes.py",
        ("lineage = [begin for begin in plane.sequencer.lineage if begin.epoch <= epoch]"),
        "lineage = [*plane.sequencer.lineage]",
        (
            (
                "tests/unit/test_golden_files.py::test_a_log_that_continues_another_serve"
                "s_both_and_tells_each_moment_its_own"
            ),
        ),
    ),
    edit(
        "a-stopped-replica-has-converged",
        "a change counts as converged at replicas that are quarantined",
        "control_plane/sie_config/replicas/reports.py",
        '"converged": at_head and report.state == "fresh",',
        '"converged": at_head,',
        (
            (
                "tests/property/test_report_laws.py::test_a_replica_has_converged_where_i"
                "t_is_at_the_head_and_fresh"
            ),
        ),
    ),
)
