"""The life of a process: start, serve, drain, end.

*shell.* `run` gives a main a stop event that SIGTERM and SIGINT set once; the main returns when it
has drained. An error that nobody handled ends the process with one log line and exit status 1. A
supervisor restarts it, which is safer than going on in an unknown state. What the process makes on
disk is for its own user, unless it says that it shares.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

import uvicorn
import uvloop

from sie_runtime.http.bounded_http import BoundedHttp
from sie_runtime.http.connections import Connections, HttpBounds
from sie_runtime.process import tracing
from sie_runtime.process.telemetry import configure_logs

__all__ = ["HttpConfig", "run", "serve_http", "spare_collections", "stop_when"]

_LOG: Final = logging.getLogger(__name__)
_COLLECT_AFTER: Final = (20_000, 20, 20)
"""A request makes hundreds of objects and no cycle: the default collects at almost every one."""

_MESSAGE_BYTES_MAX: Final = 64 * 1024
"""Of a message that comes in over a WebSocket."""


def run(
    main: Callable[[asyncio.Event], Awaitable[None]],
    *,
    role: str,
    process_id: str,
    log_level: str = "info",
    shares_files: bool = False,
) -> None:
    """Run `main(stop)` to its end; see the module. Does not return before everything is closed.

    `shares_files` keeps the file modes of the user's umask: for a cache that several users have.
    """
    if not shares_files:
        # Here, because SQLite and others make files of their own, with no mode to give them.
        os.umask(os.umask(0o077) | 0o077)
    configure_logs(role=role, process_id=process_id, level=log_level)
    tracing.begin_or_exit(role=role, process_id=process_id)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_supervised(main))
    except BaseExceptionGroup as group:
        _LOG.exception("the process ends after an error that nobody handled", exc_info=group)
        sys.exit(1)
    except Exception:
        _LOG.exception("the process ends after an error that nobody handled")
        sys.exit(1)
    finally:
        tracing.end_traces()


async def _supervised(main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await main(stop)


def spare_collections() -> None:
    """Freeze what is there now: it lives as long as the process, and no collection need walk it."""
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)


async def stop_when(stop: asyncio.Event, task: Awaitable[Any]) -> None:
    """Set `stop` when `task` is over, however it ended: the others then drain."""
    try:
        await task
    finally:
        stop.set()


class _Server(uvicorn.Server):
    """A server that leaves the process's signals alone: `run` owns them."""

    def __init__(self, config: uvicorn.Config, stop: asyncio.Event) -> None:
        super().__init__(config)
        self._stop = stop

    async def main_loop(self) -> None:
        """Serve until `stop`. The library looks ten times a second."""
        await self.on_tick(0)
        await self._stop.wait()
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpConfig(uvicorn.Config):
    """The way in which every process serves HTTP."""

    def __init__(
        self,
        app: Any,
        *,
        bounds: HttpBounds,
        drain_s: float,
        websockets: bool,
        tls: ssl.SSLContext | None,
    ) -> None:
        super().__init__(
            app,
            log_config=None,
            access_log=False,
            loop="none",
            http=BoundedHttp,
            ws="none",
            # Nobody has much to tell us there, and a compressed frame may stand for any number.
            ws_max_size=_MESSAGE_BYTES_MAX,
            ws_per_message_deflate=False,
            lifespan="off",
            timeout_graceful_shutdown=max(1, round(drain_s)),
            # Nobody reads a client's address, and to look for one costs each request a call.
            proxy_headers=False,
            server_header=False,
            date_header=False,
            ssl_context_factory=None if tls is None else (lambda _config, _default: tls),
        )
        self.account = Connections(bounds)
        self.account.wants_certificate = tls is not None and tls.verify_mode != ssl.CERT_NONE
        if websockets:
            # By its name, since what it needs is installed where WebSockets are served.
            self.ws = "sie_runtime.http.bounded_websocket:BoundedWebSocket"


async def serve_http(
    app: Any,
    *,
    host: str,
    port: int,
    stop: asyncio.Event,
    bounds: HttpBounds | None = None,
    drain_s: float = 10.0,
    on_listening: Callable[[int], None] | None = None,
    share_port: bool = False,
    websockets: bool = False,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Serve an ASGI application until `stop`, then finish what is in flight (at most `drain_s`).

    `port` 0 takes a free one; `on_listening` is told which. `share_port` lets several processes
    listen on one port; the system deals connections out. `bounds` are the defaults where absent.
    With `tls` it speaks HTTPS alone. Raises `OSError` for a taken port.
    """
    listener = _listen(host, port, share=share_port)
    if on_listening is not None:
        on_listening(listener.getsockname()[1])
    config = HttpConfig(
        app,
        bounds=bounds if bounds is not None else HttpBounds(),
        drain_s=drain_s,
        websockets=websockets,
        tls=tls,
    )
    server = _Server(config, stop)
    async with asyncio.TaskGroup() as tasks:
        looking = tasks.create_task(_look(config.account))
        try:
            await server.serve(sockets=[listener])
        finally:
            looking.cancel()
            # Cancelled, the library closes nothing: the loop would go on reading a descriptor that
            # is somebody else's by then.
            for each in getattr(server, "servers", ()):
                each.close()
            listener.close()


async def _look(account: Connections) -> None:
    loop = asyncio.get_running_loop()
    while True:
        await account.occupied()
        await asyncio.sleep(account.bounds.http_look_s)
        account.look(loop.time())


def _listen(host: str, port: int, *, share: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if share:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    listener.listen(2048)
    listener.setblocking(False)
    return listener
