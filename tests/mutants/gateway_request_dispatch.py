"""Mutants of `dispatch.py` (a request in a gateway).

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["GATEWAY_REQUEST_DISPATCH_MUTANTS"]

_DISPATCH = "data_plane/sie_gateway/request/dispatch.py"
_LAWS = "tests/property/test_dispatch_laws.py::"
_FIRST_WORD = (
    f"{_LAWS}test_a_request_has_the_first_word_of_its_own_pool_on_each_job_and_leaves_nothing"
    "_behind",
)
_OPENED = (f"{_LAWS}test_an_inbox_is_opened_once_for_all_who_ask_and_anew_where_that_failed",)
WORLD = (
    "tests/property/test_simulated_requests.py::test_every_law_holds_in_every_seed_of_the_budget",
)

GATEWAY_REQUEST_DISPATCH_MUTANTS = (
    edit(
        "any-pool-answers",
        "a worker of one pool answers the requests of another one's users",
        _DISPATCH,
        "return run if run is not None and run.route.pool == pool else None",
        "return run",
        _FIRST_WORD,
    ),
    edit(
        "a-strangers-chunk-begins-anew",
        "a worker of another pool keeps large results from ever being whole",
        _DISPATCH,
        "if self._waits(pool, chunk.job_id) is None:",
        "if chunk.job_id not in self._waiting:",
        _FIRST_WORD,
    ),
    edit(
        "a-lost-object-is-named-again",
        "a large job that a killed broker forgot is sent again without its contents",
        _DISPATCH,
        "                if anew:\n",
        "                if False:\n",
        _FIRST_WORD,
    ),
    edit(
        "a-job-sent-again-is-as-old-as-at-first",
        "what a broker forgot is run after its client has given up",
        _DISPATCH,
        "    return msgspec.structs.replace(job, published_at=job.deadline - left_s)",
        "    return job",
        _FIRST_WORD,
    ),
    edit(
        "objects-outlive-a-request-that-failed",
        "the store of large jobs is full of those whose clients left",
        _DISPATCH,
        "            if self._stored:\n",
        "            if self._stored and done:\n",
        _FIRST_WORD,
    ),
    edit(
        "stored-for-nobody",
        "the object of a request that ended while its job was sent again stays",
        _DISPATCH,
        "            await self._drop_objects([job for job in jobs if job.job_id not in"
        " self._waiting])",
        "            pass",
        _FIRST_WORD,
    ),
    edit(
        "a-chunk-of-nobody-has-no-receipt",
        "a worker offers a large result until its deadline although its client left",
        _DISPATCH,
        "            return ResultReceipt(job_ids=(chunk.job_id,))\n        try:",
        "            return ResultReceipt(job_ids=())\n        try:",
        _FIRST_WORD,
    ),
    edit(
        "a-lost-broker-hides-how-it-ended",
        "a request that ran out of time is told as one of a broker that is away",
        _DISPATCH,
        "            # The deadline in the jobs ends them without this.\n            return",
        "            raise",
        _FIRST_WORD,
    ),
    edit(
        "an-inbox-leaves-with-who-asked-first",
        "one client that hangs up ends the first requests of all others in its pool",
        _DISPATCH,
        "await asyncio.shield(opening)",
        "await opening",
        _OPENED,
    ),
    edit(
        "an-inbox-can-be-guessed",
        "who has one worker's password hears the results of every pool",
        _DISPATCH,
        'f"sie.result.{self._gateway_id}-{self._rng.randbytes(_INBOX_BYTES).hex()}"',
        'f"sie.result.{self._gateway_id}-{pool}"',
        _OPENED,
    ),
    edit(
        "a-queue-that-is-away-is-our-fault",
        "a client is told to give up where it should come again in a moment",
        _DISPATCH,
        "            raise BusUnavailable(error.message) from error",
        "            raise",
        (f"{_LAWS}test_a_queue_that_stays_away_is_for_later",),
    ),
    edit(
        "chunk-without-room-is-confirmed",
        "where large results meet, one of them is confirmed and thrown away",
        _DISPATCH,
        "            metrics.CHUNKS_REFUSED.inc()\n            return ResultReceipt(job_ids=())\n",
        "            return ResultReceipt(job_ids=(chunk.job_id,))\n",
        WORLD,
    ),
    edit(
        "objects-are-remembered",
        "a gateway keeps a place for each large job that it ever sent",
        _DISPATCH,
        "            ref = self._stored.pop(job.job_id, None)\n",
        "            ref = self._stored.get(job.job_id)\n",
        WORLD,
    ),
    edit(
        "room-of-a-chunk-is-kept",
        "a gateway that gave up large requests refuses large results until it starts anew",
        _DISPATCH,
        "                self._chunks.forget(job.job_id)\n",
        "",
        ("tests/unit/test_gateway_result_order.py",),
    ),
    edit(
        "answered-jobs-are-open",
        "workers are asked for jobs that have their answer, and who runs one again holds it up",
        "data_plane/sie_gateway/request/runs.py",
        " for job in self.jobs if self.waiting.lacks(job.job_id)]",
        " for job in self.jobs]",
        _FIRST_WORD,
    ),
)
