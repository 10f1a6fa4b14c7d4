"""Mutants of jobs in a worker's hands: holds, results, revisions.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["WORKER_JOBS_MUTANTS"]

HOLDS = "data_plane/sie_worker/jobs/holds.py"
HOLD_LAWS = "tests/property/test_hold_laws.py"
_LAWS = "tests/property/"
_IN_HAND = (
    f"{_LAWS}test_hold_laws.py::test_a_job_in_hand_goes_on_with_its_newest_delivery_and_a_settled"
    "_one_is_known",
)
_TOLD = (f"{_LAWS}test_hold_laws.py::test_a_result_says_whose_it_is_and_all_of_a_failure",)
WORLD = (
    "tests/property/test_simulated_requests.py::test_every_law_holds_in_every_seed_of_the_budget",
)
RESULTS = "data_plane/sie_worker/jobs/results.py"
STORIES = "tests/integration/test_worker_stories.py"
_DONE = (
    f"{_LAWS}test_delivery_laws.py::test_a_job_is_done_when_it_is_confirmed_or_late_whatever"
    "_becomes_of_its_mates",
)
_INBOXES = (
    f"{_LAWS}test_delivery_laws.py::test_each_result_of_a_batch_comes_to_its_own_inbox_once"
    "_whatever_fits_in_a_message",
)
REVISIONS = "data_plane/sie_worker/jobs/revisions.py"
_KNOWN = (
    f"{_LAWS}test_known_revision_laws.py::test_a_job_runs_at_the_very_revision_that_it_names_as"
    "_long_as_that_is_kept",
)

WORKER_JOBS_MUTANTS = (
    edit(
        "settled-job-runs-again",
        "a lost acknowledgement costs a second run",
        HOLDS,
        "return job_id in self._settled",
        "return False",
        (HOLD_LAWS,),
    ),
    edit(
        "job-in-hand-is-run-twice",
        "what comes again while it runs is run beside itself",
        HOLDS,
        "        known = self._by_job.get(job.job_id)\n        if known is not None:\n",
        "        known = self._by_job.get(job.job_id)\n        if known is not None and False:\n",
        (HOLD_LAWS,),
    ),
    edit(
        "older-delivery-is-acknowledged",
        "a job that was run comes again, and again",
        HOLDS,
        "            known.delivery = delivery\n",
        "",
        (HOLD_LAWS,),
    ),
    edit(
        "what-waits-for-a-gateway-is-not-extended",
        "a job whose gateway is away is run a second time beside the first",
        HOLDS,
        "if hold.arrived <= older_than:",
        "if hold.arrived <= older_than and not hold.is_ending:",
        _IN_HAND,
    ),
    edit(
        "answered-is-settled",
        "a worker that stops leaves before its last results were confirmed",
        HOLDS,
        "        if not self._by_number:\n            self.emptied.set()",
        "        if not self.open_items:\n            self.emptied.set()",
        _IN_HAND,
    ),
    edit(
        "each-job-begins-the-request",
        "the results of a large request say that each is its first part",
        HOLDS,
        "first_item=job.first_item,",
        "first_item=0,",
        _TOLD,
    ),
    edit(
        "a-failure-without-its-place",
        "a client is told that something is wrong, and not which option",
        HOLDS,
        "failure.retry_after_s, failure.field)",
        "failure.retry_after_s)",
        _TOLD,
    ),
    edit(
        "a-failed-item-may-fail-again",
        "a job ends although items of it have no outcome",
        "data_plane/sie_worker/jobs/holds.py",
        ("        if self._answers[index] is not None:\n            return False\n"),
        ("        if self._answers[index]:\n            return False\n"),
        (
            (
                "tests/property/test_hold_laws.py::test_an_item_keeps_its_first_outcome_a"
                "nd_is_counted_until_then"
            ),
        ),
    ),
    edit(
        "a-closed-job-frees-room-again",
        "a worker takes ever more jobs than it can run",
        "data_plane/sie_worker/jobs/holds.py",
        "if hold.settle_item(index, outcome) and hold.number in self._by_number:",
        "if hold.settle_item(index, outcome):",
        (
            (
                "tests/property/test_hold_laws.py::test_an_item_keeps_its_first_outcome_a"
                "nd_is_counted_until_then"
            ),
        ),
    ),
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
        "job-in-hand-is-held-twice",
        "a job that is handed out again while it is in hand is run a second time",
        HOLDS,
        "        if known is not None:\n            known.delivery",
        "        if known is not None and known.is_ending:\n            known.delivery",
        WORLD,
    ),
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
        "job-acknowledged-unconfirmed",
        "a gateway that was away for a second never gets its result",
        RESULTS,
        "            confirmed = receipt.job_ids if receipt is not None else ()\n",
        "            confirmed = list(unconfirmed)\n",
        (STORIES,),
    ),
    edit(
        "what-is-done-is-forgotten",
        "an acknowledgement that is lost costs a second run",
        RESULTS,
        "self._holds.close(holds, settled=True)\n        acknowledge",
        "self._holds.close(holds, settled=False)\n        acknowledge",
        _DONE,
    ),
    edit(
        "a-stranger-in-a-receipt",
        "a gateway that names a job twice, or another's, ends the worker",
        RESULTS,
        "for job_id in confirmed if job_id in unconfirmed]",
        "for job_id in confirmed]",
        _DONE,
    ),
    edit(
        "a-receipt-is-always-read",
        "one word of a gateway that cannot be read ends the worker",
        RESULTS,
        "except (SIEError, *MALFORMED):",
        "except SIEError:",
        _DONE,
    ),
    edit(
        "one-inbox-for-a-batch",
        "requests of two gateways in one batch: those of the second wait until they fail",
        RESULTS,
        "by_inbox.setdefault(each[0].job.reply_to, [])",
        "by_inbox.setdefault(ended[0][0].job.reply_to, [])",
        _INBOXES,
    ),
    edit(
        "the-middle-of-a-batch-is-lost",
        "where results are too long for one message, one of them is sent to nobody",
        RESULTS,
        "halves = (ended[:middle], ended[middle:])",
        "halves = (ended[:middle], ended[middle + 1 :])",
        _INBOXES,
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
        "job-runs-at-any-revision",
        "a job is run with the weights that the worker happens to have",
        REVISIONS,
        "            if found.revision == revision and found.model_id == model_id:\n",
        "            if found.model_id == model_id:\n",
        (STORIES,),
    ),
    edit(
        "a-model-that-left-was-never-there",
        "jobs that were stored before a model was deleted are refused, and not finished",
        REVISIONS,
        "                continue\n            if found.revision == revision and",
        "                return None\n            if found.revision == revision and",
        _KNOWN,
    ),
    edit(
        "acknowledged-before-it-is-closed",
        "a job that comes again at once goes on with a hold that ends",
        "data_plane/sie_worker/jobs/results.py",
        "        self._holds.close(holds, settled=True)\n"
        "        acknowledge([hold.delivery for hold in holds])",
        "        acknowledge([hold.delivery for hold in holds])\n"
        "        self._holds.close(holds, settled=True)",
        (
            "tests/property/test_delivery_laws.py::test_a_job_is_done_when_it_is_confirmed_or_late_whatever_becomes_of_its_mates",
        ),
    ),
    edit(
        "given-back-before-it-is-closed",
        "a job that comes again at once is taken for one in hand, and lost",
        "data_plane/sie_worker/jobs/results.py",
        "        self._holds.close(again, settled=False)\n"
        "        for hold in again:\n            hold.delivery.retry(delay_s)\n",
        "        for hold in again:\n"
        "            hold.delivery.retry(delay_s)\n"
        "        self._holds.close(again, settled=False)\n",
        (
            "tests/property/test_delivery_laws.py::test_what_is_given_back_goes_to_the_queue_and_its_last_delivery_to_the_client",
        ),
    ),
    edit(
        "a-chunk-without-room-counts",
        "the chunks of a large result go round and round a gateway that has no room",
        "data_plane/sie_worker/jobs/results.py",
        "if receipt is not None and receipt.chunk == index:",
        "if receipt is not None:",
        (
            "tests/property/test_delivery_laws.py::test_a_large_result_arrives_whole_though_its_gateway_begins_anew",
        ),
    ),
    edit(
        "a-large-answer-has-a-dead-letter",
        "a job whose answers are too many is buried as if it had failed for good",
        "data_plane/sie_worker/jobs/results.py",
        "                inbox, [(hold, hold.result(self._worker_id, error))], for_good=for_good\n",
        "                inbox, [(hold, hold.result(self._worker_id, error))], for_good=True\n",
        (
            "tests/property/test_delivery_laws.py::test_a_result_that_just_fits_in_chunks_arrives_and_one_byte_more_is_too_large",
        ),
    ),
)
