"""Dead letters: from a job that fails for good to the operator who runs it again."""

import asyncio
import json
import time
from pathlib import Path

import msgspec
import pytest
from tests.support.nats import nats_server
from tests.support.polling import until, until_told
from tests.support.provisioned import provide, provided_consumer
from tests.support.scripted_execution import LETHAL
from tests.support.small_jobs import small_job
from tests.support.worker_world import WorkerWorld, model_document, resolver_of, worker_world
from typer.testing import CliRunner

from sie_cli.admin.dead_letters import drop_letters, list_letters, retry_letter
from sie_cli.admin.dlq import app as dlq
from sie_runtime.broker.bus import Bus, BusSettings, Message, connected_bus
from sie_runtime.streams.dead_letters import DeadLetters, DeadLetterSettings
from sie_runtime.streams.deliveries import Delivery, WorkQueueSettings
from sie_runtime.streams.sweeping import Sweeper, SweepSettings
from sie_runtime.streams.work_queue import WorkQueue
from sie_schemas.dead_letters import dead_letter_of
from sie_schemas.errors import FixRequest, OurFault
from sie_schemas.items import Item
from sie_schemas.jobs import JOB_ENCODER, RESULT_DECODER, Job, JobResult, ResultReceipt, subject

pytestmark = pytest.mark.integration

MODEL = "org/one"
RESOLVER = resolver_of(1, model_document(MODEL))


@pytest.mark.parametrize("kept", [True, False])
async def test_a_job_that_kills_the_device_each_time_has_a_letter_with_its_contents_only_when_told(
    tmp_path: Path, kept: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with worker_world(tmp_path, queue_deliveries_max=2, dead_letter_payloads=kept) as world:
        world.advance(RESOLVER)
        access = _access(world)
        assert await list_letters(access) == []
        job = await world.publish(RESOLVER, MODEL, LETHAL)
        result = await world.result_of(job)
        assert result.failure is not None
        await until(lambda: world.worker.state()["items_in_hand"] == 0)
        [line] = [vars(each) for each in caplog.records if each.name == "sie_worker.jobs.results"]
        assert (line["request_id"], line["job_id"]) == (job.request_id, job.job_id)
        assert (line["code"], line["model"]) == ("INFERENCE_ERROR", MODEL)
        assert line["epoch"] == str(RESOLVER.position)
        assert line["model_revision"] == job.model_revision
        assert LETHAL not in str(line)
        [letter] = await list_letters(access)
        assert letter["job_id"] == job.job_id
        assert (letter["code"], letter["worker_id"]) == ("INFERENCE_ERROR", "worker-1")
        assert (letter["deliveries"], letter["payload_kept"]) == (2, kept)
        assert LETHAL not in str(letter)
        if not kept:
            with pytest.raises(FixRequest, match="no payload"):
                await retry_letter(access, letter["number"], within_s=5)
            assert await _dlq(access, "drop", str(letter["number"])) == "dropped 1\n"
            assert await list_letters(access) == []
            return
        number = str(letter["number"])
        assert MODEL in await _dlq(access, "ls")
        assert json.loads(await _dlq(access, "ls", "-o", "json")) == [letter]
        assert "contents" not in json.loads(await _dlq(access, "show", number, "-o", "json"))
        shown = json.loads(await _dlq(access, "show", number, "--contents", "-o", "json"))
        assert shown["contents"]["items"][0]["text"] == LETHAL
        with pytest.raises(OurFault, match="failed again"):
            await retry_letter(access, letter["number"], within_s=8)
        assert letter["number"] in [each["number"] for each in await list_letters(access)]


async def test_a_letter_is_run_again_and_dropped_once_the_cause_is_mended(tmp_path: Path) -> None:
    async with worker_world(
        tmp_path, queue_deliveries_max=1, executor_grace_s=0.1, dead_letter_payloads=True
    ) as world:
        world.advance(RESOLVER)
        access = _access(world)
        world.execution.hold()
        job = await world.publish(RESOLVER, MODEL, "abc")
        await until(lambda: world.execution.batches)
        await world.execution.die()
        assert (await world.result_of(job)).failure is not None
        [letter] = await list_letters(access)
        world.execution.let_go()
        await world.execution.start()
        await until(lambda: world.worker.state()["executor"])
        done = await _dlq(access, "retry", str(letter["number"]), "--within-s", "8")
        assert "run again by worker-1" in done
        assert await list_letters(access) == []
        with pytest.raises(FixRequest, match="no dead letter"):
            await drop_letters(access, [letter["number"]])


async def test_a_letter_that_cannot_be_read_hides_no_other_and_can_be_dropped(
    tmp_path: Path,
) -> None:
    async with nats_server(tmp_path) as url:
        access = BusSettings(nats_url=url)
        async with connected_bus(access, role="operator", process_id="test") as bus:
            await provide(bus)
            assert await list_letters(access) == []
            await bus.request("sie.dead.default", b"\xc1", timeout_s=5)
            letters = DeadLetters(bus)
            with pytest.raises(OurFault, match="dead letter 1 cannot be read"):
                await letters.get(1)
        assert await list_letters(access) == []
        await drop_letters(access, [1])
        with pytest.raises(FixRequest, match="no dead letter 1"):
            await drop_letters(access, [1])


async def test_a_letter_that_is_not_there_keeps_no_other_from_being_dropped(tmp_path: Path) -> None:
    async with nats_server(tmp_path) as url:
        access = BusSettings(nats_url=url)
        async with connected_bus(access, role="operator", process_id="test") as bus:
            await provide(bus)
            for _ in range(3):
                await bus.request("sie.dead.default", b"\xc1", timeout_s=5)
            with pytest.raises(FixRequest, match="no dead letter 9, 7; 2 others dropped"):
                await drop_letters(access, [9, 1, 7, 3, 3])
            with pytest.raises(FixRequest, match="no dead letter 1, 3; 1 other dropped"):
                await drop_letters(access, [1, 2, 3])


@pytest.mark.parametrize(
    "place", ["sie.stolen", "sie.work.a.b.c", "sie.work.a.b.c.>", "sie.work.a.b.c.d\r\nPUB e 0\r\n"]
)
async def test_a_forged_letter_is_run_on_no_subject_but_a_queue(tmp_path: Path, place: str) -> None:
    job = small_job(job_id="j.0", log_id="0" * 32, epoch=1, model_id=MODEL, model_revision="r")
    letter = dead_letter_of(
        job,
        JOB_ENCODER.encode(job),
        pool="default",
        subject=place,
        deliveries=1,
        code="INFERENCE_ERROR",
        reason="forged",
        worker_id="w",
        at=1.0,
        keep_payload=True,
    )
    async with nats_server(tmp_path) as url:
        access = BusSettings(nats_url=url)
        async with connected_bus(access, role="operator", process_id="test") as bus:
            await provide(bus)
            letters = DeadLetters(bus)
            await letters.write(letter, reply_to=job.reply_to)
            await letters.write(
                msgspec.structs.replace(
                    letter, job_id="k.0", subject="sie.work.a.b.c.d", payload=b"\xc1"
                ),
                reply_to=job.reply_to,
            )
        with pytest.raises(OurFault, match="dead letter 1 names no queue"):
            await retry_letter(access, 1, within_s=5)
        with pytest.raises(OurFault, match="the job of dead letter 2 cannot be read"):
            await retry_letter(access, 2, within_s=5)


async def test_a_job_that_nobody_waits_for_any_more_has_no_letter(tmp_path: Path) -> None:
    async with worker_world(tmp_path, queue_deliveries_max=1) as world:
        world.advance(RESOLVER)
        world.execution.hold()
        await world.publish(RESOLVER, MODEL, "abc", deadline=time.time() + 1.5)
        await until(lambda: world.execution.batches)
        await world.inbox.close()
        world.execution.let_go()
        await until(lambda: world.worker.state()["items_in_hand"] == 0)
        access = _access(world)
        assert await list_letters(access) == []


async def test_a_job_that_takes_its_workers_down_is_swept_answered_and_gone_from_the_queue(
    tmp_path: Path,
) -> None:
    place = {"pool": "default", "machine_profile": "cpu", "bundle": "default", "model_id": MODEL}
    async with nats_server(tmp_path) as url:
        bus = await Bus.connect(BusSettings(nats_url=url), role="gateway", process_id="g")
        assert await bus.wait_connected(5)
        letters = DeadLetters(bus, DeadLetterSettings(dead_letter_payloads=True))
        sweeper = Sweeper(bus, letters, SweepSettings(sweep_interval_s=0.2, sweep_retry_s=0.05))
        queue = WorkQueue(bus, WorkQueueSettings(queue_ack_wait_s=0.2, queue_deliveries_max=2))
        results: list[JobResult] = []
        deliveries: list[Delivery] = []

        async def take(message: Message) -> None:
            batch = RESULT_DECODER.decode(message.data)
            results.extend(batch.results)
            receipt = ResultReceipt(job_ids=tuple(each.job_id for each in batch.results))
            await message.respond(JOB_ENCODER.encode(receipt))

        await bus.subscribe("sie.result.g", take)
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(sweeper.run(stop))
            await provided_consumer(bus, place, queue_ack_wait_s=0.2, queue_deliveries_max=2)
            # A worker that pulls, and says nothing any more.
            puller = await queue.open_puller(on_job=deliveries.append, demand=lambda: 1, **place)
            jobs = {
                # A text that is not UTF-8.
                "none.0": JOB_ENCODER.encode(_job("none.0", 0.0)).replace(b"abc", b"\xff" * 3),
                "kept.0": JOB_ENCODER.encode(_job("kept.0", time.time() + 60.0)),
                "late.0": JOB_ENCODER.encode(_job("late.0", time.time())),
            }
            for name, data in jobs.items():
                await queue.publish_job(
                    subject=subject("default", "cpu", "default", MODEL),
                    data=data,
                    job_id=name,
                )
            await until(lambda: results)
            assert [each.job_id for each in results] == ["kept.0"]
            assert results[0].failure is not None
            assert results[0].failure.code == "INFERENCE_ERROR"
            await until_told(lambda: _is_empty(bus, "WORK_POOL_default"))
            found = [each async for each in letters.read()]
            assert [(each.letter.job_id, each.letter.worker_id) for each in found] == [
                ("kept.0", "")
            ]
            await puller.close()
            stop.set()
        await bus.close()


async def _dlq(access: BusSettings, *words: str) -> str:
    """The output of `sie dlq`; a loop of its own, as in a shell."""
    told = ["--nats-url", access.nats_url]
    done = await asyncio.to_thread(CliRunner().invoke, dlq, [*words, *told])
    assert done.exit_code == 0, done.exception
    return done.stdout


def _access(world: WorkerWorld) -> BusSettings:
    connected = world.bus.client.connected_url
    assert connected is not None
    return BusSettings(nats_url=connected.geturl())


def _job(name: str, deadline: float) -> Job:
    return Job(
        job_id=name,
        request_id=name,
        first_item=0,
        operation="encode",
        log_id="1" * 32,
        epoch=1,
        model_id=MODEL,
        profile="default",
        model_revision="r",
        items=(Item(text="abc"),),
        reply_to="sie.result.g",
        deadline=deadline,
        published_at=time.time(),
    )


async def _is_empty(bus: Bus, stream: str) -> bool:
    answer = await bus.request(f"$JS.API.STREAM.INFO.{stream}", b"", timeout_s=2)
    return bool(msgspec.json.decode(answer)["state"]["messages"] == 0)
