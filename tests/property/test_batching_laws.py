"""Laws of the scheduler: whatever comes, in whatever order, nothing is lost and nothing starves."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from math import inf

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.support.schedulers import scheduler_with

from sie_schemas.ipc import TextInput
from sie_worker.scheduling.lanes import Batch, Lane, Limits, QueuedInput

LANES = [
    Lane("rev-a", "default", "encode"),
    Lane("rev-a", "default", "encode", labels=("x",)),
    Lane("rev-b", "default", "score"),
]
LIMITS = {
    LANES[0]: Limits(cost_max=10, items_max=4, wait_s=5.0),
    LANES[1]: Limits(cost_max=12, items_max=6, wait_s=1.0, latency_s=4.0, padded=True),
    LANES[2]: Limits(cost_max=20, items_max=8, wait_s=3.0, batch_invariant=False),
}
COSTS = st.lists(st.integers(1, 15), min_size=1, max_size=6)


def inputs_of(hold: int, request: str, costs: list[int], deadline: float) -> list[QueuedInput]:
    return [
        QueuedInput(hold, request, index, cost, deadline, TextInput(""))
        for index, cost in enumerate(costs)
    ]


def cost_of(inputs: Collection[QueuedInput], limits: Limits) -> int:
    costs = [item.cost for item in inputs]
    return max(costs) * len(costs) if limits.padded else sum(costs)


def longest_wait(limits: Limits) -> float:
    """The bound of the wait, wherever it has moved to."""
    return limits.latency_s or limits.wait_s


@dataclass
class Waiting:
    """An input that the machine has added, and when."""

    item: QueuedInput
    lane: Lane
    since: float


class SchedulerMachine(RuleBasedStateMachine):
    """A device loop, and a world that adds, cancels and lets time pass."""

    def __init__(self):
        super().__init__()
        self.scheduler = scheduler_with(ahead_max=2)
        self.now = 0.0
        self.holds = 0
        self.waiting: list[Waiting] = []
        """All that waits, in the order of its arrival."""
        self.out: list[Batch] = []
        self.absent: set[str] = set()
        """Revisions that are not on the device."""

    @rule(
        lane=st.sampled_from(LANES),
        costs=COSTS,
        request=st.integers(0, 3),
        patience=st.integers(1, 30),
    )
    def job_comes(self, lane, costs, request, patience):
        self.holds += 1
        items = inputs_of(self.holds, f"request-{request}", costs, self.now + patience)
        self.scheduler.add(lane, LIMITS[lane], items, now=self.now)
        self.waiting += [Waiting(item, lane, self.now) for item in items]

    @rule(seconds=st.sampled_from([0.5, 1.0, 2.5, 6.0]))
    def time_passes(self, seconds):
        self.now += seconds

    @rule(revision=st.sampled_from(["rev-a", "rev-b"]))
    def a_model_comes_or_goes(self, revision):
        self.absent ^= {revision}

    @rule()
    def device_asks(self):
        idle = not self.out
        due = self.scheduler.wait_until(self.now, absent=self.absent)
        batch = self.scheduler.next_batch(self.now, absent=self.absent)
        if batch is None:
            assert not (idle and self.runnable()), "an idle device gets work at once"
            assert due is None or due > self.now, "wait_until says when to ask"
            return
        assert due == self.now
        assert len(self.out) < 2
        self.out.append(batch)
        self.check(batch)

    def runnable(self) -> list[Waiting]:
        return [each for each in self.waiting if each.lane.model_revision not in self.absent]

    def check(self, batch: Batch) -> None:
        assert batch.lane.model_revision not in self.absent
        limits = LIMITS[batch.lane]
        in_lane = [entry for entry in self.waiting if entry.lane == batch.lane]
        taken = in_lane[: len(batch.inputs)]
        assert [entry.item for entry in taken] == list(batch.inputs), "in order, from the front"
        assert batch.cost == cost_of(batch.inputs, limits)
        assert batch.arrived == taken[0].since
        assert batch.cost <= limits.cost_max or len(batch.inputs) == 1
        alone = not limits.batch_invariant
        assert 1 <= len(batch.inputs) <= (1 if alone else limits.items_max)
        self.check_filled(batch, in_lane, limits)
        self.check_turn(batch, in_lane[0])
        self.waiting = [entry for entry in self.waiting if entry not in taken]

    def check_filled(self, batch: Batch, in_lane: list[Waiting], limits: Limits) -> None:
        if limits.latency_s is not None:
            # Time bounds it too (test_pacing_laws).
            return
        if len(in_lane) > len(batch.inputs) < limits.count_max:
            following = in_lane[len(batch.inputs)].item
            assert cost_of((*batch.inputs, following), limits) > limits.cost_max, (
                "a batch takes all that fits"
            )

    def check_turn(self, batch: Batch, first: Waiting) -> None:
        for entry in self.runnable():
            if entry.since + longest_wait(LIMITS[entry.lane]) <= self.now:
                assert entry.lane == batch.lane or entry.since >= first.since, (
                    "nothing younger overtakes what has waited"
                )
                break

    @precondition(lambda self: self.out)
    @rule(last=st.booleans(), answered=st.booleans())
    def batch_ends(self, last, answered):
        batch = self.out.pop(-1 if last else 0)
        self.scheduler.finished(batch, self.now, answered=answered)

    @rule(request=st.integers(0, 3))
    def client_leaves(self, request):
        dropped = self.scheduler.cancel(f"request-{request}")
        self.forget(dropped, lambda item: item.request_id == f"request-{request}")

    @rule()
    def deadlines_are_looked_at(self):
        dropped = self.scheduler.expire(self.now)
        self.forget(dropped, lambda item: item.deadline <= self.now)

    @precondition(lambda self: self.waiting)
    @rule()
    def a_hold_is_dropped(self):
        hold = self.waiting[0].item.hold
        self.forget(self.scheduler.drop_holds({hold}), lambda item: item.hold == hold)

    def forget(self, dropped: list[QueuedInput], unwanted: Callable[[QueuedInput], bool]) -> None:
        expected = [entry.item for entry in self.waiting if unwanted(entry.item)]
        assert Counter(dropped) == Counter(expected)
        self.waiting = [entry for entry in self.waiting if not unwanted(entry.item)]

    @invariant()
    def nothing_is_lost_or_doubled(self):
        assert self.scheduler.waiting == len(self.waiting)
        assert self.scheduler.batches_out == len(self.out)
        waiting = sum(entry.item.cost for entry in self.waiting)
        assert self.scheduler.cost_in_hand == waiting + sum(batch.cost for batch in self.out)
        since: dict[str, float] = {}
        for entry in self.waiting:
            since.setdefault(entry.lane.model_revision, entry.since)
        assert self.scheduler.oldest_by_revision() == since
        assert self.scheduler.revisions() == since.keys()
        oldest = min((entry.since for entry in self.waiting), default=self.now)
        assert self.scheduler.oldest_age(self.now) == self.now - oldest

    def teardown(self):
        self.absent.clear()
        while self.out:
            self.batch_ends(last=False, answered=True)
        while self.waiting:
            self.device_asks()
            self.batch_ends(last=False, answered=True)


TestScheduler = SchedulerMachine.TestCase
TestScheduler.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(
    jobs=st.lists(st.tuples(st.sampled_from(LANES), COSTS), min_size=1, max_size=12),
    chosen=st.integers(0, 11),
)
@settings(deadline=None)
def test_an_input_that_has_waited_leaves_before_more_batches_than_inputs_older_than_it(
    jobs, chosen
):
    assume(chosen < len(jobs))
    scheduler = scheduler_with(ahead_max=1)
    for hold, (lane, costs) in enumerate(jobs):
        scheduler.add(lane, LIMITS[lane], inputs_of(hold, "r", costs, inf), now=float(hold))
    older = sum(len(costs) for _, costs in jobs[:chosen])
    for batches in range(older + 1):
        # A flood of younger work, in every lane, after each batch.
        for lane in LANES:
            flood = inputs_of(1000, "flood", [1, 1], inf)
            scheduler.add(lane, LIMITS[lane], flood, now=100.0 + batches)
        batch = scheduler.next_batch(200.0)
        assert batch is not None
        scheduler.finished(batch, 200.0)
        if any(item.hold == chosen for item in batch.inputs):
            return
    raise AssertionError("it starved")


@given(
    jobs=st.lists(
        st.tuples(st.sampled_from(LANES), COSTS, st.integers(1, 20)), min_size=1, max_size=10
    ),
    looks=st.lists(st.integers(1, 25), min_size=1, max_size=5),
)
@settings(deadline=None)
def test_what_is_past_its_deadline_is_dropped_at_the_next_look_whatever_came_after_it(jobs, looks):
    scheduler = scheduler_with(ahead_max=1)
    due: dict[int, float] = {}
    for hold, (lane, costs, deadline) in enumerate(jobs):
        scheduler.add(lane, LIMITS[lane], inputs_of(hold, "r", costs, deadline), now=0.0)
        due[hold] = deadline
    for now in sorted(looks):
        dropped = {item.hold for item in scheduler.expire(now)}
        assert dropped == {hold for hold, deadline in due.items() if deadline <= now}
        due = {hold: deadline for hold, deadline in due.items() if deadline > now}


@given(st.lists(st.tuples(st.sampled_from(LANES), st.integers(0, 2), COSTS), max_size=15))
@settings(deadline=None)
def test_inputs_of_a_request_leave_each_lane_in_the_order_in_which_they_came(jobs):
    scheduler = scheduler_with(ahead_max=1)
    came: dict[tuple[Lane, str], list[tuple[int, int]]] = defaultdict(list)
    left: dict[tuple[Lane, str], list[tuple[int, int]]] = defaultdict(list)
    for hold, (lane, request, costs) in enumerate(jobs):
        items = inputs_of(hold, str(request), costs, inf)
        came[lane, str(request)] += [(item.hold, item.index) for item in items]
        scheduler.add(lane, LIMITS[lane], items, now=0.0)
    while (batch := scheduler.next_batch(0.0)) is not None:
        scheduler.finished(batch, 0.0)
        for item in batch.inputs:
            left[batch.lane, item.request_id].append((item.hold, item.index))

    assert left == came
