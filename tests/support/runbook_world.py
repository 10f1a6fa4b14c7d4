"""A local cluster that is broken on purpose, with a Prometheus that has the chart's own alerts.

*shell.* `sie up` in a folder of its own, so that a command of a page runs as it stands there.
Promises that what was stopped goes on, and that the cluster and its server end with the world.
"""

import asyncio
import json
import os
import resource
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import yaml
from tests.support.alerts import RULES
from tests.support.live_cluster import MODEL, SIE
from tests.support.polling import until_told
from tests.support.prometheus import Prometheus, prometheus

from sie_cli.access.state import start_time
from sie_cli.plan.ports import free_ports

__all__ = ["World", "broken_on_purpose"]

_PATIENCE_S: Final = 120.0
_COMMAND_S: Final = 120.0
_FINE: Final = {0, 1, 3}
"""By 1 and 3 a command says that something is wrong, or not there: it is so."""


@dataclass
class World:
    """The cluster of a folder. Owner: one walk after the other."""

    folder: Path
    port: int
    http: httpx.AsyncClient
    server: Prometheus
    environment: Mapping[str, str]
    frozen: set[int] = field(default_factory=set)
    kept: dict[str, Any] = field(default_factory=dict)
    """The things that a break remembers for its cure."""
    mounted: list[Path] = field(default_factory=list)
    """The folders that a break has put a disk on."""
    model: str = MODEL
    """The model that is asked for where nothing else is said."""
    doctor_options: tuple[str, ...] = ()
    """By these `sie doctor` finds what the folder does not tell it."""

    @property
    def gateway(self) -> str:
        """The address of the gateway."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def config(self) -> str:
        """The address of sie-config."""
        return f"http://127.0.0.1:{self.port + 1}"

    @property
    def data(self) -> Path:
        """The folder of the cluster's files."""
        return self.folder / ".sie"

    @property
    def log_file(self) -> Path:
        """The log."""
        return next(self.data.rglob("log.sqlite"))

    def record(self) -> list[dict[str, Any]]:
        """The processes, as the supervisor wrote them."""
        found: list[dict[str, Any]] = json.loads((self.data / "cluster.json").read_text())[
            "processes"
        ]
        return found

    def pid(self, role: str) -> int:
        """The process of a role as it is now."""
        return next(int(each["pid"]) for each in self.record() if each["role"] == role)

    def freeze(self, *roles: str) -> None:
        """Stop processes where they are."""
        for role in roles:
            self.frozen.add(pid := self.pid(role))
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let all that was stopped go on."""
        while self.frozen:
            try:
                os.kill(self.frozen.pop(), signal.SIGCONT)
            except ProcessLookupError:
                continue

    def kill(self, role: str) -> None:
        """End a process at once; the supervisor starts it again."""
        os.kill(self.pid(role), signal.SIGKILL)

    @contextmanager
    def held_down(self, role: str) -> Iterator[None]:
        """A process is ended at once, and nobody starts it again before this is over."""
        supervisor = json.loads((self.data / "cluster.json").read_text())["supervisor"]["pid"]
        os.kill(supervisor, signal.SIGSTOP)
        try:
            pid = self.pid(role)
            os.kill(pid, signal.SIGKILL)
            self.frozen.discard(pid)
            while start_time(pid) is not None:
                time.sleep(0.01)
            yield
        finally:
            os.kill(supervisor, signal.SIGCONT)

    def no_more_bytes(self, role: str) -> None:
        """No file of a process may grow: each write beyond its end is an error."""
        limits = resource.prlimit(self.pid(role), resource.RLIMIT_FSIZE)
        self.kept["limits"] = (self.pid(role), limits)
        resource.prlimit(self.pid(role), resource.RLIMIT_FSIZE, (1, limits[1]))

    def bytes_again(self) -> None:
        """Give back all that `no_more_bytes` took."""
        pid, limits = self.kept.pop("limits")
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)

    async def typed(self, words: Sequence[str], more: Mapping[str, str] | None = None) -> str:
        """A command as a person types it in the folder; all that it says. `more` are variables."""
        assert words[0] == "sie", words
        done = await asyncio.to_thread(
            subprocess.run,
            [SIE, *words[1:]],
            cwd=self.folder,
            env={**self.environment, **(more or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_COMMAND_S,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode in _FINE, f"{' '.join(words)}: {done.returncode}\n{said}"
        assert said.strip(), f"{' '.join(words)} says nothing"
        return said

    async def ask(self, text: str = "hello", model: str = "", **headers: str) -> httpx.Response:
        """One request, waited for as long as it takes."""
        return await self.http.post(
            f"{self.gateway}/v1/encode/{model or self.model}",
            json={"items": [{"text": text}]},
            headers=headers,
            timeout=200,
        )

    async def asked(self, count: int, **more: Any) -> list[int]:
        """So many requests, a few at a time; their statuses."""
        turns = asyncio.Semaphore(4)

        async def one(number: int) -> int:
            async with turns:
                return (await self.ask(f"text {number}", **more)).status_code

        return await asyncio.gather(*(one(number) for number in range(count)))

    async def write(self, name: str, **document: Any) -> int:
        """Write a pool; the status of the answer."""
        body = {"machine_profiles": ["cpu"]} | document
        answer = await self.http.put(f"{self.config}/v1/configs/pools/{name}", json=body)
        return answer.status_code

    async def document(self, path: str) -> dict[str, Any]:
        """One document of the registry."""
        answer = await self.http.get(f"{self.config}/v1/configs/{path}")
        found: dict[str, Any] = answer.json()["document"]
        return found

    async def ready(self) -> str:
        """The answer of sie-config's `/readyz`."""
        return (await self.http.get(f"{self.config}/readyz")).text

    async def alerting(self, alert: str) -> bool:
        """True while the alert's expression has a series: after its `for` it fires."""
        return bool(await self.server.query(f'ALERTS{{alertname="{alert}"}}'))

    async def serves(self) -> None:
        """Wait until a request is answered, and a write taken."""

        async def does() -> bool:
            try:
                if (await self.ask()).status_code != 200:
                    return False
                return await self.write("served") in {200, 201}
            except httpx.TransportError:
                return False

        await until_told(does, within_s=_PATIENCE_S)


@asynccontextmanager
async def broken_on_purpose(folder: Path, **settings: str) -> AsyncIterator[World]:
    """Start it; `settings` are variables of `sie up`."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    (port,) = free_ports(1, adjacent=2)
    plain = {name: value for name, value in os.environ.items() if name[:4] != "SIE_"}
    environment = plain | {name: value.format(folder=folder) for name, value in settings.items()}
    mounted: list[Path] = []
    up = [SIE, "up", "--detach", "--devices", "1", "--port", str(port)]
    try:
        # Within: what was begun and took too long is ended, too.
        started = await asyncio.to_thread(_run, up, folder, environment)
        assert started.returncode == 0, started.stdout + started.stderr
        record = json.loads((folder / ".sie/cluster.json").read_text())["processes"]
        targets = [f"127.0.0.1:{each['port']}" for each in record if each["role"] != "nats"]
        rules = yaml.safe_load(RULES.read_text())
        async with (
            httpx.AsyncClient(timeout=30) as http,
            prometheus(folder / "prometheus", targets, rules=rules) as server,
        ):
            await until_told(server.all_up, within_s=_PATIENCE_S)
            world = World(folder, port, http, server, environment)
            try:
                await world.serves()
                mounted = world.mounted
                yield world
            finally:
                world.thaw()
    finally:
        await asyncio.to_thread(_run, [SIE, "down"], folder, environment)
        for each in mounted:
            await asyncio.to_thread(_run, ["umount", str(each)], folder, environment)


def _run(
    argv: list[str], folder: Path, environment: Mapping[str, str]
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        argv,
        cwd=folder,
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
