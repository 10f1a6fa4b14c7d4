"""A gateway's application on a real bus, asked in-process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from tests.support.gateway_world import MemoryBus, quiet_app
from tests.support.provisioned import provide

from sie_core.resolver import Resolver
from sie_gateway.parts import Parts, opened_parts
from sie_gateway.settings import GatewaySettings
from sie_runtime.broker.bus import Bus, BusSettings
from sie_runtime.streams.lease_store import LeaseStore
from sie_runtime.streams.payload_store import PayloadStore
from sie_runtime.streams.work_queue import WorkQueue

__all__ = ["Edge", "bus_of", "edge_on"]


@dataclass
class Edge:
    """One gateway's application and its parts. `resolver` may be swapped."""

    resolver: Resolver
    parts: Parts = field(init=False)
    app: Any = field(init=False)
    http: httpx.AsyncClient = field(init=False)

    async def ask(self, method: str, path: str, **rest: Any) -> httpx.Response:
        """One request."""
        return await self.http.request(method, path, **rest)


@asynccontextmanager
async def bus_of(url: str, name: str, *, role: str = "test", **changed: Any) -> AsyncIterator[Bus]:
    """A connected bus."""
    settings = BusSettings(nats_url=url, **({"nats_reconnect_wait_s": 0.02} | changed))
    bus = await Bus.connect(settings, role=role, process_id=name)
    try:
        assert await bus.wait_connected(5)
        yield bus
    finally:
        await bus.close()


@asynccontextmanager
async def edge_on(
    bus: Bus,
    resolver: Resolver,
    *,
    gateway_id: str = "g1",
    jobs: MemoryBus | None = None,
    **changed: Any,
) -> AsyncIterator[Edge]:
    """A gateway; with `jobs`, its jobs and heartbeats are there, and only its leases on the bus."""
    settings = GatewaySettings(**({"fleet_ttl_s": 600.0, "fleet_settle_s": 0.0} | changed))
    stop = asyncio.Event()
    edge = Edge(resolver)
    await provide(bus, resolver.pools)
    async with opened_parts(
        settings,
        jobs or bus,
        jobs or WorkQueue(bus, settings),
        asker=bus,
        gateway_id=gateway_id,
        objects=PayloadStore(bus, settings),
        leases=LeaseStore(bus, settings),
        resolver=lambda: edge.resolver,
    ) as parts:
        parts.watch.begin()
        looking = asyncio.create_task(parts.run(stop))
        edge.parts = parts
        edge.app = quiet_app(settings, parts, lambda: edge.resolver, asyncio.Event())
        transport = httpx.ASGITransport(app=edge.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            edge.http = http
            try:
                yield edge
            finally:
                stop.set()
                await looking
