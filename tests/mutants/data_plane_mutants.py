"""Mutants of the data plane, where it acknowledges, orders and names revisions.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["DATA_PLANE_MUTANTS"]

RESULTS = "data_plane/sie_worker/jobs/results.py"
INTAKE = "data_plane/sie_worker/intake/intake.py"
REVISIONS = "data_plane/sie_worker/jobs/revisions.py"
WAITING = "data_plane/sie_gateway/request/waiting.py"

STORIES = "tests/integration/test_worker_stories.py"

DATA_PLANE_MUTANTS = (
    edit(
        "job-acknowledged-unconfirmed",
        "a gateway that was away for a second never gets its result",
        RESULTS,
        "            confirmed = receipt.job_ids if receipt is not None else ()\n",
        "            confirmed = list(unconfirmed)\n",
        (STORIES,),
    ),
    edit(
        "base-for-an-unknown-adapter",
        "a request for an adapter is answered with the base weights",
        INTAKE,
        "        if adapter is None:\n            raise _changed(",
        "        if adapter is None:\n            return\n            raise _changed(",
        (STORIES,),
    ),
    edit(
        "job-runs-at-any-revision",
        "a job is run with the weights that the worker happens to have",
        REVISIONS,
        "            if found.revision == revision and found.model_id == model_id:\n",
        "            if found.model_id == model_id:\n",
        (STORIES,),
    ),
    edit(
        "worker-does-not-catch-up",
        "right after a change, requests fail on every worker that is a moment behind",
        INTAKE,
        "            await self._catch_up(job)\n",
        "            assert job\n",
        (STORIES,),
    ),
    edit(
        "results-in-the-order-they-came",
        "the vectors of a large request belong to other texts",
        WAITING,
        "[self._results[job_id] for job_id in self._wanted]",
        "list(self._results.values())",
        ("tests/unit/test_gateway_result_order.py",),
    ),
)
