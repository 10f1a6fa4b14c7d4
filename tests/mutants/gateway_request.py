"""Mutants of a request in a gateway: admission, chunks, answers.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["GATEWAY_REQUEST_MUTANTS"]

ADMISSION = "data_plane/sie_gateway/request/admission.py"
GATEWAY_LAWS = "tests/property/test_gateway_laws.py"
CHUNKS = "data_plane/sie_gateway/request/chunks.py"
CHUNK_LAWS = "tests/property/test_chunk_laws.py"
WORLD = (
    "tests/property/test_simulated_requests.py::test_every_law_holds_in_every_seed_of_the_budget",
)
GIVING_BACK = "data_plane/sie_gateway/request/giving_back.py"
DEATH_LAWS = "tests/property/test_death_laws.py"
_INFERENCE = "data_plane/sie_gateway/request/inference.py"
_SHARES = ("tests/property/test_lease_share_laws.py",)
LOST_JOBS = "data_plane/sie_gateway/request/lost_jobs.py"
_TAKERS = "data_plane/sie_gateway/request/takers.py"
_TURNED_AWAY = (
    "tests/property/test_lost_job_laws.py::test_a_run_is_turned_away_as_soon_as_nobody_holds_its"
    "_job_and_not_after_its_end",
)
_HELD = (
    "tests/property/test_lost_job_laws.py::test_a_request_that_is_held_waits_where_the_newest"
    "_config_has_its_model",
)

GATEWAY_REQUEST_MUTANTS = (
    edit(
        "a-held-request-stays-where-it-came",
        "workers are started for a model that has moved, and none where it is",
        _INFERENCE,
        "if isinstance(found, Cold) and _needs(found) == _needs(outcome):",
        "if isinstance(found, Cold):",
        _HELD,
    ),
    edit(
        "a-held-request-is-of-an-old-config",
        "a 202 names the config of when it came, and a client waits for a revision that is gone",
        _INFERENCE,
        "                outcome = found\n",
        "                continue\n",
        _HELD,
    ),
    edit(
        "jobs-are-cut-by-items-alone",
        "a job of large items is no message any more",
        ADMISSION,
        "(index - start == items_each or held + size > bytes_max)",
        "index - start == items_each",
        (GATEWAY_LAWS,),
    ),
    edit(
        "bytes-in-flight-leak",
        "a gateway refuses everything after a while",
        ADMISSION,
        "return InFlight(self.items - items, self.bytes - size)",
        "return InFlight(self.items - items, self.bytes)",
        (GATEWAY_LAWS,),
    ),
    edit(
        "a-share-is-set-back",
        "a tenant's cap forgets what came while another request of it ran",
        "data_plane/sie_gateway/request/admission.py",
        "left = self._held[whose].minus(items=items, size=size)",
        "left = held",
        (
            (
                "tests/property/test_gateway_laws.py::test_what_each_has_in_flight_is_hel"
                "d_to_its_own_caps_and_given_back_in_any_order"
            ),
        ),
    ),
    edit(
        "chunks-join-as-they-came",
        "a large result is another one where its chunks overtook each other",
        CHUNKS,
        "for index in sorted(transfer.parts))",
        "for index in transfer.parts)",
        (CHUNK_LAWS,),
    ),
    edit(
        "chunks-of-two-attempts-are-one",
        "half of a result is a dead worker's",
        CHUNKS,
        "if found is not None and found.transfer == chunk.transfer:",
        "if found is not None:",
        (CHUNK_LAWS,),
    ),
    edit(
        "room-for-chunks-leaks",
        "after enough results that broke off a gateway takes no large one",
        CHUNKS,
        "self.reserved -= transfer.size",
        "self.reserved -= transfer.held",
        (CHUNK_LAWS,),
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
        "held-job-is-given-back",
        "a job that a living worker runs is run beside it",
        GIVING_BACK,
        "        if job.job_id not in held and (why",
        "        if (why",
        (DEATH_LAWS,),
    ),
    edit(
        "newest-job-is-never-given-back",
        "of a dead worker's jobs the last one waits for its own time",
        GIVING_BACK,
        "if job.sequence <= last]",
        "if job.sequence < last]",
        (DEATH_LAWS,),
    ),
    edit(
        "suspects-go-out-together",
        "a request that kills its worker takes another one's deliveries with it",
        GIVING_BACK,
        "return again + ([] if tried else _next(suspects, held))",
        "return again + _next(suspects, held)",
        (DEATH_LAWS,),
    ),
    edit(
        "one-share-for-all-profiles-of-a-lease",
        "requests that wait for one kind of worker use up a lease's share of every other",
        _INFERENCE,
        'f"lease {lease.name!r} on {route.machine_profile}"',
        'f"lease {lease.name!r}"',
        _SHARES,
    ),
    edit(
        "one-share-for-all-leases",
        "a client's lease is used up by another client's requests",
        _INFERENCE,
        'f"lease {lease.name!r} on {route.machine_profile}"',
        'f"lease on {route.machine_profile}"',
        _SHARES,
    ),
    edit(
        "the-share-of-the-largest-profile",
        "a lease of one H100 and eight CPUs may use eight H100",
        _INFERENCE,
        "lease.gpu_caps.get(route.machine_profile) if lease is not None else None",
        "max(lease.gpu_caps.values(), default=None) if lease is not None else None",
        _SHARES,
    ),
    edit(
        "place-of-a-failed-request-is-kept",
        "a gateway fills up with requests that are over, and refuses new ones",
        _INFERENCE,
        "self._in_flight = self._in_flight.minus(items=items, size=size)",
        "self._in_flight = self._in_flight.minus(items=items - 1, size=size)",
        WORLD,
    ),
    edit(
        "revisions-may-mix",
        "an answer goes out although a worker could not run the revision that it names",
        _INFERENCE,
        "results) if of_one_revision(route, results) else None",
        "results) if results else None",
        ("tests/unit/test_gateway_app.py",),
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
        "held-once-is-held-for-ever",
        "what a worker gives back after a broker was killed is in no queue, and lost",
        LOST_JOBS,
        "            if not is_sent or not held.isdisjoint(run.open_jobs())\n",
        "            if not is_sent\n",
        ("tests/property/test_lost_job_laws.py",),
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
    edit(
        "bytes-of-a-request-are-kept",
        "a gateway refuses all but one request at a time once enough texts went through it",
        _INFERENCE,
        "self._in_flight.minus(items=items, size=size)",
        "self._in_flight.minus(items=items, size=0)",
        ("tests/unit/test_gateway_app.py",),
    ),
    edit(
        "traffic-is-of-the-base-model",
        "an adapter that is asked for all day is told of as one that nobody uses",
        _INFERENCE,
        "route.adapter.name if route.adapter is not None else None",
        "None",
        ("tests/unit/test_gateway_app.py",),
    ),
)
