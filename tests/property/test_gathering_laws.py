"""Laws of gathering: a free device waits a little for who comes back soon, and for nobody else."""

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle
from math import inf

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.support.schedulers import scheduler_with

from sie_schemas.ipc import TextInput
from sie_worker.scheduling.gathering import Gathering
from sie_worker.scheduling.lanes import Batch, Lane, Limits, QueuedInput
from sie_worker.scheduling.returning import Returns

LANE = Lane("rev", "default", "encode")
LIMITS = Limits(cost_max=4096, items_max=256, wait_s=0.005, latency_s=0.1)
PRICE_S = 0.008
UNIT_S = 0.0003
TEXT = 12
SLACK_S = 1e-6


class Crowd:
    """Devices, and clients that send again when they are answered, after a time of their own."""

    def __init__(self, devices: int, *, gathers: bool = True):
        gathering = Gathering() if gathers else None
        self.schedulers = [scheduler_with(gathering=gathering) for _ in range(devices)]
        self.running: list[deque[tuple[float, Batch]]] = [deque() for _ in range(devices)]
        self.free_at = [0.0] * devices
        self.now = 0.0
        self.coming: list[tuple[float, int]] = []
        """The time of each client's next input."""
        self.served: set[int] = set()
        """The clients of whom something waits or runs."""
        self.batches: list[int] = []
        self.waits: list[float] = []
        """The seconds that a free device left its inputs waiting, for each batch."""
        self.waits_known: list[float] = []
        """Those of devices that had run small and large batches, and so could know the price."""
        self.sizes: list[set[int]] = [set() for _ in range(devices)]

    def run(self, clients: int, after_s: Callable[[], float], seconds: float) -> None:
        """Let so many clients in, at once, and run; then they leave as they are answered."""
        until = self.now + seconds
        for client in range(clients):
            heapq.heappush(self.coming, (self.now, client))
        while self.coming or self.served:
            for client in self.step():
                if self.now < until:
                    heapq.heappush(self.coming, (self.now + after_s(), client))

    def step(self) -> Sequence[int]:
        """Go on to what happens next; the clients that are answered then."""
        for place, scheduler in enumerate(self.schedulers):
            while (batch := scheduler.next_batch(self.now)) is not None:
                self.hand_over(place, batch)
        ends, place = min(
            (each[0][0] if each else inf, place) for place, each in enumerate(self.running)
        )
        due = [each.wait_until(self.now) for each in self.schedulers]
        comes = self.coming[0][0] if self.coming else inf
        self.now = min(ends, comes, *(each for each in due if each is not None))
        if self.now == ends:
            batch = self.running[place].popleft()[1]
            self.schedulers[place].finished(batch, self.now)
            self.sizes[place].add(len(batch.inputs))
            answered = [item.hold for item in batch.inputs]
            self.served -= set(answered)
            return answered
        if self.now == comes:
            self.come(heapq.heappop(self.coming)[1])
        return ()

    def come(self, client: int) -> None:
        self.served.add(client)
        device = min(self.schedulers, key=lambda each: each.cost_in_hand)
        item = QueuedInput(client, "r", 0, TEXT, inf, TextInput(""))
        device.add(LANE, LIMITS, [item], now=self.now)

    def hand_over(self, place: int, batch: Batch) -> None:
        began = max(self.now, self.free_at[place])
        self.waits.append(self.now - max(batch.arrived, self.free_at[place]))
        sizes = self.sizes[place]
        if sizes and max(sizes) >= 2 * min(sizes):
            self.waits_known.append(self.waits[-1])
        self.free_at[place] = began + PRICE_S + UNIT_S * batch.cost
        self.running[place].append((self.free_at[place], batch))
        self.batches.append(len(batch.inputs))


def in_turn(seconds: Iterable[float]) -> Callable[[], float]:
    """Each of them, over and over."""
    turns = cycle(seconds)
    return lambda: next(turns)


@given(
    st.integers(1, 2),
    st.integers(1, 12),
    st.lists(st.sampled_from([0.0, 0.001, 0.002, 0.004, 0.02, 0.2]), min_size=1, max_size=20),
)
@settings(max_examples=40, deadline=None)
def test_a_free_device_leaves_nothing_waiting_for_more_than_half_the_price(devices, clients, after):
    crowd = Crowd(devices)
    after_s = in_turn(after)

    crowd.run(clients, after_s, 1.0)
    # Until two sizes of batch were seen the price may be all that the batches took.
    assert max(crowd.waits) <= (PRICE_S + UNIT_S * TEXT * max(crowd.batches)) / 2 + SLACK_S
    assert max(crowd.waits_known, default=0.0) <= PRICE_S / 2 + SLACK_S


@given(st.lists(st.floats(0.0, 0.3), min_size=1, max_size=20), st.integers(1, 2))
@settings(max_examples=40, deadline=None)
def test_a_client_alone_never_waits(after, devices):
    after_s = in_turn(after)

    crowd = Crowd(devices)
    # What a crowd left behind tells nothing of one who is alone afterwards.
    crowd.run(6, lambda: 0.002, 0.5)
    crowd.now += 0.02
    crowd.waits.clear()
    crowd.run(1, after_s, 1.0)
    assert max(crowd.waits) <= SLACK_S


@given(st.integers(1, 2), st.integers(2, 8), st.integers(0, 5))
@example(2, 8, 1)
@settings(max_examples=30, deadline=None)
def test_a_crowd_that_comes_back_soon_shares_batches(devices, clients, step):
    def served(*, gathers: bool) -> Sequence[int]:
        after_s = in_turn(0.001 + 0.0002 * step * n for n in range(4))

        crowd = Crowd(devices, gathers=gathers)
        crowd.run(clients, after_s, 2.0)
        return crowd.batches

    gathered, at_once = served(gathers=True), served(gathers=False)
    assert sum(gathered) >= 0.98 * sum(at_once), "waiting gains more than it costs"
    share = clients // devices
    late = gathered[len(gathered) // 2 :]
    assert sum(late) / len(late) >= 0.8 * share, "each device runs its share of them at once"


def test_who_is_slow_to_come_back_is_not_waited_for():
    crowd = Crowd(2)
    after_s = in_turn([0.05, 0.06, 0.075, 0.09])

    crowd.run(4, after_s, 3.0)
    assert max(crowd.waits) <= SLACK_S


@given(
    st.lists(st.tuples(st.sampled_from("ac"), st.integers(1, 4), st.floats(0.0, 0.2)), max_size=80)
)
def test_nobody_is_expected_who_was_not_answered_or_whose_time_is_over(steps):
    returns, now, away = Returns(), 0.0, 0
    for kind, inputs, after_s in steps:
        now += after_s
        if kind == "a":
            returns.answered(LANE.way, inputs, now)
            away += inputs
        else:
            returns.came(LANE.way, inputs, now)
            away = max(0, away - inputs)
        due = returns.due(LANE.way, now)
        if due is not None:
            assert 0 < due.inputs <= away
            assert now <= due.by <= now + due.within_s
        assert returns.due(LANE.way, now + 60.0) is None


def test_answers_that_nothing_follows_end_the_expectation():
    returns, now = Returns(), 0.0
    for _ in range(100):
        returns.answered(LANE.way, 2, now)
        returns.came(LANE.way, 2, now + 0.002)
        now += 0.03
    returns.answered(LANE.way, 2, now)
    assert returns.due(LANE.way, now) is not None
    for _ in range(40):
        now += 0.2
        returns.answered(LANE.way, 1, now)
    assert returns.due(LANE.way, now) is None


@given(
    st.integers(1, 4),
    st.integers(1, 3),
    st.lists(st.integers(0, 3), min_size=40, max_size=80),
    st.floats(0.001, 0.008),
)
@settings(max_examples=30)
def test_who_left_is_not_expected_while_all_that_stay_are_here(stay, leave, turns, step_s):
    """Those that stay are answered and come again in any order."""
    returns, now = Returns(), 0.0
    for _ in range(100):
        returns.answered(LANE.way, stay, now)
        returns.came(LANE.way, stay, now + step_s)
        now += 2 * step_s
    returns.answered(LANE.way, leave, now)
    left_at, away = now, set[int]()
    for turn in [*turns, *range(stay)] * 2:
        now += step_s
        client = turn % stay
        if client in away:
            returns.came(LANE.way, 1, now)
        else:
            returns.answered(LANE.way, 1, now)
        away ^= {client}
        if not away and now - left_at > 0.101:
            assert returns.due(LANE.way, now) is None


@settings(max_examples=20)
@given(ways=st.integers(1022, 1028), again=st.frozensets(st.integers(0, 6)))
def test_of_too_many_ways_the_one_is_forgotten_that_was_answered_longest_ago(ways, again):
    returns = Returns()
    # Some of the first are answered again before the last of all have come.
    turns = [*range(1000), *sorted(again), *range(1000, ways)]
    order = [each for place, each in enumerate(turns) if each not in turns[place + 1 :]]
    for each in turns:
        returns.answered((str(each), "default", "encode", False), 40, 0.0)
        returns.came((str(each), "default", "encode", False), 40, 0.01)
    known = [
        each
        for each in order
        if returns.due((str(each), "default", "encode", False), 0.01, running=1, free_at=0.01)
        is not None
    ]
    assert known == order[-1024:]
