"""`sie-worker` as a process: its status routes, its end, its settings."""

import asyncio
import signal
import sys
from pathlib import Path

import httpx
import pytest
from tests.support.log_world import free_port
from tests.support.nats import nats_server
from tests.support.polling import until
from tests.support.scripted_execution import scripted_execution

pytestmark = pytest.mark.integration

SIE_WORKER = str(Path(sys.executable).parent / "sie-worker")


async def test_a_worker_without_a_registry_lives_is_not_ready_says_why_and_ends_on_sigterm(
    tmp_path: Path,
):
    port = free_port()
    async with nats_server(tmp_path / "nats") as url, scripted_execution(tmp_path) as execution:
        process = await asyncio.create_subprocess_exec(
            SIE_WORKER,
            *("--nats-url", url, "--socket-path", str(execution.path), "--port", str(port)),
            *("--config-url", f"http://127.0.0.1:{free_port()}", "--worker-id", "worker-9"),
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                told = await _told(client)
                metrics = (await client.get("/metrics")).text
                missing = await client.get("/nowhere")
        finally:
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(60):
                _, errors = await process.communicate()

    assert told["ready"] is False
    assert told["registry"] is False
    assert told["executor"] is True
    assert "sie_worker_executor_up 1.0" in metrics
    assert missing.status_code == 404
    assert process.returncode == 0, errors.decode()


async def test_a_setting_that_does_not_exist_refuses_to_start_with_one_line():
    process = await asyncio.create_subprocess_exec(
        SIE_WORKER, "--sockt-path", "x", stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()

    assert process.returncode == 2
    assert errors.decode().splitlines() == [
        "error: --sockt-path is not a setting; did you mean --socket-path?"
    ]


async def _told(client: httpx.AsyncClient) -> dict[str, object]:
    """The answer of /readyz once model execution and bus are connected."""
    found: dict[str, object] = {}

    async def look() -> None:
        while not (found.get("executor") and found.get("bus")):
            try:
                assert (await client.get("/healthz")).status_code == 200
                answer = await client.get("/readyz")
            except httpx.TransportError:
                await asyncio.sleep(0.02)
                continue
            assert answer.status_code == 503
            found.update(answer.json())

    looking = asyncio.create_task(look())
    await until(looking.done)
    await looking
    return found
