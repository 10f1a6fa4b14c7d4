"""The attempts of one call: the clock and the chance that patience is told.

*shell.* All four clients stand on it and only differ in how they pause.
"""

import random
import time

from sie_schemas.errors import SIEError
from sie_sdk.patience import Patience, retry_delay_s

__all__ = ["Attempts"]


class Attempts:
    """Made before the first attempt of a call; one call, one owner."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._began_at = time.monotonic()
        self._failed = 0

    def pause_after(self, error: SIEError) -> float:
        """Seconds to wait before the next attempt. Raises the error where none would help."""
        delay = retry_delay_s(
            error,
            attempt=self._failed,
            elapsed_s=time.monotonic() - self._began_at,
            patience=self._patience,
            chance=random.random(),
        )
        if delay is None:
            raise error
        self._failed += 1
        return delay
