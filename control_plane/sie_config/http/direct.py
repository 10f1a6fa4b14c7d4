"""Direct routes: the hot writes, answered beside the framework's layers.

*shell.* A request for a direct route goes straight to its endpoint; every other takes the long way.
So do all as soon as anybody adds middleware: what guards the application guards these routes.
Promises the same answers and errors on both ways.
"""

import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from fastapi import FastAPI
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from sie_config.http.doors import Door
from sie_runtime.access.strict_route import StrictRoute
from sie_runtime.access.unread_bodies import check_no_body
from sie_runtime.http.direct_http import answer_at_once
from sie_schemas.errors import SIEError

__all__ = ["DirectApp", "Endpoint"]

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]
OnError: TypeAlias = Callable[[Request, Exception], Awaitable[Response]]


class DirectApp(FastAPI):
    """An application with direct routes. Owner: `api.build_app`."""

    def __init__(self, *, on_error: OnError, on_defect: OnError, **options: Any) -> None:
        super().__init__(**options)
        self.router.route_class = StrictRoute
        self.add_exception_handler(SIEError, on_error)
        self.add_exception_handler(ClientDisconnect, _on_gone)
        self.add_exception_handler(Exception, on_defect)
        self._on_error = on_error
        self._direct: dict[str, list[BaseRoute]] = {}
        """By method, in the order in which the router would find them."""
        self._shortcut: ASGIApp = ServerErrorMiddleware(self._answer, handler=on_defect)

    def add_plain(self, method: str, path: str, endpoint: Endpoint) -> None:
        """Answer this method and path by an endpoint that reads the request itself, behind the door
        that stands before it."""
        self.router.add_route(path, _guarded(endpoint), methods=[method])

    def add_direct(self, method: str, path: str, endpoint: Endpoint) -> None:
        """Answer this method and path directly; also known to the router, for what it tells.

        Raises `ValueError` where a route that was added before would answer some of it.
        """
        own = self._direct.get(method, [])
        for earlier in (route for route in self.router.routes if route not in own):
            if method in (getattr(earlier, "methods", None) or {method}) and _meet(
                path.split("/"), _path_of(earlier).split("/")
            ):
                # It would lose to this one, which is looked for first.
                raise ValueError(
                    f"{method} {path} would go before {_path_of(earlier)}: add it first"
                )
        self.add_plain(method, path, endpoint)
        self._direct.setdefault(method, []).append(self.router.routes[-1])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI request."""
        # The layers of the framework cost more than the commit. With any that somebody adds the
        # long way is taken, so that no guard can be gone around.
        if scope["type"] == "http" and not self.user_middleware:
            for route in self._direct.get(scope["method"], ()):
                match, told = route.matches(scope)
                if match is Match.FULL:
                    scope.update(told)
                    await self._shortcut(scope, receive, send)
                    return
        await super().__call__(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await scope["endpoint"](request)
        except SIEError as error:
            response = await self._on_error(request, error)
        except ClientDisconnect:
            return
        at_once = answer_at_once(
            scope, response.status_code, response.raw_headers, bytes(response.body)
        )
        if not at_once:
            await response(scope, receive, send)


def _path_of(route: BaseRoute) -> str:
    path = str(getattr(route, "path", "/{any:path}"))
    return f"{path}/{{any:path}}" if isinstance(route, Mount) else path


def _meet(left: Sequence[str], right: Sequence[str]) -> bool:
    """True if a path fits both patterns, given by their parts."""
    if not left or not right:
        return all(part.endswith(":path}") for part in (*left, *right))
    for one, other in ((left, right), (right, left)):
        if one[0].endswith(":path}"):
            return _meet(one[1:], other) or _meet(one, other[1:])
    return (left[0] == right[0] or "{" in left[0] + right[0]) and _meet(left[1:], right[1:])


def _guarded(endpoint: Endpoint) -> Endpoint:
    before: Door = endpoint.door  # type: ignore[attr-defined]
    places = before.places

    @functools.wraps(endpoint)
    async def checked(request: Request) -> Response:
        before.check(request)
        if not before.media:
            await check_no_body(request.scope, request.receive, places, gone=ClientDisconnect)
        return await endpoint(request)

    return checked


async def _on_gone(_request: Request, _error: Exception) -> Response:
    """Nobody reads this: the client left before its request was whole."""
    return Response(status_code=400)
