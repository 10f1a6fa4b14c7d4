"""`sie-server`: the model-execution process.

*main.* Reads the settings, prepares torch, and runs the socket's server beside the device's thread
until SIGTERM. It is ready when its socket accepts and says `Hello`; its status routes say the same.
"""

import asyncio
import logging
import os
import sys
from contextlib import suppress
from functools import partial
from math import inf
from pathlib import Path
from typing import Final

import sie_server.lean_imports  # noqa: F401 - before transformers' models are imported

# isort: split

from transformers.utils.logging import disable_progress_bar

from sie_runtime import settings
from sie_runtime.process import lifecycle
from sie_runtime.process.disk_room import free_bytes
from sie_runtime.process.status_routes import status_application
from sie_runtime.tls import check_tls, listening_context
from sie_schemas import ipc
from sie_schemas.errors import Later
from sie_server import metrics
from sie_server.adapters.adapter_shelf import AdapterShelf
from sie_server.backends.backend import DeviceSpec
from sie_server.backends.names import backend_names, import_backends
from sie_server.device.bounded_threads import BoundedThreads
from sie_server.device.choice import Choice, Cuda, choose_device
from sie_server.device.cuda import look_for_cuda
from sie_server.device.memory import device_bytes, device_used_bytes
from sie_server.device.threads import use_threads
from sie_server.device.watchdog import Watchdog
from sie_server.execution.execution import Execution
from sie_server.execution.residents import Pressure
from sie_server.settings import ServerSettings
from sie_server.socket.server import Server
from sie_server.weights.hub_cache import HubCache, hub_folder

__all__ = ["main"]

_LOG: Final = logging.getLogger(__name__)


def main() -> None:
    """Entry point."""
    chosen = settings.load(ServerSettings, prefix="SIE_SERVER")
    check_tls(chosen)
    found = choose_device(chosen.device, look_for_cuda() if chosen.device == "auto" else Cuda())
    threads = _Threads(chosen)
    # A progress bar in a log file is a line for each step.
    disable_progress_bar()  # type: ignore[no-untyped-call]

    async def serve(stop: asyncio.Event) -> None:
        _LOG.info("the device is %s: %s", found.name, found.why)
        await _serve(chosen, found, threads, stop)

    status = 0
    try:
        lifecycle.run(
            serve,
            role="server",
            process_id=str(os.getpid()),
            log_level=chosen.log_level,
            # The hub's cache may be many users'.
            shares_files=True,
        )
    except SystemExit:
        status = 1
    if not threads.close():
        # The interpreter would wait for these threads, which may hang or be importing.
        logging.shutdown()
        os._exit(status)
    sys.exit(status)


class _Threads:
    """The threads of this process beside the loop's, and how many of torch's compute."""

    def __init__(self, chosen: ServerSettings) -> None:
        self.computing = use_threads(chosen.threads)
        self.device = BoundedThreads(queue_max=chosen.queue_max)
        self.beside = BoundedThreads(
            queue_max=chosen.queue_max, threads=chosen.reading_threads, name="reading"
        )
        self.loading = BoundedThreads(queue_max=chosen.queue_max, name="loading")

    def close(self) -> bool:
        """Take no more work; false if one of them did not end."""
        return all([self.device.close(), self.beside.close(), self.loading.close()])


async def _serve(
    chosen: ServerSettings, found: Choice, threads: _Threads, stop: asyncio.Event
) -> None:
    hub = HubCache(
        bytes_max=chosen.hub_bytes_max,
        progress_s=chosen.download_progress_s,
        own_code_allowed=chosen.remote_code_models,
        pickles_allowed=chosen.pickled_weights,
    )
    execution = _execution(chosen, found, threads, hub)
    server = _server(chosen, found, threads, execution, hub)
    _show(found)
    watchdog = Watchdog(threads.device, threads.loading, loop_hang_s=chosen.loop_hang_s)
    over = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        until_over = [
            # The first work of the device's thread: a load that comes early waits behind it.
            group.create_task(threads.device.submit(import_backends)),
            group.create_task(watchdog.run()),
            group.create_task(_tend(execution, threads.device, every_s=chosen.tend_s)),
        ]
        group.create_task(_serve_status(chosen, server, over))
        try:
            await server.run(stop)
        finally:
            over.set()
            for task in until_over:
                task.cancel()


def _execution(
    chosen: ServerSettings, found: Choice, threads: _Threads, hub: HubCache
) -> Execution:
    shelf = AdapterShelf(chosen.adapter_bytes_max)
    return Execution(
        DeviceSpec(found.name, threads.computing, Path(chosen.cache_folder), shelf),
        memory_bytes_max=chosen.memory_bytes_max,
        pressure=Pressure(chosen.idle_s or inf, chosen.host_bytes_min),
        hub=hub,
    )


def _server(
    chosen: ServerSettings, found: Choice, threads: _Threads, execution: Execution, hub: HubCache
) -> Server:
    return Server(
        path=Path(chosen.socket),
        hello=_hello(chosen, found),
        device=threads.device,
        beside=threads.beside,
        loading=threads.loading,
        execution=execution,
        frame_bytes_max=chosen.frame_bytes_max,
        drain_s=chosen.drain_s,
        batch_hang_s=chosen.batch_hang_s,
        load_hang_s=chosen.load_hang_s,
        downloading=hub.downloads.state,
    )


def _show(found: Choice) -> None:
    """Show the device's memory and the cache's room as metrics, from now on."""
    metrics.DEVICE_BYTES.set(device_bytes(found.name))
    metrics.DEVICE_USED_BYTES.set_function(partial(device_used_bytes, found.name))
    metrics.CACHE_FREE_BYTES.set_function(partial(free_bytes, hub_folder()))


async def _serve_status(chosen: ServerSettings, server: Server, over: asyncio.Event) -> None:
    await lifecycle.serve_http(
        status_application(server.state),
        host=chosen.host,
        port=chosen.port,
        stop=over,
        bounds=chosen,
        on_listening=partial(_LOG.info, "status routes listen on port %d"),
        tls=listening_context(chosen),
    )


def _hello(chosen: ServerSettings, found: Choice) -> ipc.Hello:
    return ipc.Hello(
        pid=os.getpid(),
        device=found.name,
        device_reason=found.why,
        backends=backend_names(),
        batches_apart=True,
        memory_bytes=chosen.memory_bytes_max or device_bytes(found.name),
        memory_shared=not chosen.memory_bytes_max and not found.name.startswith("cuda"),
    )


async def _tend(execution: Execution, device: BoundedThreads, *, every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        # Behind what waits; where too much does, a later look will do.
        with suppress(Later):
            await device.submit(execution.tend)


if __name__ == "__main__":
    main()
