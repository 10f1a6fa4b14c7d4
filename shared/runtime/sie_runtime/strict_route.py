"""A route of the framework that takes no query parameter which its endpoint does not read.

*shell.* What an endpoint reads is what its signature declares. The framework passes over all else;
here it is refused by name.
"""

from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from sie_runtime.strict_query import check_query

__all__ = ["StrictRoute", "any_query", "query_names"]

_ANY: Final = "takes_any_query"
F = TypeVar("F", bound=Callable[..., Any])


class StrictRoute(APIRoute):
    """For `router.route_class`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What answers a request, behind the check of its query."""
        answer = super().get_route_handler()
        if getattr(self.endpoint, _ANY, False):
            return answer
        known = query_names(self)

        async def strict(request: Request) -> Response:
            query = request.scope["query_string"]
            if query:
                check_query(query, known, route=f"{request.method} {request.url.path}")
            return await answer(request)

        return strict


def any_query(endpoint: F) -> F:
    """Mark an endpoint that refuses every request anyhow, and says more than a query's check."""
    setattr(endpoint, _ANY, True)
    return endpoint


def query_names(route: APIRoute) -> frozenset[str]:
    """The query parameters that a route's endpoint reads."""
    return frozenset(field.alias for field in route.dependant.query_params)
