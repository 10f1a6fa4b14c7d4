"""Laws of dispatch: whose results count, what is stored again, and what is left of a request."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.support.gateway_world import MemoryBus, echo_result
from tests.support.polling import until

from sie_gateway.fleet.routing import Route
from sie_gateway.request.dispatch import Dispatcher, MessageCaps
from sie_gateway.request.runs import Run
from sie_gateway.request.waiting import Waiting
from sie_runtime.broker.bus import BusUnavailable, NoResponders
from sie_schemas.errors import Later, SIEError, TimeRanOut
from sie_schemas.items import Item
from sie_schemas.jobs import (
    JOB_DECODER,
    JOB_ENCODER,
    RECEIPT_DECODER,
    Job,
    JobResult,
    PayloadRef,
    ResultBatch,
    ResultChunk,
    ResultReceipt,
)

CAPS = MessageCaps(600, chunked_bytes_max=1 << 28, queue_wait_s=5.0)
TIMEOUT_S = 60.0
DEADLINE = 1_700_000_000.0
ROUNDED_S = 1e-5
"""A float of Unix seconds is not finer."""
LARGE = MessageCaps(1_000_000, chunked_bytes_max=1 << 28, queue_wait_s=5.0)
"""Every job of these tests goes as a message."""


def plain_dispatcher(broker: MemoryBus, caps: MessageCaps = LARGE) -> Dispatcher:
    """One that has no place for what is larger than a message."""
    return Dispatcher(broker, broker, gateway_id="g", objects=None, caps=caps, rng=None)


class Broker(MemoryBus):
    """A bus, its queue and its objects. `refuses` is its no to jobs; the next `fails` inboxes
    are not opened."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: dict[str, Job] = {}
        self.objects: dict[str, bytes] = {}
        self.times_s: list[float] = []
        self.refuses: SIEError | None = None
        self.fails = 0
        self._puts = 0

    async def subscribe(self, subject: str, callback: Any, /) -> Any:
        """Listen, after a turn of the loop."""
        await asyncio.sleep(0)
        if self.fails:
            self.fails -= 1
            raise BusUnavailable("the broker is away")
        return await super().subscribe(subject, callback)

    def send_job(
        self,
        *,
        subject: str,
        data: bytes,
        job_id: str,
        heard: Callable[[SIEError | None], None],
        stored: Callable[[str, bytes], None] | None = None,
    ) -> None:
        """Store a job once."""
        if self.refuses is None:
            self.queue.setdefault(job_id, JOB_DECODER.decode(data))
        heard(self.refuses)

    async def put(self, object_id: str, data: bytes, *, pool: str, ttl_s: float) -> PayloadRef:
        """Store an object, in more turns of the loop than a request takes to end."""
        for _ in range(6):
            await asyncio.sleep(0)
        self._puts += 1
        ref = PayloadRef(object_id=f"{pool}/{object_id}/{self._puts}", size=len(data), sha256="")
        self.objects[ref.object_id] = data
        self.times_s.append(ttl_s)
        return ref

    async def drop(self, ref: PayloadRef, /) -> None:
        """Forget an object."""
        if not self.connected:
            raise BusUnavailable("the broker is away")
        self.objects.pop(ref.object_id, None)

    @property
    def listening(self) -> int:
        """The inboxes that are open."""
        return len(self._subscriptions)

    def forget(self) -> None:
        """As a broker that was killed."""
        self.queue.clear()
        self.objects.clear()

    async def say(self, inbox: str, said: JobResult | ResultChunk) -> ResultReceipt:
        """A worker's result, or a chunk of it; the word on it."""
        chunk, results = (said, ()) if isinstance(said, ResultChunk) else (None, (said,))
        batch = ResultBatch(worker_id="w", results=results, chunk=chunk)
        [answer] = await self.request(inbox, JOB_ENCODER.encode(batch))
        return RECEIPT_DECODER.decode(answer)


def job_of(request: str, place: int, *, is_large: bool) -> Job:
    return Job(
        job_id=f"{request}.{place}",
        request_id=request,
        first_item=place,
        operation="encode",
        log_id="ab" * 16,
        epoch=1,
        model_id="m",
        profile="default",
        model_revision="r",
        items=(Item(text="x" * (900 if is_large else 9)),),
        options={"is_query": True},
        reply_to="sie.result.inbox",
        deadline=DEADLINE,
        published_at=DEADLINE - TIMEOUT_S,
    )


def run_of(pool: str, jobs: list[Job]) -> Run:
    route = SimpleNamespace(pool=pool, subject="sie.work.s", model_name="m", machine_profile="cpu")
    return Run(cast(Route, route), jobs, Waiting(TIMEOUT_S))


def result_of(job: Job, number: int) -> JobResult:
    return echo_result(job, worker_id=f"w{number}")


def halves(job: Job, number: int) -> list[ResultChunk]:
    data = JOB_ENCODER.encode(result_of(job, number))
    return [
        ResultChunk(
            job_id=job.job_id,
            transfer=f"t{number}",
            index=index,
            count=2,
            size=len(data),
            data=part,
        )
        for index, part in enumerate((data[:9], data[9:]))
    ]


class Story:
    """A request in pool `a`, beside one that waits in pool `b`."""

    def __init__(self, broker: Broker, inboxes: dict[str, str], jobs: list[Job]) -> None:
        self.broker = broker
        self.inboxes = inboxes
        self.jobs = jobs
        self.first: dict[str, str] = {}
        """The worker of the first result of each job."""

    async def begin(self, dispatcher: Dispatcher) -> None:
        """Send both."""
        self.dispatcher = dispatcher
        self.run = run_of("a", self.jobs)
        self.other = run_of("b", [job_of("o", 0, is_large=False)])
        self.answering = asyncio.create_task(dispatcher.run(self.run))
        self.beside = asyncio.create_task(dispatcher.run(self.other))
        await until(lambda: len(self.broker.queue) == len(self.jobs) + 1)

    @property
    def left_s(self) -> float:
        """The rest of the request's time."""
        return self.run.waiting.ends_at - asyncio.get_running_loop().time()

    @property
    def is_answered(self) -> bool:
        """True if each job has a result."""
        return len(self.first) == len(self.jobs)

    def check_stored(self, job: Job, most_s: float) -> None:
        """A job is stored whole or apart, and with what is left of the request's time."""
        stored = self.broker.queue[job.job_id]
        told_s = stored.deadline - stored.published_at
        assert self.left_s - ROUNDED_S <= told_s <= most_s + ROUNDED_S
        if stored.payload is not None:
            assert (stored.v, stored.items, stored.options) == (2, (), {})
            assert self.left_s <= self.broker.times_s[-1] <= most_s
            stored = JOB_DECODER.decode(self.broker.objects[stored.payload.object_id])
        assert (stored.items, stored.options) == (job.items, job.options)

    async def say(self, number: int, place: int, pool: str, is_cut: bool) -> None:
        """A worker of a pool has a result, whole or in two chunks."""
        job, inbox = self.jobs[place], self.inboxes[pool]
        if not is_cut:
            told = await self.broker.say(inbox, result_of(job, number))
            assert told.job_ids == (job.job_id,)
        elif pool == "b" or self.is_answered:
            told = await self.broker.say(inbox, halves(job, number)[0])
            assert told.job_ids == (job.job_id,)
        else:
            begun, ended = halves(job, number)
            wrong = msgspec.structs.replace(begun, count=3, index=2)
            for chunk in (begun, wrong):
                assert (await self.broker.say(inbox, chunk)).job_ids == ()
            # What a stranger says of the job meanwhile takes nothing away.
            await self.broker.say(self.inboxes["b"], halves(job, 99)[0])
            assert (await self.broker.say(inbox, ended)).job_ids == (job.job_id,)
        if pool == "a":
            self.first.setdefault(job.job_id, f"w{number}")
        assert self.run.open_jobs() == [j.job_id for j in self.jobs if j.job_id not in self.first]
        await until(lambda: not self.is_answered or self.answering.done())

    async def restart(self, places: set[int], is_full: bool) -> None:
        """The broker forgets all; workers hold the jobs of some places."""
        broker, held = self.broker, {self.jobs[place].job_id for place in places}
        broker.forget()
        broker.refuses = Later("full", code="QUEUE_FULL") if is_full else None
        done = held if self.is_answered else {*held, *self.first}
        lost = [] if self.is_answered else [job for job in self.jobs if job.job_id not in done]
        most_s = self.left_s
        if is_full and lost:
            with pytest.raises(Later):
                await self.dispatcher.send_again(self.run, held)
        else:
            assert await self.dispatcher.send_again(self.run, held) == len(lost)
            assert set(broker.queue) == {job.job_id for job in lost}
            for job in lost:
                self.check_stored(job, most_s)
        broker.refuses = None

    async def end(self, end: str) -> None:
        """The request ends without its answer, perhaps while its jobs are stored again."""
        waited_for: list[asyncio.Task[Any]] = [self.answering]
        if end == "late while it is stored again":
            self.broker.forget()
            waited_for.append(asyncio.create_task(self.dispatcher.send_again(self.run, ())))
            await asyncio.sleep(0)
        if end == "left":
            self.answering.cancel()
        else:
            self.run.waiting.expire()
        # What is stored from here on is stored for nobody.
        self.broker.queue.clear()
        await asyncio.wait(waited_for)
        assert self.broker.queue == {}
        if end == "left":
            assert self.answering.cancelled()
        else:
            assert isinstance(self.answering.exception(), TimeRanOut)

    async def check_over(self) -> None:
        """Nobody hears of the request any more, and the one beside it waits on."""
        self.broker.queue.clear()
        self.broker.times_s.clear()
        assert await self.dispatcher.send_again(self.run, ()) == 0
        assert (self.broker.queue, self.broker.times_s) == ({}, [])
        # Late words are confirmed: a worker would offer them until their deadline.
        for said in (result_of(self.jobs[0], 77), halves(self.jobs[0], 78)[0]):
            told = await self.broker.say(self.inboxes["a"], said)
            assert told.job_ids == (self.jobs[0].job_id,)
        assert self.dispatcher.waiting == 1
        assert self.dispatcher.busy.is_set()
        await self.broker.say(self.inboxes["b"], result_of(self.other.jobs[0], 5))
        assert [told.worker_id for told in await self.beside] == ["w5"]
        assert not self.dispatcher.busy.is_set()


PLACES = st.integers(0, 2)
STEPS = st.lists(
    st.tuples(PLACES, st.sampled_from("aab"), st.booleans())
    | st.tuples(st.sets(PLACES), st.booleans()),
    max_size=6,
)


@given(
    large=st.lists(st.booleans(), min_size=3, max_size=3),
    steps=STEPS,
    end=st.sampled_from(["late", "left", "late while it is stored again"]),
    is_away=st.booleans(),
)
@example([True] * 3, [(set(), False)], "late while it is stored again", False)
@settings(deadline=None, max_examples=40)
async def test_a_request_has_the_first_word_of_its_own_pool_on_each_job_and_leaves_nothing_behind(
    large, steps, end, is_away
):
    """A step is a result, or a broker that begins anew; it may be away at the end."""
    broker = Broker()
    dispatcher = Dispatcher(broker, broker, gateway_id="g", objects=broker, caps=CAPS, rng=None)
    inboxes = {pool: await dispatcher.inbox_of(pool) for pool in "ab"}
    jobs = [job_of("r", place, is_large=is_large) for place, is_large in enumerate(large)]
    story = Story(broker, inboxes, jobs)
    await story.begin(dispatcher)
    for job in jobs:
        story.check_stored(job, TIMEOUT_S)
    for number, step in enumerate(steps):
        await (story.say(number, *step) if len(step) == 3 else story.restart(*step))
    broker.published.clear()
    broker.connected = story.is_answered or not is_away
    if story.is_answered:
        answers = [told.worker_id for told in story.answering.result()]
        assert answers == [story.first[job.job_id] for job in jobs]
    else:
        await story.end(end)
    said = [subject for subject, _ in broker.published if subject.startswith("sie.cancel")]
    assert said == ([] if story.is_answered or is_away else ["sie.cancel.r"])
    if broker.connected:
        assert broker.objects == {}
    broker.connected = True
    await story.check_over()


@given(fails=st.integers(0, 2), asks=st.integers(1, 4), gone=st.sets(st.integers(0, 3)))
@settings(deadline=None, max_examples=20)
async def test_an_inbox_is_opened_once_for_all_who_ask_and_anew_where_that_failed(
    fails, asks, gone
):
    """Of those who ask some leave at once, which takes the inbox from nobody."""
    broker = Broker()
    dispatcher = plain_dispatcher(broker)
    for attempt in range(fails + 1):
        broker.fails = int(attempt < fails)
        asking = [asyncio.create_task(dispatcher.inbox_of("a")) for _ in range(asks)]
        await asyncio.sleep(0)
        for place in gone & set(range(asks)):
            asking[place].cancel()
        told = await asyncio.gather(*asking, return_exceptions=True)
        kept = [each for place, each in enumerate(told) if place not in gone]
        if attempt < fails:
            assert all(isinstance(each, BusUnavailable) for each in kept)
            await asyncio.sleep(0)
    assert len(set(kept)) <= 1
    assert kept == [await dispatcher.inbox_of("a")] * len(kept)
    # Nor is a name that others can guess another's.
    twin = plain_dispatcher(broker)
    names = [await each.inbox_of(pool) for each in (dispatcher, twin) for pool in "ab"]
    assert len(set(names)) == len(names)
    await twin.close()
    await dispatcher.close()
    assert broker.listening == 0
    await dispatcher.inbox_of("a")
    assert broker.listening == 1


async def test_a_queue_that_stays_away_is_for_later() -> None:
    broker = Broker()
    broker.refuses = NoResponders("no stream")
    caps = MessageCaps(1_000_000, chunked_bytes_max=1 << 28, queue_wait_s=0.0)
    dispatcher = plain_dispatcher(broker, caps)
    with pytest.raises(BusUnavailable):
        await dispatcher.run(run_of("a", [job_of("r", 0, is_large=False)]))
    assert dispatcher.waiting == 0
