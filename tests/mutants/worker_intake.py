"""Mutants of a worker's intake: homes, placement, peers.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["WORKER_INTAKE_MUTANTS"]

INTAKE = "data_plane/sie_worker/intake/intake.py"
STORIES = "tests/integration/test_worker_stories.py"
WORLD = (
    "tests/property/test_simulated_requests.py::test_every_law_holds_in_every_seed_of_the_budget",
)
FOUND = ("tests/property/test_simulated_requests.py::test_a_seed_that_once_found_something_holds",)

WORKER_INTAKE_MUTANTS = (
    edit(
        "newest-cancellation-is-forgotten",
        "of many clients that leave at once, the last are computed for",
        "data_plane/sie_worker/intake/cancelled.py",
        "del self._ids[next(iter(self._ids))]",
        "self._ids.popitem()",
        ("tests/unit/test_worker_cancelled.py",),
    ),
    edit(
        "homes-basis-ignored",
        "a worker goes on pulling for models whose home is a peer that has come",
        "data_plane/sie_worker/intake/homes.py",
        "before = self._registry if basis == self._basis else None",
        "before = self._registry",
        (
            (
                "tests/property/test_placement_laws.py::test_looks_that_take_up_what_ch"
                "anged_find_what_a_look_at_everything_does"
            ),
        ),
    ),
    edit(
        "own-word-is-a-peers",
        "a worker that is alone gives its jobs up as if another could run them",
        "data_plane/sie_worker/intake/homes.py",
        "        if heartbeat.worker_id == self._worker_id:\n            return\n",
        "",
        (
            (
                "tests/property/test_placement_laws.py::test_a_change_is_told_exactly_w"
                "here_the_room_of_a_peer_is_another_one"
            ),
        ),
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
        "worker-does-not-catch-up",
        "right after a change, requests fail on every worker that is a moment behind",
        INTAKE,
        "            await self._catch_up(job)\n",
        "            assert job\n",
        (STORIES,),
    ),
    edit(
        "redelivered-job-runs-at-the-config-of-now",
        "after a redelivery an answer names a revision that did not make it",
        "data_plane/sie_worker/intake/intake.py",
        "job, lambda: self._known.model(job.model_id, job.profile, job.model_revision)\n",
        "job,\n            lambda: (\n"
        "                self._known.current.resolve(f'{job.model_id}:{job.profile}')\n"
        "                if hold.delivery.delivery_count > 1 and self._known.current is not None\n"
        "                else self._known.model(job.model_id, job.profile, job.model_revision)\n"
        "            ),\n",
        ("tests/integration/test_worker_stories.py",),
    ),
    edit(
        "lane-without-its-adapter",
        "texts of several adapters share a batch that runs under one of them, or the base",
        INTAKE,
        "adapter=None if model.loaded.fuses_adapters else job.adapter,",
        "adapter=None,",
        WORLD,
    ),
    edit(
        "settled-job-is-run-again",
        "where an acknowledgement was lost, a worker computes what it has delivered",
        INTAKE,
        "        if self._holds.was_settled(job.job_id):\n",
        "        if not job.job_id:\n",
        WORLD,
    ),
    edit(
        "adapter-is-wanted-of-a-model-that-left",
        "a request for an adapter is refused because its model has just been evicted",
        INTAKE,
        "                if error.code != _HAS_LEFT:\n                    raise\n",
        "                assert _HAS_LEFT\n                raise\n",
        FOUND,
    ),
    edit(
        "job-without-its-contents-is-dropped",
        "a large request hangs whose contents a killed broker has forgotten",
        INTAKE,
        "            await self._without_contents(delivery, short, str(error))\n",
        "            assert error\n            delivery.ack()\n",
        FOUND,
    ),
    edit(
        "room-change-unnoticed",
        "models stay where they were although a peer has another room now",
        "data_plane/sie_worker/intake/peers.py",
        "return before is None or before[1] != float(heartbeat.memory_total_bytes)",
        "return before is None",
        (
            (
                "tests/property/test_placement_laws.py::test_a_change_is_told_exactly_w"
                "here_the_room_of_a_peer_is_another_one"
            ),
        ),
    ),
    edit(
        "home-is-by-name",
        "one worker is home to every model",
        "data_plane/sie_worker/intake/placement.py",
        "key=lambda worker: (_score(worker, model_id, weights[worker]), worker)",
        "key=lambda worker: worker",
        ("tests/property/test_placement_laws.py",),
    ),
    edit(
        "held-model-is-given-up",
        "a worker that joins takes loaded models away from those that have them",
        "data_plane/sie_worker/intake/placement.py",
        "frozenset(model for model in models if model in held or home(",
        "frozenset(model for model in models if home(",
        ("tests/property/test_placement_laws.py",),
    ),
)
