"""Attackers of the console: pages of elsewhere, guessed sessions, tokens that were taken back."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.config_writer import model
from tests.support.console_world import OWN_PAGE, console_of, signed_in
from tests.support.tokens import bearer, tokens_file

from sie_config.http.console.sessions import Sessions
from sie_config.http.console.to_gateway import is_passed_on

MODELS = "/v1/configs/models"
SESSION = "/console/session"
OWN = {"origin": OWN_PAGE}


def tokens(folder: Path) -> Path:
    return tokens_file(folder / "tokens.json", boss=("admin",), viewer=("read",), app=("infer",))


async def test_a_session_holds_what_its_token_may_and_the_browser_never_the_token(tmp_path):
    async with console_of(tmp_path / "log", tokens=tokens(tmp_path)) as (_, client):
        assert (await client.get(SESSION)).json()["signed_in"] is False
        assert (await client.get(MODELS)).status_code == 401
        answer = await client.post(SESSION, json={"token": "boss"}, headers=OWN)
        cookie = answer.headers["set-cookie"]
        assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
        assert "boss" not in cookie
        assert "boss" not in str((await client.get(SESSION)).json()["csrf"])
        told = (await client.get(SESSION)).json()
        assert (told["signed_in"], told["name"], told["roles"]) == (True, "boss", ["admin"])
        headers = OWN | {"x-sie-csrf": told["csrf"]}
        made = await client.post(MODELS, json=model("org/m"), headers=headers)
        assert made.status_code == 201
        entry = (await client.get("/v1/configs/entries?limit=1")).json()["entries"][0]
        assert entry["actor"] == "boss", "the log names who signed in"
        assert "Secure" not in cookie, "a browser would drop it: this page came without TLS"


async def test_a_change_without_the_sessions_own_word_is_not_made(tmp_path):
    async with console_of(tmp_path / "log", tokens=tokens(tmp_path)) as (plane, client):
        csrf = (await signed_in(client, "boss"))["x-sie-csrf"]
        before = plane.sequencer.position.epoch
        for told in ({}, {"x-sie-csrf": ""}, {"x-sie-csrf": csrf[:-1]}, {"x-sie-csrf": csrf + "x"}):
            for method, path in (("POST", MODELS), ("DELETE", f"{MODELS}/m"), ("DELETE", SESSION)):
                refused = await client.request(method, path, json=model("m"), headers=OWN | told)
                assert refused.status_code == 403, (method, path, told)
                assert refused.json()["detail"]["field"] == "X-SIE-CSRF"
        for origin in ("https://page.example", "null", "http://console.example.evil"):
            refused = await client.post(
                MODELS, json=model("m"), headers={"origin": origin, "x-sie-csrf": csrf}
            )
            assert refused.json()["detail"]["field"] == "Origin"
            refused = await client.post(SESSION, json={"token": "boss"}, headers={"origin": origin})
            assert refused.status_code == 403, "nobody is signed in by a page of elsewhere"
        assert plane.sequencer.position.epoch == before


async def test_a_token_that_was_taken_back_opens_nothing_any_more(tmp_path):
    path = tokens(tmp_path)
    async with console_of(tmp_path / "log", tokens=path) as (_, client):
        csrf = await signed_in(client, "boss")
        assert (await client.get(MODELS)).status_code == 200
        tokens_file(path, other=("admin",))
        assert (await client.get(MODELS)).status_code == 401
        told = (await client.get(SESSION)).json()
        assert (told["signed_in"], told["csrf"]) == (False, "")
        assert (await client.post(MODELS, json=model("m"), headers=OWN | csrf)).status_code == 401


async def test_roles_bound_a_session_as_they_bound_a_token(tmp_path):
    async with console_of(tmp_path / "log", tokens=tokens(tmp_path)) as (_, client):
        csrf = await signed_in(client, "viewer")
        assert (await client.get(MODELS)).status_code == 200
        refused = await client.post(MODELS, json=model("m"), headers=OWN | csrf)
        assert refused.status_code == 403
        assert "role" in refused.json()["detail"]["message"]
    async with console_of(tmp_path / "other", tokens=tokens(tmp_path)) as (_, client):
        for token, status in (("app", 403), ("nobody", 401), ("", 401)):
            refused = await client.post(SESSION, json={"token": token}, headers=OWN)
            assert (refused.status_code, "set-cookie" in refused.headers) == (status, False)


async def test_a_session_ends_by_its_time_by_its_owner_and_is_not_guessed(tmp_path):
    now = [0.0]
    clocked = console_of(tmp_path / "log", tokens=tokens(tmp_path), clock=lambda: now[0])
    async with clocked as (_, client):
        csrf = await signed_in(client, "boss")
        [cookie] = client.cookies.jar
        assert cookie.value is not None
        for guess in ("", "x", cookie.value[:-1], "a" * 43, '"', "%00"):
            client.cookies.set(cookie.name, guess, domain=cookie.domain, path="/")
            assert (await client.get(MODELS)).status_code == 401, guess
        client.cookies.set(cookie.name, cookie.value, domain=cookie.domain, path="/")
        assert (await client.get(MODELS)).status_code == 200
        now[0] = 12 * 3600.0
        assert (await client.get(MODELS)).status_code == 401
        now[0] = 0.0
        csrf = await signed_in(client, "boss")
        [cookie] = client.cookies.jar
        assert cookie.value is not None
        out = await client.delete(SESSION, headers=OWN | csrf)
        assert out.status_code == 200
        client.cookies.set(cookie.name, cookie.value, domain=cookie.domain, path="/")
        assert (await client.get(MODELS)).status_code == 401


def test_sessions_are_bounded_and_the_oldest_goes_first():
    sessions = Sessions(kept_max=3, lasts_s=10.0)
    for number in range(5):
        sessions.begin(b"t", session_id=str(number), csrf="c", now=float(number))
    assert len(sessions) == 3
    assert [sessions.find(str(number), 5.0) is not None for number in range(5)] == [
        False, False, True, True, True,
    ]  # fmt: skip


@pytest.mark.parametrize("greedy_first", [False, True])
def test_who_signs_in_without_end_takes_nobody_elses_session(greedy_first):
    """The oldest of all would go: the sessions of those who signed in once, in the morning."""
    sessions = Sessions(kept_max=3)
    if greedy_first:
        sessions.begin(b"greedy", session_id="first", csrf="c", now=0.0)
    sessions.begin(b"quiet", session_id="quiet", csrf="c", now=0.0)
    for number in range(9):
        sessions.begin(b"greedy", session_id=f"{number}", csrf="c", now=1.0)
    assert sessions.find("quiet", 1.0) is not None
    assert sessions.find("8", 1.0) is not None, "who came last is signed in"
    assert len(sessions) == 3


async def test_a_token_of_the_request_itself_goes_before_the_cookie(tmp_path):
    async with console_of(tmp_path / "log", tokens=tokens(tmp_path)) as (_, client):
        await signed_in(client, "boss")
        refused = await client.post(MODELS, json=model("m"), headers=OWN | bearer("viewer"))
        assert refused.status_code == 403
        assert "viewer" in refused.json()["detail"]["message"]


@pytest.mark.parametrize(
    "path",
    [
        "v1/encode/../../metrics",
        "v1/models/../pools/x",
        "v1/encode/./m",
        "v1/encode//m",
        "metrics",
        "v1/configs/models",
        "v1/pools/p",
        "readyz",
        "",
        "http://elsewhere/v1/models",
        "//elsewhere/health",
    ],
)
def test_the_way_to_the_gateway_leads_to_few_places(path):
    assert not is_passed_on("GET", path)
    assert not is_passed_on("POST", path)
    assert not is_passed_on("DELETE", "v1/models/m")


async def test_the_gateway_is_asked_with_the_callers_token_and_told_apart(tmp_path):
    seen: list[Any] = []

    def gateway(request: httpx.Request) -> httpx.Response:
        seen.append((request.method, request.url.path, dict(request.headers), request.content))
        headers = {"x-sie-worker": "w", "set-cookie": "a=b", "server": "x", "retry-after": "3"}
        return httpx.Response(200, json={"ok": True}, headers=headers)

    async with console_of(tmp_path / "log", tokens=tokens(tmp_path), gateway=gateway) as (
        _,
        client,
    ):
        assert (await client.get("/console/gateway/health")).status_code == 401
        told = [(await client.get(SESSION)).json()["gateway_url"]]
        csrf = await signed_in(client, "boss")
        told.append((await client.get(SESSION)).json()["gateway_url"])
        assert told == ["", "http://gateway"], "where it is is no stranger's to know"
        answer = await client.post(
            "/console/gateway/v1/encode/org/m", json={"items": []}, headers=OWN | csrf
        )
        assert answer.status_code == 200
        assert answer.headers["x-sie-worker"] == "w"
        assert "set-cookie" not in answer.headers
        method, path, headers, body = seen.pop()
        assert (method, path, body) == ("POST", "/v1/encode/org/m", b'{"items":[]}')
        assert headers["authorization"] == "Bearer boss"
        assert not {"cookie", "origin", "x-sie-csrf"} & headers.keys()
        large = b" " * (1024 * 1024 + 1)
        refused = await client.post(
            "/console/gateway/v1/encode/m",
            content=large,
            headers=OWN | csrf | {"content-type": "application/json"},
        )
        assert refused.status_code == 413
        assert (await client.get("/console/gateway/metrics")).status_code == 404
        assert seen == []
