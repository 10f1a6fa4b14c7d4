"""Pulls of idle queues end together, and none stays open for longer than it may."""

from hypothesis import given
from hypothesis import strategies as st

from sie_runtime.streams.puller import idle_pull_s

MOMENTS = st.floats(0, 1e7, allow_nan=False)
LONGEST = st.sampled_from([0.5, 5.0, 20.0])


@given(MOMENTS, LONGEST)
def test_an_idle_pull_is_open_for_more_than_half_of_the_longest_and_at_most_that(now, longest_s):
    assert longest_s / 2 < idle_pull_s(now, longest_s) <= longest_s


@given(MOMENTS, st.floats(0, 20), LONGEST)
def test_pulls_that_begin_at_different_times_end_at_one_or_two_moments(now, later_s, longest_s):
    ends = [at + idle_pull_s(at, longest_s) for at in (now, now + later_s)]

    apart = (ends[1] - ends[0]) / (longest_s / 2)
    assert abs(apart - round(apart)) < 1e-6
