"""The page at `/docs`: all that the OpenAPI document says, and nothing that runs or is fetched."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.config_writer import running
from tests.support.gateway_world import gateway_world
from tests.support.openapi_file import OPENAPI_FILES

from sie_config.http.api import build_app
from sie_runtime.access.openapi_page import PAGE_HEADERS, whole_page


class Page(HTMLParser):
    """The tags of a page, its anchors and links, and its text."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.anchors: list[str] = []
        self.links: set[str] = set()
        self.text = ""
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        told = dict(attrs)
        self.tags.add(tag)
        self.anchors += [found] if (found := told.get("id")) else []
        self.links |= {found for name in ("href", "src") if (found := told.get(name))}
        assert not [name for name in told if name.startswith("on") or name == "style"]

    def handle_data(self, data: str) -> None:
        """Note a text."""
        self.text += data


@pytest.mark.parametrize("name", OPENAPI_FILES)
def test_each_route_and_body_is_told_and_each_link_leads_there(name: str) -> None:
    document = json.loads(OPENAPI_FILES[name].read_text())
    page = Page(whole_page(document))
    for path, operations in document["paths"].items():
        for method, told in operations.items():
            assert f"{method.upper()}{path}" in page.text
            said = told["summary"] if told["summary"].endswith(".") else told.get("description")
            assert (said or told["summary"]).partition("\n\n")[0].replace("`", "") in page.text
    assert len(page.anchors) == len(set(page.anchors))
    assert page.links == {f"#{anchor}" for anchor in page.anchors} & page.links
    assert "script" not in page.tags


def test_a_text_of_the_document_is_no_markup() -> None:
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
    told = {"summary": evil, "parameters": [{"name": evil, "in": evil, "description": evil}]}
    body = {"description": evil, "properties": {evil: {"type": evil, "pattern": evil}}}
    document = {
        "info": {"title": evil, "description": evil},
        "paths": {f"/{evil}": {"get": told}},
        "components": {"schemas": {evil: body}},
    }
    page = Page(whole_page(document))
    assert not page.tags & {"script", "img"}
    assert page.text.count("alert(1)") > 5


def test_the_headers_allow_the_style_of_the_page_and_nothing_else() -> None:
    page = whole_page({"info": {"title": "x"}, "paths": {}}).decode()
    [style] = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    found = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = PAGE_HEADERS["content-security-policy"]
    assert f"style-src 'sha256-{found}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


async def test_both_services_serve_it(tmp_path: Path) -> None:
    async with running(tmp_path) as plane, gateway_world() as world:
        applications: list[Any] = [build_app(plane), world.app]
        for application in applications:
            transport = httpx.ASGITransport(app=application)
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as http:
                page = await http.get("/docs")
                named = (await http.get("/openapi.json")).json()["info"]["title"]
            assert page.status_code == 200
            assert f"<h1>{named}</h1>" in page.text
            assert {name: page.headers[name] for name in PAGE_HEADERS} == dict(PAGE_HEADERS)
