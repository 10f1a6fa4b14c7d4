"""Laws of the form of an answer: what a client likes best is given, of equals the first."""

from hypothesis import given
from hypothesis import strategies as st

from sie_gateway.faces.native import read_native
from sie_gateway.request.requests import Limits

LIMITS = Limits(items_max=10, chars_max=100, payload_bytes_max=100_000)
MSGPACK = st.sampled_from(
    ["application/msgpack", "Application/X-MsgPack", "application/vnd.msgpack"]
)
JSON = st.sampled_from(["application/json", "*/*", "application/*", "APPLICATION/JSON"])
OTHER = st.sampled_from(["text/html", "application/xml", "image/*"])
QUALITY = st.none() | st.sampled_from(["0", "0.0", "0.001", "0.5", "0.500", "0.9", "1", "1.000"])
BEFORE = st.sampled_from([";q=", "; q=", " ;Q = ", ";v=1;q="])
WANTED = st.tuples(st.sampled_from(["msgpack", "json", "other"]), QUALITY, BEFORE)


@given(st.data(), st.lists(WANTED, unique_by=lambda each: each[0], max_size=3))
def test_the_form_that_is_liked_best_is_given_and_json_where_none_is(data, wanted):
    kinds = {"msgpack": MSGPACK, "json": JSON, "other": OTHER}
    parts = []
    for kind, quality, before in wanted:
        told = "" if quality is None else before + quality
        parts.append(data.draw(kinds[kind]) + told)
    accept = data.draw(st.sampled_from([",", ", ", " , "])).join(parts)
    headers = {b"content-type": b"application/json"}
    headers |= {b"accept": accept.encode()} if parts or data.draw(st.booleans()) else {}

    liked = {kind: 1.0 if quality is None else float(quality) for kind, quality, _ in wanted}
    msgpack, json = liked.get("msgpack", 0.0), liked.get("json", 0.0)
    is_first = next((kind for kind in liked if kind != "other"), "json") == "msgpack"
    expected = msgpack > json or (msgpack == json > 0 and is_first)
    body = b'{"items": [{"text": "a"}]}'
    found = read_native("encode", "m", body, headers, LIMITS, lambda: 0.0)
    assert found.content_type == ("application/x-msgpack" if expected else "application/json")
