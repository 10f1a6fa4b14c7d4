"""The HTTP surface of sie-config: answers, refusals, and the shape of both."""

import asyncio
import hashlib
import json

import httpx
import pytest
from prometheus_client import REGISTRY
from pydantic import TypeAdapter
from tests.support.config_writer import client_of, model, put, running
from tests.support.polling import until
from tests.support.reports import report_at

from sie_config.writer.writer_state import Recovery
from sie_schemas import snapshot
from sie_schemas.documents import ModelId
from sie_schemas.entry import Entry, parse_envelope

pytest_plugins = ["tests.support.config_plane"]

MODELS = "/v1/configs/models"


async def epoch_of(client: httpx.AsyncClient) -> int:
    return int((await client.get("/v1/configs/epoch")).json()["epoch"])


async def test_a_write_answers_with_its_place_in_the_log(client):
    answer = await client.post(
        MODELS,
        json=model("org/m"),
        headers={"X-SIE-Actor": "ci", "X-SIE-Reason": "größer".encode(), "X-Request-Id": "r-1"},
    )
    assert answer.status_code == 201
    body = answer.json()
    assert (body["epoch"], body["changed"], body["published"]) == (4, True, False)
    entry = parse_envelope((await client.get("/v1/configs/entries/4")).content)
    assert isinstance(entry, Entry)
    assert (entry.hash, entry.state_digest) == (body["hash"], body["state_digest"])
    assert (entry.actor, entry.reason, entry.request_id) == ("ci", "größer", "r-1")
    again = await client.post(MODELS, json=model("org/m"))
    assert (again.status_code, again.json()["changed"], again.json()["epoch"]) == (200, False, 4)
    replaced = await client.post(MODELS, json=model("org/m", description="other"))
    assert (replaced.status_code, replaced.json()["epoch"]) == (200, 5)
    assert await epoch_of(client) == 5


async def test_the_history_of_a_model_outlives_it(client):
    await client.post(MODELS, json=model("org/m"), headers={"X-SIE-Actor": "a"})
    await client.post(MODELS, json=model("org/m", description="x"), headers={"X-SIE-Actor": "b"})
    gone = await client.delete(f"{MODELS}/org/m", headers={"X-SIE-Actor": "c"})
    assert gone.status_code == 200
    assert (await client.get(f"{MODELS}/org/m")).status_code == 404
    history = (await client.get(f"{MODELS}/org/m/history")).json()["history"]
    assert [(row["kind"], row["actor"]) for row in history] == [
        ("model.put", "a"),
        ("model.put", "b"),
        ("model.delete", "c"),
    ]
    missing = await client.get(f"{MODELS}/org/never/history")
    assert missing.json()["detail"]["code"] == "MODEL_NOT_FOUND"


async def test_an_adapter_is_put_by_its_path_read_and_removed(client):
    source = {"type": "hub", "id": "org/lora", "revision": "1" * 40}
    path = "/v1/configs/adapters/org/m/legal"
    early = await client.put(path, json={"source": source})
    assert (early.status_code, early.json()["detail"]["field"]) == (404, "model_id")
    await client.post(MODELS, json=model("org/m"))
    assert (await client.put(path, json={"source": source})).status_code == 201
    found = (await client.get(path)).json()
    assert (found["model_id"], found["name"]) == ("org/m", "legal")
    assert found["document"]["source"]["id"] == "org/lora"
    other = await client.put(path, json={"name": "medical", "source": source})
    assert (other.status_code, other.json()["detail"]["field"]) == (422, "name")
    in_use = await client.delete(f"{MODELS}/org/m")
    assert (in_use.status_code, in_use.json()["detail"]["code"]) == (409, "ENTITY_CONFLICT")
    assert (await client.delete(path)).status_code == 200
    assert (await client.delete(path)).json()["detail"]["code"] == "ADAPTER_NOT_FOUND"
    assert (await client.delete(f"{MODELS}/org/m")).status_code == 200


JSON = {"content-type": "application/json"}
BODIES = ("revert", "wait", "compact", "replicas/forget", "replicas/resync", "batch", "inspect")


@pytest.mark.parametrize("path", BODIES)
async def test_every_route_that_takes_a_body_reads_it_strictly(client, path):
    for body, status, field in (
        (b'{"\xff": 1}', 400, "body"),
        (b'{"a": 1, "a": 2}', 400, "body"),
        (b'{"nothing like it": 1}', 422, "nothing like it"),
        (b"[]", 422, None),
    ):
        answer = await client.post(f"/v1/configs/{path}", content=body, headers=JSON)
        assert answer.status_code == status, answer.text
        assert answer.json()["detail"].get("field") == field, answer.text


async def test_a_new_log_has_a_bundle_for_every_backend_of_models(client):
    for backend in ("transformer", "cross-encoder", "token-classification", "onnx-cross-encoder"):
        document = model(f"of/{backend}", profiles={"default": {"backend": backend}})
        assert (await client.post(MODELS, json=document)).status_code == 201, backend


def test_a_model_id_of_the_right_letters_that_is_too_long_is_told_the_bound() -> None:
    with pytest.raises(ValueError, match="at most 96 characters"):
        TypeAdapter(ModelId).validate_python(f"org/{'m' * 97}")


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"{", 400, "body"),
        (b"", 400, "body"),
        (b"\xff", 400, "body"),
        (b'{"model_id": NaN}', 400, "body"),
        (b'{"model_id": 1e999}', 400, "body"),
        (b'{"model_id": 9007199254740993}', 400, "body"),
        (b'{"model_id": "a", "model_id": "b"}', 400, "body"),
        (b'{"model_id": "\\ud800"}', 400, "body"),
        (b"[" * 100_000, 400, "body"),
        (b"[]", 422, None),
        (b"null", 422, None),
        (b"{}", 422, "model_id"),
        (json.dumps(model("../etc")).encode(), 422, "model_id"),
        (json.dumps(model("m", pool="nowhere")).encode(), 422, "pool"),
        (json.dumps(model("m", extra=1)).encode(), 422, "extra"),
        (json.dumps(model("m", aliases=["m"])).encode(), 422, "aliases.0"),
        (json.dumps(model("m", profiles={})).encode(), 422, "profiles"),
        (
            json.dumps(model("m", profiles={"default": {"backend": "os-system"}})).encode(),
            422,
            "profiles.default.backend",
        ),
        (
            json.dumps(model("m", source={"type": "hub", "id": "a/b"})).encode(),
            422,
            "source.hub.revision",
        ),
        (
            json.dumps(model("m", source={"type": "path", "path": "/not/there"})).encode(),
            422,
            "source.manifest",
        ),
        (json.dumps(model("org/history")).encode(), 422, "model_id"),
        (b" " * (1024 * 1024 + 1), 413, "body"),
    ],
)
async def test_a_bad_document_is_refused_by_field_and_changes_nothing(client, body, status, field):
    before = (await client.get("/v1/configs/epoch")).json()
    answer = await client.post(MODELS, content=body, headers=JSON)
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"].get("field") == field, answer.text
    assert (await client.get("/v1/configs/epoch")).json() == before


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "NOT_FOUND"),
        ("PATCH", MODELS, 405, "METHOD_NOT_ALLOWED"),
        ("GET", MODELS + "/none", 404, "MODEL_NOT_FOUND"),
        ("GET", "/v1/configs/pools/none", 404, "POOL_NOT_FOUND"),
        ("GET", "/v1/configs/entries/99", 404, "NOT_FOUND"),
        ("GET", "/v1/configs/entries/x", 422, "VALIDATION_ERROR"),
        ("GET", "/v1/configs/log?after=-1", 422, "VALIDATION_ERROR"),
        ("GET", "/v1/configs/log?after=4", 409, "AHEAD"),
        ("GET", "/v1/configs/log?log_id=other", 410, "GONE"),
        ("GET", "/v1/configs/epoch?after=1&wait=nan", 422, "VALIDATION_ERROR"),
        ("DELETE", MODELS + "/none", 404, "MODEL_NOT_FOUND"),
    ],
)
async def test_every_refusal_has_the_one_shape(client, method, path, status, code):
    answer = await client.request(method, path)
    assert (answer.status_code, answer.json()["detail"]["code"]) == (status, code), answer.text
    assert answer.headers["x-sie-error-code"] == code


async def test_aliases_cannot_name_two_models(client):
    await client.post(MODELS, json=model("a", aliases=["short"]))
    taken = await client.post(MODELS, json=model("b", aliases=["short"]))
    assert (taken.status_code, taken.json()["detail"]["field"]) == (409, "aliases.0")
    assert (await client.post(MODELS, json=model("short"))).status_code == 409
    assert (await client.post(MODELS, json=model("b", aliases=["a"]))).status_code == 409
    await client.post(MODELS, json=model("a"))
    assert (await client.post(MODELS, json=model("b", aliases=["short"]))).status_code == 201


async def test_if_match_and_if_none_match_guard_a_write(client):
    created = await client.post(MODELS, json=model("m"), headers={"If-None-Match": "*"})
    etag = created.headers["etag"]
    assert created.status_code == 201
    again = await client.post(MODELS, json=model("m"), headers={"If-None-Match": "*"})
    assert (again.status_code, again.json()["detail"]["details"]["etag"]) == (412, etag)
    changed = model("m", description="1")
    right = await client.post(MODELS, json=changed, headers={"If-Match": etag})
    stale = await client.post(MODELS, json=model("m"), headers={"If-Match": etag})
    assert (right.status_code, stale.status_code) == (200, 412)
    same = await client.get(f"{MODELS}/m", headers={"If-None-Match": right.headers["etag"]})
    assert same.status_code == 304
    assert (await client.post(MODELS, json=changed, headers={"If-Match": "x"})).status_code == 400


async def test_an_idempotency_key_gives_the_first_answer_and_refuses_another_request(client):
    key = {"Idempotency-Key": "k1"}
    first = await client.post(MODELS, json=model("m"), headers=key)
    await client.post(MODELS, json=model("m", description="later"))
    repeated = await client.post(MODELS, json=model("m"), headers=key)
    assert (repeated.status_code, repeated.json()) == (201, first.json())
    assert repeated.headers["idempotency-replayed"] == "true"
    other = await client.post(MODELS, json=model("other"), headers=key)
    assert (other.status_code, other.json()["detail"]["code"]) == (422, "IDEMPOTENCY_MISMATCH")
    somebody = await client.post(MODELS, json=model("n"), headers=key | {"X-SIE-Actor": "b"})
    assert somebody.status_code == 201
    assert await epoch_of(client) == 6


async def test_property_07_a_key_survives_a_restart_and_a_refusal_stores_none(tmp_path):
    key = {"Idempotency-Key": "k1"}
    async with running(tmp_path) as plane, client_of(plane) as client:
        refused = await client.post(MODELS, json=model("m", pool="none"), headers=key)
        assert refused.status_code == 422
        first = await client.post(MODELS, json=model("m"), headers=key)
        unchanged = await client.post(MODELS, json=model("m"), headers={"Idempotency-Key": "k2"})
    async with running(tmp_path) as plane, client_of(plane) as client:
        repeated = await client.post(MODELS, json=model("m"), headers=key)
        assert (repeated.status_code, repeated.json()) == (201, first.json())
        noop = await client.post(MODELS, json=model("m"), headers={"Idempotency-Key": "k2"})
        assert noop.json() == unchanged.json()
        assert await epoch_of(client) == 5, "only the new tenure was written"


async def test_property_07_the_same_key_many_times_at_once_makes_one_entry(client):
    key = {"Idempotency-Key": "k"}
    answers = await asyncio.gather(
        *(client.post(MODELS, json=model("m"), headers=key) for _ in range(20))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert await epoch_of(client) == 4


async def test_concurrent_writes_share_commits_and_each_has_its_own_epoch(plane):
    before = REGISTRY.get_sample_value("sie_config_commit_seconds_count") or 0.0
    outcomes = await asyncio.gather(*(put(plane, f"m{n}") for n in range(200)))
    assert sorted(o.entry.epoch for o in outcomes) == list(range(4, 204))
    commits = REGISTRY.get_sample_value("sie_config_commit_seconds_count")
    assert commits is not None and commits - before < 100


async def test_a_long_poll_ends_with_the_write_that_it_waits_for(tmp_path):
    # Longer than the bound of a hang: what ends it is the write.
    async with running(tmp_path, poll_wait_max_s=3600) as plane, client_of(plane) as client:
        head = (await client.get("/v1/configs/epoch")).json()
        query = {"log_id": head["log_id"], "after": head["epoch"], "digest": head["digest"]}
        poll = asyncio.create_task(client.get("/v1/configs/epoch", params=query | {"wait": 3600}))
        await until(lambda: len(plane.waits) == 1)
        assert not poll.done()
        outcome = await put(plane, "m")
        async with asyncio.timeout(60):
            assert (await poll).json()["epoch"] == outcome.entry.epoch


@pytest.mark.parametrize(
    "change", [{"after": 2}, {"after": 99}, {"digest": "0" * 64}, {"log_id": "f" * 32}]
)
async def test_a_long_poll_answers_any_difference_at_once(plane, client, change):
    head = (await client.get("/v1/configs/epoch")).json()
    query = {"log_id": head["log_id"], "after": head["epoch"], "digest": head["digest"], "wait": 30}
    poll = asyncio.create_task(client.get("/v1/configs/epoch", params=query | change))
    await until(lambda: poll.done() or len(plane.waits) == 1)
    assert len(plane.waits) == 0
    assert (await poll).status_code == 200


async def test_a_long_poll_of_the_same_position_ends_after_its_wait(client):
    head = (await client.get("/v1/configs/epoch")).json()
    query = {"log_id": head["log_id"], "after": head["epoch"], "digest": head["digest"]}
    answer = await client.get("/v1/configs/epoch", params=query | {"wait": 0.02})
    assert answer.json()["epoch"] == head["epoch"]


async def test_a_long_poll_ends_after_the_longest_wait_that_there_is(tmp_path):
    async with running(tmp_path, poll_wait_max_s=0.02) as plane, client_of(plane) as client:
        head = (await client.get("/v1/configs/epoch")).json()
        query = {"log_id": head["log_id"], "after": head["epoch"], "digest": head["digest"]}
        async with asyncio.timeout(60):
            answer = await client.get("/v1/configs/epoch", params=query | {"wait": 3600})
    assert answer.json()["epoch"] == head["epoch"]


async def test_entries_come_as_pages_and_as_lines(plane, client):
    for number in range(7):
        await put(plane, f"m{number}")
    page = (await client.get("/v1/configs/log?after=2&limit=3")).json()
    assert [entry["body"]["epoch"] for entry in page["entries"]] == [3, 4, 5]
    assert page["next_after"] == 5
    lines = await client.get("/v1/configs/log", headers={"accept": "application/x-ndjson"})
    entries = [parse_envelope(line) for line in lines.content.splitlines()]
    assert [entry.epoch for entry in entries] == list(range(1, 11))
    plane.journal.forget()
    again = await client.get("/v1/configs/log", headers={"accept": "application/x-ndjson"})
    assert again.content == lines.content


async def test_below_the_low_water_a_delta_is_gone_and_history_is_not(plane, client):
    for number in range(5):
        await put(plane, f"m{number}")
    await plane.store.move_low_water(6)
    plane.low_water = await plane.store.low_water()
    gone = await client.get("/v1/configs/log?after=4")
    assert gone.status_code == 410
    assert gone.json()["detail"]["details"]["low_water"] == 6
    assert (await client.get("/v1/configs/log?after=5")).status_code == 200
    assert (await client.get("/v1/configs/entries/2")).status_code == 200
    assert (await client.get(f"{MODELS}/m0/history")).status_code == 200


async def test_the_export_is_a_true_snapshot_and_a_pure_function_of_the_position(plane, client):
    for number in range(4):
        await put(plane, f"m{number}")
    first = await client.get("/v1/configs/export")
    found = snapshot.decode(first.content)
    assert found.entry.state_digest == plane.sequencer.registry.digest
    assert len(found.entities) == len(plane.sequencer.registry)
    assert [entry.epoch for entry in found.lineage] == [1]
    assert (await client.get("/v1/configs/export")).content == first.content
    unchanged = await client.get(
        "/v1/configs/export", headers={"If-None-Match": first.headers["etag"]}
    )
    assert unchanged.status_code == 304
    await put(plane, "m0", description="x")
    after = snapshot.decode((await client.get("/v1/configs/export")).content)
    assert after.entry.epoch == found.entry.epoch + 1
    assert {row.key: row.modified_epoch for row in after.entities}["m0"] == after.entry.epoch


async def test_a_path_source_is_pinned_by_the_files_that_are_there(tmp_path):
    hub, weights = tmp_path / "hub", tmp_path / "hub/weights"
    (weights / "inner").mkdir(parents=True)
    (weights / "model.bin").write_bytes(b"weights")
    (weights / "inner/empty").touch()
    (weights / ".cache").write_bytes(b"not part of it")
    # As the hub's cache has them.
    (hub / "blob").write_bytes(b"config")
    (weights / "config.json").symlink_to("../blob")
    source = {"type": "path", "path": str(weights)}
    folders = (str(hub),)
    async with (
        running(tmp_path / "data", weights_folders=folders) as plane,
        client_of(plane) as client,
    ):
        assert (await client.post(MODELS, json=model("m", source=source))).status_code == 201
        manifest = (await client.get(f"{MODELS}/m")).json()["document"]["source"]["manifest"]
    wanted = {"model.bin": b"weights", "inner/empty": b"", "config.json": b"config"}
    assert manifest == {name: hashlib.sha256(data).hexdigest() for name, data in wanted.items()}


async def test_a_full_disk_refuses_writes_keeps_reads_and_ends_by_itself(tmp_path):
    async with running(tmp_path, store_bytes_max=150_000) as plane, client_of(plane) as client:
        big = {"default": {"backend": "transformer", "options": {"query_prompt": "y" * 4000}}}
        refused = None
        for number in range(200):
            answer = await client.post(MODELS, json=model(f"m{number}", profiles=big))
            if answer.is_error:
                refused = answer
                break
        assert refused is not None
        assert (refused.status_code, refused.json()["detail"]["code"]) == (507, "STORAGE_FULL")
        assert "retry-after" in refused.headers
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["writer"]["code"]) == (200, "STORAGE_FULL")
        await plane.store.bound(0)
        assert (await client.delete(f"{MODELS}/m0")).status_code == 200, "there is room again"
        assert (await client.get("/readyz")).json()["writer"]["state"] == "serving"
        head = plane.sequencer.position
        assert (await client.get("/v1/configs/export")).status_code == 200
        assert (await client.get("/v1/configs/epoch")).json()["epoch"] == head.epoch
    async with running(tmp_path) as plane, client_of(plane) as client:
        assert plane.sequencer.position.epoch == head.epoch + 1
        assert (await client.post(MODELS, json=model("fits"))).status_code == 201


async def test_metrics_and_health_answer(client):
    assert (await client.get("/healthz")).json() == {"status": "ok"}
    ready = (await client.get("/readyz")).json()
    assert ready["writer"] == {"state": "serving", "witnessed": False}
    assert "sie_config_published_epoch" in (await client.get("/metrics")).text


async def test_metrics_tell_the_writers_state_its_head_its_commits_and_the_room_on_its_disk(
    plane, client
):
    commits = REGISTRY.get_sample_value("sie_config_commit_seconds_count") or 0.0
    assert (await client.post(MODELS, json=model("m"))).status_code == 201
    found = {
        name: REGISTRY.get_sample_value(f"sie_config_{name}")
        for name in ("head_epoch", "commit_seconds_count", "disk_bytes", "publish_lag_epochs")
    }
    assert found["head_epoch"] == plane.sequencer.position.epoch
    assert found["commit_seconds_count"] == commits + 1
    free = REGISTRY.get_sample_value("sie_config_disk_free_bytes")
    assert free is not None and 0 < free <= (found["disk_bytes"] or 0)
    assert (REGISTRY.get_sample_value("sie_config_log_bytes") or 0) > 4096
    plane.sequencer.enter(Recovery("it was damaged"))
    states = {
        state: REGISTRY.get_sample_value(
            "sie_config_writer_state", {"sie_config_writer_state": state}
        )
        for state in ("serving", "read_only", "recovery")
    }
    assert states == {"serving": 0, "read_only": 0, "recovery": 1}


async def test_metrics_tell_how_far_the_slowest_live_replica_of_each_role_is_behind(plane, client):
    def lag(role: str) -> float | None:
        return REGISTRY.get_sample_value("sie_config_replica_lag_epochs", {"role": role})

    def live(role: str) -> float | None:
        return REGISTRY.get_sample_value("sie_config_replicas_live", {"role": role})

    head = plane.sequencer.position
    for name, epoch in (("w1", head.epoch), ("w2", head.epoch - 2)):
        told = report_at(head, role="worker", id=name, epoch=epoch)
        await plane.replicas.hearing.hear(told)
    assert (lag("worker"), live("worker")) == (2, 2)
    assert (lag("gateway"), live("gateway")) == (0, 0)
