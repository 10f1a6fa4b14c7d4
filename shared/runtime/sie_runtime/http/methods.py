"""The methods that every path has: HEAD is GET without a body, OPTIONS tells which there are.

*shell* over one request. The application knows neither: it is asked for a GET, or says by a 405
which methods it takes.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

__all__ = ["answer_head", "answer_options"]

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_USUAL: Final = b"GET, HEAD"


async def answer_head(app: Application, scope: Scope, receive: Receive, send: Send) -> None:
    """The head of the answer to a GET. Its parts are made, and left out."""

    async def send_head(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    await app(_asked(scope, "GET"), receive, send_head)


async def answer_options(app: Application, scope: Scope, receive: Receive, send: Send) -> None:
    """204 with the methods that the path takes, or the application's own answer."""
    found: dict[str, bool] = {}

    async def send_methods(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            found["methods"] = message["status"] == 405
            if found["methods"]:
                message = {**message, "status": 204, "headers": _allowing(message["headers"])}
        elif found["methods"]:
            message = {"type": "http.response.body", "body": b""}
        await send(message)

    await app(_asked(scope, "OPTIONS"), receive, send_methods)


def _allowing(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    allowed = dict(headers).get(b"allow", _USUAL)
    methods = [part.strip() for part in allowed.split(b",") if part.strip()]
    if b"GET" in methods and b"HEAD" not in methods:
        methods.append(b"HEAD")
    return [(b"allow", b", ".join([*methods, b"OPTIONS"]))]


def _asked(scope: Scope, method: str) -> Scope:
    """The same request with another method, whose answer passes through us."""
    return {**scope, "method": method, "extensions": {}}
