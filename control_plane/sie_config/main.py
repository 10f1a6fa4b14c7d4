"""`sie-config`: the one writer of the configuration log.

*main.* Reads the settings, connects the bus, opens the log, serves HTTP, and closes in the opposite
order. A log that cannot be served at all ends the process with one line that says what to do.
"""

import asyncio
import logging
import os
import sys
from typing import Final

from sie_config.http.api import build_app
from sie_config.http.console.console import Console
from sie_config.http.doors import Doors
from sie_config.http.refusal_notes import noting_gate
from sie_config.keys.private_modes import close_to_others
from sie_config.settings import ConfigSettings
from sie_config.stream.queues import keep_queues
from sie_config.stream.usage_watch import watch_usage
from sie_config.writer_process import ControlPlane
from sie_runtime.access.access import Access
from sie_runtime.access.gate import Gate
from sie_runtime.access.rates import Rates
from sie_runtime.access.web_pages import origin_of
from sie_runtime.broker.bus import Bus
from sie_runtime.process.lifecycle import run, serve_http, spare_collections, stop_when
from sie_runtime.process.named_requests import NamedRequests
from sie_runtime.settings import load
from sie_runtime.tls import check_tls, connecting_context, listening_context
from sie_schemas.errors import SIEError

__all__ = ["main"]

_LOG: Final = logging.getLogger(__name__)
_CANNOT_START: Final = 3
"""Not 1 (a crash) and not 2 (a wrong setting): a supervisor can tell a log that will not open."""
_ROLE: Final = "config"
_SWITCH_INTERVAL_S: Final = 0.002
"""The longest wait of the commit's thread for a busy loop, at each step (5 ms is Python's own).

Under eight clients that export, the p99 of a write was 201 to 293 ms at 5 ms. It was 52 to 95 at 2,
and 31 to 41 at 0.5. But at 0.5 the thread of the head file breaks into every request."""


def main() -> None:
    """The entry point of the process."""
    settings = load(ConfigSettings, prefix="SIE_CONFIG")
    check_tls(settings)

    async def serve(stop: asyncio.Event) -> None:
        await _serve(settings, stop)

    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    run(serve, role=_ROLE, process_id=str(os.getpid()), log_level=settings.log_level)


async def _serve(settings: ConfigSettings, stop: asyncio.Event) -> None:
    access = Access.open(settings, replicas=settings.replica_auth_file)
    close_to_others(settings.data_dir)
    bus = await Bus.connect(settings, role=_ROLE, process_id=str(os.getpid()))
    try:
        try:
            plane = await ControlPlane.open(settings, bus=bus)
            # The replayed log too lives as long as the process.
            spare_collections()
        except SIEError as error:
            sys.stderr.write(f"error: {error.message}\n")
            raise SystemExit(_CANNOT_START) from error
        try:
            await _run(settings, plane, access, bus, stop)
        except* OSError as group:
            problem = group.exceptions[0]
            sys.stderr.write(f"error: {settings.host}:{settings.port}: {problem}\n")
            raise SystemExit(_CANNOT_START) from group
        finally:
            await plane.close()
    finally:
        await bus.close()


async def _run(
    settings: ConfigSettings, plane: ControlPlane, access: Access, bus: Bus, stop: asyncio.Event
) -> None:
    console = Console(
        plane, access, gateway_url=settings.gateway_url, tls=connecting_context(settings)
    )
    application = _application(settings, plane, access, console)
    loops_stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(plane.drain_on(stop))
        running = tasks.create_task(_run_plane(plane, loops_stop, stop))
        tasks.create_task(keep_queues(plane.sequencer, settings, bus, loops_stop))
        tasks.create_task(
            watch_usage(
                bus,
                loops_stop,
                every_s=settings.queues_verify_s,
                bytes_max=settings.jetstream_bytes_max,
                told=plane.take_signals,
            )
        )
        # The sequencer outlives the HTTP server: a write that was taken is decided and answered.
        serving = _serve_http(settings, plane, application, stop)
        tasks.create_task(stop_when(loops_stop, serving))
    await console.close()
    ended_by = running.result()
    if ended_by is not None:
        raise ended_by


async def _run_plane(
    plane: ControlPlane, loops_stop: asyncio.Event, stop: asyncio.Event
) -> BaseException | None:
    """Run the loops, and give the error for which only a fresh process may go on."""
    try:
        await plane.run(loops_stop)
    except* SIEError as group:
        # It refuses every write by now: what is on its way is answered before the end.
        ended_by = group
        stop.set()
    else:
        return None
    return ended_by


def _application(
    settings: ConfigSettings, plane: ControlPlane, access: Access, console: Console
) -> NamedRequests:
    """The console before the gate, and the gate before the routes."""
    app = build_app(plane)
    console.mount(app)
    gate = Gate(
        app,
        access,
        Doors(app).role_of,
        rates=_rates(settings),
        on_refused=noting_gate(plane),
        pages=_pages(settings),
    )
    return NamedRequests(console.before(gate), app.routes)


async def _serve_http(
    settings: ConfigSettings, plane: ControlPlane, application: NamedRequests, stop: asyncio.Event
) -> None:
    def listening(port: int) -> None:
        head, url = str(plane.sequencer.position), settings.advertised_url
        _LOG.info("listening", extra={"port": port, "head": head, "url": url})

    await serve_http(
        application,
        host=settings.host,
        port=settings.port,
        stop=stop,
        bounds=settings,
        drain_s=settings.drain_s,
        on_listening=listening,
        tls=listening_context(settings),
    )


def _pages(settings: ConfigSettings) -> frozenset[str]:
    named = (*settings.web_pages, settings.advertised_url)
    return frozenset(map(origin_of, named)) - {""}


def _rates(settings: ConfigSettings) -> Rates | None:
    if not settings.token_rate_per_s:
        return None
    return Rates("token", per_s=settings.token_rate_per_s, burst=settings.token_burst)


if __name__ == "__main__":
    main()
