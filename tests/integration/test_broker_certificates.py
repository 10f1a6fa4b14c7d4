"""Renewed certificates reach the chart's broker by themselves, and no request is lost by it.

The broker runs with the file that its pod has, and beside it the script of the pod's second
container, in folders of the test.
"""

import asyncio
import json
import os
import ssl
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.support.certificates import Authority, Signed
from tests.support.chart import containers, pod_specs, rendered, values_of
from tests.support.polling import until, until_told

from sie_cli.plan.ports import free_ports
from sie_runtime.broker.bus import Bus, BusSettings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

NATS_SERVER = Path(sys.executable).parent / "nats-server"
SECRETS = dict.fromkeys(("config", "gateway", "worker", "nats"), "certificates")


@dataclass
class Pod:
    """The broker's pod on this machine: its files, and the ports that it listens on."""

    folder: Path
    client: int
    routes: int
    authority: Authority
    shown: Signed
    script: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    broker: asyncio.subprocess.Process | None = field(default=None, repr=False)
    looker: asyncio.subprocess.Process | None = field(default=None, repr=False)
    command: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """The broker's address."""
        return f"tls://127.0.0.1:{self.client}"

    async def start(self) -> None:
        """Run the broker, as its container does."""
        self.broker = await asyncio.create_subprocess_exec(
            NATS_SERVER,
            *("-c", self.folder / "nats.conf", "--log", self.folder / "nats.log"),
            env=self.environment,
        )
        await until_told(self.listens)

    async def look(self) -> None:
        """Run the container that looks at the files."""
        self.looker = await asyncio.create_subprocess_exec(
            *(*self.command, self.script), env={"PATH": os.environ["PATH"]}
        )

    async def listens(self) -> bool:
        """True once it takes connections."""
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.client)
        except OSError:
            return False
        writer.close()
        return True

    async def serial(self, port: int) -> str:
        """The serial number of the certificate that a new connection to a port is shown."""
        context = ssl.create_default_context(cafile=self.authority.ca)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            if port == self.client:
                assert (await reader.readline()).startswith(b"INFO ")
            await writer.start_tls(context, server_hostname="127.0.0.1")
            found: str = writer.get_extra_info("peercert")["serialNumber"]
        finally:
            writer.close()
        return found

    async def shows_another(self, before: set[str], doors: Iterable[int]) -> bool:
        """True once no door shows a certificate of those before."""
        return not before & {await self.serial(port) for port in doors}


@asynccontextmanager
async def pod(folder: Path, *, look_s: float = 0.05) -> AsyncIterator[Pod]:
    """Start both containers of the pod, one look every `look_s`."""
    tls = {"tls": {"enabled": True, "secrets": SECRETS}, "nats": {"replicas": 3}}
    documents = rendered(values_of("", tls))
    (template,) = [found for role, found in pod_specs(documents) if role == "nats"]
    assert template["spec"]["shareProcessNamespace"] is True, "the one has to see the other"
    told, broker = containers(template)
    authority = Authority(folder / "ca")
    client, routes, monitor = free_ports(3)
    found = Pod(folder, client, routes, authority, authority.signed("nats"))
    places = {
        "/etc/sie/tls/tls.crt": found.shown.cert,
        "/etc/sie/tls/tls.key": found.shown.key,
        "/etc/sie/tls/ca.crt": authority.ca,
        "/run/nats": folder,
        ": /data": f": {folder / 'data'}",
        ": 4222": f": {found.client}",
        ": 6222": f": {found.routes}",
        ": 8222": f": {monitor}",
        "sleep 10": f"sleep {look_s}",
    }

    def placed(text: str) -> str:
        for before, after in places.items():
            text = text.replace(before, str(after))
        return text

    (files,) = [d["data"] for d in documents if d["kind"] == "ConfigMap"]
    for name, text in files.items():
        (folder / name).write_text(placed(text))
    for variable in broker["env"]:
        found.environment[variable["name"]] = variable.get("value", "p1")
    # The other two brokers of the three are not there.
    own = f"nats://config:p1@127.0.0.1:{found.routes}"
    found.environment |= {"POD_NAME": "nats-0", "SIE_NATS_ROUTES": json.dumps([own])}
    found.script = placed(told["args"][0])
    assert f"sleep {look_s}" in found.script
    found.command = tuple(told["command"])
    await found.look()
    try:
        await found.start()
        yield found
        assert found.looker is not None
        assert found.looker.returncode is None, "it looks for as long as there is a broker"
    finally:
        for process in (found.looker, found.broker):
            if process is not None and process.returncode is None:
                process.kill()
                await process.wait()


@asynccontextmanager
async def asking(pod: Pod) -> AsyncIterator[list[str]]:
    """Somebody asks and is answered all the while; every failure is told."""
    failed: list[str] = []
    settings = BusSettings(
        nats_url=pod.url, nats_user="config", nats_password="p1", tls_ca_file=pod.authority.ca
    )
    bus = await Bus.connect(settings, role="config", process_id="test")
    assert await bus.wait_connected(10)
    over, answered = asyncio.Event(), 0

    async def ask() -> None:
        nonlocal answered
        while not over.is_set():
            try:
                # Answered by the broker itself, whether or not its cluster has a leader.
                await bus.client.flush(5)
                answered += 1
            except Exception as error:
                failed.append(repr(error))

    task = asyncio.create_task(ask())
    try:
        await until(lambda: answered > 10)
        before = bus.server_id
        yield failed
        more = answered + 10
        await until(lambda: answered > more)
        assert bus.connected
        assert bus.server_id == before, "it was not started again"
    finally:
        over.set()
        await task
        await bus.close()


async def test_the_broker_shows_a_renewed_certificate_to_all_and_drops_nobody(tmp_path):
    async with pod(tmp_path) as one, asking(one) as failed:
        doors = (one.client, one.routes)
        shown = [{await one.serial(port) for port in doors}]
        for _ in range(2):
            one.authority.signed("nats", into=one.shown)
            await until_told(lambda: one.shows_another(shown[-1], doors))
            shown.append({await one.serial(port) for port in doors})
        assert [len(each) for each in shown] == [1, 1, 1]
        assert len(set.union(*shown)) == 3
        assert failed == []


async def test_a_broker_that_was_away_when_its_files_were_renewed_has_them(tmp_path):
    async with pod(tmp_path) as one:
        before = await one.serial(one.client)
        assert one.broker is not None
        one.broker.kill()
        await one.broker.wait()
        one.authority.signed("nats", into=one.shown)
        await one.start()
        at_start = await one.serial(one.client)
        assert at_start != before
        # What was told to nobody did not end the watch.
        one.authority.signed("nats", into=one.shown)
        await until_told(lambda: one.shows_another({at_start}, [one.client]))


async def test_files_that_were_renewed_while_nobody_looked_are_told_of(tmp_path):
    async with pod(tmp_path) as one:
        before = await one.serial(one.client)
        assert one.looker is not None
        one.looker.kill()
        await one.looker.wait()
        one.authority.signed("nats", into=one.shown)
        assert await one.serial(one.client) == before
        await one.look()
        await until_told(lambda: one.shows_another({before}, [one.client]))


async def test_files_that_cannot_be_used_leave_the_last_good_ones(tmp_path):
    async with pod(tmp_path) as one, asking(one) as failed:
        before = await one.serial(one.client)
        one.shown.cert.write_bytes(b"no certificate")
        log = tmp_path / "nats.log"
        await until(lambda: b"Failed to reload" in log.read_bytes())
        assert await one.serial(one.client) == before
        one.authority.signed("nats", into=one.shown)
        await until_told(lambda: one.shows_another({before}, [one.client]))
        assert failed == []
