"""HTTP as it comes in, within bounds.

*shell* inside uvicorn, whose parser takes in whatever comes, for as long as it comes. Here each
request has a bounded head, a bounded share of framing in its body, and a time for both. Promises:

- What is refused costs no more memory than one read of the socket.
- A refusal waits for the answers of requests before it.
- No connection is closed under an answer which its client has yet to read.
- An offer to speak another protocol is passed over, as HTTP has it. A WebSocket begins where no
  request is under way.

It reaches into the library's exchange, whose version is bounded for that reason.
"""

from typing import Any, Final

import httptools  # type: ignore[import-untyped]
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT

from sie_runtime.http.direct_http import DirectHttp
from sie_runtime.http.http_heads import UNKNOWN, check_size, declared_size, without_offers
from sie_runtime.http.last_answers import Lingering, last_cycle, refusal_bytes, refusing
from sie_runtime.http.tls_writes import in_sight
from sie_schemas.errors import FixRequest, Later, SIEError

__all__ = ["BoundedHttp"]

_PIPELINED_MAX: Final = 16
"""Requests sent ahead of their answers; few clients send any."""
_SMALL_BODY: Final = 64 * 1024
"""A body up to here is read and dropped after an early answer, so that the connection goes on."""
_FRAMING_PER_BYTE: Final = 16
"""A byte in a chunk of its own has five of framing; more is no body."""
_OPEN: Final = frozenset({b"/healthz", b"/readyz"})
"""For the probes of a platform, which have no certificate."""
_LINGER_S: Final = 2.0
"""For a client that is still sending to read why nobody listens."""
_LINGER_BYTES: Final = 64 * 1024 * 1024
"""A client that sends what was refused gets its answer, unless it never stops."""


class BoundedHttp(DirectHttp):
    """One connection. Owner: the loop; `config` has the `account`."""

    def __init__(self, config: Any, *args: Any, **named: Any) -> None:
        super().__init__(config, *args, **named)
        self._account = config.account
        self._bounds = config.account.bounds
        self._head_bytes_max = config.account.bounds.http_head_bytes_max
        self._headers_max = config.account.bounds.http_headers_max
        self._bodies_bytes_max = config.account.bounds.http_bodies_bytes_max
        self.address = ""
        self._is_stranger = False
        """Its client shows no certificate where one is wanted."""
        self.since = self.loop.time()
        self._in_body = False
        self._raw = 0
        """Bytes of the head, or of the body with its framing, as far as it came."""
        self._content = self._content_at = 0
        """Bytes of the body; `_raw` at the last of them."""
        self._held = 0
        """Bytes of bodies that the account counts."""
        self._keep_alive = True
        """True if the last request keeps the connection open."""
        self._upgrades = self._declines = False
        """The request offers another protocol; it is read once more without that."""
        self._early_ends = False
        """True if an answer before the body is here ends the connection."""
        self._deaf = False
        """Nothing that comes is read any more."""
        self._ended = False
        """Nothing more is sent; what comes is dropped until the client closes."""
        self._dropped = 0
        self._unsent = 0
        self._unsent_since = 0.0

    # -- the connection --

    def connection_made(self, transport: Any) -> None:
        """As the library's, if there is room."""
        super().connection_made(in_sight(transport))
        self.address = self.client[0] if self.client else ""
        self._is_stranger = self._account.wants_certificate and not transport.get_extra_info(
            "peercert"
        )
        refusal = self._account.enter(self)
        if refusal is not None:
            self._account.refused(refusal)
            self._deaf = True
            transport.write(refusal_bytes(refusal))
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """As the library's."""
        self._account.leave(self)
        self._release()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server stops: what is under way is the last."""
        self._keep_alive = False
        if self._ended:
            self.transport.close()
        else:
            super().shutdown()

    def handle_websocket_upgrade(self) -> None:
        """The connection is another protocol's from here on, and so is its place in the house."""
        self._account.leave(self)
        super().handle_websocket_upgrade()

    @property
    def is_waiting(self) -> bool:
        """True if no request is under way."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def unread_bytes(self) -> int:
        """Bytes that its client has yet to read."""
        return int(self.transport.get_write_buffer_size())

    def send_away(self) -> None:
        """Close at once."""
        self._deaf = True
        self.transport.abort()

    def look(self, now: float) -> None:
        """Judge the times. Called by the account."""
        # A connection that closes waits for its reader too: it is over when all is sent.
        if self._is_stuck(now):
            self.transport.abort()
        elif self.transport.is_closing():
            return
        elif self._ended:
            if now - self.since > _LINGER_S:
                self.transport.close()
        elif self._deaf:
            return
        elif self._in_body:
            self._look_at_body(now)
        elif self.is_waiting:
            self._look_at_head(now)

    def _is_stuck(self, now: float) -> bool:
        unsent = self.unread_bytes
        if unsent != self._unsent:
            self._unsent, self._unsent_since = unsent, now
        return unsent > 0 and now - self._unsent_since > self._bounds.http_write_s

    def _look_at_head(self, now: float) -> None:
        # Who never asked anything has no more time than a head.
        in_head = self._raw > 0 or self.cycle is None
        allowed = self._bounds.http_head_s if in_head else self._bounds.http_idle_s
        if now - self.since <= allowed:
            return
        if self._raw:
            self._refuse(_too_slow("the headers", allowed))
        else:
            self.transport.close()

    def _look_at_body(self, now: float) -> None:
        if self.flow.read_paused:
            # It is for us to go on.
            self.since, self._raw, self._content, self._content_at = now, 0, 0, 0
            return
        allowed = self._bounds.http_body_s + self._content / self._bounds.http_body_bytes_per_s
        if now - self.since <= allowed:
            return
        if self.is_waiting:
            self.transport.close()
        else:
            self._refuse(_too_slow("the body", allowed))

    # -- what comes --

    def data_received(self, data: bytes) -> None:
        """As the library's, within the bounds."""
        if self._in_body or self._deaf or self._raw + len(data) > self._head_bytes_max:
            self._take_in_parts(data)
            return
        # What nearly every request is: a head, and what may come behind it.
        if not self._raw:
            self.since = self.loop.time()
        self._raw += len(data)
        self._feed(data)
        if self._raw and not self._deaf:
            self._judge_part()

    def _take_in_parts(self, data: bytes) -> None:
        while data and not self._deaf:
            # A head is given to the parser as far as its bound: what follows may be a body.
            room = len(data) if self._in_body else self._head_bytes_max - self._raw
            part, data = (data, b"") if len(data) <= room else (data[:room], data[room:])
            if not self._in_body and not self._raw:
                self.since = self.loop.time()
            self._raw += len(part)
            self._feed(part)
            if self._raw and not self._deaf:
                self._judge_part()
        if data:
            self._drop(len(data))

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._declines:
                self._read_again(data[upgrade.args[0] :])
            else:
                self.handle_websocket_upgrade()
                self._deaf = True
        except httptools.HttpParserError as error:
            reason = error.__context__
            malformed = FixRequest(f"this is not HTTP/1.1 that can be read: {error}")
            self._refuse(reason if isinstance(reason, SIEError) else malformed)

    def _judge_part(self) -> None:
        """Of a request that is not whole yet."""
        bounds = self._bounds
        try:
            check_size(getattr(self, "url", b""), self.headers or (), bounds)
        except FixRequest as error:
            self._refuse(error)
            return
        allowed = min(self._content_at, (1 + _FRAMING_PER_BYTE) * self._content)
        if not self._in_body:
            if self._raw >= bounds.http_head_bytes_max:
                self._refuse(_long_head(bounds.http_head_bytes_max))
        elif self._raw - allowed > bounds.http_head_bytes_max:
            # Trailers too: the parser puts one together in the square of its parts.
            self._refuse(FixRequest("the chunks of the body hold next to nothing"))

    def _drop(self, size: int) -> None:
        self._dropped += size
        if self._dropped > _LINGER_BYTES:
            self.transport.abort()

    # -- the parser's words --

    def on_headers_complete(self) -> None:
        """A head is whole."""
        parser, url, headers = self.parser, self.url, self.headers
        if len(url) > self._bounds.http_url_bytes_max or len(headers) > self._headers_max:
            check_size(url, headers, self._bounds)
        if self._is_stranger and url.partition(b"?")[0] not in _OPEN:
            raise FixRequest(
                "a client certificate is wanted here, of a CA that this process trusts",
                code="FORBIDDEN",
            )
        is_old = parser.get_http_version() != "1.1"
        declared = declared_size(parser.get_method(), url, headers, is_old=is_old)
        if parser.should_upgrade():
            # Its body is not read: it is over, or read once more.
            self._upgrades = True
            # A WebSocket begins with a GET, and has the connection to itself: behind a request
            # under way its frames would stand among the bytes of answers.
            is_ours = parser.get_method() == b"GET" and self._should_upgrade()
            self._declines = not is_ours or not self.is_waiting
            if self._declines:
                return
        if len(self.pipeline) >= _PIPELINED_MAX:
            raise FixRequest(f"more than {_PIPELINED_MAX} requests wait for the one before them")
        super().on_headers_complete()
        if self._upgrades:
            return
        # What a body has behind its end are no headers of a request that is under way.
        self.headers = []
        self._in_body, self._raw, self._content, self._content_at = True, 0, 0, 0
        cycle = self.cycle
        self._keep_alive = cycle.keep_alive
        if declared == UNKNOWN or declared > _SMALL_BODY or self.expect_100_continue:
            # Whoever answers before the body is here ends the connection.
            self._early_ends = True
            cycle.keep_alive = False
            cycle.transport = Lingering(self)  # type: ignore[assignment]

    def on_body(self, body: bytes) -> None:
        """A part of a body."""
        size = len(body)
        self._content += size
        self._content_at = self._raw
        cycle = self.cycle
        if cycle.response_complete:
            return
        account = self._account
        account.body_bytes += size
        self._held += size
        if account.body_bytes > self._bodies_bytes_max:
            raise account.too_many_bodies()
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """A request is whole."""
        if self._upgrades:
            return
        self._in_body, self._raw = False, 0
        cycle = self.cycle
        if self._early_ends:
            self._early_ends = False
            if not cycle.response_started:
                cycle.keep_alive = self._keep_alive
                cycle.transport = self.transport
        if not cycle.response_complete:
            cycle.more_body = False
            cycle.message_event.set()

    def on_response_complete(self) -> None:
        """An answer is on its way: the next request, or a rest."""
        self.server_state.total_requests += 1
        self.since = self.loop.time()
        if self._ended or self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._held:
            self._release()

    def _read_again(self, rest: bytes) -> None:
        """Read a request that offers another protocol as if it did not: its body follows."""
        old = self.parser
        version = old.get_http_version().encode()
        head = without_offers(old.get_method(), self.url, version, self.headers)
        self.parser = httptools.HttpRequestParser(self)
        # As the library has it, for what is sent behind a last request.
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._upgrades = self._declines = False
        self._feed(head)
        if rest and not self._deaf:
            self.data_received(rest)

    # -- refusing --

    def _refuse(self, error: SIEError) -> None:
        """Answer what is being read with an error, in its turn, and read nothing more."""
        self._deaf = True
        self._account.refused(error)
        cycle = self.cycle
        if self.is_waiting:
            self.transport.write(refusal_bytes(error))
            self.linger()
        elif not self._in_body:
            # Others are being answered: it comes after them.
            self.pipeline.appendleft((last_cycle(self), refusing(error)))
        elif self.pipeline:
            self.pipeline[0] = (last_cycle(self), refusing(error))
        else:
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self.transport.abort()
            else:
                self.transport.write(refusal_bytes(error))
                self.linger()

    def linger(self) -> None:
        """Close when the client has, or soon: before it has read its answer it would lose it."""
        if self._ended or self.transport.is_closing():
            return
        self._deaf = self._ended = True
        self.since = self.loop.time()
        self._release()
        if self.transport.can_write_eof():
            # Under TLS nothing says so, and the time alone ends it.
            self.transport.write_eof()
        self.flow.resume_reading()

    def _release(self) -> None:
        self._account.body_bytes -= self._held
        self._held = 0


def _long_head(bytes_max: int) -> FixRequest:
    return FixRequest(
        f"the request line and headers are longer than {bytes_max} bytes", code="HEADERS_TOO_LARGE"
    )


def _too_slow(what: str, allowed_s: float) -> Later:
    return Later(f"{what} did not come within {allowed_s:.3g} s", code="REQUEST_TIMEOUT")
