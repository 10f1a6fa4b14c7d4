"""Slips planted in the gateway: requests, their answers, and what is remembered of workers.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["SLIPPED_REQUEST_MUTANTS"]

SLIPPED_REQUEST_MUTANTS = (
    edit(
        "made-id-may-be-the-clients",
        "two items of a ranking have one id",
        "data_plane/sie_gateway/request/responses.py",
        "while not item.id and made in given:",
        "if not item.id and made in given:",
        (
            (
                "tests/property/test_gateway_laws.py::test_an_item_without_an_id_is_giv"
                "en_one_that_no_other_item_has"
            ),
        ),
    ),
    edit(
        "infinite-score-is-a-score",
        "a score that is no number is ranked",
        "data_plane/sie_gateway/request/responses.py",
        "is_number = isinstance(value, int | float) and math.isfinite(value)",
        "is_number = isinstance(value, int | float)",
        ("tests/property/test_gateway_laws.py::test_a_score_that_is_no_number_is_no_rank",),
    ),
    edit(
        "first-item-is-blamed",
        "a client mends the first item, and the third was wrong",
        "data_plane/sie_gateway/request/responses.py",
        'where = f"{asked.items_path}[{place}]"',
        'where = f"{asked.items_path}[0]"',
        (
            (
                "tests/property/test_gateway_laws.py::test_a_job_that_may_be_sent_again"
                "_is_told_before_every_answer_and_a_failed_one_for_each_item"
            ),
        ),
    ),
    edit(
        "retryable-hidden-by-answers",
        "a part that may be sent again at once is told as failed",
        "data_plane/sie_gateway/request/responses.py",
        "            if error.retry_after_s is not None:\n                raise error",
        "            if error.retry_after_s:\n                raise error",
        (
            (
                "tests/property/test_gateway_laws.py::test_a_job_that_may_be_sent_again"
                "_is_told_before_every_answer_and_a_failed_one_for_each_item"
            ),
        ),
    ),
    edit(
        "failed-job-of-one-item",
        "behind a job that failed every answer is another item's",
        "data_plane/sie_gateway/request/responses.py",
        "return [_error(result.failure, asked)] * count",
        "return [_error(result.failure, asked)]",
        (
            (
                "tests/property/test_gateway_laws.py::test_a_job_that_may_be_sent_again"
                "_is_told_before_every_answer_and_a_failed_one_for_each_item"
            ),
        ),
    ),
    edit(
        "ready-under-its-old-kind",
        "requests go to a worker of a kind that it is no more",
        "data_plane/sie_gateway/fleet/fleet.py",
        (
            "        kind = known.heartbeat.kind\n        there = self._ready[kind]\n"
            "        del there[worker_id]\n        if not there:\n            del "
            "self._ready[kind]"
        ),
        "        return",
        (
            (
                "tests/property/test_gateway_laws.py::test_a_worker_is_ready_under_the_"
                "kind_of_its_last_word_and_no_more_are_known_than_may_be"
            ),
        ),
    ),
    edit(
        "full-fleet-forgets",
        "a fleet holds more workers than may be",
        "data_plane/sie_gateway/fleet/fleet.py",
        "len(self._seen) < WORKERS_MAX",
        "len(self._seen) <= WORKERS_MAX",
        (
            (
                "tests/property/test_gateway_laws.py::test_a_worker_is_ready_under_the_"
                "kind_of_its_last_word_and_no_more_are_known_than_may_be"
            ),
        ),
    ),
    edit(
        "leaving-is-live",
        "requests go to workers that said farewell",
        "data_plane/sie_gateway/fleet/fleet.py",
        "if not heartbeat.leaving and len",
        "if len",
        (
            (
                "tests/property/test_gateway_laws.py::test_a_worker_is_ready_under_the_"
                "kind_of_its_last_word_and_no_more_are_known_than_may_be"
            ),
        ),
    ),
    edit(
        "used-now-is-oldest",
        "a model in use may be deleted without a word, in a large cluster",
        "data_plane/sie_gateway/fleet/traffic.py",
        "        asked.pop(name, None)\n",
        "",
        (
            (
                "tests/unit/test_gateway_traffic.py::test_a_name_is_told_by_its_last_re"
                "quest_of_the_hour_and_the_newest_stay"
            ),
        ),
    ),
    edit(
        "adapter-under-its-name",
        "the traffic of one model's adapter is told as another's",
        "data_plane/sie_gateway/fleet/traffic.py",
        'f"{model_id}/{adapter}"',
        "adapter",
        (
            (
                "tests/unit/test_gateway_traffic.py::test_a_name_is_told_by_its_last_re"
                "quest_of_the_hour_and_the_newest_stay"
            ),
        ),
    ),
    edit(
        "what-came-meanwhile-waits",
        "a request whose last result came before the broker's no waits for ever",
        "data_plane/sie_gateway/request/waiting.py",
        "        complete = self._renewed()\n        self._look()\n        return complete",
        "        complete = self._renewed()\n        return complete",
        (
            (
                "tests/unit/test_gateway_waiting.py::test_an_attempt_is_complete_with_t"
                "he_last_result_whichever_attempt_it_came_in"
            ),
        ),
    ),
    edit(
        "order-of-wanted-by-name",
        "the tenth part of an answer stands before the second",
        "data_plane/sie_gateway/request/waiting.py",
        "[self._results[job_id] for job_id in self._wanted]",
        "[self._results[job_id] for job_id in sorted(self._wanted)]",
        (
            (
                "tests/unit/test_gateway_waiting.py::test_a_run_has_the_first_result_of"
                "_each_of_its_own_jobs_whatever_came_before_and_twice"
            ),
        ),
    ),
    edit(
        "end-in-a-pause-unheard",
        "a request for a cold model goes on after its client has left",
        "data_plane/sie_gateway/request/waiting.py",
        "        if over.done():\n            over.result()",
        "        pass",
        ("tests/unit/test_gateway_waiting.py::test_what_ends_a_request_ends_its_pause",),
    ),
    edit(
        "query-is-not-counted",
        "a query of any length is taken",
        "data_plane/sie_gateway/request/requests.py",
        '        chars += len(item.text or "") or len(item.token_ids)\n',
        '        chars += 0 if index < 0 else len(item.text or "") or len(item.token_ids)\n',
        (
            (
                "tests/property/test_asked_laws.py::test_the_characters_of_a_query_coun"
                "t_as_those_of_the_items"
            ),
        ),
    ),
    edit(
        "second-lora-is-passed-over",
        "of two adapters that were named one is passed over",
        "data_plane/sie_gateway/request/requests.py",
        "if len(names) > 1 and names[1][1] != name:",
        "if False:",
        ("tests/property/test_asked_laws.py::test_a_request_has_one_adapter_or_is_refused",),
    ),
    edit(
        "option-wins-silently",
        "of two instructions that contradict each other one is passed over",
        "data_plane/sie_gateway/request/requests.py",
        "if among is not None and value is not None and among != value:",
        "if False:",
        ("tests/property/test_asked_laws.py::test_an_instruction_is_said_once_or_twice_alike",),
    ),
    edit(
        "repeated-once",
        "requests with a large query fill the queue beyond its bound",
        "data_plane/sie_gateway/request/requests.py",
        "return max(0, self.fixed_size - _ENVELOPE_BYTES) * len(self.items)",
        "return max(0, self.fixed_size - _ENVELOPE_BYTES)",
        (
            (
                "tests/property/test_asked_laws.py::test_what_is_taken_fits_into_messag"
                "es_item_by_item_with_all_that_stands_beside_it"
            ),
        ),
    ),
    edit(
        "largest-item-without-the-fixed",
        "a job is taken that fits into no message",
        "data_plane/sie_gateway/request/requests.py",
        "if fixed + largest > limits.payload_bytes_max:",
        "if largest > limits.payload_bytes_max:",
        (
            (
                "tests/property/test_asked_laws.py::test_what_is_taken_fits_into_messag"
                "es_item_by_item_with_all_that_stands_beside_it"
            ),
        ),
    ),
    edit(
        "images-and-tokens-swapped",
        "workers of an older release are sent what they cannot read",
        "data_plane/sie_gateway/request/requests.py",
        "return has_images, has_tokens\n\n\ndef _check_item",
        "return has_tokens, has_images\n\n\ndef _check_item",
        (
            (
                "tests/property/test_asked_laws.py::test_a_request_knows_whether_it_has"
                "_images_and_token_ids"
            ),
        ),
    ),
    edit(
        "never-news-again",
        "the second request of the day for a model waits for its load",
        "data_plane/sie_gateway/fleet/demand.py",
        "return before is None or now - before > self._keep_s",
        "return before is None",
        (
            (
                "tests/property/test_asked_laws.py::test_what_was_asked_for_is_news_onc"
                "e_in_its_time_and_the_newest_are_remembered"
            ),
        ),
    ),
    edit(
        "oldest-wish-first",
        "a worker that starts loads what was asked for longest ago",
        "data_plane/sie_gateway/fleet/demand.py",
        "return list(reversed(kept))",
        "return list(kept)",
        (
            (
                "tests/property/test_asked_laws.py::test_what_was_asked_for_is_news_onc"
                "e_in_its_time_and_the_newest_are_remembered"
            ),
        ),
    ),
)
