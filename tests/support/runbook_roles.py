"""A cluster of single roles that is broken on purpose: what `sie up` on one machine has not.

*shell.* Every line under TLS; a path to sie-config of the gateway's own, which can be barred; a
broker with a bound; model execution that is the echo, and can be killed; another release. The
windows and `for` of the chart's alerts are a few seconds here, so that each alert is seen to end.
"""

import asyncio
import contextlib
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import yaml
from tests.support.alerts import RULES
from tests.support.certificates import Authority, Signed
from tests.support.polling import until_told
from tests.support.prometheus import prometheus
from tests.support.runbook_world import World

from sie_cli.plan.ports import free_ports
from sie_runtime.tls import TlsSettings, connecting_context
from sie_testing.processes.echo_execution import BACKEND
from sie_testing.processes.programs import Program, program_path

__all__ = ["MODEL", "STORE_BYTES_MAX", "Bar", "RolesWorld", "roles_on_their_own", "short_rules"]

MODEL: Final = "org/echo"
STORE_BYTES_MAX: Final = 1_000_000
"""The bytes that the broker may store, so that a few large jobs come near them."""
OTHER_RELEASE: Final = "0.0.1"
_WINDOW: Final = "5s"
_SOURCE: Final = {"type": "package", "package": "echo", "distribution": "echo", "version": "1"}


def short_rules() -> dict[str, Any]:
    """The chart's own alerts, with windows of seconds and no `for`."""
    text = re.sub(r"\[\d+[mh]\]", f"[{_WINDOW}]", RULES.read_text())
    rules: dict[str, Any] = yaml.safe_load(re.sub(r"\n +for: \w+", "", text))
    return rules


class Bar:
    """A path to an address that somebody bars, as a NetworkPolicy does: what is open is cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open = True
        self._writers: set[asyncio.StreamWriter] = set()

    def shut(self) -> None:
        """Let nothing through, and cut what is under way."""
        self._open = False
        for writer in self._writers:
            writer.transport.abort()

    def lift(self) -> None:
        """Let new connections through."""
        self._open = True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        try:
            if not self._open:
                raise ConnectionRefusedError
            there, back = await asyncio.open_connection("127.0.0.1", self._port)
        except ConnectionError:
            writer.transport.abort()
            return
        both = {writer, back}
        self._writers |= both
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_copied(reader, back))
                tasks.create_task(_copied(there, writer))
        finally:
            self._writers -= both


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()


@dataclass
class RolesWorld(World):
    """The roles as processes of the test, each with its own files."""

    authority: Authority = field(kw_only=True)
    own: dict[str, Signed] = field(kw_only=True)
    programs: dict[str, Program] = field(kw_only=True)
    bar: Bar = field(kw_only=True)
    model: str = MODEL

    @property
    def config(self) -> str:
        """The address of sie-config."""
        return f"https://127.0.0.1:{self.port + 1}"

    @property
    def gateway(self) -> str:
        """The address of the gateway."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def log_file(self) -> Path:
        """The log."""
        return self.folder / "log/log.sqlite"

    def pid(self, role: str) -> int:
        """The process of a role as it is now."""
        return self.programs[role].pid


@asynccontextmanager
async def roles_on_their_own(folder: Path) -> AsyncIterator[RolesWorld]:
    """Start all but `older`, a gateway of another release."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    authority = Authority(folder / "ca")
    names = ("nats", "config", "gateway", "worker", "older")
    own = {name: authority.signed(name) for name in names}
    ports = _ports()
    gateway, config, worker, older, _ = ports
    async with AsyncExitStack() as stack:
        bar = Bar(config)
        relay = await asyncio.start_server(bar.serve, "127.0.0.1", 0)
        stack.callback(relay.close)
        stack.callback(bar.shut)
        barred = f"https://127.0.0.1:{relay.sockets[0].getsockname()[1]}"
        programs = _programs(folder, authority, own, ports, barred)
        for name, each in programs.items():
            stack.push_async_callback(each.kill)
            if name != "older":
                await each.start()
        context = connecting_context(TlsSettings(tls_ca_file=authority.ca), look_s=0)
        assert context is not None
        # A certificate is looked at with each new connection, and a kept one would hide that.
        no_kept = httpx.Limits(max_keepalive_connections=0)
        http = await stack.enter_async_context(
            httpx.AsyncClient(timeout=30, verify=context, limits=no_kept)
        )
        targets = [f"127.0.0.1:{port}" for port in (gateway, config, worker, older)]
        server = await stack.enter_async_context(
            prometheus(folder / "prometheus", targets, rules=short_rules(), ca=authority.ca)
        )
        environment = _plain() | {
            "SIE_CONFIG_URL": f"https://127.0.0.1:{config}",
            "SIE_GATEWAY_URL": f"https://127.0.0.1:{gateway}",
            "SIE_CA_FILE": str(authority.ca),
        }
        world = RolesWorld(
            folder,
            gateway,
            http,
            server,
            environment,
            authority=authority,
            own=own,
            programs=programs,
            bar=bar,
            doctor_options=("--gateway-url", f"https://127.0.0.1:{gateway}"),
        )
        await _taught(world)
        yield world


def _ports() -> tuple[int, int, int, int, int]:
    (gateway,) = free_ports(1, adjacent=2)
    worker, older, nats = free_ports(3)
    return gateway, gateway + 1, worker, older, nats


def _plain() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name[:4] != "SIE_"}


def _programs(
    folder: Path,
    authority: Authority,
    own: dict[str, Signed],
    ports: tuple[int, int, int, int, int],
    barred: str,
) -> dict[str, Program]:
    gateway, config, worker, older, nats = ports
    conf = folder / "nats.conf"
    conf.write_text(
        f'host: "127.0.0.1"\nport: {nats}\njetstream {{ store_dir: "{folder / "js"}" }}\n'
        f'tls {{ cert_file: "{own["nats"].cert}", key_file: "{own["nats"].key}" }}\n'
    )
    direct, socket = f"https://127.0.0.1:{config}", str(folder / "echo.sock")

    def program(name: str, *argv: str, **variables: str) -> Program:
        return Program(name, argv, folder / f"{name}.log", environment=_plain() | variables)

    def role(name: str, port: int, *argv: str, of: str = "", **more: str) -> Program:
        kind = of or name
        variables = own[name].settings(kind.upper(), authority.ca) | more
        there = ("--port", str(port), "--nats-url", f"tls://127.0.0.1:{nats}")
        return program(name, program_path(f"sie-{kind}"), *there, *argv, **variables)

    letters = ("--dead-letter-payloads", "true", "--queue-deliveries-max", "1")
    writes = ("--queues-verify-s", "0.2", "--jetstream-bytes-max", str(STORE_BYTES_MAX))
    settles = ("--fleet-settle-s", "0")
    return {
        "nats": program("nats", program_path("nats-server"), "-c", str(conf)),
        "echo": program(
            "echo", sys.executable, "-m", "sie_testing.processes.echo_execution", socket
        ),
        "config": role("config", config, "--data-dir", str(folder / "log"), *letters, *writes),
        "gateway": role(
            "gateway",
            gateway,
            *("--config-url", barred, "--gateway-id", "local", *settles),
            *("--replica-dir", str(folder / "replica")),
        ),
        "worker": role(
            "worker",
            worker,
            *("--config-url", direct, "--socket-path", socket, "--worker-id", "w"),
            *(*letters, "--executor-grace-s", "0.1"),
        ),
        "older": role(
            "older",
            older,
            *("--config-url", direct, "--gateway-id", "older", *settles),
            of="gateway",
            PYTHONPATH=str(_other_release(folder)),
        ),
    }


def _other_release(folder: Path) -> Path:
    """A folder by which a process says that it is of another release."""
    told = folder / f"other/sie_cluster-{OTHER_RELEASE}.dist-info/METADATA"
    told.parent.mkdir(parents=True)
    told.write_text(f"Metadata-Version: 2.1\nName: sie-cluster\nVersion: {OTHER_RELEASE}\n")
    return told.parents[1]


async def _taught(world: RolesWorld) -> None:
    """Register the model, and wait until a request is answered."""

    async def ready() -> bool:
        with contextlib.suppress(httpx.TransportError):
            return (await world.http.get(f"{world.config}/readyz")).status_code == 200
        return False

    await until_told(ready)
    documents = {
        "bundles/default": {"name": "default", "backends": [BACKEND]},
        f"models/{MODEL}": {
            "model_id": MODEL,
            "source": _SOURCE,
            "tasks": {"encode": {}},
            "profiles": {"default": {"backend": BACKEND}},
        },
    }
    for path, document in documents.items():
        answer = await world.http.put(f"{world.config}/v1/configs/{path}", json=document)
        assert answer.status_code in {200, 201}, answer.text
    await world.serves()
