"""Roles at sie-config, over its whole document: what a token may not do changes nothing.

Every operation of the OpenAPI document, with a body that would do harm, is asked by every kind of
token with every query parameter, documented and invented. What it needs is said here anew, and not
read from the code.
"""

import asyncio
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from starlette.routing import Match, Route
from tests.support.config_writer import model, put, running
from tests.support.openapi_file import OPENAPI_FILES
from tests.support.reports import report_at
from tests.support.tokens import bearer, tokens_file

from sie_config.http.api import build_app
from sie_config.http.doors import Doors, door_of
from sie_config.writer_process import ControlPlane
from sie_runtime.access.access import Access, AccessSettings
from sie_runtime.access.gate import Gate

DOCUMENT = json.loads(OPENAPI_FILES["sie-config"].read_text())
TOKENS = {
    "nobody": None,
    "caller": ("infer",),
    "viewer": ("read",),
    "scraper": ("metrics",),
    "bot": ("propose",),
    "reader-bot": ("read", "propose"),
    "auditor": ("audit",),
    "boss": ("admin",),
}
INVENTED = {"dry-run": "true", "dryRun": "All", "DRY_RUN": "true", "dryrun": "1", "force": "true"}
GOOD = {
    "dry_run": "true",
    "ack": "local",
    "wait": "converged",
    "timeout": "0",
    "at": "1",
    "after": "0",
    "limit": "1",
}
REPLICA = {"role": "gateway", "id": "g1"}
BODIES = {
    "/v1/configs/batch": {"operations": [{"op": "delete", "kind": "model", "key": "m"}]},
    "/v1/configs/compact": {"keep": 1},
    "/v1/configs/revert": {"to": 3},
    "/v1/configs/replicas/forget": REPLICA,
    "/v1/configs/replicas/resync": REPLICA,
    "/v1/configs/wait": {"min": 0, "timeout_s": 0},
    "/v1/configs/inspect": {"target": "org/m"},
    "/v1/dead-letters/retry": {"number": 1},
    "/v1/dead-letters/drop": {"numbers": [1]},
}
OPEN = {"/healthz", "/readyz"}
DERIVED = ("refused.sqlite", "lookup.sqlite")
"""Files beside the log that a refusal or a read may write."""


@dataclass(frozen=True)
class Operation:
    """One operation of the document."""

    method: str
    path: str
    query: frozenset[str]

    def wants(self, query: list[tuple[str, str]]) -> str | None:
        """The role that it wants, by what the manual says."""
        if self.path in OPEN:
            return None
        if self.path in {"/v1/configs/audit", "/v1/dead-letters"}:
            return "audit"
        if self.path == "/metrics":
            return "metrics"
        if self.method == "GET" or self.path == "/v1/configs/wait":
            return "read"
        if self.path == "/v1/configs/replicas":
            return "report"
        if self.path == "/v1/configs/inspect":
            return "propose"
        tries = [value for name, value in query if name == "dry_run"] == ["true"]
        return "propose" if tries and "dry_run" in self.query else "admin"

    def url(self) -> str:
        return self.path.replace("{key}", "org/m/a" if "adapters" in self.path else "m").replace(
            "{epoch}", "1"
        )

    def request(self, plane: ControlPlane) -> dict[str, Any]:
        """A body that would do what the operation does."""
        if self.method in {"GET", "DELETE"}:
            return {}
        if self.path == "/v1/configs/replicas":
            body = report_at(plane.sequencer.position, id="g1", leaving=True)
            return {"content": body, "headers": {"content-type": "application/json"}}
        if self.method == "PATCH":
            patch = json.dumps({"description": "changed"}).encode()
            return {"content": patch, "headers": {"content-type": "application/merge-patch+json"}}
        return {"json": BODIES.get(self.path, model("m", description="changed"))}


def operations() -> Iterator[Operation]:
    for path, methods in DOCUMENT["paths"].items():
        for method, told in methods.items():
            query = {each["name"] for each in told.get("parameters", ()) if each["in"] == "query"}
            yield Operation(method.upper(), path, frozenset(query))


def queries(operation: Operation) -> Iterator[list[tuple[str, str]]]:
    """None, each known name, each invented one, pairs of both, and a name twice."""
    known = sorted({"dry_run", "ack", *operation.query})
    yield []
    for name in known:
        value = GOOD.get(name, "x")
        yield [(name, value)]
        yield [(name, value), (name, value)]
        yield [("dry_run", "true"), (name, value)]
    for name, value in INVENTED.items():
        yield [(name, value)]
        yield [("dry_run", "true"), (name, value)]


def state_of(plane: ControlPlane, folder: Path) -> tuple[Any, ...]:
    """All that somebody without the right must leave as it was."""
    # A head file in the making comes and goes by itself.
    names = (each.name for each in folder.iterdir() if each.suffix != ".new")
    files = sorted(name for name in names if not name.startswith(DERIVED))
    heard = [(seen.report, seen.at) for seen in plane.replicas.reports.sightings()]
    return plane.sequencer.position, plane.low_water, files, heard


async def holds(folder: Path) -> None:
    data = folder / "data"
    tokens = {name.replace("-", "_"): roles for name, roles in TOKENS.items() if roles}
    access = Access(AccessSettings(auth_file=tokens_file(folder / "tokens.json", **tokens)))
    async with running(data) as plane:
        app = build_app(plane)
        for name in ("m", "n"):
            await put(plane, name)
        await plane.replicas.hearing.hear(report_at(plane.sequencer.position))
        transport = httpx.ASGITransport(Gate(app, access, Doors(app).role_of))
        async with httpx.AsyncClient(transport=transport, base_url="http://config") as client:
            before = state_of(plane, data)
            for operation, (name, roles) in itertools.product(operations(), TOKENS.items()):
                for query in queries(operation):
                    wanted = operation.wants(query)
                    is_strange = not {each for each, _ in query} <= operation.query
                    is_twice = len(dict(query)) < len(query)
                    enough = {wanted, "admin"} | ({"read"} if wanted == "metrics" else set())
                    may = wanted is None or (roles and enough & set(roles))
                    if may and not is_strange and not is_twice:
                        continue
                    request = operation.request(plane)
                    request["headers"] = request.get("headers", {}) | bearer(
                        name.replace("-", "_") if roles else None
                    )
                    answer = await client.request(
                        operation.method,
                        operation.url(),
                        params=httpx.QueryParams(tuple(query)),
                        **request,
                    )
                    refused = {400} if may else {401, 403}
                    what = f"{name}: {operation.method} {operation.path} {query}"
                    assert answer.status_code in refused, f"{what}: {answer.text}"
                    assert state_of(plane, data) == before, what


def test_what_a_token_may_not_do_leaves_all_as_it_was(tmp_path):
    asyncio.run(holds(tmp_path))


def test_a_door_takes_just_the_parameters_that_the_document_tells(tmp_path):
    async def story() -> None:
        async with running(tmp_path) as plane:
            app = build_app(plane)
            told = {(each.method, each.path): each.query for each in operations()}
            doors: dict[tuple[str, str], frozenset[str]] = {}
            for route in app.routes:
                assert isinstance(route, Route)
                path = route.path.replace("{key:path}", "{key}")
                for method in (route.methods or set()) - {"HEAD"}:
                    doors.setdefault((method, path), door_of(route).query)
            for path in ("/openapi.json", "/docs"):
                del doors["GET", path]
            assert doors == told

    asyncio.run(story())


def test_the_door_is_that_of_the_route_which_the_router_takes(tmp_path):
    async def story() -> None:
        async with running(tmp_path) as plane:
            app = build_app(plane)
            doors = Doors(app)
            urls = {each.url() for each in operations()} | {"/", "/v1/configs/models/a/history/x"}
            urls |= {f"{url}/" for url in urls} | {f"{url}/history" for url in urls}
            for method, url in itertools.product(("GET", "POST", "PUT", "PATCH", "HEAD"), urls):
                scope = {"type": "http", "method": method, "path": url, "root_path": ""}
                taken = (route for route in app.routes if route.matches(scope)[0] is Match.FULL)
                route = next(taken, None)
                assert doors.at(method, url) == (None if route is None else door_of(route))

    asyncio.run(story())


def test_a_route_that_nobody_thought_of_is_not_open(tmp_path):
    async def story() -> None:
        async with running(tmp_path) as plane:
            doors = Doors(build_app(plane))
            for path in (
                "/",
                "/nowhere",
                "/v1/configs/compact/",
                "/v1/configs//compact",
                "/metrics/",
            ):
                assert doors.role_of("GET", path, b"") == "read"
            for method, path in itertools.product(("POST", "PUT", "DELETE", "BREW"), ("/", "/x")):
                for query in (b"", b"dry_run=true", b"dry_run=true&dry_run=true"):
                    assert doors.role_of(method, path, query) == "admin"

    asyncio.run(story())
