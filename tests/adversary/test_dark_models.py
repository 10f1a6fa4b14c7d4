"""An admin's mistake takes live models out: it needs a reason, and nobody calls it effective.

Once a bundle of lower priority, or a model in a pool without workers, turned every answer into 202
and nothing said so: neither the dry run, nor the write, nor `wait=effective`.
"""

from pathlib import Path
from typing import Any

import httpx
from tests.support.mortal_workers import MODEL, Cluster, mortal_workers
from tests.support.polling import until_told

from sie_testing.processes.echo_execution import BACKEND

CONFIGS = "/v1/configs"
EMBED = {"name": "embed", "backends": [BACKEND], "priority": 5}
PATCH = {"content-type": "application/merge-patch+json"}
NEEDS_EMBED = "a worker of pool 'default', bundle 'embed' and machine profile 'cpu'"
NEEDS_NIGHT = "a worker of pool 'night', bundle 'default' and machine profile 'cpu'"


async def _used(cluster: Cluster) -> None:
    """Ask the model once, and wait until the writer was told, by a gateway and by a worker."""
    assert (await cluster.ask("hello")).status_code == 200

    async def told() -> bool:
        rows = (await cluster.writer.http.get(f"{CONFIGS}/replicas")).json()["replicas"]
        placed = any(row["place"] == ["default", "cpu", "default"] for row in rows)
        return placed and any(MODEL in row["traffic"] for row in rows)

    await until_told(told)


def _refused(answer: httpx.Response, needs: str) -> None:
    assert answer.status_code == 409, answer.text
    detail = answer.json()["detail"]
    assert (detail["code"], detail["field"]) == ("FORCE_REQUIRED", "X-SIE-Force")
    [dark] = detail["details"]["dark"]
    assert dark["name"] == f"{MODEL}:default"
    assert needs in dark["needs"] and needs in detail["message"]
    assert "was asked for it" in dark["asked"]


async def _by_mistake(cluster: Cluster) -> None:
    http = cluster.writer.http
    assert (await http.post(f"{CONFIGS}/pools", json={"name": "night"})).status_code == 201
    for query in ("?dry_run=true", ""):
        _refused(await http.post(f"{CONFIGS}/bundles{query}", json=EMBED), NEEDS_EMBED)
        moved = await http.patch(
            f"{CONFIGS}/models/{MODEL}{query}", json={"pool": "night"}, headers=PATCH
        )
        _refused(moved, NEEDS_NIGHT)
        batch = {"operations": [{"op": "put", "kind": "bundle", "document": EMBED}]}
        _refused(await http.post(f"{CONFIGS}/batch{query}", json=batch), NEEDS_EMBED)
        pool = {"name": "default", "machine_profiles": ["l4"]}
        answer = await http.put(f"{CONFIGS}/pools/default{query}", json=pool)
        _refused(answer, "machine profile 'l4'")
    assert (await cluster.ask("still")).status_code == 200


async def _on_purpose(cluster: Cluster) -> None:
    http = cluster.writer.http
    why = {"X-SIE-Force": "the new image starts in an hour"}
    trial = await http.post(f"{CONFIGS}/bundles?dry_run=true", json=EMBED, headers=why)
    assert trial.status_code == 200, trial.text
    [dark] = trial.json()["dark"]
    assert (dark["name"], dark["pool"], dark["bundle"], dark["machine_profiles"]) == (
        f"{MODEL}:default",
        "default",
        "embed",
        ["cpu"],
    )
    assert any(NEEDS_EMBED in line for line in trial.json()["human"])
    written = await http.post(
        f"{CONFIGS}/bundles?wait=effective&timeout=1", json=EMBED, headers=why
    )
    assert written.status_code == 201, written.text
    waited: dict[str, Any] = written.json()["convergence"]
    assert waited["reached"] is False
    assert any(NEEDS_EMBED in row["cause"] for row in waited["waiting_for"]), waited
    assert (await cluster.ask("nobody")).status_code == 202
    healed = await http.delete(f"{CONFIGS}/bundles/embed?wait=effective&timeout=15")
    assert healed.json()["convergence"]["reached"] is True, healed.text
    assert (await cluster.ask("again")).status_code == 200


async def _to_a_pool_without_workers(cluster: Cluster) -> None:
    http = cluster.writer.http
    moved = await http.patch(
        f"{CONFIGS}/models/{MODEL}?wait=effective&timeout=1",
        json={"pool": "night"},
        headers=PATCH | {"X-SIE-Force": "drill"},
    )
    waited = moved.json()["convergence"]
    assert waited["reached"] is False
    assert any(NEEDS_NIGHT in row["cause"] for row in waited["waiting_for"]), waited
    # The way back takes nothing out, and needs no reason.
    back = await http.post(
        f"{CONFIGS}/revert?wait=effective&timeout=15", json={"to": moved.json()["epoch"] - 1}
    )
    assert back.status_code == 200, back.text
    assert back.json()["convergence"]["reached"] is True
    _refused(await http.post(f"{CONFIGS}/revert", json={"to": moved.json()["epoch"]}), NEEDS_NIGHT)


async def test_a_change_that_takes_out_a_live_model_needs_a_reason_and_is_not_effective(
    tmp_path: Path,
) -> None:
    async with mortal_workers(tmp_path, 1) as cluster:
        await _used(cluster)
        await _by_mistake(cluster)
        await _on_purpose(cluster)
        await _to_a_pool_without_workers(cluster)
