"""The story of a run: who did what when, in virtual time.

*shell.* Owns the lines of one simulation. Promises the same text for the same seed: a line holds
no address, no wall time and no order that a hash decides.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from sie_testing.stage.loop import HOST

__all__ = ["Trace"]

_LOGGERS: Final = ("sie_config", "sie_runtime")


class Trace(logging.Handler):
    """Lines, and the log records of the code under test between them."""

    def __init__(self, clock: Callable[[], float], *, loggers: Sequence[str] = _LOGGERS) -> None:
        super().__init__(logging.INFO)
        self._loggers = tuple(loggers)
        self._clock = clock
        self._lines: list[tuple[float, str, str]] = []

    def say(self, who: str, text: str) -> None:
        """Add a line."""
        self._lines.append((self._clock(), who, text))

    def emit(self, record: logging.LogRecord) -> None:
        """Add what the code under test logs."""
        host = HOST.get()
        reason = getattr(record, "reason", "")
        text = record.getMessage() + (f": {reason}" if reason else "")
        self.say(host.name if host is not None else "world", f"{record.levelname.lower()} {text}")

    def text(self) -> str:
        """The whole story."""
        return "".join(f"{at:9.4f}  {who:<12} {text}\n" for at, who, text in self._lines)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the log records of the code under test, and keep them from everybody else."""
        loggers = [logging.getLogger(name) for name in self._loggers]
        before = [(logger.level, logger.propagate, logger.handlers) for logger in loggers]
        for logger in loggers:
            logger.handlers, logger.propagate = [self], False
            logger.setLevel(logging.INFO)
        try:
            yield
        finally:
            for logger, (level, propagate, handlers) in zip(loggers, before, strict=True):
                logger.handlers, logger.propagate = handlers, propagate
                logger.setLevel(level)
