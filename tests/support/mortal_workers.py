"""Workers that can be killed: real sidecars, each with its own execution process, behind a gateway.

The writer and the broker's client of the test are in the test's process; broker, gateway, sidecars
and execution are processes. Execution is the echo, whose right answers anybody can work out.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from nats.js.errors import NotFoundError
from tests.support.gateway_process import started_gateway
from tests.support.log_world import Writer, admin, free_port, writer
from tests.support.nats import nats_server
from tests.support.polling import until_told

from sie_testing.processes.echo_execution import BACKEND, echo_vector
from sie_testing.processes.programs import Program, program_path

__all__ = ["MODEL", "Broker", "Cluster", "InFlight", "Pair", "mortal_workers", "texts_in_flight"]

MODEL = "org/echo"
_SOURCE = {"type": "package", "package": "echo", "distribution": "echo", "version": "1"}


@dataclass
class Pair:
    """A sidecar and its execution process."""

    sidecar: Program
    execution: Program
    port: int

    async def start(self) -> None:
        """Start what does not run."""
        await self.execution.start()
        await self.sidecar.start()

    async def kill(self) -> None:
        """As a machine that is lost."""
        await self.sidecar.kill()
        await self.execution.kill()

    async def state(self, http: httpx.AsyncClient) -> dict[str, Any]:
        """The answer of `/readyz`; nothing while it does not answer."""
        try:
            told = await http.get(f"http://127.0.0.1:{self.port}/readyz", timeout=1)
        except httpx.TransportError:
            return {}
        found: dict[str, Any] = told.json()
        return found


class Broker:
    """The broker, which can be killed and begun anew on what is left of its store."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running = AsyncExitStack()
        self.url = ""

    async def start(self) -> None:
        """Run it, on the port that it had."""
        port = int(self.url.rpartition(":")[2]) if self.url else -1
        self.url = await self._running.enter_async_context(nats_server(self._folder, port=port))

    async def kill(self) -> None:
        """As a process that is lost."""
        await self._running.aclose()


@dataclass(frozen=True)
class InFlight:
    """Requests that no worker can end yet: the worker that holds most of them, how many it holds,
    and the tasks by text."""

    holder: Pair
    held: int
    asking: dict[str, "asyncio.Task[httpx.Response]"]


@dataclass
class Cluster:
    """The gateway, its workers, and the way to ask."""

    http: httpx.AsyncClient
    gateway: str
    pairs: list[Pair]
    writer: Writer
    broker: Broker
    folder: Path

    async def ask(self, text: str) -> httpx.Response:
        """One request, waited for as long as it takes."""
        body = {"items": [{"text": text}]}
        return await self.http.post(f"{self.gateway}/v1/encode/{MODEL}", json=body, timeout=90)

    async def ready(self, count: int) -> None:
        """Wait until the gateway takes work, and knows so many workers as ready.

        It hears workers before its own registry is verified, and answers `NOT_READY` until then.
        """

        async def are() -> bool:
            if (await self.http.get(f"{self.gateway}/readyz")).status_code != 200:
                return False
            found = (await self.http.get(f"{self.gateway}/health")).json()["workers"]
            return sum(bool(each["healthy"]) for each in found) >= count

        await until_told(are)

    async def holder(self, count: int) -> tuple[Pair, int]:
        """Wait until workers have so many items in hand; who has the most, and how many."""
        held: dict[int, int] = {}

        async def has() -> bool:
            for place, pair in enumerate(self.pairs):
                held[place] = (await pair.state(self.http)).get("items_in_hand", 0)
            return sum(held.values()) >= count

        await until_told(has)
        most = max(held, key=lambda place: held[place])
        return self.pairs[most], held[most]

    async def counted(self, name: str, **labels: str) -> float:
        """The gateway's count, over all other labels."""
        page = (await self.http.get(f"{self.gateway}/metrics")).text
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(
            float(line.rpartition(" ")[2])
            for line in page.splitlines()
            if line.partition("{")[0].partition(" ")[0] == name
            and all(each in line for each in wanted)
        )

    def another(self, *, pool: str) -> Pair:
        """A worker of another pool, beside those that are there; yet to be started."""
        return _pair(self.folder, len(self.pairs), self.broker.url, self.writer.url, {"pool": pool})

    async def left(self) -> tuple[int, int]:
        """Jobs that the queue still has, and dead letters."""
        async with admin(self.broker.url) as jetstream:
            jobs = (await jetstream.stream_info("WORK_POOL_default")).state.messages
            try:
                letters = (await jetstream.stream_info("DEAD_LETTERS")).state.messages
            except NotFoundError:
                letters = 0
        return int(jobs), int(letters)

    def right(self, response: httpx.Response, text: str) -> bool:
        """True if it is the vector of this text at the revision that it names."""
        if response.status_code != 200:
            return False
        [item] = response.json()["items"]
        revision = response.headers["X-SIE-Model-Revision"]
        return tuple(item["dense"]["values"]) == echo_vector(revision, "", text)


@asynccontextmanager
async def mortal_workers(
    folder: Path,
    count: int,
    *,
    gateway: dict[str, str] | None = None,
    worker: dict[str, str] | None = None,
    started: bool = True,
    headers: dict[str, str] | None = None,
    config: dict[str, Any] | None = None,
) -> AsyncIterator[Cluster]:
    """A gateway and so many workers, which are ready and know `MODEL`; or are yet to be `started`.

    `headers` go with every request to the gateway; `config` are settings of the writer.
    """
    async with AsyncExitStack() as stack:
        broker = Broker(folder / "nats")
        stack.push_async_callback(broker.kill)
        await broker.start()
        nats_url = broker.url
        wrote = await stack.enter_async_context(
            writer(folder / "config", nats_url, **(config or {}))
        )
        bundle = {"name": "default", "backends": [BACKEND]}
        profile = {"backend": BACKEND, "batch_wait_ms": 1.0}
        model = {
            "model_id": MODEL,
            "source": _SOURCE,
            "tasks": {"encode": {}},
            "profiles": {"default": profile},
        }
        for kind, name, document in (("bundles", "default", bundle), ("models", MODEL, model)):
            answer = await wrote.http.put(f"/v1/configs/{kind}/{name}", json=document)
            assert answer.status_code in {200, 201}, answer.text
        pairs = [_pair(folder, n, nats_url, wrote.url, worker or {}) for n in range(count)]
        for pair in pairs:
            stack.push_async_callback(pair.kill)
            if started:
                await pair.start()
        flags = [part for flag, value in (gateway or {}).items() for part in (f"--{flag}", value)]
        _, port = await stack.enter_async_context(
            started_gateway(folder, nats_url, wrote.url, *flags)
        )
        http = await stack.enter_async_context(httpx.AsyncClient(headers=headers, timeout=60))
        cluster = Cluster(http, f"http://127.0.0.1:{port}", pairs, wrote, broker, folder)
        await cluster.ready(count if started else 0)
        yield cluster


def _pair(folder: Path, number: int, nats_url: str, config: str, flags: dict[str, str]) -> Pair:
    socket, port = str(folder / f"execution-{number}.sock"), free_port()
    own = {
        "worker-id": f"worker-{number}",
        "socket-path": socket,
        "nats-url": nats_url,
        "config-url": config,
        "replica-dir": str(folder / f"replica-{number}"),
        "port": str(port),
    } | flags
    argv = [part for flag, value in own.items() for part in (f"--{flag}", value)]
    environment = {name: value for name, value in os.environ.items() if name[:4] != "SIE_"}
    sidecar = Program(
        f"worker-{number}",
        [program_path("sie-worker"), *argv],
        folder / f"worker-{number}.log",
        environment=environment,
    )
    execution = Program(
        f"execution-{number}",
        [sys.executable, "-m", "sie_testing.processes.echo_execution", socket],
        folder / f"execution-{number}.log",
        environment=environment,
    )
    return Pair(sidecar, execution, port)


async def texts_in_flight(cluster: Cluster, count: int) -> InFlight:
    """Ask for so many texts, and wait until workers that stand hold all of them."""
    for pair in cluster.pairs:
        pair.execution.pause()
    asking = {f"text {n}": asyncio.create_task(cluster.ask(f"text {n}")) for n in range(count)}
    holder, held = await cluster.holder(count)
    return InFlight(holder, held, asking)
