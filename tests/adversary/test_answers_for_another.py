"""The user of one pool's workers answers for another pool's: it holds nothing, or is gone.

A gateway asks a worker that fell silent. Who answers in its place has its jobs given out again.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from tests.adversary.test_broker_credentials import stolen
from tests.support.gateway_world import heartbeat
from tests.support.log_world import free_port
from tests.support.mortal_workers import mortal_workers, texts_in_flight
from tests.support.nats import nats_server
from tests.support.polling import until, until_told

from sie_cli.plan.broker import ROLES, BrokerPlan, render
from sie_gateway.fleet.holders import Holders, Unheard
from sie_gateway.fleet.lives import Life
from sie_runtime.broker.bus import BusSettings, connected_bus
from sie_schemas.fleet import HEARTBEAT_DECODER, HoldingAnswer, QueueAnswer, WorkerKind
from sie_worker.intake.holding import Holding

pytestmark = pytest.mark.integration

DAY = WorkerKind("default", "cpu", "default")
NIGHT = "worker-night"
NOTHING = msgspec.msgpack.encode(HoldingAnswer())
DONE = msgspec.msgpack.encode(QueueAnswer())
COUNT = 8
HEARTBEAT_ENCODER = msgspec.msgpack.Encoder()
NOBODY = {"Status": "503"}
"""The broker's word that nobody listens, as anybody may write it."""


@contextlib.asynccontextmanager
async def two_pools(folder: Path) -> AsyncIterator[str]:
    """A broker where each pool's workers have a user, as the chart makes them."""
    plan = BrokerPlan(
        port=free_port(),
        monitor_port=free_port(),
        store=folder / "store",
        passwords={role: role for role in ROLES},
    )
    text = render(plan)
    [line] = [line for line in text.splitlines() if 'user: "worker"' in line]
    other = line.replace("default", "night").replace('"worker"', f'"{NIGHT}"')
    other = other.replace("_INBOX.worker.", f"_INBOX.{NIGHT}.")
    other = other.replace("answer.worker.worker.", f"answer.worker.{NIGHT}.")
    await asyncio.to_thread(folder.mkdir)
    await asyncio.to_thread(
        (folder / "nats.conf").write_text, text.replace(line, f"{line}\n{other}")
    )
    async with nats_server(folder, port=plan.port, config=folder / "nats.conf") as url:
        yield url


async def answer_all(thief: Client, *subjects: str) -> list[str]:
    """Answer every question that is heard, in each way at once, before who is asked does."""
    heard: list[str] = []

    async def lie(message: Msg) -> None:
        heard.append(message.subject)
        if message.reply:
            await thief.publish(message.reply, b"", headers=NOBODY)
            await thief.publish(message.reply, NOTHING)
            await thief.publish(message.reply, DONE)

    for subject in subjects:
        await thief.subscribe(subject, cb=lie)
    await thief.flush()
    return heard


def by(role: str, url: str) -> BusSettings:
    return BusSettings(nats_url=url, nats_user=role, nats_password=role)


async def test_the_user_of_another_pool_neither_hears_nor_answers_what_a_worker_is_asked(
    tmp_path: Path,
) -> None:
    async with (
        two_pools(tmp_path / "nats") as url,
        stolen(url, NIGHT) as evil,
        connected_bus(by("worker", url), role="worker", process_id="w") as bus,
        connected_bus(by("gateway", url), role="gateway", process_id="g") as asker,
    ):
        heard = await answer_all(
            evil.client, "sie.holding.>", "sie.holding.*", "sie.holding.*.>", "sie.holding.*.*"
        )
        asked = Holding(bus, pool="default", held=lambda ids: ids, timeout_s=5)
        await asked.open()
        await bus.client.flush()
        holders = Holders(asker, answer_s=1.0, queue_s=5.0)
        living = Life("w", asked.life, DAY)
        for number in range(20):
            job = f"j{number}"
            assert await holders.held([living], [job]) == frozenset({job})
        assert await holders.handed_out(living, "none") is None
        await asked.close()
        await bus.client.flush()
        # Who listens in a dead one's place would have it taken for one that is busy.
        assert await holders.ask(living) is Unheard.GONE
        await evil.settled()
        assert heard == []


async def test_who_lies_for_a_worker_of_its_own_pool_has_its_jobs_run_twice_and_answered_once(
    tmp_path: Path,
) -> None:
    """It may give any job of its pool back by itself, so that this is no more than it may do."""
    quick = {"worker-doubt-s": "0.4", "worker-dead-s": "60", "taker-look-s": "0.05"}
    async with mortal_workers(tmp_path, 2, gateway=quick) as cluster:
        flight = await texts_in_flight(cluster, COUNT)
        # Anybody may do all at this broker, as a worker's user may for its pool.
        evil = Client()
        await evil.connect(cluster.broker.url)
        lives = await lives_of(evil)
        name = f"worker-{cluster.pairs.index(flight.holder)}"
        heard = await answer_all(evil, f"sie.holding.default.{lives[name]}")
        leaves = heartbeat(name, life=lives[name], ready=False, leaving=True)

        async def given_back() -> float:
            return await cluster.counted("sie_gateway_jobs_given_back_total", why="over")

        async def more_heard(than: int) -> None:
            await until(lambda: len(heard) > than)

        while not await given_back():
            # The one that is asked answers too, and the first answer counts.
            asked = len(heard)
            await evil.publish(f"sie.health.{name}", HEARTBEAT_ENCODER.encode(leaves))
            await more_heard(asked)
            with contextlib.suppress(AssertionError):
                await until_told(given_back, within_s=1)
        await evil.close()
        for pair in cluster.pairs:
            pair.execution.resume()
        ended = {text: await asking for text, asking in flight.asking.items()}
        wrong = [text for text, response in ended.items() if not cluster.right(response, text)]
        assert wrong == [], [ended[text].text for text in wrong]

        async def nothing_left() -> bool:
            return await cluster.left() == (0, 0)

        await until_told(nothing_left)


async def lives_of(client: Client) -> dict[str, str]:
    """The life of each worker, as its heartbeat tells it to whoever may hear them."""
    lives: dict[str, str] = {}

    async def hear(message: Msg) -> None:
        told = HEARTBEAT_DECODER.decode(message.data)
        lives[told.worker_id] = told.life

    await client.subscribe("sie.health.*", cb=hear)
    await until(lambda: len(lives) == 2)
    return lives
