"""The gate: access control in front of an ASGI application.

*shell.* Promises:

- No request reaches the application without the role that its route wants, nor above the rate of
  its token.
- A WebSocket, or an answer that goes on and on, ends when its token is taken back.
- A refusal has the one shape of errors.
- While no tokens are in force, no name of a stranger's leads here.
- A misspelt header of ours is refused by name, before anything is done.

Where tokens are in force, the actor of a change is the token's name, whatever the request says of
itself.
"""

import logging
import time
from collections.abc import Callable, Collection
from functools import partial
from typing import Final, TypeAlias

import msgspec

from sie_runtime.access.access import Access, Principal, Role
from sie_runtime.access.cross_origin import is_preflight, page_headers, preflight_headers
from sie_runtime.access.rates import Rates
from sie_runtime.access.strict_headers import check_headers
from sie_runtime.access.web_pages import check_host, check_page, hosts_of
from sie_runtime.http.bodies import Application, Message, Receive, Scope, Send
from sie_runtime.http.direct_http import cut_off
from sie_runtime.http.error_headers import error_headers
from sie_runtime.http.methods import answer_head, answer_options
from sie_runtime.texts.secret_shapes import without_secrets
from sie_schemas.errors import SIEError

__all__ = ["NOBODY", "PRINCIPAL", "REQUEST_ID", "Gate", "Rule", "caller_of", "principal_of"]

Rule: TypeAlias = Callable[[str, str, bytes], Role | None]
"""The role that a method, a path and a query string want; None lets everyone in."""

_LOG: Final = logging.getLogger(__name__)

PRINCIPAL: Final = "sie.principal"
"""The scope's key for the `Principal`."""
REQUEST_ID: Final = "sie.request_id"
"""The scope's key for the name of a request that brought none, once somebody made it."""
_AS_IT_CAME: Final = "sie.as_it_came"
"""The key of a page's request for the scope that the server gave."""
NOBODY: Final = Principal("", "", frozenset())
_ACTOR: Final = b"x-sie-actor"
_POLICY_VIOLATION: Final = 1008
"""RFC 6455's code for a peer that may not go on."""
_HOSTS_KEPT_MAX: Final = 64
"""Names and addresses of one process; whoever invents more has each looked at anew."""
_REASON_BYTES_MAX: Final = 123
"""Of a WebSocket's last frame."""


class _TakenBack(BaseException):
    """The right to what is being sent is gone. The application takes no notice of it."""


class Gate:
    """One for each process. `rates` bounds what each token may ask, `shape` makes the body of a
    refusal at a path, `on_refused` hears of it. `pages` are the origins of web pages that may use
    this process, and name its hosts; None leaves them to the application."""

    def __init__(
        self,
        app: Application,
        access: Access,
        rule: Rule,
        *,
        rates: Rates | None = None,
        clock: Callable[[], float] = time.monotonic,
        shape: Callable[[str, SIEError], bytes] | None = None,
        on_refused: Callable[[Scope, SIEError], None] | None = None,
        pages: Collection[str] | None = None,
    ) -> None:
        self._app = app
        self._access = access
        self._rule = rule
        self._rates = rates
        self._clock = clock
        self._shape = shape or _own_shape
        self._on_refused = on_refused
        self._pages = pages
        self._hosts = None if pages is None else hosts_of(pages)
        self._known_hosts: set[bytes] = set()
        """Hosts that were let in: a few, and looked up for each request."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers = _headers_of(scope)
        method = scope.get("method", "GET")
        try:
            if self._pages is not None and b"origin" in headers:
                # Programs send no `Origin`, browsers always do with a write. The request's own
                # `Host` proves nothing: a page whose name was pointed at this machine sends that
                # name.
                check_page(headers[b"origin"], self._pages, host=headers.get(b"host", b""))
                if is_preflight(method, headers):
                    await _tell_page(send, headers)
                    return
                scope, send = _for_page(scope, send, headers[b"origin"])
            role = self._rule(method, scope.get("path", ""), scope.get("query_string", b""))
            if role is not None:
                self._let_in(scope, headers, role)
                check_headers(headers)
        except SIEError as error:
            if self._on_refused is not None:
                self._on_refused(scope, error)
            await self._refuse(scope, send, error)
            return
        answer = _ANSWERS.get(method) if scope["type"] == "http" else None
        app = self._app if answer is None else partial(answer, self._app)
        if role is None or self._access.is_open:
            await app(scope, receive, send)
        else:
            await self._watched(app, scope, receive, send, headers, role)

    async def _watched(
        self,
        app: Application,
        scope: Scope,
        receive: Receive,
        send: Send,
        headers: dict[bytes, bytes],
        role: Role,
    ) -> None:
        """A connection may outlive a token: each message that leaves is asked for anew, but for
        an answer that is given at once. One in parts is cut off, for a whole end would tell a
        reader that this was all. So is each part of a body that comes."""

        async def receive_if_allowed() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                self._access.check(headers, role)
            return message

        async def send_if_allowed(message: Message) -> None:
            if message["type"] == "websocket.send" or message.get("more_body"):
                try:
                    self._access.check(headers, role)
                except SIEError as error:
                    if scope["type"] == "websocket":
                        await self._refuse(scope, send, error)
                    raise _TakenBack from error
            await send(message)

        try:
            await app(scope, receive_if_allowed, send_if_allowed)
        except _TakenBack:
            cut_off(scope.get(_AS_IT_CAME, scope))
            # A token that was pasted for a name stands in the path.
            name, path = principal_of(scope).name, without_secrets(scope.get("path", ""))
            _LOG.info("%s at %s was cut off: its token was taken back", name, path)

    def _let_in(self, scope: Scope, headers: dict[bytes, bytes], role: Role) -> None:
        """Note in the scope who asks. Raises `SIEError`."""
        is_plain = scope.get("scheme") not in {"https", "wss"}
        if self._hosts is not None and self._access.is_open and is_plain:
            # With TLS nobody has a certificate for a name of theirs here.
            self._check_host(headers.get(b"host", b""), self._hosts)
        # Noted before its roles are looked at: whoever is refused is refused by name.
        principal = scope[PRINCIPAL] = self._access.identify(headers)
        principal.require(role)
        if self._rates is not None:
            self._rates.take(principal.name or "anonymous", self._clock())
        if not self._access.is_open:
            scope["headers"] = _with_actor(scope["headers"], principal)

    def _check_host(self, host: bytes, allowed: Collection[str]) -> None:
        if host in self._known_hosts:
            return
        check_host(host, allowed)
        if len(self._known_hosts) < _HOSTS_KEPT_MAX:
            self._known_hosts.add(host)

    async def _refuse(self, scope: Scope, send: Send, error: SIEError) -> None:
        if scope["type"] == "websocket":
            reason = error.message.encode()[:_REASON_BYTES_MAX].decode(errors="ignore")
            closing = {"code": _POLICY_VIOLATION, "reason": reason}
            await send({"type": "websocket.close", **closing})
            return
        body = self._shape(scope.get("path", ""), error)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            *error_headers(error),
        ]
        if REQUEST_ID in scope:
            headers.append((b"x-request-id", scope[REQUEST_ID].encode()))
        if error.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        await send({"type": "http.response.start", "status": error.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def principal_of(scope: Scope) -> Principal:
    """The caller; nobody where no gate stands before the application."""
    found: Principal = scope.get(PRINCIPAL, NOBODY)
    return found


def caller_of(scope: Scope) -> str:
    """The name of the caller's token, or where it asks from."""
    client = scope.get("client")
    return principal_of(scope).name or (client[0] if client else "")


_ANSWERS: Final = {"HEAD": answer_head, "OPTIONS": answer_options}
"""Methods that every path has, and no application knows."""


async def _tell_page(send: Send, headers: dict[bytes, bytes]) -> None:
    told = preflight_headers(headers)
    await send({"type": "http.response.start", "status": 204, "headers": told})
    await send({"type": "http.response.body", "body": b""})


def _headers_of(scope: Scope) -> dict[bytes, bytes]:
    """The headers by name. One that comes in several lines becomes one line, which means the
    same."""
    headers = dict(scope["headers"])
    if len(headers) != len(scope["headers"]):
        headers.clear()
        for name, value in scope["headers"]:
            headers[name] = headers[name] + b", " + value if name in headers else value
        scope["headers"] = list(headers.items())
    return headers


def _for_page(scope: Scope, send: Send, origin: bytes) -> tuple[Scope, Send]:
    """The request of a page that may read the answer."""
    if scope["type"] != "http":
        return scope, send
    told = page_headers(origin)

    async def send_told(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *told]}
        await send(message)

    # Without the short way by which an answer is written at once: it goes past `send`, and would
    # leave without these headers.
    return {**scope, "extensions": {}, _AS_IT_CAME: scope}, send_told


def _with_actor(
    headers: list[tuple[bytes, bytes]], principal: Principal
) -> list[tuple[bytes, bytes]]:
    kept = [(name, value) for name, value in headers if name.lower() != _ACTOR]
    return [*kept, (_ACTOR, principal.name.encode())]


def _own_shape(path: str, error: SIEError) -> bytes:
    return msgspec.json.encode(error.to_wire())
