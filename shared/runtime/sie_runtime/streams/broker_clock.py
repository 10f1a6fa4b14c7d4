"""The broker's clock: how long ago it stored a job, whatever the clocks of hosts say.

*shell.* Asks the broker for its time now and then, beside the information on a consumer. Between
two answers it goes by a clock that only measures. So the age of a job rests on one wall clock, the
broker's. A gateway or worker whose own is hours off, or leaps, takes no job for late. Of several
brokers the leader of a stream stores, and that of a consumer tells the time: they have to agree.
"""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Final

from sie_runtime.broker.bus import Bus
from sie_schemas.errors import SIEError

__all__ = ["BrokerClock"]

_TIMEOUT_S: Final = 2.0
"""An answer that took longer says little of what time it is."""


class BrokerClock:
    """One for each process. `clock` gives the seconds of a clock that never leaps."""

    def __init__(self, bus: Bus, *, clock: Callable[[], float]) -> None:
        self._bus = bus
        self._clock = clock
        self._ahead_s: float | None = None
        """The seconds that the broker's Unix time is ahead of `clock`; None before an answer."""

    @property
    def is_known(self) -> bool:
        """True if the broker has told its time."""
        return self._ahead_s is not None

    async def look(self, stream: str, consumer: str) -> None:
        """Ask for the time beside a consumer. Without an answer all stays as it was."""
        began = self._clock()
        name = f"$JS.API.CONSUMER.INFO.{stream}.{consumer}"
        try:
            answer = await self._bus.request(name, b"", timeout_s=_TIMEOUT_S)
        except SIEError:
            return
        told = json.loads(answer).get("ts")
        if told is not None:
            self._ahead_s = _unix(told) - (began + self._clock()) / 2

    def age_s(self, stored_at: float) -> float:
        """The seconds since a moment of the broker's clock; 0 while its time is not known.

        A job that is taken for younger than it is costs work at most. One that is taken for older
        is not run although somebody waits.
        """
        if self._ahead_s is None:
            return 0.0
        return max(0.0, self._clock() + self._ahead_s - stored_at)


def _unix(told: str) -> float:
    # The broker writes nanoseconds, and up to six digits of a second can be read.
    whole, _, rest = told.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{rest or 0}")
