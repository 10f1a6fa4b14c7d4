"""A whole cluster under mutual TLS: every listener, the broker, the SDK, the command line."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import pytest
from tests.support.certificates import Authority, Signed
from tests.support.log_world import free_port
from tests.support.polling import until, until_told

from sie_cli.diagnosis.facts import Place, gather
from sie_runtime.broker.bus import Bus, BusSettings
from sie_runtime.tls import TlsSettings, connecting_context
from sie_sdk import SIEAsyncClient, SIEAsyncConfigClient, SIEConnectionError, SIEError, Tls
from sie_testing.processes.echo_execution import BACKEND, echo_vector
from sie_testing.processes.programs import Program, program_path

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

MODEL = "org/echo"


@dataclass(frozen=True)
class Secured:
    """The addresses and the files of a cluster whose every line is under TLS."""

    authority: Authority
    client: Signed
    config: str
    gateway: str
    worker: str
    nats: str
    broker: Program
    own: dict[str, Signed]

    @property
    def tls(self) -> Tls:
        """The files of a client that is known."""
        return Tls(self.authority.ca, self.client.cert, self.client.key)

    def http(self, *, known: bool = True) -> httpx.AsyncClient:
        """A client of HTTP, with a certificate or without."""
        settings = TlsSettings(tls_ca_file=self.authority.ca)
        if known:
            settings = TlsSettings(
                tls_ca_file=self.authority.ca,
                tls_cert_file=self.client.cert,
                tls_key_file=self.client.key,
            )
        context = connecting_context(settings)
        assert context is not None
        return httpx.AsyncClient(verify=context, timeout=10)

    async def encode(self, text: str) -> None:
        """One request whose answer is right."""
        async with SIEAsyncClient(self.gateway, tls=self.tls) as client:
            result = await client.encode(MODEL, text)
            wanted = echo_vector(result["request"]["model_revision"], "", text)
            assert tuple(result["dense"]) == wanted


@asynccontextmanager
async def secured(folder: Path) -> AsyncIterator[Secured]:
    """Start it: broker, sie-config, gateway, sidecar, and the echo behind that."""
    authority = Authority(folder / "ca")
    names = ("nats", "config", "gateway", "worker")
    own = {name: authority.signed(name) for name in names}
    ports = {name: free_port() for name in names}
    conf = folder / "nats.conf"
    conf.write_text(
        f'host: "127.0.0.1"\nport: {ports["nats"]}\njetstream {{ store_dir: "{folder / "js"}" }}\n'
        f'tls {{ cert_file: "{own["nats"].cert}", key_file: "{own["nats"].key}", '
        f'ca_file: "{authority.ca}", verify: true }}\n'
    )
    nats_url = f"tls://127.0.0.1:{ports['nats']}"
    config_url, gateway_url, worker_url = (
        f"https://127.0.0.1:{ports[name]}" for name in ("config", "gateway", "worker")
    )
    plain = {name: value for name, value in os.environ.items() if name[:4] != "SIE_"}

    def program(name: str, *argv: str, **variables: str) -> Program:
        return Program(name, argv, folder / f"{name}.log", environment=plain | variables)

    def role(name: str, *argv: str) -> Program:
        variables = own[name].settings(name.upper(), authority.ca, asks=True)
        port = ("--port", str(ports[name]), "--nats-url", nats_url)
        return program(name, program_path(f"sie-{name}"), *port, *argv, **variables)

    socket = str(folder / "echo.sock")
    follows = ("--config-url", config_url)
    broker = program("nats", program_path("nats-server"), "-c", str(conf))
    programs = [
        broker,
        program("echo", sys.executable, "-m", "sie_testing.processes.echo_execution", socket),
        role("config", "--data-dir", str(folder / "log")),
        role("gateway", *follows, "--fleet-settle-s", "0"),
        role("worker", *follows, "--socket-path", socket, "--worker-id", "w"),
    ]
    async with AsyncExitStack() as stack:
        for each in programs:
            stack.push_async_callback(each.kill)
            await each.start()
        yield Secured(
            authority,
            authority.signed("client"),
            config_url,
            gateway_url,
            worker_url,
            nats_url,
            broker,
            own,
        )


async def warm(cluster: Secured) -> None:
    """Register the model, and wait until a worker is ready for it."""
    source = {"type": "package", "package": "echo", "distribution": "echo", "version": "1"}
    model = {
        "model_id": MODEL,
        "source": source,
        "tasks": {"encode": {}},
        "profiles": {"default": {"backend": BACKEND}},
    }
    async with cluster.http() as http:

        async def is_ready(url: str) -> bool:
            try:
                return (await http.get(f"{url}/readyz")).status_code == 200
            except httpx.TransportError:
                return False

        await until_told(lambda: is_ready(cluster.config))
        async with SIEAsyncConfigClient(cluster.config, tls=cluster.tls) as config:
            await config.put("bundle", "default", {"name": "default", "backends": [BACKEND]})
            await config.put("model", MODEL, model)
        for url in (cluster.gateway, cluster.worker):
            await until_told(lambda url=url: is_ready(url))  # type: ignore[misc]


async def test_a_cluster_under_mutual_tls_serves_and_its_files_are_changed_beside_it(tmp_path):
    async with secured(tmp_path) as cluster:
        await warm(cluster)
        await cluster.encode("one")
        await strangers_are_refused(cluster)
        await the_command_line_has_its_files_by_the_environment(cluster)
        # Every role gets new files, the broker too, and nobody is started again.
        for name, files in cluster.own.items():
            cluster.authority.signed(name, into=files)
        os.kill(cluster.broker.pid, signal.SIGHUP)
        await until(lambda: b"Reloaded: tls" in cluster.broker.log.read_bytes())
        await cluster.encode("two")
        async with cluster.http() as http:
            for url in (cluster.gateway, cluster.config, cluster.worker):
                assert (await http.get(f"{url}/metrics")).status_code == 200


async def strangers_are_refused(cluster: Secured) -> None:
    async with cluster.http(known=False) as http:
        for url in (cluster.gateway, cluster.config, cluster.worker):
            assert (await http.get(f"{url}/healthz")).status_code == 200
            refused = await http.get(f"{url}/metrics")
            assert refused.status_code == 403, url
            assert "a client certificate is wanted" in refused.json()["detail"]["message"]
    async with SIEAsyncClient(cluster.gateway, tls=Tls(cluster.authority.ca)) as client:
        with pytest.raises(SIEError, match="a client certificate is wanted"):
            await client.encode(MODEL, "x")
    async with SIEAsyncClient(cluster.gateway.replace("https", "http")) as client:
        with pytest.raises(SIEConnectionError, match="begins with https://"):
            await client.list_models()
    bare = BusSettings(nats_url=cluster.nats, tls_ca_file=cluster.authority.ca)
    bus = await Bus.connect(bare, role="gateway", process_id="stranger")
    try:
        await until(lambda: "certificate" in bus.refusal.lower() or not bus.connected)
        assert not bus.connected
    finally:
        await bus.close()


async def the_command_line_has_its_files_by_the_environment(cluster: Secured) -> None:
    files = {
        "SIE_CA_FILE": str(cluster.authority.ca),
        "SIE_CLIENT_CERT_FILE": str(cluster.client.cert),
        "SIE_CLIENT_KEY_FILE": str(cluster.client.key),
    }
    options = ("--url", cluster.config, "--gateway-url", cluster.gateway, "-o", "json")
    environment = {name: value for name, value in os.environ.items() if name[:4] != "SIE_"}
    for variables, status in ((files, 0), ({}, 1)):
        process = await asyncio.create_subprocess_exec(
            *(program_path("sie"), "doctor", *options),
            env=environment | variables,
            stdout=asyncio.subprocess.PIPE,
        )
        told = json.loads((await process.communicate())[0])
        assert process.returncode == status, told
    assert "SIE_CA_FILE" in told["troubles"][0]["evidence"]


def _is_refused(bus: Bus, words: str) -> bool:
    return words in bus.refusal


async def test_a_broker_that_tls_keeps_out_is_told_with_the_cure_and_reached_once_it_is_mended(
    tmp_path, caplog
):
    authority, stranger = Authority(tmp_path / "ca"), Authority(tmp_path / "other")
    shown, client = authority.signed("nats"), authority.signed("client")
    port = free_port()
    conf = tmp_path / "nats.conf"
    conf.write_text(
        f'host: "127.0.0.1"\nport: {port}\n'
        f'tls {{ cert_file: "{shown.cert}", key_file: "{shown.key}", '
        f'ca_file: "{authority.ca}", verify: true }}\n'
    )
    trusted, known = tmp_path / "trusted.pem", (client.cert, client.key)
    mine, old = stranger.signed("mine"), authority.signed("old", days=-1)
    cases = (
        (stranger.ca, known, "give its CA in tls_ca_file"),
        (authority.ca, (None, None), "give tls_cert_file and tls_key_file"),
        (authority.ca, (mine.cert, mine.key), "it trusts no CA of our certificate"),
        (authority.ca, (old.cert, old.key), "our certificate has expired"),
    )
    argv = (program_path("nats-server"), "-c", str(conf))
    broker = Program("nats", argv, tmp_path / "nats.log", environment={})
    await broker.start()
    try:
        for ca, (cert, key), words in cases:
            trusted.write_bytes(ca.read_bytes())
            settings = BusSettings(
                nats_url=f"tls://127.0.0.1:{port}",
                tls_ca_file=trusted,
                tls_cert_file=cert,
                tls_key_file=key,
            )
            bus = await Bus.connect(settings, role="gateway", process_id="g")
            try:
                await until(partial(_is_refused, bus, words))
                assert not bus.absent, "who speaks TLS with us is there"
                if ca is stranger.ca:
                    trusted.write_bytes(authority.ca.read_bytes())
                    assert await bus.wait_connected(10)
            finally:
                await bus.close()
            assert words in caplog.text
    finally:
        await broker.kill()
    assert "eof_received" not in caplog.text


async def test_an_address_that_asks_for_tls_gives_no_password_to_a_broker_without_it(tmp_path):
    heard = bytearray()

    async def plain_broker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","version":"2.15.1","auth_required":true}\r\n')
        while part := await reader.read(4096):
            heard.extend(part)
        writer.close()

    server = await asyncio.start_server(plain_broker, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings = BusSettings(
        nats_url=f"tls://127.0.0.1:{port}", nats_user="u", nats_password="planted-password"
    )
    bus = await Bus.connect(settings, role="gateway", process_id="g")
    try:
        await until(lambda: "offers no TLS" in bus.refusal)
    finally:
        await bus.close()
        server.close()
    assert b"planted-password" not in heard


def test_gather_is_told_of_files_that_cannot_be_used(monkeypatch, tmp_path):
    monkeypatch.setenv("SIE_CA_FILE", str(tmp_path / "none"))
    with pytest.raises(SIEError, match="no certificates that can be used"):
        gather(Place(config_url="https://127.0.0.1:1"))
