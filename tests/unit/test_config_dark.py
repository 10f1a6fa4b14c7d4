"""Corners of going dark: what asks for a reason, what does not, and what `effective` waits for."""

from typing import Any

import httpx
from tests.support.config_writer import model
from tests.support.reports import report_at

from sie_gateway.fleet.traffic import Traffic

pytest_plugins = ["tests.support.config_plane"]

CONFIGS = "/v1/configs"
MERGE = {"content-type": "application/merge-patch+json"}
PLACE = ("default", "cpu", "default")
GATEWAY = {"traffic": {"m": 3}, "adapters": {"m/legal": 5}}
LORA = {"type": "hub", "id": "org/lora", "revision": "1" * 40}


async def _told(plane, *places: Any, **gateway: Any) -> None:
    """A gateway's word, and one of a worker at each place."""
    position = plane.sequencer.position
    reports = [report_at(position, **(GATEWAY | gateway))]
    for number, place in enumerate(places):
        reports.append(report_at(position, role="worker", id=f"w{number}", place=place))
    for report in reports:
        await plane.replicas.hearing.hear(report)


async def _names(answer: httpx.Response) -> list[str]:
    if answer.status_code in {200, 201}:
        return []
    detail = answer.json()["detail"]
    assert (answer.status_code, detail["code"]) == (409, "FORCE_REQUIRED"), answer.text
    return [each["name"] for each in detail["details"]["dark"]]


async def test_every_way_to_take_a_used_model_out_asks_for_a_reason(client, plane):
    profiles = {"default": {"backend": "transformer"}, "fast": {"backend": "cross-encoder"}}
    await client.post(f"{CONFIGS}/models", json=model("m", profiles=profiles))
    await client.post(f"{CONFIGS}/models", json=model("quiet"))
    legal = {"model_id": "m", "name": "legal", "source": LORA}
    assert (await client.post(f"{CONFIGS}/adapters", json=legal)).status_code == 201
    await client.post(f"{CONFIGS}/pools", json={"name": "night"})
    await _told(plane, PLACE)

    async def bundle(name: str, backends: list[str], priority: int = 10) -> list[str]:
        body = {"name": name, "backends": backends, "priority": priority}
        path = f"{CONFIGS}/bundles/{name}?dry_run=true"
        return await _names(await client.put(path, json=body))

    async def patched(**change: Any) -> list[str]:
        path = f"{CONFIGS}/models/m?dry_run=true"
        return await _names(await client.patch(path, json=change, headers=MERGE))

    both = ["m:default", "m:fast"]
    assert await bundle("embed", ["transformer"], 5) == ["m:default"]
    assert await bundle("embed", ["transformer"], 11) == []
    assert await bundle("default", ["transformer"]) == ["m:fast"]
    # Of this no worker is to blame: nothing runs them any more, used or not.
    assert await bundle("default", ["cross-encoder"]) == ["m:default", "quiet:default"]
    assert await patched(pool="night") == both
    assert await patched(profiles={"fast": None}) == ["m:fast"]
    assert await patched(profiles={"fast": {"backend": "spacy"}}) == []
    assert await patched(description="x") == []
    gone = await client.delete(f"{CONFIGS}/adapters/m/legal?dry_run=true")
    assert await _names(gone) == ["m/legal"]
    assert "gateway g1 was asked for it 5 s ago" in gone.json()["detail"]["message"]
    machines = {"name": "default", "machine_profiles": ["l4"]}
    answer = await client.put(f"{CONFIGS}/pools/default?dry_run=true", json=machines)
    assert await _names(answer) == both
    wider = {"name": "default", "machine_profiles": ["l4", "cpu"], "workers_min": 1}
    assert await _names(await client.put(f"{CONFIGS}/pools/default", json=wider)) == []
    moved = [
        {"op": "delete", "kind": "adapter", "key": "m/legal"},
        {"op": "put", "kind": "model", "document": model("m", profiles=profiles, pool="night")},
    ]
    answer = await client.post(f"{CONFIGS}/batch?dry_run=true", json={"operations": moved})
    assert await _names(answer) == [*both, "m/legal"]


async def test_what_slept_before_what_was_never_asked_for_and_old_workers_ask_for_nothing(
    client, plane
):
    await client.post(f"{CONFIGS}/models", json=model("m"))
    await client.post(f"{CONFIGS}/pools", json={"name": "night"})
    away = {"name": "embed", "backends": ["transformer"], "priority": 5}
    path = f"{CONFIGS}/bundles?dry_run=true"
    await _told(plane)
    assert await _names(await client.post(path, json=away)) == [], "nobody served it"
    await _told(plane, PLACE, traffic={})
    assert await _names(await client.post(path, json=away)) == [], "nobody uses it"
    await _told(plane, PLACE)
    assert await _names(await client.post(path, json=away)) == ["m:default"]
    await _told(plane, PLACE, ("default", "cpu", "embed"))
    assert await _names(await client.post(path, json=away)) == [], "a worker is there already"
    await _told(plane, PLACE, None)
    pool = {"pool": "night"}
    moved = await client.patch(f"{CONFIGS}/models/m?dry_run=true", json=pool, headers=MERGE)
    assert await _names(moved) == [], "an older release does not say where it is"


async def test_a_model_whose_name_goes_on_as_an_alias_is_not_dark(client, plane):
    await client.post(f"{CONFIGS}/models", json=model("m"))
    await _told(plane, PLACE)
    renamed = [
        {"op": "delete", "kind": "model", "key": "m"},
        {"op": "put", "kind": "model", "document": model("new", aliases=["m"])},
    ]
    body = {"operations": renamed, "simultaneous": True}
    trial = await client.post(
        f"{CONFIGS}/batch?dry_run=true", json=body, headers={"X-SIE-Force": "renamed"}
    )
    assert trial.status_code == 200, trial.text
    assert trial.json()["dark"] == []


async def test_effective_is_what_can_be_used(client, plane):
    async def waited(answer: httpx.Response) -> list[str]:
        body = {"epoch": answer.json()["epoch"], "until": "effective", "timeout_s": 0}
        told = (await client.post(f"{CONFIGS}/wait", json=body)).json()
        causes = [row["cause"] for row in told["waiting_for"]]
        assert told["reached"] is not bool(causes)
        return causes

    put = await client.post(f"{CONFIGS}/models", json=model("m"))
    await _told(plane)
    [cause] = await waited(put)
    assert cause.startswith("m:default: it needs a worker of pool 'default', bundle 'default'")
    await _told(plane, PLACE)
    assert await waited(put) == []
    # A bundle that moves what is used, one that moves what sleeps, and what it had before it went.
    force = {"X-SIE-Force": "drill"}
    embed = {"name": "embed", "backends": ["transformer"], "priority": 5}
    moved = await client.post(f"{CONFIGS}/bundles", json=embed, headers=force)
    await _told(plane, PLACE)
    assert len(await waited(moved)) == 1
    await _told(plane, PLACE, ("default", "cpu", "embed"))
    assert await waited(moved) == []
    gone = await client.delete(f"{CONFIGS}/bundles/default", headers=force)
    await _told(plane, PLACE, ("default", "cpu", "embed"))
    assert await waited(gone) == []
    spacy = {"name": "spacy", "backends": ["spacy"], "priority": 1}
    other = await client.post(f"{CONFIGS}/bundles", json=spacy)
    await _told(plane, PLACE, PLACE)
    assert await waited(other) == [], "what it runs is not asked for"


def test_a_gateway_tells_of_adapters_beside_models():
    now = 0.0
    traffic = Traffic(lambda: now)
    traffic.note("m")
    traffic.note("m", "legal")
    now = 7.0
    traffic.note("m")
    assert (traffic.report(), traffic.report_adapters()) == ({"m": 0}, {"m/legal": 7})
    now = 3608.0
    assert (traffic.report(), traffic.report_adapters()) == ({}, {})
