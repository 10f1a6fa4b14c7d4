"""Small requests that once cost a gateway, a worker or the writer far more than their bytes."""

import gzip
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from tests.support.config_writer import client_of, model, running
from tests.support.console_world import console_of
from tests.support.tokens import tokens_file

from sie_gateway.request.requests import Limits, read_request
from sie_runtime.http.encodings import decoded
from sie_runtime.process.telemetry import MetricsTexts
from sie_runtime.texts.repeated_keys import repeated_key
from sie_schemas import canonical
from sie_schemas.errors import FixRequest
from sie_schemas.items import Operation

LIMITS = Limits(items_max=4096, chars_max=1_000_000, payload_bytes_max=16 * 1024 * 1024)
MODELS = "/v1/configs/models"
JSON = {"content-type": "application/json"}


def read(operation: Operation, value: Any) -> Any:
    body = msgspec.json.encode(value)
    return read_request(operation, body, is_msgpack=False, limits=LIMITS)


def took_s(work: Callable[[], object]) -> float:
    """Seconds of this thread, at the best of three."""
    found = []
    for _ in range(3):
        began = time.thread_time()
        work()
        found.append(time.thread_time() - began)
    return min(found)


def inflated(body: bytes, bytes_max: int = 16 * 1024 * 1024) -> bytes:
    return decoded(b"gzip", body, bytes_max, too_large=lambda _: AssertionError("too large"))


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=20))
def test_members_are_read_as_one_body(parts: list[bytes]) -> None:
    assert inflated(b"".join(map(gzip.compress, parts))) == b"".join(parts)


def test_a_megabyte_of_empty_members_is_not_unpacked_one_by_one() -> None:
    member = gzip.compress(b"")
    body = member * (1024 * 1024 // len(member))

    def refused() -> None:
        with pytest.raises(FixRequest, match="more than 1024 members"):
            inflated(body)

    whole = gzip.compress(bytes(16 * 1024 * 1024))
    assert took_s(refused) < max(0.1, 3 * took_s(lambda: inflated(whole)))


def test_each_item_of_token_ids_is_looked_at_once() -> None:
    def asked(count: int) -> dict[str, Any]:
        return {"items": [{"token_ids": [*[7] * 240, number]} for number in range(count)]}

    few, many = (msgspec.json.encode(asked(count)) for count in (256, 4096))

    def reading(body: bytes) -> Callable[[], object]:
        return lambda: read_request("encode", body, is_msgpack=False, limits=LIMITS)

    # Sixteen times as much; each compared with all before it, it took 256 times as long.
    assert took_s(reading(many)) < 64 * took_s(reading(few))


@pytest.mark.parametrize(
    ("operation", "value", "field"),
    [
        ("score", {"query": {"text": "q" * 900_000}}, "$.query"),
        ("score", {"query": {"text": "q"}, "instruction": "i" * 900_000}, "$.query"),
        ("encode", {"params": {"instruction": "i" * 900_000}}, "$.params"),
        ("encode", {"params": {"options": {"x": "o" * 900_000}}}, "$.params"),
        ("extract", {"params": {"labels": ["l" * 900_000]}}, "$.params"),
        (
            "extract",
            {"params": {"labels": [f"l{number}" for number in range(300_000)]}},
            "$.params",
        ),
    ],
)
def test_what_is_said_once_is_not_read_a_gigabyte_of_times(
    operation: Operation, value: dict[str, Any], field: str
) -> None:
    with pytest.raises(FixRequest, match="send fewer items at a time") as refused:
        read(operation, value | {"items": [{"text": "t"}] * 4096})
    assert (refused.value.code, refused.value.field) == ("PAYLOAD_TOO_LARGE", field)
    assert read(operation, value | {"items": [{"text": "t"}] * 4}), "few items are no matter"


def test_the_place_of_a_key_that_stands_twice_is_told_in_few_bytes() -> None:
    long, row = "k" * 20_000, "0," * 2_000
    body = f'{{"items":[],"params":{{"options":{{"{long}":[{row}{{"a":1,"a":2}}]}}}}}}'.encode()
    tracemalloc.start()
    try:
        with pytest.raises(FixRequest, match="the key stands twice") as refused:
            read_request("encode", body, is_msgpack=False, limits=LIMITS)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Every place beside it written out took 40 MB here, and grew with the square of the body.
    assert most < 50 * len(body)
    assert len(refused.value.message) < 200


@pytest.mark.parametrize("depth", [100, 900, 100_000])
async def test_nesting_is_refused_before_anybody_follows_it(tmp_path: Any, depth: int) -> None:
    deep = "[" * depth + "]" * depth
    async with running(tmp_path) as plane, client_of(plane) as client:
        assert (await client.post(MODELS, json=model("org/m"))).status_code == 201
        before = plane.sequencer.position
        for method, path, body, media in (
            ("PATCH", f"{MODELS}/org/m", f'{{"description":{deep}}}', "merge-patch+json"),
            ("POST", MODELS, f'{{"model_id":{deep}}}', "json"),
            (
                "POST",
                "/v1/configs/batch",
                f'{{"operations":[{{"op":"put","kind":"model","document":{deep}}}]}}',
                "json",
            ),
            ("POST", "/v1/configs/revert", f'{{"to":{deep}}}', "json"),
            ("POST", "/v1/configs/wait", deep, "json"),
        ):
            answer = await client.request(
                method, path, content=body, headers={"content-type": f"application/{media}"}
            )
            assert answer.status_code == 400, (method, path, answer.text[:200])
        assert plane.sequencer.position == before


async def test_quotes_in_a_cookie_cost_no_more_than_their_bytes(tmp_path: Any) -> None:
    tokens = tokens_file(tmp_path / "tokens.json", boss=("admin",))
    async with console_of(tmp_path / "log", tokens=tokens) as (plane, client):
        name = f"sie_console_{plane.sequencer.position.log_id[:8]}"
        slow = f'{name}="' + "\\" * 30_000 + '"'

        async def asked(cookie: str) -> float:
            began = time.thread_time()
            answer = await client.get(MODELS, headers={"cookie": cookie})
            assert answer.status_code == 401
            return time.thread_time() - began

        plain = min([await asked(f"{name}={'x' * 30_000}") for _ in range(3)])
        assert min([await asked(slow) for _ in range(3)]) < max(0.05, 10 * plain)


async def test_who_signs_in_again_and_again_signs_nobody_else_out(tmp_path: Any) -> None:
    tokens = tokens_file(tmp_path / "tokens.json", boss=("admin",), viewer=("read",))
    async with console_of(tmp_path / "log", tokens=tokens) as (_, client):
        signed = await client.post("/console/session", json={"token": "boss"})
        cookies = dict(signed.cookies)
        for _ in range(1001):
            client.cookies.clear()
            await client.post("/console/session", json={"token": "viewer"})
        client.cookies.clear()
        client.cookies.update(cookies)
        assert (await client.get("/console/session")).json()["name"] == "boss"


async def test_a_long_body_is_read_beside_the_loop_and_of_a_bounded_number_of_values(
    tmp_path: Any,
) -> None:
    numbers = b'{"operations": [' + b"1," * 490_000 + b"1]}"
    reading_s = took_s(lambda: canonical.loads(numbers))
    pairs = b",".join(b'"%x":0' % number for number in range(600_000))
    async with running(tmp_path) as plane, client_of(plane) as client:
        on_loop_s = []
        for _ in range(3):
            began = time.thread_time()
            answer = await client.post("/v1/configs/batch", content=numbers, headers=JSON)
            on_loop_s.append(time.thread_time() - began)
            assert answer.status_code == 422, answer.text[:300]
        # Here runs the loop alone; each number is a call of ours wherever it is read.
        assert min(on_loop_s) < reading_s / 2, f"{on_loop_s} of {reading_s}"
        answer = await client.post("/v1/configs/batch", content=b"{%b}" % pairs, headers=JSON)
    assert answer.status_code == 413, answer.text[:300]
    assert "more than 500000 lists, maps and names, or as many texts and" in answer.text


@pytest.mark.parametrize("one", [b'"ab",', b"7,"])
async def test_millions_of_texts_or_numbers_are_not_built_by_the_writer(
    tmp_path: Any, one: bytes
) -> None:
    """Sixteen megabytes of numbers took 1.8 s of a processor, those of short texts 0.25 s."""
    body = b'{"model": [%b0]}' % (one * (16_000_000 // len(one)))
    async with running(tmp_path) as plane, client_of(plane) as client:
        for method, path in (("POST", "models"), ("PUT", "models/m"), ("POST", "batch")):
            tracemalloc.start()
            try:
                answer = await client.request(
                    method, f"/v1/configs/{path}", content=body, headers=JSON
                )
                _, most = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert answer.status_code == 413, answer.text[:300]
            assert answer.json()["detail"]["code"] == "PAYLOAD_TOO_LARGE"
            assert most < 6 * len(body), "what is read of a request is a few times its bytes"


def test_a_text_of_escapes_is_read_once() -> None:
    body = b"[" + b'"\\u00e4",' * 200_000 + b"0]"
    plain = body.replace(b"\\u00e4", b"eeeeee")
    # Read twice and gone through, it took twice as long as the plain one; now it takes less.
    assert took_s(lambda: canonical.loads(body)) < 1.4 * took_s(lambda: canonical.loads(plain))


def test_marks_of_json_in_a_text_are_no_names() -> None:
    """Sixteen megabytes of them were five million pieces, and half a second of the loop."""
    body = msgspec.json.encode({"items": [{"text": '":' * 2_000_000}]})
    tracemalloc.start()
    try:
        assert repeated_key(body) is None
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 4 * len(body), "as a list of pieces it is thirty times its bytes"


MANY = {
    "items": (b"\x81\xa5items%b", b"\x80"),
    "options": (b"\x82\xa5items\x91\x80\xa6params\x81\xa7options\x81\xa1x%b", b"\x91\x90"),
    "in JSON": (b'{"items": [%b{}]}', b"{},"),
    "names": (b"\x82\xa5items\x91\x80\xa6params\x81\xa7options%b", b"\xa1k\x00"),
    "names in JSON": (b'{"items": [{}], "params": {"options": {%b"":0}}}', b'"k" :0,'),
    "texts": (b"\x82\xa5items\x91\x80\xa6params\x81\xa7options\x81\xa1x%b", b"\xa2ab"),
    "numbers": (b"\x81\xa5items\x91\x81\xa9token_ids%b", b"\xcd\x09\x09"),
    "texts in JSON": (b'{"items": [{}], "params": {"options": {"x":[%b"b"]}}}', b'"a,",'),
    "numbers in JSON": (b'{"items": [{"token_ids":[%b1]}]}', b"999, "),
}


@pytest.mark.parametrize("place", MANY)
def test_millions_of_empty_maps_names_texts_or_numbers_are_not_built(place: str) -> None:
    """Sixteen megabytes of maps were two gigabytes of a gateway, and of texts or numbers 200 MB."""
    head, one = MANY[place]
    is_msgpack = "JSON" not in place
    count = 1_400_000
    length = (b"\xdf" if place == "names" else b"\xdd") + count.to_bytes(4) if is_msgpack else b""
    body = head % (length + one * count)
    # Built, it would be told as too many items, or as too large.
    with pytest.raises(FixRequest, match="over 300000 lists, maps and names"):
        read_request("encode", body, is_msgpack=is_msgpack, limits=LIMITS)


@pytest.mark.parametrize("head", [b"\x81\xa5items", b"\x81\xa5items\x91\x81\xa9token_ids"])
def test_nulls_of_a_byte_each_are_not_gone_through_one_by_one(head: bytes) -> None:
    body = head + b"\xdd" + (1_200_000).to_bytes(4) + b"\xc0" * 1_200_000

    def refused() -> None:
        with pytest.raises(FixRequest, match="got `null`"):
            read_request("encode", body, is_msgpack=True, limits=LIMITS)

    # Two looks are five times what it takes to decode it; a call for each was thirty times, a
    # second of the loop for eight megabytes.
    assert took_s(refused) < 12 * took_s(lambda: msgspec.msgpack.decode(body))


@settings(max_examples=8)
@given(st.lists(st.sampled_from(["\u8c9d", "[{", '\\"[', "a", "\u0301"]), min_size=1, max_size=4))
def test_what_looks_like_lists_in_a_text_is_none(words: list[str]) -> None:
    text = ("".join(words) * 800_000)[:800_000]
    numbers = [1.5, None, -7, 2**40, 2**9, -(2**20), "", "a" * 40, 0.0, True]
    value = {"items": [{"text": text[::-1]}, {"text": text, "metadata": {"a": numbers}}]}
    limits = Limits(items_max=9, chars_max=10**7, payload_bytes_max=10**8)
    for encode, is_msgpack in ((msgspec.json.encode, False), (msgspec.msgpack.encode, True)):
        asked = read_request("encode", encode(value), is_msgpack=is_msgpack, limits=limits)
        assert asked.items[1].text == text


class _Dear(Collector):
    """A metric that takes five milliseconds of its thread, and counts how often it was asked."""

    asked = 0

    def collect(self) -> Iterator[Metric]:
        self.asked += 1
        until = time.thread_time() + 0.005
        while time.thread_time() < until:
            pass
        yield GaugeMetricFamily("sie_test_dear_count", "How often.", self.asked)


def test_who_reads_metrics_again_and_again_has_few_of_them_made() -> None:
    now = [0.0]
    texts, dear = MetricsTexts(lambda: now[0]), _Dear()
    REGISTRY.register(dear)
    try:
        dear.asked = 0
        for number in range(10):
            text, _ = texts.text("")
            assert f"sie_test_dear_count {number + 1}.0".encode() in text, "it is the newest"
        for number in range(300):
            # Versions that nobody has asked for before are no way to a new text.
            text, form = texts.text(f"application/openmetrics-text; version=1.0.{number}")
            assert text.endswith(b"# EOF\n") == form.startswith("application/openmetrics-text")
        assert dear.asked < 25
        now[0] = 1000.0
        text, _ = texts.text("")
        assert f"sie_test_dear_count {dear.asked}.0".encode() in text, "later it is the newest"
        assert dear.asked < 26
    finally:
        REGISTRY.unregister(dear)
