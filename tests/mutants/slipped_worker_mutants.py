"""Slips planted in the worker and the SDK.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["SLIPPED_WORKER_MUTANTS"]

SLIPPED_WORKER_MUTANTS = (
    edit(
        "failed-job-keeps-item-failures",
        "a job that failed as a whole also names items, as if the others had answers",
        "data_plane/sie_worker/jobs/holds.py",
        "item_failures=() if failed else self._failures_in_order(),",
        "item_failures=self._failures_in_order(),",
        ("tests/property/test_hold_laws.py::test_a_job_that_failed_as_a_whole_tells_that_alone",),
    ),
    edit(
        "queue-time-of-last-batch",
        "a large job tells the wait of its last batch as that of the queue",
        "data_plane/sie_worker/jobs/holds.py",
        "        if self.queue_ms is None:\n            waited_ms",
        "        if True:\n            waited_ms",
        (
            (
                "tests/property/test_hold_laws.py::test_a_job_waited_in_the_queue_until"
                "_its_first_batch_began"
            ),
        ),
    ),
    edit(
        "newest-settled-forgotten",
        "what was just answered is run again where its acknowledgement is lost",
        "data_plane/sie_worker/jobs/holds.py",
        "self._settled.popitem(last=False)",
        "self._settled.popitem(last=True)",
        (
            (
                "tests/property/test_hold_laws.py::test_the_jobs_that_were_settled_last"
                "_are_known_and_no_more"
            ),
        ),
    ),
    edit(
        "deadline-from-arrival",
        "a job that waited in the queue is computed after its client left",
        "data_plane/sie_worker/jobs/holds.py",
        "self.deadline = now + job.deadline - job.published_at - age_s",
        "self.deadline = now + job.deadline - job.published_at",
        (
            (
                "tests/property/test_hold_laws.py::test_a_job_is_late_by_its_age_and_its_length"
                "_and_by_no_hosts_clock"
            ),
        ),
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
        "one-late-drops-all",
        "one client's deadline throws away the answers of those in its batch",
        "data_plane/sie_worker/jobs/results.py",
        "late = [job for job, (hold, _) in unconfirmed.items() if hold.deadline <= now]",
        (
            "late = list(unconfirmed) if any(h.deadline <= now for h, _ in "
            "unconfirmed.values()) else []"
        ),
        (
            (
                "tests/property/test_delivery_laws.py::test_a_job_is_done_when_it_is_co"
                "nfirmed_or_late_whatever_becomes_of_its_mates"
            ),
        ),
    ),
    edit(
        "confirmed-are-sent-again",
        "each unconfirmed result brings the confirmed ones along for ever",
        "data_plane/sie_worker/jobs/results.py",
        "            message = self._message(result for _, result in unconfirmed.values())",
        "            message = message",
        (
            (
                "tests/property/test_delivery_laws.py::test_a_job_is_done_when_it_is_co"
                "nfirmed_or_late_whatever_becomes_of_its_mates"
            ),
        ),
    ),
    edit(
        "chunks-end-at-the-last",
        "a large answer is lost where its gateway began anew",
        "data_plane/sie_worker/jobs/results.py",
        "index = (index + 1) % len(chunks)",
        "index = min(index + 1, len(chunks) - 1)",
        (
            (
                "tests/property/test_delivery_laws.py::test_a_large_result_arrives_whol"
                "e_though_its_gateway_begins_anew"
            ),
        ),
    ),
    edit(
        "innocent-blamed",
        "who was in no lost batch is told that its input failed",
        "data_plane/sie_worker/jobs/results.py",
        "        if blamed:\n",
        "        if not blamed:\n",
        (
            (
                "tests/property/test_delivery_laws.py::test_who_was_in_a_lost_batch_is_"
                "told_that_it_was_tried_to_the_end"
            ),
        ),
    ),
    edit(
        "term-before-letter",
        "a worker that ends at the wrong moment leaves no trace of a job",
        "data_plane/sie_worker/jobs/results.py",
        (
            "            await self._bury(hold, result)\n            "
            "self._holds.close([hold], settled=True)\n            hold.delivery.terminate()"
        ),
        (
            "            hold.delivery.terminate()\n            self._holds.close([hold], "
            "settled=True)\n            await self._bury(hold, result)"
        ),
        (
            (
                "tests/property/test_delivery_laws.py::test_what_is_given_back_goes_to_"
                "the_queue_and_its_last_delivery_to_the_client"
            ),
        ),
    ),
    edit(
        "last-delivery-goes-back",
        "a client hears nothing of a job that used up its deliveries",
        "data_plane/sie_worker/jobs/results.py",
        "again = [hold for hold in ending if not hold.delivery.last_delivery]",
        "again = list(ending)",
        (
            (
                "tests/property/test_delivery_laws.py::test_what_is_given_back_goes_to_"
                "the_queue_and_its_last_delivery_to_the_client"
            ),
        ),
    ),
    edit(
        "pin-is-not-renewed",
        "a model that the pool pins now leaves like any other",
        "data_plane/sie_worker/execution/models.py",
        "if found is not None and found.pinned == self._pinned(resolved):",
        "if found is not None:",
        (
            (
                "tests/property/test_loaded_model_laws.py::test_what_is_taken_for_loade"
                "d_is_what_the_process_has"
            ),
        ),
    ),
    edit(
        "adapters-outlive-their-model",
        "a model that came back is asked for adapters that it has not",
        "data_plane/sie_worker/execution/models.py",
        (
            "        gone = self._loaded.pop(revision, None)\n        self._adapters = "
            "{key for key in self._adapters if key[0] != revision}"
        ),
        "        gone = self._loaded.pop(revision, None)",
        (
            (
                "tests/property/test_loaded_model_laws.py::test_what_is_taken_for_loade"
                "d_is_what_the_process_has"
            ),
        ),
    ),
    edit(
        "refused-adapter-stays-told",
        "an adapter that loads counts as failed for ever",
        "data_plane/sie_worker/execution/models.py",
        (
            "            if self._reports.pop(_adapter_name(model.resolved, pin), None) is "
            "not None:\n                self._on_change()"
        ),
        "            pass",
        (
            (
                "tests/property/test_loaded_model_laws.py::test_what_is_taken_for_loade"
                "d_is_what_the_process_has"
            ),
        ),
    ),
    edit(
        "left-in-use-forgotten",
        "jobs of a model in use wait for it, because others have left since",
        "data_plane/sie_worker/execution/models.py",
        (
            "        if found is None and (found := self._left.pop(revision, None)) is not "
            "None:\n            self._left[revision] = found\n        return found"
        ),
        "        return found if found is not None else self._left.get(revision)",
        (
            (
                "tests/property/test_loaded_model_laws.py::test_of_the_models_that_left"
                "_those_asked_for_last_are_known"
            ),
        ),
    ),
    edit(
        "turn-ends-while-somebody-waits",
        "after a load that failed, two loads of one model run at once",
        "data_plane/sie_worker/execution/models.py",
        "            if not turn.demands:\n                del self._turns[key]",
        "            self._turns.pop(key, None)",
        (
            (
                "tests/property/test_loaded_model_laws.py::test_loads_of_one_revision_a"
                "re_one_after_the_other_whatever_became_of_the_first"
            ),
        ),
    ),
    edit(
        "pool-of-the-client-wins",
        "a call that names its pool runs in the client's",
        "sdk/sie_sdk/exchange.py",
        'told.get("pool") or defaults.pool)',
        'defaults.pool or told.get("pool"))',
        (
            (
                "tests/property/test_sdk_call_laws.py::test_what_a_call_says_of_its_pla"
                "ce_and_patience_goes_before_all_else"
            ),
        ),
    ),
    edit(
        "oom-zero-is-usual",
        "who wants no further try waits for three",
        "sdk/sie_sdk/exchange.py",
        "oom_retries_max=usual.oom_retries_max if oom_retries is None else oom_retries,",
        "oom_retries_max=oom_retries or usual.oom_retries_max,",
        (
            (
                "tests/property/test_sdk_call_laws.py::test_what_a_call_says_of_its_pla"
                "ce_and_patience_goes_before_all_else"
            ),
        ),
    ),
    edit(
        "timeout-zero-is-usual",
        "who does not want to wait waits for a quarter of an hour",
        "sdk/sie_sdk/exchange.py",
        "usual.provision_timeout_s if timeout_s is None else timeout_s,",
        "timeout_s or usual.provision_timeout_s,",
        (
            (
                "tests/property/test_sdk_call_laws.py::test_what_a_call_says_of_its_pla"
                "ce_and_patience_goes_before_all_else"
            ),
        ),
    ),
    edit(
        "empty-key-of-the-environment",
        "a key of the environment goes to a cluster that was to have none",
        "sdk/sie_sdk/exchange.py",
        'key = environ.get("SIE_API_KEY") if api_key is None else api_key',
        'key = api_key or environ.get("SIE_API_KEY")',
        (
            (
                "tests/property/test_sdk_call_laws.py::test_a_key_that_is_given_is_the_"
                "one_that_is_sent_also_where_it_is_none"
            ),
        ),
    ),
    edit(
        "lora-id-unasked",
        "an error does not name the adapter that was asked for",
        "sdk/sie_sdk/exchange.py",
        '"lora": options.get("lora") or options.get("lora_id"),',
        '"lora": options.get("lora"),',
        (
            (
                "tests/property/test_sdk_call_laws.py::test_what_a_call_says_of_its_pla"
                "ce_and_patience_goes_before_all_else"
            ),
        ),
    ),
)
