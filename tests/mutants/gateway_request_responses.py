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
)
