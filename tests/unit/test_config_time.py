"""Time travel, audit and convergence over the HTTP surface of sie-config."""

import asyncio
import contextlib
import json
import sqlite3
import threading
from collections import Counter
from typing import Any

import httpx
import pytest
from tests.support.config_writer import client_of, grown_log, model, new_file, put, running
from tests.support.polling import until
from tests.support.reports import report_at

from sie_config.http.api import build_app
from sie_config.http.doors import Doors
from sie_config.http.refusal_notes import noting_gate
from sie_config.log.storage_faults import LogDamaged
from sie_config.start.opened_log import LOG_FILE
from sie_runtime.access.access import Access, AccessSettings, hash_of
from sie_runtime.access.gate import Gate
from sie_runtime.access.rates import Rates
from sie_schemas import snapshot
from sie_schemas.fleet import ModelReport
from sie_schemas.revisions import adapter_revision, model_revision

pytest_plugins = ["tests.support.config_plane"]

CONFIGS = "/v1/configs"
MODELS = f"{CONFIGS}/models"


async def write(client: httpx.AsyncClient, name: str, **changes: Any) -> dict[str, Any]:
    answer = await client.post(
        MODELS, json=model(name, **changes), headers={"X-SIE-Actor": "ci", "X-SIE-Reason": "why"}
    )
    assert answer.is_success, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def test_every_read_can_be_of_an_epoch_or_of_a_time(client):
    first = await write(client, "m", description="one")
    second = await write(client, "m", description="two")
    removed = (await client.delete(f"{MODELS}/m")).json()["epoch"]
    path = f"{MODELS}/m"
    for at in (str(first["epoch"]), str(first["ts"])):
        found = await client.get(path, params={"at": at})
        assert found.json()["document"]["description"] == "one"
        assert found.json()["modified_epoch"] == first["epoch"]
    listed = (await client.get(MODELS, params={"at": second["epoch"]})).json()
    assert [row["document"]["description"] for row in listed["models"]] == ["two"]
    assert listed["epoch"] == second["epoch"]
    before = await client.get(path, params={"at": first["epoch"] - 1})
    assert (before.status_code, before.json()["detail"]["code"]) == (404, "MODEL_NOT_FOUND")
    assert (await client.get(MODELS)).json()["models"] == []
    assert (await client.get(MODELS, params={"at": removed})).json()["models"] == []
    assert (await client.get(path, params={"at": removed})).status_code == 404
    seed = (await client.get(f"{CONFIGS}/pools", params={"at": 3})).json()["pools"]
    assert [row["name"] for row in seed] == ["default"]


@pytest.mark.parametrize(
    ("at", "status"),
    [
        ("0", 400),
        ("9999", 400),
        ("now", 400),
        ("2026-01-01", 400),
        ("2026-01-01T00:00:00", 400),
        ("2026-13-01T00:00:00Z", 400),
        ("2999-01-01T00:00:00Z", 400),
        ("1999-01-01T00:00:00Z", 404),
        ("0001-01-01T00:00:00Z", 404),
        ("0001-01-01T00:00:00+14:00", 400),
        ("9999-12-31T23:59:59-14:00", 400),
        ("²", 400),
    ],
)
async def test_a_moment_that_is_none_is_refused(client, at, status):
    answer = await client.get(MODELS, params={"at": at})
    assert (answer.status_code, answer.json()["detail"]["field"]) == (status, "at")


@pytest.mark.parametrize("name", ["since", "before"])
@pytest.mark.parametrize("told", ["yesterday", "2026-01-01T00:00:00", "9999-12-31T23:59:59-14:00"])
async def test_an_audit_from_or_to_what_is_no_time_is_refused(client, name, told):
    answer = await client.get(f"{CONFIGS}/audit", params={name: told})
    assert (answer.status_code, answer.json()["detail"]["field"]) == (400, name)


async def test_an_audit_of_times_before_any_log_is_whole_or_empty(client):
    await write(client, "m")
    old = "0001-01-01T00:00:00Z"
    after = (await client.get(f"{CONFIGS}/audit", params={"since": old})).json()["rows"]
    before = (await client.get(f"{CONFIGS}/audit", params={"before": old})).json()["rows"]
    assert (after[0]["epoch"], before) == (4, [])


async def test_pages_of_now_and_of_the_past_hold_every_entity_once(client):
    for number in range(7):
        await write(client, f"m{number}")
    epoch = (await client.get(f"{CONFIGS}/epoch")).json()["epoch"]
    for params in ({"limit": 3}, {"limit": 3, "at": epoch}):
        names: list[str] = []
        after: str | None = ""
        while after is not None:
            page = (await client.get(MODELS, params=params | {"after": after})).json()
            names += [row["model_id"] for row in page["models"]]
            after = page["next_after"]
        assert names == [f"m{number}" for number in range(7)]


async def test_a_past_export_is_the_one_that_was_given_out_then(client):
    given = []
    for number in range(4):
        await write(client, f"m{number % 3}", description=str(number))
        given.append((await client.get(f"{CONFIGS}/export")).content)
    # Also of the entries that begin the log: a follower that starts there knows which log it is.
    for epoch in range(1, 4):
        at = await client.get(f"{CONFIGS}/export", params={"at": epoch})
        assert [begin.epoch for begin in snapshot.decode(at.content).lineage] == [1]
    for data in given:
        epoch = snapshot.decode(data).entry.epoch
        again = await client.get(f"{CONFIGS}/export", params={"at": epoch})
        assert again.content == data
        # Else a cache that many share gives it to whom no token lets in, and after a restored log.
        assert again.headers["cache-control"] == "private, no-cache"
        same = await client.get(
            f"{CONFIGS}/export",
            params={"at": epoch},
            headers={"If-None-Match": again.headers["etag"]},
        )
        assert same.status_code == 304


async def test_bulk_reads_come_in_parts_and_are_whole(tmp_path):
    """More entities than one part holds, now and at an epoch, in a log that began long before."""
    new_file(tmp_path / LOG_FILE, grown_log(1300)).close()
    async with running(tmp_path) as plane, client_of(plane) as client:
        then = plane.sequencer.position.epoch
        given = (await client.get(f"{CONFIGS}/export")).content
        await client.delete(f"{MODELS}/org/model-7")
        await write(client, "org/model-8", description="new")
        names = sorted(f"org/model-{number}" for number in range(1300))
        for query in ("", "limit=1200&"):
            page = (await client.get(f"{MODELS}?{query}at={then}")).json()
            shown = len(page["models"])
            assert [row["model_id"] for row in page["models"]] == names[:shown]
            assert page["next_after"] == (names[shown - 1] if shown < 1300 else None)
        now = (await client.get(MODELS)).json()
        assert [row["model_id"] for row in now["models"]] == [
            n for n in names if n[4:] != "model-7"
        ]
        assert now["next_after"] is None
        for _ in range(2):
            again = await client.get(f"{CONFIGS}/export?at={then}")
            assert again.content == given
        difference = (await client.get(f"{CONFIGS}/diff?from=3&to={then}")).json()
        assert [row["key"] for row in difference["changes"]] == names
        assert len(difference["patch"]) == len(difference["human"]) == 1300
        back = (await client.get(f"{CONFIGS}/diff?from={then + 2}&to={then}")).json()
        assert back["human"] == [
            "+ model org/model-7",
            '~ model org/model-8  description: "new" → ""',
        ]


async def test_a_past_export_that_does_not_add_up_breaks_off(tmp_path):
    """A change that is not listed under its entity: the digest shows it, and no answer is whole."""
    new_file(tmp_path / LOG_FILE, grown_log(3)).close()
    with contextlib.closing(sqlite3.connect(tmp_path / LOG_FILE)) as file, file:
        file.execute("DROP TRIGGER change_refuses_delete")
        file.execute("DELETE FROM change WHERE entity_key = 'org/model-1'")
        file.execute(
            "CREATE TRIGGER change_refuses_delete BEFORE DELETE ON change\n"
            "        BEGIN SELECT RAISE(ABORT, 'change is append-only'); END"
        )
    async with running(tmp_path) as plane, client_of(plane) as client:
        with pytest.raises(RuntimeError, match="response already started") as caught:
            await client.get(f"{CONFIGS}/export?at=6")
        assert isinstance(caught.value.__cause__, LogDamaged)


async def test_the_history_and_the_blame_name_who_and_why(client):
    one = await write(client, "m", description="a")
    two = await write(client, "m", description="a", pool="default", aliases=["x"])
    found = (await client.get(f"{MODELS}/m/blame")).json()
    by_path = {row["path"]: row for row in found["fields"]}
    assert by_path["/description"]["epoch"] == one["epoch"]
    assert (by_path["/aliases"]["epoch"], by_path["/aliases"]["actor"]) == (two["epoch"], "ci")
    page = (await client.get(f"{MODELS}/m/history", params={"limit": 1})).json()
    assert page["next_after"] == one["epoch"]
    rest = await client.get(
        f"{MODELS}/m/history", params={"after": page["next_after"], "diff": "true"}
    )
    then = await client.get(f"{MODELS}/m/history", params={"at": one["epoch"]})
    assert [row["epoch"] for row in then.json()["history"]] == [one["epoch"]]
    early = await client.get(f"{MODELS}/m/history", params={"at": one["epoch"] - 1})
    assert early.status_code == 404
    row = rest.json()["history"][0]
    assert row["patch"] == [{"op": "replace", "path": "/aliases", "value": ["x"]}]
    assert (await client.get(f"{MODELS}/none/blame")).status_code == 404


async def test_a_difference_is_told_to_programs_and_to_people(client):
    await write(client, "gone")
    start = (await write(client, "m", description="a"))["epoch"]
    await client.delete(f"{MODELS}/gone")
    await write(client, "m", description="b")
    end = (await write(client, "new/m"))["epoch"]
    told = (await client.get(f"{CONFIGS}/diff", params={"from": start, "to": end})).json()
    assert told["human"] == [
        "- model gone",
        '~ model m  description: "a" → "b"',
        "+ model new/m",
    ]
    assert [(op["op"], op["path"]) for op in told["patch"]] == [
        ("remove", "/models/gone"),
        ("replace", "/models/m/description"),
        ("add", "/models/new~1m"),
    ]
    none = (await client.get(f"{CONFIGS}/diff", params={"from": end})).json()
    assert (none["patch"], none["human"]) == ([], [])
    assert (await client.get(f"{CONFIGS}/diff")).status_code == 422


@pytest.mark.parametrize("limit", [1, 3, 7])
async def test_a_difference_in_pages_of_any_length_is_the_whole_one(client, limit):
    start = (await write(client, "m0", description="a"))["epoch"]
    for number in range(7):
        await write(client, f"m{number}", description="b")
    told = {"from": start}
    whole = (await client.get(f"{CONFIGS}/diff", params=told)).json()["changes"]
    paged: list[dict[str, str]] = []
    after: str | None = ""
    while after is not None:
        query = told | {"limit": limit, "after": after}
        page = (await client.get(f"{CONFIGS}/diff", params=query)).json()
        paged += page["changes"]
        after = page["next_after"]
    assert paged == whole
    assert len(whole) == 7


async def test_property_12_a_revert_is_a_new_entry_that_brings_documents_back(client):
    """Property 12."""
    start = (await write(client, "m", description="a"))["epoch"]
    await write(client, "m", description="b")
    await write(client, "other")
    await client.post(f"{CONFIGS}/pools", json={"name": "eu"})
    head = (await client.get(f"{CONFIGS}/epoch")).json()["epoch"]
    chosen = {"to": start, "entities": [{"kind": "model", "key": "m"}]}
    trial = await client.post(f"{CONFIGS}/revert?dry_run=true", json=chosen)
    assert trial.json()["human"] == ['~ model m  description: "b" → "a"']
    done = await client.post(f"{CONFIGS}/revert", json=chosen)
    assert (done.json()["epoch"], done.json()["changed"]) == (head + 1, True), done.text
    assert (await client.get(f"{MODELS}/other")).status_code == 200
    whole = await client.post(f"{CONFIGS}/revert", json={"to": start})
    assert whole.json()["epoch"] == head + 2
    assert (await client.get(f"{MODELS}/other")).status_code == 404
    diff = await client.get(f"{CONFIGS}/diff", params={"from": start})
    assert diff.json()["patch"] == []
    again = await client.post(f"{CONFIGS}/revert", json={"to": start})
    assert (again.json()["changed"], again.json()["epoch"]) == (False, head + 2)
    row = (await client.get(f"{MODELS}/other/history")).json()["history"][-1]
    assert (row["kind"], row["reason"]) == ("model.delete", f"revert to epoch {start}")


async def test_a_revert_of_a_name_with_a_slip_writes_nothing_of_what_is_beside_it(client):
    start = (await write(client, "m", description="a"))["epoch"]
    await client.post(f"{CONFIGS}/pools", json={"name": "eu"})
    head = (await write(client, "m", description="b"))["epoch"]
    slip = [{"kind": "model", "key": "m"}, {"kind": "pool", "key": "ue"}]
    for query in ("", "?dry_run=true"):
        refused = await client.post(
            f"{CONFIGS}/revert{query}", json={"to": start, "entities": slip}
        )
        told = refused.json()["detail"]
        assert (refused.status_code, told["code"]) == (404, "POOL_NOT_FOUND")
        assert (told["field"], "no pool 'ue'" in told["message"]) == ("entities.1.key", True)
    assert (await client.get(f"{CONFIGS}/epoch")).json()["epoch"] == head
    # One that is there now, or was then, is no slip; nor is one where nothing differs.
    for to in (start, head):
        chosen = {"to": to, "entities": [{"kind": "pool", "key": "eu"}]}
        assert (await client.post(f"{CONFIGS}/revert", json=chosen)).json()["changed"]
    again = await client.post(f"{CONFIGS}/revert", json=chosen)
    assert (again.status_code, again.json()["changed"]) == (200, False)


async def test_a_revision_leads_back_to_the_config_and_to_the_entry_that_made_it(client):
    first = await write(client, "m")
    document = (await client.get(f"{MODELS}/m")).json()["document"]
    revision = model_revision(document, "default")
    await write(client, "m", tasks={"encode": {"outputs": ["sparse"]}})
    source = {"type": "hub", "id": "org/lora", "revision": "1" * 40}
    await client.put(f"{CONFIGS}/adapters/m/legal", json={"source": source})
    for params in ({"revision": revision}, {"revision": revision[:12], "key": "m"}):
        found = (await client.get(f"{CONFIGS}/resolve", params=params)).json()
        assert (found["key"], found["profile"]) == ("m", "default")
        assert found["entry"]["epoch"] == first["epoch"]
        assert (found["document"], found["entry"]["hash"]) == (document, first["hash"])
        assert found["config"]["profile_name"] == "default"
    adapter = (await client.get(f"{CONFIGS}/adapters/m/legal")).json()["document"]
    lora = {"revision": adapter_revision(adapter), "key": "m/legal"}
    found = (await client.get(f"{CONFIGS}/resolve", params=lora)).json()
    assert (found["kind"], found["config"]) == ("adapter", adapter)
    none = await client.get(f"{CONFIGS}/resolve", params={"revision": "f" * 64})
    assert (none.status_code, none.json()["detail"]["code"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("path", "field", "given", "words"),
    [
        *(
            ("resolve", "revision", given, "8 to 64 hex digits: an answer's X-SIE-Model-Revision")
            for given in ("", "abc", "F" * 8, "f" * 65, "f" * 8 + "\n")
        ),
        *(("diff", "after", given, "KIND/KEY") for given in ("m", "model/", "/m")),
    ],
)
async def test_a_text_of_no_such_form_is_told_what_it_is(client, path, field, given, words):
    params = {"from": "1", field: given} if path == "diff" else {field: given}
    answer = await client.get(f"{CONFIGS}/{path}", params=params)
    detail = answer.json()["detail"]
    assert (answer.status_code, detail["code"]) == (422, "VALIDATION_ERROR")
    assert detail["message"].startswith(f"{field} is {words}")
    assert (detail["field"], detail["details"][0]["path"]) == (field, field)


async def test_w14_the_audit_tells_what_was_changed_and_what_was_refused(client):
    """W14."""
    done = await write(client, "m")
    bad = {"X-SIE-Actor": "eve", "X-SIE-Reason": "try"}
    for _ in range(5):
        assert (await client.delete(f"{MODELS}/none", headers=bad)).status_code == 404
    await client.post(MODELS, json={"model_id": 1}, headers=bad)
    rows = (await client.get(f"{CONFIGS}/audit")).json()["rows"]
    assert [(row["actor"], row["outcome"], row["count"]) for row in rows[:3]] == [
        ("eve", "VALIDATION_ERROR", 1),
        ("eve", "MODEL_NOT_FOUND", 5),
        ("ci", "accepted", 1),
    ]
    assert rows[2]["hash"] == done["hash"]
    assert (rows[1]["kind"], rows[1]["key"], rows[1]["reason"]) == ("model", "none", "try")

    async def ask(**params: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await client.get(f"{CONFIGS}/audit", params=params)).json()[
            "rows"
        ]
        return found

    assert {row["actor"] for row in await ask(actor="eve")} == {"eve"}
    assert [row["outcome"] for row in await ask(kind="model", key="m")] == ["accepted"]
    assert [row["count"] for row in await ask(outcome="MODEL_NOT_FOUND")] == [5]
    assert len(await ask(outcome="refused")) == 2
    assert await ask(since="2999-01-01T00:00:00Z") == []
    lines = await client.get(f"{CONFIGS}/audit", headers={"accept": "application/x-ndjson"})
    assert [json.loads(line) for line in lines.text.splitlines()] == rows
    paged, before = [], None
    while True:
        params = {"limit": 2} | ({"before": before} if before else {})
        page = (await client.get(f"{CONFIGS}/audit", params=params)).json()
        paged += page["rows"]
        before = page["next_before"]
        if before is None:
            break
    assert paged == rows


async def test_attempts_without_the_right_are_audited_too(plane, tmp_path):
    grant = {"name": "ci", "sha256": hash_of(b"ci"), "roles": ["read", "audit"], "tenant": ""}
    (tmp_path / "tokens.json").write_text(json.dumps({"tokens": [grant]}))
    access = Access(AccessSettings(auth_file=tmp_path / "tokens.json"))
    app = build_app(plane)
    gate = Gate(app, access, Doors(app).role_of, on_refused=noting_gate(plane))
    transport = httpx.ASGITransport(gate)
    async with httpx.AsyncClient(transport=transport, base_url="http://config") as client:
        assert (await client.delete(f"{MODELS}/m")).status_code == 401
        known = {"Authorization": "Bearer ci", "X-SIE-Actor": "boss"}
        assert (await client.delete(f"{MODELS}/m", headers=known)).status_code == 403
        answer = await client.get(f"{CONFIGS}/audit", headers=known, params={"outcome": "refused"})
        assert [(row["outcome"], row["actor"]) for row in answer.json()["rows"]] == [
            ("FORBIDDEN", "ci"),
            ("UNAUTHORIZED", "unverified"),
        ]
        waited = {"min": 0, "timeout_s": 0}
        answer = await client.post(f"{CONFIGS}/wait", headers=known, json=waited)
        assert answer.status_code == 200, "a reader may wait"


async def test_a_token_above_its_rate_is_told_when_to_come_and_its_attempt_is_audited(
    plane, tmp_path
):
    tokens = [
        {"name": name, "sha256": hash_of(name.encode()), "roles": ["admin"], "tenant": ""}
        for name in ("bot", "boss")
    ]
    (tmp_path / "tokens.json").write_text(json.dumps({"tokens": tokens}))
    access = Access(AccessSettings(auth_file=tmp_path / "tokens.json"))
    app = build_app(plane)
    gate = Gate(
        app,
        access,
        Doors(app).role_of,
        rates=Rates("token", per_s=0.1, burst=1),
        clock=lambda: 0.0,
        on_refused=noting_gate(plane),
    )
    transport = httpx.ASGITransport(gate)
    async with httpx.AsyncClient(transport=transport, base_url="http://config") as client:
        bot = {"Authorization": "Bearer bot", "X-SIE-Actor": "boss"}
        assert (await client.delete(f"{MODELS}/m", headers=bot)).status_code == 404
        told = await client.delete(f"{MODELS}/m", headers=bot)
        assert (told.status_code, told.json()["detail"]["code"]) == (429, "RATE_LIMIT")
        assert told.headers["retry-after"] == "10"
        assert "token 'bot' sends more than 0.1" in told.json()["detail"]["message"]
        assert (await client.get("/healthz")).status_code == 200
        boss = {"Authorization": "Bearer boss"}
        answer = await client.get(f"{CONFIGS}/audit", headers=boss, params={"outcome": "refused"})
        assert [(row["outcome"], row["actor"]) for row in answer.json()["rows"]] == [
            ("RATE_LIMIT", "bot"),
            ("MODEL_NOT_FOUND", "bot"),
        ]


async def test_property_11_the_accepted_rows_of_the_audit_are_the_log(client):
    """Property 11: every change has one entry with its actor, and the audit shows each."""
    for number in range(5):
        await write(client, f"m{number}")
    await client.delete(f"{MODELS}/m0")
    await write(client, "m1")
    rows = (await client.get(f"{CONFIGS}/audit", params={"outcome": "accepted"})).json()["rows"]
    log = (await client.get(f"{CONFIGS}/log")).json()["entries"]
    assert [row["hash"] for row in reversed(rows)] == [each["hash"] for each in log]
    assert all(row["actor"] for row in rows)


async def test_a_damaged_file_of_refusals_is_named_with_its_cure_and_costs_no_threads(tmp_path):
    file = tmp_path / "refused.sqlite"
    file.write_bytes(b"no database" * 1000)
    async with running(tmp_path) as plane, client_of(plane) as client:
        await client.delete(f"{MODELS}/nobody")
        first: Counter[str] = Counter()
        for _ in range(4):
            answer = await client.get(f"{CONFIGS}/audit")
            assert (answer.status_code, answer.json()["detail"]["code"]) == (503, "STORAGE_FAILED")
            assert f"remove {file}" in answer.json()["detail"]["message"]
            names = Counter(thread.name for thread in threading.enumerate())
            first = first or names
        # Others begin when they have work; one that is lost has a successor of its name.
        assert all(names[name] <= number for name, number in first.items())


async def test_refusals_never_grow_beyond_their_bounds(tmp_path):
    bounds: dict[str, Any] = {"audit_rows_max": 5, "audit_rows_per_minute": 3}
    async with running(tmp_path, **bounds) as plane, client_of(plane) as client:
        for number in range(10):
            await client.delete(f"{MODELS}/m{number}", headers={"X-SIE-Actor": f"eve{number}"})
        found = await client.get(f"{CONFIGS}/audit", params={"outcome": "refused"})
        rows = found.json()["rows"]
        assert sum(row["count"] for row in rows) == 10
        assert len(rows) == 4
        assert rows[0]["actor"] == "(others)"
    async with running(tmp_path, **bounds) as plane, client_of(plane) as client:
        for number in range(4):
            await client.delete(f"{MODELS}/n{number}")
        found = await client.get(f"{CONFIGS}/audit", params={"outcome": "refused"})
        assert len(found.json()["rows"]) == 5, "the oldest left, a restart forgot none"


async def ask(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await client.post(f"{CONFIGS}/wait", json={"timeout_s": 0} | body)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def test_nobody_is_not_everybody(plane, client):
    assert (await ask(client))["reached"] is False
    assert (await ask(client, min=0))["reached"] is True


async def test_a_wait_ends_with_the_report_that_it_waits_for(plane, client):
    await plane.replicas.hearing.hear(report_at(plane.sequencer.position))
    outcome = await put(plane, "m")
    waiting = asyncio.create_task(ask(client, epoch=outcome.entry.epoch, timeout_s=30))
    writing = asyncio.create_task(
        client.post(MODELS, params={"wait": "converged", "timeout": 30}, json=model("n"))
    )
    await until(lambda: plane.sequencer.position.epoch == outcome.entry.epoch + 1)
    assert not waiting.done()
    assert not writing.done()
    await plane.replicas.hearing.hear(report_at(plane.sequencer.position))
    async with asyncio.timeout(60):
        assert (await waiting)["reached"] is True
        assert (await writing).json()["convergence"]["reached"] is True
    metrics = (await client.get("/metrics")).text
    assert 'sie_config_propagation_seconds_count{role="gateway"}' in metrics


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"epoch": 3}, "at epoch 3"),
        ({"state": "stale"}, "is stale"),
        ({"state": "quarantined", "reason": "why"}, "is quarantined: why"),
        ({"digest": "0" * 64}, "holds another state at epoch 4"),
        ({"hash": "0" * 64}, "holds another state at epoch 4"),
        ({"log_id": "f" * 32}, "follows another log"),
    ],
)
async def test_a_replica_that_is_behind_stale_or_lying_never_counts(plane, client, fields, cause):
    await put(plane, "m")
    await plane.replicas.hearing.hear(report_at(plane.sequencer.position))
    await plane.replicas.hearing.hear(report_at(plane.sequencer.position, id="g2", **fields))
    told = await ask(client)
    assert (told["reached"], told["selected"], told["satisfied"]) == (False, 2, 1)
    assert told["waiting_for"] == [{"role": "gateway", "id": "g2", "cause": cause}]
    assert (await ask(client, quorum=1))["reached"] is True
    assert (await ask(client, ids=["g1"]))["reached"] is True
    assert (await ask(client, roles=["worker"]))["selected"] == 0
    await client.post(f"{CONFIGS}/replicas/forget", json={"role": "gateway", "id": "g2"})
    assert (await ask(client))["reached"] is True


async def test_a_replica_that_fell_silent_blocks_until_it_is_forgotten(tmp_path):
    async with running(tmp_path, report_ttl_s=0.05) as plane, client_of(plane) as client:
        await plane.replicas.hearing.hear(report_at(plane.sequencer.position))
        await put(plane, "m")
        await plane.replicas.hearing.hear(report_at(plane.sequencer.position))
        await until(lambda: not plane.replicas_view()["live"])
        told = await ask(client)
        assert told["reached"] is False
        assert told["waiting_for"][0]["cause"].startswith("silent")
        forgotten = {"role": "gateway", "id": "g1"}
        assert (await client.post(f"{CONFIGS}/replicas/forget", json=forgotten)).json()["forgotten"]
        assert (await ask(client, min=0))["reached"] is True


async def test_effective_wants_the_new_revision_and_no_failure(plane, client):
    """W17: the answer is per model and per revision."""
    await put(plane, "m")
    document = json.loads(plane.sequencer.registry.get("model", "m").document)
    revision = model_revision(document, "default")
    for held, reached in (
        (ModelReport(state="failed", reason="no file"), False),
        (ModelReport(state="loaded", revision="0" * 64), False),
        (ModelReport(state="loaded", revision=revision), True),
        (ModelReport(state="available"), True),
    ):
        told = report_at(plane.sequencer.position, role="worker", id="w", models={"m": held})
        await plane.replicas.hearing.hear(told)
        assert (await ask(client, until="effective"))["reached"] is reached
        assert (await ask(client))["reached"] is True


async def test_the_view_of_replicas_tells_the_lag_in_epochs_and_seconds(plane, client):
    await plane.replicas.hearing.hear(report_at(plane.sequencer.position))
    await put(plane, "m")
    row = (await client.get(f"{CONFIGS}/replicas")).json()["replicas"][0]
    assert row["lag"] == 1
    assert 0 <= row["lag_s"] < 60
    await plane.replicas.hearing.hear(report_at(plane.sequencer.position))
    row = (await client.get(f"{CONFIGS}/replicas")).json()["replicas"][0]
    assert (row["lag"], row["lag_s"]) == (0, 0.0)
    await plane.replicas.hearing.hear(report_at(plane.sequencer.position, log_id="f" * 32))
    row = (await client.get(f"{CONFIGS}/replicas")).json()["replicas"][0]
    assert (row["lag"], row["lag_s"]) == (None, None), "of another log nobody knows how far it is"


@pytest.mark.parametrize("is_damaged", [False, True])
async def test_a_lag_is_told_of_what_an_earlier_process_committed_and_none_where_it_is_damaged(
    tmp_path, is_damaged
):
    async with running(tmp_path) as plane:
        await put(plane, "m")
        late = report_at(plane.sequencer.position)
        await put(plane, "n")
        missed = plane.sequencer.position.epoch
    async with running(tmp_path) as plane, client_of(plane) as client:
        if is_damaged:
            with contextlib.closing(sqlite3.connect(tmp_path / LOG_FILE)) as file, file:
                file.execute("DROP TRIGGER log_refuses_update")
                file.execute("UPDATE log SET body = x'7b7d' WHERE epoch = ?", [missed])
        await plane.replicas.hearing.hear(late)
        for _ in range(2):
            row = (await client.get(f"{CONFIGS}/replicas")).json()["replicas"][0]
            assert row["lag"] >= 1
            assert (row["lag_s"] is None) is is_damaged


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"epoch": 99}, 409, "AHEAD"),
        ({"epoch": 0}, 404, "NOT_FOUND"),
        ({"log_id": "other"}, 410, "GONE"),
        ({"quorum": 0}, 422, "VALIDATION_ERROR"),
        ({"unknown": 1}, 422, "VALIDATION_ERROR"),
        ([], 422, "VALIDATION_ERROR"),
    ],
)
async def test_a_wait_for_what_cannot_come_is_refused(client, body, status, code):
    answer = await client.post(f"{CONFIGS}/wait", json=body)
    assert (answer.status_code, answer.json()["detail"]["code"]) == (status, code)
