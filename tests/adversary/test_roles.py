"""The limits of a token, tried against a real sie-config: asked for as a trial, it was done."""

import json
import re
from pathlib import Path

import httpx
import pytest
from tests.support.config_process import config_process
from tests.support.config_writer import model
from tests.support.gateway_world import gateway_world
from tests.support.log_world import nowhere
from tests.support.openapi_file import OPENAPI_FILES
from tests.support.tokens import bearer, tokens_file

from sie_gateway.http.rules import role_of
from sie_runtime.access.access import Access, AccessSettings
from sie_runtime.access.gate import Gate

pytestmark = pytest.mark.integration

CONFIGS = "/v1/configs"
REPLICA = {"role": "gateway", "id": "g1"}
HARM = {
    "compact": {"keep": 1},
    "replicas/forget": REPLICA,
    "replicas/resync": REPLICA,
}
"""The calls that change something for good, and know no trial."""


async def state_of(client: httpx.AsyncClient) -> dict[str, object]:
    head = (await client.get(f"{CONFIGS}/epoch", headers=bearer("viewer"))).json()
    return {name: head[name] for name in ("epoch", "digest", "low_water")}


async def test_who_may_only_try_changes_does_nothing_for_good(tmp_path: Path) -> None:
    tokens = tokens_file(
        tmp_path / "tokens.json",
        viewer=("read",),
        bot=("read", "propose"),
        boss=("admin",),
        auditor=("audit",),
    )
    data = tmp_path / "data"
    async with config_process(data, nowhere(), "--auth-file", str(tokens)) as (_, client):
        for number in range(5):
            document = model(f"org/m{number}")
            made = await client.post(f"{CONFIGS}/models", json=document, headers=bearer("boss"))
            assert made.status_code == 201, made.text
        before = await state_of(client)

        for path, body in HARM.items():
            for query in ("?dry_run=true", "?dry_run=true&dry_run=true", "?dry%5Frun=true", ""):
                where = f"{CONFIGS}/{path}{query}"
                tried = await client.post(where, json=body, headers=bearer("bot"))
                assert tried.status_code == 403, f"{where}: {tried.text}"
                if query:
                    # It is no trial for those who may do it either.
                    told = await client.post(where, json=body, headers=bearer("boss"))
                    assert told.status_code == 400, f"{where}: {told.text}"
                    assert told.json()["detail"]["field"] == "dry_run"
        assert await state_of(client) == before

        tried = await client.post(
            f"{CONFIGS}/models?dry_run=true", json=model("org/new"), headers=bearer("bot")
        )
        assert tried.json()["dry_run"] is True, "a trial of what knows one is still theirs"
        assert await state_of(client) == before

        await check_audit(client)


async def check_audit(client: httpx.AsyncClient) -> None:
    """Check that the refused stand there by name, and each attempt with the id that it was told."""
    told = {"x-sie-actor": "boss", "x-request-id": "mine"}
    named = await client.delete(f"{CONFIGS}/models/org/m0", headers=bearer("bot") | told)
    unnamed = await client.delete(f"{CONFIGS}/models/org/m0", headers=bearer("viewer"))
    gone = await client.delete(f"{CONFIGS}/models/none", headers=bearer("boss"))
    assert [named.status_code, unnamed.status_code, gone.status_code] == [403, 403, 404]

    answer = await client.get(f"{CONFIGS}/audit", headers=bearer("auditor"))
    rows = answer.json()["rows"]
    assert all(row["request_id"] for row in rows if row["actor"] != "sie-config"), rows
    refused = {(row["actor"], row["path"]): row for row in rows if row["outcome"] != "accepted"}
    assert not [actor for actor, _ in refused if actor.startswith("unverified")], refused.keys()
    assert refused["bot", f"{CONFIGS}/models/org/m0"]["request_id"] == "mine"
    for actor, answer, path in (
        ("viewer", unnamed, "models/org/m0"),
        ("boss", gone, "models/none"),
    ):
        row = refused[actor, f"{CONFIGS}/{path}"]
        assert row["request_id"] == answer.headers["x-request-id"]


async def test_who_may_only_look_has_no_model_loaded_and_run(tmp_path: Path) -> None:
    """The published SDK asks for a model's widths, which are measured where nobody knows them."""
    tokens = tokens_file(tmp_path / "tokens.json", viewer=("read",), app=("read", "infer"))
    published = {"x-sie-sdk-version": "0.10.1"}
    async with gateway_world() as world:
        gate = Gate(world.app, Access(AccessSettings(auth_file=tokens)), role_of)
        transport = httpx.ASGITransport(gate)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            looked = await http.get("/v1/models/org/dense", headers=bearer("viewer") | published)
            assert (looked.status_code, looked.json()["dims"]) == (200, None)
            assert not world.echo.seen
            asked = await http.get("/v1/models/org/dense", headers=bearer("app") | published)
            assert asked.json()["dims"] == {"dense": 3}


GATEWAYS = json.loads(OPENAPI_FILES["sie-gateway"].read_text())["paths"]
HOLDERS: dict[str, tuple[str, ...]] = {
    "caller": ("infer",),
    "viewer": ("read",),
    "scraper": ("metrics",),
    "bot": ("read", "propose"),
    "auditor": ("audit",),
}
SPELLINGS = (
    "{}",
    "{}/",
    "/{}",
    "{}/../pools",
    "/v1/encode/..{}",
    "/v1/encode/%2e%2e{}",
    "{};a",
    "{}%00",
)


def wanted(method: str, path: str) -> set[str]:
    """The roles that may ask the gateway so, by what the manual says; empty is everybody."""
    if path in {"/healthz", "/readyz"}:
        return set()
    if method == "GET":
        return {"metrics", "read"} if path == "/metrics" else {"read"}
    return {"admin"} if path.startswith("/v1/pools") else {"infer"}


async def test_no_token_does_more_at_a_gateway_than_its_role_however_the_path_is_spelt(
    tmp_path: Path,
) -> None:
    tokens = tokens_file(tmp_path / "tokens.json", **HOLDERS, boss=("admin",))
    asked = [(method.upper(), path) for path, methods in GATEWAYS.items() for method in methods]
    assert ("POST", "/v1/pools") in asked
    async with gateway_world() as world:
        gate = Gate(world.app, Access(AccessSettings(auth_file=tokens)), role_of)
        transport = httpx.ASGITransport(gate)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            for method, path in asked:
                place = re.sub(r"\{[a-z_]+\}", "org/dense", path)
                for name, roles in {"nobody": (), "taken back": (), **HOLDERS}.items():
                    headers = {} if name == "nobody" else bearer(name)
                    may = not wanted(method, path) or wanted(method, path) & {*roles}
                    told = await http.request(method, place, json={}, headers=headers)
                    assert (told.status_code in {401, 403}) == (not may), (method, place, name)
            before = (await http.get("/v1/pools", headers=bearer("boss"))).json()
            for spelling in SPELLINGS:
                for name in HOLDERS:
                    for method in ("POST", "DELETE", "PUT", "PATCH", "post"):
                        lease = {"name": "mine", "gpus": {"cpu": 1}}
                        url = spelling.format("/v1/pools")
                        await http.request(method, url, json=lease, headers=bearer(name))
            assert (await http.get("/v1/pools", headers=bearer("boss"))).json() == before
            made = await http.post("/v1/pools", json=lease, headers=bearer("boss"))
            assert made.status_code in {200, 201}, made.text
