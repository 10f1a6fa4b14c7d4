"""Laws of patience: for which lack a request is sent again, for how long, and never sooner."""

from hypothesis import example, given
from hypothesis import strategies as st

from sie_schemas.errors import SIEError, error_for
from sie_sdk.attempts import Attempts, LastCall
from sie_sdk.errors import (
    ResourceExhaustedError,
    SIEConnectionError,
    strange_error,
    told_error,
)
from sie_sdk.exchange import Defaults, encode_calls, older_pieces
from sie_sdk.patience import Patience, Retry, retry_delay_s

CAPACITY = ["PROVISIONING", "MODEL_LOADING", "GATEWAY_TIMEOUT"]
BUSY = ["NOT_READY", "QUEUE_FULL", "RATE_LIMIT"]
TRIES = {"LORA_LOADING": 10, "RESOURCE_EXHAUSTED": 2, "REVISION_CHANGED": 5}
PATIENCES = st.builds(
    Patience,
    wait_for_capacity=st.booleans(),
    provision_timeout_s=st.sampled_from([0.0, 10.0, 900.0, float("inf")]),
    retries_max=st.just(5),
    oom_retries_max=st.just(2),
)


@example(
    code="PROVISIONING", asked_s=5.0, attempt=0, elapsed_s=9.0, chance=0.0,
    patience=Patience(provision_timeout_s=10.0),
)  # fmt: skip
@example(
    code="RESOURCE_EXHAUSTED", asked_s=0.5, attempt=2, elapsed_s=0.0, chance=0.0,
    patience=Patience(retries_max=5, oom_retries_max=2),
)  # fmt: skip
@example(
    code="LORA_LOADING", asked_s=0.5, attempt=10, elapsed_s=0.0, chance=0.0, patience=Patience(),
)  # fmt: skip
@given(
    code=st.sampled_from([*CAPACITY, *BUSY, *TRIES]),
    asked_s=st.sampled_from([0.0, 0.5, 5.0, 60.0]),
    attempt=st.sampled_from([*range(12), 31, 2000]),
    elapsed_s=st.sampled_from([0.0, 5.0, 9.0, 895.0]),
    chance=st.sampled_from([0.0, 0.5, 0.99]),
    patience=PATIENCES,
)
def test_a_request_is_sent_again_as_long_as_its_lack_is_waited_for_and_never_sooner_than_asked(
    code, asked_s, attempt, elapsed_s, chance, patience
):
    told = {"attempt": attempt, "elapsed_s": elapsed_s, "patience": patience, "chance": chance}
    found = retry_delay_s(error_for(code, "no", retry_after_s=asked_s), **told)
    # Chance spreads clients over a quarter more; what others use up is waited for ever longer.
    least = asked_s * (1 + 0.25 * chance)
    grown = max(least, min(30.0, least * 2.0 ** min(attempt, 30)))
    if code in CAPACITY:
        in_time = elapsed_s + least <= patience.provision_timeout_s
        assert found == (least if patience.wait_for_capacity and in_time else None)
    elif code in BUSY:
        assert found == (grown if elapsed_s + grown <= patience.provision_timeout_s else None)
    elif attempt >= TRIES[code]:
        assert found is None
    else:
        assert found == (least if code == "LORA_LOADING" else grown)


@example(codes=["QUEUE_FULL", *["RESOURCE_EXHAUSTED"] * 3])
@given(codes=st.lists(st.sampled_from(["MODEL_LOADING", "QUEUE_FULL", *TRIES]), max_size=40))
def test_waits_for_one_lack_use_up_no_tries_and_lengthen_no_pause_for_another(codes):
    told: list[Retry] = []
    attempts = Attempts(Patience(retries_max=5, oom_retries_max=2), told.append)
    before = dict.fromkeys(codes, 0)
    for code in codes:
        error = told_error(code, "no", retry_after_s=0.01)
        try:
            pause_s = attempts.pause_after(error)
        except SIEError as raised:
            assert raised is error
            assert before[code] == TRIES[code]
            if isinstance(error, ResourceExhaustedError):
                assert error.retries == len(told)
            return
        assert before[code] < TRIES.get(code, len(codes))
        grown = 1 if code in {"MODEL_LOADING", "LORA_LOADING"} else 2.0 ** before[code]
        assert min(30.0, 0.01 * grown) <= pause_s <= 1.25 * 0.01 * grown
        before[code] += 1
    assert attempts.failed == len(codes)
    assert [retry.attempt for retry in told] == [*range(1, len(codes) + 1)]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=4))
def test_the_tries_of_an_answer_are_those_of_all_its_pieces(tries):
    last = LastCall()
    last.note(*({"request": {"retries": each, "model_revision": "r"}} for each in tries))
    assert (last.retries, last.model_revision) == (sum(tries), "r")


@given(
    waits=st.none() | st.booleans(),
    timeout_s=st.none() | st.sampled_from([0.0, 5.0]),
    tries=st.none() | st.sampled_from([0, 2]),
)
def test_what_a_call_says_of_its_patience_counts_also_where_it_is_nothing(waits, timeout_s, tries):
    said = {"wait_for_capacity": waits, "provision_timeout_s": timeout_s, "max_oom_retries": tries}
    [call] = encode_calls("m", {"text": "a"}, said, Defaults())  # type: ignore[arg-type]
    usual, told = Patience(), call.patience
    assert told.wait_for_capacity == (usual.wait_for_capacity if waits is None else waits)
    assert told.provision_timeout_s == (
        usual.provision_timeout_s if timeout_s is None else timeout_s
    )
    assert told.oom_retries_max == (usual.oom_retries_max if tries is None else tries)


PROXYS = {"a proxy's": "", "a proxy's own": "SLOW_DOWN"}
"""The codes with which a proxy says that there are too many requests: none, or one of its own."""


def error_of(lack: str) -> SIEError:
    if lack in PROXYS:
        return strange_error(429, PROXYS[lack], "too many", retry_after_s=0.5, details=None)
    lost = SIEConnectionError("gone", retry_after_s=0.5)
    lost.was_reached = lack == "was there"
    return lost


@example(lack="a proxy's own", attempt=6, elapsed_s=0.0, patience=Patience(retries_max=5))
@given(
    lack=st.sampled_from(["was never there", "was there", *PROXYS]),
    attempt=st.integers(0, 22),
    elapsed_s=st.sampled_from([0.0, 9.0]),
    patience=PATIENCES,
)
def test_a_gateway_that_was_there_is_replaced_and_a_proxy_is_busy(
    lack, attempt, elapsed_s, patience
):
    """Twenty short pauses outlast a rollout. A proxy's refusal has no code of ours."""
    found = retry_delay_s(
        error_of(lack), attempt=attempt, elapsed_s=elapsed_s, patience=patience, chance=0.0
    )
    grown = min(30.0, 0.5 * 2.0**attempt)
    if lack in PROXYS:
        assert found == (grown if elapsed_s + grown <= patience.provision_timeout_s else None)
    else:
        tries = 20 if lack == "was there" else 5
        assert found == (min(2.0, grown) if attempt < tries else None)


REVISIONS = st.tuples(
    st.sampled_from([9, 10, 11]), st.sampled_from("ab"), st.sampled_from(["", "x"])
)


@given(st.lists(REVISIONS, min_size=1, max_size=4))
def test_pieces_of_another_revision_than_the_newest_are_asked_for_again(told):
    answers = [
        {"request": {"epoch": f"l.{epoch}", "model_revision": model, "adapter_revision": adapter}}
        for epoch, model, adapter in told
    ]
    # Of the newest epoch the first counts: at one epoch a model has one revision.
    newest = next(each for each in told if each[0] == max(told)[0])
    wanted = [place for place, each in enumerate(told) if each[1:] != newest[1:]]
    assert older_pieces(answers) == wanted
