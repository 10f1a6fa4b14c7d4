"""The gateway as its own process, on a real broker, beside a real writer and a worker of a test."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from tests.support.edge import bus_of
from tests.support.gateway_world import heartbeat
from tests.support.log_world import Writer, admin, writer
from tests.support.nats import nats_server
from tests.support.polling import until, until_told
from tests.support.queue_worker import QueueLane, QueueWorker, working

from sie_runtime.broker.bus import Bus
from sie_schemas.jobs import JOB_ENCODER

__all__ = ["GatewayProcess", "gateway_process", "started_gateway"]

_SOURCE = {"type": "package", "package": "echo", "distribution": "echo", "version": "1"}


@dataclass
class GatewayProcess:
    """The process, and what is around it. The writer and its stream can be taken away."""

    process: asyncio.subprocess.Process
    http: httpx.AsyncClient
    port: int
    worker: QueueWorker
    writer: Writer
    nats_url: str
    _bus: Bus
    _writing: AsyncExitStack

    async def write(self, kind: str, name: str, document: dict[str, Any]) -> None:
        """Put a document into the log, and wait until the gateway has read it."""
        answer = await self.writer.http.put(f"/v1/configs/{kind}/{name}", json=document)
        assert answer.status_code in {200, 201}, answer.text
        epoch = answer.json()["epoch"]

        async def has_read() -> bool:
            position = (await self.http.get("/v1/configs/epoch")).json()
            return bool(position.get("epoch", 0) >= epoch)

        await until_told(has_read)

    async def warm(self, lanes: Sequence[QueueLane]) -> None:
        """Let the gateway hear a ready worker on each lane."""
        kinds = {(lane.pool, lane.machine_profile, lane.bundle) for lane in lanes}

        async def heard() -> bool:
            for number, (pool, machine_profile, bundle) in enumerate(kinds):
                beat = heartbeat(
                    f"w{number}", pool=pool, machine_profile=machine_profile, bundle=bundle
                )
                await self._bus.publish(f"sie.health.w{number}", JOB_ENCODER.encode(beat))
            return len((await self.http.get("/health")).json()["workers"]) == len(kinds)

        await until_told(heard)

    async def lose_the_log(self) -> None:
        """Stop the writer, and delete its stream."""
        stream = self.writer.stream
        await self._writing.aclose()
        async with admin(self.nats_url) as jetstream:
            await jetstream.delete_stream(stream)


def model(model_id: str, **rest: Any) -> dict[str, Any]:
    """A model that the gateway routes; nobody loads it."""
    profiles = {"default": {"backend": "echo"}, "fast": {"backend": "echo", "dtype": "fp32"}}
    document = {"model_id": model_id, "source": _SOURCE, "tasks": {"encode": {}}}
    return {**document, "profiles": profiles, **rest}


@asynccontextmanager
async def gateway_process(
    folder: Path, lanes: Sequence[QueueLane] = (QueueLane(),)
) -> AsyncIterator[GatewayProcess]:
    """A process that is ready and knows `org/dense`; its worker answers on `lanes`."""
    async with AsyncExitStack() as stack:
        nats_url = await stack.enter_async_context(nats_server(folder / "nats"))
        writing = await stack.enter_async_context(AsyncExitStack())
        wrote = await writing.enter_async_context(writer(folder / "config", nats_url))
        process, port = await stack.enter_async_context(
            started_gateway(folder, nats_url, wrote.url)
        )
        http = await stack.enter_async_context(
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}",
                timeout=20,
                limits=httpx.Limits(max_connections=None),
            )
        )
        bus = await stack.enter_async_context(bus_of(nats_url, "worker"))
        # No job comes twice, however long a test makes it wait.
        worker = await stack.enter_async_context(working(bus, lanes, ack_wait_s=60))
        found = GatewayProcess(process, http, port, worker, wrote, nats_url, bus, writing)
        backends = ["transformer", "onnx-cross-encoder", "spacy", "echo"]
        await found.write("bundles", "default", {"name": "default", "backends": backends})
        await found.write("models", "org/dense", model("org/dense", aliases=["dense"]))
        await found.warm(lanes)
        yield found


@asynccontextmanager
async def started_gateway(
    folder: Path, nats_url: str, config_url: str, *flags: str, port: int = 0
) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """A process that listens, and on which port; it need not be ready. Killed if it still runs."""
    log = folder / "gateway.log"
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "sie_gateway.main", "--port", str(port), "--nats-url", nats_url),
            *("--config-url", config_url, "--replica-dir", str(folder / "replica")),
            *("--fleet-ttl-s", "600", "--fleet-settle-s", "0", *flags),
            stderr=stderr,
        )
    try:
        await until(lambda: _port(log) or process.returncode is not None)
        assert process.returncode is None, log.read_text()
        yield process, _port(log)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _port(log: Path) -> int:
    """From the line that says where it listens; 0 while there is none."""
    for line in log.read_text().splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            said = json.loads(line)["msg"]
            if said.startswith("listening on port "):
                return int(said.rpartition(" ")[2])
    return 0
