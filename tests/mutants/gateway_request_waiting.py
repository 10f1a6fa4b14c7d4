"""Mutants of `waiting.py` (a request in a gateway).

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["GATEWAY_REQUEST_WAITING_MUTANTS"]

WAITING = "data_plane/sie_gateway/request/waiting.py"

GATEWAY_REQUEST_WAITING_MUTANTS = (
    edit(
        "results-in-the-order-they-came",
        "the vectors of a large request belong to other texts",
        WAITING,
        "[self._results[job_id] for job_id in self._wanted]",
        "list(self._results.values())",
        ("tests/unit/test_gateway_result_order.py",),
    ),
    edit(
        "the-end-is-told-to-one-run-alone",
        "a request whose time is over begins a second run, and hangs",
        WAITING,
        "        self._over = error\n",
        "",
        ("tests/unit/test_gateway_waiting.py",),
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
        "second-result-of-a-job-counts",
        "half an answer is of a redelivered job's run at another moment",
        WAITING,
        "self._results.setdefault(result.job_id, result)",
        "self._results[result.job_id] = result",
        ("tests/unit/test_gateway_waiting.py",),
    ),
    edit(
        "results-of-the-run-before-count",
        "a request that is run again at another revision ends with results of the first",
        WAITING,
        "        self._wanted = job_ids\n        self._results = {}\n",
        "        self._wanted = job_ids\n",
        ("tests/unit/test_gateway_waiting.py",),
    ),
    edit(
        "end-between-two-runs-is-missed",
        "a request whose client left while it changed runs is computed to its end",
        WAITING,
        "        if self._over is not None:\n            raise self._over\n",
        "",
        ("tests/unit/test_gateway_waiting.py",),
    ),
    edit(
        "an-unheard-error-is-a-complaint",
        "each refusal that came after its request ended stands in the log as a defect",
        WAITING,
        "        if self._complete is not None:\n            self._complete.cancel()\n",
        "",
        ("tests/unit/test_gateway_waiting.py",),
    ),
    edit(
        "the-last-end-counts",
        "a request whose client left is told of as one that ran out of time",
        WAITING,
        "        if self._over is not None:\n            return\n",
        "",
        ("tests/unit/test_gateway_waiting.py",),
    ),
)
