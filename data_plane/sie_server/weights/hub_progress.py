"""The progress of downloads: in the log at a bounded pace, and the same for the status routes.

*shell*: owns one thread for each download that runs. A download that stalls is told as such, since
the lines come by the clock and not by what arrives.
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from tqdm import tqdm

__all__ = ["Downloads"]

_LOG: Final = logging.getLogger(__name__)


class Downloads:
    """The downloads of this process; a line for each every `progress_s` seconds, 0 for none."""

    def __init__(self, progress_s: float) -> None:
        self._progress_s = progress_s
        self._running: dict[str, _Counted] = {}
        self._lock = threading.Lock()

    def state(self) -> dict[str, str]:
        """The downloads that run now, and how far each is."""
        with self._lock:
            return {what: counted.told() for what, counted in self._running.items()}

    @contextmanager
    def told(self, what: str) -> Iterator[type[tqdm]]:
        """The class of bars by which the hub's library counts a download, told while it lasts."""
        counted = _Counted()
        over = threading.Event()
        teller = threading.Thread(
            target=self._tell, args=(what, counted, over), name="download-progress", daemon=True
        )
        with self._lock:
            self._running[what] = counted
        if self._progress_s:
            teller.start()
        try:
            yield _bars(counted)
        finally:
            over.set()
            if self._progress_s:
                teller.join()
            with self._lock:
                # Another download of the same may have begun meanwhile.
                if self._running.get(what) is counted:
                    del self._running[what]

    def _tell(self, what: str, counted: "_Counted", over: threading.Event) -> None:
        while not over.wait(self._progress_s):
            _LOG.info("downloading %s: %s", what, counted.told())


class _Counted:
    """Bytes of one download, over all its files and threads."""

    def __init__(self) -> None:
        self.bars: list[tqdm] = []
        """The bytes that the library counts: what came over the wire, and what was written."""
        self._started = time.monotonic()

    def told(self) -> str:
        """Bytes done, of how many, and the mean rate since the start."""
        done = max((int(bar.n) for bar in self.bars), default=0)
        total = max((int(bar.total or 0) for bar in self.bars), default=0)
        rate = done / max(time.monotonic() - self._started, 1e-3)
        return f"{done} of {total} bytes, {rate / 1e6:.2f} MB/s"


def _bars(counted: _Counted) -> type[tqdm]:
    class Bar(tqdm):  # type: ignore[misc]
        """Draws nothing: counts, where the unit is a byte."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "disable": True})
            self._counting = threading.Lock()
            if options.get("unit") == "B":
                counted.bars.append(self)

        def update(self, n: float | None = 1) -> None:
            """Count; a disabled bar would not."""
            with self._counting:
                self.n += n or 0

    return Bar
