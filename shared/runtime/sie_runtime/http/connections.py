"""Connections: how much of HTTP one process takes in, whoever sends it.

*shell.* The bounds of every HTTP face, and the account of its connections. They hold before a token
is looked at: nobody who has none may cost more than they say. Promises that no more connections are
open than the bound. A newcomer to a full house takes the place of connections that ask for nothing:
the longest waiting of the address that has most. Where none is, those go whose client has yet to
read of an answer. No other request under way loses its connection to a newcomer. Answers that
nobody reads are bounded all together, as they are found at a look.
"""

import asyncio
import logging
import resource
from collections import defaultdict
from dataclasses import dataclass
from typing import Final, Protocol

from prometheus_client import Counter, Gauge

from sie_runtime.settings import constant, setting
from sie_schemas.errors import Later, SIEError

__all__ = ["Connections", "HttpBounds", "Visitor", "within_descriptors"]

_LOG: Final = logging.getLogger(__name__)

_CONNECTIONS: Final = Gauge("sie_http_connections", "HTTP connections that are open")
_REFUSED: Final = Counter(
    "sie_http_refused",
    "Requests and connections that ended before a token was looked at",
    ["code"],
)

_OTHER_FILES: Final = 256
"""Descriptors for all that is no connection: the log, the broker, models."""
_SENT_AWAY: Final = 16
"""A full house makes room for a sixteenth at once, so that a crowd does not pay for a look each."""
_LOOK_S_MAX: Final = 1.0
"""An idle process wakes once a second for this."""
_LOOK_S_MIN: Final = 0.005
"""Tests give limits of milliseconds."""


@dataclass(frozen=True, kw_only=True)
class HttpBounds:
    """The bounds on the HTTP that is taken in before anybody is asked for a token."""

    http_connections_max: int = setting(
        4096,
        help="most connections at one time; a newcomer takes the place of an idle one, or gets 503",
    )
    http_head_bytes_max: int = constant(
        32 * 1024,
        help="most bytes of the request line and headers of one request, before 431; room for a "
        "proxy's headers and a token, which are a few KiB",
    )
    http_headers_max: int = constant(
        100, help="most headers of one request, before 431; a browser behind proxies sends fewer"
    )
    http_url_bytes_max: int = constant(
        8192, help="longest path and query of a request in bytes, before 414; so do common proxies"
    )
    http_head_s: float = constant(
        10.0,
        help="seconds that the headers of a request may take to come, before 408; they are one "
        "packet or two",
    )
    http_body_s: float = setting(
        20.0,
        help="seconds that a body may take to come before 408, besides those that its bytes earn",
    )
    http_body_bytes_per_s: float = constant(
        16_384.0,
        help="bytes of a body that earn it one second more; a client slower than that on average "
        "is no client",
    )
    http_bodies_bytes_max: int = setting(
        256 * 1024 * 1024,
        help="bytes of bodies held for requests without an answer, all together, before 503; and "
        "as many of answers that their clients have yet to read, before some are cut off",
    )
    http_idle_s: float = setting(
        75.0,
        help="seconds that a connection may stay without a request; more than that of a load "
        "balancer before it",
    )
    http_write_s: float = constant(
        30.0,
        help="seconds without progress after which a client that reads no answer is cut off; one "
        "that reads slowly makes progress",
    )

    def __post_init__(self) -> None:
        """Raises `ValueError` in one line."""
        if min(self.http_connections_max, self.http_headers_max, self.http_bodies_bytes_max) < 1:
            raise ValueError(
                "http_connections_max, http_headers_max and http_bodies_bytes_max are at least 1"
            )
        if not 16 <= self.http_url_bytes_max <= self.http_head_bytes_max:
            raise ValueError("http_url_bytes_max is 16 to http_head_bytes_max")
        if min(*self._times, self.http_body_bytes_per_s) <= 0:
            raise ValueError(
                "http_head_s, http_body_s, http_idle_s, http_write_s and http_body_bytes_per_s are "
                "above 0"
            )

    @property
    def http_look_s(self) -> float:
        """Seconds between two looks at the times."""
        return min(_LOOK_S_MAX, max(_LOOK_S_MIN, min(self._times) / 4))

    @property
    def _times(self) -> tuple[float, ...]:
        return self.http_head_s, self.http_body_s, self.http_idle_s, self.http_write_s


class Visitor(Protocol):
    """One connection, as the account has it."""

    address: str
    since: float
    """The time at which it began to do what it does."""

    @property
    def is_waiting(self) -> bool:
        """True if no request is under way."""
        ...

    @property
    def unread_bytes(self) -> int:
        """Bytes that its client has yet to read."""
        ...

    def look(self, now: float) -> None:
        """Judge the times."""
        ...

    def send_away(self) -> None:
        """Close it at once, for a newcomer."""
        ...


class Connections:
    """Those of one HTTP server. Owner: its loop."""

    def __init__(self, bounds: HttpBounds) -> None:
        self.bounds: Final = bounds
        self._visitors: dict[Visitor, None] = {}
        wanted = bounds.http_connections_max
        self._connections_max = within_descriptors(wanted)
        if self._connections_max < wanted:
            _LOG.warning(
                "the limit of open files leaves room for %d connections, not %d",
                self._connections_max,
                wanted,
            )
        self.wants_certificate = False
        """Clients show a certificate, or ask for nothing but whether the process is well."""
        self._occupied = asyncio.Event()
        self.body_bytes = 0
        """Of the bodies that the connections hold. They count it themselves, with each part."""

    def __len__(self) -> int:
        return len(self._visitors)

    def enter(self, visitor: Visitor) -> SIEError | None:
        """Take a connection in; else what to tell it."""
        if len(self._visitors) >= self._connections_max and not self._made_room():
            return Later(
                f"this process has {len(self._visitors)} connections with requests under way, the "
                "most that it takes: come again",
                code="RESOURCE_EXHAUSTED",
            )
        self._visitors[visitor] = None
        self._occupied.set()
        return None

    def leave(self, visitor: Visitor) -> None:
        """It is closed."""
        self._visitors.pop(visitor, None)

    def too_many_bodies(self) -> SIEError:
        """The error for a client whose body is more than may be held."""
        return Later(
            f"this process holds {self.bounds.http_bodies_bytes_max} bytes of bodies whose "
            "requests have no answer yet, the most that it takes: send the request again",
            code="RESOURCE_EXHAUSTED",
        )

    def refused(self, error: SIEError) -> None:
        """Somebody was told so."""
        _REFUSED.labels(error.code).inc()
        _LOG.debug("refused: %s", error.message)

    async def occupied(self) -> None:
        """Wait until there is a connection to look at."""
        await self._occupied.wait()

    def look(self, now: float) -> None:
        """Judge the times of every connection."""
        _CONNECTIONS.set(len(self._visitors))
        if not self._visitors:
            self._occupied.clear()
        # One look over all, and no timer for each: the bounds cost a request 4 µs of its 90.
        for visitor in list(self._visitors):
            visitor.look(now)
        self._bound_answers()

    def _bound_answers(self) -> None:
        unread = [(visitor, held) for visitor in self._visitors if (held := visitor.unread_bytes)]
        over = sum(held for _, held in unread) - self.bounds.http_bodies_bytes_max
        if over <= 0:
            return
        of_address: defaultdict[str, int] = defaultdict(int)
        for visitor, held in unread:
            of_address[visitor.address] += held
        unread.sort(key=lambda each: (-of_address[each[0].address], each[0].since))
        cut = 0
        for visitor, held in unread:
            if over <= 0:
                break
            over -= held
            cut += 1
            visitor.send_away()
        _LOG.warning("%d connections are cut off: nobody reads their answers", cut)

    def _made_room(self) -> bool:
        waiting: defaultdict[str, list[Visitor]] = defaultdict(list)
        # An answer waits for its reader alone: a crowd that reads none would keep everybody out.
        idle = [visitor for visitor in self._visitors if visitor.is_waiting]
        for visitor in idle or [visitor for visitor in self._visitors if visitor.unread_bytes]:
            waiting[visitor.address].append(visitor)
        if not waiting:
            return False
        # Not a number for each address: behind a proxy everybody has one.
        most = max(waiting.values(), key=len)
        most.sort(key=lambda visitor: visitor.since)
        for visitor in most[: max(1, self._connections_max // _SENT_AWAY)]:
            del self._visitors[visitor]
            visitor.send_away()
        return True


def within_descriptors(wanted: int) -> int:
    """As many connections as this process may have descriptors for; it asks for what is missing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _OTHER_FILES
    if resource.RLIM_INFINITY not in (soft, hard) and soft < needed:
        soft = min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    return max(soft - _OTHER_FILES, soft // 2)
