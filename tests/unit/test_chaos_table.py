"""The chaos table in parts: what breaks a row, when a cluster serves, and the committed table."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sie_schemas.errors import FixRequest
from sie_testing.chaos import FAULTS, Row, broken
from sie_testing.chaos.observe import longest_wait, not_steady, served_again, waited_on
from sie_testing.chaos.report import chosen, judged
from sie_testing.chaos.table import to_json, to_markdown, worst
from sie_testing.commands import soak
from sie_testing.processes.load import Ended

DOCS = Path(__file__).parents[2] / "docs"
WELL = Row(
    fault="gateway killed", done="SIGKILL", acknowledged=9, answered=90, refused=3, redelivery_s=1.0
)


# ---- what breaks a row --------------------------------------------------------------------------


def test_a_row_in_which_all_is_well_breaks_nothing():
    assert broken(WELL) == []


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        ({"lost": 1}, "1 acknowledged writes are lost"),
        ({"wrong": 2}, "2 answers are wrong"),
        ({"hung": 3}, "3 requests hung"),
        ({"requests_again_s": None}, "requests were never served again"),
        ({"writes_again_s": 30.1}, "writes were served again after 30.1 s, 30 s are allowed"),
        ({"redelivery_s": 5.1}, "a request waited 5.1 s, 5 s are allowed"),
        ({"trouble": "SIGTERM was not obeyed"}, "SIGTERM was not obeyed"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_bound_breaks_a_row_by_itself(planted, said):
    assert broken(replace(WELL, **planted)) == [said]


def test_a_fault_that_was_not_injected_breaks_nothing_and_is_said():
    row = replace(WELL, skipped=True, trouble="no disk can be mounted")
    assert broken(row) == []
    assert "not injected: no disk can be mounted" in to_markdown([row], ABOUT, [])


def test_several_runs_are_the_worst_of_them():
    late = replace(WELL, requests_again_s=4.0, redelivery_s=None, longest_wait_s=7.0)
    never = replace(WELL, writes_again_s=None, lost=1, trouble="x")
    row = worst([WELL, late, never])
    assert (row.requests_again_s, row.writes_again_s, row.longest_wait_s) == (4.0, None, 7.0)
    assert (row.acknowledged, row.lost, row.redelivery_s, row.trouble) == (27, 1, 1.0, "x")


def test_a_verdict_names_its_fault_and_a_fault_may_be_allowed_more():
    (slow,) = chosen("stream begins past the head")
    row = replace(WELL, fault=slow.name, writes_again_s=45.0)
    assert judged([row], [slow]) == []
    row = replace(row, writes_again_s=66.0)
    (told,) = judged([row], [slow])
    assert told.startswith("stream begins past the head: writes were served again after 66.0 s")


def test_a_fault_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(
        FixRequest, match="gateway maimed: no such fault; there are nothing, worker"
    ):
        chosen("gateway killed, gateway maimed")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"faults": "worker killed"}, "--faults and --write go with --chaos"),
        ({"chaos": True, "faults": "worker kiled"}, "worker kiled: no such fault"),
    ],
    ids=["without --chaos", "unknown"],
)
def test_options_that_mean_nothing_are_refused(options, said):
    with pytest.raises(FixRequest, match=said):
        soak(**options)


def test_every_fault_has_a_name_of_its_own():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert chosen("all") == list(FAULTS)


# ---- when a cluster serves ----------------------------------------------------------------------


def calls(*each: tuple[float, float, bool], who: str = "gateway-0") -> list[Ended]:
    return [Ended(who, began, ended, served) for began, ended, served in each]


def test_it_serves_again_when_the_last_that_was_refused_or_late_is_over():
    seen = calls((9.9, 10.0, True), (10.5, 10.6, False), (10.7, 13.0, True), (13.1, 13.2, True))
    assert served_again(seen, "gateway", 10.0) == 3.0
    assert served_again(seen, "gateway", 13.0) == 0.0
    assert served_again(seen, "config", 10.0) == 0.0


def test_the_longest_is_of_those_that_the_fault_met():
    seen = calls((1.0, 9.0, True), (9.5, 12.0, True), (12.0, 12.5, True))
    assert longest_wait(seen, "gateway", 10.0) == 2.5


def test_what_was_under_way_at_a_death_waits_from_it():
    seen = calls((9.0, 14.0, True), (9.5, 11.0, True), (10.5, 20.0, True))
    assert waited_on(seen, "gateway", 10.0) == 4.0


@pytest.mark.parametrize(
    ("seen", "waiting", "steady"),
    [
        (calls((8.5, 8.6, True), (9.0, 9.1, True)), [], True),
        (calls((8.5, 8.6, True)), [], False),
        (calls((8.5, 8.6, True), (9.0, 9.1, False)), [], False),
        (calls((6.0, 8.6, True), (9.0, 9.1, True)), [], False),
        (calls((8.5, 8.6, True), (9.0, 9.1, True)), [("gateway-0", 8.0)], False),
        (calls((1.0, 1.1, False), (8.5, 8.6, True), (9.0, 9.1, True)), [], True),
    ],
    ids=["well", "too few", "refused", "late", "one waits", "long ago"],
)
def test_steady_is_in_time_for_a_while(seen, waiting, steady):
    assert (not_steady(seen, waiting, ["gateway-0"], now=10.0) == "") == steady


# ---- the table ---------------------------------------------------------------------------------

ABOUT = {"machine": "a machine", "load": "some", "restart_s": 1.0, "limit_s": 60, "in_time_s": 1.5}


def test_a_table_as_text_says_what_the_table_as_data_says():
    data = json.loads(json.dumps(to_json([WELL], ABOUT)))
    assert to_markdown([Row(**data["rows"][0])], data["about"], []) == to_markdown(
        [WELL], ABOUT, []
    )
    assert "| gateway killed | 9 | 0 | 90 | 3 | 0 | 0 | 0.0 | 0.0 | 0.0 | 1.0 |" in to_markdown(
        [WELL], ABOUT, []
    )


def test_the_committed_table_has_every_fault_and_is_what_its_data_say():
    data = json.loads((DOCS / "chaos.json").read_text())
    rows = [Row(**row) for row in data["rows"]]
    assert [row.fault for row in rows] == [fault.name for fault in FAULTS]
    assert [row.done for row in rows] == [fault.done for fault in FAULTS]
    verdicts = judged(rows, FAULTS)
    assert (DOCS / "chaos.md").read_text() == to_markdown(rows, data["about"], verdicts)
