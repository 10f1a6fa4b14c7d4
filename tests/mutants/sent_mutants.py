"""Slips of a tired maintainer where a gateway sends jobs, hears results and gives leases.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["SENT_MUTANTS"]

_DISPATCH = "data_plane/sie_gateway/request/dispatch.py"
_DESK = "data_plane/sie_gateway/leases/lease_desk.py"
_TAKERS = "data_plane/sie_gateway/request/takers.py"
_TURNED_AWAY = (
    "tests/property/test_lost_job_laws.py::test_a_run_is_turned_away_as_soon_as_nobody_holds_its"
    "_job_and_not_after_its_end",
)
_LAWS = "tests/property/test_dispatch_laws.py::"
_FIRST_WORD = (
    f"{_LAWS}test_a_request_has_the_first_word_of_its_own_pool_on_each_job_and_leaves_nothing"
    "_behind",
)
_OPENED = (f"{_LAWS}test_an_inbox_is_opened_once_for_all_who_ask_and_anew_where_that_failed",)
_LEASES = "tests/property/test_lease_laws.py::"
_SAID = (f"{_LEASES}test_what_a_desk_has_said_of_a_lease_is_so_at_once",)

SENT_MUTANTS = (
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
        "a-lease-ends-only-where-it-is-known",
        "behind two gateways a lease cannot be ended at every other try",
        _DESK,
        "if name not in (await self._store.read()).held:",
        "if name not in self._table.held:",
        _SAID,
    ),
    edit(
        "a-lease-is-given-by-an-old-table",
        "a gateway that read the leases before another one gave any gives none itself",
        _DESK,
        "version=table.version)",
        "version=self._table.version)",
        _SAID,
    ),
    edit(
        "a-renewal-is-told-to-no-worker",
        "the models of a lease stay away after a worker that had them is replaced",
        _DESK,
        "            await self._tell_pinned(lease)\n            return {",
        "            return {",
        _SAID,
    ),
    edit(
        "a-lease-hides-a-pool",
        "the list of pools shows a lease where the log has a pool of that name",
        _DESK,
        """        views = {
            lease.spec.name: lease_view(lease, there.get(lease.spec.queue_pool, ()))
            for lease in leases
        } | views
""",
        """        views |= {
            lease.spec.name: lease_view(lease, there.get(lease.spec.queue_pool, ()))
            for lease in leases
        }
""",
        (f"{_LEASES}test_a_pool_that_comes_to_the_log_is_meant_where_a_lease_had_its_name",),
    ),
    edit(
        "who-is-overtaken-comes-back-late",
        "a client whose lease was changed by many at once waits longer than for a restart",
        _DESK,
        "        retry_after_s=0.5,\n",
        "",
        (f"{_LEASES}test_who_is_always_overtaken_is_asked_to_come_again_soon",),
    ),
    edit(
        "one-lease-more-than-there-may-be",
        "the table of leases grows beyond its bound",
        "data_plane/sie_gateway/leases/leases.py",
        "len(others) >= caps.leases_max",
        "len(others) > caps.leases_max",
        (f"{_LEASES}test_a_share_is_given_exactly_where_its_pool_has_so_much_left",),
    ),
    edit(
        "silence-holds-no-job",
        "a job is taken from under a worker that was slow to answer, and runs twice",
        _TAKERS,
        "        if held is None:\n            return\n",
        "        held = held or frozenset()\n",
        _TURNED_AWAY,
    ),
    edit(
        "what-is-in-hand-is-turned-away",
        "after a model was moved, requests run anew that a worker was about to answer",
        _TAKERS,
        "if run in waiting and held.isdisjoint(run.open_jobs()):",
        "if run in waiting:",
        _TURNED_AWAY,
    ),
    edit(
        "who-has-ended-turns-the-next-away",
        "a request that just began anew begins once more",
        _TAKERS,
        "if run in waiting and held.isdisjoint(run.open_jobs()):",
        "if held.isdisjoint(run.open_jobs()):",
        _TURNED_AWAY,
    ),
)
