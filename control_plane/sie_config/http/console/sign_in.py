"""Signing in at the console: a token once, then a cookie that no script can read.

*shell.* Stands before the gate: a request with the cookie goes on with the token of its session, as
if the client had sent it. Promises:

- The token stays in this process. The cookie is sent by pages of this site alone.
- A change needs the session's own word in a header, which no page of elsewhere can know.
- A token that was taken back opens nothing: it is checked anew with each request.
- A request that brings a token of its own is not touched.
"""

import hmac
import secrets
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from sie_config.documents.bodies import converted, parse_json
from sie_config.http.console.sessions import Session, Sessions
from sie_config.http.direct import DirectApp
from sie_config.http.doors import JSON_BODY, door
from sie_config.http.json_answers import JSON, json_answer
from sie_config.http.write_requests import read_body
from sie_runtime.access.access import Access, Principal
from sie_runtime.http.bodies import Application, Receive, Scope, Send
from sie_schemas.entry import log_id8
from sie_schemas.errors import FixRequest, SIEError

__all__ = ["CSRF_HEADER", "SignIn"]

CSRF_HEADER: Final = "x-sie-csrf"
_PATH: Final = "/console/session"
_LOOKS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_BODY_BYTES_MAX: Final = 4096
"""The body holds one token of 100 characters, and is read before anybody is known."""
_NO_STORE: Final = {"cache-control": "no-store"}


class _Token(Struct, frozen=True, forbid_unknown_fields=True):
    token: str


class SignIn:
    """The sessions of one process, and the routes that begin and end them."""

    def __init__(
        self,
        access: Access | None,
        *,
        log_id: Callable[[], str],
        gateway_url: str,
        clock: Callable[[], float],
    ) -> None:
        """`access` None lets everyone in, as an open one does."""
        self._access = access
        self._log_id = log_id
        self._gateway_url = gateway_url
        self._clock = clock
        self._sessions = Sessions()

    def before(self, app: Application) -> Application:
        """The same application, for requests with the cookie too."""
        if self._access is None or self._access.is_open:
            return app

        async def signed_in(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                scope = self._with_token(scope)
            except SIEError as error:
                body = msgspec.json.encode(error.to_wire())
                await Response(body, error.status, media_type=JSON)(scope, receive, send)
                return
            await app(scope, receive, send)

        return signed_in

    def _with_token(self, scope: Scope) -> Scope:
        """Raises `FixRequest` FORBIDDEN for a change that a page of elsewhere could have sent."""
        if scope["type"] != "http":
            return scope
        if (scope["method"], scope["path"]) == ("POST", _PATH):
            # A sign-in is by its token: the cookie of a session whose token was taken back would
            # else refuse it, for want of a word that nobody is told any more.
            return scope
        headers = dict(scope["headers"])
        if b"cookie" not in headers or b"authorization" in headers:
            return scope
        session = self._session_of(headers[b"cookie"])
        if session is None:
            return scope
        told = headers.get(CSRF_HEADER.encode(), b"")
        if scope["method"] not in _LOOKS and not hmac.compare_digest(told, session.csrf.encode()):
            raise FixRequest(
                "a change with a cookie needs the header X-SIE-CSRF of its session: reload the "
                "console",
                code="FORBIDDEN",
                field="X-SIE-CSRF",
            )
        bearer = (b"authorization", b"Bearer " + session.token)
        return {**scope, "headers": [*scope["headers"], bearer]}

    def _session_of(self, cookies: bytes) -> Session | None:
        session_id = self._id_in(cookies)
        return self._sessions.find(session_id, self._clock()) if session_id else None

    def _id_in(self, cookies: bytes) -> str:
        # By hand, and as we wrote it: the library of Python before 3.11.10 takes a second for the
        # quotes of one header, whoever sent it.
        name = f"{self._cookie}=".encode()
        for part in cookies.split(b";"):
            if (told := part.strip()).startswith(name):
                return told.removeprefix(name).decode("latin-1")
        return ""

    @property
    def _cookie(self) -> str:
        # A browser gives a cookie to every port of a host: each log's console has its own name.
        return f"sie_console_{log_id8(self._log_id())}"

    def mount(self, app: DirectApp) -> None:
        """Mount `/console/session`."""

        @app.get(_PATH, include_in_schema=False)
        @door(None)
        async def session(request: Request) -> Response:
            """The name and the roles of who is signed in."""
            return json_answer(self._told(request), headers=_NO_STORE)

        for method, endpoint in (("POST", self._begin), ("DELETE", self._end)):
            app.add_plain(method, _PATH, endpoint)

    def _told(self, request: Request) -> dict[str, object]:
        cookies = request.headers.get("cookie", "").encode("latin-1")
        session = self._session_of(cookies)
        who: Principal | None = None
        try:
            if self._access is not None:
                who = self._access.identify(dict(request.scope["headers"]))
        except SIEError:
            who = None
        is_open = self._access is None or self._access.is_open
        return {
            "open": is_open,
            "signed_in": is_open or who is not None,
            "name": who.name if who is not None else "",
            "roles": ["admin"] if is_open else sorted(who.roles) if who is not None else [],
            "csrf": session.csrf if session is not None and who is not None else "",
            "gateway": bool(self._gateway_url),
            # For a command that is copied; who may not ask it need not know where it is.
            "gateway_url": self._gateway_url if is_open or who is not None else "",
        }

    @door(None, media=JSON_BODY)
    async def _begin(self, request: Request) -> Response:
        """`{"token": …}`: a session, told in a cookie."""
        asked = converted(parse_json(await read_body(request, _BODY_BYTES_MAX)), _Token)
        token = asked.token.strip().encode()
        if self._access is None or self._access.is_open:
            raise FixRequest("nobody need sign in here: no tokens are in force")
        # By its token alone: the cookie of an earlier sign-in has no say.
        who = self._access.check({b"authorization": b"Bearer " + token}, "read")
        session_id, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self._sessions.begin(token, session_id=session_id, csrf=csrf, now=self._clock())
        answer = json_answer(
            {"signed_in": True, "name": who.name, "roles": sorted(who.roles), "csrf": csrf},
            headers=_NO_STORE,
        )
        is_safe = request.headers.get("origin", "").startswith("https:")
        answer.set_cookie(
            self._cookie, session_id, path="/", httponly=True, samesite="strict", secure=is_safe
        )
        return answer

    @door(None)
    async def _end(self, request: Request) -> Response:
        """Sign out."""
        session_id = self._id_in(request.headers.get("cookie", "").encode("latin-1"))
        if session_id:
            self._sessions.end(session_id)
        answer = json_answer({"signed_in": False}, headers=_NO_STORE)
        answer.delete_cookie(self._cookie, path="/", httponly=True, samesite="strict")
        return answer
