"""A writer behind a real socket, on a loop and thread of its own: for clients that block."""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.support.config_writer import running

from sie_config.api import build_app
from sie_runtime.lifecycle import serve_http

__all__ = ["served"]


@contextlib.contextmanager
def served(folder: Path, **changes: Any) -> Iterator[str]:
    """The address of a writer without a broker; it is drained and closed at the end."""
    stops: list[Callable[[], object]] = []
    listening: queue.Queue[int] = queue.Queue()

    async def serve() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        stops.append(lambda: loop.call_soon_threadsafe(stop.set))
        async with running(folder, **changes) as plane:
            await serve_http(
                build_app(plane),
                host="127.0.0.1",
                port=0,
                stop=stop,
                drain_s=1.0,
                on_listening=listening.put,
            )

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.get(timeout=20)}"
    finally:
        stops[0]()
        thread.join()
