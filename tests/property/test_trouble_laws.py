"""Laws of what is called wrong where no worker is ready."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sie_core.troubles import fleet_troubles, writer_troubles
from sie_gateway.fleet.kind_loads import KindLoads
from sie_schemas.fleet import WorkerKind

SHOWN_S = 60.0
KINDS = [WorkerKind("trouble-laws", profile, "b") for profile in ("cpu", "l4")]
WORKERS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["a", "b"]),
            "pool": st.sampled_from(["p", "q"]),
            "healthy": st.booleans(),
            "devices_trouble": st.sampled_from(["", "device 0: no answer"]),
        }
    ),
    max_size=4,
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(KINDS),
        st.sampled_from(["cold", "waits", "ends", "time"]),
        st.sampled_from([1.0, SHOWN_S, SHOWN_S + 1]),
    ),
    max_size=12,
)


@given(workers=WORKERS, pools=st.dictionaries(st.sampled_from(["p", "q"]), st.integers(0, 2)))
def test_only_a_fleet_at_rest_is_no_alarm(workers: list[dict[str, Any]], pools: dict[str, int]):
    for awaited in (True, False):
        told = [
            each.tone
            for each in fleet_troubles(workers, pools, {}, awaited=awaited)
            if each.id == "workers"
        ]
        if any(row["healthy"] for row in workers):
            assert told == []
        else:
            assert told == ["bad" if workers or awaited else "warn"]


@given(healthy=st.booleans(), others=WORKERS, trouble=st.sampled_from(["", "no pool 'nihgt'"]))
def test_a_worker_that_says_why_it_runs_no_jobs_is_told_by_its_reason(
    healthy: bool, others: list[dict[str, Any]], trouble: str
):
    row = {"name": "w", "pool": "nihgt", "healthy": healthy, "trouble": trouble}
    found = fleet_troubles([row, *others], {}, {}, awaited=True)
    report = {"role": "worker", "id": "w", "lag": 0, "trouble": trouble}
    heard = writer_troubles({}, 1, 1, [report])
    if trouble:
        assert [each for each in found if trouble in each.evidence]
        assert [each.evidence for each in heard] == [trouble]
    else:
        assert heard == []
    if trouble and healthy:
        assert [each for each in found if each.id == "worker w"] == heard, "doctor tells it once"


@given(steps=STEPS)
def test_workers_are_awaited_while_items_wait_or_a_request_just_found_none(
    steps: list[tuple[WorkerKind, str, float]],
):
    now, waits, cold_at = 0.0, dict.fromkeys(KINDS, 0), dict.fromkeys(KINDS, -SHOWN_S - 1)
    loads = KindLoads(shown_s=SHOWN_S, clock=lambda: now)
    assert not loads.awaited
    for kind, what, by in steps:
        if what == "cold":
            loads.of(kind).found_cold()
            cold_at[kind] = now
        elif what == "waits":
            loads.of(kind).in_flight_items += 1
            waits[kind] += 1
        elif what == "ends" and waits[kind]:
            loads.of(kind).in_flight_items -= 1
            waits[kind] -= 1
        elif what == "time":
            now += by
        wanted = any(waits.values()) or any(now - at <= SHOWN_S for at in cold_at.values())
        assert loads.awaited == wanted
