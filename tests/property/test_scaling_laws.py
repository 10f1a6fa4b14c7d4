"""Laws of the local autoscaler's decisions."""

from hypothesis import given
from hypothesis import strategies as st

from sie_cli.supervisor.scaling import Demand, Scaling, demand_of

LOOKS = st.lists(
    # Quiet mostly, or no time without anything would ever be long enough.
    st.tuples(
        st.sampled_from([0, 0, 0, 0, 1, 3]),
        st.sampled_from([0, 0, 1, 3]),
        st.sampled_from([0, 0, 0, 0, 2]),
        st.floats(0.1, 8.0),
    ),
    max_size=40,
)
IDLE_S = 10.0


@given(LOOKS)
def test_workers_start_only_for_a_cold_request_and_stop_only_after_idle_time(looks):
    scaling = Scaling(idle_s=IDLE_S, now=0.0)
    cold = asked = now = busy_at = 0.0
    running = False
    for more_cold, more_asked, in_flight, seconds in looks:
        now += seconds
        cold, asked = cold + more_cold, asked + more_cold + more_asked
        if more_cold or more_asked or in_flight:
            busy_at = now
        decision = scaling.decide(Demand(cold, asked, in_flight), running=running, now=now)
        if running:
            assert decision == ("stop" if now - busy_at >= IDLE_S else None)
        else:
            assert decision == ("start" if more_cold else None)
        if decision is not None:
            running = decision == "start"
        if decision == "start":
            scaling.started(now)


def test_a_slow_start_leaves_those_who_wait_their_time_to_ask_again():
    scaling = Scaling(idle_s=IDLE_S, now=0.0)
    assert scaling.decide(Demand(cold=1, asked=1), running=False, now=0.0) == "start"
    scaling.started(60.0)
    assert scaling.decide(Demand(cold=1, asked=1), running=True, now=61.0) is None
    assert scaling.decide(Demand(cold=1, asked=1), running=True, now=70.0) == "stop"


def test_the_first_request_to_a_gateway_that_was_started_again_counts():
    scaling = Scaling(idle_s=IDLE_S, now=0.0)
    scaling.decide(Demand(cold=5, asked=9), running=True, now=0.0)
    assert scaling.decide(Demand(), running=False, now=1.0) is None
    assert scaling.decide(Demand(cold=1, asked=1), running=False, now=2.0) == "start"


@given(st.dictionaries(st.text(), st.floats(0, 1e9)))
def test_metrics_of_other_names_are_no_demand(samples):
    assert demand_of(samples) == Demand()


def test_workers_that_are_kept_warm_start_at_once_and_stay():
    scaling = Scaling(idle_s=IDLE_S, now=0.0)
    warm = demand_of({"sie_gateway_pool_warm_workers": 1.0})
    assert scaling.decide(warm, running=False, now=1.0) == "start"
    assert scaling.decide(warm, running=True, now=500.0) is None
    assert scaling.decide(Demand(), running=True, now=501.0) is None
    assert scaling.decide(Demand(), running=True, now=511.0) == "stop"
