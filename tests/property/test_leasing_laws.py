"""Laws of leases in the client: when they are renewed."""

from urllib.parse import unquote

from hypothesis import example, given
from hypothesis import strategies as st

from sie_schemas.errors import CODES, FixRequest, Later
from sie_sdk.errors import strange_error, told_error
from sie_sdk.leases.calls import Renewals, pool_call, renew_call, ttl_of

TTL = st.floats(0, 3600)
REFUSALS = st.sampled_from(sorted(CODES)).map(lambda code: told_error(code, "no")) | st.integers(
    400, 599
).map(lambda status: strange_error(status, "", "no"))


@example(ttl_s=0.0, steps=[False])
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
            assert renewals.failed("eval", Later("away"), now=now) == "again"
            assert 0 < (renewals.wait_s(now) or 0) <= max(0.05, ttl_s / 20) + 1e-6


@given(ttl_s=TTL, refusal=REFUSALS)
def test_a_lease_is_lost_by_what_no_time_mends_and_by_nothing_else(ttl_s, refusal):
    renewals = Renewals()
    renewals.hold("eval", ttl_s=ttl_s, now=0.0)
    passes = isinstance(refusal, Later) or not isinstance(refusal, FixRequest)
    assert renewals.failed("eval", refusal, now=1.0) == ("again" if passes else "lost")
    assert renewals.names == (["eval"] if passes else [])


@given(names=st.lists(st.sampled_from(["a", "b", "c"]), max_size=6), gone=st.booleans())
def test_what_is_lost_or_forgotten_is_renewed_no_more(names: list[str], gone: bool) -> None:
    renewals = Renewals()
    for number, name in enumerate(names):
        renewals.hold(name, ttl_s=30, now=float(number))
    for name in set(names):
        if gone:
            refusal = FixRequest("no", code="POOL_NOT_FOUND")
            assert renewals.failed(name, refusal, now=50.0) == "lost"
        else:
            renewals.forget(name.upper())
        renewals.renewed(name, now=60.0)
        assert name not in renewals.names
    assert renewals.wait_s(100.0) is None
    assert renewals.failed("a", Later("away"), now=1.0) == "forgotten"


@given(
    st.dictionaries(st.sampled_from("abc"), st.sampled_from([3.0, 6.0, 90.0, 600.0]), min_size=1),
    st.sampled_from([0.0, 1.0, 2.0, 30.0, 60.0]),
)
def test_of_several_leases_those_are_due_whose_time_has_come_and_the_most_urgent_first(ttls, now):
    renewals = Renewals()
    for name, ttl_s in ttls.items():
        renewals.hold(name, ttl_s=ttl_s, now=0.0)
    due_at = {name: min(60.0, ttl_s / 3) for name, ttl_s in ttls.items()}
    assert renewals.wait_s(now) == max(0.0, min(due_at.values()) - now)
    due = sorted((at, name) for name, at in due_at.items() if at <= now)
    assert renewals.due(now) == [name for _, name in due]
    # One that was late is not due again at once: the gateway that is away would be asked in a loop.
    for _, name in due:
        assert renewals.failed(name, told_error("RATE_LIMIT", "no"), now=now) == "again"
    assert renewals.due(now) == []


def test_a_lease_lasts_as_long_as_the_answer_says_and_as_ever_where_it_does_not():
    assert ttl_of({"spec": {"ttl_seconds": 30}}) == 30
    assert ttl_of({"spec": {}}) == ttl_of({}) == 1200


@example(name="team/a ?b#")
@given(name=st.text(st.characters(codec="utf-8"), min_size=1, max_size=8))
def test_a_name_is_one_part_of_its_leases_address_whatever_is_in_it(name):
    for call, ending in ((pool_call("GET", name), []), (renew_call(name), ["renew"])):
        assert [unquote(part) for part in call.path.split("/")] == [
            *("", "v1", "pools", name.lower()),
            *ending,
        ]
        assert not {"?", "#"} & set(call.path)
