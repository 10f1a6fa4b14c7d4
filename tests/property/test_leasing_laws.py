"""Laws of leases in the client: when they are renewed."""

from urllib.parse import unquote

from hypothesis import example, given
from hypothesis import strategies as st

from sie_schemas.errors import CODES, FixRequest, Later
from sie_sdk.errors import strange_error, told_error
from sie_sdk.leases.calls import Held, Renewals, pool_call, renew_call, ttl_of

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
        assert len(renewals.due(now)) == (0 if wait_s else 1)
        now += wait_s
        (due,) = renewals.due(now + 1e-6)
        assert due.name == "eval"
        if succeeds:
            renewals.renewed(due, now=now)
            assert (renewals.wait_s(now) or 0) <= min(60.0, ttl_s / 3) + 1e-6
        else:
            assert renewals.failed(due, Later("away"), now=now) == "again"
            assert 0 < (renewals.wait_s(now) or 0) <= max(0.05, ttl_s / 20) + 1e-6


@example(ttl_s=30.0, refusal=strange_error(429, "", "no"))
@given(ttl_s=TTL, refusal=REFUSALS)
def test_a_lease_is_lost_by_what_no_time_mends_and_by_nothing_else(ttl_s, refusal):
    renewals = Renewals()
    renewals.hold("eval", ttl_s=ttl_s, now=0.0)
    passes = isinstance(refusal, Later) or not isinstance(refusal, FixRequest)
    (due,) = renewals.due(3600.0)
    assert renewals.failed(due, refusal, now=1.0) == ("again" if passes else "lost")
    assert renewals.names == (["eval"] if passes else [])


def ended(renewals: Renewals, held: Held, how: str, now: float) -> str | None:
    """A renewal ends in some way; what is said of one that failed."""
    if how == "renewed":
        renewals.renewed(held, now=now)
        return None
    error = FixRequest("no", code="POOL_NOT_FOUND") if how == "lost" else Later("away")
    return renewals.failed(held, error, now=now)


STEPS = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.sampled_from(["hold", "forget", "due", "renewed", "lost", "again"]),
    ),
    max_size=15,
)


@given(STEPS)
@example([("a", "hold"), ("a", "due"), ("a", "forget"), ("a", "hold"), ("a", "lost")])
@example([("a", "hold"), ("a", "due"), ("a", "forget"), ("a", "hold"), ("a", "renewed")])
@example([("a", "hold"), ("a", "due"), ("a", "hold"), ("a", "again")])
def test_what_comes_of_a_renewal_says_nothing_of_a_lease_that_was_given_after_it_began(steps):
    """Nor does it bring back what was forgotten, or lost."""
    renewals, now = Renewals(), 0.0
    given_at: dict[str, float] = {}
    due_at: dict[str, float] = {}
    under_way: dict[str, tuple[Held, float]] = {}
    for name, step in steps:
        now += 100.0
        if step == "hold":
            renewals.hold(name.upper(), ttl_s=30, now=now)
            given_at[name], due_at[name] = now, now + 10
        elif step == "forget":
            renewals.forget(name.upper())
            given_at.pop(name, None)
        elif step == "due" and name in given_at:
            due = {each.name: each for each in renewals.due(now)}
            under_way.setdefault(name, (due[name], given_at[name]))
        elif step in ("renewed", "lost", "again") and name in under_way:
            held, at = under_way.pop(name)
            is_held = given_at.get(name) == at
            assert ended(renewals, held, step, now) in (None, step if is_held else "forgotten")
            if is_held and step == "lost":
                del given_at[name]
            elif is_held:
                due_at[name] = now + (10 if step == "renewed" else 1.5)
        assert set(renewals.names) == set(given_at)
        first = min((due_at[name] for name in given_at), default=None)
        assert renewals.wait_s(now) == (None if first is None else max(0.0, first - now))


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
    due = renewals.due(now)
    told = sorted((at, name) for name, at in due_at.items() if at <= now)
    assert [each.name for each in due] == [name for _, name in told]
    # One that was late is not due again at once: the gateway that is away would be asked in a loop.
    for each in due:
        assert renewals.failed(each, told_error("RATE_LIMIT", "no"), now=now) == "again"
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
