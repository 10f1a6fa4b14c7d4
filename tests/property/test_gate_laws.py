"""The law of the gate before a large removal: it counts what goes against what was there."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from sie_config.writer.gates import check_removals
from sie_core.registry import Entity, Registry
from sie_schemas.errors import FixRequest


def _registry(keys: set[int]) -> Registry:
    return Registry.of(Entity("model", f"m{key}", 1, b"{}") for key in keys)


@given(
    before=st.sets(st.integers(0, 60), max_size=50),
    gone=st.sets(st.integers(0, 60), max_size=30),
    added=st.sets(st.integers(0, 60), max_size=50),
    forced=st.sampled_from(["", "", "on purpose"]),
)
def test_more_than_three_and_more_than_a_fifth_want_a_reason(
    before: set[int], gone: set[int], added: set[int], forced: str
) -> None:
    after = (before - gone) | added
    touched = [("model", f"m{key}") for key in sorted(gone | added)]
    removed = len(before - after)
    refused = True
    with contextlib.suppress(FixRequest):
        check_removals(_registry(before), _registry(after), touched, forced=forced)
        refused = False

    assert refused == (not forced and removed > 3 and removed > len(before) / 5)
