"""The files of the console: small, whole, ours or vendored as published, and shut to the rest."""

import hashlib
import json
import re
from pathlib import Path

import httpx
import pytest
from tests.support.console_world import console_of

from sie_config.http.console import pages
from sie_config.http.console.pages import PAGE_HEADERS, read_files

WEB = Path(pages.__file__).with_name("web")
VENDOR = WEB / "vendor"
SERVED_BYTES_MAX = 100_000
FILES = read_files()
OURS = sorted(name for name in FILES if "/" not in name)
_IMPORT = re.compile(r"""(?:from|import)\s*["']([^"']+)["']""")


def test_all_of_it_is_less_than_a_photograph():
    packed = {name: len(each.packed) for name, each in FILES.items()}

    assert {"index.html", "app.js", "style.css", "vendor/preact.js"} <= packed.keys()
    assert sum(packed.values()) < SERVED_BYTES_MAX, packed


def test_what_is_vendored_is_what_was_published():
    told = json.loads((VENDOR / "manifest.json").read_text())["files"]

    for each in told:
        data = (VENDOR / each["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == each["sha256"], each["file"]
        assert (VENDOR / each["licence_file"]).stat().st_size > 500
        assert re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", each["version"])
    served = {path.name for path in VENDOR.iterdir() if path.suffix in {".js", ".css"}}
    assert served == {each["file"] for each in told}


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_asks_for_nothing_that_is_not_served_here(name):
    text = FILES[name].data.decode()

    if name.endswith(".js"):
        for wanted in _IMPORT.findall(text):
            found = (WEB / name).parent / wanted
            assert wanted.startswith("./"), f"{name} imports {wanted!r}, which no browser finds"
            assert str(found.resolve().relative_to(WEB)) in FILES
    if name in OURS:
        elsewhere = re.findall(r"https?://[^\s\"'`)]+", text)
        assert set(elsewhere) <= {"http://www.w3.org/2000/svg"}, elsewhere


@pytest.mark.parametrize("name", OURS)
def test_our_own_files_leave_the_browsers_doors_shut(name):
    text = FILES[name].data.decode()

    forbidden = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(")
    assert [word for word in (*forbidden, "dangerouslySetInnerHTML") if word in text] == []
    if name.endswith(".html"):
        assert "<style" not in text
        assert re.findall(r"<script(?![^>]*\bsrc=)[^>]*>", text) == []
        assert re.findall(r"\son[a-z]+\s*=", text) == []


async def test_every_file_comes_packed_with_the_headers_that_shut_the_page(tmp_path):
    async with console_of(tmp_path) as (_, client):
        for name, each in FILES.items():
            found = await client.get(f"/console/{name}")
            assert found.status_code == 200
            assert found.content == each.data
            assert found.headers["content-encoding"] == "gzip"
            assert found.headers["content-type"] == each.media
            assert PAGE_HEADERS.items() <= dict(found.headers).items()
            plain = await client.get(f"/console/{name}", headers={"accept-encoding": "identity"})
            assert plain.content == each.data
            again = await client.get(
                f"/console/{name}", headers={"if-none-match": found.headers["etag"]}
            )
            assert (again.status_code, again.content) == (304, b"")
        policy = PAGE_HEADERS["content-security-policy"]
        assert "unsafe" not in policy
        assert "'self'" in policy
        assert "default-src 'none'" in policy


async def test_a_browser_at_the_root_is_led_to_the_console_and_a_program_is_not(tmp_path):
    async with console_of(tmp_path) as (_, client):
        led = await client.get("/", headers={"accept": "text/html,*/*;q=0.8"})
        assert (led.status_code, led.headers["location"]) == (307, "console/")
        assert (await client.get("/console")).headers["location"] == "console/"
        page = await client.get("/console/")
        assert page.text.startswith("<!doctype html>")
        assert (await client.get("/")).json()["detail"]["code"] == "NOT_FOUND"
        for path in (
            "../settings.py",
            "vendor/manifest.json",
            "vendor",
            "no.js",
            "%2e%2e/pages.py",
        ):
            assert (await client.get(f"/console/{path}")).status_code == 404, path


async def test_a_gateway_that_says_nothing_is_told_of_by_what_went_wrong(tmp_path):
    def gateway(request: httpx.Request) -> httpx.Response:
        # As httpx raises it: a timeout has no words of its own.
        raise httpx.ReadTimeout("", request=request)

    async with console_of(tmp_path / "log", gateway=gateway) as (_, client):
        answer = await client.get("/console/gateway/health")
        assert answer.status_code == 503
        assert "does not answer: ReadTimeout" in answer.text
