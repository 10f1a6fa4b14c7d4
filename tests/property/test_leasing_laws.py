"""Laws of leases in the client: when they are renewed."""

from hypothesis import given
from hypothesis import strategies as st

from sie_schemas.errors import CODES, FixRequest, Later
from sie_sdk.errors import strange_error, told_error
from sie_sdk.leases.calls import Renewals

TTL = st.floats(1, 3600)
REFUSALS = st.sampled_from(sorted(CODES)).map(lambda code: told_error(code, "no")) | st.integers(
    400, 599
).map(lambda status: strange_error(status, "", "no"))


@given(ttl_s=TTL, steps=st.lists(st.booleans(), max_size=30))
def test_a_lease_is_due_long_before_it_ends_and_soon_again_after_a_failure(
    ttl_s: float, steps: list[bool]
) -> None:
    renewals, now = Renewals(), 100.0
    renewals.hold("Eval", ttl_s=ttl_s, now=now)
    for succeeds in steps:
        wait_s = renewals.wait_s(now)
        assert wait_s is not None
        assert renewals.due(now) == ([] if wait_s else ["eval"])
        now += wait_s
        assert renewals.due(now + 1e-6) == ["eval"]
        if succeeds:
            renewals.renewed("eval", now=now)
            assert (renewals.wait_s(now) or 0) <= min(60.0, ttl_s / 3) + 1e-6
        else:
            assert not renewals.failed("eval", Later("away"), now=now)
            assert 0 < (renewals.wait_s(now) or 0) <= max(0.05, ttl_s / 20) + 1e-6


@given(ttl_s=TTL, refusal=REFUSALS)
def test_a_lease_is_lost_by_what_no_time_mends_and_by_nothing_else(ttl_s, refusal):
    renewals = Renewals()
    renewals.hold("eval", ttl_s=ttl_s, now=0.0)
    passes = isinstance(refusal, Later) or not isinstance(refusal, FixRequest)
    assert renewals.failed("eval", refusal, now=1.0) is not passes
    assert renewals.names == (["eval"] if passes else [])


@given(names=st.lists(st.sampled_from(["a", "b", "c"]), max_size=6), gone=st.booleans())
def test_what_is_lost_or_forgotten_is_renewed_no_more(names: list[str], gone: bool) -> None:
    renewals = Renewals()
    for number, name in enumerate(names):
        renewals.hold(name, ttl_s=30, now=float(number))
    for name in set(names):
        if gone:
            assert renewals.failed(name, FixRequest("no", code="POOL_NOT_FOUND"), now=50.0)
        else:
            renewals.forget(name.upper())
        renewals.renewed(name, now=60.0)
        assert name not in renewals.names
    assert renewals.wait_s(100.0) is None
    assert not renewals.failed("a", Later("away"), now=1.0)
