"""The broker in memory and the real one keep the same promises."""

import random
from contextlib import AsyncExitStack
from typing import cast

import pytest
from nats.aio.client import Client
from tests.support.nats import nats_server

from sie_runtime.broker.bus import Bus, BusSettings
from sie_runtime.streams.log_stream import LogStream
from sie_testing.contracts import (
    BROKER_CONTRACT,
    STREAM_CONTRACT,
    BrokerUnderTest,
    StreamUnderTest,
)
from sie_testing.contracts.memory_stream import MemoryStream
from sie_testing.stage.broker import Broker
from sie_testing.stage.broker_client import BrokerClient
from sie_testing.stage.loop import Host, SimulatedLoop
from sie_testing.stage.network import Network
from sie_testing.written_log import WrittenLog

SEEDS = range(3)


@pytest.fixture
async def real(tmp_path):
    """Two connections to a real server, which can be killed and started again."""
    async with AsyncExitStack() as server, AsyncExitStack() as connections:
        url = await server.enter_async_context(nats_server(tmp_path))
        settings = BusSettings(nats_url=url, nats_reconnect_wait_s=0.05)

        async def connected(process_id: str) -> Bus:
            bus = await Bus.connect(settings, role="test", process_id=process_id)
            connections.push_async_callback(bus.close)
            assert await bus.wait_connected(10)
            return bus

        async def start() -> None:
            port = int(url.rpartition(":")[2])
            await server.enter_async_context(nats_server(tmp_path, port=port))

        yield BrokerUnderTest(await connected("1"), await connected("2"), server.aclose, start)


def in_memory(seed, promise):
    """Run a promise on the broker in memory, in a loop of its own."""
    loop = SimulatedLoop(random.Random(seed))  # type: ignore[abstract]
    broker = Broker(loop, Network(random.Random(seed)))

    async def stop():
        broker.stop()

    async def start():
        broker.start()

    async def connected(name):
        client = BrokerClient(broker, Host(name), random.Random(seed))
        bus = await Bus.connect(
            BusSettings(), role="test", process_id=name, client=cast(Client, client)
        )
        assert await bus.wait_connected(10)
        return bus

    async def run():
        one, other = await connected("one"), await connected("other")
        await promise(BrokerUnderTest(one, other, stop, start))
        await one.close()
        await other.close()

    loop.run_until_complete(run())
    loop.close()
    assert loop.troubles == []


@pytest.mark.integration
@pytest.mark.parametrize("promise", BROKER_CONTRACT.values(), ids=BROKER_CONTRACT)
async def test_a_real_broker_keeps(promise, real):
    await promise(real)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("promise", BROKER_CONTRACT.values(), ids=BROKER_CONTRACT)
def test_the_broker_in_memory_keeps(promise, seed):
    in_memory(seed, promise)


@pytest.mark.integration
@pytest.mark.parametrize("promise", STREAM_CONTRACT.values(), ids=STREAM_CONTRACT)
async def test_a_real_stream_keeps(promise, real):
    log = WrittenLog()
    await promise(StreamUnderTest(LogStream(real.one, log.log_id), log))


@pytest.mark.parametrize("promise", STREAM_CONTRACT.values(), ids=STREAM_CONTRACT)
def test_a_stream_of_the_broker_in_memory_keeps(promise):
    async def on_stream(under_test: BrokerUnderTest) -> None:
        log = WrittenLog()
        await promise(StreamUnderTest(LogStream(under_test.one, log.log_id), log))

    in_memory(0, on_stream)


@pytest.mark.parametrize("promise", STREAM_CONTRACT.values(), ids=STREAM_CONTRACT)
async def test_the_stream_in_memory_keeps(promise):
    await promise(StreamUnderTest(MemoryStream(), WrittenLog()))
