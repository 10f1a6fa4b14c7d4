"""Laws of the SDK's calls: what is said travels, and what comes back is told as it is."""

from typing import Any, cast

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sie_schemas.errors import SIEError, TimeRanOut, error_for
from sie_sdk import exchange
from sie_sdk.config.calls import Terms, batch_call, delete_call, patch_call, put_call, revert_call
from sie_sdk.errors import SIEConnectionError
from sie_sdk.exchange import Defaults
from sie_sdk.patience import Patience, retry_delay_s
from sie_sdk.types import EncodeOptions
from sie_sdk.wire.transport import connection_error, timeout_of

OPTIONS = st.dictionaries(st.sampled_from(["lora", "is_query", "x"]), st.sampled_from(["a", 0, ""]))
# Of each type also the value that counts as false.
TOLD = st.fixed_dictionaries(
    {},
    optional={
        "output_types": st.sampled_from(["dense", ("dense",), ["sparse", "dense"]]),
        "output_dtype": st.sampled_from(["int8", "float32"]),
        "dimensions": st.integers(0, 8),
        "instruction": st.sampled_from(["", "find"]),
        "is_query": st.booleans(),
        "options": OPTIONS,
    },
)
GROWING = ("NOT_READY", "QUEUE_FULL", "RATE_LIMIT", "RESOURCE_EXHAUSTED", "STORAGE_FULL")
LATE = (httpx.ReadTimeout, httpx.WriteTimeout, httpx.PoolTimeout)
LOST = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.ReadError,
    httpx.WriteError,
    httpx.CloseError,
    httpx.RemoteProtocolError,
)


@given(told=TOLD, usual=OPTIONS)
def test_what_a_call_says_travels_as_it_was_said_and_nothing_else_does(told, usual):
    [call] = exchange.encode_calls("m", "a", told, Defaults(options=usual))
    params = msgspec.msgpack.decode(call.body).get("params", {})
    said = {name: value for name, value in told.items() if name not in {"is_query", "options"}}
    if "output_types" in said:
        named = said["output_types"]
        said["output_types"] = [named] if isinstance(named, str) else [*named]
    options = {**usual, **told.get("options", {})}
    if "is_query" in told:
        options["is_query"] = told["is_query"]
    assert params == said | ({"options": options} if options else {})


@given(failed=st.lists(st.booleans(), min_size=1, max_size=5))
def test_an_item_that_failed_stands_in_its_place_of_a_list_and_alone_is_raised(failed):
    problem = {"error": {"code": "INPUT_TOO_LONG", "message": "long"}}
    items: list[dict[str, Any]] = [problem if each else {} for each in failed]
    content = msgspec.msgpack.encode({"model": "m", "items": items})
    for texts in (["a"] * len(failed), "a")[: 2 if len(failed) == 1 else 1]:
        calls = exchange.encode_calls("m", texts, {}, Defaults())
        answers = [exchange.read_answer(200, {}, content)]
        if texts == "a" and failed[0]:
            with pytest.raises(SIEError) as refused:
                exchange.read_encode(calls, answers)
            assert refused.value.code == "INPUT_TOO_LONG"
            continue
        found = exchange.read_encode(calls, answers)
        listed = found if isinstance(found, list) else [found]
        assert ["error" in each for each in listed] == failed


@given(
    code=st.sampled_from(GROWING),
    attempt=st.integers(0, 20),
    told_s=st.none() | st.floats(0.01, 60),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_a_pause_doubles_until_half_a_minute_where_nobody_knows_how_long_it_takes(
    code, attempt, told_s, chance
):
    patience = Patience(retries_max=100, oom_retries_max=100, provision_timeout_s=1e6)
    error = error_for(code, "x", retry_after_s=told_s)
    first, found = (
        retry_delay_s(error, attempt=each, elapsed_s=0.0, patience=patience, chance=chance)
        for each in (0, attempt)
    )
    assert first is not None and found is not None
    assert found == pytest.approx(max(first, min(30.0, first * 2**attempt)))


@given(
    workers=st.lists(
        st.fixed_dictionaries(
            {"gpu": st.sampled_from(["l4", "cpu"]), "gpu_count": st.integers(0, 2)},
            optional={"healthy": st.booleans()},
        ),
        max_size=5,
    ),
    gpu=st.none() | st.sampled_from(["L4", "l4", "h100"]),
)
def test_only_workers_that_are_well_and_of_the_wanted_kind_are_capacity(workers, gpu):
    found = exchange.capacity_of({"type": "gateway", "workers": workers}, gpu)
    wanted = [
        worker
        for worker in workers
        if worker.get("healthy", False) and gpu in {None, worker["gpu"], worker["gpu"].upper()}
    ]
    assert found["workers"] == wanted
    assert found["worker_count"] == len(wanted)
    assert found["gpu_count"] == sum(worker["gpu_count"] for worker in wanted)


@given(kind=st.sampled_from((*LATE, *LOST)), was_reached=st.booleans())
def test_what_may_have_been_sent_and_was_not_answered_in_time_is_not_sent_again(kind, was_reached):
    error = connection_error(kind("x"), "http://there", was_reached=was_reached)
    pause = retry_delay_s(error, attempt=0, elapsed_s=0.0, patience=Patience(), chance=0.5)
    assert isinstance(error, TimeRanOut if kind in LATE else SIEConnectionError)
    assert (pause is None) is (kind in LATE)


GPUS = st.sampled_from([None, "", "l4", "pool/l4"])
POOLS = st.sampled_from([None, "pool-b", "pool-c"])
PLACED = st.fixed_dictionaries(
    {"gpu": GPUS, "pool": POOLS}, optional={"wait_for_capacity": st.booleans()}
)
BOUNDS = st.fixed_dictionaries(
    {}, optional={"provision_timeout_s": st.floats(0, 9), "max_oom_retries": st.integers(0, 4)}
)
LORAS = st.dictionaries(st.sampled_from(["lora", "lora_id"]), st.sampled_from(["legal", "med"]))


@given(told=PLACED, usual=PLACED, bounds=BOUNDS, loras=LORAS)
def test_what_a_call_says_of_its_place_and_patience_goes_before_all_else(
    told, usual, bounds, loras
):
    """Nothing is also something that a call may say: no time, and no try."""
    defaults = Defaults(gpu=usual["gpu"], pool=usual["pool"])
    options = cast("EncodeOptions", {**told, **bounds, "options": loras})
    [call] = exchange.encode_calls("m", "a", options, defaults)
    gpu = told["gpu"] or usual["gpu"]
    pool = told["pool"] or usual["pool"]
    if gpu == "pool/l4":
        gpu, pool = "l4", "pool"
    wanted = {"X-SIE-MACHINE-PROFILE": gpu, "X-SIE-Pool": pool}
    assert {name: call.headers[name] for name in wanted if name in call.headers} == {
        name: value for name, value in wanted.items() if value
    }
    patience = call.patience
    assert patience.wait_for_capacity is told.get("wait_for_capacity", True)
    assert patience.provision_timeout_s == bounds.get("provision_timeout_s", 900.0)
    assert patience.oom_retries_max == bounds.get("max_oom_retries", 3)
    assert call.asked["lora"] == loras.get("lora", loras.get("lora_id"))
    assert call.asked["gpu"] == (gpu or None)


@given(st.none() | st.sampled_from(["", "own"]), st.none() | st.sampled_from(["", "environment"]))
def test_a_key_that_is_given_is_the_one_that_is_sent_also_where_it_is_none(given_key, environment):
    environ = {} if environment is None else {"SIE_API_KEY": environment}
    key = environment if given_key is None else given_key
    found = exchange.client_headers(given_key, environ).get("Authorization")
    assert found == (f"Bearer {key}" if key else None)


SECONDS = st.none() | st.sampled_from([0.0, 2.0, 40.0])


@given(SECONDS, SECONDS, SECONDS)
def test_each_time_that_is_said_is_the_one_that_is_waited_also_where_it_is_none(
    both_s, connect_s, read_s
):
    found = timeout_of(both_s, connect_s, read_s)
    response_s = 150.0 if both_s is None else both_s
    assert found.read == found.write == found.pool == (response_s if read_s is None else read_s)
    assert found.connect == (min(10.0, response_s) if connect_s is None else connect_s)


@given(st.none() | st.sampled_from(["", "own"]))
def test_a_write_has_the_key_of_its_caller_else_one_of_its_own(own):
    """With another key what was written, and was not heard of, is written twice."""
    terms = Terms(idempotency_key=own)
    for call in (
        put_call("pool", "a", {}, terms, "fresh"),
        patch_call("pool", "a", {}, terms, "fresh"),
        delete_call("pool", "a", terms, "fresh"),
        batch_call([], simultaneous=False, terms=terms, fresh="fresh"),
        revert_call(1, None, terms, "fresh"),
    ):
        assert call.headers["Idempotency-Key"] == (own or "fresh")
