"""Upgrade: from one release to another and back under load, process by process.

*shell.* A whole cluster of real processes: two gateways, two workers, sie-config, one broker. Each
is stopped as a platform stops it, and the other release takes its place on the same files. Clients
ask all the while and every answer is worked out anew. Between two steps the configuration is
changed, and every replica has to have it. The broker's users are the other release's before its
first process comes, as the chart brings them. Promises to say of each request that was not answered
which step it fell into.
"""

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from sie_schemas.errors import SIEError
from sie_sdk import SIEAsyncClient
from sie_testing.processes.echo_execution import BACKEND, echo_vector
from sie_testing.processes.programs import Program, free_ports, program_path
from sie_testing.soak.releases import Release, other_release, this_release

__all__ = ["ORDERS", "Step", "Story", "run_upgrade", "walk"]

MODEL: Final = "org/echo"
ORDERS: Final = {
    "workers first": ("worker-0", "worker-1", "gateway-0", "gateway-1", "config"),
    "config first": ("config", "gateway-0", "gateway-1", "worker-0", "worker-1"),
}
"""The orders in which processes are replaced; the way back is the reverse of each."""
_ASKERS: Final = 3
"""For each gateway."""
_READY_S: Final = 60.0
"""A release that is installed for the first time compiles its modules while it starts."""
_LOOK_S: Final = 0.05
"""Short beside a start, and too seldom to take a core from what is looked at."""
_USERS: Final = frozenset({"config", "gateway", "worker"})
_TAKEN: Final = b"Reloaded server configuration"
_PASSES: Final = frozenset({"LOG_READ_ONLY", "NOT_READY"})
"""A writer that has just started has its term to put on the stream first."""
_SOURCE: Final = {"type": "package", "package": "echo", "distribution": "echo", "version": "1"}


@dataclass(frozen=True, slots=True)
class Step:
    """One replacement. `refused` is what sie-config said to a write after it; empty if it took it.

    `refused` names a cure: releases that cannot work together say so.
    """

    what: str
    answered: int
    failed: Sequence[str]
    refused: str


@dataclass(slots=True)
class Story:
    """All steps of a walk."""

    steps: list[Step] = field(default_factory=list)

    @property
    def failed(self) -> list[str]:
        """Every request that was not answered rightly, with its step."""
        return [f"{step.what}: {each}" for step in self.steps for each in step.failed]


def run_upgrade(base: str) -> int:
    """Walk each order there and back, and tell it; 0 where every request was answered."""
    root = Path(__file__).parents[3]
    failed = 0
    with other_release(base, root=root) as old:
        for name, order in ORDERS.items():
            sys.stdout.write(f"{old.name} to this and back, {name}\n")
            with tempfile.TemporaryDirectory(prefix="sie-upgrade-") as folder:
                story = asyncio.run(walk(Path(folder), old, this_release(), order, and_back=True))
            for step in story.steps:
                told = f"; writes refused: {step.refused}" if step.refused else ""
                sys.stdout.write(
                    f"  {step.what:<24} {step.answered:>6} answered, {len(step.failed)} not{told}\n"
                )
            sys.stdout.writelines(f"  {each}\n" for each in story.failed[:20])
            failed += len(story.failed)
    return 1 if failed else 0


async def walk(
    folder: Path,
    old: Release,
    new: Release,
    order: Sequence[str],
    *,
    and_back: bool,
    requests: int = 40,
) -> Story:
    """Replace each process of `old` by one of `new`, and back. `requests` are answered at least
    between two steps."""
    story = Story()
    cluster = _Cluster(folder, old)
    try:
        await cluster.start()
        load = _Load(cluster)
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(load.ask_all())
            steps = [(name, new) for name in order]
            steps += [(name, old) for name in reversed(order)] if and_back else []
            await load.answers(requests)
            load.take()
            for name, release in steps:
                await cluster.take_users(release)
                refused = await cluster.replace(name, release) or await cluster.write()
                await load.answers(requests)
                answered, failed = load.take()
                story.steps.append(Step(f"{name} to {release.name}", answered, failed, refused))
            load.stop()
            await asking
    finally:
        await cluster.close()
    return story


class _Refused(Exception):
    """A process ended instead of serving; its last line says why."""


class _Cluster:
    """The processes, each with its release."""

    def __init__(self, folder: Path, release: Release) -> None:
        self._folder = folder
        self._release = dict.fromkeys(
            ("config", "gateway-0", "gateway-1", "worker-0", "worker-1"), release
        )
        names = ("nats", *self._release)
        self._ports = dict(zip(names, free_ports(len(names)), strict=True))
        self._programs: dict[str, Program] = {}
        self._written = 0
        self._users_of: Release | None = None

    async def take_users(self, release: Release) -> None:
        """Have the broker give each role the rights that this release wants."""
        if release is self._users_of:
            return
        self._users_of = release
        users = await asyncio.to_thread(release.users)
        await asyncio.to_thread((self._folder / "users.conf").write_text, users)
        broker = self._programs.get("nats")
        if broker is None:
            return
        before = broker.log.read_bytes().count(_TAKEN)
        os.kill(broker.pid, signal.SIGHUP)

        async def are_taken() -> bool:
            return broker.log.read_bytes().count(_TAKEN) > before

        await self._until(are_taken, "the broker takes its users")

    def url(self, name: str) -> str:
        """The address of a process."""
        return f"http://127.0.0.1:{self._ports[name]}"

    @property
    def gateways(self) -> list[str]:
        """The addresses that clients ask."""
        return [self.url(name) for name in self._release if name.startswith("gateway")]

    async def start(self) -> None:
        """Start all of it; return when a request can be answered."""
        conf = self._folder / "nats.conf"
        store = self._folder / "jetstream"
        await self.take_users(self._release["config"])
        conf.write_text(
            f'host: "127.0.0.1"\nport: {self._ports["nats"]}\n'
            f'jetstream {{ store_dir: "{store}" }}\ninclude ./users.conf\n'
        )
        await self._run("nats", [program_path("nats-server"), "-c", str(conf)])
        for name in self._release:
            await self._start(name)
        await self._put("bundles/default", {"name": "default", "backends": [BACKEND]})
        profiles = {"default": {"backend": BACKEND, "batch_wait_ms": 1.0}}
        await self._put(
            f"models/{MODEL}",
            {
                "model_id": MODEL,
                "source": _SOURCE,
                "tasks": {"encode": {}},
                "profiles": profiles,
            },
        )
        for name in self._release:
            await self._ready(name)
        await self._workers_are_heard()

    async def close(self) -> None:
        """End every process."""
        for program in self._programs.values():
            await program.kill()

    async def replace(self, name: str, release: Release) -> str:
        """Stop a process in order, start the other release's, and wait until it works.

        One that refuses to start has its place taken by the release that was there; gives why.
        """
        before = self._release[name]
        try:
            await self._replaced(name, release)
        except _Refused as refused:
            await self._replaced(name, before)
            return str(refused)
        return ""

    async def _replaced(self, name: str, release: Release) -> None:
        await self._programs[name].stop()
        if name.startswith("worker"):
            await self._programs[f"execution-{name}"].stop()
        self._release[name] = release
        await self._start(name)
        await self._ready(name)
        await self._workers_are_heard()

    async def write(self) -> str:
        """Change the configuration, and wait until every replica has it; what it was refused
        with."""
        self._written += 1
        answer = await self._put(
            f"pools/step-{self._written}", {"machine_profiles": ["cpu"]}, check=False
        )
        if answer.is_error:
            return str(answer.json()["detail"]["message"])
        epoch = int(answer.json()["epoch"])
        await self._until(lambda: self._all_have(epoch), f"replicas at epoch {epoch}")
        return ""

    async def _all_have(self, epoch: int) -> bool:
        told = await _asked(f"{self.url('config')}/v1/configs/replicas")
        rows = [row for row in (told or {}).get("replicas", []) if row["live"]]
        return len(rows) >= 4 and all(row["epoch"] >= epoch for row in rows)

    async def _put(
        self, path: str, document: dict[str, Any], *, check: bool = True
    ) -> httpx.Response:
        url = f"{self.url('config')}/v1/configs/{path}"
        ends_at = time.monotonic() + _READY_S
        async with httpx.AsyncClient(timeout=10) as http:
            while True:
                answer = await http.put(url, json=document)
                waits = answer.is_error and answer.json()["detail"]["code"] in _PASSES
                if not waits or time.monotonic() > ends_at:
                    break
                await asyncio.sleep(_LOOK_S)
        if check:
            answer.raise_for_status()
        return answer

    async def _start(self, name: str) -> None:
        release = self._release[name]
        port = ("--port", str(self._ports[name]))
        nats = ("--nats-url", f"nats://127.0.0.1:{self._ports['nats']}")
        follows = ("--config-url", self.url("config"), "--replica-dir", str(self._folder / name))
        role = name.partition("-")[0]
        own: Sequence[str]
        if role == "config":
            own = ("--data-dir", str(self._folder / "log"))
        elif role == "gateway":
            own = (*follows, "--gateway-id", name)
        else:
            socket = self._folder / f"{name}.sock"
            await self._run(f"execution-{name}", release.execution(socket))
            own = (*follows, "--worker-id", name, "--socket-path", str(socket))
        await self._run(name, [release.program(f"sie-{role}"), *port, *nats, *own])
        if role == "config":
            await self._ready(name)

    async def _run(self, name: str, argv: Sequence[str]) -> None:
        environment = {key: value for key, value in os.environ.items() if key[:4] != "SIE_"}
        if (role := name.partition("-")[0]) in _USERS:
            prefix = f"SIE_{role.upper()}_NATS"
            environment |= {f"{prefix}_USER": role, f"{prefix}_PASSWORD": role}
        log = self._folder / f"{name}.log"
        self._programs[name] = Program(name, argv, log, environment=environment)
        await self._programs[name].start()

    async def _ready(self, name: str) -> None:
        # A writer that refuses serves reads all the same, and says at the next write why.
        route = "healthz" if name == "config" else "readyz"

        async def is_ready() -> bool:
            program = self._programs[name]
            if not program.running:
                raise _Refused(program.log.read_text().strip().splitlines()[-1])
            return await _asked(f"{self.url(name)}/{route}") is not None

        await self._until(is_ready, f"{name} is ready")

    async def _workers_are_heard(self) -> None:
        async def are() -> bool:
            for url in self.gateways:
                told = await _asked(f"{url}/health")
                ready = [each for each in (told or {}).get("workers", []) if each["healthy"]]
                if len(ready) < 2:
                    return False
            return True

        await self._until(are, "both gateways hear both workers")

    async def _until(self, condition: Any, what: str) -> None:
        ends_at = time.monotonic() + _READY_S
        while not await condition():
            if time.monotonic() > ends_at:
                raise TimeoutError(f"not within {_READY_S:g} s: {what}; logs in {self._folder}")
            await asyncio.sleep(_LOOK_S)


async def _asked(url: str) -> dict[str, Any] | None:
    """The answer of a route that says 200; None where it does not."""
    try:
        async with httpx.AsyncClient(timeout=5) as http:
            answer = await http.get(url)
    except httpx.TransportError:
        return None
    if answer.status_code != httpx.codes.OK:
        return None
    is_json = answer.headers.get("content-type", "").startswith("application/json")
    return dict(answer.json()) if is_json else {}


class _Load:
    """Clients that ask on, as applications do: by the SDK, with its own patience."""

    def __init__(self, cluster: _Cluster) -> None:
        self._cluster = cluster
        self._stopping = False
        self._answered: Counter[str] = Counter()
        self._taken = 0
        self._failed: list[str] = []
        self._moved = asyncio.Event()

    def stop(self) -> None:
        """Begin no more requests."""
        self._stopping = True

    def take(self) -> tuple[int, list[str]]:
        """The number that was answered, and each that failed, since the last call."""
        answered = self._answered.total() - self._taken
        self._taken += answered
        failed, self._failed = self._failed, []
        return answered, failed

    async def answers(self, count: int) -> None:
        """Wait until every gateway has answered so many more."""
        wanted = {url: self._answered[url] + count for url in self._cluster.gateways}
        while any(self._answered[url] < number for url, number in wanted.items()):
            self._moved.clear()
            await self._moved.wait()

    async def ask_all(self) -> None:
        """Ask until `stop`."""
        async with asyncio.TaskGroup() as tasks:
            for url in self._cluster.gateways:
                for number in range(_ASKERS):
                    tasks.create_task(self._ask_on(url, number))

    async def _ask_on(self, url: str, number: int) -> None:
        sent = 0
        async with SIEAsyncClient(url, timeout_s=60) as client:
            while not self._stopping:
                sent += 1
                text = f"text {sent} of client {number}"
                try:
                    result = await client.encode(MODEL, text)
                    wanted = echo_vector(result["request"]["model_revision"], "", text)
                    if tuple(result["dense"]) == wanted:
                        self._answered[url] += 1
                    else:
                        self._failed.append(f"{url}: {text!r} got the vector of another text")
                except SIEError as error:
                    self._failed.append(f"{url}: {error.code}: {error.message}")
                    await asyncio.sleep(_LOOK_S)
                self._moved.set()
