"""A route of the framework that takes no query parameter, and no body, which its endpoint does not
read.

*shell.* What an endpoint reads is what its signature declares; one that reads a body by itself is
marked. The framework passes over all else; here it is refused by name. A number is plain digits:
the framework also takes ` 1`, `1_0` and `1.0` for one, which nobody means and no other reader
takes.
"""

import re
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, TypeVar, get_args

from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from sie_runtime.access.strict_query import check_query
from sie_runtime.access.unread_bodies import Places, check_no_body, places_of_query
from sie_schemas.errors import invalid_field

__all__ = ["StrictRoute", "any_query", "body_belongs", "query_names", "reads_body"]

_ANY: Final = "takes_any_query"
_READS_BODY: Final = "reads_body"
_BELONGS: Final = "body_belongs"
_WHOLE: Final = re.compile(r"-?[0-9]{1,20}")
_NUMBER: Final = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?")
F = TypeVar("F", bound=Callable[..., Any])


class StrictRoute(APIRoute):
    """For `router.route_class`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler that answers a request, behind the check of its query and its body."""
        answer = super().get_route_handler()
        if getattr(self.endpoint, _ANY, False):
            return answer
        known = query_names(self)
        numbers = {
            field.alias: shape
            for field in self.dependant.query_params
            if (shape := _shape_of(field.field_info.annotation)) is not None
        }

        reads_none = self.body_field is None and not getattr(self.endpoint, _READS_BODY, False)
        places = places_of_query(known) | getattr(self.endpoint, _BELONGS, {})

        async def strict(request: Request) -> Response:
            query = request.scope["query_string"]
            if query:
                check_query(query, known, route=f"{request.method} {request.url.path}")
                _check_numbers(request, numbers)
            if reads_none:
                await check_no_body(request.scope, request.receive, places, gone=ClientDisconnect)
            return await answer(request)

        return strict


def _shape_of(annotation: Any) -> re.Pattern[str] | None:
    """The pattern of a number of this type; None for what is no number."""
    kinds = get_args(annotation) or (annotation,)
    if int in kinds:
        return _WHOLE
    return _NUMBER if float in kinds else None


def _check_numbers(request: Request, numbers: Mapping[str, re.Pattern[str]]) -> None:
    for name, text in request.query_params.items():
        shape = numbers.get(name)
        if shape is not None and not shape.fullmatch(text):
            raise invalid_field(name, f"{name} is a number in plain digits, not {text[:40]!r}")


def any_query(endpoint: F) -> F:
    """Mark an endpoint that refuses every request anyhow, and says more than a query's check."""
    setattr(endpoint, _ANY, True)
    return endpoint


def reads_body(endpoint: F) -> F:
    """Mark an endpoint that reads the body of the request by itself."""
    setattr(endpoint, _READS_BODY, True)
    return endpoint


def body_belongs(places: Places) -> Callable[[F], F]:
    """Mark an endpoint that reads no body: where the names of one that is sent to it belong."""

    def mark(endpoint: F) -> F:
        setattr(endpoint, _BELONGS, dict(places))
        return endpoint

    return mark


def query_names(route: APIRoute) -> frozenset[str]:
    """The query parameters that a route's endpoint reads."""
    return frozenset(field.alias for field in route.dependant.query_params)
