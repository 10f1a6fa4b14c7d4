"""Laws of jobs that lie where nobody takes them: stored again, or turned away."""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Collection, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import httpx
import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.support.gateway_world import (
    echo_result,
    gateway_world,
    heartbeat,
    model,
    resolver_of,
    standard_resolver,
)
from tests.support.polling import until

from sie_core.resolver import Resolver
from sie_gateway import metrics
from sie_gateway.fleet.fleet import Fleet as Workers
from sie_gateway.fleet.holders import Holders
from sie_gateway.fleet.routing import Wanted
from sie_gateway.fleet.watch import FleetWatch
from sie_gateway.request.dispatch import Dispatcher
from sie_gateway.request.lost_jobs import LostJobs
from sie_gateway.request.runs import Run
from sie_gateway.request.takers import Takers
from sie_runtime.broker.bus_messages import Message
from sie_schemas.errors import Later
from sie_schemas.fleet import HoldingAnswer, WorkerKind, wanted_subject
from sie_schemas.jobs import JOB_ENCODER
from sie_testing.stage.loop import SimulatedLoop

JOBS = ("a", "b", "c", "d")
KIND = WorkerKind(pool="p", bundle="b", machine_profile="m")


class Fleet:
    """The runs that wait, what workers say that they hold at each look, and what was stored."""

    def __init__(
        self, runs: Sequence[Sequence[str]], looks: list[set[str] | None], fails: list[bool]
    ) -> None:
        self._looks = looks
        self._fails = fails
        self._held: frozenset[str] = frozenset()
        self.stored: Counter[str] = Counter()
        self._runs = [
            cast(Run, SimpleNamespace(route=SimpleNamespace(kind=KIND), open_jobs=lambda s=s: s))
            for s in runs
        ]

    def runs(self) -> Collection[Run]:
        """As a dispatcher."""
        return self._runs

    async def held(self, _living: Any, job_ids: Sequence[str]) -> frozenset[str] | None:
        """As `Holders`; nobody holds anything once all looks were had."""
        told = self._looks.pop(0) if self._looks else set()
        self._held = frozenset(told or ()) & set(job_ids)
        return None if told is None else self._held

    async def send_again(self, run: Run, held: Collection[str]) -> int:
        """As a dispatcher, whose broker may be away."""
        if self._fails and self._fails.pop(0):
            raise Later("the broker is away", code="QUEUE_UNAVAILABLE")
        sent = [job for job in run.open_jobs() if job not in held]
        assert self._held.isdisjoint(sent), "a worker holds it"
        self.stored.update(sent)
        return len(sent)


LOOKS = st.lists(st.none() | st.sets(st.sampled_from(JOBS)), max_size=6)


@given(cut=st.integers(0, len(JOBS)), looks=LOOKS, fails=st.lists(st.booleans(), max_size=6))
def test_each_job_that_waits_is_stored_once_as_soon_as_nobody_holds_it(cut, looks, fails):
    """Of two runs, with workers that give jobs back, or say nothing, and a broker that goes."""
    fleet = Fleet([JOBS[:cut], JOBS[cut:]], list(looks), list(fails))

    async def restored() -> None:
        lost = LostJobs(fleet, cast(Holders, fleet), living=lambda _: (), pause_s=0.0)
        stop = asyncio.Event()
        running = asyncio.create_task(lost.run(stop))
        lost.suspect()
        # Far more turns than all looks take: what is stored twice is so by then too.
        for _ in range(500):
            await asyncio.sleep(0)
        stop.set()
        await running

    asyncio.run(restored())
    assert fleet.stored == Counter(JOBS)


class Left:
    """A run where no worker takes its job any more; it ends by itself during one of the looks."""

    def __init__(self, looks: list[set[str] | None], ends_at: int) -> None:
        self._looks = looks
        self._ends_at = ends_at
        self._looked = 0
        self.turned_away: list[int] = []
        """The looks after which it was."""
        self.busy = asyncio.Event()
        self.busy.set()
        route = SimpleNamespace(kind=KIND, subject="sie.work.gone", position=None)
        wanted = Wanted("org/dense", "encode")
        self._runs = [
            SimpleNamespace(route=route, wanted=wanted, waiting=self, open_jobs=lambda: ("a",))
        ]

    def runs(self) -> Collection[Any]:
        """As a dispatcher."""
        return self._runs

    async def held(self, _living: Any, _job_ids: Sequence[str]) -> frozenset[str] | None:
        """As `Holders`; nobody holds anything once all looks were had."""
        told = self._looks.pop(0) if self._looks else set()
        if self._looked == self._ends_at:
            self._runs = []
        self._looked += 1
        return None if told is None else frozenset(told)

    def turn_away(self) -> None:
        """As what waits for the run, and for the one after it."""
        self.turned_away.append(self._looked - 1)
        self._runs = []


@given(looks=LOOKS, ends_at=st.integers(0, 8))
@settings(deadline=None, max_examples=40)
async def test_a_run_is_turned_away_as_soon_as_nobody_holds_its_job_and_not_after_its_end(
    looks, ends_at
):
    left, stop = Left(list(looks), ends_at), asyncio.Event()
    watch = SimpleNamespace(
        can_judge=lambda: True, fleet=Workers(9.0), now=lambda: 0.0, living=lambda kind: ()
    )
    resolver = standard_resolver()
    takers = Takers(
        cast(Dispatcher, left),
        cast(FleetWatch, watch),
        cast(Holders, left),
        resolver=lambda: resolver,
        look_s=0.0,
    )
    looking = asyncio.create_task(takers.run(stop))
    await until(lambda: not left.runs())
    stop.set()
    await looking
    is_free = [told is not None and "a" not in told for told in looks]
    free_at = next((place for place, free in enumerate(is_free) if free), len(looks))
    assert left.turned_away == ([free_at] if free_at < ends_at else [])


# ---- held once it was turned away ---------------------------------------------------------------

OTHER = resolver_of(
    [
        model("org/dense", {"encode": {}}),
        ("bundle", "other", {"name": "other", "backends": ["echo"]}),
        ("pool", "default", {"name": "default", "machine_profiles": ["cpu"]}),
    ],
    epoch=8,
)
"""The bundle of the worker that took the job is gone."""
NOTHING = JOB_ENCODER.encode(HoldingAnswer(job_ids=()))
SLACK_S = 0.5
"""A look at the takers and a step of the story; all other times are at least as far apart."""


async def turned_away(
    patience_s: int, comes_s: float, lost_s: float, other_s: float
) -> tuple[int, float]:
    """The status of a request and the seconds until it. Its worker comes, and loses its bundle
    before it takes the job; at last another worker comes."""
    fast: dict[str, Any] = {"worker_doubt_s": 0.01, "taker_look_s": 0.1, "worker_answer_s": 0.1}
    async with gateway_world(warm=False, **fast) as world:
        world.echo.answer = lambda job: None
        first = heartbeat("w1", life="aa")
        await world.bus.subscribe("sie.holding.default.aa", lambda asked: asked.answer(NOTHING))
        transport = httpx.ASGITransport(app=world.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://g") as http:
            loop = asyncio.get_running_loop()
            began = loop.time()

            async def asked() -> tuple[int, float]:
                response = await http.post(
                    "/v1/encode/org/dense",
                    json={"items": [{"text": "four"}]},
                    headers={"Prefer": f"wait={patience_s}"},
                )
                return response.status_code, loop.time() - began

            if not comes_s:
                await world.hear(first)
            asking = asyncio.create_task(asked())
            await asyncio.sleep(comes_s)
            await world.hear(first)
            await asyncio.sleep(lost_s - comes_s)
            world.resolver = OTHER
            world.echo.answer = echo_result
            await asyncio.sleep(other_s - lost_s)
            await world.hear(heartbeat("w2", life="bb", bundle="other"))
            return await asking


@given(
    patience_s=st.integers(0, 12),
    comes_s=st.integers(0, 4),
    works_s=st.integers(1, 6),
    empty_s=st.integers(1, 6),
)
@example(patience_s=9, comes_s=0, works_s=2, empty_s=3)
@example(patience_s=5, comes_s=3, works_s=1, empty_s=3)
@example(patience_s=6, comes_s=0, works_s=1, empty_s=4)
@settings(deadline=None, max_examples=12)
def test_a_request_that_was_turned_away_is_held_for_what_is_left_of_its_patience(
    patience_s, comes_s, works_s, empty_s
):
    times = list(itertools.accumulate((comes_s, works_s, empty_s)))
    # They are half a second beside the whole seconds of the patience.
    comes, lost, other = (at + 0.5 if at else 0.0 for at in times)
    loop = SimulatedLoop(random.Random(1))  # type: ignore[abstract]
    try:
        found = loop.run_until_complete(turned_away(patience_s, comes, lost, other))
    finally:
        loop.close()
    if comes > patience_s:
        status, ends = 202, float(patience_s)
    elif other < patience_s:
        status, ends = 200, other
    else:
        status, ends = 202, max(lost, patience_s)
    assert (found[0], ends <= found[1] < ends + SLACK_S) == (status, True), (found, ends)


# ---- held while configs change ------------------------------------------------------------------

KINDS = [WorkerKind("default", *each) for each in itertools.product(("cpu", "l4"), ("a", "b"))]
PLACES = st.tuples(st.sampled_from(KINDS), st.sampled_from(["org/dense", "org/next"]))


def placed(kind: WorkerKind, model_id: str, epoch: int) -> Resolver:
    """The registry in which `dense` is a model on one kind of worker."""
    return resolver_of(
        [
            model(model_id, {"encode": {}}, aliases=["dense"]),
            ("bundle", kind.bundle, {"name": kind.bundle, "backends": ["echo"]}),
            ("pool", "default", {"name": "default", "machine_profiles": [kind.machine_profile]}),
        ],
        epoch=epoch,
    )


def waiting_for() -> dict[WorkerKind, float]:
    """The items that each kind of worker is shown to owe."""
    shown = {
        WorkerKind(labels["pool"], labels["machine_profile"], labels["bundle"]): value
        for each in metrics.KIND_IN_FLIGHT_ITEMS.collect()
        for _, labels, value, *_ in each.samples
    }
    return {kind: value for kind, value in shown.items() if value}


def _told(said: list[tuple[WorkerKind, str]], kind: WorkerKind, word: Message) -> None:
    wanted = msgspec.msgpack.decode(word.data)["models"]
    said.extend((kind, each["model_id"]) for each in wanted)


async def held(places: list[tuple[WorkerKind, str]], comes: bool) -> None:
    """A request is held while one registry after another says where its model lies."""
    said = list[tuple[WorkerKind, str]]()
    async with gateway_world(warm=False) as world:
        for kind in KINDS:
            await world.bus.subscribe(wanted_subject(*kind), partial(_told, said, kind))
        world.resolver = placed(*places[0], 8)
        transport = httpx.ASGITransport(app=world.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://g") as http:
            patience = {"Prefer": f"wait={2 * len(places)}"}
            body = {"items": [{"text": "four"}, {"text": "four"}]}
            asking = asyncio.create_task(http.post("/v1/encode/dense", json=body, headers=patience))
            for epoch, place in enumerate(places, start=8):
                world.resolver = placed(*place, epoch)
                # Longer than until its next look.
                await asyncio.sleep(1.5)
                assert waiting_for() == {place[0]: 2}
                assert said[-1:] == [place] or said.count(place) == 1
            assert set(said) == set(places)
            assert len(said) == len(set(said)), "it is news once"
            if comes:
                await world.hear(heartbeat("w1", **places[-1][0]._asdict()))
            answer = await asking
            assert answer.status_code == (200 if comes else 202)
            assert answer.headers["x-sie-config-epoch"].endswith(f".{len(places) + 7}")
            assert waiting_for() == {}


@given(places=st.lists(PLACES, min_size=1, max_size=5), comes=st.booleans())
@example([(KINDS[0], "org/dense"), (KINDS[1], "org/dense"), (KINDS[1], "org/next")], False)
@example([(KINDS[0], "org/dense"), (KINDS[0], "org/dense")], False)
@settings(deadline=None, max_examples=10)
def test_a_request_that_is_held_waits_where_the_newest_config_has_its_model(places, comes):
    """Workers of that kind, and no others, are started for it, and told what to load."""
    loop = SimulatedLoop(random.Random(1))  # type: ignore[abstract]
    try:
        loop.run_until_complete(held(places, comes))
    finally:
        loop.close()
