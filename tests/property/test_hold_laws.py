"""Laws of the jobs in hand: each is run once, and the queue hears of the newest delivery."""

import time
from typing import cast

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from sie_runtime.streams.deliveries import Delivery
from sie_schemas.errors import FixRequest, Later, SIEError
from sie_schemas.items import Item
from sie_schemas.jobs import AdapterPin, Job
from sie_worker.jobs.holds import Hold, Holds

JOBS = st.sampled_from(["a", "b", "c"])
STEPS = st.lists(
    st.tuples(st.sampled_from(["comes", "is answered", "settles", "goes back"]), JOBS),
    min_size=3,
    max_size=30,
)


class Told:
    """A delivery that notes what is said of it."""

    def __init__(self, stored_at: float = 0.0) -> None:
        self.extended = 0
        self.stored_at = stored_at

    def extend(self) -> None:
        self.extended += 1


def job(name: str, items: int = 1) -> Job:
    return Job(
        job_id=name,
        request_id=name,
        reply_to="inbox",
        first_item=0,
        published_at=time.time(),
        log_id="1" * 32,
        epoch=1,
        model_id="org/one",
        profile="default",
        model_revision="r",
        operation="encode",
        items=(Item(text="x"),) * items,
        deadline=time.time() + 60,
    )


@given(STEPS)
def test_a_job_in_hand_goes_on_with_its_newest_delivery_and_a_settled_one_is_known(steps):
    holds = Holds(on_room=lambda: None, age_s=lambda _: 0.0)
    in_hand: dict[str, tuple[Hold, Told]] = {}
    settled: set[str] = set()
    answered: set[str] = set()
    """In hand without an open item: their gateway has not confirmed yet."""
    for what, name in steps:
        if what == "comes":
            told = Told()
            opened = holds.open(job(name), cast("Delivery", told), 0.0)
            if name in in_hand:
                assert opened is None, "it is in hand already, and runs once"
                in_hand[name] = (in_hand[name][0], told)
            else:
                assert opened is not None
                in_hand[name] = (opened, told)
        elif name in in_hand and what == "is answered":
            hold, _ = in_hand[name]
            holds.settle_items([(hold, 0, b"x")])
            hold.is_ending = True
            answered.add(name)
        elif name in in_hand:
            hold, _ = in_hand.pop(name)
            answered.discard(name)
            holds.close([hold], settled=what == "settles")
            if what == "settles":
                settled.add(name)
        for other in ("a", "b", "c"):
            assert holds.has(other) == (other in in_hand)
            assert holds.was_settled(other) == (other in settled)
        assert len(holds) == len(in_hand)
        assert holds.open_items == len(in_hand) - len(answered)
        # A worker that stops waits for it: what a gateway has not confirmed would be run again.
        assert holds.emptied.is_set() is (not in_hand)
        before = {other: told.extended for other, (_, told) in in_hand.items()}
        holds.extend(older_than=1.0)
        assert {o: told.extended for o, (_, told) in in_hand.items()} == {
            o: count + 1 for o, count in before.items()
        }


@given(
    first_item=st.integers(0, 5000),
    names=st.tuples(st.text(max_size=4), st.text(max_size=4), st.text(max_size=4)),
    adapter=st.none() | st.builds(AdapterPin, name=st.just("a"), revision=st.text(max_size=4)),
    failure=st.none()
    | st.builds(
        lambda field, after_s: (
            FixRequest("no", field=field)
            if after_s is None
            else Later("no", code="NOT_READY", retry_after_s=after_s)
        ),
        st.text(max_size=8),
        st.none() | st.floats(0, 100),
    ),
)
def test_a_result_says_whose_it_is_and_all_of_a_failure(first_item, names, adapter, failure):
    """The gateway puts it in its place by that, and tells the client the rest."""
    holds = Holds(on_room=lambda: None, age_s=lambda _: 0.0)
    job_id, request_id, revision = names
    one = structs.replace(
        job(job_id),
        request_id=request_id,
        model_revision=revision,
        first_item=first_item,
        adapter=adapter,
    )
    hold = holds.open(one, cast("Delivery", Told()), 0.0)
    assert hold is not None
    result = hold.result("w", failure)
    for name in ("job_id", "request_id", "first_item", "model_revision", "adapter"):
        assert getattr(result, name) == getattr(one, name), name
    assert result.worker_id == "w"
    told = result.failure
    assert (told is None) is (failure is None)
    if told is not None:
        for name in ("code", "message", "field", "retry_after_s"):
            assert getattr(told, name) == getattr(failure, name), name


OUTCOMES = st.lists(
    st.tuples(st.integers(0, 2), st.binary(max_size=2) | st.sampled_from(["A", "B"])), max_size=12
)


@given(OUTCOMES, st.none() | st.integers(0, 12))
def test_an_item_keeps_its_first_outcome_and_is_counted_until_then(outcomes, closed_after):
    freed: list[int] = []
    holds = Holds(on_room=lambda: freed.append(1), age_s=lambda _: 0.0)
    hold = holds.open(job("a", items=3), cast("Delivery", Told()), 0.0)
    other = holds.open(job("b"), cast("Delivery", Told()), 0.0)
    assert hold is not None and other is not None
    first: dict[int, bytes | str] = {}
    is_open = True
    for number, (index, told) in enumerate(outcomes):
        if number == closed_after:
            holds.close([hold], settled=True)
            is_open = False
        before = len(freed)
        outcome = told if isinstance(told, bytes) else SIEError("no", code=told)
        holds.settle_items([(hold, index, outcome)])
        # Whoever was freed is told of once, and nobody for what was counted already.
        assert len(freed) - before == (is_open and index not in first)
        first.setdefault(index, told)
        assert holds.open_items == 1 + (3 - len(first) if is_open else 0)
        assert hold.is_complete is (len(first) == 3)
        assert not holds.emptied.is_set()
    result = hold.result("w")
    for index in range(3):
        told = first.get(index, b"")
        assert result.answers[index] == (told if isinstance(told, bytes) else b"")
    failed = {each.index: each.code for each in result.item_failures}
    assert failed == {index: told for index, told in first.items() if isinstance(told, str)}
    assert [*failed] == sorted(failed)
    if is_open:
        holds.close([hold], settled=True)
    holds.close([other], settled=False)
    assert (holds.open_items, holds.emptied.is_set()) == (0, True)


MOMENTS = st.floats(0, 1e9, allow_nan=False)


@given(
    published=MOMENTS, stored=MOMENTS, now=MOMENTS, lasts=st.floats(0, 1e4), age=st.floats(0, 1e4)
)
def test_a_job_is_late_by_its_age_and_its_length_and_by_no_hosts_clock(
    published, stored, now, lasts, age
):
    holds = Holds(on_room=lambda: None, age_s=lambda at: age if at == stored else -1.0)
    one = structs.replace(job("a"), published_at=published, deadline=published + lasts)

    hold = holds.open(one, cast("Delivery", Told(stored)), now)

    assert hold is not None
    assert abs(hold.deadline - (now + lasts - age)) < 1e-3
    hold.started(now + 2.0)
    assert hold.queue_ms is not None
    assert abs(hold.queue_ms - (age + 2.0) * 1000) < 1.0


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=5), st.integers(0, 1000))
def test_a_job_waited_in_the_queue_until_its_first_batch_began(starts, tokenized_ms):
    holds = Holds(on_room=lambda: None, age_s=lambda _: 0.0)
    hold = holds.open(job("a"), cast("Delivery", Told()), 0.0)
    assert hold is not None
    hold.tokenization_ms = float(tokenized_ms)
    for start in sorted(starts):
        hold.started(float(start))
    told = hold.result("w").timing
    assert told.queue_ms == max(0.0, 1000.0 * min(starts) - tokenized_ms)


@given(st.lists(st.integers(0, 2), max_size=4), st.lists(st.integers(0, 2), max_size=4))
def test_a_job_that_failed_as_a_whole_tells_that_alone(answered, refused):
    holds = Holds(on_room=lambda: None, age_s=lambda _: 0.0)
    hold = holds.open(job("a", items=3), cast("Delivery", Told()), 0.0)
    assert hold is not None
    holds.settle_items([(hold, index, b"x") for index in answered])
    holds.settle_items([(hold, index, SIEError("no", code="A")) for index in refused])
    result = hold.result("w", SIEError("it is gone", code="B"))
    assert result.failure is not None and result.failure.code == "B"
    assert (result.answers, result.item_failures) == ((), ())


@given(st.lists(st.integers(0, 5), max_size=20))
def test_the_jobs_that_were_settled_last_are_known_and_no_more(settled):
    holds = Holds(on_room=lambda: None, age_s=lambda _: 0.0, settled_max=3)
    order: list[int] = []
    for number in settled:
        hold = holds.open(job(str(number)), cast("Delivery", Told()), 0.0)
        assert hold is not None
        holds.close([hold], settled=True)
        order = order if number in order else [*order, number][-3:]
        assert [holds.was_settled(str(each)) for each in range(6)] == [
            each in order for each in range(6)
        ]
