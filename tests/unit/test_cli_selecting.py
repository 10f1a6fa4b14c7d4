"""Kinds by their names, entities by their fields, and what happened as rows."""

from typing import Any

import pytest

from sie_cli.config.config_rows import audit_row
from sie_cli.config.happenings import ReplicaChanges, of_audit
from sie_cli.config.kinds import kind_named, kinds_named
from sie_cli.config.selecting import Selector
from sie_schemas.errors import FixRequest

DOCUMENT = {
    "model_id": "org/m",
    "pool": "default",
    "source": {"type": "hub", "id": "org/weights"},
    "tasks": {"encode": {}, "score": None},
    "aliases": ["short", "other"],
    "workers_min": 2,
}


@pytest.mark.parametrize("name", ["model", "models", "m", "mo", "Model", "MODELS"])
def test_a_kind_has_names_for_those_who_type_it(name):
    assert kind_named(name) == "model"
    assert kinds_named(name) == ("model",)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("modles", "did you mean 'model'"),
        ("secrets", "kinds are bundle, pool, model, adapter"),
        ("model/org/m", "write `model org/m`"),
        ("all", "`sie get all` alone"),
        ("", "kinds are"),
    ],
)
def test_what_is_no_kind_is_told_the_nearest(name, told):
    with pytest.raises(FixRequest, match=r"kind|all") as caught:
        kind_named(name)
    assert told in caught.value.message


@pytest.mark.parametrize(
    ("text", "is_taken"),
    [
        ("", True),
        ("pool=default", True),
        ("pool==default, source.type=hub", True),
        ("pool=default,source.type!=hub", False),
        ("source.type = path", False),
        ("tasks.encode", True),
        ("!tasks.encode", False),
        ("tasks=encode", True),
        ("!tasks.score", True),
        ("aliases=short", True),
        ("aliases!=short", False),
        ("workers_min=2", True),
        ("source.none!=x", True),
        ("source.none=", True),
    ],
)
def test_a_selector_takes_what_all_of_it_holds_for(text, is_taken):
    assert Selector(text).takes(DOCUMENT) is is_taken


@pytest.mark.parametrize("text", ["=x", "pool>2", "!pool=default", "pool in (a)", "a..b"])
def test_what_is_no_selector_is_refused_with_an_example(text):
    with pytest.raises(FixRequest, match="pool=default"):
        Selector(text)


def test_a_field_that_no_document_has_is_refused_with_the_nearest():
    with pytest.raises(FixRequest, match="no document has a field 'pol': did you mean 'pool'"):
        Selector("pol=default").check([DOCUMENT])
    Selector("pol=default").check([])


def replica(name: str, **told: Any) -> dict[str, Any]:
    row = {"role": "worker", "id": name, "state": "fresh", "reason": "", "live": True}
    return row | {"gone": False, "failed": {}} | told


def test_a_view_of_replicas_gives_what_became_another_and_nothing_twice():
    changes = ReplicaChanges()

    def told(*rows: dict[str, Any]) -> list[tuple[str, str]]:
        return [(row["who"], row["message"]) for row in changes.rows(rows, "now")]

    assert told(replica("a"), replica("b", state="halted", reason="a kind")) == [
        ("worker b", "is halted: a kind")
    ]
    assert told(replica("a"), replica("b", state="halted", reason="a kind")) == []
    assert told(replica("a", live=False), replica("b"), replica("c")) == [
        ("worker a", "was fresh and is lost"),
        ("worker b", "was halted and is fresh"),
        ("worker c", "is new and fresh"),
    ]
    broken = replica("b", failed={"org/m": "no memory"})
    assert told(broken, replica("c", gone=True)) == [
        ("worker c", "was fresh and is gone"),
        ("worker a", "is not counted any more"),
        ("worker b", "cannot load org/m: no memory"),
    ]
    assert told(broken, replica("c", gone=True)) == []
    assert told(replica("b"), replica("c", gone=True)) == []
    assert told(broken, replica("c", gone=True)) == [("worker b", "cannot load org/m: no memory")]


def test_a_row_of_the_audit_is_a_line_whatever_it_changed():
    entry = {"ts": "t", "actor": "eve", "outcome": "accepted", "epoch": 7, "reason": "why"}
    many = [{"kind": "model", "key": f"m{number}", "verb": "put"} for number in range(3000)]
    assert of_audit(entry | {"changes": many})["message"] == (
        "epoch 7: put model/m0, put model/m1, put model/m2, put model/m3 and 2996 more (why)"
    )
    what = audit_row(entry | {"changes": many})["what"]
    assert what == [*(f"model.put m{number}" for number in range(4)), "and 2996 more"]
    refused = {"ts": "t", "actor": "eve", "outcome": "UNAUTHORIZED", "reason": "", "count": 3}
    row = of_audit(refused | {"method": "PUT", "path": "/x", "message": "no"})
    assert (row["what"], row["message"]) == ("refused", "PUT /x: UNAUTHORIZED (3 times): no")
