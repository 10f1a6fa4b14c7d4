"""A body that no route reads: the delete was made that was meant as a trial.

Every route of both services is asked, as their applications have them.
"""

import gzip
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

import httpx
import msgspec
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import Route
from tests.support.config_process import config_process
from tests.support.config_writer import model, put, running
from tests.support.gateway_world import gateway_world
from tests.support.log_world import nowhere
from tests.support.mistakes import routes

from sie_config.http.api import build_app
from sie_config.http.console.console import Console
from sie_config.http.doors import door_of
from sie_runtime.access.strict_route import query_names
from sie_runtime.process.status_routes import ROUTES, status_application

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
PLACES = {
    "{key:path}": "org/m",
    "{key}": "m",
    "{epoch}": "1",
    "{name:path}": "index.html",
    "{path:path}": "health",
    "{spec:path}": "org/dense",
    "{model_id:path}": "org/dense",
    "{name}": "default",
    "{rest:path}": "nothing",
}
UNDOCUMENTED = {("POST", "/console/session"), ("POST", "/console/gateway/{path:path}")}
"""Routes that read a body, for the console alone."""
ENDLESS = "/v1/configs/events"
NOTHING = (b"", b"{}", b"null", b" \r\n", b"[]", b"\xef\xbb\xbf{ }", b'""', b"\x80", b"\xc0")


def spoken(said: dict[str, Any]) -> Iterator[tuple[bytes, dict[str, str]]]:
    """One body in every form and under every type that a client gives it."""
    text = json.dumps(said).encode()
    for media in (JSON, "", "text/plain", FORM, "application/msgpack", f"{JSON};charset=utf-16"):
        yield text, {"content-type": media} if media else {}
    yield gzip.compress(text), {"content-type": JSON, "content-encoding": "gzip"}
    yield urlencode(said).encode(), {"content-type": FORM}
    yield msgspec.msgpack.encode(said), {"content-type": "application/msgpack"}


@dataclass(frozen=True)
class Asked:
    """One method of one route, and the names of its query."""

    method: str
    url: str
    query: frozenset[str]
    reads: bool


def asked_of(app: FastAPI, service: Literal["sie-config", "sie-gateway"]) -> list[Asked]:
    """Every method of every route."""
    reading = UNDOCUMENTED | {(each.method, each.path) for each in routes(service) if each.body}
    found = []
    for route in app.routes:
        assert isinstance(route, Route)
        query = query_names(route) if isinstance(route, APIRoute) else door_of(route).query
        url = route.path
        for place, name in PLACES.items():
            url = url.replace(place, name)
        assert "{" not in url, f"give {url} an example"
        path = route.path.replace("{key:path}", "{key}")
        found += [
            Asked(method, url, query, (method, path) in reading)
            for method in sorted(route.methods or ())
        ]
    assert len(found) > 20
    return found


@asynccontextmanager
async def sie_config(folder: Path) -> AsyncIterator[tuple[httpx.AsyncClient, list[Asked]]]:
    async with running(folder) as plane:
        app = build_app(plane)
        Console(plane, None).mount(app)
        await put(plane, "org/m")
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://config"
        ) as client:
            yield client, asked_of(app, "sie-config")


@asynccontextmanager
async def gateway(_folder: Path) -> AsyncIterator[tuple[httpx.AsyncClient, list[Asked]]]:
    async with gateway_world() as world:
        transport = httpx.ASGITransport(world.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            yield client, asked_of(world.app._rest._app, "sie-gateway")


SERVICES = pytest.mark.parametrize("service", [sie_config, gateway])


@SERVICES
async def test_a_body_that_no_route_reads_is_refused_by_the_name_in_it(
    service: Any, tmp_path: Path
) -> None:
    async with service(tmp_path) as (client, all_asked):
        before = (await client.get("/v1/configs/epoch")).json()
        for asked in all_asked:
            name = min(asked.query, default="zz_top")
            for body, headers in spoken({name: "true"}):
                answer = await client.request(
                    asked.method, asked.url, content=body, headers=headers
                )
                told = f"{asked.method} {asked.url} {body!r} {headers}: {answer.text}"
                assert 400 <= answer.status_code < 500, told
                if asked.reads or asked.method == "HEAD" or "/configs/nothing" in asked.url:
                    continue
                detail = answer.json().get("detail") or answer.json()["error"]
                assert answer.status_code == 400 and repr(name) in detail["message"], told
                if asked.query:
                    assert f"the query parameter {name!r}" in detail["message"], told
        assert (await client.get("/v1/configs/epoch")).json() == before


@SERVICES
async def test_a_body_that_says_nothing_is_none(service: Any, tmp_path: Path) -> None:
    async with service(tmp_path) as (client, all_asked):
        for asked in all_asked:
            if asked.reads or ENDLESS in asked.url:
                continue
            url = asked.url + ("?dry_run=true" if "dry_run" in asked.query else "")
            alone = await client.request(asked.method, url)
            for body in NOTHING:
                for headers in ({}, {"content-type": JSON}, {"content-type": FORM}):
                    answer = await client.request(asked.method, url, content=body, headers=headers)
                    told = f"{asked.method} {url} {body!r} {headers}: {answer.text}"
                    assert answer.status_code == alone.status_code, told


@SERVICES
async def test_a_body_that_nobody_can_read_is_refused_and_bounded(
    service: Any, tmp_path: Path
) -> None:
    bombs = {
        b"[" * 65_000: 400,
        b'{"a":' * 13_000: 400,
        b"\x81\xa1a" * 20_000: 400,
        b"\xff\xfe\x00": 400,
        b"7": 400,
        b"false": 400,
        b'["dry_run"]': 400,
        b'{"dry_run"': 400,
        b"=": 400,
        b"&a=b" * 16_000: 400,
        b"{" + b" " * 65_536: 413,
        b" " * 70_000: 413,
    }
    async with service(tmp_path) as (client, all_asked):
        asked = next(
            each for each in all_asked if each.method == "DELETE" and "nothing" not in each.url
        )
        for body, status in bombs.items():
            answer = await client.request("DELETE", asked.url, content=body)
            assert answer.status_code == status, f"{body[:20]!r}: {answer.text}"
        packed = gzip.compress(b" " * 10_000_000)
        coded = {"content-encoding": "gzip"}
        bomb = await client.request("DELETE", asked.url, content=packed, headers=coded)
        assert bomb.status_code == 413


async def test_what_is_meant_is_told(tmp_path: Path) -> None:
    async with sie_config(tmp_path) as (client, _):
        for said, meant in {
            "dryRun": "the query parameter 'dry_run'",
            "reason": "the header 'X-SIE-Reason'",
            "idempotency_key": "the header 'Idempotency-Key'",
            "if_match": "the header 'If-Match'",
        }.items():
            answer = await client.request("DELETE", "/v1/configs/models/org/m", json={said: 1})
            assert f"did you mean {meant}?" in answer.json()["detail"]["message"]
    async with gateway(tmp_path) as (client, _):
        made = await client.post("/v1/pools", json={"name": "mine", "gpus": {"cpu": 1}})
        assert made.status_code == 201
        answer = await client.post("/v1/pools/mine/renew", json={"ttl_seconds": 60})
        assert answer.status_code == 400
        assert "'ttl_seconds' of POST /v1/pools" in answer.json()["detail"]["message"]
        assert (await client.post("/v1/pools/mine/renew")).status_code == 200


async def test_a_body_at_a_status_route_of_worker_or_execution_is_refused() -> None:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(status_application(lambda: {"ready": True})),
        base_url="http://worker",
    ) as client:
        for path in ROUTES:
            for method in ("GET", "POST", "DELETE"):
                for body, headers in spoken({"drain": "true"}):
                    answer = await client.request(method, path, content=body, headers=headers)
                    told = f"{method} {path} {body!r} {headers}: {answer.text}"
                    assert answer.status_code == 400 and "'drain'" in answer.text, told
                for body in NOTHING:
                    answer = await client.request(method, path, content=body)
                    assert answer.status_code == 200, f"{method} {path} {body!r}: {answer.text}"
            long = await client.post(path, content=b"{" + b" " * 70_000)
            assert long.status_code == 413 and "PAYLOAD_TOO_LARGE" in long.text


@pytest.mark.integration
async def test_over_the_wire_a_delete_with_a_body_is_made_only_when_the_body_is_empty(
    tmp_path: Path,
) -> None:
    async def in_chunks() -> AsyncIterator[bytes]:
        yield b'{"dry_run":'
        yield b" true}"

    async def of_nothing() -> AsyncIterator[bytes]:
        yield b""

    url = "/v1/configs/models/org/m"
    async with config_process(tmp_path, nowhere()) as (_, client):
        made = await client.post("/v1/configs/models", json=model("org/m"))
        assert made.status_code == 201, made.text
        for content in (in_chunks(), b'{"dry_run": true}'):
            refused = await client.request("DELETE", url, content=content)
            assert refused.status_code == 400
            assert "the query parameter 'dry_run'" in refused.text
        assert (await client.get(url)).status_code == 200
        assert (await client.request("DELETE", url, content=of_nothing())).status_code == 200
        assert (await client.get(url)).status_code == 404
