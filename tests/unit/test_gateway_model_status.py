"""The status of a model at the gateway: per worker and per revision."""

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.gateway_world import gateway_world, heartbeat, model, standard_resolver

from sie_gateway.http.model_status import model_status
from sie_schemas.errors import FixRequest
from sie_schemas.fleet import Heartbeat, ModelReport


def worker(worker_id: str, **fields: Any) -> Heartbeat:
    told: dict[str, Any] = {"worker_id": worker_id, "epoch": 7} | fields
    return heartbeat(**told)


def test_w17_a_model_is_effective_only_where_every_worker_that_may_run_it_says_so() -> None:
    """W10 and W17: one model's revision on each worker, whatever else its bundle holds."""
    resolver = standard_resolver()
    revision = model_status(resolver, [], "org/dense")["revisions"]["default"]
    assert model_status(resolver, [], "org/dense")["effective"] is False, "nobody is not everybody"
    for held, effective in (
        ({}, True),
        ({"org/dense": ModelReport(state="loaded", revision=revision)}, True),
        ({"org/dense": ModelReport(state="loaded", revision="0" * 64)}, False),
        ({"org/dense": ModelReport(state="failed", reason="no file")}, False),
        ({"ranker": ModelReport(state="failed", reason="no file")}, True),
    ):
        status = model_status(resolver, [worker("a"), worker("b", models=held)], "org/dense")
        assert status["effective"] is effective, held
        assert status["workers"][0]["effective"] is True


def test_a_worker_that_is_behind_or_follows_another_log_is_not_effective() -> None:
    resolver = standard_resolver()
    for fields in ({"epoch": 6}, {"log_id": "f" * 32}, {"ready": False}):
        assert not model_status(resolver, [worker("a", **fields)], "ranker")["effective"]
    elsewhere = worker("a", bundle="other", epoch=1)
    assert model_status(resolver, [elsewhere, worker("b")], "ranker")["effective"]


def test_a_model_is_not_effective_where_no_worker_is_where_its_requests_go() -> None:
    resolver = standard_resolver()
    for fields in ({"pool": "night"}, {"machine_profile": "h100"}, {"bundle": "other"}):
        assert not model_status(resolver, [worker("a", **fields)], "org/dense")["effective"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["default", "second", "third"]), st.booleans(), st.sampled_from([6, 7])
        ),
        max_size=5,
    )
)
def test_a_model_is_effective_only_where_each_of_its_profiles_is(workers) -> None:
    """Its two profiles run on bundles of their own; the third bundle is nothing to it."""
    profiles = {"default": {"backend": "echo"}, "fast": {"backend": "other"}}
    resolver = standard_resolver(
        model("org/two", {"encode": {}}, profiles=profiles),
        ("bundle", "second", {"name": "second", "backends": ["other", "another"]}),
        ("bundle", "third", {"name": "third", "backends": ["another"]}),
    )
    told = [
        worker(f"w{number}", bundle=bundle, ready=ready, epoch=epoch)
        for number, (bundle, ready, epoch) in enumerate(workers)
    ]
    own = [each for each in told if each.bundle != "third"]
    status = model_status(resolver, told, "org/two")
    assert [row["worker"] for row in status["workers"]] == [each.worker_id for each in own]
    assert status["effective"] == (
        all(each.ready and each.epoch == 7 for each in own)
        and {each.bundle for each in own} == {"default", "second"}
    )


async def test_the_gateway_tells_it_under_the_models_name() -> None:
    async with gateway_world() as world:
        transport = httpx.ASGITransport(app=world.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            told = await http.get("/v1/configs/models/org/dense/status")
            none = await http.get("/v1/configs/models/none/status")
            before = told.json()["traffic"] or {"requests": 0}
            for _ in range(3):
                await http.post("/v1/encode/org/dense", json={"items": [{"text": "a"}]})
            again = (await http.get("/v1/configs/models/org/dense/status")).json()["traffic"]
            ranker = await http.get("/v1/configs/models/ranker/status")
    assert again["requests"] - before["requests"] == 3
    assert again["answered_within_s"]["+Inf"] == again["by_status"]["2xx"]
    counts = list(again["answered_within_s"].values())
    assert counts == sorted(counts), "each bound holds what the smaller ones hold"
    assert "traffic" in ranker.json()
    assert told.json()["effective"] is True
    assert [each["effective"] for each in told.json()["workers"]] == [True]
    assert (none.status_code, none.json()["detail"]["code"]) == (404, "MODEL_NOT_FOUND")


def test_an_unknown_model_has_no_status() -> None:
    with pytest.raises(FixRequest, match="no model"):
        model_status(standard_resolver(), [], "none")


def test_w10_a_change_of_one_model_moves_no_revision_of_another() -> None:
    """W10: revisions are per model, so an edit invalidates what it changes and nothing else."""
    old, new = standard_resolver(generation=1), standard_resolver(generation=2)

    def revisions(resolver, model_id: str) -> object:
        return model_status(resolver, [], model_id)["revisions"]

    assert revisions(old, "org/dense") != revisions(new, "org/dense")
    assert revisions(old, "ranker") == revisions(new, "ranker")
