"""sie-config as a process of its own, to be killed by a test."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
from tests.support.log_world import free_port

__all__ = ["config_process"]

_PROGRAM = Path(sys.executable).parent / "sie-config"


@contextlib.asynccontextmanager
async def config_process(
    folder: Path, nats_url: str, *flags: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, httpx.AsyncClient]]:
    """The process, once it is ready, and a client of it. It is killed at the end."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        str(_PROGRAM),
        *("--data-dir", str(folder), "--port", str(port), "--nats-url", nats_url),
        *("--roll-call-s", "0.2", "--publish-retry-s", "0.05", *flags),
        stderr=asyncio.subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if not name.startswith("SIE_")},
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            await _ready(client, process)
            yield process, client
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _ready(client: httpx.AsyncClient, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(40):
        while process.returncode is None:
            with contextlib.suppress(httpx.TransportError):
                if (await client.get("/readyz")).status_code == 200:
                    return
            await asyncio.sleep(0.02)
    raise AssertionError("sie-config ended before it was ready")
