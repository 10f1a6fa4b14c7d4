"""Laws of spreading the inputs of a job over the devices of a host."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sie_worker.scheduling.spreading import spread

COSTS = st.lists(st.integers(1, 500), min_size=1, max_size=64)
LOADS = st.lists(st.integers(0, 10_000), min_size=1, max_size=6)


@given(COSTS, LOADS, st.integers(1, 1000))
def test_neighbours_stay_together_in_pieces_that_are_worth_it(costs, loads, least):
    places = spread(costs, loads, piece_cost_min=least)
    assert len(places) == len(costs)
    assert all(0 <= place < len(loads) for place in places)
    runs = 1 + sum(before != after for before, after in pairwise(places))
    assert runs <= max(1, min(len(loads), sum(costs) // least))


@given(COSTS, LOADS, st.integers(1, 1000))
def test_the_first_piece_goes_where_the_least_waits(costs, loads, least):
    assert loads[spread(costs, loads, piece_cost_min=least)[0]] == min(loads)


@given(st.integers(2, 6), st.integers(1, 20), st.integers(1, 50))
def test_idle_devices_share_a_list_of_equals_evenly(devices, each, cost):
    places = spread([cost] * (devices * each), [0] * devices, piece_cost_min=cost)
    assert sorted(places.count(place) for place in range(devices)) == [each] * devices
