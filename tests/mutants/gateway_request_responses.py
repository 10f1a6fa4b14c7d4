"""Mutants of `responses.py` (a request in a gateway).

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["GATEWAY_REQUEST_RESPONSES_MUTANTS"]


GATEWAY_REQUEST_RESPONSES_MUTANTS = (
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
        "a-query-without-an-id-has-one",
        "a client reads a null where it gave no id",
        "data_plane/sie_gateway/request/responses.py",
        "if asked.query is not None and asked.query.id is not None:",
        "if asked.query is not None:",
        (
            "tests/property/test_gateway_laws.py::test_a_ranking_is_sorted_and_tell"
            "s_the_workers_word_on_each_pair_in_the_order_of_the_request",
        ),
    ),
    edit(
        "certainly-not-is-unknown",
        "the probability 0 of a pair is told as that of its logit",
        "data_plane/sie_gateway/request/responses.py",
        '_number(given.get("relevance")), _number',
        '_number(given.get("relevance")) or None, _number',
        (
            "tests/property/test_gateway_laws.py::test_a_ranking_is_sorted_and_tell"
            "s_the_workers_word_on_each_pair_in_the_order_of_the_request",
        ),
    ),
    edit(
        "an-answer-too-many-blames-an-item",
        "an item is said to be wrong where its worker was",
        "data_plane/sie_gateway/request/responses.py",
        "        if result.failure is None and len(result.answers) == len(job.items)\n",
        "        if result.failure is None\n",
        (
            "tests/property/test_gateway_laws.py::test_a_job_that_may_be_sent_again"
            "_is_told_before_every_answer_and_a_failed_one_for_each_item",
        ),
    ),
    edit(
        "what-all-have-is-the-first-ones",
        "a client looks at one item, where all failed for what they have in common",
        "data_plane/sie_gateway/request/responses.py",
        "if where is not None and some_answered else first.message",
        "if where is not None else first.message",
        (
            "tests/property/test_gateway_laws.py::test_a_job_that_may_be_sent_again"
            "_is_told_before_every_answer_and_a_failed_one_for_each_item",
        ),
    ),
    edit(
        "the-whole-time-is-in-other-units",
        "an answer says that it took a thousand times as long",
        "data_plane/sie_gateway/request/responses.py",
        '"total_ms": round(total_ms, 3)',
        '"total_ms": round(total_ms * 1000, 3)',
        (
            "tests/property/test_gateway_laws.py::test_an_answer_tells_the_slowest_"
            "of_its_jobs_all_their_tokens_and_each_worker",
        ),
    ),
)
