"""Laws of a request's runs: what each carries, when the request ends, and what is left of it.

In virtual time, so that a deadline is met to the microsecond or is not met.
"""

import asyncio
import gc
import random
import weakref
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.support.gateway_world import MemoryBus, echo_result, heartbeat, standard_resolver

from sie_gateway.fleet.kind_loads import KindLoads
from sie_gateway.fleet.lives import Lives
from sie_gateway.fleet.routing import Cold, Wanted
from sie_gateway.fleet.watch import FleetWatch
from sie_gateway.request.admission import Caps
from sie_gateway.request.dispatch import Dispatcher, MessageCaps
from sie_gateway.request.inference import Inference, InferenceLimits
from sie_gateway.request.jobs import JobCaps
from sie_gateway.request.requests import Asked
from sie_gateway.request.waiting import ClientGone
from sie_schemas.errors import Later, TimeRanOut
from sie_schemas.fleet import WantedModel, WorkerKind
from sie_schemas.items import Item
from sie_schemas.jobs import JOB_ENCODER, Job, JobFailure
from sie_testing.stage.loop import SimulatedLoop

RESOLVERS = [standard_resolver(epoch=7 + number) for number in range(6)]
BEAT = JOB_ENCODER.encode(heartbeat())
KIND = WorkerKind("default", "cpu", "default")
CAPS = MessageCaps(1_000_000, chunked_bytes_max=1 << 28, queue_wait_s=5.0)
TIMEOUT_S = 30.0
"""Longer than all runs of a story take."""
BEGAN_AT = 1_700_000_000.0
ASKED = Asked("encode", (Item(text="a"), Item(text="bb")), items_size=200)
CHANGED = {"answers": (), "failure": JobFailure("REVISION_CHANGED", "replaced")}
WORDS: dict[str, dict[str, Any]] = {
    "changed": CHANGED,
    "changed unseen": CHANGED,
    "answered": {},
}
"""A worker's result in each run, as far as it is another than the right one."""
STEPS = st.tuples(
    st.sampled_from(["moved", "changed", "changed unseen"]), st.sampled_from([0.0, 0.1, 0.4])
)


class Client:
    """Whoever waits for the answer."""

    def __init__(self) -> None:
        self.left = asyncio.Event()
        self.is_watched = False

    async def until_gone(self) -> None:
        """Wait until it leaves."""
        self.is_watched = True
        try:
            await self.left.wait()
        finally:
            self.is_watched = False


@dataclass
class Site:
    """One gateway, and a worker of two jobs a run."""

    resolver: Any = field(default_factory=lambda: RESOLVERS[0])
    bus: MemoryBus = field(default_factory=MemoryBus)
    seen: list[Job] = field(default_factory=list)
    asked_for: list[tuple[str, str | None]] = field(default_factory=list)
    cold: list[tuple[WorkerKind, WantedModel]] = field(default_factory=list)
    loads: KindLoads = field(default_factory=lambda: KindLoads(clock=lambda: 0.0))

    async def open(self) -> Inference:
        """The gateway, which hears nobody yet."""
        loop = asyncio.get_running_loop()
        self.dispatcher = Dispatcher(
            self.bus, self.bus, gateway_id="g", objects=None, caps=CAPS, rng=None
        )
        lives = Lives(doubt_s=100.0, dead_s=200.0)
        self.watch = FleetWatch(self.bus, ttl_s=1000.0, settle_s=0.0, lives=lives)
        await self.watch.open()
        self.watch.begin()

        async def placed(wanted: Wanted) -> Wanted:
            return wanted

        async def found_cold(kind: WorkerKind, model: WantedModel) -> None:
            self.cold.append((kind, model))

        return Inference(
            dispatcher=self.dispatcher,
            watch=self.watch,
            resolver=lambda: self.resolver,
            limits=InferenceLimits(
                caps=Caps(100, 10**6),
                job_caps=JobCaps(1, 10**6),
                timeout_s=TIMEOUT_S,
                lease_items_per_worker=10,
            ),
            placed=placed,
            found_cold=found_cold,
            asked_for=lambda model, adapter: self.asked_for.append((model, adapter)),
            wall=lambda: BEGAN_AT + loop.time(),
            loads=self.loads,
        )

    async def work(self, steps: list[tuple[str, float]], end: str, client: Client) -> None:
        """Let each run end as its step says, and the last one with `end`."""
        for number, (step, takes_s) in enumerate([*steps, (end, 0.1)], 1):
            jobs = [(await self.bus.jobs.get())[1] for _ in ASKED.items]
            self.seen += jobs
            await asyncio.sleep(takes_s)
            if step == "changed":
                self.resolver = RESOLVERS[number]
            if step in WORDS:
                await self.bus.deliver(*[echo_result(job, **WORDS[step]) for job in jobs])
            elif step == "moved":
                for run in self.dispatcher.runs():
                    run.waiting.turn_away()
            elif step == "left":
                client.left.set()

    async def ended(self, inference: Inference, client: Client, **how: Any) -> str:
        """The end of a request, in a word: no frame of an error keeps what it held."""
        wanted = Wanted("org/dense", "encode", lora=how.pop("lora", None))
        try:
            answer = await inference.answer(
                ASKED, wanted, request_id="r", until_gone=client.until_gone, **how
            )
        except Later as error:
            return error.code
        except TimeRanOut:
            return "silent"
        except ClientGone:
            return "left"
        return "cold" if isinstance(answer, Cold) else "answered"


def in_virtual_time(story: Any, seed: int) -> None:
    loop = SimulatedLoop(random.Random(seed))  # type: ignore[abstract]
    # What was there before is not looked through each time: that took most of the test.
    gc.freeze()
    try:
        loop.run_until_complete(story())
    finally:
        gc.unfreeze()
        loop.close()
    assert loop.troubles == []


def check_nothing_left(site: Site, client: "weakref.ref[Client]") -> None:
    assert site.dispatcher.waiting == 0
    assert site.loads.of(KIND).in_flight_items == 0
    gc.collect()
    assert client() is None, "what is over is kept by nobody until its deadline"


@given(
    steps=st.lists(STEPS, max_size=4),
    end=st.sampled_from(["answered", "silent", "left"]),
    lora=st.sampled_from([None, "legal"]),
    seed=st.integers(0, 9),
)
@example([("moved", 0.0), ("moved", 0.4), ("changed", 0.1)], "answered", None, 0)
@example([("changed", 0.4), ("moved", 0.0), ("changed unseen", 0.1)], "answered", None, 0)
@settings(deadline=None, max_examples=25)
def test_each_run_is_new_to_the_queue_and_one_change_of_a_revision_is_run_again(
    steps, end, lora, seed
):
    """Jobs that only lay in the wrong place are sent elsewhere as often as it takes."""
    changes = [number for number, (step, _) in enumerate(steps, 1) if step != "moved"]
    runs, told = (changes[1], "REVISION_CHANGED") if changes[1:] else (len(steps) + 1, end)

    async def story() -> None:
        site, client = Site(), Client()
        inference = await site.open()
        await site.bus.publish("sie.health.w1", BEAT)
        working = asyncio.create_task(site.work(steps, end, client))
        how = {"lora": lora, "tenant": "t", "trace": "00-ab-cd-01"}
        assert await site.ended(inference, client, **how) == told
        loop = asyncio.get_running_loop()
        if told == "silent":
            assert loop.time() == pytest.approx(TIMEOUT_S, abs=1e-6)
        working.cancel()
        # The simulated loop takes what is ready in any order: time only goes on when all is done.
        await asyncio.sleep(1.0)
        assert not client.is_watched
        assert len(site.seen) == runs * len(ASKED.items)
        assert len({job.job_id for job in site.seen}) == len(site.seen)
        for job in site.seen:
            assert (job.tenant, job.trace) == ("t", "00-ab-cd-01")
            assert job.deadline == pytest.approx(BEGAN_AT + TIMEOUT_S, abs=1e-5)
        assert site.asked_for == [("org/dense", lora)] * runs
        kept = weakref.ref(client)
        del client, working
        check_nothing_left(site, kept)

    in_virtual_time(story, seed)


@given(
    comes_at_s=st.none() | st.sampled_from([0.0, 0.4, 2.5]),
    changes_at_s=st.none() | st.sampled_from([0.1, 1.5]),
    patience_s=st.sampled_from([0.0, 3.0, 100.0]),
    lora=st.sampled_from([None, "legal"]),
    seed=st.integers(0, 9),
)
@settings(deadline=None, max_examples=25)
def test_a_held_request_asks_for_its_worker_once_and_ends_with_its_patience_or_its_time(
    comes_at_s, changes_at_s, patience_s, lora, seed
):
    """A config that changes without a word on its model asks for nobody else."""
    ends_at = min(patience_s, TIMEOUT_S)
    comes = comes_at_s is not None and (comes_at_s == 0 or comes_at_s < ends_at)

    async def story() -> None:
        site, client = Site(), Client()
        inference = await site.open()
        loop = asyncio.get_running_loop()

        async def come() -> None:
            await site.bus.publish("sie.health.w1", BEAT)

        if comes_at_s == 0:
            await come()
        elif comes_at_s is not None:
            loop.call_later(comes_at_s, lambda: asyncio.ensure_future(come()))
        if changes_at_s is not None:
            loop.call_later(changes_at_s, setattr, site, "resolver", RESOLVERS[1])
        working = asyncio.create_task(site.work([], "answered", client))
        told = await site.ended(inference, client, lora=lora, patience_s=patience_s)
        assert told == ("answered" if comes else "cold")
        if not comes:
            assert loop.time() == pytest.approx(ends_at, abs=1e-6)
        working.cancel()
        # The simulated loop takes what is ready in any order: time only goes on when all is done.
        await asyncio.sleep(1.0)
        model = WantedModel(model_id="org/dense", profile="default", adapter=lora or "")
        assert site.cold == ([] if comes_at_s == 0 else [(KIND, model)])
        assert len(site.asked_for) == len(site.cold) + comes
        assert not client.is_watched
        kept = weakref.ref(client)
        del client, working
        check_nothing_left(site, kept)

    in_virtual_time(story, seed)
