"""sie-config as a process, with a real broker: killed, restarted, refused, drained."""

import asyncio
import contextlib
import os
import resource
import signal
import socket
from pathlib import Path

import httpx
import pytest
from tests.support.config_process import config_process, published, start_config
from tests.support.config_writer import model
from tests.support.log_world import free_port
from tests.support.nats import nats_server
from tests.support.polling import until_told

MODELS = "/v1/configs/models"


@pytest.mark.integration
async def test_a_killed_process_comes_back_with_every_acknowledged_write(
    tmp_path,
):
    async with nats_server(tmp_path / "nats") as nats_url:
        async with config_process(tmp_path / "data", nats_url) as (process, client):
            key = {"Idempotency-Key": "k"}
            first = await client.post(f"{MODELS}?ack=stream", json=model("keyed"), headers=key)
            assert (first.status_code, first.json()["published"]) == (201, True)
            answers = [(await client.post(MODELS, json=model(f"m{n}"))).json() for n in range(20)]
            process.kill()
            await process.wait()
        async with config_process(tmp_path / "data", nats_url) as (process, client):
            for answer in answers:
                entry = (await client.get(f"/v1/configs/entries/{answer['epoch']}")).json()
                assert entry["hash"] == answer["hash"]
            head = (await client.get("/v1/configs/epoch")).json()
            assert (head["epoch"], head["term"]) == (answers[-1]["epoch"] + 1, 2)
            assert head["writer"] == {"state": "serving", "witnessed": True}
            await published(client, head["epoch"])
            again = await client.post(f"{MODELS}?ack=stream", json=model("keyed"), headers=key)
            assert again.json()["epoch"] == first.json()["epoch"]
            process.terminate()
            assert await process.wait() == 0


@pytest.mark.integration
async def test_an_empty_folder_beside_a_broker_that_knows_a_log_needs_new_log(tmp_path):
    async with nats_server(tmp_path / "nats") as nats_url:
        async with config_process(tmp_path / "first", nats_url) as (_, client):
            await published(client, 3)
        refused = await start_config(tmp_path / "second", free_port(), nats_url)
        _, words = await asyncio.wait_for(refused.communicate(), 40)
        assert refused.returncode == 3
        assert b"--new-log" in words
        flags = ("--new-log", "true", "--token-rate-per-s", "0.01", "--token-burst", "50")
        async with config_process(tmp_path / "second", nats_url, *flags) as (_, client):
            assert (await client.post(MODELS, json=model("m"))).status_code == 201
            # Everybody is one caller where no tokens are in force.
            statuses = {(await client.get("/v1/configs/epoch")).status_code for _ in range(50)}
            assert statuses == {200, 429}


async def refusal(folder: Path, nats_url: str) -> bytes:
    process = await start_config(folder, free_port(), nats_url, "--broker-wait-s", "0.5")
    _, words = await asyncio.wait_for(process.communicate(), 40)
    assert process.returncode == 3
    return words


@pytest.mark.integration
async def test_an_empty_folder_beside_a_broker_that_does_not_say_what_it_holds_begins_no_log(
    tmp_path,
):
    plain = tmp_path / "plain.conf"
    plain.touch()
    async with nats_server(tmp_path / "plain", config=plain) as nats_url:
        assert b"the broker is there but does not say" in await refusal(tmp_path / "data", nats_url)
    async with nats_server(tmp_path / "nats") as nats_url:
        [ports] = (tmp_path / "nats").glob("*.ports")
        pid = int(ports.stem.rpartition("_")[2])
        os.kill(pid, signal.SIGSTOP)
        try:
            words = await refusal(tmp_path / "data", nats_url)
        finally:
            os.kill(pid, signal.SIGCONT)
        assert b"the message broker is not connected" in words
        # It answers again: the same folder begins its log.
        async with config_process(tmp_path / "data", nats_url) as (_, client):
            assert (await client.post(MODELS, json=model("m"))).status_code == 201


@pytest.mark.integration
async def test_without_a_broker_it_serves_and_a_second_process_is_told_who_writes(tmp_path):
    nowhere = f"nats://127.0.0.1:{free_port()}"
    async with config_process(tmp_path, nowhere) as (process, client):
        answer = await client.post(MODELS, json=model("m"))
        assert (answer.status_code, answer.json()["published"]) == (201, False)
        second = await start_config(tmp_path, free_port(), nowhere)
        _, words = await asyncio.wait_for(second.communicate(), 40)
        assert second.returncode == 3
        assert f"process {process.pid}".encode() in words
        head = (await client.get("/v1/configs/epoch")).json()
        query = {"after": head["epoch"], "digest": head["digest"], "wait": 60}
        poll = asyncio.create_task(client.get("/v1/configs/epoch", params=query))
        async with asyncio.timeout(40):
            # Answered on other connections, so the poll has reached the process when this ends.
            waiting = False
            while not waiting:
                waiting = b"polls_waiting 1.0" in (await client.get("/metrics")).content
        process.terminate()
        assert (await asyncio.wait_for(poll, 30)).status_code == 200, "a poll was cut off"
        assert await asyncio.wait_for(process.wait(), 30) == 0


@pytest.mark.integration
async def test_a_disk_that_fails_ends_the_process_and_a_fresh_one_writes_again(tmp_path):
    nowhere = f"nats://127.0.0.1:{free_port()}"
    async with config_process(tmp_path, nowhere) as (process, client):
        wal = (tmp_path / "log.sqlite-wal").stat().st_size
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (wal + 40_000, wal + 40_000))
        codes = []
        with contextlib.suppress(httpx.TransportError):
            for number in range(100):
                answer = await client.post(MODELS, json=model(f"m{number}"))
                codes.append(answer.status_code)
        assert codes[0] == 201
        assert set(codes) <= {201, 503}
        assert await asyncio.wait_for(process.wait(), 30) == 1
    async with config_process(tmp_path, nowhere) as (_, client):
        assert (await client.get("/v1/configs/epoch")).json()["epoch"] >= 3 + codes.count(201)
        assert (await client.post(MODELS, json=model("again"))).status_code == 201


@pytest.mark.integration
async def test_while_the_disk_takes_nothing_reads_go_on_and_it_ends_by_itself_after(tmp_path):
    nowhere = f"nats://127.0.0.1:{free_port()}"
    async with config_process(tmp_path, nowhere) as (process, client):
        assert (await client.post(MODELS, json=model("before"))).status_code == 201
        _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, hard))
        refused = await client.post(MODELS, json=model("after"))
        assert refused.json()["detail"]["code"] == "STORAGE_FAILED"

        async def says_that_the_disk_fails() -> bool:
            state = (await client.get("/readyz")).json()["writer"]
            return bool(state.get("code") == "STORAGE_FAILED")

        await until_told(says_that_the_disk_fails)
        for _ in range(20):
            assert (await client.get(f"{MODELS}/before")).status_code == 200
            assert (await client.post(MODELS, json=model("again"))).status_code == 503
        assert process.returncode is None
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        assert await asyncio.wait_for(process.wait(), 30) == 1
    async with config_process(tmp_path, nowhere) as (_, client):
        assert (await client.get(f"{MODELS}/before")).status_code == 200
        assert (await client.post(MODELS, json=model("after"))).status_code == 201


@pytest.mark.integration
async def test_a_start_on_a_disk_that_takes_nothing_serves_reads_until_it_does(tmp_path):
    nowhere = f"nats://127.0.0.1:{free_port()}"
    async with config_process(tmp_path, nowhere) as (process, client):
        assert (await client.post(MODELS, json=model("before"))).status_code == 201
        epoch = (await client.get("/v1/configs/epoch")).json()["epoch"]
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 30) == 0
    head = (tmp_path / "log.sqlite.head").read_bytes()
    async with config_process(tmp_path, nowhere, file_bytes_max=0) as (process, client):
        state = (await client.get("/readyz")).json()["writer"]
        assert (state["state"], state["code"]) == ("read_only", "STORAGE_FAILED")
        refused = await client.post(MODELS, json=model("after"))
        assert (refused.status_code, refused.json()["detail"]["code"]) == (503, "STORAGE_FAILED")
        assert "log.sqlite" in refused.json()["detail"]["message"]
        assert (await client.get("/v1/configs/epoch")).json()["epoch"] == epoch
        assert (await client.get(f"{MODELS}/before?at={epoch}")).status_code == 200
        assert (await client.get(f"{MODELS}/before/history")).status_code == 200
        assert (await client.get("/v1/configs/log?after=0")).status_code == 200
        assert process.returncode is None
        assert (tmp_path / "log.sqlite.head").read_bytes() == head
        _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        assert await asyncio.wait_for(process.wait(), 30) == 1
    async with config_process(tmp_path, nowhere) as (_, client):
        assert (await client.get(f"{MODELS}/before")).status_code == 200
        assert (await client.post(MODELS, json=model("after"))).status_code == 201


@pytest.mark.integration
async def test_a_taken_port_is_one_clear_line(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = int(taken.getsockname()[1])
        process = await start_config(tmp_path, port, f"nats://127.0.0.1:{free_port()}")
        _, words = await asyncio.wait_for(process.communicate(), 40)
    assert process.returncode == 3
    assert f"error: 127.0.0.1:{port}: ".encode() in words
    assert b"Traceback" not in words
