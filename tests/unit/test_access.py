"""Bearer tokens: who gets in, where, and what happens when the file of hashes changes."""

import asyncio
import contextlib
import functools
import json
import logging
import os
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.gateway_world import World, echo_result, gateway_world
from tests.support.polling import until
from tests.support.served import served_application
from typer.testing import CliRunner

from sie_cli.admin.token import app as token_command
from sie_cli.plan.settings import ClusterSettings
from sie_cli.supervisor.autoscaler import check_demand
from sie_cli.supervisor.first_answer import curl_line, wait_for_first_answer
from sie_cli.supervisor.replica_access import with_replica_access
from sie_cli.supervisor.seeding import put_bundles, register
from sie_gateway.faces import face_at
from sie_gateway.http.rules import refusal_body, role_of
from sie_runtime.access.access import Access, AccessSettings, Role, hash_of
from sie_runtime.access.gate import Gate
from sie_runtime.access.web_pages import check_page, origin_of
from sie_schemas.errors import FixRequest

ONE = {"items": [{"text": "four"}]}
ENCODE = "/v1/encode/org/dense"


def write(path: Path, **roles: tuple[Role, ...]) -> Path:
    """A file in which each name is a token of its own with these roles and its name's tenant."""
    grants = [
        {"name": name, "sha256": hash_of(name.encode()), "roles": given, "tenant": f"of-{name}"}
        for name, given in roles.items()
    ]
    path.write_text(json.dumps({"tokens": grants}))
    return path


def bearer(token: str) -> dict[bytes, bytes]:
    return {b"authorization": f"Bearer {token}".encode()}


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def ask(
    world: World, access: Access, method: str, path: str, **headers: str
) -> httpx.Response:
    gate = Gate(world.app, access, role_of, shape=refusal_body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    transport = httpx.ASGITransport(app=gate)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
        body = ONE if method == "POST" else None
        return await http.request(method, path, json=body, headers=named)


async def test_a_closed_gateway_lets_each_token_do_what_its_roles_say(tmp_path: Path) -> None:
    file = write(
        tmp_path / "tokens",
        caller=("infer",),
        viewer=("read",),
        boss=("admin",),
        scraper=("metrics",),
    )
    access = Access(AccessSettings(auth_file=file))
    async with gateway_world() as world:

        async def status(token: str | None, method: str, path: str) -> int:
            headers = {"authorization": f"Bearer {token}"} if token else {}
            return (await ask(world, access, method, path, **headers)).status_code

        assert await status(None, "GET", "/healthz") == 200
        assert await status(None, "POST", ENCODE) == 401
        assert await status("nobody", "POST", ENCODE) == 401
        assert await status("caller", "POST", ENCODE) == 200
        assert await status("viewer", "POST", ENCODE) == 403
        assert await status("viewer", "GET", "/v1/models") == 200
        assert await status("caller", "GET", "/metrics") == 403
        assert await status("viewer", "GET", "/metrics") == 200
        assert await status("scraper", "GET", "/metrics") == 200
        assert await status("scraper", "GET", "/v1/models") == 403
        assert await status("scraper", "GET", "/health") == 403
        assert await status("scraper", "POST", "/metrics") == 403
        assert await status("viewer", "POST", "/v1/pools") == 403
        assert await status("boss", "POST", ENCODE) == 200
        assert await status("boss", "GET", "/v1/models") == 200
        assert len(world.echo.seen) == 2


async def test_a_refusal_has_the_shape_of_the_api_that_was_called(tmp_path: Path) -> None:
    access = Access(AccessSettings(auth_file=write(tmp_path / "tokens", viewer=("read",))))
    async with gateway_world() as world:
        native = await ask(world, access, "POST", ENCODE)
        face = await ask(world, access, "POST", "/v1/embeddings", authorization="Bearer viewer")
    assert native.headers["WWW-Authenticate"] == "Bearer"
    assert native.json()["detail"]["code"] == native.headers["X-SIE-Error-Code"] == "UNAUTHORIZED"
    assert (face.status_code, face.json()["error"]["code"]) == (403, "forbidden")


async def test_a_misspelt_pool_is_refused_in_that_shape_and_runs_nowhere() -> None:
    async with gateway_world() as world:
        access = Access(AccessSettings())
        answer = await ask(world, access, "POST", "/v1/embeddings", x_sie_pools="gold")
        assert answer.status_code == 400
        assert "did you mean 'X-SIE-Pool'?" in answer.json()["error"]["message"]
        assert not world.echo.seen
        assert (await ask(world, access, "POST", ENCODE, x_sie_actor="ada")).status_code == 200


async def test_openais_client_raises_its_own_class_for_each_refusal(tmp_path: Path) -> None:
    """It tells by them whom to ask and when: nobody, one who may not, one who sends too much."""
    file = write(tmp_path / "tokens", caller=("infer",), viewer=("read",))
    access = Access(AccessSettings(auth_file=file))
    async with gateway_world(tenant_rate_per_s=0.1, tenant_burst=1) as world:
        gate = Gate(world.app, access, role_of, shape=refusal_body)

        async def embed(token: str) -> int:
            http = httpx.AsyncClient(transport=httpx.ASGITransport(app=gate))
            async with openai.AsyncOpenAI(
                api_key=token, base_url="http://gateway/v1", http_client=http, max_retries=0
            ) as client:
                return len((await client.embeddings.create(model="org/dense", input="a")).data)

        with pytest.raises(openai.AuthenticationError) as unknown:
            await embed("nobody")
        with pytest.raises(openai.PermissionDeniedError) as forbidden:
            await embed("viewer")
        assert await embed("caller") == 1
        with pytest.raises(openai.RateLimitError) as often:
            await embed("caller")
    assert [each.value.code for each in (unknown, forbidden, often)] == [
        "unauthorized",
        "forbidden",
        "rate_limit",
    ]
    # Its retries wait for as long, where that is up to a minute.
    assert 0 < float(often.value.response.headers["Retry-After-Ms"]) <= 10_000
    assert 1 <= int(often.value.response.headers["Retry-After"]) <= 10


async def test_the_tenant_is_the_tokens_and_a_header_counts_only_where_all_is_open(
    tmp_path: Path,
) -> None:
    closed = Access(AccessSettings(auth_file=write(tmp_path / "tokens", caller=("infer",))))
    async with gateway_world() as world:
        told = {"x_sie_tenant": "other", "authorization": "Bearer caller"}
        await ask(world, closed, "POST", ENCODE, **told)
        await ask(world, Access(AccessSettings()), "POST", ENCODE, **told)
        assert [job.tenant for job in world.echo.seen] == ["of-caller", "other"]


async def test_a_tenant_above_its_cap_gets_429_and_another_does_not_notice() -> None:
    access = Access(AccessSettings())
    async with gateway_world(tenant_items_max=1) as world:
        world.echo.answer = lambda job: None
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(ask(world, access, "POST", ENCODE, x_sie_tenant="a"))
            await _until_seen(world, 1)
            second = await ask(world, access, "POST", ENCODE, x_sie_tenant="a")
            other = tasks.create_task(ask(world, access, "POST", ENCODE, x_sie_tenant="b"))
            await _until_seen(world, 2)
            world.echo.answer = echo_result
            for job in world.echo.seen:
                await world.bus.deliver(echo_result(job))
        again = await ask(world, access, "POST", ENCODE, x_sie_tenant="a")
    assert (second.status_code, second.headers["X-SIE-Error-Code"]) == (429, "RATE_LIMIT")
    assert second.headers["Retry-After"] == "1"
    assert {first.result().status_code, other.result().status_code, again.status_code} == {200}


async def test_a_tenant_above_its_rate_is_told_when_to_come_and_another_does_not_notice() -> None:
    access = Access(AccessSettings())
    async with gateway_world(tenant_rate_per_s=0.1, tenant_burst=2) as world:
        mine = [await ask(world, access, "POST", ENCODE, x_sie_tenant="a") for _ in range(3)]
        other = await ask(world, access, "POST", ENCODE, x_sie_tenant="b")
    assert [answer.status_code for answer in (*mine, other)] == [200, 200, 429, 200]
    assert mine[2].headers["X-SIE-Error-Code"] == "RATE_LIMIT"
    assert int(mine[2].headers["Retry-After"]) == 10


async def _until_seen(world: World, count: int) -> None:
    await until(lambda: len(world.echo.seen) >= count)


def test_a_changed_file_is_in_force_after_the_interval_and_a_broken_one_never(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    file = write(tmp_path / "tokens", old=("infer",))
    access = Access(AccessSettings(auth_file=file, auth_reload_s=1.0), clock=clock)
    write(tmp_path / "fresh", new=("infer",))
    os.replace(tmp_path / "fresh", file)
    assert access.check(bearer("old"), "infer").name == "old"
    clock.now = 2.0
    assert access.check(bearer("new"), "infer").tenant == "of-new"
    with pytest.raises(FixRequest):
        access.check(bearer("old"), "infer")
    for number, broken in enumerate((b"{", b'{"tokens":[{"name":"\xff"', None), start=1):
        if broken is None:
            file.unlink()
        else:
            file.write_bytes(broken)
        clock.now += 2.0
        assert access.check(bearer("new"), "infer").name == "new"
        assert sum("the tokens stay as they were" in line for line in caplog.messages) == number
    write(file, third=("infer",))
    clock.now += 2.0
    assert access.check(bearer("third"), "infer").name == "third"


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "[]",
        '{"tokens":[{"name":"\udcff","sha256":"","roles":[]}]}',
        '{"tokens":[{"name":"a","sha256":"00","roles":["infer"]}]}',
        '{"tokens":[{"name":"a","sha256":"' + "0" * 64 + '","roles":["root"]}]}',
        '{"tokens":[{"name":"a","sha256":"' + "0" * 64 + '","roles":[],"role":"infer"}]}',
        '{"tokens":[{"name":"","sha256":"' + "0" * 64 + '","roles":[]}]}',
        '{"tokens":[{"name":"a","sha256":"' + "0" * 64 + '","roles":["report"]}]}',
        '{"tokens":[{"name":"a","sha256":"' + "0" * 64 + '","roles":[],"replica":"worker/a"}]}',
        '{"tokens":[{"name":"a","sha256":"'
        + "0" * 64
        + '","roles":["report"],"replica":"king/*"}]}',
        '{"tokens":['
        + ",".join(['{"name":"a","sha256":"' + "0" * 64 + '","roles":[]}'] * 2)
        + "]}",
    ],
)
def test_a_file_that_cannot_be_used_stops_the_process_at_its_start(
    tmp_path: Path, content: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tokens"
    if content is not None:
        file.write_text(content, errors="surrogateescape")
    with pytest.raises(SystemExit) as stopped:
        Access.open(AccessSettings(auth_file=file))
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert str(file) in said
    assert (f"`sie token new NAME --file {file}" in said) == (content is None)


def test_no_file_lets_everyone_in_and_says_so_once_and_loudly(
    caplog: pytest.LogCaptureFixture,
) -> None:
    access = Access(AccessSettings())
    assert access.check({}, "admin").may("audit")
    assert [line.levelno for line in caplog.records] == [logging.WARNING]
    assert "NO ACCESS CONTROL" in caplog.messages[0]


@given(st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH"]), st.text(max_size=30))
def test_no_route_but_a_probe_is_open_and_no_change_is_less_than_admin(method, path):
    role = role_of(method, "/" + path, b"")
    assert role is not None or "/" + path in {"/healthz", "/readyz"}
    if method != "GET" and face_at(method, "/" + path) is None:
        assert role in {"admin", None}


async def test_the_actor_of_a_change_is_the_tokens_name_whatever_the_request_says(
    tmp_path: Path,
) -> None:
    seen: list[list[tuple[bytes, bytes]]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["headers"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    access = Access(AccessSettings(auth_file=write(tmp_path / "tokens", boss=("admin",))))
    transport = httpx.ASGITransport(app=Gate(app, access, role_of))
    async with httpx.AsyncClient(transport=transport, base_url="http://config") as http:
        headers = {"authorization": "Bearer boss", "x-sie-actor": "somebody else"}
        await http.post("/v1/configs/models", headers=headers)
    assert [value for name, value in seen[0] if name == b"x-sie-actor"] == [b"boss"]


async def test_a_websocket_without_a_token_is_closed(tmp_path: Path) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("it got in")

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    access = Access(AccessSettings(auth_file=write(tmp_path / "tokens", boss=("admin",))))

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    scope = {"type": "websocket", "path": "/ws/cluster-status", "headers": []}
    await Gate(app, access, role_of)(scope, receive, send)
    assert sent[0]["type"] == "websocket.close"


def test_the_command_makes_lists_and_revokes_tokens_and_stores_only_hashes(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    run = CliRunner()
    told = ["--file", str(file)]
    made = run.invoke(token_command, ["new", "ci", *told, "--roles", "infer,read", "--tenant", "t"])
    token = made.stdout.strip()
    assert made.exit_code == 0
    assert token not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    principal = Access(AccessSettings(auth_file=file)).check(bearer(token), "infer")
    assert (principal.name, principal.tenant) == ("ci", "t")
    assert run.invoke(token_command, ["ls", *told]).stdout.split()[-4:-1] == [
        "ci",
        "infer,read",
        "t",
    ]
    listed = run.invoke(token_command, ["ls", *told, "-o", "json"]).stdout
    [row] = json.loads(listed)
    assert row == {"name": "ci", "roles": ["infer", "read"], "tenant": "t", "replica": None}
    twice = run.invoke(token_command, ["new", "ci", *told, "--roles", "infer"])
    assert isinstance(twice.exception, FixRequest)
    wrong = run.invoke(token_command, ["new", "x", *told, "--roles", "root"])
    assert isinstance(wrong.exception, FixRequest)
    assert run.invoke(token_command, ["revoke", "ci", *told]).exit_code == 0
    with pytest.raises(FixRequest):
        Access(AccessSettings(auth_file=file)).check(bearer(token), "infer")


def test_a_token_speaks_as_the_replica_that_it_names_and_as_no_other(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    run = CliRunner()
    for name, replica in (("one", "worker/gpu-1"), ("many", "worker/gpu-*"), ("all", "gateway/*")):
        told = ["--file", str(file), "--roles", "read,report", "--replica", replica]
        made = run.invoke(token_command, ["new", name, *told])
        assert made.exit_code == 0
        access = Access(AccessSettings(auth_file=file))
        principal = access.check(bearer(made.stdout.strip()), "report")
        spoken = {
            (role, one)
            for role in ("worker", "gateway")
            for one in ("gpu-1", "gpu-10", "gpu", "g1")
            if principal.speaks_as(role, one)
        }
        assert (
            spoken
            == {
                "one": {("worker", "gpu-1")},
                "many": {("worker", "gpu-1"), ("worker", "gpu-10")},
                "all": {("gateway", one) for one in ("gpu-1", "gpu-10", "gpu", "g1")},
            }[name]
        )
    for wrong in (["--roles", "report"], ["--roles", "read", "--replica", "worker/a"]):
        refused = run.invoke(token_command, ["new", "x", "--file", str(file), *wrong])
        assert isinstance(refused.exception, FixRequest)


def test_a_web_page_is_known_by_its_origin_however_its_url_is_written() -> None:
    for url, origin in {
        "https://ops.example": "https://ops.example",
        "https://OPS.example:443/console?x=1": "https://ops.example",
        "http://config.example:8081/": "http://config.example:8081",
        "http://user:word@config.example:80": "http://config.example",
        "http://[::1]:8081": "http://[::1]:8081",
        "": "",
        "config.example": "",
    }.items():
        assert origin_of(url) == origin, url
    allowed = frozenset({"https://ops.example"})
    check_page(b"https://ops.example", allowed)
    for other in (b"null", b"", b"http://ops.example", b"https://ops.example.evil", b"\xff"):
        with pytest.raises(FixRequest, match="web page"):
            check_page(other, allowed)


def test_the_local_clusters_replicas_get_tokens_where_tokens_are_in_force(tmp_path: Path) -> None:
    assert with_replica_access(tmp_path, {"A": "1"}) == {"A": "1"}, "an open cluster needs none"
    operators = write(tmp_path / "tokens", boss=("admin",))
    given = {"SIE_CONFIG_AUTH_FILE": str(operators), "SIE_WORKER_CONFIG_TOKEN": "mine"}
    made = with_replica_access(tmp_path, given)
    assert made["SIE_WORKER_CONFIG_TOKEN"] == "mine"
    file = Path(made["SIE_CONFIG_REPLICA_AUTH_FILE"])
    assert file.stat().st_mode & 0o777 == 0o600
    access = Access(AccessSettings(auth_file=operators), replicas=file)
    gateway = access.check(bearer(made["SIE_GATEWAY_CONFIG_TOKEN"]), "report")
    assert gateway.speaks_as("gateway", "local-1")
    assert not gateway.speaks_as("worker", "local-1")
    assert not gateway.may("propose")
    assert access.check(bearer("boss"), "admin").name == "boss"
    # It is a file of replicas alone, whoever writes it.
    write(file, thief=("admin",))
    with pytest.raises(FixRequest, match="more than the roles of a replica"):
        Access(AccessSettings(auth_file=operators), replicas=file)
    Access(AccessSettings(), replicas=file)


def closed(file: Path) -> AbstractContextManager[str]:
    """The address of a gateway that asks for a token of this file."""

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[Gate]:
        async with gateway_world() as world:
            access = Access(AccessSettings(auth_file=file))
            yield Gate(world.app, access, role_of, shape=refusal_body)

    return served_application(opened)


async def test_sie_up_is_told_at_once_what_token_a_closed_cluster_wants_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SIE_API_KEY", raising=False)
    said: list[str] = []
    asked = functools.partial(
        wait_for_first_answer, settings=ClusterSettings(first_answer_s=60), say=said.append
    )
    file = write(tmp_path / "tokens", caller=("infer",), scraper=("metrics",))
    with closed(file) as url:
        with pytest.raises(FixRequest, match=r"the role metrics in SIE_API_KEY: `sie token new"):
            await check_demand(url)
        with pytest.raises(FixRequest, match=r"401: a token is wanted.*the role admin"):
            await register(url)
        with pytest.raises(FixRequest, match=r"401: a token is wanted.*the role admin"):
            await put_bundles(url, ["gliner"])
        await asked(url)
        assert "401: a token is wanted" in said[0]
        assert "the role infer in SIE_API_KEY" in said[0]
        monkeypatch.setenv("SIE_API_KEY", "scraper")
        await check_demand(url)
        await asked(url)
        assert "403: the token 'scraper' does not have the role 'infer'" in said[1]


def test_the_printed_request_of_a_closed_cluster_names_its_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SIE_API_KEY", raising=False)
    assert "SIE_API_KEY" not in curl_line("http://127.0.0.1:8080")
    monkeypatch.setenv("SIE_GATEWAY_AUTH_FILE", "tokens.json")
    assert "Bearer $SIE_API_KEY" in curl_line("http://127.0.0.1:8080")
