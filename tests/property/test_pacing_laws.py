"""Laws of the pace: lanes wait as long as the latency target allows, and the device never does."""

from dataclasses import dataclass
from math import inf

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.support.schedulers import scheduler_with

from sie_schemas.ipc import TextInput
from sie_worker.scheduling.answer_rate import AnswerRate, MeanFill
from sie_worker.scheduling.batching import Scheduler
from sie_worker.scheduling.lanes import Batch, Lane, Limits, QueuedInput
from sie_worker.scheduling.pacing import Pace

ONE = Lane("rev-a", "default", "encode")
OTHER = Lane("rev-a", "default", "score")
HANDOVER_S = 0.002
SECONDS = st.floats(0.0, 10.0)
COSTS = st.integers(1, 5000)


@given(st.floats(0.05, 3.0), st.integers(0, 50), st.integers(1, 60))
def test_a_steady_rate_of_answers_is_told_and_silence_is_told_soon(step_s, each, looks):
    rate = AnswerRate()
    assert rate.look(7, 0.0) == 0.0
    for n in range(1, looks + 1):
        assert rate.look(7 + n * each, n * step_s) == pytest.approx(each / step_s)
    answered, now = 7 + looks * each, looks * step_s
    for second in range(1, 14):
        told = rate.look(answered, now + second)
    assert told == 0.0


@given(st.integers(1, 40), st.floats(0.0, 1.0), st.integers(1, 40))
def test_a_steady_fill_of_batches_is_told_and_an_idle_worker_tells_none(each, fill, looks):
    mean = MeanFill()
    assert mean.look(0, 0.0, 0.0) == 0.0
    for n in range(1, looks + 1):
        assert mean.look(n * each, n * each * fill, float(n)) == pytest.approx(fill)
    for second in range(1, 14):
        told = mean.look(looks * each, looks * each * fill, looks + float(second))
    assert told == 0.0


@given(st.floats(0.0, 2.0), st.floats(0.001, 2.0), st.lists(st.floats(0.0, 5.0), max_size=60))
def test_the_wait_shrinks_after_a_late_answer_and_grows_after_one_in_time_up_to_the_target(
    wait_s, target_s, latencies
):
    pace = Pace(wait_s, target_s)
    for latency_s in latencies:
        before = pace.wait_s
        pace.answered(latency_s)
        if latency_s > target_s:
            assert pace.wait_s == pytest.approx(before / 2)
        else:
            assert pace.wait_s == pytest.approx(min(target_s, before + target_s / 32))
        assert 0.0 <= pace.wait_s <= target_s


@given(st.floats(0.0, 2.0), st.lists(SECONDS, max_size=10))
def test_without_a_target_the_wait_stays_as_it_was_given(wait_s, latencies):
    pace = Pace(wait_s, None)
    for latency_s in latencies:
        pace.answered(latency_s)
    assert pace.wait_s == wait_s


@given(st.lists(st.tuples(COSTS, SECONDS), min_size=1, max_size=40), COSTS, COSTS)
@example([(100, 0.0), (1000, 10.0)], 1, 1)
def test_a_larger_batch_is_never_expected_to_end_sooner(seen, cost, more):
    pace = Pace(0.0, None)
    for of_cost, seconds in seen:
        pace.ran(of_cost, seconds)
    expected, larger = pace.expected_s(cost), pace.expected_s(cost + more)
    assert expected is not None
    assert larger is not None
    assert 0.0 <= expected <= larger * (1 + 1e-9) + 1e-9
    assert pace.price_s is not None
    assert pace.price_s >= 0.0


def test_where_one_size_was_seen_a_larger_batch_is_in_proportion_and_a_smaller_one_takes_as_long():
    pace = Pace(0.0, None)
    pace.ran(100, 1.0)

    assert [pace.expected_s(cost) for cost in (50, 100, 200)] == pytest.approx([1.0, 1.0, 2.0])
    assert pace.cost_within(3.0) == pytest.approx(300)


def test_where_a_batch_by_itself_costs_nothing_a_time_holds_what_it_holds():
    pace = Pace(0.0, 0.1)
    pace.ran(1, 1.0)
    pace.ran(100, 100.0)

    assert [pace.cost_within(seconds) for seconds in (0.5, 50.0)] == pytest.approx([0.5, 50.0])
    assert pace.cost_in_time == pytest.approx(0.1)


def test_batches_that_take_no_time_have_no_bound():
    pace = Pace(0.0, None)
    pace.ran(10, 0.0)
    assert pace.cost_within(1.0) == inf
    pace.ran(1000, 0.0)
    assert pace.cost_within(1.0) == inf


@given(st.floats(0.001, 1.0), st.floats(1e-5, 1e-2), st.permutations([16, 64, 300, 2000]), COSTS)
def test_a_device_with_a_price_for_a_batch_and_one_for_its_cost_is_known_after_four_batches(
    price_s, unit_s, costs, cost
):
    pace = Pace(0.0, None)
    for each in costs:
        pace.ran(each, price_s + unit_s * each)
    assert pace.expected_s(cost) == pytest.approx(price_s + unit_s * cost, rel=1e-6)
    # And after many more that are all alike.
    for _ in range(200):
        pace.ran(300, price_s + unit_s * 300)
    assert pace.price_s == pytest.approx(price_s, rel=1e-4, abs=1e-6)


@given(COSTS, st.floats(0.01, 1.0), st.integers(20, 100))
def test_of_a_size_about_the_last_ten_batches_count(cost, seconds, before):
    pace = Pace(0.0, None)
    for _ in range(before):
        pace.ran(cost, seconds)
    pace.ran(cost, 2 * seconds)
    first = pace.expected_s(cost)
    for _ in range(10):
        pace.ran(cost, 2 * seconds)
    later = pace.expected_s(cost)

    assert first is not None
    assert later is not None
    assert 1.09 * seconds <= first <= 1.12 * seconds
    assert 1.65 * seconds <= later <= 1.75 * seconds


def test_nothing_is_expected_before_the_first_batch_has_ended():
    assert Pace(0.0, None).expected_s(10) is None


@dataclass
class Handover:
    """A batch, and the state of the device when it was handed over."""

    batch: Batch
    at: float
    free_at: float
    full: bool


class SimulatedDevice:
    """A device whose batches cost what they cost, and a loop that does as `running` does."""

    def __init__(self, limits: Limits):
        self.limits = limits
        self.scheduler = scheduler_with(ahead_max=2, handover_s=HANDOVER_S)
        self.now = 0.0
        self.running: list[tuple[float, Batch]] = []
        """(end, batch), in order."""
        self.handovers: list[Handover] = []
        self.idle_with_work = 0.0
        self.holds = 0

    def serve(self, arrivals: list[tuple[float, int]]) -> None:
        """Run what comes, given as (pause before it, cost), until all of it has ended."""
        at = self.now
        for pause, cost in arrivals:
            at += pause
            self.run_until(at)
            self.holds += 1
            item = QueuedInput(self.holds, "r", 0, cost, inf, TextInput(""))
            self.scheduler.add(ONE, self.limits, [item], now=self.now)
        self.run_until(inf)

    def run_until(self, until: float) -> None:
        while True:
            self.hand_over()
            due = self.scheduler.wait_until(self.now)
            ends = self.running[0][0] if self.running else inf
            soonest = min(ends, inf if due is None else due, until)
            if soonest == inf:
                return
            if not self.running and self.scheduler.waiting:
                self.idle_with_work += soonest - self.now
            self.now = soonest
            if soonest == until:
                return
            if soonest == ends:
                self.scheduler.finished(self.running.pop(0)[1], self.now)

    def hand_over(self) -> None:
        while (batch := self.scheduler.next_batch(self.now)) is not None:
            free_at = self.running[-1][0] if self.running else self.now
            full = batch.fill == 1.0 or self.scheduler.waiting > 0
            self.handovers.append(Handover(batch, self.now, free_at, full))
            self.running.append((free_at + 0.01 + 0.001 * batch.cost, batch))


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.001, 0.004, 0.02, 0.3]), st.integers(1, 30)),
        min_size=20,
        max_size=80,
    ),
    st.sampled_from([None, 0.02, 0.5]),
)
@settings(deadline=None)
def test_the_next_batch_is_ready_before_the_device_is_free_and_no_sooner_than_it_must(
    arrivals, target_s
):
    limits = Limits(cost_max=64, items_max=16, wait_s=0.005, latency_s=target_s)
    device = SimulatedDevice(limits)
    # A batch alone, and a full one: from then on it is known how fast the device is.
    device.serve([(0.0, 1), (1.0, 64)])
    device.handovers.clear()
    device.serve([(1.0, 1), *arrivals])

    assert device.idle_with_work == 0.0
    assert sum(len(each.batch.inputs) for each in device.handovers) == len(arrivals) + 1
    for before, each in zip(device.handovers, device.handovers[1:], strict=False):
        early_s = each.free_at - each.at
        if not each.full:
            busy_s = each.free_at - before.at
            assert early_s <= HANDOVER_S + 0.1 * busy_s + 1e-6, "it could have waited to fill"
        # As long before as it takes to hand it over, if it was there by then.
        in_time = each.free_at - max(before.at, each.batch.arrived)
        assert early_s >= min(HANDOVER_S, in_time) - 1e-6, "the device waits for it"


def handed_over(scheduler: Scheduler, now: float) -> Lane:
    batch = scheduler.next_batch(now)
    assert batch is not None
    scheduler.finished(batch, now, answered=False)
    return batch.lane


def test_a_full_lane_goes_before_an_older_one_that_may_still_fill_and_not_before_one_that_waited():
    limits = Limits(cost_max=4, items_max=4, wait_s=1.0)
    for now, first in ((0.5, ONE), (1.5, OTHER)):
        scheduler = scheduler_with(ahead_max=1)
        scheduler.add(OTHER, limits, [QueuedInput(1, "r", 0, 1, inf, TextInput(""))], now=0.0)
        full = [QueuedInput(2, "s", index, 1, inf, TextInput("")) for index in range(4)]
        scheduler.add(ONE, limits, full, now=0.25)

        assert handed_over(scheduler, now) == first
        assert handed_over(scheduler, now) in {ONE, OTHER} - {first}


def test_lanes_of_one_profile_share_its_pace_also_when_they_were_empty_in_between():
    limits = Limits(cost_max=4, items_max=4, wait_s=0.1, latency_s=1.0)
    scheduler = scheduler_with(ahead_max=2)
    first, second = Lane("rev", "default", "encode", alone="1"), Lane("rev", "default", "encode")
    scheduler.add(first, limits, [QueuedInput(1, "r", 0, 1, inf, TextInput(""))], now=0.0)
    batch = scheduler.next_batch(0.0)
    assert batch is not None
    scheduler.finished(batch, 0.5)

    scheduler.add(second, limits, [QueuedInput(2, "r", 0, 1, inf, TextInput(""))], now=1.0)
    assert scheduler.next_batch(1.0) is not None
    scheduler.add(second, limits, [QueuedInput(3, "r", 0, 1, inf, TextInput(""))], now=1.0)
    # The batch that runs is expected to take 0.5 s, as the one of the other lane did.
    assert scheduler.wait_until(1.0) == pytest.approx(1.45)


@given(
    st.floats(0.001, 0.5),
    st.floats(1e-5, 1e-2),
    st.permutations([16, 64, 300, 2000]),
    st.floats(0.001, 5.0),
)
def test_what_fits_a_time_takes_that_time_or_its_price_is_half_of_it(
    price_s, unit_s, costs, seconds
):
    pace = Pace(0.0, None)
    assert pace.cost_within(seconds) == inf
    for each in costs:
        pace.ran(each, price_s + unit_s * each)
    expected = max((seconds - price_s) / unit_s, price_s / unit_s)
    assert pace.cost_within(seconds) == pytest.approx(expected, rel=1e-4, abs=1e-3)


@given(st.floats(0.001, 0.05), st.floats(1e-5, 1e-2), st.floats(0.01, 1.0), st.integers(1, 60))
@settings(deadline=None)
def test_a_batch_runs_no_longer_than_the_target_or_fifty_of_its_prices(
    price_s, unit_s, target_s, cost
):
    limits = Limits(cost_max=4096, items_max=256, wait_s=0.0, latency_s=target_s)
    scheduler, now = scheduler_with(ahead_max=1), 0.0

    def run() -> Batch | None:
        nonlocal now
        batch = scheduler.next_batch(now)
        if batch is not None:
            now += price_s + unit_s * batch.cost
            scheduler.finished(batch, now)
        return batch

    for known in (1, 100):
        scheduler.add(ONE, limits, [QueuedInput(0, "r", 0, known, inf, TextInput(""))], now=now)
        run()
    inputs = [QueuedInput(1, "r", index, cost, inf, TextInput("")) for index in range(500)]
    scheduler.add(ONE, limits, inputs, now=now)
    bound = (max(target_s, 50 * price_s) - price_s) / unit_s
    left = 500
    while (batch := run()) is not None:
        left -= len(batch.inputs)
        assert batch.cost <= min(bound * 1.001 + 1e-3, 4096) or len(batch.inputs) == 1
        assert (
            not left
            or batch.cost + cost > min(bound * 0.999 - 1e-3, 4096)
            or len(batch.inputs) == limits.items_max
        ), "as much as that allows"
    assert not left


def test_after_batches_of_one_size_a_flood_is_bounded_in_proportion():
    pace = Pace(0.0, 0.1)
    assert pace.cost_in_time == inf
    pace.ran(12, 0.0125)
    # The price may be all of a batch's time, or nothing of it: fifty such batches are safe.
    assert pace.cost_in_time == pytest.approx(50 * 12)
