"""Laws of reading over HTTP: pages of any length are the whole, and bounds are where they say."""

import itertools
import json
import random
from typing import Any

import pytest
from httpx import AsyncClient
from tests.support.config_writer import client_of, model, put_model, running, write

from sie_config.writer_process import ControlPlane
from sie_core.registry import Registry
from sie_testing.json_patching import as_json, patched

CONFIGS = "/v1/configs"
MODELS = ("a", "A", "ab", "org/b", "org/c", "org/C", "d")
"""Some differ by case alone, and some begin as another does."""
ADAPTERS = ("org/b/legal", "a/new")
LORA = {"type": "hub", "id": "org/lora", "revision": "1" * 40}
PLURALS = {"model": "models", "adapter": "adapters"}
FORCES = ("", "moving house", "the law")
_WRITES = 20


def _operation(chance: random.Random, here: Registry) -> dict[str, Any]:
    name = chance.choice(MODELS)
    if chance.random() < 0.3:
        model_id, _, adapter = chance.choice(ADAPTERS).rpartition("/")
        if here.get("model", model_id) is not None:
            document = {"model_id": model_id, "name": adapter, "source": LORA}
            document["description"] = str(chance.random())
            return {"op": "put", "kind": "adapter", "document": document}
    document = model(name, description=str(chance.random()))
    return {"op": "put", "kind": "model", "document": document}


async def written(
    plane: ControlPlane, client: AsyncClient, chance: random.Random
) -> tuple[dict[int, Registry], dict[int, str]]:
    """The registry at each epoch of a log that has a few batches, some of which remove a model;
    and the reason for which each of them was forced."""
    forces: dict[int, str] = {}
    states = {plane.sequencer.position.epoch: plane.sequencer.registry}
    while len(states) <= _WRITES:
        here = plane.sequencer.registry
        operations = [_operation(chance, here) for _ in range(chance.randint(1, 3))]
        gone = [each for each in here if each.kind in PLURALS and chance.random() < 0.2]
        operations += [
            {"op": "delete", "kind": each.kind, "key": each.key}
            for each in gone
            if not any(name.startswith(f"{each.key}/") for name in ADAPTERS)
        ]
        force = chance.choice(FORCES)
        headers = {"X-SIE-Reason": "law"} | ({"X-SIE-Force": force} if force else {})
        query = chance.choice(["", "", "?dry_run=true"])
        body = {"operations": operations}
        answer = await client.post(f"{CONFIGS}/batch{query}", json=body, headers=headers)
        assert answer.status_code in ({200, 201} if force else {200, 201, 409}), answer.text
        if answer.is_success and not query and answer.json()["changed"]:
            states[answer.json()["epoch"]] = plane.sequencer.registry
            forces[answer.json()["epoch"]] = force
        assert plane.sequencer.position.epoch == max(states), "a trial and a refusal leave nothing"
    return states, forces


async def _told(client: AsyncClient, path: str, **query: Any) -> dict[str, Any]:
    answer = await client.get(f"{CONFIGS}{path}", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture(params=[1, 2])
async def log(request, tmp_path):
    """A control plane, a client of it, registries and reasons of force by epoch, and chance."""
    chance = random.Random(request.param)
    async with running(tmp_path, page_entries_max=4) as plane, client_of(plane) as client:
        states, forces = await written(plane, client, chance)
        yield plane, client, states, forces, chance


async def test_a_range_is_whole_from_its_beginning_or_refused_exactly_at_its_bounds(log):
    plane, client, states, _, chance = log
    head = plane.sequencer.position.epoch
    epochs = list(range(1, head + 1))
    for epoch in (0, 1, head, head + 1):
        status = (await client.get(f"{CONFIGS}/entries/{epoch}")).status_code
        assert status == (200 if 1 <= epoch <= head else 404)
    for mark in (1, 2, chance.randint(3, head - 1), head):
        body = {"low_water": mark}
        assert (await client.post(f"{CONFIGS}/compact", json=body)).json()["low_water"] == mark
        for after in {0, mark - 2, mark - 1, mark, head - 1, head, head + 1, head + 2} - {-1}:
            limit = chance.choice([1, 3, 4, 5, head])
            query = {"after": after, "limit": limit}
            answer = await client.get(f"{CONFIGS}/log", params=query)
            if after < mark - 1 or after > head:
                code = "GONE" if after < mark - 1 else "AHEAD"
                assert answer.json()["detail"]["code"] == code, (mark, query)
                continue
            page = answer.json()
            assert [each["body"]["epoch"] for each in page["entries"]] == epochs[after:][
                : min(limit, 4)
            ]
            assert page["next_after"] == min(after + min(limit, 4), max(after, head))
            lines = {"accept": "application/x-ndjson"}
            for bound in (query, {"after": after}):
                told = await client.get(f"{CONFIGS}/log", params=bound, headers=lines)
                found = [json.loads(line)["body"]["epoch"] for line in told.text.splitlines()]
                assert found == epochs[after:][: bound.get("limit", head)]
    # History has no such bound.
    assert (await _told(client, "/models", at=min(states)))["epoch"] == min(states)


async def test_a_list_in_pages_is_the_list_of_its_moment(log):
    plane, client, states, _, chance = log
    head = plane.sequencer.position.epoch
    for epoch in (None, head, *chance.sample(sorted(states), 2)):
        then = states[head if epoch is None else epoch]
        at = {} if epoch is None else {"at": epoch}
        for kind in ("model", "adapter"):
            wanted = then.of_kind(kind)
            whole = await _told(client, f"/{kind}s", **at)
            assert (whole["epoch"], whole["next_after"]) == (epoch or head, None)
            for row, entity in zip(whole[f"{kind}s"], wanted, strict=True):
                assert row["document"] == json.loads(entity.document)
                assert row["modified_epoch"] == entity.modified_epoch
                name = row["model_id"] if kind == "model" else f"{row['model_id']}/{row['name']}"
                assert name == entity.key
            for limit in {1, max(1, len(wanted) - 1), max(1, len(wanted)), len(wanted) + 1}:
                rows: list[Any] = []
                after: str | None = ""
                while after is not None:
                    page = await _told(client, f"/{kind}s", **at, after=after, limit=limit)
                    rows += page[f"{kind}s"]
                    after = page["next_after"]
                    # Whoever is told of a next page finds something there.
                    assert len(page[f"{kind}s"]) == limit or after is None
                assert rows == whole[f"{kind}s"]
                assert page[f"{kind}s"] or not wanted


async def test_a_history_in_pages_is_the_whole_and_its_patches_lead_from_each_to_the_next(log):
    _, client, states, _, chance = log
    for key in MODELS:
        answer = await client.get(f"{CONFIGS}/models/{key}/history", params={"diff": "true"})
        if answer.status_code == 404:
            assert all(each.get("model", key) is None for each in states.values())
            continue
        whole = answer.json()["history"]
        document: Any = None
        for row in whole:
            document = patched(document, row["patch"])
            then = states[row["epoch"]].get("model", key)
            last = [each for each in whole if each["epoch"] == row["epoch"]][-1]
            if row is last:
                assert document == (None if then is None else json.loads(then.document))
        for limit in (1, 2):
            rows: list[Any] = []
            after: int | None = 0
            while after is not None:
                query = {"after": after, "limit": limit, "diff": "true"}
                page = await _told(client, f"/models/{key}/history", **query)
                rows += page["history"]
                after = page["next_after"]
            assert rows == whole
        at = chance.choice(sorted(states))
        told = await client.get(f"{CONFIGS}/models/{key}/history", params={"at": at})
        until = [each["epoch"] for each in whole if each["epoch"] <= at]
        if until:
            assert [each["epoch"] for each in told.json()["history"]] == until
        else:
            assert told.status_code == 404


async def _history_of(client: AsyncClient, kind: str, key: str) -> list[dict[str, Any]]:
    """The history, the same however its key is written in the path."""
    path = f"/{PLURALS[kind]}/"
    plain = await client.get(f"{CONFIGS}{path}{key}/history")
    encoded = "".join(f"%{ord(each):02x}" for each in key)
    assert (await client.get(f"{CONFIGS}{path}{encoded}/history")).content == plain.content
    rows: list[dict[str, Any]] = plain.json().get("history", [])
    assert plain.status_code == (200 if rows else 404)
    return rows


async def test_what_went_and_came_again_has_all_its_history_and_nobody_elses(log):
    plane, client, states, _, chance = log
    entries = [entry for epoch in sorted(states)[1:] for entry in [await _entry(client, epoch)]]
    gone = [
        (kind, key) for kind, keys in (("model", MODELS), ("adapter", ADAPTERS)) for key in keys
    ]
    came_again = 0
    for kind, key in gone:
        changes = [
            (entry["epoch"], each["kind"])
            for entry in entries
            for each in entry["changes"]
            if (each["kind"].partition(".")[0], each["key"]) == (kind, key)
        ]
        rows = await _history_of(client, kind, key)
        assert [(row["epoch"], row["kind"]) for row in rows] == changes
        here = [states[epoch].get(kind, key) is not None for epoch in sorted(states)]
        came_again += any(
            left and not right and any(here[place + 1 :])
            for place, (left, right) in enumerate(itertools.pairwise(here))
        )
        for epoch in sorted(states):
            then = states[epoch].get(kind, key)
            answer = await client.get(f"{CONFIGS}/{PLURALS[kind]}/{key}", params={"at": epoch})
            assert answer.status_code == (404 if then is None else 200)
            assert then is None or answer.json()["document"] == json.loads(then.document)
    assert came_again, "nothing that was deleted was made again"

    now = plane.sequencer.registry
    for kind, key in gone:
        past = [epoch for epoch in sorted(states) if states[epoch].get(kind, key) is not None]
        model_id = key if kind == "model" else key.rpartition("/")[0]
        if (
            not past
            or now.get(kind, key) is not None
            or now.get("model", model_id) is None != (kind == "model")
        ):
            continue
        epoch = chance.choice(past)
        body = {"to": epoch, "entities": [{"kind": kind, "key": key}]}
        answer = await client.post(f"{CONFIGS}/revert", json=body)
        assert answer.status_code == 201, answer.text
        brought = plane.sequencer.registry
        found, then = brought.get(kind, key), states[epoch].get(kind, key)
        assert found is not None and then is not None and found.document == then.document
        assert [each for each in brought if each != found] == list(now)
        [*_, last] = await _history_of(client, kind, key)
        assert (last["epoch"], last["kind"]) == (found.modified_epoch, f"{kind}.put")
        now = brought


async def _entry(client: AsyncClient, epoch: int) -> dict[str, Any]:
    body: dict[str, Any] = (await _told(client, f"/entries/{epoch}"))["body"]
    return body


async def test_the_reason_of_force_is_told_wherever_its_entry_is_and_of_no_other(log):
    _, client, states, forces, _ = log
    assert set(forces.values()) == set(FORCES)
    told = await _told(client, "/audit", limit=1000, outcome="accepted")
    rows = {row["epoch"]: row["forced"] for row in told["rows"]}
    assert rows == dict.fromkeys(rows, "") | forces
    for epoch, force in forces.items():
        assert (await _entry(client, epoch)).get("forced", "") == force
    for key in MODELS:
        for row in await _history_of(client, "model", key):
            assert (row["forced"], row["reason"]) == (forces[row["epoch"]], "law")
        if states[max(states)].get("model", key) is not None:
            for field in (await _told(client, f"/models/{key}/blame"))["fields"]:
                assert field["forced"] == forces[field["epoch"]]


async def test_a_difference_reads_the_same_from_either_end(log):
    _, client, states, _, chance = log
    for _ in range(6):
        old, new = chance.sample(sorted(states), 2)
        told = await _told(client, "/diff", **{"from": old, "to": new})
        assert (told["from"]["epoch"], told["to"]["epoch"]) == (old, new)
        before, after = as_json(states[old]), as_json(states[new])
        assert patched(before, told["patch"]) == after
        back = await _told(client, "/diff", **{"from": new, "to": old})
        turned = {"added": "removed", "removed": "added", "changed": "changed"}
        assert [{**each, "verb": turned[each["verb"]]} for each in back["changes"]] == told[
            "changes"
        ]


async def test_nothing_is_shown_that_is_in_the_file_and_was_not_announced(log):
    plane, client, *_ = log
    sequencer, epoch = plane.sequencer, plane.sequencer.position.epoch
    lines = {"accept": "application/x-ndjson"}
    asked = [
        *(
            "/log?after=3",
            "/log?after=3&limit=1000",
            f"/log?after={epoch}",
            "/models",
            "/diff?from=3",
        ),
        *(
            "/models/a/history",
            "/models/a/blame",
            "/audit",
            "/audit?actor=law",
            "/export",
            "/epoch",
        ),
        *(
            f"/entries/{epoch + 1}",
            f"/models/new?at={epoch + 1}",
            "/models/new",
            "/models/new/history",
        ),
        f"/resolve?revision={'0' * 8}",
    ]

    async def seen() -> list[tuple[int, bytes]]:
        found = [await client.get(f"{CONFIGS}{path}") for path in asked]
        found += [await client.get(f"{CONFIGS}{path}", headers=lines) for path in asked]
        return [(answer.status_code, answer.content) for answer in found]

    before = await seen()
    # As it is between a commit and its answer, seen by who reads the file meanwhile.
    draft = sequencer._draft(sequencer._tenure)
    draft.write(write(put_model("new"), put_model("a", description="later"), actor="law"))
    sequencer._sign_end(draft)
    await plane.store.append(draft.entries)
    assert await seen() == before
