"""A real nats-server for a test: JetStream on, loopback, its own folder, ended by its pid."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.polling import until

__all__ = ["nats_server"]

_BINARY = Path(sys.executable).parent / "nats-server"


@asynccontextmanager
async def nats_server(
    folder: Path, *, port: int = -1, config: Path | None = None
) -> AsyncIterator[str]:
    """Start a server with its store in `folder` and give its URL.

    `port` -1 takes a free one. The same folder and port again is a restart: the store is kept.
    `config` is a file of settings: users, and where the store is.
    """
    stored = ("--jetstream", "--store_dir", str(folder / "store"))
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        str(_BINARY),
        *("--addr", "127.0.0.1", "--port", str(port)),
        *("--ports_file_dir", str(folder), "--log", str(folder / "nats.log")),
        *(("--config", str(config)) if config is not None else stored),
    )
    ports = folder / f"nats-server_{process.pid}.ports"
    try:
        await until(lambda: _url(ports) or process.returncode is not None, within_s=15)
        if process.returncode is not None:
            raise AssertionError(f"nats-server did not start; see {folder}/nats.log")
        yield _url(ports)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _url(ports: Path) -> str:
    """The client URL from the ports file; empty while it is not written."""
    try:
        return str(json.loads(ports.read_text())["nats"][0])
    except (FileNotFoundError, json.JSONDecodeError):
        return ""
