"""Mutants of `inference.py` in the runs of one request (a request in a gateway).

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["GATEWAY_REQUEST_RERUNS_MUTANTS"]

_INFERENCE = "data_plane/sie_gateway/request/inference.py"
_RUNS = (
    "tests/property/test_rerun_laws.py::test_each_run_is_new_to_the_queue_and_one_change_of_a_"
    "revision_is_run_again",
)
_HELD = (
    "tests/property/test_rerun_laws.py::test_a_held_request_asks_for_its_worker_once_and_ends_with_"
    "its_patience_or_its_time",
)
_SAME_NEED = "            if isinstance(found, Cold) and _needs(found) == _needs(outcome):"

GATEWAY_REQUEST_RERUNS_MUTANTS = (
    edit(
        "a-client-is-watched-after-its-answer",
        "each request of a long connection leaves a task behind",
        _INFERENCE,
        "                waiting.close()\n",
        "",
        _RUNS,
    ),
    edit(
        "every-other-run-has-one-name",
        "the queue takes a third run for the second, and it waits until its deadline",
        _INFERENCE,
        'run_id = f"{request.id}-again{again}"',
        'run_id = f"{request.id}-again"',
        _RUNS,
    ),
    edit(
        "a-move-is-a-change-of-the-revision",
        "a request whose jobs moved is refused at the first change of its model",
        _INFERENCE,
        "        changes = int(has_changed)",
        "        changes = 1",
        _RUNS,
    ),
    edit(
        "a-run-turned-away-is-a-change-of-the-revision",
        "a request whose jobs moved is refused at the first change of its model, and counted wrong",
        _INFERENCE,
        "            return await self._again(request)\n",
        "            return await self._again(request, has_changed=True)\n",
        _RUNS,
    ),
    edit(
        "a-deadline-begins-where-patience-ends",
        "a request waits longer than its jobs live",
        _INFERENCE,
        "Overdue(limits.timeout_s - patience_s, _expire)",
        "Overdue(limits.timeout_s, _expire)",
        _RUNS,
    ),
    edit(
        "what-is-over-waits-for-its-deadline",
        "a gateway keeps each answered request for a minute",
        _INFERENCE,
        "                self._old.pop(waiting)\n",
        "",
        _RUNS,
    ),
    edit(
        "a-trace-ends-at-the-gateway",
        "nobody finds the worker's part of a slow request",
        _INFERENCE,
        "            trace=waiting.trace,\n",
        "",
        _RUNS,
    ),
    edit(
        "a-cold-adapter-is-its-base",
        "a worker is started for an adapter, and loads the base alone",
        _INFERENCE,
        '    adapter = route.adapter.name if route.adapter is not None else ""',
        '    adapter = ""',
        _HELD,
    ),
    edit(
        "each-look-is-a-request",
        "one held request scales a pool as one each second would",
        _INFERENCE,
        _SAME_NEED,
        "            if False:",
        _HELD,
    ),
)
