"""The law of convergence: who is asked, and who of those has got there."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.support.reports import report_at

from sie_config.replicas.convergence import Goal, Selector, assess, select
from sie_config.replicas.sightings import Sighting
from sie_config.writer.dark import Dark
from sie_core.chain import Position
from sie_schemas.fleet import ModelReport, ReplicaReport

TTL_S = 10.0
COMMITTED = 100.0
LOG = "a" * 32
HERE = {epoch: Position(LOG, epoch, f"{epoch}" * 64, "d" * 64, 1) for epoch in (6, 7, 8)}
FAULTS = {
    "another log": {"log_id": "b" * 32},
    "stale": {"state": "stale"},
    "forked": {"state": "forked"},
    "another hash": {"hash": "f" * 64},
    "another digest": {"digest": "e" * 64},
    "": {},
}

words = st.tuples(
    st.sampled_from(["gateway", "worker"]),
    st.sampled_from("abc"),
    st.sampled_from(sorted(HERE)),
    st.sampled_from(["", "", *FAULTS]),
    st.floats(COMMITTED - 2 * TTL_S, COMMITTED + 3 * TTL_S),
)


def sighting(word: tuple[str, str, int, str, float]) -> Sighting:
    role, name, epoch, fault, at = word
    report = report_at(HERE[epoch], role=role, id=name, **FAULTS[fault])
    return Sighting(msgspec.json.decode(report, type=ReplicaReport), at)


@given(
    said=st.lists(words, max_size=6),
    roles=st.frozensets(st.sampled_from(["gateway", "worker"])),
    ids=st.frozensets(st.sampled_from("abc")),
    quorum=st.none() | st.integers(1, 4),
    least=st.integers(0, 3),
    dark=st.booleans(),
    waited=st.floats(0, 2 * TTL_S),
)
def test_it_is_reached_by_the_word_of_those_who_were_there_and_never_by_silence(
    said, roles, ids, quorum, least, dark, waited
):
    goal = Goal(log_id=LOG, epoch=7, committed_at=COMMITTED, quorum=quorum, replicas_min=least)
    now = COMMITTED + waited
    sightings = [sighting(word) for word in said if word[4] <= now]

    chosen = select(sightings, Selector(roles, ids), goal, TTL_S)

    assert chosen == [
        seen
        for seen in sightings
        if (not roles or seen.report.role in roles)
        and (not ids or seen.report.id in ids)
        and seen.at >= COMMITTED - TTL_S
    ]
    unserved = [Dark("org/a:default", "a worker")] if dark else []
    told = assess(chosen, goal, HERE, now=now, ttl_s=TTL_S, unserved=unserved)
    there = [
        seen
        for seen in chosen
        if now - seen.at <= TTL_S
        and (seen.report.log_id, seen.report.state) == (LOG, "fresh")
        and seen.report.epoch >= 7
        and (seen.report.hash, seen.report.digest)
        == (HERE[seen.report.epoch].hash, HERE[seen.report.epoch].digest)
    ]
    enough = len(there) == len(chosen) if quorum is None else len(there) >= quorum
    assert told.reached == (enough and len(chosen) >= least and not dark)
    assert (told.selected, told.satisfied) == (len(chosen), len(there))
    assert len(told.waiting_for) == len(chosen) - len(there) + dark


REVISIONS = {"m": frozenset({"1", "2"}), "n": frozenset({"3"})}
HELD = st.builds(
    ModelReport,
    state=st.sampled_from(["available", "loading", "loaded", "loaded", "failed"]),
    revision=st.sampled_from(["", "", "1", "2", "3", "4"]),
)


@given(
    held=st.dictionaries(st.sampled_from("mno"), HELD),
    until=st.sampled_from(["converged", "effective", "effective"]),
    is_known=st.booleans(),
)
def test_effective_is_where_no_replica_fails_or_serves_another_revision_of_what_was_changed(
    held, until, is_known
):
    goal = Goal(
        log_id=LOG,
        epoch=7,
        committed_at=COMMITTED,
        until=until,
        models=REVISIONS if is_known else None,
    )
    report = msgspec.json.decode(report_at(HERE[7], models=held), type=ReplicaReport)
    told = assess([Sighting(report, COMMITTED)], goal, HERE, now=COMMITTED, ttl_s=TTL_S)
    spoilt = [
        name
        for name, revisions in REVISIONS.items()
        if (model := held.get(name)) is not None
        and (
            model.state == "failed"
            # One that does not say of which revision it is may be of the right one.
            or (model.state == "loaded" and model.revision not in {"", *revisions})
        )
    ]
    assert told.reached == (until == "converged" or not is_known or not spoilt)
    # A wait names who holds it up, and over which model.
    if not told.reached:
        [waited_for] = told.waiting_for
        assert (waited_for["role"], waited_for["id"]) == ("gateway", "g1")
        assert spoilt[0] in waited_for["cause"]
