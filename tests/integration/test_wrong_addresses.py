"""A process with a wrong address says so within seconds: in log, `/readyz` and verdict."""

import asyncio
import contextlib
import socket

import httpx
import pytest
from tests.support.log_world import QUICK, free_port, nowhere, writer
from tests.support.nats import nats_server

from sie_cli.diagnosis.facts import Place, gather
from sie_cli.diagnosis.verdict import judge
from sie_gateway import main as gateway
from sie_gateway.settings import GatewaySettings
from sie_worker import main as worker
from sie_worker.settings import WorkerSettings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


@contextlib.asynccontextmanager
async def running(main):
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(main(stop))
        try:
            yield
        finally:
            stop.set()


async def reason(url: str, words: str) -> None:
    """Wait until `/readyz` has the words; say what it had instead."""
    told = ""
    try:
        async with asyncio.timeout(30), httpx.AsyncClient(timeout=5) as http:
            while words not in told:
                with contextlib.suppress(httpx.TransportError):
                    told = (await http.get(f"{url}/readyz")).text
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{words!r} is not in {told!r}") from None


async def line(caplog: pytest.LogCaptureFixture, words: str) -> str:
    """The first line of the log with the words."""
    async with asyncio.timeout(30):
        while True:
            if found := [each for each in caplog.messages if words in each]:
                return found[0]
            await asyncio.sleep(0.05)


WRONG_WRITERS = {
    "no such host": ("http://sie-confg.invalid:{config}", "no host is called 'sie-confg.invalid'"),
    "another port": ("http://127.0.0.1:{free}", "nobody listens at http://127.0.0.1:{free}"),
    "a path": ("http://127.0.0.1:{config}/v1", "/v1 is no sie-config: correct its port and path"),
    "TLS": ("https://127.0.0.1:{config}", "it speaks no TLS: its address begins with http://"),
    "the gateway": ("http://127.0.0.1:{own}", "is a gateway: give the address of sie-config"),
    "the broker": ("http://127.0.0.1:{broker}", "something else has that port"),
}


@pytest.mark.parametrize("wrong", WRONG_WRITERS)
async def test_a_gateway_with_a_wrong_address_of_sie_config_names_cause_and_cure(
    wrong, tmp_path, caplog
):
    config_url, words = WRONG_WRITERS[wrong]
    own, config, free = free_port(), free_port(), free_port()
    async with (
        nats_server(tmp_path / "nats") as nats_url,
        writer(tmp_path / "data", nats_url, port=config),
    ):
        ports = {"own": own, "config": config, "free": free, "broker": nats_url.rpartition(":")[2]}
        words = words.format(**ports)
        settings = GatewaySettings(
            nats_url=nats_url, port=own, config_url=config_url.format(**ports), **QUICK
        )
        async with running(lambda stop: gateway.serve(settings, "g1", stop)):
            url = f"http://127.0.0.1:{own}"
            await reason(url, words)
            told = await line(caplog, "sie-config is not reached")
            assert words in told
            assert "config_url" in told
            place = Place(f"http://127.0.0.1:{config}", gateway_url=url)
            verdict = judge(await asyncio.to_thread(gather, place))
    [trouble] = [each for each in verdict.troubles if each.id == "reach sie-config"]
    assert trouble.tone == "bad"
    assert words in trouble.evidence
    assert "config_url" in trouble.cure


WRONG_BROKERS = {
    "no such host": ("nats://natz.invalid:4222", "no host is called 'natz.invalid'"),
    "another port": (nowhere(), "nobody listens at nats://127.0.0.1:"),
    "TLS": ("tls://127.0.0.1:{broker}", "offers no TLS, and its address asks for it: give nats://"),
    "sie-config": ("nats://127.0.0.1:{mute}", "Something else may listen there"),
    "a password": ("nats://ann:secret@127.0.0.1:{mute}", "//127.0.0.1:{mute}: no answer in time"),
}


@pytest.mark.parametrize("wrong", WRONG_BROKERS)
async def test_a_gateway_and_a_worker_with_a_wrong_address_of_the_broker_name_cause_and_cure(
    wrong, tmp_path, caplog
):
    broker_url, words = WRONG_BROKERS[wrong]
    own, port, config = free_port(), free_port(), free_port()
    async with (
        nats_server(tmp_path / "nats") as nats_url,
        writer(tmp_path / "data", nats_url, port=config),
    ):
        with socket.socket() as mute:
            mute.bind(("127.0.0.1", 0))
            mute.listen()
            ports = {"broker": nats_url.rpartition(":")[2], "mute": mute.getsockname()[1]}
            words = words.format(**ports)
            shared = {
                "nats_url": broker_url.format(**ports),
                "config_url": f"http://127.0.0.1:{config}",
                **QUICK,
            }
            gateway_settings = GatewaySettings(port=own, **shared)
            worker_settings = WorkerSettings(
                port=port, socket_path=(tmp_path / "none.sock",), drain_s=0.1, **shared
            )
            async with (
                running(lambda stop: gateway.serve(gateway_settings, "g1", stop)),
                running(lambda stop: worker.serve(worker_settings, "w1", stop)),
            ):
                await reason(f"http://127.0.0.1:{own}", words)
                await reason(f"http://127.0.0.1:{port}", words)
                place = Place(f"http://127.0.0.1:{config}", gateway_url=f"http://127.0.0.1:{own}")
                verdict = judge(await asyncio.to_thread(gather, place))
    told = await line(caplog, "the broker is not reached")
    assert words in told
    assert "nats_url" in told
    [trouble] = [each for each in verdict.troubles if each.id == "reach the broker"]
    assert words in trouble.evidence
    assert "secret" not in caplog.text + repr(verdict)


async def test_what_comes_late_is_not_told_as_unreached_any_more(tmp_path, caplog):
    caplog.set_level("INFO")
    own, config, broker = free_port(), free_port(), free_port()
    nats_url = f"nats://127.0.0.1:{broker}"
    settings = GatewaySettings(
        nats_url=nats_url, port=own, config_url=f"http://127.0.0.1:{config}", **QUICK
    )
    place = Place(f"http://127.0.0.1:{config}", gateway_url=f"http://127.0.0.1:{own}")

    async def unreached() -> set[str]:
        verdict = judge(await asyncio.to_thread(gather, place))
        return {each.id for each in verdict.troubles if each.id.startswith("reach ")}

    async with running(lambda stop: gateway.serve(settings, "g1", stop)):
        await line(caplog, "sie-config is not reached")
        await line(caplog, "the broker is not reached")
        async with (
            nats_server(tmp_path / "nats", port=broker),
            writer(tmp_path / "data", nats_url, port=config),
        ):
            await line(caplog, "sie-config is reached")
            await line(caplog, "the broker is reached")
            assert await unreached() == set()


async def test_a_writer_with_a_wrong_address_of_the_broker_says_so_in_readyz_and_the_verdict(
    tmp_path,
):
    port, broker = free_port(), nowhere()
    async with writer(tmp_path, broker, port=port):
        url = f"http://127.0.0.1:{port}"
        await reason(url, f"nobody listens at {broker}")
        verdict = judge(await asyncio.to_thread(gather, Place(url)))
    [trouble] = [each for each in verdict.troubles if each.id == "broker"]
    assert "nobody listens at" in trouble.evidence
