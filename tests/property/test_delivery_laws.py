"""Laws of results on their way: what the queue is told rests on what a gateway confirmed."""

import asyncio
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any, cast

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from prometheus_client import REGISTRY
from tests.support.worker_world import results_of

from sie_gateway.request.chunks import Chunks
from sie_runtime.broker.bus import Bus, BusUnavailable
from sie_runtime.streams.deliveries import Delivery
from sie_schemas.errors import Later
from sie_schemas.items import Item
from sie_schemas.jobs import (
    RESULT_DECODER,
    Job,
    JobResult,
    ResultBatch,
    ResultChunk,
    ResultReceipt,
)
from sie_worker.forms.chunking import chunks_of
from sie_worker.jobs.holds import Hold, Holds

ENCODER = msgspec.msgpack.Encoder()
JOB = Job(
    job_id="a",
    request_id="a",
    reply_to="inbox",
    first_item=0,
    published_at=0.0,
    log_id="1" * 32,
    epoch=1,
    model_id="org/one",
    profile="default",
    model_revision="r",
    operation="encode",
    items=(Item(text="x"),),
    deadline=0.0,
)


_REQUESTS_MAX = 10_000.0
"""Far more than any law here needs, and soon reached by a loop that has no end."""


class World:
    """A queue and a gateway in memory, and what came to pass, in order."""

    def __init__(
        self,
        answers: Iterable[Any] = (),
        *,
        message_bytes_max: int = 10_000,
        chunked_bytes_max: int = 10**9,
    ) -> None:
        self.now = 0.0
        self.came: list[tuple[str, str]] = []
        self._answers = iter(answers)
        self._chunks = Chunks(bytes_max=10**9)
        self._next_chunk = 0
        self.whole: dict[str, JobResult] = {}
        self.took: list[tuple[str, JobResult]] = []
        """Each result that came in a message, and the inbox that it came to."""
        self._message_bytes_max = message_bytes_max
        self.letters_are_lost = False
        self.server_id = "s"
        self.stream_replicas = 1
        self.holds = Holds(on_room=lambda: None, age_s=lambda _: self.now)
        self.results = results_of(
            self,
            self.holds,
            message_bytes_max=message_bytes_max,
            chunked_bytes_max=chunked_bytes_max,
            dead_letters=self,
            clock=lambda: self.now,
        )

    def held(self, name: str, *, deadline: float = 100.0, deliveries: int = 1, **told: Any) -> Hold:
        """A job in hand, delivered so many times of at most three."""
        job = structs.replace(JOB, job_id=name, deadline=deadline, **told)
        reply = f"$JS.ACK.S.{name}.{deliveries}.1.1.0.0".encode()
        delivery = Delivery(cast(Bus, self), b"", reply, 3)
        hold = self.holds.open(job, delivery, self.now)
        assert hold is not None
        return hold

    def send_to_all(self, replies: Sequence[bytes], word: bytes) -> None:
        """The queue hears a word on each, and may deliver it again before the word has ended."""
        for reply in replies:
            said, name = word.split(b" ")[0].decode(), reply.split(b".")[3].decode()
            assert not self.holds.has(name), "what is delivered again would go on with this hold"
            self.came.append((said, name))

    async def write(self, hold: Hold, result: JobResult) -> None:
        """A dead letter."""
        await asyncio.sleep(0)
        assert result.failure is not None
        if self.letters_are_lost:
            raise Later("the broker is away", code="NOT_READY")
        self.came.append(("letter", hold.job.job_id))

    async def request(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        """The gateway takes results: the set that it confirms, or None where it is away. Its word
        may be `garbage`. Where it `began anew`, it has forgotten the chunks that it had, and one
        that is `lost` it has not taken."""
        batch = RESULT_DECODER.decode(data)
        self.now += 1.0
        assert self.now < _REQUESTS_MAX, "it is sent for ever"
        answer = next(self._answers, "all")
        if answer is None:
            raise BusUnavailable("it is away")
        if batch.chunk is not None:
            return ENCODER.encode(self._take_chunk(batch.chunk, answer))
        if answer == "garbage":
            return b"\xc1"
        confirmed = []
        for result in batch.results:
            self.took.append((subject, result))
            assert ("confirmed", result.job_id) not in self.came, "it was confirmed before"
            if isinstance(answer, str) or result.job_id in answer:
                confirmed.append(result.job_id)
                self.came.append(("confirmed", result.job_id))
        # It says so twice, and what it says of others' jobs means nothing here.
        return ENCODER.encode(ResultReceipt(job_ids=(*confirmed, *confirmed, "another's")))

    def _take_chunk(self, chunk: ResultChunk, answer: Any) -> ResultReceipt:
        assert chunk.index == self._next_chunk, "the one before it was not confirmed"
        if answer == "began anew":
            self._chunks.forget(chunk.job_id)
        if answer == "lost":
            # It had no room, or could not read it: it says nothing of the chunk.
            return ResultReceipt(job_ids=())
        self._next_chunk = (chunk.index + 1) % chunk.count
        whole = self._chunks.take(chunk)
        if whole is None:
            return ResultReceipt(job_ids=(), chunk=chunk.index)
        found = msgspec.msgpack.decode(whole, type=JobResult)
        self.whole[found.job_id] = found
        return ResultReceipt(job_ids=(found.job_id,))


ANSWERS = st.lists(st.none() | st.just("garbage") | st.sets(st.sampled_from("abc")), max_size=6)
DEADLINES = st.lists(st.integers(1, 6), min_size=3, max_size=3)


@given(answers=ANSWERS, deadlines=DEADLINES)
@settings(deadline=None)
async def test_a_job_is_done_when_it_is_confirmed_or_late_whatever_becomes_of_its_mates(
    answers, deadlines
):
    world = World(answers)
    names = dict(zip("abc", deadlines, strict=True))
    holds = [world.held(name, deadline=float(at)) for name, at in names.items()]
    for hold in holds:
        hold.settle_item(0, b"x")
    await world.results.deliver(holds)
    for name, late_at in names.items():
        words = [what for what, whose in world.came if whose == name]
        # By the end of the request that it was late in, at the latest.
        in_time = [isinstance(told, set) and name in told for told in answers[:late_at]]
        is_confirmed = any(in_time) or len(answers) < late_at
        assert words == (["confirmed", "+ACK"] if is_confirmed else ["+ACK"]), name
        assert world.holds.was_settled(name), "it may come once more, and is not run again"
    assert not len(world.holds)
    assert world.results.answered == [what for what, _ in world.came].count("confirmed")


@given(
    jobs=st.lists(
        st.tuples(st.sampled_from(["inbox.one", "inbox.two"]), st.integers(1, 900)),
        min_size=1,
        max_size=9,
    ),
    message_bytes_max=st.integers(1400, 6000),
)
@settings(deadline=None)
async def test_each_result_of_a_batch_comes_to_its_own_inbox_once_whatever_fits_in_a_message(
    jobs, message_bytes_max
):
    """Gateways hear only their own inbox: a result in another one's is a request that hangs."""
    world = World(message_bytes_max=message_bytes_max)
    holds = []
    for number, (inbox, size) in enumerate(jobs):
        hold = world.held(str(number), reply_to=inbox)
        hold.settle_item(0, b"%d " % number + b"x" * size)
        holds.append(hold)
    await world.results.deliver(holds)
    told = {result.job_id: (inbox, result.answers) for inbox, result in world.took}
    assert len(world.took) == len(told)
    assert told == {
        str(number): (inbox, (b"%d " % number + b"x" * size,))
        for number, (inbox, size) in enumerate(jobs)
    }
    assert sorted(whose for what, whose in world.came if what == "+ACK") == sorted(told)


@given(
    answers=st.lists(st.sampled_from([None, "lost", "began anew", "all"]), max_size=8),
    answer=st.binary(min_size=1, max_size=900),
)
@settings(deadline=None)
async def test_a_large_result_arrives_whole_though_its_gateway_begins_anew(answers, answer):
    """The envelope of a chunk is a kilobyte: a message of a little more holds a part of it."""
    world = World(answers, message_bytes_max=1024 + 300)
    hold = world.held("a", deadline=1000.0)
    large = answer * (1 + 2000 // len(answer))
    hold.settle_item(0, large)
    await asyncio.wait_for(world.results.deliver([hold]), 5)
    assert world.whole["a"].answers == (large,)
    assert world.came == [("+ACK", "a")]


@given(size=st.integers(1400, 3000), deadline=st.integers(0, 20))
@settings(deadline=None)
async def test_a_large_result_of_which_a_part_is_lost_each_time_is_dropped_at_its_deadline(
    size, deadline
):
    """So it is where two workers answer one job, and each displaces the other's chunks."""
    world = World(repeat("began anew"), message_bytes_max=1024 + 300)
    hold = world.held("a", deadline=float(deadline))
    hold.settle_item(0, b"x" * size)
    count = len(chunks_of(ENCODER.encode(hold.result("w")), job_id="a", bytes_max=1324))
    await world.results.deliver([hold])
    assert world.came == [("+ACK", "a")]
    assert world.now < deadline + count + 1, "from its deadline on it is not begun again"


@given(size=st.integers(1400, 3000), room=st.integers(-2, 2))
@settings(deadline=None)
async def test_a_result_that_just_fits_in_chunks_arrives_and_one_byte_more_is_too_large(size, room):
    hold = World().held("a")
    hold.settle_item(0, b"x" * size)
    batch = ResultBatch(worker_id="w", results=(hold.result("w"),))
    bytes_max = len(ENCODER.encode(batch)) + room
    world = World(message_bytes_max=1024 + 300, chunked_bytes_max=bytes_max)
    hold = world.held("a", deadline=10.0**6)
    hold.settle_item(0, b"x" * size)
    await world.results.deliver([hold])
    if room >= 0:
        assert world.whole["a"].answers == (b"x" * size,)
        return
    [(_, told)] = world.took
    assert told.failure is not None
    assert f"at most {bytes_max}" in told.failure.message
    # It was not the last try, and nothing is wrong with the job.
    assert world.came == [("confirmed", "a"), ("+ACK", "a")]


def _letters_counted() -> list[float]:
    return [
        REGISTRY.get_sample_value("sie_worker_dead_letters_total", {"outcome": outcome}) or 0.0
        for outcome in ("written", "lost")
    ]


@given(
    deliveries=st.lists(st.integers(1, 3), min_size=1, max_size=4),
    blamed=st.booleans(),
    lost=st.booleans(),
)
@settings(deadline=None)
async def test_what_is_given_back_goes_to_the_queue_and_its_last_delivery_to_the_client(
    deliveries, blamed, lost
):
    world = World()
    world.letters_are_lost = lost
    counted = _letters_counted()
    names = dict(zip("abcd", deliveries, strict=False))
    holds = [world.held(name, deliveries=count) for name, count in names.items()]
    error = Later("the device is gone", code="NOT_READY")
    await world.results.give_back(holds, error, delay_s=0.0, blamed=blamed)
    for hold in holds:
        name = hold.job.job_id
        words = [what for what, whose in world.came if whose == name]
        is_last = names[name] == 3
        # The letter first: a process that ends between the two is handed the job once more.
        letter = [] if lost else ["letter"]
        assert words == (["confirmed", *letter, "+TERM"] if is_last else ["-NAK"])
        assert world.holds.was_settled(name) is is_last
        told = hold.result("w")
        assert told.failure is None, "what is given back has no outcome"
    assert not len(world.holds)
    last = [*names.values()].count(3)
    found = [now - before for now, before in zip(_letters_counted(), counted, strict=True)]
    assert found == ([0, last] if lost else [last, 0])


@given(st.booleans())
@settings(deadline=None)
async def test_who_was_in_a_lost_batch_is_told_that_it_was_tried_to_the_end(blamed):
    found: list[JobResult] = []
    world = World()
    take = world.request

    async def request(subject: str, data: bytes, *, timeout_s: float) -> bytes:
        found.extend(RESULT_DECODER.decode(data).results)
        return await take(subject, data, timeout_s=timeout_s)

    world.request = request  # type: ignore[method-assign]
    hold = world.held("a", deliveries=3)
    error = Later("the device is gone", code="NOT_READY")
    await world.results.give_back([hold], error, delay_s=0.0, blamed=blamed)
    [result] = found
    assert result.failure is not None
    # Who was not in it may ask again: nothing was wrong with what it sent.
    assert result.failure.code == ("INFERENCE_ERROR" if blamed else "NOT_READY")
    assert (result.failure.retry_after_s is None) is blamed
