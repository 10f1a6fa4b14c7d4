"""Laws of a request as it was read: what it holds is counted, and nothing of it is passed over."""

import dataclasses
import inspect
import json
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.gateway_world import MemoryBus, heartbeat, standard_resolver

from sie_core.backend_options import inputs_of
from sie_gateway.fleet.demand import DemandBoard, Remembered
from sie_gateway.fleet.fleet import Fleet
from sie_gateway.fleet.routing import Route, Routes, Wanted
from sie_gateway.request.jobs import JobCaps, check_asked, jobs_for
from sie_gateway.request.requests import Asked, Limits, read_request
from sie_schemas.errors import FixRequest
from sie_schemas.fleet import (
    DEMAND_SUBJECT,
    WANTED_DECODER,
    DemandAsked,
    WantedModel,
    WorkerKind,
    wanted_subject,
)
from sie_schemas.items import Item, Media, OutputDtype, OutputType
from sie_schemas.jobs import JOB_VERSION, Job

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


# ---- a request and its jobs ---------------------------------------------------------------------

OUTPUTS = st.lists(st.sampled_from(get_args(OutputType)), unique=True, max_size=3).map(tuple)
NOT_SENT = {"items_size", "fixed_size", "lora", "given", "params", "items_path"}
"""Fields of a request that are about its body; its adapter is pinned by the route."""
OF_ALL = {"has_images", "has_tokens"}
"""And those that are told of all items together."""
VALUES = {
    "items": st.lists(st.builds(Item, text=st.text()), min_size=1, max_size=9).map(tuple),
    "query": st.none() | st.builds(Item, text=st.text()),
    "output_types": OUTPUTS,
    "options": st.dictionaries(st.sampled_from(["is_query", "top_k"]), st.booleans()),
}
HINTS = get_type_hints(Asked)
SENT = [name for name in Asked.__struct_fields__ if name not in NOT_SENT]
ASKED = st.builds(Asked, **{name: VALUES.get(name, st.from_type(HINTS[name])) for name in SENT})
SAID_OF_A_JOB = inspect.getfullargspec(jobs_for).kwonlyargs
"""The words of the gateway beside the request: each is a field of the job, but for the caps."""


def route_of(spec: str, operation: Any, outputs: Any, backend: str = "echo", **said: Any) -> Route:
    fleet = Fleet(ttl_s=10.0)
    fleet.heard(heartbeat(), now=0.0)
    wanted = Wanted(spec, operation, **said)
    found = Routes().find(standard_resolver(), fleet, wanted, now=1.0)
    assert isinstance(found, Route)
    model = dataclasses.replace(
        found.model,
        outputs=outputs,
        profile_document={**found.model.profile_document, "backend": backend},
    )
    return msgspec.structs.replace(found, model=model)


@given(ASKED, OUTPUTS.filter(bool), st.integers(1, 5), st.none() | st.just("legal"))
@example(Asked("encode", (Item(text="a"),)), ("sparse", "multivector"), 1, None)
@example(Asked("encode", (Item(text="a"),), has_tokens=True), ("dense",), 1, None)
@example(Asked("encode", (Item(text="a"),), dimensions=2), ("dense",), 1, None)
@example(Asked("encode", (Item(text="a"),), options={"top_k": 1}), ("dense",), 1, None)
def test_a_job_carries_all_that_its_request_asked_for(asked, outputs, items_max, lora):
    specs = {"encode": "org/dense", "score": "ranker", "extract": "finder"}
    lora = lora if asked.operation == "encode" else None
    route = route_of(specs[asked.operation], asked.operation, outputs, lora=lora)
    said: dict[str, Any] = {name: f"the {name}" for name in SAID_OF_A_JOB if name != "caps"}
    jobs = jobs_for(asked, route, caps=JobCaps(items_max, 10**6), **said)

    assert tuple(item for job in jobs for item in job.items) == asked.items
    said["request_id"] = said.pop("run_id")
    wanted = {name: getattr(asked, name) for name in SENT if name not in {"items", *OF_ALL}}
    # Dense vectors where a model has them, else all that it gives; and no other answer has outputs.
    usual = ("dense",) if "dense" in outputs else outputs
    wanted["output_types"] = (asked.output_types or usual) if asked.operation == "encode" else ()
    wanted |= {"log_id": route.position.log_id, "epoch": route.position.epoch}
    wanted |= {"model_id": route.model.model_id, "profile": route.model.profile}
    wanted |= {"model_revision": route.model.revision, "adapter": route.adapter, "payload": None}
    # A worker of the release before would pass over what it does not know.
    is_plain = set(asked.options) <= {"is_query"} and asked.dimensions is None
    wanted["v"] = 1 if is_plain and not asked.has_tokens else JOB_VERSION
    places = ("job_id", "first_item", "items")
    assert {*wanted, *said, *places} == set(Job.__struct_fields__), "a new field is told of here"
    first = 0
    for job in jobs:
        for name, value in {**wanted, **said}.items():
            assert getattr(job, name) == value, name
        assert (job.first_item, job.job_id) == (first, f"the run_id.{first}")
        first += len(job.items)
    assert (route.adapter is None) == (lora is None)


IMAGE = Item(images=(Media(b"a", "png"),))
KINDS_OF_ITEM = [Item(text="a"), Item(token_ids=(1, 2)), IMAGE]


@given(
    asked=OUTPUTS,
    gives=OUTPUTS.filter(bool),
    dtype=st.sampled_from(get_args(OutputDtype)),
    dimensions=st.none() | st.integers(1, 9),
    items=st.lists(st.sampled_from(KINDS_OF_ITEM), min_size=1, max_size=4).map(tuple),
    backend=st.sampled_from(["transformer", "image-text", "ocr", "somebodys"]),
    params=st.sampled_from(["$", "$.params"]),
    options=st.sampled_from([{}, {"is_query": True}, {"strange": 1}]),
)
@example(("sparse",), ("sparse",), "float16", None, (Item(text="a"),), "ocr", "$", {})
@example((), ("dense",), "float32", None, (Item(token_ids=(1, 2)),), "ocr", "$", {})
@example((), ("sparse",), "int8", None, (Item(text="a"),), "transformer", "$", {})
@example(("dense", "sparse"), ("dense", "sparse"), "int8", 4, (IMAGE,), "image-text", "$", {})
@example(("sparse",), ("sparse",), "float16", 4, (Item(text="a"),), "transformer", "$", {})
@example(("dense", "sparse"), ("dense",), "float32", None, (IMAGE,), "somebodys", "$.params", {})
@example((), ("dense",), "float32", None, (IMAGE,), "somebodys", "$.params", {"strange": 1})
@example((), ("dense",), "float32", None, (IMAGE,), "image-text", "$.params", {"strange": 1})
def test_a_request_is_taken_where_its_model_takes_its_items_and_gives_what_it_asks_for(
    asked, gives, dtype, dimensions, items, backend, params, options
):
    request = Asked(
        "encode",
        items,
        output_types=asked,
        output_dtype=dtype,
        dimensions=dimensions,
        given=options if dimensions is None else {**options, "dimensions": dimensions},
        params=params,
        has_images=IMAGE in items,
    )
    route = route_of("org/dense", "encode", gives, backend)
    takes = inputs_of(backend) or ("text", "image")
    strange = [
        f"$.items[{place}].{'images' if item is IMAGE else 'text'}"
        for place, item in enumerate(items)
        if ("image" if item is IMAGE else "text") not in takes
    ]
    strange += [
        f"{params}.output_types[{place}]" for place, each in enumerate(asked) if each not in gives
    ]
    outputs = asked or (("dense",) if "dense" in gives else gives)
    if outputs == ("sparse",) and not dtype.startswith("float"):
        strange.append(f"{params}.output_dtype")
    if "strange" in options and backend != "somebodys":
        strange.append(f"{params}.options.strange")
    if dimensions is not None and not {"dense", "multivector"} & set(outputs):
        strange.append(f"{params}.dimensions")
    if not strange:
        check_asked(request, route)
        return
    with pytest.raises(FixRequest) as refused:
        check_asked(request, route)
    assert refused.value.field == strange[0]


# ---- asked for and not there --------------------------------------------------------------------

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


@given(
    asks=st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=6),
    pinned=st.lists(st.sampled_from("abcd"), max_size=3),
    is_other=st.booleans(),
)
async def test_a_worker_that_asks_is_told_once_of_what_was_asked_for_and_of_what_is_pinned(
    asks, pinned, is_other
):
    """Each request with whether the broker is there as it comes: a word lost is no error."""

    def named(names: Any) -> tuple[WantedModel, ...]:
        return tuple(WantedModel(model_id=name) for name in names)

    bus = MemoryBus()
    board = DemandBoard(bus, keep_s=600.0)
    await board.open(lambda kind: named(pinned) if kind == KIND else ())
    news, told = [], []
    for name, bus.connected in asks:
        await board.found_cold(KIND, *named(name))
        if name not in told and bus.connected:
            news.append((name,))
        told.append(name)
    bus.connected = True
    newest = list(dict.fromkeys(reversed(told)))
    asker = WorkerKind("night", "cpu", "default") if is_other else KIND
    await bus.publish(DEMAND_SUBJECT, b"not a question")
    await bus.publish(DEMAND_SUBJECT, msgspec.msgpack.encode(DemandAsked(**asker._asdict())))
    wanted = tuple(dict.fromkeys([*newest, *pinned]))
    if wanted and not is_other:
        news.append(wanted)
    said = [(subject, data) for subject, data in bus.published if subject != DEMAND_SUBJECT]
    assert {subject for subject, _ in said} <= {wanted_subject(*KIND)}
    assert [WANTED_DECODER.decode(data).models for _, data in said] == list(map(named, news))

    await board.close()
    await bus.publish(DEMAND_SUBJECT, msgspec.msgpack.encode(DemandAsked(**KIND._asdict())))
    assert bus.published[-1][0] == DEMAND_SUBJECT, "who has closed says nothing"
