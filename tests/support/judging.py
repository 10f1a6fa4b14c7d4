"""A judge as a program: fresh seeds for so many minutes, each with a folder of its own.

The first seed that fails, or cannot be judged, ends it, and is named.
"""

import argparse
import asyncio
import secrets
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NoReturn

__all__ = ["run_judge"]


def run_judge(words: str, judged: Callable[[int, Path], Awaitable[Counter[str]]]) -> NoReturn:
    """Read `--minutes`, judge for so long, and end with the exit status.

    `judged` gives the verdicts of a seed, and raises `AssertionError` where it fails. Whatever else
    it raises is raised again, behind the seed. `words` describe it.
    """
    parser = argparse.ArgumentParser(description=words)
    parser.add_argument("--minutes", type=float, default=10)
    with warnings.catch_warnings():
        # Those of the libraries that are compared with: a thousand folders would bury the verdicts.
        warnings.simplefilter("ignore")
        raise SystemExit(asyncio.run(_judge(parser.parse_args().minutes, judged)))


async def _judge(minutes: float, judged: Callable[[int, Path], Awaitable[Counter[str]]]) -> int:
    counts: Counter[str] = Counter()
    until = time.monotonic() + minutes * 60
    while time.monotonic() < until:
        seed = secrets.randbelow(1 << 31)
        with tempfile.TemporaryDirectory() as folder:
            try:
                counts += await judged(seed, Path(folder))
            except AssertionError as error:
                print(f"seed {seed}: {error}")  # noqa: T201
                return 1
            except Exception:
                print(f"seed {seed}: could not be judged")  # noqa: T201
                raise
    print(", ".join(f"{count} {what}" for what, count in sorted(counts.items())))  # noqa: T201
    return 0
