"""sie-config as a process of its own, to be killed by a test."""

import asyncio
import contextlib
import os
import resource
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
from tests.support.log_world import free_port
from tests.support.polling import until_told

__all__ = ["config_process", "published", "start_config"]

_PROGRAM = Path(sys.executable).parent / "sie-config"


async def start_config(
    folder: Path, port: int, nats_url: str, *flags: str
) -> asyncio.subprocess.Process:
    """The process, ready or not. Its words are on a pipe, for `communicate`."""
    return await asyncio.create_subprocess_exec(
        str(_PROGRAM),
        *("--data-dir", str(folder), "--port", str(port), "--nats-url", nats_url),
        *("--roll-call-s", "0.2", "--publish-retry-s", "0.05", *flags),
        stderr=asyncio.subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if not name.startswith("SIE_")},
    )


@contextlib.asynccontextmanager
async def config_process(
    folder: Path, nats_url: str, *flags: str, file_bytes_max: int | None = None
) -> AsyncIterator[tuple[asyncio.subprocess.Process, httpx.AsyncClient]]:
    """The process, once it is ready, and a client of it. It is killed at the end.

    `file_bytes_max` bounds each file that it may write.
    """
    port = free_port()
    process = await start_config(folder, port, nats_url, *flags)
    try:
        if file_bytes_max is not None:
            # Long before it opens the log: it is still an interpreter that starts.
            _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (file_bytes_max, hard))
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            await _ready(client, process)
            yield process, client
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def published(client: httpx.AsyncClient, epoch: int) -> None:
    """Wait until the stream is known to hold an epoch."""

    async def is_published() -> bool:
        return bool((await client.get("/readyz")).json()["published_epoch"] >= epoch)

    await until_told(is_published)


async def _ready(client: httpx.AsyncClient, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(40):
        while process.returncode is None:
            with contextlib.suppress(httpx.TransportError):
                if (await client.get("/readyz")).status_code == 200:
                    return
            await asyncio.sleep(0.02)
    raise AssertionError("sie-config ended before it was ready")
