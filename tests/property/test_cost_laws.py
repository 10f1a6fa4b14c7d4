"""The cost of a read grows with what it tells: counted in steps of the interpreter, not in time."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from tests.support.config_writer import client_of, model, running, write
from tests.support.gateway_world import gateway_world, heartbeat, resolver_of
from tests.support.gateway_world import model as routed

from sie_config.writer.rules import Put
from sie_schemas import canonical
from sie_schemas.documents import admit_document

SIZES = (40, 80, 160)
AT_RANDOM = 2.6
"""Twice the growth costs twice; four times, where each looks at each."""
SLACK = 1500
"""Steps of a request that are neither of its answer nor of the registry."""
SOURCE = {"type": "package", "package": "echo", "distribution": "echo", "version": "1"}


async def counted(work: Callable[[], Awaitable[Any]]) -> tuple[int, Any]:
    """The lines and calls that were run in this thread, and the result."""
    steps = 0

    def trace(frame: Any, event: str, argument: Any) -> Any:
        nonlocal steps
        steps += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        result = await work()
    finally:
        sys.settrace(before)
    return steps, result


@asynccontextmanager
async def gateway(folder: Path, size: int) -> AsyncIterator[httpx.AsyncClient]:
    """So many models with an adapter each, pools and workers that report every model."""
    documents: list[tuple[str, str, dict[str, Any]]] = [
        ("bundle", "default", {"name": "default", "backends": ["echo"]})
    ]
    for number in range(size):
        name = f"org/m{number:05d}"
        adapter = {"model_id": name, "name": "a", "source": SOURCE}
        documents.append(routed(name, {"encode": {}}))
        documents.append(("adapter", f"{name}/a", adapter))
        pool = "default" if not number else f"p{number}"
        documents.append(("pool", pool, {"name": pool, "machine_profiles": ["cpu"]}))
    reports = {f"org/m{number:05d}": {"state": "loaded"} for number in range(size)}
    async with gateway_world() as world:
        world.resolver = resolver_of(documents)
        for number in range(3):
            await world.hear(heartbeat(f"w{number + 1}", models=reports))
        transport = httpx.ASGITransport(app=world.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            yield http


@asynccontextmanager
async def config(folder: Path, size: int) -> AsyncIterator[httpx.AsyncClient]:
    """A log of so many models, one entry each, and as many adapters, bundles and pools in one."""
    async with running(folder / str(size)) as plane:
        for number in range(size):
            await plane.write(
                write(_put("model", f"org/m{number:05d}", model(f"org/m{number:05d}")))
            )
        others = []
        for number in range(size):
            name = f"org/m{number:05d}"
            adapter = {"model_id": name, "name": "a", "source": SOURCE}
            pool = {"name": f"p{number}", "machine_profiles": ["cpu"]}
            others.append(_put("adapter", f"{name}/a", adapter))
            others.append(_put("pool", f"p{number}", pool))
        await plane.write(write(*others))
        async with client_of(plane) as http:
            yield http


def _put(kind: str, key: str, document: dict[str, Any]) -> Put:
    admitted = admit_document(kind, document)
    return Put(kind, key, admitted, canonical.dumps(admitted))


World = Callable[[Path, int], AbstractAsyncContextManager[httpx.AsyncClient]]
WORLDS: dict[str, World] = {"gateway": gateway, "config": config}
EXAMPLES = {
    "model_id": "org/m00007",
    "spec": "org/m00007",
    "name": "default",
    "key": "default",
    "epoch": "5",
    "rest": "nothing",
}
QUERIES = {
    "/v1/configs/log": "?after=0",
    "/v1/configs/diff": "?from=3&to=9",
    "/v1/configs/resolve": "",
}


ENDLESS = {"/v1/configs/events", "/v1/dead-letters", "/v1/queues"}
"""Bounded by time, or kept by the broker: neither is of the registry."""


def reads_of(http: httpx.AsyncClient) -> list[str]:
    """Every GET route of an application, with an example in its path."""
    app = http._transport.app  # type: ignore[attr-defined]
    app = app if isinstance(app, FastAPI) else app._rest._app
    return sorted(
        _example(route) + QUERIES.get(route.path, "")
        for route in app.routes
        if isinstance(route, APIRoute)
        and "GET" in (route.methods or ())
        and route.path not in ENDLESS
    )


def _example(route: APIRoute) -> str:
    path = route.path_format
    kind = path.split("/")[3] if path.startswith("/v1/configs/") and "/" in path[12:] else ""
    of_kind = {"models": "org/m00007", "adapters": "org/m00007/a"}
    for name, value in EXAMPLES.items():
        path = path.replace(f"{{{name}}}", of_kind.get(kind, value))
    assert "{" not in path, f"give {route.path} an example"
    return path


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
async def test_no_read_costs_more_than_what_it_tells(tmp_path: Path, world: World) -> None:
    found: dict[str, list[tuple[int, int]]] = {}
    for size in SIZES:
        async with world(tmp_path, size) as http:
            for path in reads_of(http):
                # Once for what is made at a first request.
                warm = await http.get(path)
                assert warm.status_code < 500, (path, warm.text)
                steps, answer = await counted(partial(http.get, path))
                found.setdefault(path, []).append((steps, len(answer.content)))
    assert len(found) > 8
    for path, ((a, small), (b, _), (c, large)) in found.items():
        first, second = b - a, c - b
        # Not each with each.
        assert second <= AT_RANDOM * max(first, 0) + SLACK, (path, found[path])
        # And nothing for what is not told.
        assert c - a <= 2 * (large - small) + SLACK, (path, found[path])


def test_the_law_sees_a_read_that_looks_at_each_for_each() -> None:
    costs = [size * size for size in SIZES]
    assert costs[2] - costs[1] > AT_RANDOM * (costs[1] - costs[0])
