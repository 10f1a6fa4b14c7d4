"""The contract of the gateway, tried by machine: its document, and bytes that nobody would send."""

import json
import random
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    negative_data_rejection,
    positive_data_acceptance,
    unsupported_method,
)
from tests.support.openapi_file import OPENAPI_FILES
from tests.support.served import served_gateway

from sie_schemas.errors import CODES

pytestmark = pytest.mark.integration

# The exhaustive phase takes minutes on a small machine; random requests find the same in seconds.
CONFIG = SchemathesisConfig.from_dict({"phases": {"coverage": {"enabled": False}}})
DOCUMENT = json.loads(OPENAPI_FILES["sie-gateway"].read_text())
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT, config=CONFIG)
CALM = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture]
NOT_OURS = [positive_data_acceptance, negative_data_rejection, unsupported_method]
"""The checks that are not ours: which models there are decides beside a body's form; a name may be
any path below its route."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served_gateway(request_timeout_s=5.0) as address:
        yield address


@SCHEMA.parametrize()
@settings(max_examples=5, deadline=None, suppress_health_check=CALM)
def test_no_request_makes_a_server_error(case, url):
    case.call_and_validate(base_url=url, checks=[not_a_server_error])


@SCHEMA.parametrize()
@settings(max_examples=2, deadline=None, suppress_health_check=CALM)
def test_every_answer_is_one_that_the_document_tells(case, url):
    case.call_and_validate(base_url=url, excluded_checks=NOT_OURS)


MODELS = {"encode": "org/dense", "score": "ranker", "extract": "finder"}
GOOD: dict[str, Any] = {
    "encode": {"items": [{"text": "a", "id": "x"}], "params": {"output_types": ["dense"]}},
    "score": {"query": {"text": "q"}, "items": [{"text": "a"}, {"text": "b"}]},
    "extract": {"items": [{"text": "a"}], "params": {"labels": ["L"]}},
}
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=8)
)
NAMES = st.text(max_size=4)
ODD = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["text", "items", "params", "options", "id", "labels"])


def damaged(body: bytes, chance: random.Random) -> bytes:
    """Some bytes of a body changed, lost, repeated, or put before a length that is not there."""
    made = bytearray(body)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(made) + 1)
        match chance.randrange(4):
            case 0 if at < len(made):
                made[at] ^= 1 << chance.randrange(8)
            case 1:
                del made[at : at + chance.randint(1, 9)]
            case 2:
                made[at:at] = made[: chance.randint(0, 40)]
            case _:
                # Arrays, maps, strings and binaries that claim four thousand million members.
                made[at:at] = bytes([chance.choice([0xDD, 0xDF, 0xDB, 0xC6])]) + b"\xff" * 4
    return bytes(made)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[str, bytes]:
    """An operation, and MessagePack of nearly its shape, or of nearly none."""
    operation = draw(st.sampled_from(sorted(GOOD)))
    shape = json.loads(json.dumps(GOOD[operation]))
    if draw(st.booleans()):
        place = draw(st.sampled_from([shape, *shape["items"], shape.get("params", shape)]))
        place[draw(FIELDS)] = draw(ODD)
    body = msgspec.msgpack.encode(shape)
    if draw(st.booleans()):
        body = damaged(body, draw(st.randoms(use_true_random=False)))
    deep = draw(st.sampled_from([0, 0, 0, 200, 100_000]))
    return operation, b"\x91" * deep + body


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=8.0) as client:
        yield client


@settings(max_examples=60, deadline=None, suppress_health_check=CALM)
@given(bodies())
def test_no_msgpack_makes_an_error_outside_the_table_or_a_hang(client, asked):
    operation, body = asked
    media = {"content-type": "application/msgpack", "accept": "application/msgpack"}
    answer = client.post(f"/v1/{operation}/{MODELS[operation]}", content=body, headers=media)
    if answer.status_code == 200:
        assert isinstance(msgspec.msgpack.decode(answer.content, strict=False), dict)
    else:
        told = answer.json()["detail"]
        assert CODES[told["code"]].status == answer.status_code < 500, told
        assert told["message"]
    # And whoever comes next gets the right answer.
    good = client.post("/v1/encode/org/dense", json={"items": [{"text": "four"}]})
    assert good.json()["items"][0]["dense"]["values"][0] == 4.0
