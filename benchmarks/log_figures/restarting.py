"""One restart, timed inside its process: from opening the file to the first write on disk.

*main.* `python -m log_figures.restarting FOLDER`; prints one JSON object.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

import uvloop

from log_figures.growth import command_of
from sie_config.settings import ConfigSettings
from sie_config.writer.draft import Write
from sie_config.writer_process import ControlPlane

_CHANGES = 1_000_000
"""A document bounds the number that a change sets."""


async def _restart(folder: Path) -> float:
    command = command_of(0, time.time_ns() % _CHANGES)
    began = time.perf_counter()
    plane = await ControlPlane.open(ConfigSettings(data_dir=folder))
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(plane.run(stop))
        await plane.write(Write("bench", "", "r", (command,)))
        took = time.perf_counter() - began
        stop.set()
        await running
    await plane.close()
    return took


def main() -> None:
    """Restart once."""
    took = uvloop.run(_restart(Path(sys.argv[1])))
    sys.stdout.write(json.dumps({"restart_s": took}) + "\n")


if __name__ == "__main__":
    main()
