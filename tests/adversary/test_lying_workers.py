"""Somebody has a worker's credential and lies: in answers, in heartbeats, in dead letters.

What a worker says of its own is believed. It costs nobody else more than its bytes, it stands in no
header and names no series of metrics, and it hides nothing from operators.
"""

import asyncio
import json
import math
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from tests.adversary.test_broker_lines import encoded
from tests.support.gateway_world import World, echo_result, gateway_world, heartbeat
from tests.support.log_world import metric
from tests.support.nats import nats_server
from tests.support.polling import until
from tests.support.provisioned import provide
from tests.support.small_jobs import small_job

from sie_cli.admin.dead_letters import list_letters
from sie_gateway.fleet.fleet import FLEET_BYTES_MAX, HEARTBEAT_BYTES_MAX, Fleet
from sie_runtime.broker.bus import BusSettings, connected_bus
from sie_runtime.streams.dead_letters import DeadLetters
from sie_schemas.arrays import wire_of
from sie_schemas.dead_letters import DeadLetter, dead_letter_of
from sie_schemas.fleet import WorkerKind
from sie_schemas.jobs import (
    JOB_DECODER,
    JOB_ENCODER,
    RESULT_DECODER,
    JobFailure,
    ResultBatch,
)
from sie_schemas.malformed import MALFORMED
from sie_worker.forms.chunking import chunks_of
from sie_worker.intake.peers import PEERS_MAX, Peers

KIND = WorkerKind("default", "cpu", "default")


async def answered(world: World, **lies: Any) -> httpx.Response:
    """The answer to a request whose worker answers so."""
    world.echo.answer = lambda job: echo_result(job, **lies)
    transport = httpx.ASGITransport(app=world.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        return await client.post("/v1/encode/org/dense", json={"items": [{"text": "a"}]})


@pytest.mark.parametrize(
    "shape",
    [
        [2**31, 0],
        [2**20, 0],
        [0, 2**40],
        [0, 2**40, 2**40],
        [2**62, 0, 1],
        [1] * 5,
        [2**64 - 1],
        [-1, 0],
    ],
    ids=str,
)
async def test_an_array_of_rows_without_numbers_fills_no_memory(shape: list[int]) -> None:
    values = wire_of("|i1", shape, b"a" if 0 not in shape else b"")
    answer = msgspec.msgpack.encode({"dense": {"values": values}})
    async with gateway_world() as world:
        told = await answered(world, answers=(answer,))
        # Nothing at all is no rows, and honest.
        status, code = (200, None) if shape == [0, 2**40] else (500, "INFERENCE_ERROR")
        assert (told.status_code, told.headers.get("x-sie-error-code")) == (status, code)
        assert len(told.content) < 1000
        assert (await answered(world)).status_code == 200


LIES: dict[str, dict[str, Any]] = {
    "a header": {"worker_id": "w\r\nset-cookie: a=b"},
    "a bare return": {"worker_id": "w\rset-cookie: a=b"},
    "another alphabet": {"worker_id": "wörker"},
    "a wait that never ends": {"failure": ["RATE_LIMIT", "m", math.inf]},
    "a wait that is no number": {"failure": ["RATE_LIMIT", "m", math.nan]},
    "a wait that was": {"failure": ["RATE_LIMIT", "m", -1.0]},
}


@pytest.mark.parametrize("lie", sorted(LIES))
def test_a_result_that_would_break_the_head_of_an_answer_is_none(lie: str) -> None:
    result = msgspec.to_builtins(echo_result(small_job())) | LIES[lie]
    batch = encoded(ResultBatch(worker_id="w", results=()), results=[result])
    with pytest.raises(MALFORMED):
        RESULT_DECODER.decode(batch)


async def test_codes_that_a_worker_invents_are_told_and_counted_as_one() -> None:
    async with gateway_world() as world:
        for number in range(3):
            failure = JobFailure(f"MINE_{number}\r\nset-cookie: a=b", "no")
            told = await answered(world, failure=failure)
            assert told.headers["x-sie-error-code"] == "INFERENCE_ERROR"
            assert told.status_code == 500
        assert "MINE" not in str(await scraped(world))


async def scraped(world: World) -> bytes:
    transport = httpx.ASGITransport(app=world.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        return (await client.get("/metrics")).content


@pytest.mark.parametrize("field", ["deadline", "published_at"])
@pytest.mark.parametrize("time", [math.nan, math.inf, -1.0, 1e300], ids=str)
def test_a_job_has_no_time_that_no_clock_has(field: str, time: float) -> None:
    with pytest.raises(MALFORMED):
        JOB_DECODER.decode(encoded(small_job(), **{field: time}))


def test_words_of_a_thousand_workers_that_nobody_has_stay_within_their_bytes() -> None:
    fleet, size = Fleet(5.0), HEARTBEAT_BYTES_MAX
    honest = heartbeat("honest", models={"org/dense": {"state": "loaded"}})
    fleet.heard(honest, now=0.0, size=100)
    invented = {f"m{number}": {"state": "loaded"} for number in range(3)}
    for turn in range(3):
        for number in range(1000):
            beat = heartbeat(f"w{number}", models=invented)
            fleet.heard(beat, now=float(turn), size=size)
        fleet.heard(honest, now=float(turn), size=100)
    kept = [each for each in fleet.live(now=2.0) if each.models]
    assert len(kept) <= FLEET_BYTES_MAX // size + 1
    # Who has no room for what it says of models still runs jobs.
    assert len(list(fleet.ready(KIND, now=2.0))) == 1001


async def test_a_heartbeat_of_megabytes_is_not_read() -> None:
    async with gateway_world() as world:
        before = metric("sie_gateway_malformed_messages_total", kind="heartbeat")
        models = {f"{number:030d}": {"state": "loaded"} for number in range(40_000)}
        await world.bus.publish(
            "sie.health.evil", JOB_ENCODER.encode(heartbeat("e", models=models))
        )
        assert metric("sie_gateway_malformed_messages_total", kind="heartbeat") == before + 1


def test_peers_that_nobody_has_are_bounded_and_push_nobody_out() -> None:
    peers = Peers(KIND, silence_s=3.0)
    assert peers.heard(heartbeat("honest", memory_total_bytes=1), now=0.0)
    for number in range(3 * PEERS_MAX):
        peers.heard(heartbeat(f"w{number}"), now=1.0)
    assert not peers.heard(heartbeat("honest", memory_total_bytes=1), now=1.0)
    rooms = peers.rooms(2.0)
    assert (len(rooms), rooms["honest"]) == (PEERS_MAX, 1.0)
    # Once they are silent there is room for others.
    assert len(peers.rooms(5.0)) == 0
    assert peers.heard(heartbeat("late"), now=5.0)


def dead_letter(*, reason: str) -> DeadLetter:
    return dead_letter_of(
        small_job(),
        JOB_ENCODER.encode(small_job()),
        pool="default",
        subject="sie.work.default.cpu.default.m",
        deliveries=1,
        code="INFERENCE_ERROR",
        reason=reason,
        worker_id="w",
        at=1.0,
        keep_payload=False,
    )


@pytest.mark.integration
async def test_a_letter_of_no_time_or_of_megabytes_hides_no_other(tmp_path: Path) -> None:
    honest = dead_letter(reason="no")
    async with nats_server(tmp_path) as url:
        access = BusSettings(nats_url=url)
        async with connected_bus(access, role="worker", process_id="w") as bus:
            await provide(bus)
            for at in (1e300, math.nan, math.inf, -1e300):
                await bus.request("sie.dead.default", encoded(honest, at=at), timeout_s=5)
            for name in ("message", "model_id", "worker_id"):
                long = encoded(honest, **{name: "a" * 1_000_000})
                await bus.request("sie.dead.default", long, timeout_s=5)
            await bus.request("sie.dead.default", encoded(honest), timeout_s=5)
            told = await bus.request("$JS.API.STREAM.INFO.DEAD_LETTERS", b"", timeout_s=5)
            assert json.loads(told)["config"]["max_bytes"] == 2**30
        assert [letter["number"] for letter in await list_letters(access)] == [8]
        # What a worker of ours says is cut before it is written.
        assert len(dead_letter(reason="a" * 10_000).message) == 4096


async def test_a_worker_of_another_pool_answers_no_job_whose_id_it_knows() -> None:
    """Ids of jobs are heard by each worker's user, in questions for what a worker holds."""
    async with gateway_world() as world:
        await world.hear(heartbeat("evil", pool="night"))
        world.echo.answer = lambda _: None
        body = {"items": [{"text": "abc"}]}
        transport = httpx.ASGITransport(app=world.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            asking = [
                asyncio.create_task(
                    client.post("/v1/encode/org/dense", json=body, headers={"x-sie-pool": pool})
                )
                for pool in ("default", "night")
            ]
            await until(lambda: len(world.echo.seen) == 2)
            pools = [subject.split(".")[2] for subject in world.echo.subjects]
            jobs = dict(zip(pools, world.echo.seen, strict=True))
            wanted, own = jobs["default"], jobs["night"]
            forged = echo_result(wanted, answers=echo_result(own).answers, worker_id="evil")
            for result in (forged, echo_result(wanted, failure=JobFailure("INVALID_INPUT", "no"))):
                batch = JOB_ENCODER.encode(ResultBatch(worker_id="evil", results=(result,)))
                # What it has is the inbox of its own pool; the id alone is no place to answer.
                await world.bus.request(own.reply_to, batch)
                assert await world.bus.request("sie.result.g1", batch) == []
                whole = JOB_ENCODER.encode(result)
                for chunk in chunks_of(whole, job_id=wanted.job_id, bytes_max=64):
                    told = ResultBatch(worker_id="evil", results=(), chunk=chunk)
                    await world.bus.request(own.reply_to, JOB_ENCODER.encode(told))
            await world.bus.deliver(echo_result(wanted))
            await world.bus.deliver(echo_result(own))
            answers = [await each for each in asking]
    assert [each.status_code for each in answers] == [200, 200]
    assert answers[0].headers["x-sie-worker"] == "w1"


@pytest.mark.integration
async def test_a_letter_of_another_pool_keeps_none_out(tmp_path: Path) -> None:
    """A worker's user writes letters under the id of a job that it heard, and of one of its own."""
    honest, own = dead_letter(reason="it broke"), "sie.result.g-of-another-pool"
    async with nats_server(tmp_path) as url:
        access = BusSettings(nats_url=url)
        async with connected_bus(access, role="worker", process_id="w") as bus:
            await provide(bus)
            letters = DeadLetters(bus)
            await letters.write(msgspec.structs.replace(honest, pool="evil"), reply_to=own)
            await bus.client.jetstream().publish(
                "sie.dead.evil", b"", headers={"Nats-Msg-Id": honest.job_id}
            )
            for _ in range(2):
                await letters.write(honest, reply_to=small_job().reply_to)
        told = await list_letters(access)
    assert [letter["pool"] for letter in told] == ["evil", "default"]
