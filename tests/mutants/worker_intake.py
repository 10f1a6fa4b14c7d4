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
_TAKEN = (
    "tests/property/test_intake_laws.py::test_each_job_has_one_end_and_its_inputs_share_a_lane_with"
    "_their_like_alone",
)

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
        "        if not self._holds.was_settled(job.job_id):\n",
        "        if job.job_id:\n",
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
    edit(
        "labels-in-any-order-share-a-batch",
        "of two requests with the same labels one is told them in the other's order",
        INTAKE,
        "            labels=job.labels,\n",
        "            labels=tuple(sorted(job.labels)),\n",
        _TAKEN,
    ),
    edit(
        "requests-of-other-labels-share-a-batch",
        "a request is answered with the labels of its batch-mate",
        INTAKE,
        "            labels=job.labels,\n",
        "            labels=job.labels[:1],\n",
        _TAKEN,
    ),
    edit(
        "outputs-of-a-batch-mate",
        "a request has no sparse vectors, as its batch-mate wanted none",
        INTAKE,
        "outputs=job.output_types,",
        "outputs=job.output_types[:1],",
        _TAKEN,
    ),
    edit(
        "suspects-share-a-batch",
        "jobs that each may crash the device take each other down",
        INTAKE,
        'alone=job.job_id if suspect else "",',
        'alone="suspect" if suspect else "",',
        _TAKEN,
    ),
    edit(
        "images-share-a-batch-with-texts",
        "a batch of texts costs and waits as its images do",
        INTAKE,
        "            images=images,\n        )",
        "        )",
        _TAKEN,
    ),
    edit(
        "options-are-known-by-their-names",
        "a request is answered by the threshold of its batch-mate",
        INTAKE,
        'return msgspec.json.encode(passed, order="sorted")',
        "return msgspec.json.encode(sorted(passed))",
        _TAKEN,
    ),
    edit(
        "requests-of-other-options-share-a-batch",
        "of two requests with a threshold each, both are answered by the first one's",
        INTAKE,
        "            options=_options_key(job.options),\n",
        '            options=b"",\n',
        _TAKEN,
    ),
    edit(
        "options-in-another-order-are-others",
        "the same requests of two clients never share a batch",
        INTAKE,
        'passed, order="sorted")',
        "passed)",
        _TAKEN,
    ),
    edit(
        "any-profile-of-a-revision",
        "a job of a profile that is not there is run by another one",
        INTAKE,
        "            or (job.model_id, job.profile) != (model.resolved.model_id, model"
        ".resolved.profile)\n",
        "",
        _TAKEN,
    ),
    edit(
        "an-adapter-is-at-hand",
        "a job runs before its adapter is looked for",
        INTAKE,
        "            or job.adapter is not None\n",
        "",
        _TAKEN,
    ),
    edit(
        "what-stood-apart-keeps-its-time",
        "a large job that was sent again is dropped as late",
        INTAKE,
        "job, published_at=short.published_at, deadline=short.deadline",
        "job",
        _TAKEN,
    ),
    edit(
        "an-item-that-cannot-run-is-forgotten",
        "a job with an item that cannot run never ends",
        INTAKE,
        "if not prepared.inputs or prepared.failures or self",
        "if not prepared.inputs or self",
        _TAKEN,
    ),
    edit(
        "a-loop-reads-what-stood-apart",
        "a megabyte of text holds up the loop that heartbeats come from",
        INTAKE,
        "return is_short(job, characters_max=self._limits.inline_characters_max)",
        "return job.v < 3 and not any(item.images for item in job.items)",
        _TAKEN,
    ),
    edit(
        "what-was-fetched-is-wanted",
        "a large job that came twice is run again when its answer is with the client",
        INTAKE,
        "if job is not None and not self._is_over(delivery, job):",
        "if job is not None:",
        (
            "tests/property/test_intake_laws.py::test_a_large_job_that_ends_while_it_is_fetched_again"
            "_is_not_run_again",
        ),
    ),
    edit(
        "a-letter-of-the-bundles-pool",
        "a failed job stands among the letters of a pool that it is not of",
        "data_plane/sie_worker/intake/letters.py",
        "pool=self._kind.pool,",
        "pool=self._kind.bundle,",
        (
            "tests/property/test_letter_laws.py::test_a_letter_tells_of_its_job_and_keeps_its_contents_only_where_that_is_wanted",
        ),
    ),
    edit(
        "a-letter-keeps-contents-unasked",
        "the texts of users are kept for weeks although nobody wanted it",
        "data_plane/sie_worker/intake/letters.py",
        "keep_payload=self._letters.settings.dead_letter_payloads",
        "keep_payload=True",
        (
            "tests/property/test_letter_laws.py::test_a_letter_tells_of_its_job_and_keeps_its_contents_only_where_that_is_wanted",
        ),
    ),
    edit(
        "a-letter-keeps-a-reference",
        "a letter says that it can be run again, and its contents are gone",
        "shared/schemas/sie_schemas/dead_letters.py",
        "is_whole = keep_payload and JOB_DECODER.decode(message).payload is None",
        "is_whole = keep_payload",
        (
            "tests/property/test_letter_laws.py::test_a_letter_tells_of_its_job_and_keeps_its_contents_only_where_that_is_wanted",
        ),
    ),
    edit(
        "a-letter-has-the-end-of-its-reason",
        "of a long error an operator reads the end of a trace, and not what happened",
        "shared/schemas/sie_schemas/dead_letters.py",
        "message=reason[:_TEXT_MAX]",
        "message=reason[-_TEXT_MAX:]",
        (
            "tests/property/test_letter_laws.py::test_a_letter_tells_of_its_job_and_keeps_its_contents_only_where_that_is_wanted",
        ),
    ),
    edit(
        "a-letter-is-named-by-its-job-alone",
        "who hears a job's id keeps its letter out by one of his own",
        "shared/runtime/sie_runtime/streams/dead_letters.py",
        'f"{reply_to} {letter.job_id}"',
        'f"{letter.job_id}"',
        (
            "tests/property/test_letter_laws.py::test_a_letter_tells_of_its_job_and_keeps_its_contents_only_where_that_is_wanted",
        ),
    ),
)
