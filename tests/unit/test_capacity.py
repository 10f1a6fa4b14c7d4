"""The capacity simulation explains the machine that it is fed by, and its page has its figures."""

import pytest
from benchmarks.capacity import (
    BEGIN,
    END,
    PAGE,
    SIZES,
    Station,
    checked,
    need,
    simulated,
    tables,
)
from hypothesis import given, settings
from hypothesis import strategies as st


def test_it_explains_the_measured_machine_and_the_page_has_its_figures():
    rows = checked()
    assert all(abs(row.off) < 0.2 for row in rows), rows
    assert all(abs(row.simulated_p50_ms / row.measured_p50_ms - 1) < 0.2 for row in rows), rows
    page = PAGE.read_text().partition(BEGIN)[2].partition(END)[0].strip()
    assert page == tables(rows, [need(size) for size in SIZES]), (
        "python -m benchmarks.capacity --write"
    )


@given(
    clients=st.integers(1, 40),
    servers=st.integers(1, 6),
    means=st.lists(st.floats(0.0005, 0.01), min_size=1, max_size=3),
    seed=st.integers(0, 100),
)
@settings(max_examples=30, deadline=None)
def test_littles_law_and_the_bound_of_the_slowest_station_hold(clients, servers, means, seed):
    stations = [Station(servers, mean) for mean in means]
    stages = list(range(len(stations)))
    requests = 40 * clients + 400
    rate, times = simulated(stages, stations, clients=clients, requests=requests, seed=seed)
    most = min(servers / mean for mean in means)
    assert rate <= most * 1.15, "nobody serves faster than the slowest station"
    assert rate <= clients / sum(means) * 1.15
    assert rate * sum(times) / len(times) == pytest.approx(clients, rel=0.25)


def test_more_load_never_takes_fewer_parts():
    needs = [need(size) for size in SIZES]
    for name in ("gateways", "queues", "broker_cores", "workers", "beats"):
        values = [getattr(each, name) for each in needs]
        assert values == sorted(values), name
