"""`sie-server`: the model-execution process.

*main.* Reads the settings, prepares torch, and runs the socket's server beside the device's thread
until SIGTERM. It is ready when its socket accepts and says `Hello`.
"""

import asyncio
import os
from pathlib import Path

import torch
from transformers.utils.logging import disable_progress_bar

from sie_runtime import lifecycle, settings
from sie_schemas import ipc
from sie_server.backend import DeviceSpec
from sie_server.device import Device
from sie_server.execution import Execution
from sie_server.registry import backend_names
from sie_server.server import Server
from sie_server.settings import ServerSettings

__all__ = ["main"]


def main() -> None:
    """Entry point."""
    chosen = settings.load(ServerSettings, prefix="SIE_SERVER")
    threads = chosen.threads or len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    # A progress bar in a log file is a line for each step.
    disable_progress_bar()  # type: ignore[no-untyped-call]

    async def serve(stop: asyncio.Event) -> None:
        await _serve(chosen, threads, stop)

    lifecycle.run(serve, role="server", process_id=str(os.getpid()), log_level=chosen.log_level)


async def _serve(chosen: ServerSettings, threads: int, stop: asyncio.Event) -> None:
    spec = DeviceSpec(chosen.device, threads, Path(chosen.cache_folder))
    execution = Execution(spec, memory_bytes_max=chosen.memory_bytes_max)
    device = Device(queue_max=chosen.queue_max)
    server = Server(
        path=Path(chosen.socket),
        hello=ipc.Hello(pid=os.getpid(), device=chosen.device, backends=backend_names()),
        device=device,
        answer=execution.answer,
        frame_bytes_max=chosen.frame_bytes_max,
        drain_timeout_s=chosen.drain_timeout_s,
    )
    try:
        await server.run(stop)
    finally:
        device.close()
