"""Laws of the loop that gives the jobs of dead workers back, over a queue in memory."""

import asyncio
import itertools
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import cast

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.support.gateway_world import echo_result, heartbeat
from tests.support.polling import until

from sie_gateway.fleet.holders import Holders
from sie_gateway.fleet.lives import Lives
from sie_gateway.fleet.routing import Route
from sie_gateway.request.deaths import Deaths
from sie_gateway.request.giving_back import Limits
from sie_gateway.request.runs import Run
from sie_gateway.request.waiting import Waiting
from sie_runtime.broker.bus import NoResponders
from sie_schemas.errors import TimeRanOut
from sie_schemas.fleet import (
    HOLDING_ASKED_DECODER,
    QUEUE_ASKED_DECODER,
    GiveBack,
    HandedOut,
    HoldingAnswer,
    QueueAnswer,
    WorkerKind,
)
from sie_schemas.items import Item
from sie_schemas.jobs import Job, consumer_name

DOUBT_S, DEAD_S = 1.5, 3.0
DEAD, LIVING, OTHER = "aa", "bb", "cc"
"""Lives: the first two are of one kind, the third is of another kind in their pool."""
PROFILES = {DEAD: "cpu", LIVING: "cpu", OTHER: "l4", "dd": "cpu", "ee": "l4"}
LOOKS = 4
"""So many looks are all that anything takes where nothing fails."""


class Watched(Lives):
    """Counts the looks of the loop."""

    looks = 0

    def forget_old(self, now: float) -> None:
        """Each look begins with this."""
        self.looks += 1
        super().forget_old(now)


class World:
    """Workers that answer, and that speak with a queue; the time, and the jobs that wait.

    Of the questions to the queue those in `fails` get a no, counted from now on, and of those to
    workers those in `unheard` no answer.
    """

    def __init__(
        self,
        dead_is: str,
        *,
        living: Collection[str] = (OTHER, LIVING),
        dead: Collection[str] = (DEAD,),
        other_first: bool,
    ) -> None:
        self.dead_is = dead_is
        self.living, self.dead = list(living), dead
        self.now = 2.0
        self.asked = 0
        self.fail()
        self.holds: dict[str, set[str]] = {life: set() for life in PROFILES}
        self.outs: dict[str, HandedOut] = {}
        self.runs: list[Run] = []
        self.given: list[tuple[str, int]] = []
        self.ended: list[str] = []
        self.lives = Watched(doubt_s=DOUBT_S, dead_s=DEAD_S)
        self.lives.hear_from(1.0)
        for life in (*living, *dead) if other_first else (*dead, *living):
            self.hear(life, leaving=life in dead)

    def fail(self, fails: Collection[int] = (), unheard: Collection[int] = ()) -> None:
        """Some of the next questions are in vain; the first is 0."""
        self.fails, self.unheard = fails, unheard
        self._queue_asked, self._workers_asked = itertools.count(), itertools.count()

    def hear(self, life: str, *, leaving: bool = False) -> None:
        """A heartbeat of a life."""
        beat = heartbeat(life, life=life, machine_profile=PROFILES[life], leaving=leaving)
        self.lives.heard(beat, self.now)

    def pass_to(self, now: float) -> None:
        """Time goes by, and those who live are heard."""
        self.now = now
        for life in self.living:
            self.hear(life)

    async def request(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        """The answer of a worker. Raises `NoResponders`, `TimeRanOut`."""
        self.asked += 1
        _, _, _, life, *queue = subject.split(".")
        if life in self.dead and self.dead_is == "gone":
            raise NoResponders("nobody listens")
        if life in self.dead:
            raise TimeRanOut(f"nothing within {timeout_s:g} s")
        if not queue and next(self._workers_asked) in self.unheard:
            raise TimeRanOut(f"nothing within {timeout_s:g} s")
        if not queue:
            ids = HOLDING_ASKED_DECODER.decode(data).job_ids
            held = tuple(job for job in ids if job in self.holds[life])
            return msgspec.msgpack.encode(HoldingAnswer(job_ids=held))
        asked = QUEUE_ASKED_DECODER.decode(data)
        if next(self._queue_asked) in self.fails:
            return msgspec.msgpack.encode(QueueAnswer(error="the queue is away"))
        if isinstance(asked, GiveBack):
            self.given += [(asked.consumer, sequence) for sequence in asked.sequences]
            return msgspec.msgpack.encode(QueueAnswer())
        return msgspec.msgpack.encode(QueueAnswer(out=self.outs.get(asked.consumer)))

    def send(self, profile: str, model: str, sequence: int) -> Run:
        """A run of one job."""
        job = job_of(f"{profile}.{model}.{sequence}")
        kind = WorkerKind("default", profile, "default")
        route = SimpleNamespace(kind=kind, model=SimpleNamespace(model_id=model))
        run = Run(cast(Route, route), [job], Waiting(60.0))
        # Stored twice: the broker lost the first, so that the last word counts.
        for seq in (90 - sequence, sequence):
            run.stored(job.job_id, b'{"seq":%d}' % seq)
        self.runs.append(run)
        return run

    def place(
        self, jobs: list[tuple[str, str, str]], *, acknowledged: bool
    ) -> set[tuple[str, int]]:
        """Jobs at their places; those that the dead one held, by consumer and sequence. What was
        handed out lies before what is queued. Of model `n` all may be acknowledged."""
        lost: set[tuple[str, int]] = set()
        order = ("dead", "living", "answered", "queue")
        for profile, model, where in sorted(jobs, key=lambda job: order.index(job[2])):
            run = self.send(profile, model, sequence := len(self.runs) + 1)
            name = consumer_name(profile, "default", model)
            is_out = not (acknowledged and model == "n")
            if where == "answered":
                run.waiting.take(echo_result(run.jobs[0]))
            holders = [life for life in self.living if PROFILES[life] == profile]
            if where == "living" and holders:
                self.holds[holders[sequence % len(holders)]].add(run.jobs[0].job_id)
            elif where in ("living", "dead") and is_out and self.has_lost_one(profile):
                lost.add((name, sequence))
            if where != "queue":
                self.outs[name] = HandedOut(sequence, sequence, int(is_out))
        return lost

    def has_lost_one(self, profile: str) -> bool:
        """True if a worker of a kind has died."""
        return profile in {PROFILES[life] for life in self.dead}

    @contextmanager
    def watched(self) -> Iterator[None]:
        """The loop runs."""
        limits = Limits(pause_s=DEAD_S, deliveries_max=5)
        busy, stop = asyncio.Event(), asyncio.Event()
        busy.set()
        deaths = Deaths(
            self.lives,
            Holders(self, answer_s=0.1, queue_s=0.1),
            runs=lambda: self.runs,
            busy=busy,
            is_over=lambda life: self.ended.append(life.name),
            limits=limits,
            look_s=0.0,
            clock=lambda: self.now,
        )
        self.loop = asyncio.get_running_loop().create_task(deaths.run(stop))
        try:
            yield
        finally:
            self.loop.cancel()

    async def look(self, times: int = LOOKS) -> None:
        """So many whole looks."""
        before = self.lives.looks
        await until(lambda: self.loop.done() or self.lives.looks > before + times)
        assert not self.loop.done()


def job_of(job_id: str) -> Job:
    return Job(
        job_id=job_id,
        request_id=job_id,
        first_item=0,
        operation="encode",
        log_id="ab" * 16,
        epoch=1,
        model_id="m",
        profile="default",
        model_revision="r",
        items=(Item(text="x"),),
        reply_to="sie.result.inbox",
        deadline=60.0,
        published_at=0.0,
    )


JOBS = st.lists(
    st.tuples(
        st.sampled_from(["cpu", "cpu", "l4"]),
        st.sampled_from(["m", "n"]),
        st.sampled_from(["dead", "living", "queue", "answered"]),
    ),
    max_size=6,
)
CPU_M, CPU_N, L4_M = ("cpu", "m", "dead"), ("cpu", "n", "dead"), ("l4", "m", "dead")
HELD = [("cpu", "m", "living")] * 2


@given(
    jobs=JOBS,
    dead_is=st.sampled_from(["gone", "silent"]),
    acknowledged=st.booleans(),
    fails=st.sets(st.integers(0, 7), max_size=3),
    unheard=st.sets(st.integers(0, 4), max_size=2),
    dead=st.sampled_from([(DEAD,), (DEAD, "ee")]),
    living=st.sampled_from([(OTHER, LIVING), (OTHER,), (OTHER, LIVING, "dd"), ()]),
    other_first=st.booleans(),
)
@example([CPU_M], "gone", False, {0}, {0}, (DEAD,), (OTHER, LIVING), True)
@example([CPU_M, CPU_N], "gone", False, {2}, set(), (DEAD,), (OTHER, LIVING), True)
@example([CPU_M, CPU_N], "gone", False, set(), {1}, (DEAD,), (OTHER, LIVING), True)
@example([CPU_M, CPU_N], "gone", True, set(), set(), (DEAD,), (OTHER, LIVING), True)
@example([CPU_M], "silent", False, set(), set(), (DEAD,), (OTHER, LIVING), True)
@example([CPU_M], "gone", False, set(), set(), (DEAD,), (OTHER,), True)
@example([CPU_M], "gone", False, set(), set(), (DEAD,), (), True)
@example([CPU_M, L4_M], "gone", False, {2}, set(), (DEAD, "ee"), (OTHER, LIVING), False)
@example([CPU_M, *HELD], "gone", False, set(), set(), (DEAD,), (OTHER, LIVING, "dd"), True)
@settings(max_examples=40, deadline=None)
async def test_the_jobs_of_a_dead_worker_go_back_however_often_it_was_asked_in_vain(
    jobs, dead_is, acknowledged, fails, unheard, dead, living, other_first
):
    """Once for its death; no job that another one holds goes with them. Where no worker of the pool
    is left, they wait for the next one."""
    world = World(dead_is, living=living, dead=dead, other_first=other_first)
    lost = world.place(jobs, acknowledged=acknowledged)
    with world.watched():
        await world.look()
        assert (world.asked, world.given) == (0, []), "nobody had the time to be heard"
        world.fail(fails, unheard)
        world.pass_to(2.6)
        await world.look(LOOKS + len(fails) + len(unheard))
        if not living:
            assert world.given == [], "nobody speaks for the queue"
            world.living.append(LIVING)
            world.pass_to(2.7)
            await world.look(LOOKS + len(fails) + len(unheard))
        if dead_is == "silent":
            assert (world.given, world.ended) == ([], [])
            for now in (6.0, 7.0, 8.0, 9.0, 10.0, 11.0):
                world.pass_to(now)
                await world.look()
    assert sorted(world.given) == sorted(lost)
    assert sorted(world.ended) == (sorted(dead) if dead_is == "gone" else [])
    assert world.lives.over() == []


@given(
    count=st.integers(2, 4),
    vain=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=4, max_size=4),
)
@example(2, [(0, 0), (1, 0), (0, 0), (0, 0)])
@example(2, [(0, 0), (0, 1), (0, 0), (0, 0)])
@settings(max_examples=20, deadline=None)
async def test_each_suspect_has_its_turn_however_often_it_was_asked_in_vain(count, vain):
    world = World("gone", other_first=True)
    runs = [world.send("cpu", "m", sequence) for sequence in range(1, count + 1)]
    for run in runs:
        for out in run.out():
            out.given.deaths = out.given.times = 2
    name = consumer_name("cpu", "default", "m")
    world.outs[name] = HandedOut(count, count, count)
    with world.watched():
        for number, (run, (fails, unheard)) in enumerate(zip(runs, vain, strict=False), start=1):
            world.fail(range(fails), range(unheard))
            if number == 1:
                world.pass_to(2.6)
            else:
                runs[number - 2].waiting.take(echo_result(runs[number - 2].jobs[0]))
            await world.look(LOOKS + fails + unheard)
            assert world.given == [(name, n) for n in range(1, number + 1)], "one at a time"
            assert run.open_jobs()
        # Who has nothing to tell of suspects is asked no more.
        runs[-1].waiting.take(echo_result(runs[-1].jobs[0]))
        await world.look()
        asked = world.asked
        await world.look()
        assert world.asked == asked
