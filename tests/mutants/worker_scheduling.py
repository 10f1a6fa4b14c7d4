"""Mutants of a worker's scheduling: batches, lanes, fairness, pace.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["WORKER_SCHEDULING_MUTANTS"]

_LAWS = "tests/property/"
_EMPTY = (
    f"{_LAWS}test_fairness_laws.py::test_who_has_nothing_waiting_any_more_weighs_nothing_however"
    "_it_left",
)
_BATCHING = "data_plane/sie_worker/scheduling/batching.py"
_READY = (
    f"{_LAWS}test_pacing_laws.py::test_the_next_batch_is_ready_before_the_device_is_free_and_no"
    "_sooner_than_it_must",
)
_FLOOD = (
    "tests/property/test_device_laws.py::test_a_flood_of_bad_texts_leaves_their_turns_to_others",
)
WORLD = (
    "tests/property/test_simulated_requests.py::test_every_law_holds_in_every_seed_of_the_budget",
)
FAIRNESS = "data_plane/sie_worker/scheduling/fairness.py"
LANES = "data_plane/sie_worker/scheduling/lanes.py"

WORKER_SCHEDULING_MUTANTS = (
    edit(
        "who-was-served-stays-in-the-ring",
        "names that nobody sends under any more are kept for ever, and others pay for their turns",
        _BATCHING,
        "            self._turns.left(tenant, 1)\n",
        "",
        _EMPTY,
    ),
    edit(
        "who-left-stays-in-the-ring",
        "a tenant whose clients hang up makes each other one pay for its turns",
        _BATCHING,
        "                self._turns.left(item.tenant, 1)\n",
        "                pass\n",
        _EMPTY,
    ),
    edit(
        "handed-over-when-it-is-late",
        "the device stands still between two batches while there is work",
        _BATCHING,
        "return free_at - self._handover_s",
        "return free_at + self._handover_s",
        _READY,
    ),
    edit(
        "a-part-that-is-left-shares-its-batch",
        "bad inputs that are left for another turn have those who come meanwhile run again",
        _BATCHING,
        'replace(batch.lane, alone=f"{part[0].hold} {part[0].index}")',
        "replace(batch.lane)",
        _FLOOD,
    ),
    edit(
        "cancel-frees-anothers-jobs",
        "a client that hangs up takes the requests of others along",
        _BATCHING,
        "self._drop(lambda item: item.request_id == request_id)",
        "self._drop(lambda item: item.request_id[:2] == request_id[:2])",
        WORLD,
    ),
    edit(
        "cancelled-is-run-all-the-same",
        "the device works for clients that have left",
        _BATCHING,
        "self._drop(lambda item: item.request_id == request_id)",
        "self._drop(lambda item: not item.request_id)",
        ("tests/property/test_batching_laws.py",),
    ),
    edit(
        "full-lanes-first-whatever-waits",
        "beside a crowd, a lane with little in it is not served",
        _BATCHING,
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
        "youngest-lane-first",
        "under load a lane with little in it is never served",
        _BATCHING,
        "(unripe, sequence) < best[tenant][:2]",
        "(unripe, sequence) > best[tenant][:2]",
        ("tests/property/test_batching_laws.py",),
    ),
    edit(
        "padded-batch-is-counted-as-packed",
        "a model that runs padded gets batches that do not fit the device",
        _BATCHING,
        "cost = longest * (len(taken) + 1) if limits.padded else total + item.cost",
        "cost = total + item.cost",
        ("tests/property/test_batching_laws.py",),
    ),
    edit(
        "deadlines-are-looked-at-by-the-latest",
        "inputs whose clients gave up are computed while others wait",
        _BATCHING,
        "self._earliest_deadline = min(self._earliest_deadline, item.deadline)",
        "self._earliest_deadline = item.deadline",
        ("tests/property/test_batching_laws.py",),
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
        "absent-tenant-saves-up",
        "a tenant that comes back after a while holds up everybody",
        "data_plane/sie_worker/scheduling/fairness.py",
        "if len(self._ring) > 1 else 0",
        "",
        ("tests/property/test_fairness_laws.py",),
    ),
    edit(
        "batch-mates-change-an-answer",
        "a model whose answers depend on its batch is run in one",
        "data_plane/sie_worker/scheduling/lanes.py",
        "return self.items_max if self.batch_invariant else 1",
        "return self.items_max",
        ("tests/property/test_batching_laws.py",),
    ),
    edit(
        "dropped-inputs-cost",
        "after enough cancellations every lane counts as full",
        LANES,
        "        self.cost -= sum(item.cost for item in gone)\n",
        "",
        ("tests/property/test_fairness_laws.py", "tests/property/test_batching_laws.py"),
    ),
    edit(
        "wait-grows-past-its-target",
        "a quiet lane answers later than its profile says",
        "data_plane/sie_worker/scheduling/pacing.py",
        "self._wait_s = min(self._latency_s, self._wait_s + _GROW * self._latency_s)",
        "self._wait_s += _GROW * self._latency_s",
        ("tests/property/test_pacing_laws.py",),
    ),
    edit(
        "full-worker-pulls-one-more",
        "jobs that another worker could run lie with one that is full",
        "data_plane/sie_worker/scheduling/window.py",
        "return max(1, int(room / max(1.0, self._items_per_job))) if room > 0 else 0",
        "return max(1, int(room / max(1.0, self._items_per_job)))",
        ("tests/unit/test_worker_corners.py",),
    ),
    edit(
        "the-earliest-answer-is-followed",
        "a client that left for good is waited for as long as others come",
        "data_plane/sie_worker/scheduling/returning.py",
        "seen.away.pop())",
        "seen.away.popleft())",
        (
            f"{_LAWS}test_gathering_laws.py::test_who_left_is_not_expected_while_all_that_stay_are"
            "_here",
        ),
    ),
    edit(
        "the-newest-way-is-forgotten",
        "beyond a thousand models no new one gathers its batches",
        "data_plane/sie_worker/scheduling/returning.py",
        "del self._seen[next(iter(self._seen))]",
        "self._seen.popitem()",
        (
            "tests/property/test_gathering_laws.py::test_of_too_many_ways_the_one_is_forgotten_that_was_answered_longest_ago",
        ),
    ),
    edit(
        "a-way-keeps-its-first-place",
        "the busiest model of a worker is the first that is forgotten",
        "data_plane/sie_worker/scheduling/returning.py",
        "seen = self._seen.pop(way, None) or _Seen()",
        "seen = self._seen.get(way) or _Seen()",
        (
            "tests/property/test_gathering_laws.py::test_of_too_many_ways_the_one_is_forgotten_that_was_answered_longest_ago",
        ),
    ),
)
