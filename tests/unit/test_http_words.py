"""HTTP as others speak it: compressed bodies, tags, methods, weights of types, pages."""

import codecs
import gzip
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.config_writer import running
from tests.support.gateway_world import World, gateway_world

from sie_config.http.api import build_app
from sie_config.http.doors import Doors
from sie_gateway.http.rules import role_of
from sie_runtime.access.access import Access, AccessSettings
from sie_runtime.access.gate import Gate
from sie_runtime.http.bodies import read_bounded
from sie_runtime.http.charsets import check_charset
from sie_runtime.http.encodings import decoded
from sie_runtime.http.error_headers import retry_headers
from sie_runtime.http.etags import is_named
from sie_schemas.errors import FixRequest

BODY = json.dumps({"items": [{"text": "four"}]}).encode()
PAGE = "https://page.example"
ENCODE = "/v1/encode/dense"
FORM = "application/x-www-form-urlencoded"


class TooLarge(Exception):
    """The bound was passed."""


def raw_deflate(data: bytes) -> bytes:
    made = zlib.compressobj(wbits=-15)
    return made.compress(data) + made.flush()


CODINGS: list[tuple[str, Any]] = [
    ("gzip", gzip.compress),
    ("x-gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("identity", bytes),
]


def read(coding: str, body: bytes, bytes_max: int) -> bytes:
    return decoded(coding.encode(), body, bytes_max, too_large=lambda _: TooLarge())


@given(st.sampled_from(CODINGS), st.binary(max_size=300), st.integers(0, 400))
def test_a_coded_body_is_read_whole_within_its_bound_or_refused(
    coding: tuple[str, Any], body: bytes, bytes_max: int
) -> None:
    name, make = coding
    if name == "identity" or len(body) <= bytes_max:
        assert read(name, make(body), bytes_max) == body
    else:
        with pytest.raises(TooLarge):
            read(name, make(body), bytes_max)


@given(st.sampled_from(CODINGS[:-1]), st.binary(max_size=60), st.data())
def test_a_coded_body_that_breaks_off_is_refused_and_never_read_as_a_shorter_one(
    coding: tuple[str, Any], body: bytes, data: st.DataObject
) -> None:
    name, make = coding
    whole = make(body)
    cut = data.draw(st.integers(1, len(whole) - 1))
    with pytest.raises(FixRequest) as refused:
        read(name, whole[:cut], 10_000)
    assert refused.value.field == "Content-Encoding"


@given(st.lists(st.binary(max_size=5), min_size=1, max_size=5), st.integers(-2, 2), st.booleans())
async def test_a_body_is_read_up_to_its_bound_and_refused_from_the_next_byte_on(
    parts: list[bytes], room: int, is_told: bool
) -> None:
    coming = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    coming[-1]["more_body"] = False
    whole = b"".join(parts)
    bytes_max = max(0, len(whole) + room)

    async def receive() -> Any:
        return coming.pop(0)

    told = str(len(whole)).encode() if is_told else None
    reading = read_bounded(
        receive, told, bytes_max, too_large=lambda _: TooLarge(), gone=ConnectionError
    )
    if len(whole) <= bytes_max:
        assert await reading == whole
    else:
        with pytest.raises(TooLarge):
            await reading
        # Where its length is told nothing of it is taken in.
        assert not is_told or len(coming) == len(parts)


def test_members_of_gzip_are_one_body_and_a_bomb_is_no_body() -> None:
    assert read("gzip", gzip.compress(b"a") + gzip.compress(b"b"), 10) == b"ab"
    with pytest.raises(TooLarge):
        read("gzip", gzip.compress(bytes(50_000_000)), 1000)


@given(st.sampled_from(["gzip", "deflate"]), st.binary(min_size=1, max_size=40))
def test_what_is_not_in_its_coding_is_refused_by_name(coding: str, body: bytes) -> None:
    try:
        read(coding, body, 10_000)
    except FixRequest as error:
        assert error.field == "Content-Encoding"


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "?"])
def test_a_coding_that_is_not_read_is_415(coding: str) -> None:
    with pytest.raises(FixRequest) as refused:
        read(coding, b"x", 10)
    assert refused.value.status == 415


@pytest.mark.parametrize(
    ("header", "is_there"),
    [
        (None, False),
        ('"e"', True),
        ('W/"e"', True),
        ('"x", "e"', True),
        ('W/"x" ,W/"e"', True),
        ("*", True),
        ('"x"', False),
        ("e", False),
        ('"ee"', False),
    ],
)
def test_tags_compare_weakly_and_by_list(header: str | None, is_there: bool) -> None:
    assert is_named(header, '"e"') == is_there


async def ask(world: World, method: str, path: str, **rest: Any) -> httpx.Response:
    pages = frozenset({PAGE})
    app = Gate(world.app, Access(AccessSettings()), role_of, pages=pages)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
        return await http.request(method, path, **rest)


@pytest.mark.parametrize(
    ("accept", "is_msgpack"),
    [
        ("application/msgpack;q=0, application/json", False),
        ("application/msgpack;q=0", False),
        ("application/json;q=0.5, application/msgpack", True),
        ("application/json, application/msgpack", False),
        ("application/msgpack, application/json", True),
        ("*/*;q=0.1, application/x-msgpack;q=0.2", True),
        ("application/msgpack; q=0.300 , */*", False),
        ("text/html", False),
    ],
)
async def test_the_type_that_is_liked_better_is_given(accept: str, is_msgpack: bool) -> None:
    async with gateway_world() as world:
        answer = await ask(
            world, "POST", "/v1/encode/dense", content=BODY, headers={"Accept": accept}
        )
    assert (answer.headers["content-type"] == "application/x-msgpack") == is_msgpack


async def test_a_gateway_reads_a_compressed_body_and_one_header_in_two_lines() -> None:
    async with gateway_world() as world:
        headers = [("Content-Encoding", "gzip"), ("Accept", "text/html"), ("Accept", "*/*")]
        answer = await ask(
            world, "POST", "/v1/encode/dense", content=gzip.compress(BODY), headers=headers
        )
        lines = [("Accept", "application/msgpack;q=0"), ("Accept", "application/json")]
        twice = await ask(world, "POST", "/v1/encode/dense", content=BODY, headers=lines)
        brotli = await ask(
            world, "POST", "/v1/embeddings", content=BODY, headers={"Content-Encoding": "br"}
        )
    assert answer.json()["items"][0]["dense"]["values"] == [4.0, 0.0, 0.0]
    assert twice.headers["content-type"] == "application/json"
    assert brotli.status_code == 415
    assert "gzip or deflate" in brotli.json()["error"]["message"]


async def test_head_is_get_without_a_body_and_options_tells_the_methods() -> None:
    async with gateway_world() as world:
        head = await ask(world, "HEAD", "/v1/models")
        get = await ask(world, "GET", "/v1/models")
        options = await ask(world, "OPTIONS", "/v1/models")
        native = await ask(world, "OPTIONS", "/v1/encode/dense")
        nowhere = await ask(world, "OPTIONS", "/nowhere")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    assert (options.status_code, options.content) == (204, b"")
    assert set(options.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}
    assert (native.status_code, native.headers["Allow"]) == (204, "POST, OPTIONS")
    assert nowhere.status_code == 404


async def test_a_page_that_is_named_may_ask_and_read_and_no_other_may() -> None:
    asking = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type",
    }
    async with gateway_world() as world:
        asked = await ask(world, "OPTIONS", "/v1/embeddings", headers=asking)
        body = {"model": "dense", "input": "four"}
        answer = await ask(world, "POST", "/v1/embeddings", json=body, headers={"Origin": PAGE})
        other = asking | {"Origin": "https://other.example"}
        refused = await ask(world, "OPTIONS", "/v1/embeddings", headers=other)
        plain = await ask(world, "POST", "/v1/embeddings", json=body)
    assert asked.status_code == 204
    assert asked.headers["Access-Control-Allow-Origin"] == PAGE
    assert asked.headers["Access-Control-Allow-Headers"] == "authorization, content-type"
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert answer.status_code == 200
    assert refused.status_code == 403
    assert "Access-Control-Allow-Origin" not in refused.headers
    assert "Access-Control-Allow-Origin" not in plain.headers


CHARSETS = st.sampled_from(
    ["utf-8", "UTF8", '"utf-8"', "us-ascii", "utf-16", "UTF-7", '"iso-8859-1"', "utf-8x", "latin1"]
)
KINDS = st.sampled_from(["application/json", "application/x-msgpack", "application/yaml"])
BEFORE = st.sampled_from([";", "; ", "; v=1 ;"])
NAMES = st.sampled_from(["charset=", "CharSet=", " charset = "])


@given(KINDS, st.lists(st.tuples(BEFORE, NAMES, CHARSETS), max_size=2))
@example("application/json", [("; ", "charset=", "utf-8"), (";", "charset=", "utf-16")])
def test_a_charset_that_is_no_utf8_is_refused_by_its_name(kind, said):
    header = kind + "".join(before + name + charset for before, name, charset in said)
    names = [charset.strip('"') for _, _, charset in said]
    other = [name for name in names if name.lower() not in {"utf-8", "utf8", "us-ascii"}]
    if not other:
        check_charset(header.encode())
        return
    with pytest.raises(FixRequest, match=re.escape(repr(other[0]))) as refused:
        check_charset(header.encode())
    assert (refused.value.code, refused.value.field) == ("UNSUPPORTED_MEDIA_TYPE", "Content-Type")


MARK = codecs.BOM_UTF8
BODIES = [
    ("application/json", b"", True),
    ("application/json", MARK, True),
    ("application/json; charset=utf-8", MARK, True),
    ("application/json; charset=utf-16", b"", False),
    ("multipart/form-data; boundary=x", b"", False),
    ("text/plain", b"", False),
]
"""The type of a body, what stands before its JSON, and whether it is read."""
FORMS = [
    (BODY, True),
    (b" \n" + BODY, True),
    (MARK + BODY, True),
    (b"items=four", False),
    (b"%7B%22items%22%3A%5B%5D%7D", False),
]
"""Bodies that are called a form, and whether each is the JSON of a `curl -d`."""


async def test_a_gateway_reads_the_json_of_a_plain_curl_and_no_form() -> None:
    cases = [(kind, before + BODY, is_read) for kind, before, is_read in BODIES]
    cases += [("Application/X-WWW-Form-Urlencoded", body, is_read) for body, is_read in FORMS]
    async with gateway_world() as world:
        for kind, body, is_read in cases:
            for coded in (body, gzip.compress(body)):
                headers = {"Content-Type": kind}
                headers |= {} if coded is body else {"Content-Encoding": "gzip"}
                told = await ask(world, "POST", ENCODE, content=coded, headers=headers)
                assert told.status_code == (200 if is_read else 415), (kind, body, told.text)
                assert is_read or told.json()["detail"]["field"] == "Content-Type"
        empty = await ask(world, "POST", ENCODE, content=b"", headers={"Content-Type": FORM})
    assert (empty.status_code, "the body is empty" in empty.text) == (400, True)


async def test_sie_config_reads_the_same_types_and_no_form_at_all(folder: Path) -> None:
    document = json.dumps({"name": "b", "backends": ["echo"]}).encode()
    async with running(folder) as plane:
        transport = httpx.ASGITransport(app=build_app(plane))
        async with httpx.AsyncClient(transport=transport, base_url="http://config") as http:
            for kind, before, is_read in [*BODIES, (FORM, b"", False)]:
                told = await http.put(
                    "/v1/configs/bundles/b",
                    content=before + document,
                    headers={"Content-Type": kind},
                )
                assert told.status_code in ({200, 201} if is_read else {415}), (kind, told.text)
                assert is_read or told.json()["detail"]["field"] == "Content-Type"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path


async def test_sie_config_reads_compressed_writes_and_answers_conditional_reads(
    folder: Path,
) -> None:
    bundle = {"name": "b", "backends": ["echo"]}
    async with running(folder) as plane:
        transport = httpx.ASGITransport(app=build_app(plane))
        async with httpx.AsyncClient(transport=transport, base_url="http://config") as http:
            headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
            body = gzip.compress(json.dumps(bundle).encode())
            written = await http.put("/v1/configs/bundles/b", content=body, headers=headers)
            read = await http.get("/v1/configs/bundles/b")
            tag = read.headers["ETag"]
            statuses = [
                (await http.get(path, headers={"If-None-Match": told})).status_code
                for path in ("/v1/configs/bundles/b", "/v1/configs/export")
                for told in ("*", f'W/{tag}, "x"')
            ]
    assert written.status_code in {200, 201}, written.text
    assert statuses == [304, 304, 304, 200]


async def test_sie_config_speaks_the_same_words(folder: Path) -> None:
    asking = {"Origin": PAGE, "Access-Control-Request-Method": "PUT"}
    async with running(folder) as plane:
        app = build_app(plane)
        gate = Gate(app, Access(AccessSettings()), Doors(app).role_of, pages=frozenset({PAGE}))
        transport = httpx.ASGITransport(app=gate)
        async with httpx.AsyncClient(transport=transport, base_url="http://config") as http:
            path = "/v1/configs/models"
            head, get = await http.head(path), await http.get(path)
            options = await http.options(path)
            coded = {"Content-Encoding": "br", "Content-Type": "application/json"}
            brotli = await http.post(path, content=b"x", headers=coded)
            asked = await http.options(f"{path}/m", headers=asking)
            other = asking | {"Origin": "https://other.example"}
            refused = await http.options(f"{path}/m", headers=other)
            plain = await http.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    assert (options.status_code, options.content) == (204, b"")
    assert {"GET", "POST", "HEAD", "OPTIONS"} == set(options.headers["Allow"].split(", "))
    assert brotli.status_code == 415
    assert asked.headers["Access-Control-Allow-Origin"] == PAGE
    assert refused.status_code == 403
    assert "Access-Control-Allow-Origin" not in plain.headers


@given(st.floats(0, 90))
def test_when_to_send_again_is_told_in_whole_seconds_never_too_soon_and_in_milliseconds(seconds):
    told = dict(retry_headers(seconds))
    whole = int(told[b"retry-after"])
    # A zero would be read as: at once.
    assert whole >= 1
    assert seconds <= whole < max(seconds + 1, 1.5)
    assert abs(int(told[b"retry-after-ms"]) - seconds * 1000) <= 0.5
    assert retry_headers(None) == []


@pytest.mark.parametrize("coding", [b"GZIP", b" X-GZip", b"Identity"])
def test_a_coding_is_known_in_any_case(coding: bytes) -> None:
    body = BODY if coding == b"Identity" else gzip.compress(BODY)
    assert decoded(coding, body, 1000, too_large=lambda _: AssertionError()) == BODY
