"""Reports of replicas: who is counted, whatever the order in which lives speak, leave and die."""

from typing import Any, NamedTuple, get_args

from hypothesis import given
from hypothesis import strategies as st
from tests.support.reports import bounded_reports, report_at

from sie_config.replicas.living import live_of
from sie_config.replicas.reports import TRAFFIC_S, Reports
from sie_config.replicas.sightings import Sighting, Sightings
from sie_core.apply import SPEAKS
from sie_core.chain import Position
from sie_schemas.entry import FIRST_KINDS
from sie_schemas.fleet import REPORT_DECODER, ModelReport, ReplicaReport, ReplicaState

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
    reports = bounded_reports(ttl_s=TTL_S, forget_s=1000.0, replicas_max=10)
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
    reports = bounded_reports(ttl_s=TTL_S, forget_s=1000.0, replicas_max=10, bytes_max=room)
    for name in names:
        reports.receive(said[name], 0.0)
    found = {row["id"] for row in reports.view(HEAD, 0.0)["replicas"]}
    assert found == set(names)


@given(st.lists(words, max_size=12))
def test_the_lives_of_a_name_are_told_apart_and_none_hides_behind_another(said):
    # No life is silent for so long that it would be forgotten in the middle.
    reports = bounded_reports(ttl_s=TTL_S, forget_s=1000.0, replicas_max=10)
    now = 0.0
    for name, life, at_head, leaving, pause in said:
        reports.receive(report(name, life, at_head=at_head, leaving=leaving), now)
        now += pause
    expected = counted_after(said)
    view = reports.view(HEAD, now)
    rows = {(row["id"], row["life"]): row for row in view["replicas"] if row["live"]}
    assert {who: row["converged"] for who, row in rows.items()} == expected
    # What a life has seen it has seen, also where another one took its place.
    lives = {(name, life): at_head for name, life, at_head, leaving, _ in said}
    left = {each[:2]: each[3] for each in said}
    assert sorted((each.source, each.epoch) for each in reports.claims()) == sorted(
        (f"gateway {name}", HEAD.epoch if at_head else 3)
        for (name, life), at_head in lives.items()
        if not left[name, life]
    )
    assert view["converged"] == (bool(expected) and all(expected.values()))


def test_a_restart_is_one_replica_and_two_that_speak_are_two():
    reports = bounded_reports(ttl_s=TTL_S, forget_s=1000.0, replicas_max=1)
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
    reports = bounded_reports(ttl_s=TTL_S, forget_s=1000.0, replicas_max=1)
    for number in range(100):
        reports.receive(report("a", f"{number}", at_head=True, leaving=False), number / 100)
    assert [seen.report.life for seen in reports.sightings()] == ["99"]
    newest = {str(number) for number in range(92, 100)}
    assert {seen.report.life for seen in reports.kept.every_life()} == newest
    for number in range(100):
        reports.receive(report("a", f"{number}", at_head=True, leaving=False), 1 + number / 100)
    assert len(reports.sightings()) <= 8


ROOM = st.tuples(
    st.sampled_from("abcd"),
    st.booleans(),  # somebody knows who it is
    st.sampled_from([1, 2, 5]),  # bytes
    st.sampled_from([0.0, 0.5, 1.0, 4.0, 11.0]),  # seconds until the next word
)


@given(st.lists(ROOM, max_size=12))
def test_room_is_made_of_silent_rows_and_for_who_is_known_of_nobodys_and_of_no_others(said):
    most, bytes_max, now = 2, 6, 0.0
    kept = Sightings(ttl_s=TTL_S, forget_s=1000.0, replicas_max=most, bytes_max=bytes_max)
    looked = {True: -10.0, False: -10.0}
    for name, is_known, size, pause in said:
        before = {seen.report.id: seen for seen in kept.every_life()}
        told = REPORT_DECODER.decode(report_at(HEAD, id=name))
        is_kept = kept.keep(Sighting(told, now, is_known=is_known, size=size))
        after = {seen.report.id: seen for seen in kept.every_life()}
        assert len(after) <= most
        assert sum(seen.size for seen in after.values()) <= bytes_max
        assert is_kept == (name in after and after[name].at == now and after[name].size == size)
        others = {each: seen for each, seen in before.items() if each != name}
        fits = _fits(others, size, most, bytes_max)
        looks = not fits and now - looked[is_known] >= 1.0
        if looks:
            looked[is_known] = now
            others = {
                each: seen
                for each, seen in others.items()
                if now - seen.at <= TTL_S and (seen.is_known or not is_known)
            }
        assert is_kept == _fits(others, size, most, bytes_max)
        assert {each for each in after if each != name} == others.keys()
        now += pause


def _fits(others: dict[str, Sighting], size: int, most: int, bytes_max: int) -> bool:
    return len(others) < most and sum(seen.size for seen in others.values()) + size <= bytes_max


PLACES = [("default", "cpu", "default"), ("night", "l4", "gpu")]
SAID: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    role=st.sampled_from(["gateway", "worker", "worker"]),
    id=st.sampled_from("ab"),
    log_id=st.sampled_from([HEAD.log_id, HEAD.log_id, "b" * 32]),
    epoch=st.sampled_from([0, 1, 3, 7, 9]),
    speaks=st.sampled_from([(), SPEAKS, SPEAKS, ("model.put",), ("pool.put", "new.put")]),
    models=st.sampled_from([{}, {"m": ModelReport(state="loaded")}])
    | st.just({"m": ModelReport(state="loading"), "n": ModelReport(state="loaded")}),
    traffic=st.dictionaries(st.sampled_from("mn"), st.sampled_from([0, 5, 3590, 3600, 3700])),
    adapters=st.dictionaries(st.just("m/legal"), st.sampled_from([0, 3595, 3601])),
    place=st.none() | st.sampled_from(PLACES),
)
WORDS = st.tuples(
    SAID | st.sampled_from("ab"),  # a report, or an operator who gives a gateway up
    st.booleans(),  # somebody knows who it is
    st.booleans(),  # it came by the bus
    st.sampled_from([0.0, 0.5, 1.0, 6.0, 10.0]),  # seconds until the next word
)


class Told(NamedTuple):
    """The last report of a replica, as it came."""

    report: ReplicaReport
    at: float
    is_known: bool
    by_bus: bool


Last = dict[tuple[str, str], Told]


def heard(reports: Reports, said: list[tuple[Any, bool, bool, float]]) -> tuple[Last, Any, float]:
    """The last words, those given up who read not everything since, and the time then."""
    last: Last = {}
    given_up: set[tuple[str, str]] = set()
    now = 0.0
    for word, is_known, by_bus, pause in said:
        if isinstance(word, str):
            known = last.pop(("gateway", word), None)
            assert reports.forget("gateway", word) is (known is not None)
            given_up |= {("gateway", word)} if known else set()
        else:
            data = report_at(HEAD, **word)
            report = REPORT_DECODER.decode(data)
            claim = reports.take(report, now, size=len(data), is_known=is_known, by_bus=by_bus)
            assert (claim is None) == (report.epoch == 0)
            last[report.role, report.id] = Told(report, now, is_known, by_bus)
            if set(SPEAKS) <= set(report.speaks):
                given_up.discard((report.role, report.id))
        now += pause
    return dict(sorted(last.items())), given_up, now


@given(st.lists(WORDS, max_size=8))
def test_what_is_asked_of_the_reports_is_what_their_senders_said_last(said):
    reports = bounded_reports(ttl_s=TTL_S, forget_s=1000.0, replicas_max=10)
    last, given_up, now = heard(reports, said)
    live = [name for name in last if now - last[name].at <= TTL_S]
    epochs = {name: told.report.epoch for name, told in last.items()}
    lag = {
        name: HEAD.epoch - epochs[name] if told.report.log_id == HEAD.log_id else None
        for name, told in last.items()
    }
    assert reports.living(now) == live
    assert sorted((each.source, each.epoch) for each in reports.claims()) == sorted(
        (" ".join(name), epoch) for name, epoch in epochs.items() if epoch
    )
    assert reports.holders(HEAD.log_id) == sorted(
        last, key=lambda name: (lag[name] is None, -epochs[name], name)
    )
    for role in ("gateway", "worker"):
        behind = [
            HEAD.epoch if (lacks := lag[name]) is None else lacks
            for name in live
            if name[0] == role
        ]
        assert reports.farthest_behind(role, HEAD, now) == max(behind, default=0)
    rows = {(row["role"], row["id"]): row for row in reports.view(HEAD, now)["replicas"]}
    assert {name: row["lag"] for name, row in rows.items()} == lag
    for kinds in (["model.put"], ["model.put", "new.put"]):
        assert reports.lacking(kinds, now, HEAD.log_id) == [
            " ".join(name)
            for name in live
            if lag[name] is not None
            and last[name].is_known
            and name not in given_up
            # One of before there were kinds says none, and reads what there was.
            and (speaks := last[name].report.speaks)
            # The first kinds are read by every release, whatever it says.
            and not set(kinds) - FIRST_KINDS <= set(speaks)
        ]
    assert reports.users_of(["m", "n"], now) == _users(last, now)
    _check_live(reports, last, now)
    quiet = [name for name in live if last[name].by_bus and now - last[name].at >= 5.0]
    assert reports.quiet(now, 5.0) == {name: last[name].at for name in quiet}
    # Who is gone is asked for no sign of life, until it speaks again.
    for place, name in enumerate(quiet):
        # Who spoke at the moment of the question or since is there.
        reports.kept.note_gone(*name, asked_at=last[name].at)
        assert [*reports.quiet(now, 5.0)] == quiet[place:]
        reports.kept.note_gone(*name, asked_at=now)
        assert [*reports.quiet(now, 5.0)] == quiet[place + 1 :]
    rows = {(row["role"], row["id"]): row for row in reports.view(HEAD, now)["replicas"]}
    assert [name for name in rows if rows[name]["gone"]] == quiet
    assert [name for name in rows if rows[name]["live"]] == live, "its silence alone is counted"


@given(
    st.lists(
        st.sampled_from(
            ["given up", SPEAKS, ("model.put",), ("model.put", "new.put"), (*SPEAKS, "new.put")]
        ),
        min_size=1,
        max_size=6,
    )
)
def test_who_is_given_up_holds_up_no_write_until_it_has_read_everything_once(said):
    reports = bounded_reports(ttl_s=TTL_S, forget_s=1000.0, replicas_max=10)
    speaks: tuple[str, ...] = ()
    given_up = False
    for word in said:
        if word == "given up":
            given_up |= reports.forget("gateway", "g1") or given_up
            speaks = ()
        else:
            speaks = word
            given_up &= not set(SPEAKS) <= set(speaks)
            reports.receive(report_at(HEAD, speaks=speaks), 0.0)
        lacks = bool(speaks) and "new.put" not in speaks and not given_up
        assert reports.lacking(["new.put"], 0.0, HEAD.log_id) == ["gateway g1"] * lacks


@given(st.sampled_from(["gateway", "worker"]), st.sampled_from("ab"), st.integers(-1, 1))
def test_a_report_is_taken_under_its_own_name_alone_and_up_to_its_bound(role, name, room):
    said = report_at(HEAD, id="a")
    reports = bounded_reports(
        ttl_s=TTL_S, forget_s=1000.0, replicas_max=10, report_bytes_max=len(said) + room
    )
    reports.receive(said, 0.0, subject=f"sie.config.report.{role}.{name}")
    is_taken = room >= 0 and (role, name) == ("gateway", "a")
    assert reports.living(0.0) == [("gateway", "a")] * is_taken
    assert reports.malformed == (not is_taken)


def _users(last: Last, now: float) -> dict[str, list[str]]:
    users: dict[str, list[str]] = {}
    for name, told in last.items():
        age_s, who = now - told.at, " ".join(name)
        for model in ("m", "n"):
            held, ago = told.report.models.get(model), told.report.traffic.get(model)
            if held is not None and held.state == "loaded" and age_s <= TTL_S:
                users.setdefault(model, []).append(f"{who} has it loaded")
            if ago is not None and age_s + ago <= TRAFFIC_S:
                users.setdefault(model, []).append(
                    f"{who} was asked for it {age_s + ago:.0f} s ago"
                )
    return users


def _check_live(reports: Reports, last: Last, now: float) -> None:
    """The word of gates and waits on workers, and on what is asked for."""
    found = live_of(reports.sightings(), now, TTL_S)
    workers = [
        told.report
        for told in last.values()
        if told.report.role == "worker" and now - told.at <= TTL_S
    ]
    assert found.places == {report.place for report in workers if report.place}
    assert found.anywhere == any(report.place is None for report in workers)
    for told_of, field in ((found.asked, "traffic"), (found.adapters, "adapters")):
        newest: dict[str, list[tuple[float, str]]] = {}
        for name, told in last.items():
            for asked, ago in getattr(told.report, field).items():
                if now - told.at + ago <= TRAFFIC_S:
                    newest.setdefault(asked, []).append((now - told.at + ago, " ".join(name)))
        assert told_of == {
            asked: f"{min(whos)[1]} was asked for it {min(whos)[0]:.0f} s ago"
            for asked, whos in newest.items()
        }


@given(lengths=st.lists(st.sampled_from([0, 1, 255, 256, 257, 9000]), min_size=3, max_size=3))
def test_a_report_names_a_place_in_words_as_long_as_names_may_be(lengths):
    reports = bounded_reports(ttl_s=TTL_S, forget_s=1000.0, replicas_max=1)
    reports.receive(report_at(HEAD, place=tuple("x" * length for length in lengths)), 0.0)
    assert reports.malformed == (max(lengths) > 256)
    assert len(reports.sightings()) == (max(lengths) <= 256)
