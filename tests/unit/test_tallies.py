"""Metrics that are counted in plain numbers show what the library's own would."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from sie_runtime.process.tallies import Tally, Timings

BOUNDS = (0.25, 1, 5)
# Sums of these are exact in whatever order.
SECONDS = st.sampled_from([0.0, 0.125, 0.25, 0.5, 1.0, 4.5, 5.0, 64.0])
EVENTS = st.lists(st.tuples(st.sampled_from("ab"), SECONDS | st.none()), max_size=30)


@given(EVENTS)
def test_whatever_is_counted_and_whenever_it_is_read_the_samples_are_the_same(events):
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tally = Tally("asked", "Asked.", ["by"], registry=ours)
    counter = Counter("asked", "Asked.", ["by"], registry=theirs)
    timings = Timings("took_seconds", "Took.", ["by"], buckets=BOUNDS, registry=ours)
    histogram = Histogram("took_seconds", "Took.", ["by"], buckets=BOUNDS, registry=theirs)
    for by, seconds in events:
        if seconds is None:
            assert _lines(ours) == _lines(theirs)
            continue
        tally.labels(by).count += 1
        counter.labels(by).inc()
        timings.labels(by).note(seconds)
        histogram.labels(by).observe(seconds)
    assert _lines(ours) == _lines(theirs)


def _lines(registry: CollectorRegistry) -> list[bytes]:
    """Without the times when a metric was made."""
    return [line for line in generate_latest(registry).splitlines() if b"_created" not in line]
