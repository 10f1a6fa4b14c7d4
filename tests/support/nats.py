"""A real nats-server for a test: JetStream on, loopback, its own folder, ended by its pid."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from nats.aio.client import Client
from nats.errors import Error as NatsError
from tests.support.polling import until, until_told

from sie_cli.plan.ports import free_ports

__all__ = ["NatsCluster", "NatsNode", "nats_cluster", "nats_server"]

_BINARY = Path(sys.executable).parent / "nats-server"


@asynccontextmanager
async def nats_server(
    folder: Path, *, port: int = -1, config: Path | None = None
) -> AsyncIterator[str]:
    """Start a server with its store in `folder` and give its URL.

    `port` -1 takes a free one. The same folder and port again is a restart: the store is kept.
    `config` is a file of settings: users, and where the store is.
    """
    stored = ("--jetstream", "--store_dir", str(folder / "store"))
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        str(_BINARY),
        *("--addr", "127.0.0.1", "--port", str(port)),
        *("--ports_file_dir", str(folder), "--log", str(folder / "nats.log")),
        *(("--config", str(config)) if config is not None else stored),
    )
    ports = folder / f"nats-server_{process.pid}.ports"
    try:
        await until(lambda: _url(ports) or process.returncode is not None)
        if process.returncode is not None:
            raise AssertionError(f"nats-server did not start; see {folder}/nats.log")
        yield _url(ports)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _url(ports: Path) -> str:
    """The client URL from the ports file; empty while it is not written."""
    try:
        return str(json.loads(ports.read_text())["nats"][0])
    except (FileNotFoundError, json.JSONDecodeError):
        return ""


@dataclass
class NatsNode:
    """One node of a cluster: killed and started again on the same ports and store."""

    name: str
    folder: Path
    port: int
    cluster_port: int
    routes: str
    process: asyncio.subprocess.Process | None = field(default=None, repr=False)

    async def start(self) -> None:
        """Run it; when it is of use is the cluster's to say."""
        config = self.folder / f"{self.name}.conf"
        config.write_text(
            f"server_name: {self.name}\n"
            f'listen: "127.0.0.1:{self.port}"\n'
            f'jetstream {{ store_dir: "{self.folder / self.name}" }}\n'
            f'cluster {{ name: c, listen: "127.0.0.1:{self.cluster_port}", '
            f"routes: [{self.routes}] }}\n"
        )
        self.process = await asyncio.create_subprocess_exec(
            str(_BINARY), "--config", str(config), "--log", str(self.folder / f"{self.name}.log")
        )

    async def kill(self) -> None:
        """As a machine that is lost."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


@dataclass
class NatsCluster:
    """Three nodes on loopback."""

    nodes: list[NatsNode]

    @property
    def url(self) -> str:
        """Every node, as a process is told them."""
        return ",".join(f"nats://127.0.0.1:{node.port}" for node in self.nodes)

    async def leader_of(self, stream: str) -> NatsNode:
        """The node that leads a stream now."""
        client = await self._client()
        try:
            info = await client.jetstream().stream_info(stream)
        finally:
            await client.close()
        # With fewer copies a story of lost nodes would prove nothing.
        assert info.config.num_replicas == len(self.nodes)
        leader = info.cluster.leader if info.cluster is not None else None
        [found] = [node for node in self.nodes if node.name == leader]
        return found

    async def has_quorum(self) -> bool:
        """True if JetStream answers."""
        try:
            client = await self._client()
        except (NatsError, OSError, TimeoutError):
            return False
        try:
            await client.jetstream(timeout=1).account_info()
        except (NatsError, TimeoutError):
            return False
        finally:
            await client.close()
        return True

    async def _client(self) -> Client:
        client = Client()
        await client.connect(
            servers=self.url.split(","), allow_reconnect=False, connect_timeout=1, error_cb=_quiet
        )
        return client


async def _quiet(error: Exception) -> None:
    """A node that is down is what these tests are about."""


@asynccontextmanager
async def nats_cluster(folder: Path) -> AsyncIterator[NatsCluster]:
    """Three real nodes with JetStream, ended by their pids."""
    ports = free_ports(6)
    routes = ", ".join(f"nats://127.0.0.1:{port}" for port in ports[3:])
    cluster = NatsCluster(
        [NatsNode(f"n{at}", folder, ports[at], ports[3 + at], routes) for at in range(3)]
    )
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    try:
        for node in cluster.nodes:
            await node.start()
        await until_told(cluster.has_quorum)
        yield cluster
    finally:
        for node in cluster.nodes:
            await node.kill()
