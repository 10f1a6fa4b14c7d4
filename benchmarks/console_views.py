"""The console's views on a large log: the server's time for each request that a view makes.

*main.* `python -m benchmarks.console_views [--models N] [--entries N]` makes a log in a temporary
folder, as a writer does, and asks each view's requests in turn. Prints the median and the worst of
ten, in milliseconds, beside the bound of 200 ms. The clock starts when the application has the
request and stops when the last byte of its answer is made: no socket is in it. It is the clock of
the process's own work, so that a machine with others on it tells the same.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import httpx
from tests.support.config_writer import client_of, put_model, running, write

from sie_config.http.console.feed import Feed
from sie_config.writer_process import ControlPlane

__all__ = ["grow", "main"]

_TURNS: Final = 10
"""The median of ten tells a view's usual time; the worst of ten is what the bound judges."""
_BOUND_MS: Final = 200.0
"""Below it a page seems to come at once; `docs/performance.md` holds the views to it."""
_AT_ONCE: Final = 200
"""Writes under way together share commits: a log of 100,000 entries is made in minutes."""


async def grow(plane: ControlPlane, models: int, entries: int) -> None:
    """Write so many entries of so many models, as a writer does."""
    for start in range(0, entries, _AT_ONCE):
        wanted = range(start, min(start + _AT_ONCE, entries))
        await asyncio.gather(
            *(
                plane.write(
                    write(put_model(f"org/m{n % models:05}", description=str(n)), reason=str(n))
                )
                for n in wanted
            )
        )


def _requests(models: int, head: int) -> dict[str, list[str]]:
    middle, name = head // 2, f"org/m{models // 2:05}"
    configs = "/v1/configs"
    return {
        "overview": [f"{configs}/entries?limit=6", f"{configs}/replicas"],
        "timeline": [f"{configs}/entries?limit=50"],
        "timeline, older": [f"{configs}/entries?limit=50&before={middle}"],
        "timeline, by actor": [f"{configs}/entries?limit=50&actor=tester"],
        "timeline, by nobody": [f"{configs}/entries?limit=50&actor=nobody"],
        "timeline, by name": [f"{configs}/entries?limit=50&kind=model&key={name}"],
        "timeline, by kind": [f"{configs}/entries?limit=50&kind=pool"],
        "entry": [
            f"{configs}/entries/{middle}",
            f"{configs}/models?at={middle}&after={name[:-1]}&limit=1",
            f"{configs}/models/{name}/history?after={middle}&limit=1&diff=true",
        ],
        "time travel": [
            f"{configs}/entries?at={middle}&limit=1",
            f"{configs}/models?at={middle}&limit=50",
        ],
        "compare, near": [f"{configs}/diff?from={head - 100}&limit=200"],
        "compare, far": [f"{configs}/diff?from=5&limit=200"],
        "models": [f"{configs}/models?limit=50", f"{configs}/models?after={name}&limit=100"],
        "model": [f"{configs}/models/{name}", f"{configs}/adapters?after={name}/&limit=50"],
    }


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")


async def _timed(client: httpx.AsyncClient, paths: list[str]) -> float:
    worst = 0.0
    for path in paths:
        started = time.process_time()
        answer = await client.get(path)
        worst = max(worst, time.process_time() - started)
        assert answer.status_code == 200, (path, answer.text)
    return worst * 1000


async def _measure(models: int, entries: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        async with running(Path(folder)) as plane, client_of(plane) as client:
            started = time.perf_counter()
            await grow(plane, models, entries)
            head = plane.sequencer.position.epoch
            _tell(f"{models} models, {head} entries, made in {time.perf_counter() - started:.0f} s")
            # The notes beside the log follow it while nobody writes.
            await client.get("/v1/configs/entries?actor=tester&limit=1")
            late = 0
            for view, paths in _requests(models, head).items():
                found = [await _timed(client, paths) for _ in range(_TURNS)]
                late += max(found) > _BOUND_MS
                _tell(f"{view:22} {statistics.median(found):7.1f} {max(found):7.1f}")
            events = Feed(plane).events("")
            started = time.process_time()
            await anext(events)
            await anext(events)
            _tell(f"{'feed, first two':22} {(time.process_time() - started) * 1000:7.1f}")
            await events.aclose()
            return late


def main() -> None:
    """Measure; the exit status is the number of views above the bound."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=10_000)
    parser.add_argument("--entries", type=int, default=100_000)
    asked = parser.parse_args()
    raise SystemExit(asyncio.run(_measure(asked.models, asked.entries)))


if __name__ == "__main__":
    main()
