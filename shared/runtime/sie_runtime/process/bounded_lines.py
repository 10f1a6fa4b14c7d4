"""Bounded lines: strangers who are told of in the log fill no disk.

*shell* over one stream. Promises:

- One place of the code writes at most so many lines in a window, whoever makes it write them. Names
  by which strangers could be told apart are theirs to invent.
- What was passed over is told, with its number, once the window is over or the log ends.
- A place is no other's burden. Lines that name each request or each act of an operator pass.
"""

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, TextIO

from prometheus_client import Counter

__all__ = ["EACH", "LINES_MAX", "WINDOW_S", "BoundedHandler", "BoundedLines", "shortened"]

LINES_MAX: Final = 100
"""Of one place in a window: a worker that loads dozens of small models at once tells each."""
WINDOW_S: Final = 60.0
"""A hundred lines of 200 bytes in each are 29 MB a day."""
_TEXT_MAX: Final = 4_000
"""Letters of one text in a line. The words for a bad value repeat it, and a message has a MB."""
_MARK: Final = "each_is_told"
EACH: Final[dict[str, Any]] = {_MARK: True}
"""The `extra` of a line of which none is passed over."""
_PASSED_OVER: Final = Counter(
    "sie_process_log_lines_passed_over_total",
    "Log lines that were not written: their place had written its most for now.",
)


class _Place:
    """One line of the code, in the window that began with its first line of the log."""

    def __init__(self, first: logging.LogRecord, now: float) -> None:
        self.first = first
        self.until = now + WINDOW_S
        self.count = 0


class BoundedLines:
    """The bound, for one log. Used under its lock. As many places as the code has."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._places: dict[tuple[str, int], _Place] = {}

    def takes(self, record: logging.LogRecord) -> bool:
        """True if it is to be written. Who asks for details, or for each, has them all."""
        if record.levelno < logging.INFO or record.__dict__.get(_MARK):
            return True
        where = record.pathname, record.lineno
        place = self._places.get(where)
        if place is None:
            place = self._places[where] = _Place(record, self._clock())
        place.count += 1
        if place.count <= LINES_MAX:
            return True
        _PASSED_OVER.inc()
        return False

    def owed(self, *, all_: bool = False) -> Iterator[logging.LogRecord]:
        """The lines on what was passed over in windows that are over, or in all of them."""
        now = self._clock()
        over = [where for where, each in self._places.items() if all_ or each.until <= now]
        for where in over:
            place = self._places.pop(where)
            if place.count > LINES_MAX:
                yield _told(place.first, place.count - LINES_MAX)


class BoundedHandler(logging.StreamHandler[TextIO]):
    """Writes lines to a stream, within the bound."""

    def __init__(self, stream: TextIO, lines: BoundedLines | None = None) -> None:
        super().__init__(stream)
        self._lines = lines or BoundedLines()

    def emit(self, record: logging.LogRecord) -> None:
        """Write it, behind what is owed. Called under the lock."""
        for told in self._lines.owed():
            super().emit(told)
        if self._lines.takes(record):
            super().emit(record)

    def close(self) -> None:
        """Write what is owed. The library calls it when the process ends."""
        with self.lock:  # type: ignore[union-attr] # Each handler that was made has one.
            for told in self._lines.owed(all_=True):
                super().emit(told)
        super().close()


def shortened(told: Any) -> Any:
    """The value, of a text that is too long its beginning."""
    if isinstance(told, str) and len(told) > _TEXT_MAX:
        return f"{told[:_TEXT_MAX]}… ({len(told)} letters)"
    return told


def _told(first: logging.LogRecord, count: int) -> logging.LogRecord:
    return logging.LogRecord(
        first.name,
        first.levelno,
        first.pathname,
        first.lineno,
        "%d lines like this were passed over: %s",
        (count, shortened(first.getMessage())),
        None,
    )
