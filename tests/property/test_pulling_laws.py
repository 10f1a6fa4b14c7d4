"""Laws of pulling: for each model that is placed, no more than there is room for, and to an end."""

import asyncio
import json
import random
from collections.abc import Callable, Collection, Coroutine
from itertools import pairwise
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client

from sie_runtime.broker.bus import Bus, BusSettings
from sie_runtime.streams.broker_clock import BrokerClock
from sie_runtime.streams.deliveries import Delivery, WorkQueueSettings, acknowledge
from sie_runtime.streams.work_queue import WorkQueue
from sie_schemas.fleet import WorkerKind
from sie_schemas.jobs import consumer_name, stream_name, subject
from sie_testing.serving.queue_broker import QueueBroker
from sie_testing.serving.queue_client import QueueClient
from sie_testing.stage.loop import Host, SimulatedLoop
from sie_testing.stage.network import Network
from sie_worker import metrics
from sie_worker.intake.pulling import Pulling

KIND = WorkerKind(pool="night", machine_profile="cpu", bundle="small")
OTHERS = (
    WorkerKind(pool="night", machine_profile="cpu", bundle="big"),
    WorkerKind(pool="night", machine_profile="gpu", bundle="small"),
    WorkerKind(pool="day", machine_profile="cpu", bundle="small"),
)
STREAM = stream_name(KIND.pool)
MODELS = ("org/a", "org/b", "org/c", "org/d")
LOOK_S = 1.0
APART_S = 0.05
"""Looks that changes cause share one in so many seconds."""
QUIET_S = 8.0
"""A lost link is noticed within two seconds and is there again a second later. Then come a look, an
answer of the clock that is waited for, and a pull that nobody answered."""
BUSY_S = 60.0
ENDS_S = 3.0
"""Closing takes two seconds beside a broker that does not answer, however many there are."""
NEXT = "$JS.API.CONSUMER.MSG.NEXT."


def consumer_of(model_id: str) -> str:
    return consumer_name(KIND.machine_profile, KIND.bundle, model_id)


class Asking(QueueClient):
    """A connection whose requests are judged as they are made."""

    world: "World"

    def send(self, subject: str, payload: bytes, *, reply: str = "", headers: bytes = b"") -> None:
        """Publish without waiting."""
        if subject.startswith(NEXT):
            self.world.asked_for_jobs(subject.rpartition(".")[2], json.loads(payload)["batch"])
        super().send(subject, payload, reply=reply, headers=headers)

    async def request(self, subject: str, *told: Any, **named: Any) -> Any:
        """Send, and await one answer."""
        self.world.asked_for_time()
        return await super().request(subject, *told, **named)


class Trouble(Exception):
    """Ends a pulling from inside."""


class World:
    """A worker's pulling on the broker in memory; a job that was taken stays in hand."""

    def __init__(self, seed: int, room: int) -> None:
        rng = random.Random(seed)
        self.loop = SimulatedLoop(rng)  # type: ignore[abstract]
        self.broker = QueueBroker(self.loop, Network(rng), ack_wait_s=1e6, deliveries_max=99)
        self.host = Host("worker")
        self.client = Asking(self.broker, self.host, rng)
        self.client.world = self
        self.room = room
        self.placed: frozenset[str] = frozenset()
        self.fails = False
        """The next look ends with an error."""
        self.looks: list[float] = []
        self.times_asked = 0
        """In this look."""
        self.jobs_asked = 0
        self.in_hand: list[tuple[str, Delivery]] = []
        self.last_job_at: dict[str, float] = {}
        """By consumer: when one came last, by this law's own reckoning."""
        self.wrong: list[str] = []
        self.tells_time = True
        self.broker.carries = lambda _client, told, _data: self.tells_time or "INFO" not in told
        for model_id in MODELS:
            self.add_consumer(KIND, model_id)
        # Of other workers: nothing of theirs is touched.
        for other in OTHERS:
            self.add_consumer(other, "org/a")
            self.publish("org/a", 3, kind=other)

    def add_consumer(self, kind: WorkerKind, model_id: str) -> None:
        lane = (kind.machine_profile, kind.bundle, model_id)
        self.broker.add_consumer(
            stream_name(kind.pool), consumer_name(*lane), subject(kind.pool, *lane)
        )

    def publish(self, model_id: str, count: int, kind: WorkerKind = KIND) -> None:
        told = subject(kind.pool, kind.machine_profile, kind.bundle, model_id)
        for _ in range(count):
            headers = {"Nats-Msg-Id": f"{len(self.broker.jobs)} at {self.loop.time()}"}
            data = model_id.encode() if kind == KIND else b"of another worker"
            self.broker.take(self.client, told, data, "", headers)

    def lying(self, models: Collection[str]) -> int:
        """The jobs of these models that nobody has."""
        consumers = [self.broker.consumers[f"{STREAM}.{consumer_of(each)}"] for each in models]
        return sum(
            job.subject == each.subject
            and (job.sequence not in each.out or job.sequence in each.again)
            for each in consumers
            for job in self.broker.jobs.values()
        )

    def has_pull(self, model_id: str) -> bool:
        """True if the broker has a place to send a job of this model to."""
        pulls = self.broker.consumers[f"{STREAM}.{consumer_of(model_id)}"].pulls
        return any(self.client.listens(each.reply) for each in pulls)

    def finish(self, count: int) -> None:
        """So many jobs are done."""
        acknowledge([delivery for _, delivery in self.in_hand[:count]])
        del self.in_hand[:count]

    # ---- what is judged as it happens ------------------------------------------------------------

    def asked_for_jobs(self, consumer: str, count: int) -> None:
        """A model asks: an idle one for one job, one at work for its part of the room."""
        self.jobs_asked += 1
        now = self.loop.time()
        busy = [name for name, at in self.last_job_at.items() if now < at + BUSY_S]
        most = -(-self.demand() // max(1, len(busy))) if consumer in busy else 1
        if not 0 < count <= most:
            self.wrong.append(f"{consumer} asks for {count}, {most} are its part beside {busy}")

    def asked_for_time(self) -> None:
        """The broker's time is asked for once in a look, and no more once it is known."""
        self.times_asked += 1
        if self.clock.is_known or self.times_asked > 1:
            self.wrong.append("the time is asked for again")

    # ---- what the pulling is told ----------------------------------------------------------------

    def look(self) -> frozenset[str]:
        self.looks.append(self.loop.time())
        self.times_asked = 0
        if self.fails:
            raise Trouble
        for model_id in set(MODELS) - self.placed:
            self.last_job_at.pop(consumer_of(model_id), None)
        return self.placed

    def demand(self) -> int:
        return max(0, self.room - len(self.in_hand))

    def take(self, delivery: Delivery) -> None:
        model_id = delivery.data.decode()
        self.in_hand.append((model_id, delivery))
        self.last_job_at[consumer_of(model_id)] = self.loop.time()

    async def begin(self) -> None:
        bus = await Bus.connect(
            BusSettings(), role="worker", process_id="w", client=cast(Client, self.client)
        )
        self.clock = BrokerClock(bus, clock=self.loop.time)
        self.stop = asyncio.Event()
        self.pulling = Pulling(
            WorkQueue(bus, WorkQueueSettings()),
            kind=KIND,
            placed=self.look,
            demand=self.demand,
            on_job=self.take,
            broker_clock=self.clock,
            look_s=LOOK_S,
        )
        self.running = asyncio.create_task(self.pulling.run(self.stop))

    async def end(self, how: str) -> None:
        """By a stop, an error of a look, or a cancellation."""
        if how == "stop":
            self.stop.set()
        elif how == "error":
            self.fails = True
            self.pulling.changed()
        else:
            self.running.cancel()
        async with asyncio.timeout(ENDS_S):
            await asyncio.wait([self.running])
        assert (
            self.running.cancelled()
            if how == "cancel"
            else isinstance(self.running.exception(), ExceptionGroup)
            if how == "error"
            else self.running.exception() is None
        )

    def assert_gauge(self) -> None:
        assert next(iter(metrics.PULLED_MODELS.collect())).samples[0].value == len(
            self.pulling.models
        )

    def play(self, story: Callable[["World"], Coroutine[Any, Any, None]]) -> None:
        task = self.host.context.run(self.loop.create_task, story(self))
        try:
            self.loop.run_until_complete(task)
            assert not self.loop.troubles
            assert not self.wrong
        finally:
            self.loop.close()


# ---- placement, outages, ends --------------------------------------------------------------------

Event = tuple[float, str, Any]
GAPS = st.sampled_from([0.0, 0.0005, 0.001, 0.002, 0.02, 0.3, 1.2, 2.5, QUIET_S])
EVENT = st.one_of(
    st.tuples(GAPS, st.just("placed"), st.frozensets(st.sampled_from(MODELS))),
    st.tuples(GAPS, st.just("jobs"), st.tuples(st.sampled_from(MODELS), st.integers(1, 12))),
    st.tuples(GAPS, st.just("done"), st.integers(1, 6)),
    st.tuples(GAPS, st.sampled_from(["down", "up"]), st.none()),
)


def happens(world: World, what: str, told: Any) -> None:
    match what:
        case "placed":
            world.placed = told
            world.pulling.changed()
        case "jobs":
            world.publish(*told)
        case "done":
            world.finish(told)
            world.pulling.wake()
        case "down":
            world.broker.stop()
        case _:
            world.broker.start()


async def assert_settled(world: World) -> None:
    """Long after the last event: what is placed is pulled, as far as there is room."""
    assert world.pulling.models == world.placed
    if world.placed and world.tells_time and not world.clock.is_known:
        # It was away at the last look. The worker asks now and then.
        world.times_asked = 0
        await world.pulling.look_at_clock()
        assert world.clock.is_known
    if world.demand():
        assert not world.lying(world.placed)
        assert {each for each in MODELS if world.has_pull(each)} == world.placed


@given(
    seed=st.integers(0, 2**32),
    room=st.integers(1, 12),
    events=st.lists(EVENT, min_size=1, max_size=12),
    last_gap=GAPS,
    how=st.sampled_from(["stop", "error", "cancel"]),
    tells_time=st.booleans(),
)
def test_what_is_placed_is_pulled_and_each_puller_is_closed_however_the_pulling_ends(
    seed, room, events, last_gap, how, tells_time
):
    async def story(world: World) -> None:
        world.tells_time = tells_time
        await world.begin()
        # An outage that ends with no change beside it is seen by the looks alone.
        last = [(last_gap, "up", None)] if last_gap == QUIET_S else []
        for gap, what, told in [*events, *last, (last_gap, "end", None)]:
            await asyncio.sleep(gap)
            world.assert_gauge()
            if gap == QUIET_S and world.broker.up:
                await assert_settled(world)
            if what != "end":
                happens(world, what, told)
        await world.end(how)
        assert not world.pulling.models
        world.assert_gauge()
        await asyncio.sleep(QUIET_S)
        # Nobody listens, nobody asks, not even after a reconnection; what came late went back.
        assert not world.client.interests
        world.jobs_asked = 0
        world.broker.stop()
        world.broker.start()
        await asyncio.sleep(QUIET_S)
        assert not world.jobs_asked
        assert not [each for each in asyncio.all_tasks(world.loop) if "pull" in each.get_name()]

    World(seed, room).play(story)


# ---- where the broker serves all along -----------------------------------------------------------

PROMPT_S = 0.5
"""Two words and a look, on a network that is slow now and then; less than a look that is due."""


@given(
    seed=st.integers(0, 2**32),
    changes=st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.001, 0.01, 0.06, PROMPT_S, 1.1]),
            st.frozensets(st.sampled_from(MODELS)),
        ),
        min_size=1,
        max_size=30,
    ),
)
def test_a_change_is_followed_soon_and_a_burst_of_them_is_one_look(seed, changes):
    async def story(world: World) -> None:
        await world.begin()
        # While it connects, each look but the first waits until it is due.
        await asyncio.sleep(QUIET_S)
        for gap, placed in [*changes, (PROMPT_S, frozenset())]:
            await asyncio.sleep(gap)
            if gap >= PROMPT_S:
                assert world.pulling.models == world.placed
                world.assert_gauge()
            if placed != world.placed:
                world.placed = placed
                world.pulling.changed()
        assert all(later >= at + APART_S for at, later in pairwise(world.looks[1:]))
        await world.end("stop")

    World(seed, 1).play(story)


@given(
    seed=st.integers(0, 2**32),
    room=st.integers(4, 40),
    at_work=st.frozensets(st.sampled_from(MODELS)),
    waits=st.sampled_from(MODELS),
    freed=st.integers(1, 4),
)
def test_room_is_filled_soon_whichever_model_has_jobs(seed, room, at_work, waits, freed):
    async def story(world: World) -> None:
        world.placed = frozenset(MODELS)
        await world.begin()
        for model_id in at_work:
            world.publish(model_id, 1)
        await asyncio.sleep(QUIET_S)
        assert len(world.in_hand) == len(at_work)
        world.publish(waits, 10 * room)
        await asyncio.sleep(QUIET_S)
        taken = len(world.in_hand)
        # What each of the others asked for, beside what was asked for this one.
        assert room <= taken <= room + len(MODELS)
        world.finish(taken - room + freed)
        before = len(world.in_hand)
        world.pulling.wake()
        await asyncio.sleep(PROMPT_S)
        assert len(world.in_hand) > before
        await world.end("stop")

    World(seed, room).play(story)
