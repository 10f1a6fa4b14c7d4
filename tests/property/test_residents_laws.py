"""Laws of what is loaded: a budget is kept at the cost of what nobody needs."""

from types import SimpleNamespace
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st

from sie_server.execution.residents import Pressure, Resident, Residents

BUDGET = 100
NAMES = st.sampled_from("abcde")
SOME = st.frozensets(NAMES, max_size=2)
LOADS = st.tuples(st.just("load"), NAMES, st.sampled_from([10, 30, 60]), SOME)
WAYS = st.tuples(st.just("way"), NAMES, st.just(0), SOME)
NOBODY: frozenset[str] = frozenset()
PINS = st.tuples(st.just("pin"), NAMES, st.integers(0, 1), st.just(NOBODY))
STEPS = st.lists(st.one_of(LOADS, LOADS, WAYS, PINS), min_size=5, max_size=25)


def resident(size: int) -> Resident:
    """A model of a size, which does nothing."""
    backend = SimpleNamespace(memory_bytes=lambda: size, leave=lambda: None)
    return cast("Resident", SimpleNamespace(backend=backend))


@settings(deadline=None)
@given(pins=SOME, steps=STEPS)
def test_what_is_pinned_stays_and_what_runs_leaves_last(pins, steps):
    residents = Residents(memory_bytes_max=BUDGET, pressure=Pressure())
    pinned: set[str] = set()
    sizes: dict[str, int] = {}
    for what, name, number, running in [*(("pin", name, 1, NOBODY) for name in pins), *steps]:
        before = set(residents.revisions)
        if what == "load":
            sizes[name] = number
            before.add(name)
            residents.put(name, resident(number), running=running)
        elif what == "way":
            residents.make_way(name, running=running)
        else:
            residents.pin(name, pinned=bool(number))
            (pinned.add if number else pinned.discard)(name)
        left = before - set(residents.revisions)

        assert not left & pinned
        assert what == "way" or name not in left
        if left & running:
            # It was the last resort: nothing else that might leave is still there.
            assert set(residents.revisions) <= pinned | running | {name}
        used = sum(sizes[each] for each in residents.revisions)
        movable = set(residents.revisions) - pinned - {name}
        assert what != "load" or used <= BUDGET or not movable
