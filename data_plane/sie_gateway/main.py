"""`sie-gateway`: wires the edge and runs it until it is told to stop.

*main.* On SIGTERM it takes no new connection, finishes what is in flight, says that it leaves, and
closes the bus last, because the answers in flight come over it.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from sie_core.models import Catalog
from sie_gateway.admin import Cluster, admin_app
from sie_gateway.admission import Caps
from sie_gateway.app import GatewayApp
from sie_gateway.dispatch import Dispatcher
from sie_gateway.inference import Inference
from sie_gateway.jobs import JobCaps
from sie_gateway.requests import Limits
from sie_gateway.settings import PREFIX, GatewaySettings
from sie_gateway.watch import FleetWatch
from sie_runtime import lifecycle
from sie_runtime.bus import Bus
from sie_runtime.follower import Follower
from sie_runtime.settings import load
from sie_runtime.work_queue import WorkQueue

__all__ = ["build_app", "main", "serve"]

_LOG: Final = logging.getLogger(__name__)
_ROLE: Final = "gateway"


def main() -> None:
    """Entry point."""
    settings = load(GatewaySettings, prefix=PREFIX)
    process_id = settings.process_id()
    lifecycle.run(
        partial(serve, settings, process_id),
        role=_ROLE,
        process_id=process_id,
        log_level=settings.log_level,
    )


async def serve(
    settings: GatewaySettings,
    process_id: str,
    stop: asyncio.Event,
    on_listening: Callable[[int], None] | None = None,
) -> None:
    """Run a gateway until `stop`. `on_listening` is told the port."""
    bus = await Bus.connect(settings, role=_ROLE, process_id=process_id)
    follower = Follower(settings, role=_ROLE, process_id=process_id, bus=bus)
    dispatcher = Dispatcher(bus, WorkQueue(bus, settings), gateway_id=process_id)
    watch = FleetWatch(bus, ttl_s=settings.fleet_ttl_s, settle_s=settings.fleet_settle_s)
    await dispatcher.open()
    await watch.open()
    bus.on_reconnect(watch.begin)
    app = build_app(settings, dispatcher, watch, lambda: follower.catalog, stop)
    drained = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(follower.run(drained), name="follower")
            await lifecycle.serve_http(
                app,
                host=settings.host,
                port=settings.port,
                stop=stop,
                drain_s=settings.drain_s,
                on_listening=on_listening or _log_port,
            )
            drained.set()
    finally:
        await watch.close()
        await dispatcher.close()
        await bus.close()


def build_app(
    settings: GatewaySettings,
    dispatcher: Dispatcher,
    watch: FleetWatch,
    catalog: Callable[[], Catalog],
    stop: asyncio.Event,
) -> GatewayApp:
    """The HTTP face over the parts that live."""

    def not_ready() -> str:
        if stop.is_set():
            return "this gateway is stopping"
        if catalog().position is None:
            return "no verified registry is loaded yet"
        return "" if watch.settled else "the workers were not heard yet"

    inference = Inference(
        dispatcher=dispatcher,
        watch=watch,
        catalog=catalog,
        caps=Caps(settings.in_flight_items_max, settings.in_flight_bytes_max),
        job_caps=JobCaps(settings.job_items_max, settings.job_bytes_max),
        timeout_s=settings.request_timeout_s,
    )
    cluster = Cluster(
        catalog=catalog,
        workers=watch.live,
        not_ready=not_ready,
        config_url=settings.config_public_url or settings.config_url,
    )
    return GatewayApp(
        inference,
        admin_app(cluster),
        limits=Limits(
            items_max=settings.request_items_max,
            chars_max=settings.request_chars_max,
            payload_bytes_max=settings.payload_bytes_max,
        ),
        body_bytes_max=settings.body_bytes_max,
        provisioning_retry_after_s=settings.provisioning_retry_after_s,
    )


def _log_port(port: int) -> None:
    _LOG.info("listening on port %d", port)


if __name__ == "__main__":
    main()
