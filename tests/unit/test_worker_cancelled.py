"""Cancelled requests: remembered, in a bounded number."""

from hypothesis import given
from hypothesis import strategies as st

from sie_worker.intake.cancelled import CancelledRequests


@given(st.lists(st.integers(0, 20)), st.integers(1, 10))
def test_the_newest_ids_are_remembered_and_no_more(ids, ids_max):
    cancelled = CancelledRequests(ids_max=ids_max)
    for number in ids:
        cancelled.add(str(number))
    newest = list(dict.fromkeys(reversed(ids)))[:ids_max]
    assert [number for number in range(21) if str(number) in cancelled] == sorted(newest)
    assert len(cancelled) == len(newest)
