"""Laws of what is loaded: a budget is kept at the cost of what nobody needs."""

import gc
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from sie_server.device.residency import Interest, Residency
from sie_server.execution.residents import Pressure, Resident, Residents

BUDGET = 100
NAMES = st.sampled_from("abcde")
SOME = st.frozensets(NAMES, max_size=2)
RUNNING = st.frozensets(NAMES, min_size=1, max_size=3)
SIZES = st.sampled_from([5, 30, 60])
NOBODY: frozenset[str] = frozenset()
IDLE_S = 30
FADES_S = 60.0
"""In so long a half of what was asked for is forgotten."""
SURE = 1 + 1e-9
"""Times: powers of a half are rounded."""


class ResidentsMachine(RuleBasedStateMachine):
    """Models that come and leave, beside what was asked for and who is pinned."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []
        self.sizes: dict[str, int] = {}
        self.asked: dict[str, float] = dict.fromkeys("abcde", 0.0)
        """The inputs that were asked for, as far as they are not forgotten."""
        self.order: list[str] = []
        """Every name that ever came, the last that was used last."""
        self.used_at: dict[str, float] = {}
        self.now = 0.0
        self.pinned: set[str] = set()
        self.is_short = False
        pressure = Pressure(
            idle_s=IDLE_S,
            host_bytes_min=9,
            available_bytes=lambda: 8 if self.is_short else 9,
        )
        self.residents = Residents(
            memory_bytes_max=BUDGET, pressure=pressure, clock=lambda: self.now
        )
        # Making room collects garbage: not what other tests have left, which takes long.
        gc.freeze()

    def teardown(self) -> None:
        gc.unfreeze()

    @initialize(
        sizes=st.lists(st.sampled_from([5, 5, 5, 30, 60]), min_size=5, max_size=5),
        uses=st.lists(st.sampled_from([0, 1, 100]), min_size=5, max_size=5),
        pinned=SOME,
    )
    def begin(self, sizes: list[int], uses: list[int], pinned: frozenset[str]) -> None:
        for name in pinned:
            self.pin(name, pinned=True)
        for name, size, inputs in zip("abcde", sizes, uses, strict=True):
            self.load(name, size, NOBODY, is_short=False)
            if inputs:
                self.use(name, inputs)

    @property
    def here(self) -> set[str]:
        return set(self.residents.revisions)

    @property
    def used(self) -> int:
        return sum(self.sizes[each] for each in self.here)

    def backend(self, name: str) -> Resident:
        backend = SimpleNamespace(
            memory_bytes=lambda: self.sizes[name], leave=lambda: self.told.append(name)
        )
        return cast("Resident", SimpleNamespace(backend=backend))

    def touched(self, name: str) -> None:
        self.order = [each for each in self.order if each != name] + [name]
        self.used_at[name] = self.now

    @contextmanager
    def leaving(
        self, stays: str = "", running: Collection[str] = NOBODY, *, is_short: bool = False
    ) -> Iterator[set[str]]:
        """Only what may leave leaves, first what is worth least. Yields those that left."""
        before, left = self.here, set[str]()
        self.told.clear()
        self.is_short = is_short
        yield left
        left |= before - self.here
        assert sorted(self.told) == sorted(left), "each that leaves is told so, once"
        assert not left & {stays, *self.pinned}
        movable = self.movable(stays)
        assert not left & set(running) or movable <= set(running), "what runs is the last resort"
        for gone in left:
            alike = [one for one in movable if (one in running) == (gone in running)]
            assert all(self.worth(gone) <= SURE * self.worth(one) for one in alike)
            useless = [one for one in alike if not self.worth(one)]
            used_later = self.order[self.order.index(gone) :]
            assert self.worth(gone) or {*useless} <= {*used_later}, "the least recently used first"

    def movable(self, stays: str = "") -> set[str]:
        return self.here - self.pinned - {stays}

    def worth(self, name: str) -> float:
        return self.asked[name] / self.sizes[name]

    def fits(self, left: set[str], stays: str, *, coming: int = 0, relieved: bool = False) -> None:
        needed = self.used + coming
        assert needed <= BUDGET or not self.movable(stays)
        spare = max((self.sizes[each] for each in left), default=0)
        assert relieved or not left or needed + spare > BUDGET, "no more than needed"

    @rule(name=NAMES, size=SIZES, running=RUNNING, is_short=st.sampled_from([False, False, True]))
    def load(self, name: str, size: int, running: frozenset[str], is_short: bool) -> None:
        with self.leaving(name, running, is_short=is_short) as left:
            self.sizes[name] = size
            self.touched(name)
            if name in self.here:
                self.residents.account(name, running=running)
            else:
                self.residents.put(name, self.backend(name), running=running)
        self.fits(left, name, relieved=is_short)
        assert left or not is_short or not self.movable(name), "a host that is short is relieved"
        assert self.residents.was_here(name)

    @rule(seconds=st.sampled_from([1, 10, 29]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds
        for name in self.asked:
            self.asked[name] *= 0.5 ** (seconds / FADES_S)

    @rule(name=NAMES)
    def a_use_keeps(self, name: str) -> None:
        """Time is counted from the last use, and not from the load."""
        self.time_passes(29)
        self.use(name, 1)
        self.time_passes(29)
        self.tend(is_short=False)

    @rule(name=NAMES, size=SIZES, other=NAMES, running=RUNNING)
    def come_back(self, name: str, size: int, other: str, running: frozenset[str]) -> None:
        """Way is made for as much as it held when it left."""
        if name not in self.pinned | {other}:
            self.load(name, size, NOBODY, is_short=False)
            self.residents.unload(name)
            self.load(other, 60, NOBODY, is_short=False)
            self.make_way(name, running)

    @rule(name=NAMES, running=RUNNING)
    def make_way(self, name: str, running: frozenset[str]) -> None:
        is_here = name in self.here
        with self.leaving(name, running) as left:
            self.residents.make_way(name, running=running)
        if is_here:
            assert not left
        else:
            self.fits(left, name, coming=self.sizes.get(name, 0))

    @rule(name=NAMES, pinned=st.booleans())
    def pin(self, name: str, pinned: bool) -> None:
        self.residents.pin(name, pinned=pinned)
        (self.pinned.add if pinned else self.pinned.discard)(name)

    @rule(name=NAMES, inputs=st.sampled_from([1, 100]))
    def use(self, name: str, inputs: int) -> None:
        if name in self.here:
            self.residents.used(name, inputs)
            self.asked[name] += inputs
            self.touched(name)

    @rule(name=NAMES, seldom=st.integers(0, 2))
    def unload(self, name: str, seldom: int) -> None:
        """A model that is named leaves, and is pinned no more when it comes back."""
        was_pinned = name in self.pinned
        if seldom and not was_pinned:
            return
        before = self.here
        self.told.clear()
        self.residents.unload(name)
        self.pinned.discard(name)
        assert self.here == before - {name}
        assert self.told == [*before & {name}]
        if was_pinned:
            self.load(name, 5, NOBODY, is_short=False)
            make_room = self.residents.make_room()
            while make_room():
                pass
            assert self.here <= self.pinned

    @rule(name=NAMES, rungs=st.integers(1, 2), running=RUNNING)
    def make_room(self, name: str, rungs: int, running: frozenset[str]) -> None:
        with self.leaving(name, running) as left:
            make_room = self.residents.make_room(name, running=running)
            told = [make_room() for _ in range(rungs)]
        assert told[0], "what is cached is freed before anybody leaves"
        assert len(left) == sum(told) - 1
        assert all(told) or not self.movable(name)

    @rule(is_short=st.sampled_from([False, False, True]))
    def tend(self, is_short: bool) -> None:
        """The idle leave whatever they are worth; then one, where the host is short."""
        idle = {each for each in self.movable() if self.now - self.used_at[each] >= IDLE_S}
        before = self.here
        self.told.clear()
        self.is_short = False
        self.residents.tend()
        assert before - self.here == idle == {*self.told}
        one = is_short and bool(self.movable())
        with self.leaving(is_short=is_short) as left:
            self.residents.tend()
        assert len(left) == one


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "put", "touch", "touch", "remove", "pass"]),
            NAMES,
            st.sampled_from([10, 40, 70]),
        ),
        max_size=25,
    ),
    st.sampled_from([0, 60, 100]),
    SOME,
    st.sampled_from([0, 30, 200]),
)
def test_without_a_worth_the_least_recently_used_leave_first_and_no_more_than_needed(
    steps, bytes_max, pinned, coming
):
    residency, here, now = Residency[str](bytes_max), dict[str, tuple[int, float]](), 0.0
    for what, name, size in steps:
        if what == "pass":
            now += size
        elif what == "put":
            residency.put(name, size, now)
            here.pop(name, None)
            here[name] = (size, now)
        elif what == "remove":
            residency.remove(name)
            here.pop(name, None)
        elif name in here:
            residency.touch(name, now)
            here[name] = (here.pop(name)[0], now)
    movable = [name for name in here if name not in pinned]
    assert {name: residency.size(name) for name in "abcde"} == {
        name: here.get(name, (0, 0.0))[0] for name in "abcde"
    }
    assert [name for name in "abcde" if name in residency] == sorted(here)
    total = sum(size for size, _ in here.values())
    assert residency.used_bytes == total
    assert residency.first_out(pinned) == (movable[0] if movable else None)
    leaving: list[str] = []
    while bytes_max and total + coming > bytes_max and len(leaving) < len(movable):
        leaving.append(movable[len(leaving)])
        total -= here[leaving[-1]][0]
    assert residency.excess(pinned, coming=coming) == tuple(leaving)
    for since in (now, now - 40):
        idle = tuple(name for name in movable if here[name][1] <= since)
        assert residency.idle(since, pinned) == idle


REMEMBERED = 1024


# Who was asked for first, and again last of all, is not the one that is forgotten.
@example([("a", 3, 0.0), ("b", 1, 0.0), ("a", 1, 0.0), ("c", 1, 0.0)], REMEMBERED - 2)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"), st.integers(1, 9), st.sampled_from([0.0, 1.0, 60.0, 900.0])
        ),
        max_size=12,
    ),
    st.integers(REMEMBERED - 4, REMEMBERED + 1),
)
@settings(max_examples=40, deadline=None)
def test_of_what_was_asked_for_a_half_is_forgotten_each_minute_and_who_was_not_asked_for_longest(
    asked, strangers
):
    interest, now = Interest[str](), 0.0
    last: dict[str, list[tuple[int, float]]] = {}
    for number, (name, amount, seconds) in enumerate(asked):
        now += seconds
        interest.add(name, amount, now)
        last[name] = [*last.pop(name, []), (amount, now)]
        for stranger in range(strangers) if number == len(asked) // 2 else ():
            interest.add(f"no-{stranger}", 1, now)
            last[f"no-{stranger}"] = [(1, now)]
        last = dict([*last.items()][-REMEMBERED:])
    for name in "abc":
        left = sum(amount * 0.5 ** ((now - at) / FADES_S) for amount, at in last.get(name, []))
        assert interest.of(name, now) == pytest.approx(left)


def test_what_runs_stays_and_what_is_asked_for_most_leaves_where_nothing_else_is_there():
    """The rarest case of the machine, which it met or not as its rules were changed."""
    ways: list[Callable[[ResidentsMachine], None]] = [
        lambda machine: machine.load("c", 5, frozenset("a"), is_short=True),
        lambda machine: machine.load("c", 95, frozenset("a"), is_short=False),
        lambda machine: machine.make_room("c", 2, frozenset("a")),
    ]
    for way in ways:
        machine = ResidentsMachine()
        try:
            for name in "ab":
                machine.load(name, 5, NOBODY, is_short=False)
            machine.use("b", 100)
            way(machine)
            assert machine.told == ["b"]
        finally:
            machine.teardown()


TestResidents = ResidentsMachine.TestCase
TestResidents.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
