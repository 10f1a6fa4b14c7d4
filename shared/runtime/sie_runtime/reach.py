"""The reach of a service that this process calls: reached, or why not, in words with the cure.

*shell.* A failure that lasts is a warning in the log, once, and again where its reason changes. Its
end is told too. A call that failed a moment ago says nothing yet: every service is
started again now and then.
"""

import logging
import math
import socket
import time
from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import urlsplit

from sie_core.troubles import Trouble
from sie_runtime.tls import tls_words
from sie_schemas.errors import without_password

__all__ = ["Reach", "why_unreached"]

_LOG: Final = logging.getLogger(__name__)
_LASTS_S: Final = 2.0
"""Longer than a service takes to be started again, and short for a person who has just started one
with a wrong address."""
_AGAIN_S: Final = 10.0
"""Two addresses that fail differently, in turn, are no news each time."""
_DEPTH_MAX: Final = 10
"""A client wraps the error of the system three times; no chain of causes is endless."""


class Reach:
    """One service. Owner: whoever calls it, and tells how that ended."""

    def __init__(
        self, service: str, setting: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`setting` names its address."""
        self._service = service
        self._setting = setting
        self._clock = clock
        self._reason = ""
        self._since: float | None = None
        self._told = ""
        self._told_at = -math.inf

    @property
    def why_not(self) -> str:
        """The reason why it has not been reached for a while; empty where that is not so."""
        since = self._since
        lasts = since is not None and self._clock() - since >= _LASTS_S
        return self._reason if lasts else ""

    def failed(self, reason: str, *, is_refusal: bool = False) -> None:
        """A call of it came to nothing. A refusal does not pass by itself: it counts at once."""
        now = self._clock()
        self._reason = reason
        if is_refusal:
            self._since = -math.inf
        elif self._since is None:
            self._since = now
        is_due = is_refusal or now - self._told_at >= _AGAIN_S
        if is_due and self.why_not not in {"", self._told}:
            self._told, self._told_at = reason, now
            _LOG.warning("%s is not reached: %s (%s)", self._service, reason, self._setting)

    def answered(self) -> None:
        """It answered a call as it should."""
        if self._told:
            _LOG.info("%s is reached", self._service)
        self._reason, self._since, self._told = "", None, ""
        self._told_at = -math.inf

    def troubles(self) -> Iterator[Trouble]:
        """The trouble that it is, for whoever judges this process."""
        if self.why_not:
            yield Trouble(
                tone="bad",
                id=f"reach {self._service}",
                what=f"This gateway does not reach {self._service}",
                evidence=self.why_not,
                cure=f"Mend what is named, or correct its setting {self._setting}.",
                command="sie logs gateway",
            )


def why_unreached(error: BaseException, url: str) -> str:
    """The reason why nobody answers at an address, in words with the cure."""
    shown = without_password(url)
    chain = [error]
    while len(chain) < _DEPTH_MAX and (cause := _cause(chain[-1])) is not None:
        chain.append(cause)
    for each in chain:
        if told := tls_words(each):
            plain = "it speaks no TLS" in told
            cure = ": its address begins with http://" if plain and "https" in url else ""
            return f"{shown}: {told}{cure}"
        if isinstance(each, socket.gaierror):
            return f"{shown}: no host is called {urlsplit(url).hostname!r} here"
        if isinstance(each, ConnectionRefusedError):
            return f"nobody listens at {shown}: start it there, or correct the address"
        if isinstance(each, TimeoutError):
            return f"{shown}: no answer in time. Something else may listen there, or the way is cut"
    return f"{shown}: {str(error) or type(error).__name__}"


def _cause(error: BaseException) -> BaseException | None:
    if isinstance(error, BaseExceptionGroup):
        return error.exceptions[0]
    return error.__cause__ or error.__context__
