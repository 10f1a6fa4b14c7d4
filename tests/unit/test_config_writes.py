"""Writes to sie-config: every kind of entity, batches, conditions, trials, gates, secrets."""

import asyncio
import json
import time
from typing import Any

import httpx
import pytest
from tests.support.config_writer import client_of, model, running
from tests.support.reports import report_at

from sie_config.http.api import build_app
from sie_config.writer.seed import SEED
from sie_schemas.entry import Entry, parse_envelope
from sie_schemas.fleet import ModelReport

pytest_plugins = ["tests.support.config_plane"]

CONFIGS = "/v1/configs"
MODELS = f"{CONFIGS}/models"
BATCH = f"{CONFIGS}/batch"
JSON = {"content-type": "application/json"}
MERGE = {"content-type": "application/merge-patch+json"}
WORKER = {"role": "worker", "id": "w"}
SOURCE = {"type": "hub", "id": "org/lora", "revision": "1" * 40}


async def head(client: httpx.AsyncClient) -> dict[str, Any]:
    told: dict[str, Any] = (await client.get(f"{CONFIGS}/epoch")).json()
    return told


async def entry(client: httpx.AsyncClient, epoch: int) -> Entry:
    found = parse_envelope((await client.get(f"{CONFIGS}/entries/{epoch}")).content)
    assert isinstance(found, Entry)
    return found


def put(model_id: str, **changes: object) -> dict[str, Any]:
    return {"op": "put", "kind": "model", "document": model(model_id, **changes)}


def delete(model_id: str) -> dict[str, Any]:
    return {"op": "delete", "kind": "model", "key": model_id}


@pytest.mark.parametrize(
    ("plural", "key", "document", "patch"),
    [
        ("models", "org/m", model("org/m"), {"description": "new"}),
        ("bundles", "gpu", {"backends": ["transformer"]}, {"priority": 3}),
        ("pools", "eu", {"machine_profiles": ["l4"]}, {"machine_profiles": ["l4", "cpu"]}),
        ("adapters", "base/legal", {"source": SOURCE}, {"description": "law"}),
    ],
)
async def test_every_kind_is_created_patched_replaced_read_and_deleted(
    client, plural, key, document, patch
):
    await client.post(MODELS, json=model("base"))
    path = f"{CONFIGS}/{plural}/{key}"
    created = await client.put(path, json=document, headers={"If-None-Match": "*"})
    assert created.status_code == 201, created.text
    patched = await client.patch(path, content=json.dumps(patch), headers=MERGE)
    assert (patched.status_code, patched.json()["changed"]) == (200, True), patched.text
    shown = (await client.get(path)).json()
    assert shown["etag"] == patched.headers["etag"]
    assert {name: shown["document"][name] for name in patch} == patch
    replaced = await client.put(path, json=document, headers={"If-Match": shown["etag"]})
    assert (replaced.status_code, replaced.json()["changed"]) == (200, True)
    same = await client.patch(path, content=b"{}", headers=MERGE)
    assert same.json()["changed"] is False, "a patch of nothing makes no entry"
    assert (await client.delete(path)).status_code == 200
    assert (await client.get(path)).status_code == 404
    history = (await client.get(f"{path}/history?diff=true")).json()["history"]
    assert [row["kind"].partition(".")[2] for row in history] == ["put", "put", "put", "delete"]
    assert [step["path"].strip("/") for step in history[1]["patch"]] == list(patch)


async def test_a_write_is_answered_past_the_frameworks_layers_as_through_them(client, plane):
    await client.post(MODELS, json=model("org/m"))
    layers: list[str] = []

    async def layer(request: Any, call_next: Any) -> Any:
        layers.append(request.url.path)
        return await call_next(request)

    short, long = build_app(plane), build_app(plane)
    long.middleware("http")(layer)
    asked: list[tuple[str, str, Any]] = [
        ("POST", "?dry_run=true", model("new")),
        ("PUT", "/org/m?dry_run=true", model("org/m", description="new")),
        ("PUT", "/org%2Fm?dry_run=true", {**model("org/m"), "pool": 7}),
        ("PUT", "/org/m?dryrun=true", model("org/m")),
        ("PATCH", "/org/m?dry_run=true", {"description": "new"}),
        ("DELETE", "/org/m?dry_run=true", None),
        ("DELETE", "/none", None),
    ]
    told = []
    for app in (short, long):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://config") as way:
            answers = [
                await way.request(
                    method,
                    MODELS + rest,
                    content=json.dumps(body) if body is not None else b"",
                    headers={"X-Request-Id": "r"} | (MERGE if method == "PATCH" else JSON),
                )
                for method, rest, body in asked
            ]
        told.append([(each.status_code, each.headers, each.content) for each in answers])
    assert told[0] == told[1]
    assert [status for status, _, _ in told[0]] == [200, 200, 422, 400, 200, 200, 404]
    assert (short.middleware_stack, len(layers)) == (None, len(asked)), "no layer of the framework"


async def test_a_patch_is_merged_checked_and_guarded_like_any_write(client):
    etag = (await client.post(MODELS, json=model("m", description="old"))).headers["etag"]
    path = f"{MODELS}/m"
    plain = await client.patch(path, json={"description": "x"})
    assert (plain.status_code, plain.json()["detail"]["field"]) == (415, "Content-Type")
    bad = await client.patch(path, content=b'{"pool": 7}', headers=MERGE)
    assert (bad.status_code, bad.json()["detail"]["field"]) == (422, "pool")
    renamed = await client.patch(path, content=b'{"model_id": "n"}', headers=MERGE)
    assert (renamed.status_code, renamed.json()["detail"]["field"]) == (422, "model_id")
    stale = {**MERGE, "If-Match": '"00000000-1"'}
    missed = await client.patch(path, content=b'{"description": "x"}', headers=stale)
    assert missed.status_code == 412
    assert missed.json()["detail"]["details"]["document"]["description"] == "old"
    right = {**MERGE, "If-Match": etag}
    done = await client.patch(path, content=b'{"description": null}', headers=right)
    assert done.json()["changed"] is True
    assert (await client.get(path)).json()["document"]["description"] == ""
    gone = await client.patch(f"{MODELS}/none", content=b"{}", headers=MERGE)
    assert gone.json()["detail"]["code"] == "MODEL_NOT_FOUND"


async def test_patches_at_once_of_different_fields_all_arrive(client):
    await client.post(MODELS, json=model("m"))
    patches = [{"profiles": {f"p{n}": {"backend": "transformer"}}} for n in range(6)]
    answers = await asyncio.gather(
        *(
            client.patch(f"{MODELS}/m", content=json.dumps(patch), headers=MERGE)
            for patch in patches
        )
    )
    assert [answer.status_code for answer in answers] == [200] * 6
    profiles = (await client.get(f"{MODELS}/m")).json()["document"]["profiles"]
    assert sorted(profiles) == ["default", *(f"p{n}" for n in range(6))]


async def test_a_batch_is_one_entry_or_nothing_and_runs_in_order(client):
    before = await head(client)
    operations = [
        {"op": "put", "kind": "pool", "document": {"name": "eu"}},
        put("a", pool="eu", aliases=["short"]),
        {"op": "put", "kind": "adapter", "key": "a/legal", "document": {"source": SOURCE}},
        {"op": "patch", "kind": "model", "key": "a", "patch": {"aliases": []}},
        put("b", aliases=["short"]),
    ]
    bad = [*operations, put("c", pool="nowhere")]
    refused = await client.post(BATCH, json={"operations": bad})
    assert (refused.status_code, refused.json()["detail"]["field"]) == (422, "pool")
    assert await head(client) == before
    done = await client.post(BATCH, json={"operations": operations}, headers={"X-SIE-Actor": "ci"})
    assert (done.status_code, done.json()["epoch"]) == (201, before["epoch"] + 1), done.text
    assert [(row["kind"], row["key"]) for row in done.json()["changes"]] == [
        ("pool", "eu"),
        ("model", "a"),
        ("adapter", "a/legal"),
        ("model", "a"),
        ("model", "b"),
    ]
    assert (await entry(client, done.json()["epoch"])).actor == "ci"
    assert (await client.get(f"{MODELS}/a")).json()["document"]["aliases"] == []
    again = await client.post(BATCH, json={"operations": operations[-1:]})
    assert (again.json()["changed"], again.json()["changes"]) == (False, [])


async def test_a_batch_that_undoes_itself_makes_no_entry(client):
    await client.post(MODELS, json=model("m"))
    before = await head(client)
    undone = [put("m", description="x"), delete("m"), put("m"), put("n"), delete("n")]
    answer = await client.post(BATCH, json={"operations": undone})
    assert (answer.status_code, answer.json()["changed"]) == (200, False)
    assert await head(client) == before
    assert (await client.post(MODELS, json=model("x", aliases=["n"]))).status_code == 201


async def test_a_batch_lists_the_faults_of_all_its_documents_with_their_places(client):
    operations = [put("ok"), put("b", extra=1, pool=3), put("../c")]
    answer = await client.post(BATCH, json={"operations": operations})
    details = answer.json()["detail"]["details"]
    assert answer.status_code == 422
    assert sorted(row["path"] for row in details) == [
        "operations.1.extra",
        "operations.1.pool",
        "operations.2.model_id",
    ]


async def test_names_change_hands_only_where_the_operations_are_simultaneous(client):
    await client.post(MODELS, json=model("a", aliases=["x"]))
    await client.post(MODELS, json=model("b", aliases=["y"]))
    swap = [put("a", aliases=["y"]), put("b", aliases=["x"])]
    in_order = await client.post(BATCH, json={"operations": swap})
    assert (in_order.status_code, in_order.json()["detail"]["code"]) == (409, "ENTITY_CONFLICT")
    done = await client.post(BATCH, json={"operations": swap, "simultaneous": True})
    assert (done.status_code, done.json()["changed"]) == (200, True), done.text
    twice = await client.post(
        BATCH, json={"operations": [put("c"), put("c")], "simultaneous": True}
    )
    assert (twice.status_code, twice.json()["detail"]["field"]) == (422, "operations")
    taken = [put("c", aliases=["x"]), put("d", aliases=["x"])]
    clash = await client.post(BATCH, json={"operations": taken, "simultaneous": True})
    assert clash.status_code == 409
    assert (await client.post(MODELS, json=model("e", aliases=["x"]))).status_code == 409
    assert (await client.post(MODELS, json=model("e", aliases=["z"]))).status_code == 201


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ([], 422, None),
        ({}, 422, "operations"),
        ({"operations": [{"op": "move", "kind": "model"}]}, 422, "operations[0].op"),
        ({"operations": [{"op": "delete", "kind": "model"}]}, 422, "key"),
        ({"operations": [], "unknown": 1}, 422, "unknown"),
        ({"operations": [put("m")] * 4}, 413, "operations"),
        ({"operations": [put("m") | {"if_match": "x"}]}, 400, "If-Match"),
    ],
)
async def test_a_batch_that_cannot_be_read_is_refused_by_its_part(tmp_path, body, status, field):
    async with running(tmp_path, batch_operations_max=3) as plane, client_of(plane) as client:
        answer = await client.post(BATCH, json=body)
        assert (answer.status_code, answer.json()["detail"].get("field")) == (status, field)


async def test_if_match_epoch_guards_the_whole_and_tells_the_head(client):
    now = await head(client)
    epoch, log_id8 = now["epoch"], str(now["log_id"])[:8]
    right = {"If-Match-Epoch": f"{log_id8}.{epoch}"}
    assert (await client.post(MODELS, json=model("m"), headers=right)).status_code == 201
    stale = await client.post(MODELS, json=model("n"), headers=right)
    assert stale.status_code == 412
    assert stale.json()["detail"]["details"]["epoch"] == epoch + 1
    other = await client.post(MODELS, json=model("n"), headers={"If-Match-Epoch": "00000000.4"})
    assert (other.status_code, other.json()["detail"]["field"]) == (412, "If-Match-Epoch")
    words = await client.post(MODELS, json=model("n"), headers={"If-Match-Epoch": "now"})
    assert words.status_code == 400


async def test_a_trial_tells_what_would_be_and_changes_nothing(client, plane):
    await client.post(MODELS, json=model("m"))
    before, revision = await head(client), {"description": "new"}
    trial = await client.patch(
        f"{MODELS}/m?dry_run=true", content=json.dumps(revision), headers=MERGE
    )
    told = trial.json()
    assert (trial.status_code, told["dry_run"], told["epoch"]) == (200, True, before["epoch"] + 1)
    assert told["patch"] == [{"op": "replace", "path": "/models/m/description", "value": "new"}]
    assert told["human"] == ['~ model m  description: "" → "new"']
    assert await head(client) == before
    real = await client.patch(f"{MODELS}/m", content=json.dumps(revision), headers=MERGE)
    assert real.json()["state_digest"] == told["state_digest"]
    for refused in (
        await client.delete(f"{MODELS}/none?dry_run=true"),
        await client.post(f"{BATCH}?dry_run=true", json={"operations": [delete("none")]}),
    ):
        assert refused.status_code == 404
    gone = await client.delete(f"{MODELS}/m?dry_run=true")
    assert gone.json()["human"] == ["- model m"]
    assert (await client.post(MODELS, json=model("m"))).json()["changed"] is True
    odd = await client.delete(f"{MODELS}/m?dry_run=maybe")
    assert (odd.status_code, odd.json()["detail"]["field"]) == (400, "dry_run")


async def test_a_trial_does_not_take_an_idempotency_key(client):
    key = {"Idempotency-Key": "k"}
    await client.post(f"{MODELS}?dry_run=true", json=model("m"), headers=key)
    assert (await client.post(MODELS, json=model("m"), headers=key)).status_code == 201


async def test_a_repeated_key_is_answered_though_its_ground_is_gone(client):
    key = {"Idempotency-Key": "k"}
    await client.post(MODELS, json=model("m"))
    first = await client.patch(f"{MODELS}/m", content=b'{"description": "x"}', headers=MERGE | key)
    await client.delete(f"{MODELS}/m")
    again = await client.patch(f"{MODELS}/m", content=b'{"description": "x"}', headers=MERGE | key)
    assert (again.status_code, again.json()) == (200, first.json())
    operations = {"operations": [put("a"), put("b")]}
    batch = await client.post(BATCH, json=operations, headers={"Idempotency-Key": "b"})
    await client.delete(f"{MODELS}/a")
    repeated = await client.post(BATCH, json=operations, headers={"Idempotency-Key": "b"})
    assert (repeated.status_code, repeated.json()) == (201, batch.json())


async def test_removing_more_than_three_and_a_fifth_wants_a_reason_that_is_kept(client):
    names = [f"m{number}" for number in range(6)]
    await client.post(BATCH, json={"operations": [put(name) for name in names]})
    four = {"operations": [delete(name) for name in names[:4]]}
    refused = await client.post(BATCH, json=four)
    assert (refused.status_code, refused.json()["detail"]["code"]) == (409, "FORCE_REQUIRED")
    assert refused.json()["detail"]["details"]["removed"] == [f"model m{n}" for n in range(4)]
    assert (await client.post(f"{BATCH}?dry_run=true", json=four)).status_code == 409
    forced = await client.post(BATCH, json=four, headers={"X-SIE-Force": "moving house"})
    assert forced.status_code == 200
    assert (await entry(client, forced.json()["epoch"])).forced == "moving house"
    row = (await client.get(f"{MODELS}/m0/history")).json()["history"][-1]
    assert row["forced"] == "moving house"
    audited = (await client.get(f"{CONFIGS}/audit")).json()["rows"]
    assert [row["forced"] for row in audited if row.get("forced")] == ["moving house"]


async def test_a_pool_or_bundle_in_use_goes_only_by_force(client):
    await client.post(MODELS, json=model("m"))
    for path in (f"{CONFIGS}/pools/default", f"{CONFIGS}/bundles/default"):
        refused = await client.delete(path)
        assert (refused.status_code, refused.json()["detail"]["code"]) == (409, "FORCE_REQUIRED")
        assert refused.json()["detail"]["details"]["models"] == ["m"]
    assert (await client.delete(path, headers={"X-SIE-Force": "new image"})).status_code == 200


async def test_a_model_that_a_live_worker_has_loaded_goes_only_by_force(client, plane):
    await client.post(MODELS, json=model("m"))
    await plane.replicas.hearing.hear(
        report_at(plane.sequencer.position, **WORKER, models={"m": ModelReport(state="loaded")}),
    )
    refused = await client.delete(f"{MODELS}/m")
    assert (refused.status_code, refused.json()["detail"]["code"]) == (409, "FORCE_REQUIRED")
    trial = await client.patch(
        f"{MODELS}/m?dry_run=true", content=b'{"description": "x"}', headers=MERGE
    )
    met = [{"role": "worker", "id": "w", "models": ["m"]}]
    assert trial.json()["replicas"] == met
    bundle = (await client.get(f"{CONFIGS}/bundles/default")).json()["document"]
    placed: tuple[tuple[str, dict[str, Any], list[Any]], ...] = (
        ("pools/default", {"name": "default", "description": "x"}, met),
        ("bundles/default", bundle | {"priority": 9}, met),
        ("pools/m", {"name": "m"}, [{"role": "worker", "id": "w", "models": []}]),
        ("bundles/default", bundle, []),
    )
    for path, document, replicas in placed:
        trial = await client.put(f"{CONFIGS}/{path}?dry_run=true", json=document)
        assert trial.json()["replicas"] == replicas, path
    assert (await client.delete(f"{MODELS}/m", headers={"X-SIE-Force": "x"})).status_code == 200


async def test_a_model_with_traffic_in_the_last_hour_goes_only_by_force(client, plane):
    await client.post(MODELS, json=model("m"))
    await client.post(MODELS, json=model("quiet"))
    told = {"role": "gateway", "id": "g", "traffic": {"m": 3500, "quiet": 3700}}
    await plane.replicas.hearing.hear(report_at(plane.sequencer.position, **(WORKER | told)))
    refused = await client.delete(f"{MODELS}/m")
    assert (refused.status_code, refused.json()["detail"]["code"]) == (409, "FORCE_REQUIRED")
    assert "gateway g was asked for it 3500 s ago" in refused.json()["detail"]["message"]
    assert (await client.delete(f"{MODELS}/quiet")).status_code == 200
    forced = await client.delete(f"{MODELS}/m", headers={"X-SIE-Force": "moved"})
    assert forced.status_code == 200
    entry = (await client.get(f"/v1/configs/entries/{forced.json()['epoch']}")).json()
    assert entry["body"]["forced"] == "moved"


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"api_key": "abc"}, "profiles.default.options.api_key"),
        ({"hub_token": "abc"}, "profiles.default.options.hub_token"),
        ({"note": "hf_" + "a" * 30}, "profiles.default.options.note"),
        ({"url": "https://me:secret@host/x"}, "profiles.default.options.url"),
        ({"pem": "-----BEGIN RSA PRIVATE KEY-----"}, "profiles.default.options.pem"),
    ],
)
async def test_a_secret_in_a_document_is_refused_by_path_and_never_repeated(client, options, path):
    profiles = {"default": {"backend": "transformer", "options": options}}
    answer = await client.post(MODELS, json=model("m", profiles=profiles))
    assert (answer.status_code, answer.json()["detail"]["field"]) == (422, path)
    assert str(next(iter(options.values()))) not in answer.text


@pytest.mark.parametrize("token", ["abc", "hf_" + "a" * 30, "secret:", "secret:A/b"])
async def test_a_token_of_a_source_is_a_reference_and_its_value_is_never_repeated(client, token):
    source = {"type": "hub", "id": "org/m", "revision": "1" * 40}
    refused = await client.post(MODELS, json=model("m", source=source | {"token": token}))
    assert (refused.status_code, refused.json()["detail"]["field"]) == (422, "source.hub.token")
    assert len(token) < 10 or token not in refused.text
    taken = await client.post(MODELS, json=model("m", source=source | {"token": "secret:legal"}))
    assert taken.status_code == 201


async def test_a_reference_to_a_secret_and_the_words_of_a_tokenizer_are_allowed(client):
    options = {"api_key": "secret:hub/prod", "pad_token": "[PAD]", "max_tokens": 5, "key": "x"}
    # A backend of another package: its options are not known here.
    own = {"name": "own", "backends": ["own"]}
    assert (await client.post("/v1/configs/bundles", json=own)).status_code == 201
    profiles = {"default": {"backend": "own", "options": options}}
    assert (await client.post(MODELS, json=model("m", profiles=profiles))).status_code == 201


async def test_an_option_that_its_backend_does_not_take_is_refused_with_the_nearest(client):
    profiles = {
        "default": {"backend": "transformer", "options": {"poling": "mean", "normalize": "yes"}},
        "tuned": {"backend": "transformer", "options": {"pooling": "median", "is_query": True}},
        "asked": {"backend": "transformer", "options": {"query_template": "ask: {txt}"}},
        "bare": {"backend": "transformer", "options": {"default_instruction": "find"}},
    }
    answer = await client.post(MODELS, json=model("m", profiles=profiles))
    assert answer.status_code == 422
    told = {each["path"]: each["message"] for each in answer.json()["detail"]["details"]}
    assert set(told) == {
        "profiles.default.options.poling",
        "profiles.default.options.normalize",
        "profiles.tuned.options.pooling",
        "profiles.tuned.options.is_query",
        "profiles.asked.options.query_template",
        "profiles.bare.options.default_instruction",
    }
    assert "did you mean 'pooling'?" in told["profiles.default.options.poling"]
    assert "true or false, not 'yes'" in told["profiles.default.options.normalize"]
    assert "one of mean, cls, last" in told["profiles.tuned.options.pooling"]
    assert "in a request, not in a profile" in told["profiles.tuned.options.is_query"]
    assert "did you mean 'text'?" in told["profiles.asked.options.query_template"]


@pytest.mark.parametrize(
    "name", ["or\u0261/m", "\u043e/m", "m\u200b", "\uff4d", "a//b", ".hidden", "m/status"]
)
async def test_a_name_that_looks_like_another_is_refused(client, name):
    answer = await client.post(MODELS, json=model(name))
    assert (answer.status_code, answer.json()["detail"]["field"]) == (422, "model_id")


async def test_the_registry_takes_a_bounded_number_of_entities(tmp_path):
    async with running(tmp_path, entities_max=len(SEED) + 1) as plane, client_of(plane) as client:
        assert (await client.post(MODELS, json=model("a"))).status_code == 201
        full = await client.post(MODELS, json=model("b"))
        assert (full.status_code, full.json()["detail"]["code"]) == (413, "PAYLOAD_TOO_LARGE")
        assert (await client.post(MODELS, json=model("a", pool="default"))).status_code == 200


async def test_writes_that_share_a_commit_do_not_pass_the_bound_together(tmp_path):
    async with running(tmp_path, entities_max=len(SEED) + 1) as plane, client_of(plane) as client:
        answers = await asyncio.gather(
            *(client.post(MODELS, json=model(f"m{number}")) for number in range(4))
        )
        assert sorted(answer.status_code for answer in answers) == [201, 413, 413, 413]


async def test_a_model_that_is_gone_is_told_so_also_while_it_is_still_asked_for(tmp_path):
    async with running(tmp_path) as plane, client_of(plane) as client:
        told = report_at(plane.sequencer.position, traffic={"m": 1})
        plane.replicas.reports.receive(told, time.monotonic())
        answer = await client.delete(f"{MODELS}/m")
        assert (answer.status_code, answer.json()["detail"]["code"]) == (404, "MODEL_NOT_FOUND")


async def test_w18_ids_with_a_double_underscore_are_names_like_any_other(client):
    """W18: no lossy file naming stands between `a/b` and `a__b`."""
    for name in ("a/b", "a__b"):
        assert (await client.post(MODELS, json=model(name, description=name))).status_code == 201
    assert (await client.get(f"{MODELS}/a__b")).json()["document"]["description"] == "a__b"
    assert (await client.get(f"{MODELS}/a/b")).json()["document"]["description"] == "a/b"


async def test_w16_every_kind_of_write_has_a_metric_of_its_own(client):
    """W16: a delete is counted as one, by kind and by outcome."""
    await client.post(MODELS, json=model("m"))
    await client.delete(f"{MODELS}/m")
    await client.delete(f"{MODELS}/m")
    text = (await client.get("/metrics")).text
    for labels in (
        'operation="model.delete",outcome="changed"',
        'operation="model.delete",outcome="MODEL_NOT_FOUND"',
        'operation="model.put",outcome="changed"',
    ):
        assert f"sie_config_writes_total{{{labels}}}" in text


async def test_w13_a_keyed_batch_is_answered_again_after_a_restart(tmp_path):
    """W13: the answer of a key is as old as the log, and no restart forgets it."""
    key, body = {"Idempotency-Key": "k"}, {"operations": [put("a"), put("b")]}
    async with running(tmp_path) as plane, client_of(plane) as client:
        first = await client.post(BATCH, json=body, headers=key)
        await client.delete(f"{MODELS}/a")
    async with running(tmp_path) as plane, client_of(plane) as client:
        again = await client.post(BATCH, json=body, headers=key)
        assert (again.status_code, again.json()) == (201, first.json())
        other = await client.post(BATCH, json={"operations": [put("a")]}, headers=key)
        assert (other.status_code, other.json()["detail"]["code"]) == (422, "IDEMPOTENCY_MISMATCH")


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        (MODELS, {"GET", "HEAD", "POST"}),
        (f"{MODELS}/m", {"GET", "HEAD", "PUT", "PATCH", "DELETE"}),
        (BATCH, {"POST"}),
    ],
)
async def test_a_method_that_is_not_taken_is_told_which_are(client, path, methods):
    answer = await client.request("LINK", path)
    assert answer.status_code == 405
    allowed = set(answer.headers["allow"].split(", "))
    assert allowed - {"HEAD"} == methods - {"HEAD"}


async def test_no_write_puts_an_adapter_over_a_model_whose_backends_take_none(client):
    """In whichever order the two come, and by whichever door; what is there already stays."""
    none = {"default": {"backend": "gliner"}, "fast": {"backend": "spacy"}}
    one = {"op": "put", "kind": "adapter", "key": "m/legal", "document": {"source": SOURCE}}
    before = (await client.post(MODELS, json=model("m", profiles=none))).json()["epoch"]
    takes_none = "runs on the backend gliner, spacy, which takes no adapters"
    for query in ("", "?dry_run=true"):
        refused = await client.put(f"{CONFIGS}/adapters/m/legal{query}", json={"source": SOURCE})
        told = refused.json()["detail"]
        assert (refused.status_code, told["code"], told["field"]) == (
            422, "VALIDATION_ERROR", "model_id"
        )  # fmt: skip
        assert takes_none in told["message"]
    # The model of the batch counts, and not the one that it replaces.
    new = [put("n", profiles=none), {**one, "key": "n/legal"}]
    for given, at_once in ((new, False), (new, True), ([put("m", profiles=none), one], False)):
        body = {"operations": given, "simultaneous": at_once}
        assert takes_none in (await client.post(BATCH, json=body)).text
    made = await client.post(BATCH, json={"operations": [put("m"), one]})
    assert made.status_code == 201, made.text

    moved = await client.put(f"{MODELS}/m", json=model("m", profiles=none))
    told = moved.json()["detail"]
    assert (told["code"], told["field"]) == ("ENTITY_CONFLICT", "profiles")
    assert "has adapters (legal)" in told["message"]
    body = {"to": before, "entities": [{"kind": "model", "key": "m"}]}
    back = await client.post(f"{CONFIGS}/revert", json=body)
    assert "has adapters (legal)" in back.text
    body = {"to": before}
    assert (await client.post(f"{CONFIGS}/revert", json=body)).status_code == 200


async def test_a_field_that_no_backend_of_a_model_reads_is_refused_by_its_path(client):
    profiles = {"default": {"backend": "spacy", "dtype": "bf16", "max_sequence_length": 20}}
    tasks = {"extract": {"synonyms": {"people": ["PERSON"]}}}
    refused = await client.post(MODELS, json=model("m", tasks=tasks, profiles=profiles))
    told = refused.json()["detail"]
    paths = [f"profiles.default.{field}" for field in ("dtype", "max_sequence_length")]
    assert (refused.status_code, [each["path"] for each in told["details"]]) == (422, paths)
    assert "the backend spacy works in fp32 alone" in told["message"]
    profiles = {"default": {"backend": "gliner"}}
    refused = await client.post(MODELS, json=model("m", tasks=tasks, profiles=profiles))
    assert refused.json()["detail"]["field"] == "tasks.extract.synonyms"
    # What an admitted document holds may be written again.
    made = await client.post(MODELS, json=model("m", tasks={"extract": {}}, profiles=profiles))
    assert made.status_code == 201, made.text
    held = (await client.get(f"{MODELS}/m")).json()["document"]
    assert (await client.put(f"{MODELS}/m", json=held)).json()["changed"] is False
