"""Mutants of a request's way, which the simulated world of the data plane is to see.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["SERVING_MUTANTS"]

WORLD = (
    "tests/property/test_simulated_requests.py::test_every_law_holds_in_every_seed_of_the_budget",
)

FOUND = ("tests/property/test_simulated_requests.py::test_a_seed_that_once_found_something_holds",)

INTAKE = "data_plane/sie_worker/intake/intake.py"
HOLDS = "data_plane/sie_worker/jobs/holds.py"
RESULTS = "data_plane/sie_worker/jobs/results.py"
BATCH_RUNS = "data_plane/sie_worker/device/batch_runs.py"
BATCHING = "data_plane/sie_worker/scheduling/batching.py"
FAIRNESS = "data_plane/sie_worker/scheduling/fairness.py"
CHUNKS = "data_plane/sie_gateway/request/chunks.py"
DISPATCH = "data_plane/sie_gateway/request/dispatch.py"
INFERENCE = "data_plane/sie_gateway/request/inference.py"
LOST_JOBS = "data_plane/sie_gateway/request/lost_jobs.py"
DESK = "data_plane/sie_gateway/leases/lease_desk.py"
LEASES = "tests/property/test_lease_laws.py::test_"
ROUTING = "data_plane/sie_gateway/fleet/routing.py"

SERVING_MUTANTS = (
    edit(
        "a-job-is-late-by-the-workers-clock",
        "a worker whose clock is ahead drops every job that it pulls, and it pulls the most",
        HOLDS,
        "self.deadline = now + job.deadline - job.published_at - age_s",
        "self.deadline = now + job.deadline - __import__('time').time()",
        ("tests/property/test_hold_laws.py",),
    ),
    edit(
        "a-job-is-as-young-as-its-delivery",
        "what waited on the queue until its clients had left is computed all the same",
        HOLDS,
        "self.deadline = now + job.deadline - job.published_at - age_s",
        "self.deadline = now + job.deadline - job.published_at",
        ("tests/property/test_hold_laws.py",),
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
        "batch-mates-share-an-adapter",
        "in a fused batch every text runs under the base",
        BATCH_RUNS,
        "pin is not None and pin != lane.adapter for pin in found",
        "pin is None and pin is lane for pin in found",
        WORLD,
    ),
    edit(
        "second-chunk-is-dropped",
        "a result that is larger than a message never arrives whole",
        CHUNKS,
        "for index in sorted(transfer.parts))",
        "for index in sorted(transfer.parts) if index != 1)",
        WORLD,
    ),
    edit(
        "chunk-without-room-is-confirmed",
        "where large results meet, one of them is confirmed and thrown away",
        DISPATCH,
        "            metrics.CHUNKS_REFUSED.inc()\n            return ResultReceipt(job_ids=())\n",
        "            return ResultReceipt(job_ids=(chunk.job_id,))\n",
        WORLD,
    ),
    edit(
        "cancel-frees-anothers-jobs",
        "a client that hangs up takes the requests of others along",
        BATCHING,
        "self._drop(lambda item: item.request_id == request_id)",
        "self._drop(lambda item: item.request_id[:2] == request_id[:2])",
        WORLD,
    ),
    edit(
        "cancelled-is-run-all-the-same",
        "the device works for clients that have left",
        BATCHING,
        "self._drop(lambda item: item.request_id == request_id)",
        "self._drop(lambda item: not item.request_id)",
        ("tests/property/test_batching_laws.py",),
    ),
    edit(
        "job-in-hand-is-held-twice",
        "a job that is handed out again while it is in hand is run a second time",
        HOLDS,
        "        if known is not None:\n            known.delivery",
        "        if known is not None and known.is_ending:\n            known.delivery",
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
        "given-back-counts-as-settled",
        "a job that comes back to the worker which gave it back is acknowledged and never run",
        RESULTS,
        "self._holds.close(again, settled=False)",
        "self._holds.close(again, settled=True)",
        WORLD,
    ),
    edit(
        "full-lanes-first-whatever-waits",
        "beside a crowd, a lane with little in it is not served",
        BATCHING,
        "            unripe = queue.ripe_at > now\n",
        "            unripe = not queue.is_full\n",
        (
            (
                "tests/property/test_batching_laws.py::test_an_input_that_has_waited_leaves_before"
                "_more_batches_than_inputs_older_than_it"
            ),
        ),
    ),
    edit(
        "tenants-take-no-turns",
        "a tenant with one text waits for the end of another one's flood",
        FAIRNESS,
        "        if len(heads) == 1:\n",
        "        if heads:\n",
        WORLD,
    ),
    edit(
        "forgotten-jobs-are-not-sent-again",
        "a broker that is killed takes waiting requests with it",
        LOST_JOBS,
        "                    await self._restore(stop)\n",
        "                    assert self._sender\n",
        ("tests/property/test_lost_job_laws.py",),
    ),
    edit(
        "objects-are-remembered",
        "a gateway keeps a place for each large job that it ever sent",
        DISPATCH,
        "            ref = self._stored.pop(job.job_id, None)\n",
        "            ref = self._stored.get(job.job_id)\n",
        WORLD,
    ),
    edit(
        "routes-of-an-older-registry",
        "requests go on at the revision of before a change, until a gateway starts anew",
        ROUTING,
        "        if resolver is not self._resolver or len(",
        "        if self._resolver is None or len(",
        WORLD,
    ),
    edit(
        "place-of-a-failed-request-is-kept",
        "a gateway fills up with requests that are over, and refuses new ones",
        INFERENCE,
        "self._in_flight = self._in_flight.minus(items=items, size=size)",
        "self._in_flight = self._in_flight.minus(items=items - 1, size=size)",
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
        "held-once-is-held-for-ever",
        "what a worker gives back after a broker was killed is in no queue, and lost",
        LOST_JOBS,
        "            if not is_sent or not held.isdisjoint(run.open_jobs())\n",
        "            if not is_sent\n",
        ("tests/property/test_lost_job_laws.py",),
    ),
    edit(
        "youngest-lane-first",
        "under load a lane with little in it is never served",
        BATCHING,
        "(unripe, sequence) < best[tenant][:2]",
        "(unripe, sequence) > best[tenant][:2]",
        ("tests/property/test_batching_laws.py",),
    ),
    edit(
        "revisions-may-mix",
        "an answer goes out although a worker could not run the revision that it names",
        INFERENCE,
        "results) if of_one_revision(route, results) else None",
        "results) if results else None",
        ("tests/unit/test_gateway_app.py",),
    ),
    edit(
        "jobs-of-the-dead-wait",
        "what a dead worker held waits for the end of the queue's own patience",
        "data_plane/sie_gateway/request/deaths.py",
        "        await self._holders.give_back(speaker, queue.consumer, sequences, out)\n",
        "",
        (
            "tests/adversary/test_worker_death.py"
            "::test_what_a_killed_machine_held_is_answered_by_another_within_seconds",
        ),
    ),
    edit(
        "room-of-a-chunk-is-kept",
        "a gateway that gave up large requests refuses large results until it starts anew",
        DISPATCH,
        "                self._chunks.forget(job.job_id)\n",
        "",
        ("tests/unit/test_gateway_result_order.py",),
    ),
    edit(
        "leases-are-judged-alone",
        "clients lease more workers of a pool than it has",
        DESK,
        "check_grant(self._registry(), others, request",
        "check_grant(self._registry(), others[:0], request",
        WORLD,
    ),
    edit(
        "older-table-tells-of-a-new-lease",
        "a lease that was just given is unknown at another gateway",
        DESK,
        "        if self._next is None:\n",
        "        self._next = self._next or self._looking\n        if self._next is None:\n",
        (LEASES + "a_lease_is_known_at_every_gateway_also_where_an_older_table_is_on_its_way",),
    ),
    edit(
        "leases-without-a-registry",
        "a gateway that has just started says of every pool that there is none",
        DESK,
        "        if resolver.position is None:\n            raise Later(",
        "        if resolver is None:\n            raise Later(",
        (LEASES + "a_gateway_without_a_registry_says_nothing_of_pools_and_leases",),
    ),
)
