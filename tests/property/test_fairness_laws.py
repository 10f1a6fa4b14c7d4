"""Laws of the tenants' turns: one tenant's flood is nobody else's wait."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.support.schedulers import scheduler_with

from sie_schemas.ipc import TextInput
from sie_worker.scheduling.batching import Scheduler
from sie_worker.scheduling.fairness import Senders, Turns
from sie_worker.scheduling.lanes import Batch, Lane, Limits, QueuedInput

QUANTUM = 20
COST_MAX = 40
ONE = Lane("rev-a", "default", "encode")
TWO = Lane("rev-b", "default", "score")
LIMITS = Limits(cost_max=COST_MAX, items_max=8, wait_s=0.0)
COST = st.integers(1, 15)
JOBS = st.lists(
    st.tuples(st.sampled_from([ONE, TWO]), st.sampled_from(["a", "b", "c"]), st.lists(COST)),
    max_size=25,
)


def item(tenant: str, cost: int, number: int) -> QueuedInput:
    return QueuedInput(number, f"r{number}", 0, cost, inf, TextInput(""), tenant)


def next_batch(scheduler: Scheduler) -> Batch:
    batch = scheduler.next_batch(0.0)
    assert batch is not None
    scheduler.finished(batch, 0.0)
    return batch


@given(
    st.lists(COST, min_size=60, max_size=60),
    st.lists(COST, min_size=60, max_size=60),
    st.integers(0, 5),
)
@settings(deadline=None)
def test_two_tenants_of_one_lane_are_served_alike_however_late_the_second_came(
    first, second, alone
):
    scheduler = scheduler_with(ahead_max=1, tenant_quantum=QUANTUM)
    flood = [item("a", cost, number) for number, cost in enumerate(first)]
    late = [item("b", cost, 100 + number) for number, cost in enumerate(second)]
    scheduler.add(ONE, LIMITS, flood, now=0.0)
    # What a tenant took while it was alone it owes to nobody.
    before = sum(len(next_batch(scheduler).inputs) for _ in range(alone))
    scheduler.add(ONE, LIMITS, late, now=1.0)
    served: Counter[str] = Counter()
    left = {"a": len(first) - before, "b": len(second)}
    while True:
        for taken in next_batch(scheduler).inputs:
            served[taken.tenant] += taken.cost
            left[taken.tenant] -= 1
            assert abs(served["a"] - served["b"]) <= 2 * QUANTUM + 2 * 15
            if not all(left.values()):
                return


@given(st.lists(COST, min_size=80, max_size=80), st.integers(1, 40))
@settings(deadline=None)
def test_a_flood_in_one_lane_holds_up_another_tenants_lane_by_two_quanta_and_a_batch_at_most(
    costs, batches
):
    scheduler = scheduler_with(ahead_max=1, tenant_quantum=QUANTUM)
    flood = [item("a", cost, number) for number, cost in enumerate(costs)]
    scheduler.add(ONE, LIMITS, flood, now=0.0)
    for _ in range(min(batches, len(costs) // 20)):
        next_batch(scheduler)
    scheduler.add(TWO, LIMITS, [item("b", 5, 1000)], now=9.0)
    before = 0
    while (batch := next_batch(scheduler)).lane != TWO:
        before += batch.cost
    assert before <= 2 * QUANTUM + COST_MAX


@given(st.lists(st.tuples(st.sampled_from([ONE, TWO]), st.lists(COST)), max_size=15), st.text())
@settings(deadline=None)
def test_a_tenant_that_is_alone_is_served_as_if_there_were_no_turns(jobs, tenant):
    """The oldest head's lane goes first, in order, as it does for the nameless tenant."""
    alone = scheduler_with(ahead_max=1, tenant_quantum=1)
    expected: list[int] = []
    number = 0
    queues: dict[Lane, list[QueuedInput]] = defaultdict(list)
    for lane, costs in jobs:
        items = [item(tenant, cost, number + index) for index, cost in enumerate(costs)]
        number += len(items)
        alone.add(lane, LIMITS, items, now=0.0)
        queues[lane] += items
    while any(queues.values()):
        lane = min((each for each in queues if queues[each]), key=lambda each: queues[each][0].hold)
        batch = next_batch(alone)
        assert batch.lane == lane
        count = len(batch.inputs)
        assert list(batch.inputs) == queues[lane][:count]
        expected += [each.hold for each in batch.inputs]
        del queues[lane][:count]
    assert sorted(expected) == list(range(number))


@given(JOBS, st.sampled_from(["a", "b", "c"]), st.data())
@settings(deadline=None)
def test_nothing_is_lost_and_each_tenants_inputs_leave_a_lane_in_order_also_after_a_cancel(
    jobs, tenant, data
):
    scheduler = scheduler_with(ahead_max=1, tenant_quantum=QUANTUM)
    came: dict[tuple[Lane, str], list[int]] = defaultdict(list)
    number = 0
    for lane, owner, costs in jobs:
        items = [item(owner, cost, number + index) for index, cost in enumerate(costs)]
        number += len(items)
        came[lane, owner] += [each.hold for each in items]
        scheduler.add(lane, LIMITS, items, now=0.0)
    if number:
        gone = data.draw(st.integers(0, number - 1))
        assert [each.hold for each in scheduler.cancel(f"r{gone}")] == [gone]
        for holds in came.values():
            if gone in holds:
                holds.remove(gone)
    left: dict[tuple[Lane, str], list[int]] = defaultdict(list)
    while scheduler.waiting:
        batch = next_batch(scheduler)
        for each in batch.inputs:
            left[batch.lane, each.tenant].append(each.hold)
    assert dict(left) == {key: holds for key, holds in came.items() if holds}


ENDS = st.lists(st.sampled_from(["runs", "is cancelled", "is dropped", "is late"]), max_size=8)


def put(scheduler: Scheduler, jobs: Sequence[tuple[Lane, str, list[int]]], deadline: float) -> None:
    number = 0
    for lane, owner, costs in jobs:
        items = [
            replace(item(owner, cost, number + at), deadline=deadline)
            for at, cost in enumerate(costs)
        ]
        number += len(items)
        scheduler.add(lane, LIMITS, items, now=0.0)


def leave(scheduler: Scheduler, how: str) -> None:
    holds = scheduler.holds()
    if how == "is cancelled":
        scheduler.cancel(f"r{min(holds)}")
    elif how == "is dropped":
        scheduler.drop_holds({max(holds)})
    elif how == "is late":
        scheduler.expire(5.0)
    else:
        next_batch(scheduler)


@given(before=JOBS, ends=ENDS, jobs=JOBS)
@settings(deadline=None)
def test_who_has_nothing_waiting_any_more_weighs_nothing_however_it_left(before, ends, jobs):
    """A name that stays among those who wait makes others pay for turns that nobody takes."""
    used, fresh = (scheduler_with(ahead_max=1, tenant_quantum=QUANTUM) for _ in range(2))
    put(used, before, deadline=5.0)
    for how in [*ends, "is late"]:
        if used.waiting:
            leave(used, how)
    assert not used.waiting
    put(used, jobs, deadline=inf)
    put(fresh, jobs, deadline=inf)
    while fresh.waiting:
        assert next_batch(used).inputs == next_batch(fresh).inputs
    assert not used.waiting


@given(
    price_s=st.floats(0.001, 0.02),
    unit_s=st.floats(0.0005, 0.004),
    flood=st.lists(COST, min_size=150, max_size=150),
)
@settings(deadline=None, max_examples=40)
def test_while_several_send_a_small_tenant_waits_for_the_rest_of_one_short_batch(
    price_s, unit_s, flood
):
    slice_s = 0.05
    limits = Limits(cost_max=1000, items_max=100, wait_s=0.0)
    scheduler = scheduler_with(tenant_quantum=QUANTUM, slice_s=slice_s)
    now = 0.0
    # What a batch takes is known from before, when one tenant was alone: nothing was cut then.
    for number, size in enumerate((1, 20)):
        scheduler.add(
            ONE, limits, [item("flood", 9, 1000 * number + n) for n in range(size)], now=0
        )
        batch = scheduler.next_batch(now)
        assert batch is not None
        assert len(batch.inputs) == size
        now += price_s + unit_s * batch.cost
        scheduler.finished(batch, now)
    scheduler.add(ONE, limits, [item("flood", cost, n) for n, cost in enumerate(flood)], now=now)
    scheduler.add(ONE, limits, [item("small", 9, 5000)], now=now)
    for number in range(4):
        running = scheduler.next_batch(now)
        assert running is not None
        assert scheduler.next_batch(now) is None, "none is ready behind it"
        took_s = price_s + unit_s * running.cost
        assert took_s <= max(slice_s, 2 * price_s, price_s + unit_s * 15) * 1.01
        scheduler.add(ONE, limits, [item("small", 9, 6000 + number)], now=now)
        now += took_s
        scheduler.finished(running, now)
    # Long after the small one left, the flood's batches are whole again.
    scheduler.drop_holds({hold for hold in scheduler.holds() if 5000 <= hold < 7000})
    more = [item("flood", 9, 7000 + n) for n in range(100)]
    scheduler.add(ONE, limits, more, now=now + 60)
    batch = scheduler.next_batch(now + 60)
    assert batch is not None
    assert len(batch.inputs) > 50 or batch.cost > 900


SENT = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 12)), max_size=12)


@given(SENT, st.integers(0, 25))
def test_several_send_where_more_than_one_did_within_ten_seconds(sent, later):
    senders, now = Senders(), 1000
    last: dict[str, int] = {}
    for tenant, pause in sent:
        now += pause
        senders.sent(tenant, now)
        last[tenant] = now
    now += later

    assert senders.several(now) == (sum(now - at <= 10 for at in last.values()) > 1)


@pytest.mark.parametrize(("now", "several"), [(10.0, True), (10.01, False)])
def test_who_sent_ten_seconds_ago_still_counts_and_nobody_longer(now, several):
    senders = Senders()
    senders.sent("a", 0.0)
    senders.sent("b", 5.0)

    assert senders.several(now) is several


WAITING = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.integers(1, 15)), max_size=40
)


@given(st.integers(1, 20), WAITING)
def test_turns_are_a_ring_in_which_who_could_not_pay_gets_a_quantum_and_goes_to_the_end(
    quantum, steps
):
    turns = Turns(quantum=quantum)
    ring: list[str] = []
    saved: dict[str, int] = {}
    waiting: Counter[str] = Counter()
    for tenant, joins, cost in steps:
        if joins:
            turns.joined(tenant, joins)
            if tenant not in ring:
                ring.append(tenant)
                saved[tenant] = 0
            waiting[tenant] += joins
        if not ring:
            continue
        heads = dict.fromkeys(ring, cost)
        if len(ring) > 1:
            while saved[ring[0]] < cost:
                saved[ring[0]] += quantum
                ring.append(ring.pop(0))
        chosen = ring[0]
        assert turns.pick(heads) == chosen
        turns.served(chosen, cost)
        saved[chosen] = saved[chosen] - cost if len(ring) > 1 else 0
        turns.left(chosen, 1)
        waiting[chosen] -= 1
        if not waiting[chosen]:
            ring.remove(chosen)
            del saved[chosen]


def test_a_tenant_that_could_not_go_keeps_its_place_and_what_it_saved():
    turns = Turns(quantum=5)
    for tenant in "ab":
        turns.joined(tenant, 9)

    assert turns.pick({"b": 50}) == "b", "one that could goes, whatever it costs"
    assert turns.pick({"a": 5, "b": 5}) == "a"


def test_a_quantum_is_at_least_one():
    with pytest.raises(ValueError, match="at least 1"):
        Turns(quantum=0)
