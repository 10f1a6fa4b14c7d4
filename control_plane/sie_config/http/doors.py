"""Doors: what each route of sie-config asks of a request before it runs.

*pure.* A door stands at the endpoint itself. It tells the role that running it wants, and the role
that is enough to try it. It tells the query parameters that it reads, and the type of its body.
Whether a caller may ask is read from the route that will run, so that no route can be reached by
another one's rule. Promises that a route without a door of its own is not open: one that changes
something wants `admin`, one that looks wants `read`. Only a route that knows dry runs is open for
less when one is asked for.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import parse_qs

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.routing import BaseRoute, Route

from sie_runtime.access.access import Role
from sie_runtime.access.strict_query import check_query
from sie_runtime.access.strict_route import query_names
from sie_runtime.access.unread_bodies import Places, places_of_headers, places_of_query
from sie_runtime.http.charsets import check_charset
from sie_schemas.errors import FixRequest

__all__ = [
    "DOCUMENT_BODY",
    "JSON_BODY",
    "WRITE_QUERY",
    "YAML",
    "Door",
    "Doors",
    "changes_the_log",
    "door",
    "door_of",
]

YAML: Final = "application/yaml"
JSON_BODY: Final = ("application/json",)
DOCUMENT_BODY: Final = (*JSON_BODY, YAML)
"""A page of another site can send neither without being asked."""
WRITE_QUERY: Final = frozenset({"dry_run", "ack", "wait", "timeout"})
"""The query parameters that a write of the log takes."""

_HEADERS: Final = places_of_headers(
    (
        *("If-Match", "If-None-Match", "If-Match-Epoch", "Idempotency-Key"),
        *("X-SIE-Actor", "X-SIE-Reason", "X-SIE-Force"),
    )
)
"""Of a write of the log."""
_LOOKS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_DOOR: Final = "door"
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Door:
    """The demands of a route. `role` None lets everybody in, `trial` None knows no dry run, and one
    without `media` reads no body."""

    role: Role | None
    trial: Role | None = None
    query: frozenset[str] = frozenset()
    media: tuple[str, ...] = ()

    def role_for(self, query: bytes) -> Role | None:
        """The role that a request with this query string wants."""
        if self.trial is not None and query and _is_trial(query):
            return self.trial
        return self.role

    def check(self, request: Request) -> None:
        """Refuse a request that the route cannot mean to answer. Raises `FixRequest`."""
        query = request.scope["query_string"]
        if query:
            check_query(query, self.query, route=f"{request.method} {request.url.path}")
        if self.media:
            _check_media(request, self.media)

    @property
    def places(self) -> Places:
        """The names that the route reads elsewhere than in a body."""
        return places_of_query(self.query) | (_HEADERS if self.trial is not None else {})


def door(
    role: Role | None,
    *,
    trial: Role | None = None,
    query: Collection[str] = (),
    media: tuple[str, ...] = (),
) -> Callable[[F], F]:
    """Put a door before an endpoint."""
    made = Door(role, trial, frozenset(query), media)

    def put(endpoint: F) -> F:
        setattr(endpoint, _DOOR, made)
        return endpoint

    return put


def door_of(route: BaseRoute) -> Door:
    """The door of a route."""
    endpoint = getattr(route, "endpoint", None)
    own: Door | None = getattr(endpoint, _DOOR, None)
    methods: set[str] = getattr(route, "methods", None) or set()
    # The role stands at the endpoint. A rule beside the routes took `dry_run=true` for a trial on
    # routes that know none, and whoever might try a change compacted the log for good.
    found = own or Door("read" if methods and methods <= _LOOKS else "admin")
    if isinstance(route, APIRoute):
        return Door(found.role, found.trial, query_names(route), found.media)
    return found


def changes_the_log(scope: Mapping[str, Any]) -> bool:
    """True if a request was meant to change something: by the route that ran, else its method."""
    own: Door | None = getattr(scope.get("endpoint"), _DOOR, None)
    return own.role == "admin" if own is not None else scope["method"] not in _LOOKS


class Doors:
    """The doors of one application."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._known: dict[tuple[str, str], Door] = {}
        """Of paths that hold no name: as many as there are routes."""
        self._listed: list[tuple[Route, set[str], Door]] = []

    def role_of(self, method: str, path: str, query: bytes) -> Role | None:
        """The role that the route wants which will run; None lets everybody in."""
        found = self.at(method, path)
        if found is None:
            return "read" if method in _LOOKS else "admin"
        return found.role_for(query)

    def at(self, method: str, path: str) -> Door | None:
        """The door of the route that will run; None where none does."""
        known = self._known.get((method, path))
        if known is not None:
            return known
        # As the router looks for it, which takes ten times as long to say so; a law compares them.
        for route, methods, found in self._routes():
            if method in methods and route.path_regex.match(path):
                if route.path == path:
                    self._known[method, path] = found
                return found
        return None

    def _routes(self) -> list[tuple[Route, set[str], Door]]:
        # Routes are added and never taken away: their number tells when the list is old.
        if len(self._listed) != len(self._app.routes):
            self._listed = [
                (route, route.methods or set(), door_of(route))
                for route in self._app.routes
                if isinstance(route, Route)
            ]
        return self._listed


def _is_trial(query: bytes) -> bool:
    """True if a dry run is asked for, in the one way that a write understands."""
    return parse_qs(query.decode("latin-1"), keep_blank_values=True).get("dry_run") == ["true"]


def _check_media(request: Request, wanted: tuple[str, ...]) -> None:
    """A page of another site can send any body, but not as this type without being asked."""
    # The framework's view of headers costs a write more than the rest of its door.
    headers = request.scope["headers"]
    told = next((str(value, "latin-1") for name, value in headers if name == b"content-type"), "")
    if told in wanted:
        return
    if told.lower().partition(";")[0].strip() not in wanted:
        shown = f"not {told[:60]!r}" if told else "and there is none"
        raise FixRequest(
            f"send the body with the header `Content-Type: {wanted[0]}`, {shown}",
            code="UNSUPPORTED_MEDIA_TYPE",
            field="Content-Type",
        )
    check_charset(told.encode("latin-1"))
