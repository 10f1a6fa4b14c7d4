"""Laws of a request as it was read: what it holds is counted, and nothing of it is passed over."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sie_gateway.fleet.demand import Remembered
from sie_gateway.request.requests import Asked, Limits, read_request
from sie_schemas.errors import FixRequest
from sie_schemas.fleet import WantedModel, WorkerKind

WIDE = Limits(items_max=100, chars_max=10**6, payload_bytes_max=10**6)
TEXTS = st.lists(st.text("ab", max_size=30), min_size=1, max_size=4)


def read(operation: Any, body: dict[str, Any], limits: Limits = WIDE) -> Asked:
    return read_request(operation, json.dumps(body).encode(), is_msgpack=False, limits=limits)


@given(texts=TEXTS, query=st.text("ab", max_size=30), most=st.integers(0, 60))
def test_the_characters_of_a_query_count_as_those_of_the_items(texts, query, most):
    limits = Limits(items_max=100, chars_max=most, payload_bytes_max=10**6)
    body = {"query": {"text": query}, "items": [{"text": text} for text in texts]}
    if len(query) + sum(map(len, texts)) <= most:
        read("score", body, limits)
        return
    with pytest.raises(FixRequest) as refused:
        read("score", body, limits)
    assert refused.value.code == "INPUT_TOO_LONG"


NAMES = st.none() | st.sampled_from(["legal", "med"])


@given(first=NAMES, second=NAMES)
def test_a_request_has_one_adapter_or_is_refused(first, second):
    named = {"lora": first, "lora_id": second}
    options = {name: value for name, value in named.items() if value is not None}
    body = {"items": [{"text": "a"}], "params": {"options": options}}
    if first and second and first != second:
        with pytest.raises(FixRequest, match="two adapters"):
            read("encode", body)
        return
    asked = read("encode", body)
    assert (asked.lora, asked.options) == (first or second, {})


WORDS = st.none() | st.sampled_from(["find", "compare"])


@given(param=WORDS, option=WORDS)
def test_an_instruction_is_said_once_or_twice_alike(param, option):
    params: dict[str, Any] = {} if param is None else {"instruction": param}
    params["options"] = {} if option is None else {"instruction": option}
    body = {"items": [{"text": "a"}], "params": params}
    if param and option and param != option:
        with pytest.raises(FixRequest, match="give one"):
            read("encode", body)
        return
    asked = read("encode", body)
    assert (asked.instruction, asked.options) == (param or option, {})


@given(texts=TEXTS, instruction=st.text("ab", max_size=200), most=st.integers(1024, 1400))
def test_what_is_taken_fits_into_messages_item_by_item_with_all_that_stands_beside_it(
    texts, instruction, most
):
    limits = Limits(items_max=100, chars_max=10**6, payload_bytes_max=most)
    body = {
        "items": [{"text": text} for text in texts],
        "params": {"instruction": instruction},
    }
    whole = read("encode", body)
    fits = whole.fixed_size + max(whole.item_sizes()) <= most
    assert whole.repeated_size == (whole.fixed_size - 1024) * len(texts)
    if fits:
        assert read("encode", body, limits) == whole
        return
    with pytest.raises(FixRequest) as refused:
        read("encode", body, limits)
    assert refused.value.code == "PAYLOAD_TOO_LARGE"


ITEMS = st.lists(
    st.sampled_from(
        [{"text": "a"}, {"token_ids": [1, 2]}, {"image": "data:image/png;base64,AAAA"}]
    ),
    min_size=1,
    max_size=4,
)


@given(ITEMS)
def test_a_request_knows_whether_it_has_images_and_token_ids(items):
    asked = read("encode", {"items": items})
    assert asked.has_images is any("image" in item for item in items)
    assert asked.has_tokens is any("token_ids" in item for item in items)


KIND = WorkerKind("default", "cpu", "default")
ASKS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 8)), max_size=12)


@given(ASKS, st.integers(0, 12))
def test_what_was_asked_for_is_news_once_in_its_time_and_the_newest_are_remembered(asks, later):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sie_gateway.fleet.demand._MODELS_MAX", 2)
        board, now = Remembered(10.0), 0.0
        kept: dict[str, float] = {}
        for name, pause in asks:
            now += pause
            before = kept.pop(name, None)
            wanted = WantedModel(model_id=name, profile="default")
            assert board.ask(KIND, wanted, now) is (before is None or now - before > 10.0)
            kept[name] = now
            if len(kept) > 2:
                del kept[next(iter(kept))]
        now += later
        found = [each.model_id for each in board.of(KIND, now)]
        assert found == [name for name, at in reversed(kept.items()) if now - at <= 10.0]
