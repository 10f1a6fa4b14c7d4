"""Somebody writes an end of line of the broker's protocol into a word that another role speaks by.

What follows such an end is a command in that role's name. So no subject holds one, whoever made it,
and what is told of a place for an answer is read as no other place.
"""

import asyncio
import json
import time
from collections.abc import Sized
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.adversary.test_broker_credentials import guarded, stolen
from tests.support.gateway_world import heartbeat
from tests.support.polling import until, until_told
from tests.support.provisioned import provided_consumer
from tests.support.small_jobs import small_job

from sie_runtime.broker.bus import Bus, BusSettings, BusUnavailable, Message, connected_bus
from sie_runtime.streams.dead_letters import DeadLetters, DeadLetterSettings
from sie_runtime.streams.sweeping import Sweeper, SweepSettings
from sie_schemas.fleet import HEARTBEAT_DECODER, QUEUE_ASKED_DECODER, HandedOutAsked
from sie_schemas.jobs import JOB_DECODER, subject
from sie_schemas.malformed import MALFORMED

pytestmark = pytest.mark.integration

MODEL = "org/one"
LANE = {"pool": "default", "machine_profile": "cpu", "bundle": "default", "model_id": MODEL}
COMMAND = "x 0\r\n\r\nPUB $JS.API.STREAM.DELETE.OTHER _INBOX.config.e 0\r\n\r\nPUB sie.result.z"
"""A subject that ends its line, and a command behind it."""
QUICK = DeadLetterSettings(dead_letter_timeout_s=0.5)
LONG = ["sie.holding." + "p" * 5000, "sie.holding." + "\U0001f600" * 1100]
"""As from a pool's name that a worker's user made up: the broker ends a connection for them."""
LINES = [
    *(f"sie.result.{COMMAND}", "sie.result.a b", "sie.result.a\n", "", "sie.result.a\tb 3"),
    *LONG,
]


def encoded(told: Any, **changed: Any) -> bytes:
    """A message as whoever lies writes it: no type of ours is asked."""
    return msgspec.msgpack.encode(msgspec.to_builtins(told) | changed)


async def test_a_job_of_a_gateways_user_has_sie_config_say_nothing_in_its_own_name(
    tmp_path: Path,
) -> None:
    """The job is pulled and given up, so that sie-config tells its gateway."""
    async with (
        guarded(tmp_path / "nats") as url,
        stolen(url, "gateway") as gateway,
        stolen(url, "worker") as worker,
        stolen(url, "spy") as spy,
        connected_bus(config(url), role="config", process_id="c") as bus,
    ):
        await provided_consumer(bus, LANE, queue_deliveries_max=1)
        assert await spy.ask("$JS.API.STREAM.CREATE.OTHER", {"name": "OTHER", "subjects": ["o"]})
        pulled = await worker.overhear("_INBOX.worker.evil")
        consumer = "cpu_default_org~sone"
        heard = await spy.overhear("sie.result.>", "sie.config.>", "$JS.API.STREAM.DELETE.>")
        # More than there are: the broker gives a job up when somebody wants it once more.
        await worker.client.publish(
            f"$JS.API.CONSUMER.MSG.NEXT.WORK_POOL_default.{consumer}",
            b'{"batch":9,"expires":10000000000}',
            reply="_INBOX.worker.evil",
        )
        places = [f"sie.result.{COMMAND}", "sie.config.resync.gateway.g1", "sie.result.g1"]
        for number, place in enumerate(places):
            job = small_job(job_id=f"j{number}.0", model_id=MODEL, deadline=time.time() + 60)
            assert await gateway.ask(
                subject("default", "cpu", "default", MODEL), encoded(job, reply_to=place)
            )
            await until(partial(has_more_than, pulled, number))
            await worker.client.publish(pulled[-1].reply, b"-NAK")
        stop = asyncio.Event()
        sweeper = Sweeper(bus, DeadLetters(bus, QUICK), SweepSettings(sweep_interval_s=0.2))
        sweeping = asyncio.create_task(sweeper.run(stop))
        await until_told(lambda: nothing_waits(bus))
        stop.set()
        await sweeping
        await spy.settled()
        assert {message.subject for message in heard} == {"sie.result.g1"}
        assert await spy.ask("$JS.API.STREAM.INFO.OTHER") is not None


def has_more_than(messages: Sized, number: int) -> bool:
    return len(messages) > number


def config(url: str) -> BusSettings:
    return BusSettings(nats_url=url, nats_user="config", nats_password="config")


def worker(url: str) -> BusSettings:
    return BusSettings(nats_url=url, nats_user="worker", nats_password="worker")


async def nothing_waits(bus: Bus) -> bool:
    answer = await bus.request("$JS.API.STREAM.INFO.WORK_POOL_default", b"", timeout_s=2)
    return bool(json.loads(answer)["state"]["messages"] == 0)


async def test_no_way_to_the_broker_takes_a_subject_that_ends_its_line(tmp_path: Path) -> None:
    async with (
        guarded(tmp_path / "nats") as url,
        connected_bus(config(url), role="config", process_id="c") as bus,
    ):
        broker = bus.server_id
        for line in LINES:
            for way in (
                bus.request(line, b"", timeout_s=0.2),
                bus.publish(line, b""),
            ):
                with pytest.raises(BusUnavailable, match="invalid subject"):
                    await way
            with pytest.raises(BusUnavailable, match="invalid subject"):
                bus.send(line, b"")
            with pytest.raises(BusUnavailable, match="invalid subject"):
                bus.send("sie.result.a", b"", reply=line or " ")
            with pytest.raises(BusUnavailable, match="invalid subject"):
                bus.send_to_all([b"sie.result.a", line.encode()], b"")
        await bus.request("$JS.API.INFO", b"", timeout_s=5)
        assert (bus.connected, bus.server_id) == (True, broker)


async def test_who_answered_before_cannot_answer_the_next_question(tmp_path: Path) -> None:
    async with (
        guarded(tmp_path / "nats") as url,
        connected_bus(config(url), role="config", process_id="c") as asking,
        connected_bus(worker(url), role="worker", process_id="w") as evil,
        connected_bus(worker(url), role="worker", process_id="x") as honest,
    ):
        places: list[str] = []

        async def note(message: Message) -> None:
            places.append(message.reply)
            await message.respond(b"first")

        async def answer(message: Message) -> None:
            for place in places:
                above, _, last = place.rpartition(".")
                for guess in (*range(40), *(f"{int(last, 16) + more:x}" for more in range(40))):
                    evil.send(f"{above}.{guess}", b"forged")
            await evil.client.flush()
            await message.respond(b"true")

        await evil.subscribe("sie.config.recount.worker.w", note)
        await honest.subscribe("sie.config.recount.worker.x", answer)
        await evil.client.flush()
        await honest.client.flush()
        for name, wanted in (("w", b"first"), ("x", b"true")) * 4:
            asked = f"sie.config.recount.worker.{name}"
            assert await asking.request(asked, b"", timeout_s=20) == wanted
        assert len(set(places)) == len(places)


@pytest.mark.parametrize(
    "place", [*LINES, "sie.result.*", "sie.result.a.b", "sie.health.w", "$JS.API.INFO"]
)
def test_a_job_is_answered_at_an_inbox_of_gateways_and_at_no_other_subject(place: str) -> None:
    with pytest.raises(MALFORMED):
        JOB_DECODER.decode(encoded(small_job(), reply_to=place))


@pytest.mark.parametrize("consumer", ["a\n", "a b", "a.b", "*", ">"])
def test_a_question_of_a_gateway_names_one_consumer(consumer: str) -> None:
    with pytest.raises(MALFORMED):
        QUEUE_ASKED_DECODER.decode(msgspec.msgpack.encode(HandedOutAsked(consumer=consumer)))


@pytest.mark.parametrize("life", [COMMAND, "a b", "a\n", "*", ">", "a.b", "a" * 65])
def test_a_worker_whose_life_is_no_word_is_not_heard_and_so_not_asked(life: str) -> None:
    with pytest.raises(MALFORMED):
        HEARTBEAT_DECODER.decode(encoded(heartbeat("evil"), life=life))
