"""A parameter that is misspelt: the write was made that was meant as a trial."""

from pathlib import Path

import httpx
import pytest
from tests.support.config_process import config_process
from tests.support.config_writer import model
from tests.support.gateway_world import gateway_world
from tests.support.log_world import nowhere

pytestmark = pytest.mark.integration

CONFIGS = "/v1/configs"
TYPOS = ("dry-run=true", "dryRun=All", "DRY_RUN=true", "dryrun=1", "dry_rum=true", "Dry%20Run=true")
MALFORMED = (
    "dry_run=True",
    "dry_run=1",
    "dry_run",
    "dry_run=",
    "dry_run=true&dry_run=false",
    "dry_run=true&dry_run=true",
    "dry_run=%zz",
    "dry_run=%ff",
    "ack=",
    "ack=all",
    "wait=forever",
    "wait=effective&timeout=nan",
    "wait=effective&timeout=-1",
    "wait=effective&timeout=1_0",
    "wait=effective&timeout=1&timeout=1",
)
SLIPS = {
    "If-Match-Epok": "If-Match-Epoch",
    "Idempotency-Kye": "Idempotency-Key",
    "X-SIE-Acto": "X-SIE-Actor",
    "X-SIE-Reasons": "X-SIE-Reason",
}
MERGE = {"content-type": "application/merge-patch+json"}
JSON = {"content-type": "application/json"}


def writes() -> list[tuple[str, str, object, dict[str, str]]]:
    document = model("org/m")
    return [
        ("POST", "models", document | {"description": "changed"}, JSON),
        ("PUT", "models/org/m", document | {"description": "changed"}, JSON),
        ("PATCH", "models/org/m", {"description": "changed"}, MERGE),
        ("DELETE", "models/org/m", None, {}),
        (
            "POST",
            "batch",
            {"operations": [{"op": "delete", "kind": "model", "key": "org/m"}]},
            JSON,
        ),
        ("POST", "revert", {"to": 3}, JSON),
    ]


async def test_a_misspelt_or_malformed_parameter_is_an_error_and_never_a_write(
    tmp_path: Path,
) -> None:
    async with config_process(tmp_path, nowhere()) as (_, client):
        assert (await client.post(f"{CONFIGS}/models", json=model("org/m"))).status_code == 201
        before = (await client.get(f"{CONFIGS}/epoch")).json()
        for method, path, body, headers in writes():
            for query in (*TYPOS, *MALFORMED, "reason=because", "a=1"):
                content = None if body is None else httpx.Request("POST", "/", json=body).content
                answer = await client.request(
                    method, f"{CONFIGS}/{path}?{query}", content=content, headers=headers
                )
                assert answer.status_code == 400, f"{method} {path}?{query}: {answer.text}"
                told = answer.json()["detail"]["message"]
                if query in TYPOS:
                    assert "did you mean 'dry_run'?" in told
            for slip, meant in SLIPS.items():
                answer = await client.request(
                    method,
                    f"{CONFIGS}/{path}",
                    content=None if body is None else httpx.Request("POST", "/", json=body).content,
                    headers=headers | {slip: "1"},
                )
                assert answer.status_code == 400, f"{method} {path} {slip}: {answer.text}"
                assert f"did you mean {meant!r}?" in answer.json()["detail"]["message"]
        assert (await client.get(f"{CONFIGS}/epoch")).json() == before
        for path in ("models", "models/org/m", "export", "epoch", "replicas", "audit", "verify"):
            answer = await client.get(f"{CONFIGS}/{path}?att=1")
            assert (answer.status_code, answer.json()["detail"]["field"]) == (400, "att")
        for query in (
            "log?after=1_0",
            "log?after=%201",
            "log?limit=1.0",
            "epoch?after=+1",
            "log?after=",
        ):
            answer = await client.get(f"{CONFIGS}/{query}")
            assert answer.status_code == 422, f"{query}: {answer.text}"
        near = await client.get(f"{CONFIGS}/log?affter=1")
        assert "did you mean 'after'?" in near.json()["detail"]["message"]


async def test_a_gateway_passes_over_no_parameter_either() -> None:
    one = {"items": [{"text": "four"}]}
    async with gateway_world() as world:
        transport = httpx.ASGITransport(app=world.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            for method, path in (
                ("POST", "/v1/encode/org/dense"),
                ("POST", "/v1/embeddings"),
                ("GET", "/v1/models"),
                ("GET", "/v1/configs/models"),
                ("GET", "/v1/pools"),
                ("DELETE", "/v1/pools/eval"),
                ("GET", "/health"),
            ):
                answer = await http.request(method, f"{path}?at=5", json=one)
                assert answer.status_code == 400, f"{path}: {answer.text}"
                assert "'at'" in answer.text
            elsewhere = await http.post("/v1/configs/models?dry_run=true", json=one)
            assert elsewhere.status_code == 405, "who asks the wrong process is told the right one"
            assert not world.echo.seen
