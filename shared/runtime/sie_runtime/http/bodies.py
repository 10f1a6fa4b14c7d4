"""Bodies of requests, as ASGI brings them: part by part, and bounded; and the types of ASGI.

*shell* over one request. Promises that a body above its bound is refused before it is held in
memory. Where its length is told that is at once, else at the part that passes the bound. The errors
are the caller's, since each face has its own words.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

__all__ = ["Application", "Message", "Receive", "Scope", "Send", "read_bounded", "until_gone"]

Message: TypeAlias = MutableMapping[str, Any]
Scope: TypeAlias = Message
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


async def read_bounded(
    receive: Receive,
    told: bytes | None,
    bytes_max: int,
    *,
    too_large: Callable[[int], Exception],
    gone: type[Exception],
) -> bytes:
    """The whole body; `told` is the header Content-Length, None without one.

    Raises what `too_large` makes of the bound, and `gone` where the client has left.
    """
    if told is not None and told.isdigit() and int(told) > bytes_max:
        raise too_large(bytes_max)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise gone
        part = message.get("body", b"")
        size += len(part)
        if size > bytes_max:
            raise too_large(bytes_max)
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


async def until_gone(receive: Receive) -> None:
    """Wait until the client has left. The body was read."""
    while (await receive())["type"] != "http.disconnect":
        pass
