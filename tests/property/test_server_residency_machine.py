"""Residency as a machine: whatever comes, the budget holds, and only what may leave leaves."""

import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sie_schemas.jobs import AdapterPin
from sie_server.adapters.adapter_shelf import AdapterShelf
from sie_server.adapters.lora import Adapter, Delta
from sie_server.device.residency import Residency

_NAMES = st.sampled_from("abcdefg")
_PINNED = st.sets(_NAMES, max_size=3)
_BUDGET = 100


class ResidencyMachine(RuleBasedStateMachine):
    """A residency beside a list in the order of use."""

    def __init__(self) -> None:
        super().__init__()
        self.residency: Residency[str] = Residency(_BUDGET)
        self.order: list[str] = []
        self.sizes: dict[str, int] = {}
        self.used_at: dict[str, int] = {}
        self.now = 0

    @rule(seconds=st.integers(1, 5))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule(seconds=st.integers(0, 10), pinned=_PINNED)
    def what_was_idle_leaves(self, seconds: int, pinned: set[str]) -> None:
        idle = self.residency.idle(self.now - seconds, pinned=pinned)
        assert list(idle) == [
            name
            for name in self.order
            if name not in pinned and self.now - self.used_at[name] >= seconds
        ]
        for name in idle:
            self.leave(name)

    @rule(
        coming=st.integers(0, 120),
        pinned=_PINNED,
        worth=st.dictionaries(_NAMES, st.integers(0, 3), max_size=7),
    )
    def way_is_made_for_more(self, coming: int, pinned: set[str], worth: dict[str, int]) -> None:
        """The model that is worth least leaves first; of equals the least recently used."""

        def value(name: str) -> tuple[float, ...]:
            return (worth.get(name, 0),)

        movable = sorted((one for one in self.order if one not in pinned), key=value)
        leaving = self.residency.excess(pinned, coming=coming, worth=value)
        assert list(leaving) == movable[: len(leaving)]
        over = sum(self.sizes.values()) + coming - _BUDGET
        freed = sum(self.sizes[one] for one in leaving)
        assert freed >= over or list(leaving) == movable
        assert not leaving or freed - self.sizes[leaving[-1]] < over
        first = self.residency.first_out(pinned, worth=value)
        assert first == (movable[0] if movable else None)
        for one in leaving:
            self.leave(one)

    @rule(name=_NAMES, size=st.integers(0, 70), running=_PINNED)
    def load(self, name: str, size: int, running: set[str]) -> None:
        self.residency.put(name, size, self.now)
        self._used(name)
        self.sizes[name] = size
        pinned = running | {name}
        leaving = self.residency.excess(pinned=pinned)
        assert not pinned & set(leaving), "what runs or is pinned never leaves"
        movable = [one for one in self.order if one not in pinned]
        assert list(leaving) == movable[: len(leaving)], "the least recently used leave first"
        over = sum(self.sizes.values()) - _BUDGET
        freed = sum(self.sizes[one] for one in leaving)
        assert freed >= over or list(leaving) == movable, "enough leaves, if there is enough"
        if leaving:
            assert freed - self.sizes[leaving[-1]] < over, "and no more than is needed"
        for one in leaving:
            self.leave(one)

    @rule(name=_NAMES)
    def use(self, name: str) -> None:
        if name in self.residency:
            self.residency.touch(name, self.now)
            self._used(name)

    @rule(name=_NAMES)
    def leave(self, name: str) -> None:
        self.residency.remove(name)
        self.order = [one for one in self.order if one != name]
        self.sizes.pop(name, None)

    @rule(pinned=_PINNED)
    def ask_for_the_oldest(self, pinned: set[str]) -> None:
        movable = [one for one in self.order if one not in pinned]
        assert self.residency.first_out(pinned=pinned) == (movable[0] if movable else None)

    @invariant()
    def what_is_used_is_what_is_there(self) -> None:
        assert self.residency.used_bytes == sum(self.sizes.values())
        assert all(name in self.residency for name in self.order)

    def _used(self, name: str) -> None:
        self.order = [one for one in self.order if one != name] + [name]
        self.used_at[name] = self.now


class ShelfMachine(RuleBasedStateMachine):
    """Adapters come, leave under the budget, and are found again all the same."""

    def __init__(self) -> None:
        super().__init__()
        self.shelf = AdapterShelf(_BUDGET * 8)
        self.known: dict[tuple[str, AdapterPin], float] = {}
        """In the order of their last use."""
        self.reads = 0

    @rule(model=st.sampled_from(["m", "n"]), name=_NAMES, size=st.integers(20, 60))
    def put(self, model: str, name: str, size: int) -> None:
        pin = AdapterPin(name, "1")
        mark = float(len(self.known) * 1000 + size)

        def read() -> Adapter:
            self.reads += 1
            half = torch.full((size,), mark)
            return Adapter({"layer": Delta(half, half)})

        self.shelf.put(model, pin, read)
        self.known.pop((model, pin), None)
        self.known[(model, pin)] = mark

    @rule(model=st.sampled_from(["m", "n"]), name=_NAMES)
    def get(self, model: str, name: str) -> None:
        key = (model, AdapterPin(name, "1"))
        held = self.shelf.holds(model, [key[1], None])
        before = self.reads
        found = self.shelf.get(*key)
        if key not in self.known:
            assert found is None and not held
            return
        assert found is not None
        assert found.deltas["layer"].down[0].item() == self.known[key]
        assert self.reads == before + (0 if held else 1), "only what had left is read again"
        self.known[key] = self.known.pop(key)
        assert self.shelf.holds(model, [key[1]])

    @rule(model=st.sampled_from(["m", "n"]), seldom=st.integers(0, 7))
    def remove(self, model: str, seldom: int) -> None:
        if seldom:
            return
        self.shelf.remove(model)
        self.known = {key: mark for key, mark in self.known.items() if key[0] != model}
        assert self.shelf.resident(model) == 0

    @invariant()
    def those_in_memory_were_used_after_those_that_left(self) -> None:
        held = [self.shelf.holds(model, [pin]) for model, pin in self.known]
        assert held == sorted(held)

    @invariant()
    def the_budget_holds(self) -> None:
        assert self.shelf.used_bytes <= _BUDGET * 8


_SETTINGS = settings(max_examples=30, stateful_step_count=30)
TestResidency = ResidencyMachine.TestCase
TestResidency.settings = _SETTINGS
TestShelf = ShelfMachine.TestCase
TestShelf.settings = _SETTINGS
