"""The bare echo: what uvicorn costs alone.

*main.* `python -m edge_figures.bare PORT`. Plain ASGI, set up as the gateway is; it reads a body,
and answers as many bytes as the whole path would.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from sie_runtime.process import lifecycle

_ANSWER_BYTES = 600
"""A vector of 64 floats and what an answer tells beside it: about what the whole path sends."""


async def _echo(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    body = body.ljust(_ANSWER_BYTES, b".")
    headers = [
        (b"content-type", b"application/x-msgpack"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _serve(stop: asyncio.Event) -> None:
    await lifecycle.serve_http(_echo, host="127.0.0.1", port=int(sys.argv[1]), stop=stop)


if __name__ == "__main__":
    lifecycle.run(_serve, role="bare", process_id="bare", log_level="warning")
