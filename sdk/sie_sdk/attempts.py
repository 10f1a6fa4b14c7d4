"""The attempts of one call: the clock and the chance that patience is told. It holds the bar that
shows how far a long list has come.

*shell.* All four clients stand on it and only differ in how they pause.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from sie_schemas.errors import SIEError
from sie_sdk.errors import ResourceExhaustedError
from sie_sdk.patience import Lack, Patience, Retry, lack_of, retry_delay_s

__all__ = ["Attempts", "LastCall", "progress", "unseen"]


class LastCall(threading.local):
    """The facts of a client's latest answer, in each thread by itself."""

    retries: int = 0
    model_revision: str | None = None

    def note(self, *answers: Mapping[str, Any]) -> None:
        """These answered it, together."""
        made = [answer["request"] for answer in answers]
        self.retries = sum(each["retries"] for each in made)
        self.model_revision = made[-1]["model_revision"] or None


class Attempts:
    """Made before the first attempt of a call; one call, one owner. `on_retry` is told of each."""

    def __init__(
        self, patience: Patience, on_retry: Callable[[Retry], object] | None = None
    ) -> None:
        self._patience = patience
        self._on_retry = on_retry
        self._began_at = time.monotonic()
        self._failed: Counter[Lack] = Counter()

    @property
    def failed(self) -> int:
        """The attempts that were made in vain."""
        return self._failed.total()

    def pause_after(self, error: SIEError) -> float:
        """Seconds to wait before the next attempt. Raises the error where none would help."""
        elapsed_s = time.monotonic() - self._began_at
        lack = lack_of(error)
        delay = retry_delay_s(
            error,
            attempt=self._failed[lack],
            elapsed_s=elapsed_s,
            patience=self._patience,
            chance=random.random(),
        )
        if delay is None:
            if isinstance(error, ResourceExhaustedError):
                error.retries = self.failed
            raise error
        self._failed[lack] += 1
        if self._on_retry is not None:
            self._on_retry(Retry(error, self.failed, elapsed_s, delay))
        return delay


@contextmanager
def progress(total: int, *, is_shown: bool) -> Iterator[Callable[[int], object]]:
    """A bar over so many items, told of each part that is done. Raises `ImportError` without
    tqdm."""
    if not is_shown:
        yield unseen
        return
    try:
        tqdm = import_module("tqdm.auto").tqdm
    except ImportError:
        raise ImportError("show_progress wants `pip install tqdm`") from None
    with tqdm(total=total, unit="item") as bar:
        yield bar.update


def unseen(_done: int) -> None:
    """Nobody looks, or the part was counted before."""
