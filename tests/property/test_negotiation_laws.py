"""Laws of what headers ask for: the form that is liked best, and how long a client waits."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.gateway_world import standard_resolver

from sie_gateway.faces.native import cold_error, cold_response, read_native
from sie_gateway.fleet.fleet import Fleet
from sie_gateway.fleet.routing import Cold, Routes, Wanted
from sie_gateway.http.preferences import patience_s
from sie_gateway.request.requests import Limits
from sie_schemas.errors import FixRequest

LIMITS = Limits(items_max=10, chars_max=100, payload_bytes_max=100_000)
MSGPACK = st.sampled_from(
    ["application/msgpack", "Application/X-MsgPack", "application/vnd.msgpack"]
)
JSON = st.sampled_from(["application/json", "APPLICATION/JSON"])
PATTERN = st.sampled_from(["*/*", "application/*"])
OTHER = st.sampled_from(["text/html", "application/xml", "image/*"])
QUALITY = st.none() | st.sampled_from(["0", "0.0", "0.001", "0.5", "0.500", "0.9", "1", "1.000"])
BEFORE = st.sampled_from([";q=", "; q=", " ;Q = ", ";v=1;q="])
WANTED = st.tuples(st.sampled_from(["msgpack", "json", "pattern", "other"]), QUALITY, BEFORE)


@given(st.data(), st.lists(WANTED, unique_by=lambda each: each[0], max_size=4))
def test_the_form_that_is_liked_best_is_given_and_json_where_none_is(data, wanted):
    kinds = {"msgpack": MSGPACK, "json": JSON, "pattern": PATTERN, "other": OTHER}
    parts = []
    for kind, quality, before in wanted:
        told = "" if quality is None else before + quality
        parts.append(data.draw(kinds[kind]) + told)
    accept = data.draw(st.sampled_from([",", ", ", " , "])).join(parts)
    headers = {b"content-type": b"application/json"}
    headers |= {b"accept": accept.encode()} if parts or data.draw(st.booleans()) else {}

    liked = {kind: 1.0 if quality is None else float(quality) for kind, quality, _ in wanted}
    msgpack = liked.get("msgpack", 0.0)
    # A pattern says of JSON what nobody said of it by its name, wherever it stands.
    json = liked.get("json", liked.get("pattern", 0.0))
    named = [kind for kind in liked if kind in {"msgpack", "json"}]
    expected = msgpack > json or (msgpack == json > 0 and named[0] == "msgpack")
    body = b'{"items": [{"text": "a"}]}'
    found = read_native("encode", "m", body, headers, LIMITS, lambda: 0.0)
    assert found.content_type == ("application/x-msgpack" if expected else "application/json")


SPACE = st.sampled_from(["", " "])


@given(
    before=st.sampled_from(["", "respond-async, ", 'handling="a;b", ']),
    name=st.sampled_from(["wait", "Wait", "WAIT"]),
    seconds=st.sampled_from(["0", "30", "999999"]),
    quote=st.sampled_from(["", '"']),
    after=st.sampled_from(["", "; why=x", ", wait=5", ", respond-async"]),
    space=SPACE,
)
def test_a_client_waits_as_long_as_it_first_prefers(before, name, seconds, quote, after, space):
    said = f"{before}{name}{space}={space}{quote}{seconds}{quote}{space}{after}"
    assert patience_s({b"prefer": said.encode()}) == float(seconds)


@pytest.mark.parametrize("said", ["", "-1", "1.5", "soon", "1000000", "\u0663"])
def test_a_time_that_is_no_whole_number_of_seconds_is_refused(said):
    with pytest.raises(FixRequest):
        patience_s({b"prefer": f"wait={said}".encode("latin-1", "replace")})
    assert patience_s({b"prefer": b"respond-async"}) == patience_s({}) == 0.0


@given(st.sampled_from([0.25, 1.0, 2.5, 30.0]))
def test_who_finds_no_worker_is_told_where_and_when_in_either_form(retry_s):
    cold = Routes().find(standard_resolver(), Fleet(6.0), Wanted("ranker", "score"), now=0.0)
    assert isinstance(cold, Cold)
    route = cold.route
    place = {
        "pool": route.pool,
        "machine_profile": route.machine_profile,
        "bundle": route.bundle,
        "model": route.model_name,
    }
    answer = cold_response(cold, retry_after_s=retry_s)
    error = cold_error(cold, retry_after_s=retry_s)
    assert (answer.status, answer.code, error.code) == (202, "PROVISIONING", "PROVISIONING")
    told = msgspec.json.decode(answer.body)
    assert told == place | {
        "status": "provisioning", "retry_after_s": retry_s, "message": error.message
    }  # fmt: skip
    headers = dict(answer.headers)
    assert headers.items() >= dict(route.headers).items()
    assert headers[b"retry-after-ms"] == b"%.0f" % (retry_s * 1000)
    assert (error.details, error.retry_after_s) == (place, retry_s)
