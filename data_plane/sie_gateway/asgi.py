"""ASGI in the few words that the gateway needs: types, headers, bodies, responses.

*shell.* Promises that a body above its limit is refused before it is held in memory, and that every
error leaves in the one shape, with its code and its time to retry in headers.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from functools import lru_cache
from importlib.metadata import version
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Struct

from sie_schemas.errors import FixRequest, SIEError

__all__ = [
    "Attended",
    "ClientGone",
    "Receive",
    "Response",
    "Scope",
    "Send",
    "error_response",
    "read_body",
    "retry_headers",
    "send_response",
    "version_headers",
]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

_VERSION: Final = version("sie-cluster")
_JSON: Final = "application/json"
_PATIENCE_S: Final = 0.25


class ClientGone(Exception):
    """The client closed the connection: nobody reads an answer any more."""


class Response(Struct, frozen=True):
    """An answer as it leaves. `code` is the error's, for the metrics; empty where there is none."""

    status: int
    body: bytes
    headers: dict[str, str]
    content_type: str = _JSON
    code: str = ""


def version_headers() -> dict[str, str]:
    """The version of this cluster, under the names that clients know."""
    return {"X-SIE-Version": _VERSION, "X-SIE-Server-Version": _VERSION}


def retry_headers(retry_after_s: float | None) -> dict[str, str]:
    """When to send again: whole seconds for every client, milliseconds for those that read them."""
    if retry_after_s is None:
        return {}
    return {
        "Retry-After": str(math.ceil(retry_after_s)),
        "Retry-After-Ms": f"{retry_after_s * 1000:.0f}",
    }


def error_response(error: SIEError, body: bytes | None = None) -> Response:
    """An error in the one shape. Always JSON: it has to be readable where nothing else is.

    `body` is another API's shape of it; the status and the headers stay ours.
    """
    headers = {"X-SIE-Error-Code": error.code, **retry_headers(error.retry_after_s)}
    if error.status == 405 and isinstance(error.details, dict):
        headers |= {
            name: str(error.details[key])
            for name, key in (("Allow", "allow"), ("Location", "location"))
            if key in error.details
        }
    if body is None:
        body = msgspec.json.encode(error.to_wire())
    return Response(error.status, body, headers, code=error.code)


async def read_body(headers: dict[bytes, bytes], receive: Receive, *, bytes_max: int) -> bytes:
    """The whole body. Raises `FixRequest` PAYLOAD_TOO_LARGE, `ClientGone`."""
    declared = headers.get(b"content-length", b"0")
    if declared.isdigit() and int(declared) > bytes_max:
        raise _too_large(bytes_max)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        size += len(part)
        if size > bytes_max:
            raise _too_large(bytes_max)
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


class Attended:
    """`with Attended(receive)`: cancels the block when the client leaves, and then raises
    `ClientGone`.

    It looks only at a block that has run for `_PATIENCE_S`: most are over by then, and a task
    beside each of them would cost more than to answer the few whose client has left.
    """

    __slots__ = ("_cancelling", "_gone", "_receive", "_task", "_timer", "_watcher")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._watcher: asyncio.Task[None] | None = None
        self._gone = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "an ASGI application runs in a task"
        self._task = task
        self._cancelling = task.cancelling()
        self._timer = asyncio.get_running_loop().call_later(_PATIENCE_S, self._begin)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        # A cancellation that is not this one's goes on its way.
        if self._gone and self._task.uncancel() <= self._cancelling:
            raise ClientGone from None

    def _begin(self) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._until_gone())

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        self._task.cancel()


async def send_response(send: Send, response: Response) -> None:
    """Send a whole response."""
    headers: Iterable[tuple[str, str]] = (
        ("content-type", response.content_type),
        ("content-length", str(len(response.body))),
        *response.headers.items(),
    )
    raw = [(_raw_name(name), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": response.status, "headers": raw})
    await send({"type": "http.response.body", "body": response.body})


@lru_cache(maxsize=256)
def _raw_name(name: str) -> bytes:
    return name.lower().encode("latin-1")


def _too_large(bytes_max: int) -> FixRequest:
    return FixRequest(
        f"the body is larger than {bytes_max} bytes: send the items in several requests",
        code="PAYLOAD_TOO_LARGE",
        field="$",
    )
