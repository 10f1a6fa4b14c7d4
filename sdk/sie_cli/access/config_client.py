"""The client of sie-config for somebody who waits: a process that hangs is told within seconds.

*shell.* A request that is not answered for a moment goes on, and beside it the process is asked
if it lives. Promises that no request is sent twice, and that a slow answer of a process which lives
is waited for. Ctrl-C ends it at any time.
"""

import queue
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import httpx

from sie_schemas.errors import TimeRanOut
from sie_sdk import SIEConfigClient
from sie_sdk.wire.call import Call
from sie_sdk.wire.transport import verify_of

__all__ = ["AttendedClient"]

_QUIET_S: Final = 2.0
"""The slowest views of 100,000 entries take a fifth of it."""
_ALIVE_S: Final = 3.0
"""A process that lives answers to this in milliseconds; a crowded machine is no hang."""


class AttendedClient(SIEConfigClient):
    """As its base, for one command at a terminal. `quiet_s` and `alive_s` are for tests."""

    def __init__(
        self, url: str, *, quiet_s: float = _QUIET_S, alive_s: float = _ALIVE_S, **told: Any
    ) -> None:
        super().__init__(url, **told)
        self._quiet_s = quiet_s
        self._alive_s = alive_s
        self._now: datetime | None = None

    def now(self) -> datetime:
        """The time at sie-config, in the zone of here; the clock of here where it tells none.

        Asked once: all moments of a command are counted from one. Raises `TimeRanOut` where it
        hangs.
        """
        if self._now is None:
            self._now = self._asked_now()
        return self._now

    def _asked_now(self) -> datetime:
        try:
            told = self._look("/readyz").json()["timestamp"]
            return datetime.fromtimestamp(float(told)).astimezone()
        except httpx.TimeoutException as error:
            raise self._hung() from error
        except (httpx.HTTPError, OSError, OverflowError, TypeError, ValueError, LookupError):
            return datetime.now().astimezone()

    def _send(self, call: Call, wait_s: float) -> httpx.Response:
        answered = _begun(lambda: super(AttendedClient, self)._send(call, wait_s))
        while True:
            try:
                return answered.get(timeout=self._quiet_s)()
            except queue.Empty:
                # Looked at again: the answer may have come while the process was asked if it
                # lives.
                if self._hangs() and answered.empty():
                    raise self._hung(may_have_written=_writes(call)) from None

    def _hangs(self) -> bool:
        """True if the process takes a connection, or leaves it waiting, and says nothing."""
        try:
            self._look("/healthz")
        except httpx.TimeoutException:
            return True
        except (httpx.HTTPError, OSError):
            # The request meets the same, and says it better.
            return False
        return False

    def _look(self, path: str) -> httpx.Response:
        """One answer of the process, within `alive_s` in all: httpx bounds each step alone."""
        url, verify = f"{self.base_url}{path}", verify_of(self.base_url, None)
        answered = _begun(lambda: httpx.get(url, timeout=self._alive_s, verify=verify))
        try:
            return answered.get(timeout=self._alive_s)()
        except queue.Empty:
            raise httpx.ReadTimeout(f"{path} took more than {self._alive_s:g} s") from None

    def _hung(self, *, may_have_written: bool = False) -> TimeRanOut:
        unknown = "; `sie history` tells whether it was written" if may_have_written else ""
        late = TimeRanOut(
            f"sie-config at {self.base_url} is there and answers nothing, not even whether it "
            f"lives{unknown}"
        )
        late.retry_after_s = None
        return late


def _writes(call: Call) -> bool:
    """True for what makes an entry of the log; a trial, a wait or a word to a replica does not."""
    return "Idempotency-Key" in call.headers and "dry_run=true" not in call.path


def _begun(
    ask: Callable[[], httpx.Response],
) -> queue.SimpleQueue[Callable[[], httpx.Response]]:
    """The outcome of a request that runs beside: it gives the answer or raises the error."""
    answered: queue.SimpleQueue[Callable[[], httpx.Response]] = queue.SimpleQueue()

    def run() -> None:
        try:
            response = ask()
        except BaseException as error:
            answered.put(_raising(error))
        else:
            answered.put(lambda: response)

    # Not joined at the end of the process: one that hangs would hold it up.
    threading.Thread(target=run, name="request", daemon=True).start()
    return answered


def _raising(error: BaseException) -> Callable[[], httpx.Response]:
    def again() -> httpx.Response:
        raise error

    return again
