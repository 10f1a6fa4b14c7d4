"""The keeper of the queues while no broker answers: it looks on, and says so once."""

import asyncio
import logging

import pytest
from tests.support.log_world import free_port

from sie_config.stream.queues import Queues
from sie_core.registry import Registry
from sie_runtime.broker.bus import Bus, BusSettings
from sie_runtime.streams.provisions import Provisions, ProvisionSettings


async def test_a_broker_that_stays_away_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """A log of two lines a second hid what else was said in an outage."""
    settings = BusSettings(nats_url=f"nats://127.0.0.1:{free_port()}")
    bus = await Bus.connect(settings, role="config", process_id="config-0")
    stop = asyncio.Event()
    looks = 0

    async def moved() -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            stop.set()
        await asyncio.Event().wait()

    queues = Queues(
        bus,
        Provisions(bus, ProvisionSettings()),
        registry=lambda: Registry.EMPTY,
        moved=moved,
        verify_s=60.0,
        retry_s=0.001,
    )
    with caplog.at_level(logging.INFO, logger="sie_config.stream.queues"):
        try:
            await queues.run(stop)
        finally:
            await bus.close()
    assert looks == 2
    assert [record.message for record in caplog.records] == ["the queues wait for the broker"]
