"""Reports of replicas: who is counted, whatever the order in which lives speak, leave and die."""

from typing import get_args

from hypothesis import given
from hypothesis import strategies as st
from tests.support.reports import report_at

from sie_config.replicas.reports import Reports
from sie_core.chain import Position
from sie_schemas.fleet import ReplicaState

TTL_S = 10.0
HEAD = Position("a" * 32, 7, "7" * 64, "d" * 64, 1)


def report(name: str, life: str, *, at_head: bool, leaving: bool) -> bytes:
    behind = {} if at_head else {"epoch": 3, "hash": "3" * 64, "digest": "e" * 64}
    return report_at(HEAD, id=name, life=life, leaving=leaving, **behind)


words = st.tuples(
    st.sampled_from("ab"),  # the name
    st.sampled_from("xyz"),  # the life
    st.booleans(),  # at the head
    st.sampled_from([False, False, False, True]),  # leaving
    st.sampled_from([0.1, 1.0, 4.0]),  # seconds until the next word
)


def counted_after(said: list[tuple[str, str, bool, bool, float]]) -> dict[tuple[str, str], bool]:
    """The lives that count, and whether each is at the head: of each name the lives that spoke at
    or after the moment at which a life of that name was new, and have neither left nor fallen
    silent since."""
    newest: dict[str, float] = {}
    last: dict[tuple[str, str], tuple[float, bool]] = {}
    now = 0.0
    for name, life, at_head, leaving, pause in said:
        if leaving:
            last.pop((name, life), None)
        else:
            if (name, life) not in last:
                newest[name] = now
            last[name, life] = (now, at_head)
        now += pause
    return {
        who: at_head
        for who, (at, at_head) in last.items()
        if at >= newest[who[0]] and now - at <= TTL_S
    }


@given(
    state=st.sampled_from(get_args(ReplicaState)),
    elsewhere=st.dictionaries(
        st.sampled_from(["log_id", "hash", "digest"]),
        st.sampled_from(["b" * 32, "c" * 64]),
        max_size=1,
    ),
    epoch=st.integers(6, 8),
)
def test_a_replica_has_converged_where_it_is_at_the_head_and_fresh(state, elsewhere, epoch):
    reports = Reports(ttl_s=TTL_S, forget_s=1000.0, replicas_max=10)
    said = report_at(HEAD, id="a", life="x", state=state, epoch=epoch, **elsewhere)
    reports.receive(said, 0.0)
    view = reports.view(HEAD, 0.0)
    is_there = state == "fresh" and epoch == HEAD.epoch and not elsewhere
    assert [row["converged"] for row in view["replicas"]] == [is_there]
    assert view["converged"] is is_there


@given(st.lists(st.sampled_from("ab"), max_size=20))
def test_reports_that_took_the_place_of_others_use_up_no_room(names):
    said = {name: report(name, "x", at_head=True, leaving=False) for name in "ab"}
    room = sum(map(len, said.values()))
    reports = Reports(ttl_s=TTL_S, forget_s=1000.0, replicas_max=10, bytes_max=room)
    for name in names:
        reports.receive(said[name], 0.0)
    found = {row["id"] for row in reports.view(HEAD, 0.0)["replicas"]}
    assert found == set(names)


@given(st.lists(words, max_size=12))
def test_the_lives_of_a_name_are_told_apart_and_none_hides_behind_another(said):
    # No life is silent for so long that it would be forgotten in the middle.
    reports = Reports(ttl_s=TTL_S, forget_s=1000.0, replicas_max=10)
    now = 0.0
    for name, life, at_head, leaving, pause in said:
        reports.receive(report(name, life, at_head=at_head, leaving=leaving), now)
        now += pause
    expected = counted_after(said)
    view = reports.view(HEAD, now)
    rows = {(row["id"], row["life"]): row for row in view["replicas"] if row["live"]}
    assert {who: row["converged"] for who, row in rows.items()} == expected
    assert view["converged"] == (bool(expected) and all(expected.values()))


def test_a_restart_is_one_replica_and_two_that_speak_are_two():
    reports = Reports(ttl_s=TTL_S, forget_s=1000.0, replicas_max=1)
    reports.receive(report("a", "first", at_head=False, leaving=False), 0.0)
    reports.receive(report("a", "second", at_head=True, leaving=False), 1.0)
    assert reports.view(HEAD, 1.0)["converged"], "who died is not waited for"
    assert reports.kept.shared_names() == []

    reports.receive(report("a", "first", at_head=False, leaving=False), 2.0)
    view = reports.view(HEAD, 2.0)
    assert (view["live"], view["converged"]) == (2, False)
    assert all(row["shares_name"] for row in view["replicas"])
    assert reports.kept.shared_names() == [("gateway", "a")]

    reports.receive(report("a", "first", at_head=False, leaving=True), 3.0)
    assert reports.view(HEAD, 3.0)["converged"]
    assert reports.forget("gateway", "a")
    assert reports.view(HEAD, 3.0)["replicas"] == []


def test_a_name_that_is_reborn_for_ever_is_bounded():
    reports = Reports(ttl_s=TTL_S, forget_s=1000.0, replicas_max=1)
    for number in range(100):
        reports.receive(report("a", f"{number}", at_head=True, leaving=False), number / 100)
    assert [seen.report.life for seen in reports.sightings()] == ["99"]
    for number in range(100):
        reports.receive(report("a", f"{number}", at_head=True, leaving=False), 1 + number / 100)
    assert len(reports.sightings()) <= 8
