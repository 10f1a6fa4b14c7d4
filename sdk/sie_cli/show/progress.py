"""The progress of a command, for the person who waits: on stderr, and on a terminal alone.

*shell.* Promises that nothing of it stays on the screen, and that a pipe or a file sees none of it.
What draws is imported when something is drawn.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, Protocol

__all__ = ["Told", "progress"]


class Told(Protocol):
    """Told of a step: how much is done, of how much (0: unknown), and what is being done where
    that is another thing than before."""

    def __call__(self, done: int, total: int = 0, doing: str = "") -> object:
        """Show it."""


@contextmanager
def progress(what: str, unit: Literal["count", "bytes"] = "count") -> Iterator[Told]:
    """Around something that takes time; what it gives is told of each step."""
    if not sys.stderr.isatty():
        yield _unseen
        return
    from rich.console import Console  # noqa: PLC0415 - slow to import
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    count = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), count)
    with Progress(
        *columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True
    ) as bar:
        task = bar.add_task(what, total=None)

        def told(done: int, total: int = 0, doing: str = "") -> None:
            bar.update(
                task, completed=done, total=total or None, description=doing or what, refresh=False
            )

        yield told


def _unseen(done: int, total: int = 0, doing: str = "") -> None:
    """Nobody looks."""
