"""`sie-gateway`: wires the edge and runs it until it is told to stop.

*main.* On SIGTERM it takes no new connection, finishes what is in flight, and says that it leaves.
It closes the bus last, because the answers in flight come over it.
"""

import asyncio
import logging
import time
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

from sie_core.resolver import Resolver
from sie_gateway.application import build_app
from sie_gateway.fleet.kind_loads import KindLoads
from sie_gateway.fleet.traffic import Traffic
from sie_gateway.http.app import GatewayApp
from sie_gateway.http.rules import refusal_body, role_of
from sie_gateway.parts import opened_parts
from sie_gateway.settings import PREFIX, GatewaySettings
from sie_runtime.access.access import Access
from sie_runtime.access.gate import Gate
from sie_runtime.access.web_pages import origin_of
from sie_runtime.broker.bus import Bus
from sie_runtime.follower.follower import Follower, ProcessReport
from sie_runtime.process import lifecycle
from sie_runtime.settings import load
from sie_runtime.streams.lease_store import LeaseStore
from sie_runtime.streams.payload_store import PayloadStore
from sie_runtime.streams.work_queue import WorkQueue
from sie_runtime.tls import check_tls, listening_context

__all__ = ["main", "serve"]

_LOG: Final = logging.getLogger(__name__)
_ROLE: Final = "gateway"


def main() -> None:
    """Entry point."""
    settings = load(GatewaySettings, prefix=PREFIX)
    check_tls(settings)
    process_id = settings.process_id()
    lifecycle.run(
        partial(serve, settings, process_id),
        role=_ROLE,
        process_id=process_id,
        log_level=settings.log_level,
    )


async def serve(settings: GatewaySettings, process_id: str, stop: asyncio.Event) -> None:
    """Run a gateway until `stop`."""
    access = Access.open(settings)
    bus = await Bus.connect(settings, role=_ROLE, process_id=process_id)
    traffic = Traffic(time.monotonic)
    follower = Follower(
        settings,
        role=_ROLE,
        process_id=process_id,
        bus=bus,
        process=ProcessReport(traffic=traffic.report, adapters=traffic.report_adapters),
    )

    def resolver() -> Resolver:
        return follower.resolver

    async with AsyncExitStack() as closing:
        closing.push_async_callback(bus.close)
        parts = await closing.enter_async_context(
            opened_parts(
                settings,
                bus,
                WorkQueue(bus, settings),
                asker=bus,
                gateway_id=process_id,
                objects=PayloadStore(bus, settings),
                leases=LeaseStore(bus, settings),
                resolver=resolver,
            )
        )
        bus.on_reconnect(parts.watch.begin)
        # The queue does not wait for its disk: of 200 jobs a broker that was killed had forgotten
        # 50.
        bus.on_reconnect(parts.lost_jobs.suspect)
        loads = KindLoads(shown_s=settings.cold_shown_s)
        follower.on_change(loads.advance)
        app = build_app(
            settings,
            parts,
            resolver,
            stop,
            loads=loads,
            replica_not_ready=lambda: follower.not_ready,
            reaches=(follower.writer_reach, bus.reach),
            asked_for=traffic.note,
        )
        # All that lives as long as the process is here now. The collector walked it every few
        # hundred requests.
        lifecycle.spare_collections()
        drained = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(follower.run(drained), name="follower")
            tasks.create_task(parts.run(drained), name="parts")
            await _serve_http(settings, _gate(settings, app, access), stop)
            drained.set()


def _gate(settings: GatewaySettings, app: GatewayApp, access: Access) -> Gate:
    pages = frozenset(map(origin_of, settings.web_pages)) - {""}
    return Gate(app, access, role_of, shape=refusal_body, pages=pages)


async def _serve_http(settings: GatewaySettings, gate: Gate, stop: asyncio.Event) -> None:
    await lifecycle.serve_http(
        gate,
        host=settings.host,
        port=settings.port,
        stop=stop,
        bounds=settings,
        drain_s=settings.drain_s,
        share_port=settings.share_port,
        websockets=True,
        on_listening=partial(_LOG.info, "listening on port %d"),
        tls=listening_context(settings),
    )


if __name__ == "__main__":
    main()
