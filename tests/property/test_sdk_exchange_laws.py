"""Laws of the SDK's exchange: what is sent again, and that a response is an answer or an error."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sie_schemas.arrays import to_wire
from sie_schemas.errors import CODES, Later, SIEError, TimeRanOut, error_for
from sie_sdk import exchange
from sie_sdk.errors import ProvisioningError
from sie_sdk.exchange import Defaults
from sie_sdk.patience import Patience, retry_delay_s
from sie_sdk.wire.call import Call, base_url_of

PATIENCE = st.builds(Patience, st.booleans(), st.floats(0, 100), st.integers(0, 5))
CAPACITY = {"PROVISIONING", "MODEL_LOADING", "GATEWAY_TIMEOUT"}
BUSY = {"NOT_READY", "QUEUE_FULL", "RATE_LIMIT"}
TRIES = {"LORA_LOADING": 10, "RESOURCE_EXHAUSTED": 3}
# Every other time one of the few that are waited for by the clock.
CODE = st.sampled_from(sorted(CODES)) | st.sampled_from(sorted(CAPACITY | BUSY | TRIES.keys()))


@given(
    CODE,
    PATIENCE,
    st.integers(0, 8),
    st.floats(0, 200),
    st.floats(0, 1, exclude_max=True),
    st.none() | st.floats(0, 60),
)
def test_only_what_can_pass_is_sent_again_never_earlier_than_asked_and_within_patience(
    code: str,
    patience: Patience,
    attempt: int,
    elapsed_s: float,
    chance: float,
    retry_after_s: float | None,
) -> None:
    error = error_for(code, "x", retry_after_s=retry_after_s)
    delay = retry_delay_s(
        error, attempt=attempt, elapsed_s=elapsed_s, patience=patience, chance=chance
    )
    if not isinstance(error, Later | TimeRanOut):
        assert delay is None
        return
    if delay is None:
        if code in CAPACITY:
            tight = elapsed_s + (error.retry_after_s or 0) * 1.25 > patience.provision_timeout_s
            assert tight or not patience.wait_for_capacity
        elif code in BUSY:
            assert elapsed_s + 30 + (error.retry_after_s or 0) * 1.25 > patience.provision_timeout_s
        else:
            assert attempt >= TRIES.get(code, patience.retries_max)
    else:
        assert error.retry_after_s is not None
        assert delay >= error.retry_after_s
        if code in CAPACITY | BUSY:
            assert elapsed_s + delay <= patience.provision_timeout_s
        else:
            assert attempt < TRIES.get(code, patience.retries_max)


@example("QUEUE_FULL", None, None, -5, 503, True)
@example("QUEUE_FULL", None, None, 5_000, 503, False)
@example("QUEUE_FULL", None, None, None, 202, False)
@given(
    st.sampled_from(sorted(code for code, rule in CODES.items() if rule.branch is Later)),
    st.none() | st.integers(-2_000, 4_000_000),
    st.none() | st.integers(-2, 4_000),
    st.none() | st.integers(-10_000, 10_000),
    st.integers(200, 599).filter(lambda status: status not in {200, 201}),
    st.booleans(),
)
def test_the_most_exact_pause_that_can_be_waited_for_is_heard(
    code: str,
    milliseconds: int | None,
    seconds: int | None,
    until: int | None,
    status: int,
    is_openai: bool,
) -> None:
    """OpenAI's envelope has the code in small letters."""
    headers = {} if is_openai else {"x-sie-error-code": code}
    body = {"error": {"code": code.lower()}} if is_openai else {}
    now = datetime(2026, 11, 30, 10, tzinfo=UTC)
    if milliseconds is not None:
        headers["retry-after-ms"] = str(milliseconds)
    if seconds is not None:
        headers["retry-after"] = str(seconds)
    elif until is not None:
        headers["date"] = format_datetime(now, usegmt=True)
        headers["retry-after"] = format_datetime(now + timedelta(seconds=until), usegmt=True)
    told: list[float] = []
    if milliseconds is not None and 0 <= milliseconds <= 3_600_000:
        told.append(milliseconds / 1000)
    if seconds is not None and 0 <= seconds <= 3_600:
        told.append(seconds)
    elif seconds is None and until is not None and until <= 3_600:
        told.append(max(0, until))
    own = None if code == "QUEUE_UNAVAILABLE" and status != 202 else CODES[code].retry_after_s
    own = CODES["PROVISIONING"].retry_after_s if status == 202 else own

    with pytest.raises(SIEError) as refused:
        exchange.read_answer(status, headers, msgspec.json.encode(body))
    found = refused.value.retry_after_s
    assert (found is None) is (not told and own is None)
    assert found is None or found == pytest.approx(told[0] if told else own)
    assert refused.value.answered_status == status


@given(
    st.integers(200, 599),
    st.dictionaries(
        st.sampled_from(["retry-after", "retry-after-ms", "x-sie-error-code"]),
        st.text(max_size=8) | CODE | st.floats().map(str),
    ),
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.text() | st.integers(-9, 9),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ).map(msgspec.msgpack.encode)
    | st.dictionaries(
        st.sampled_from(["detail", "error", "items"]),
        st.text() | st.dictionaries(st.sampled_from(["code", "message"]), st.text()) | st.none(),
    ).map(msgspec.json.encode),
)
def test_any_response_is_an_answer_of_the_right_size_or_an_error_of_the_tree(
    status: int, headers: dict[str, str], content: bytes
) -> None:
    [call] = exchange.encode_calls("m", ["a", "b"], {}, Defaults())
    _is_answer_or_error(call, status, headers, content)


@given(
    st.fixed_dictionaries(
        {
            "items": st.lists(
                st.text()
                | st.dictionaries(
                    st.sampled_from(["dense", "sparse", "id"]),
                    st.text()
                    | st.dictionaries(
                        st.sampled_from(["values", "x"]), st.integers(-(2**63), 2**64 - 1)
                    ),
                ),
                min_size=2,
                max_size=2,
            )
        }
    )
)
def test_an_answer_of_another_shape_is_our_fault_and_not_a_crash(value: dict[str, object]) -> None:
    [call] = exchange.encode_calls("m", ["a", "b"], {}, Defaults())
    _is_answer_or_error(call, 200, {}, msgspec.msgpack.encode(value))


def _is_answer_or_error(call: Call, status: int, headers: dict[str, str], content: bytes) -> None:
    try:
        results = exchange.read_encode([call], [exchange.read_answer(status, headers, content)])
    except SIEError as error:
        if error.retry_after_s is not None:
            assert 0 <= error.retry_after_s <= 3600
    else:
        assert len(results) == 2


@given(st.lists(st.lists(st.floats(width=32, allow_nan=False), min_size=3, max_size=3), min_size=1))
def test_vectors_arrive_as_they_were_sent(rows: list[list[float]]) -> None:
    sent = [np.array(row, dtype=np.float32) for row in rows]
    items = [{"dense": {"dims": 3, "dtype": "float32", "values": to_wire(row)}} for row in sent]
    [call] = exchange.encode_calls("m", ["a"] * len(rows), {}, Defaults())
    content = msgspec.msgpack.encode({"model": "m", "items": items})
    results = exchange.read_encode([call], [exchange.read_answer(200, {}, content)])
    assert isinstance(results, list)
    for result, row in zip(results, sent, strict=True):
        assert result["dense"].dtype == np.float32
        assert np.array_equal(result["dense"], row)


@pytest.mark.parametrize("gpu", ["l4", "night/l4"])
def test_where_to_run_travels_in_headers(gpu: str) -> None:
    [call] = exchange.encode_calls("org/m:fast", "a", {"gpu": gpu}, Defaults(pool="day"))
    assert call.path == "/v1/encode/org/m:fast"
    assert call.headers["X-SIE-MACHINE-PROFILE"] == "l4"
    assert call.headers["X-SIE-Pool"] == ("night" if "/" in gpu else "day")


def test_a_mistyped_keyword_is_a_type_error() -> None:
    told = {"wait_for_capcity": True}
    with pytest.raises(TypeError, match="wait_for_capcity"):
        exchange.encode_calls("m", "a", told, Defaults())  # type: ignore[arg-type]


def test_a_string_in_a_list_is_an_item_and_options_of_the_client_are_added() -> None:
    defaults = Defaults(options={"lora": "base", "x": 1})
    [call] = exchange.encode_calls("m", ["a"], {"options": {"lora": "legal"}}, defaults)
    assert msgspec.msgpack.decode(call.body) == {
        "items": [{"text": "a"}],
        "params": {"options": {"lora": "legal", "x": 1}},
    }
    assert not call.is_single


def test_a_202_is_provisioning_with_the_servers_own_pause() -> None:
    body = msgspec.json.encode({"status": "provisioning", "message": "soon"})
    with pytest.raises(ProvisioningError) as raised:
        exchange.read_answer(202, {"retry-after": "1", "retry-after-ms": "250"}, body)
    assert (raised.value.message, raised.value.retry_after_s) == ("soon", 0.25)


@pytest.mark.parametrize(
    ("given_url", "environ", "expected"),
    [
        ("http://a/", {}, "http://a"),
        (None, {"SIE_BASE_URL": "https://b:1"}, "https://b:1"),
        (None, {}, None),
        ("gateway:8080", {}, None),
        ("http://", {}, None),
        *((f"http://{who}@a", {}, None) for who in ("me", "me:", ":word", "me:word")),
    ],
)
def test_the_address_is_the_argument_else_the_variable_else_an_error(
    given_url: str | None, environ: dict[str, str], expected: str | None
) -> None:
    if expected is None:
        with pytest.raises(ValueError, match="address"):
            base_url_of(given_url, environ)
    else:
        assert base_url_of(given_url, environ) == expected


def test_the_key_is_sent_as_a_bearer_token() -> None:
    assert exchange.client_headers(None, {"SIE_API_KEY": "k"})["Authorization"] == "Bearer k"
    assert "Authorization" not in exchange.client_headers(None, {})


@given(
    sent=st.integers(1, 5),
    came=st.integers(0, 8),
    operation=st.sampled_from(["encode", "extract", "score"]),
)
def test_an_answer_has_exactly_as_many_results_as_items_were_sent(
    sent: int, came: int, operation: str
) -> None:
    items = ["x"] * sent
    entries = [{"id": str(n), "model": "the item's"} for n in range(came)]
    scores = [{"item_id": str(n), "score": 0.5, "rank": n} for n in range(came)]

    def results() -> Any:
        answer = exchange.read_answer(
            200,
            {},
            msgspec.msgpack.encode({"items": entries, "scores": scores, "model": "m"}),
        )
        match operation:
            case "score":
                call = exchange.score_call("m", "q", items, {}, Defaults())
                return exchange.read_score(call, answer)["scores"]
            case "encode":
                calls = exchange.encode_calls("m", items, {}, Defaults())
                return exchange.read_encode(calls, [answer])
            case _:
                calls = exchange.extract_calls("m", items, {}, Defaults())
                return exchange.read_extract(calls, [answer])

    if came == sent:
        found = results()
        assert len(found) == sent
        # The answer's own word goes before an item's.
        assert operation == "score" or {each["model"] for each in found} == {"m"}
        return
    with pytest.raises(SIEError, match="another number of items"):
        results()


@given(
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 3)),
    st.dictionaries(st.sampled_from("abc"), st.integers(4, 7)),
)
def test_what_a_call_says_goes_before_what_the_client_was_made_with(
    usual: dict[str, int], told: dict[str, int]
) -> None:
    defaults = Defaults(options=usual)
    [call] = exchange.encode_calls("m", "x", {"options": told} if told else {}, defaults)
    body = msgspec.msgpack.decode(call.body)
    assert body.get("params", {}).get("options", {}) == usual | told


@given(st.sampled_from(["retry-after", "retry-after-ms"]), st.floats(0, 1e9) | st.floats())
def test_a_server_is_waited_for_no_longer_than_an_hour(header: str, asked: float) -> None:
    with pytest.raises(SIEError) as failed:
        exchange.read_answer(503, {header: str(asked), "x-sie-error-code": "QUEUE_FULL"}, b"{}")
    seconds = asked * (0.001 if header == "retry-after-ms" else 1.0)
    told = failed.value.retry_after_s
    assert told is not None
    assert told == seconds if 0 <= seconds <= 3600 else 0 <= told <= 3600
