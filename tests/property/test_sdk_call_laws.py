"""Laws of the SDK's calls: what is said travels, and what comes back is told as it is."""

from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sie_schemas.errors import SIEError, TimeRanOut, error_for
from sie_sdk import exchange
from sie_sdk.errors import SIEConnectionError
from sie_sdk.exchange import Defaults
from sie_sdk.patience import Patience, retry_delay_s
from sie_sdk.wire.transport import connection_error

OPTIONS = st.dictionaries(st.sampled_from(["lora", "is_query", "x"]), st.sampled_from(["a", 0, ""]))
# Of each type also the value that counts as false.
TOLD = st.fixed_dictionaries(
    {},
    optional={
        "output_types": st.sampled_from([("dense",), ["sparse", "dense"]]),
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
        said["output_types"] = [*said["output_types"]]
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
