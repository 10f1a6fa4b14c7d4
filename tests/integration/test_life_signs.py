"""A killed replica is told as gone to who looks 2 s later; a slow one, or one on its way, is not.

On a real broker, with the clock as an argument: the ages are the reports', not this machine's.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from tests.support.log_world import connected, writer
from tests.support.nats import nats_server
from tests.support.reports import bounded_reports, report_at

from sie_config.replicas.life_signs import LifeSigns
from sie_config.replicas.reports import Reports
from sie_core.chain import Position
from sie_runtime.broker.bus import Bus, Message, NoResponders
from sie_schemas.errors import TimeRanOut

pytestmark = pytest.mark.integration

HEAD = Position("a" * 32, 7, "7" * 64, "d" * 64, 1)
SOON_S = 2.0
TTL_S = 10.0
ASKED_MAX = 64
Role = Literal["gateway", "worker"]


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    async with nats_server(tmp_path / "nats") as url:
        yield url


def say(reports: Reports, role: str, name: str, at: float, **more: object) -> None:
    told = report_at(HEAD, role=role, id=name, **more)
    reports.receive(told, at, subject=f"sie.config.report.{role}.{name}")
    assert reports.malformed == 0


@dataclass
class Clock:
    """The time that the test says."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Told:
    """The signs of life of one broker, as a writer would look for them."""

    signs: LifeSigns
    bus: Bus
    clock: Clock
    reports: Reports = field(repr=False)

    async def gone(self) -> set[str]:
        await self.signs.look()
        rows = self.reports.view(HEAD, self.clock())["replicas"]
        assert all(row["live"] for row in rows), "its silence alone would tell it"
        return {row["id"] for row in rows if row["gone"]}


@contextlib.asynccontextmanager
async def looking(
    url: str,
    *,
    settle_s: float = 0.0,
    within_s: float = 20.0,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncIterator[Told]:
    clock = Clock()
    reports = bounded_reports(ttl_s=TTL_S, forget_s=1000.0, replicas_max=2000)
    async with connected(url, "config") as bus:
        assert await bus.wait_connected(10)
        signs = LifeSigns(
            bus,
            reports,
            clock=clock,
            again_s=0.0,
            settle_s=settle_s,
            within_s=within_s,
            asked_max=ASKED_MAX,
            sleep=sleep,
        )
        yield Told(signs, bus, clock, reports)


@contextlib.asynccontextmanager
async def replica(url: str, role: Role, name: str, *, answers: bool = True) -> AsyncIterator[Bus]:
    """Somebody at the broker who answers, or hangs with the connection open."""

    async def asked(message: Message) -> None:
        if answers:
            await message.respond(b"")

    async with connected(url, role) as bus:
        assert await bus.wait_connected(10)
        await bus.subscribe(f"sie.config.tail.{role}.{name}", asked)
        await bus.client.flush(10)
        yield bus


async def unheard(bus: Bus, role: str, name: str) -> None:
    """Wait until the broker knows that somebody's connection is closed."""
    with pytest.raises(NoResponders):
        while True:
            # What was sent to a connection that is being closed is never answered.
            with contextlib.suppress(TimeRanOut):
                await bus.request(f"sie.config.tail.{role}.{name}", b"", timeout_s=0.5)


@pytest.mark.parametrize("role", ["gateway", "worker"])
async def test_of_the_killed_and_the_well_only_the_killed_is_gone_within_2_s(url, role):
    async with looking(url) as told, replica(url, role, "well"):
        async with replica(url, role, "killed"):
            for name in ("well", "killed"):
                say(told.reports, role, name, told.clock())
            told.clock.now += SOON_S
            assert await told.gone() == set()
        await unheard(told.bus, role, "killed")
        told.clock.now += SOON_S
        assert await told.gone() == {"killed"}
        say(told.reports, role, "killed", told.clock(), life="next")
        assert await told.gone() == set(), "its next life spoke"


async def test_one_that_hangs_with_its_connection_open_is_not_gone(url):
    async with looking(url, within_s=0.15) as told, replica(url, "worker", "w1", answers=False):
        say(told.reports, "worker", "w1", told.clock())
        for _ in range(3):
            told.clock.now += SOON_S
            assert await told.gone() == set()


async def test_one_that_leaves_on_purpose_is_neither_gone_nor_counted(url):
    async with looking(url) as told:
        say(told.reports, "worker", "w1", told.clock())
        say(told.reports, "worker", "w1", told.clock(), leaving=True)
        told.clock.now += SOON_S
        assert await told.gone() == set()
        assert told.reports.view(HEAD, told.clock())["replicas"] == []


async def test_one_that_comes_back_to_the_broker_between_two_questions_is_not_gone(url):
    unheard_once, is_back = asyncio.Event(), asyncio.Event()

    async def until_it_is_back(_again_s: float) -> None:
        unheard_once.set()
        await is_back.wait()

    async with looking(url, sleep=until_it_is_back) as told:
        say(told.reports, "gateway", "g1", told.clock())
        told.clock.now += SOON_S
        found = asyncio.create_task(told.gone())
        await unheard_once.wait()
        async with replica(url, "gateway", "g1"):
            is_back.set()
            assert await found == set()


def test_one_that_spoke_after_it_was_asked_for_is_not_gone():
    reports = bounded_reports(ttl_s=TTL_S, forget_s=1000.0, replicas_max=10)
    say(reports, "gateway", "g1", 100.0, life="first")
    say(reports, "gateway", "g1", 102.0, life="next")
    reports.kept.note_gone("gateway", "g1", asked_at=101.0)
    assert not any(row["gone"] for row in reports.view(HEAD, 102.0)["replicas"])
    reports.kept.note_gone("gateway", "g1", asked_at=103.0)
    assert all(row["gone"] for row in reports.view(HEAD, 103.0)["replicas"])


async def test_after_a_brokers_restart_nobody_is_gone_until_all_had_time_to_come_back(tmp_path):
    back = asyncio.Event()
    async with contextlib.AsyncExitStack() as world:
        async with nats_server(tmp_path / "nats") as url:
            told = await world.enter_async_context(looking(url, settle_s=3.0))
            told.bus.on_reconnect(back.set)
            back.clear()
        async with nats_server(tmp_path / "nats", port=int(url.rsplit(":", 1)[1])):
            await back.wait()
            say(told.reports, "gateway", "g1", told.clock())
            told.clock.now += SOON_S
            assert await told.gone() == set(), "it may be on its way"
            told.clock.now += SOON_S
            assert await told.gone() == {"g1"}


async def test_with_1000_quiet_replicas_few_are_asked_and_those_that_waited_longest_first(url):
    asked: list[str] = []

    async def answer(message: Message) -> None:
        asked.append(message.subject.rsplit(".", 1)[1])
        await message.respond(b"")

    async with looking(url) as told, connected(url, "worker") as workers:
        assert await workers.wait_connected(10)
        await workers.subscribe("sie.config.tail.worker.*", answer)
        await workers.client.flush(10)
        say(told.reports, "gateway", "killed", told.clock())
        # As reports come: evenly, each two seconds.
        for number in range(1000):
            say(told.reports, "worker", f"w{number}", told.clock() + number / 500)
        told.clock.now += SOON_S
        assert await told.gone() == {"killed"}
        assert sorted(asked, key=lambda name: int(name[1:])) == [f"w{n}" for n in range(63)]
        asked.clear()
        told.clock.now += 0.1
        await told.signs.look()
        assert asked == [], "a look that was made just now is shared"
        told.clock.now += 0.2
        await told.signs.look()
        assert {f"w{n}" for n in range(63, 127)} == set(asked), "each in its turn"


async def test_a_reader_of_the_replicas_is_told_at_once_and_the_ages_show_it(tmp_path, url):
    async with writer(tmp_path / "data", url) as one, replica(url, "worker", "w1"):
        now = one.plane.now()
        head = one.plane.sequencer.position
        # Past what the writer waits after its own connection to the broker.
        one.plane.replicas.life_signs = LifeSigns(
            one.plane.bus,
            one.plane.replicas.reports,
            clock=one.plane.now,
            settle_s=0.0,
            within_s=20.0,
        )
        for role, name in (("worker", "w1"), ("gateway", "g1")):
            subject = f"sie.config.report.{role}.{name}"
            told = report_at(head, role=role, id=name)
            one.plane.replicas.reports.receive(told, now - SOON_S, subject=subject)
        rows = (await one.http.get("/v1/configs/replicas")).json()["replicas"]
        assert [(row["id"], row["gone"], row["live"]) for row in rows] == [
            ("g1", True, True),
            ("w1", False, True),
        ]
