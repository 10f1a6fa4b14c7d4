"""An application behind a real socket, on a loop and thread of its own: for clients that block."""

import asyncio
import contextlib
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from typing import Any

from tests.support.config_writer import running
from tests.support.gateway_world import gateway_world

from sie_config.http.api import build_app
from sie_runtime.process.lifecycle import serve_http

__all__ = ["served_application", "served_config", "served_gateway"]


@contextlib.contextmanager
def served_application(
    opened: Callable[[], AbstractAsyncContextManager[Any]], *, listening_s: float = 20.0
) -> Iterator[str]:
    """The address of the application that `opened` gives; drained and closed at the end."""
    stops: list[Callable[[], object]] = []
    listening: queue.Queue[int] = queue.Queue()

    async def serve() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        stops.append(lambda: loop.call_soon_threadsafe(stop.set))
        async with opened() as application:
            await serve_http(
                application,
                host="127.0.0.1",
                port=0,
                stop=stop,
                drain_s=1.0,
                on_listening=listening.put,
            )

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.get(timeout=listening_s)}"
    finally:
        stops[0]()
        thread.join()


def served_config(folder: Path, **changes: Any) -> AbstractContextManager[str]:
    """A writer without a broker."""

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[Any]:
        async with running(folder, **changes) as plane:
            yield build_app(plane)

    return served_application(opened)


def served_gateway(**settings: Any) -> AbstractContextManager[str]:
    """A gateway in memory, with a worker that echoes."""

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[Any]:
        async with gateway_world(**settings) as world:
            yield world.app

    return served_application(opened)
