"""`sie log` against real processes and a real broker, and killed in the middle of its work."""

import asyncio
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.config_process import config_process, published
from tests.support.config_writer import model
from tests.support.log_tools import closed_log, run_log, start_log, states
from tests.support.nats import nats_server

from sie_config.offline.backup import manifest_path
from sie_runtime.broker.bus import Bus, BusSettings
from sie_runtime.streams.log_stream import LogStream

MODELS = "/v1/configs/models"


@pytest.fixture(scope="module")
def long_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log that takes long enough to verify that a process can be killed meanwhile."""
    return closed_log(tmp_path_factory.mktemp("long"), 2500)[0]


def kill_when(process: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    """Kill it the moment the condition holds."""
    ends_at = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < ends_at
    process.kill()
    process.communicate()


@pytest.mark.integration
def test_a_backup_that_was_killed_is_no_backup_and_the_next_one_is(tmp_path, long_log):
    target = tmp_path / "b.sqlite"
    killed = start_log("backup", target, long_log)
    kill_when(killed, lambda: any(tmp_path.glob(".partial-*")))
    assert not target.exists()
    assert run_log("restore", target, tmp_path / "new")[0] == 3
    status, report = run_log("backup", target, long_log)
    assert (status, report["sound"]) == (0, True)
    assert manifest_path(target).exists()


@pytest.mark.integration
@pytest.mark.parametrize("discard", [(), ("--discard-after", "2000")])
def test_a_restore_that_was_killed_left_no_log_and_the_next_one_does(tmp_path, long_log, discard):
    backup, folder = tmp_path / "b.sqlite", tmp_path / "new"
    assert run_log("backup", backup, long_log)[0] == 0
    middle = "log.sqlite.restoring" + (".anew" if discard else "")
    killed = start_log("restore", backup, folder, *discard)
    kill_when(killed, (folder / middle).exists)
    assert not (folder / "log.sqlite").exists()
    status, report = run_log("restore", backup, folder, *discard)
    assert (status, report["position"]["epoch"]) == (0, 2001 if discard else 2503)
    assert {p.name for p in folder.iterdir()} == {
        "log.sqlite",
        "log.sqlite.head",
        "log.sqlite.lock",
        # The old key is not here, so what discards begins a log under a new one.
        *(["log.sqlite.key"] if discard else []),
    }
    assert run_log("verify", folder)[0] == 0


@pytest.mark.integration
async def test_a_compaction_that_was_killed_is_finished_by_the_next_start(tmp_path):
    data = tmp_path / "data"
    async with nats_server(tmp_path / "nats") as nats_url:
        async with config_process(data, nats_url) as (process, client):
            for number in range(20):
                await client.post(MODELS, json=model(f"m{number}"))
            head = (await client.get("/v1/configs/epoch")).json()
            await published(client, head["epoch"])
            asking = asyncio.create_task(client.post("/v1/configs/compact", json={"keep": 5}))
            async with asyncio.timeout(60):
                # Asked on other connections while the first is under way.
                while (await client.get("/v1/configs/epoch")).json()["low_water"] == 1:
                    pass
            process.kill()
            await process.wait()
            await asyncio.gather(asking, return_exceptions=True)
        async with config_process(data, nats_url) as (_, client):
            epoch = (await client.get("/v1/configs/epoch")).json()
            assert epoch["low_water"] == head["epoch"] - 4
            await published(client, epoch["epoch"])
            assert await first_on_stream(nats_url, head["log_id"]) == head["epoch"] - 4
            for number in range(1, head["epoch"] + 1):
                assert (await client.get(f"/v1/configs/entries/{number}")).status_code == 200
            await client.post(f"{MODELS}?ack=stream", json=model("after"))
            assert await first_on_stream(nats_url, head["log_id"]) == head["epoch"] - 4
            arguments = ("verify", data, "--nats-url", nats_url)
            status, report = await asyncio.to_thread(run_log, *arguments)
            assert (status, states(report)["stream"]) == (0, "ok")


async def first_on_stream(nats_url: str, log_id: str) -> int:
    bus = await Bus.connect(BusSettings(nats_url=nats_url), role="config", process_id="t")
    try:
        assert await bus.wait_connected(5)
        tip = await LogStream(bus, log_id).tip()
        assert tip is not None
        assert not tip.bounded
        return tip.first
    finally:
        await bus.close()


@pytest.mark.integration
async def test_a_trim_that_was_interrupted_is_noticed_and_lifted(tmp_path):
    async with nats_server(tmp_path / "nats") as nats_url:
        bus = await Bus.connect(BusSettings(nats_url=nats_url), role="config", process_id="t")
        assert await bus.wait_connected(5)
        stream = LogStream(bus, "a" * 32)
        await stream.ensure(first_epoch=1, metadata={})
        for epoch in range(1, 9):
            await stream.append(epoch, b"%d" % epoch)
        info = await bus.client.jetstream().stream_info("CFG_" + "a" * 32)
        info.config.max_msgs = 4
        await bus.client.jetstream().update_stream(info.config)
        tip = await stream.tip()
        assert tip is not None
        assert (tip.first, tip.bounded) == (5, True)
        tip = await stream.trim(3)
        assert (tip.first, tip.last, tip.bounded) == (5, 8, False)
        await stream.append(9, b"9")
        tip = await stream.trim(99)
        assert (tip.first, tip.last, tip.bounded, tip.sound) == (9, 9, False, True)
        await stream.append(10, b"10")
        await bus.close()


@pytest.mark.integration
async def test_a_restore_takes_back_from_the_stream_what_the_backup_lacks(tmp_path):
    data = tmp_path / "data"
    async with nats_server(tmp_path / "nats") as nats_url:
        async with config_process(data, nats_url) as (_, client):
            await client.post(MODELS, json=model("before"))
            backup = tmp_path / "b.sqlite"
            assert (await asyncio.to_thread(run_log, "backup", backup, data))[0] == 0
            key = {"Idempotency-Key": "k"}
            first = await client.post(f"{MODELS}?ack=stream", json=model("keyed"), headers=key)
        (tmp_path / "new").mkdir()
        shutil.copy(data / "log.sqlite.key", tmp_path / "new")
        arguments = ("restore", backup, tmp_path / "new", "--nats-url", nats_url)
        status, report = await asyncio.to_thread(run_log, *arguments)
        assert (status, report["position"]["epoch"]) == (0, first.json()["epoch"])
        async with config_process(tmp_path / "new", nats_url) as (_, client):
            again = await client.post(f"{MODELS}?ack=stream", json=model("keyed"), headers=key)
            assert again.json()["hash"] == first.json()["hash"]
            assert again.headers["idempotency-replayed"] == "true"
            arguments = ("doctor", tmp_path / "new", "--nats-url", nats_url, "--url")
            url = str(client.base_url).rstrip("/")
            status, report = await asyncio.to_thread(run_log, *arguments, url)
            assert status == 0, report
            assert states(report)["writer"] == "ok"
        unreachable = ("verify", tmp_path / "new", "--nats-url", "nats://127.0.0.1:1")
        assert (await asyncio.to_thread(run_log, *unreachable))[0] == 3
