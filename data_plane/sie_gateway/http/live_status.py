"""The cluster's status by WebSocket: `/ws/cluster-status`.

*shell.* Sends the view of `/health` as JSON text, at once and then at an interval, until the client
leaves or the gateway stops. A client that reads too slowly holds up only itself, and many cost one
view for each interval. Watchers are bounded in number: a connection that one has is nobody else's.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from sie_gateway.http.long_answers import long_text
from sie_gateway.http.views import LongView
from sie_runtime.access.gate import caller_of
from sie_runtime.http.bodies import Receive, Scope, Send
from sie_runtime.process.waiting import Waits

__all__ = ["CLUSTER_STATUS", "LiveStatus"]

CLUSTER_STATUS: Final = "/ws/cluster-status"
_GOING_AWAY: Final = 1001
"""RFC 6455: the server ends."""
_TRY_AGAIN_LATER: Final = 1013
"""IANA's registry of close codes."""
_NO_SUCH_PATH: Final = 1008
"""RFC 6455: policy violation, its code for a path that does not exist."""


class LiveStatus:
    """An ASGI application for WebSockets. `view` gives the status afresh."""

    def __init__(
        self,
        view: Callable[[], LongView],
        *,
        interval_s: float,
        stop: asyncio.Event,
        watchers_max: int,
    ) -> None:
        self._view = view
        self._made: asyncio.Task[str] | None = None
        self._made_at = 0.0
        self._interval_s = interval_s
        self._stop = stop
        self._watchers = Waits(watchers_max)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        # `websocket.connect`: ASGI takes no answer before it.
        await receive()
        if scope.get("path") != CLUSTER_STATUS:
            await send({"type": "websocket.close", "code": _NO_SUCH_PATH})
            return
        # Before it is accepted a close is an HTTP 403, which tells no code to try again later.
        await send({"type": "websocket.accept"})
        async with self._watchers.until(None, caller_of(scope)) as watching:
            await self._watched(receive, send)
        if watching.expired():
            await send({"type": "websocket.close", "code": _TRY_AGAIN_LATER})

    async def _watched(self, receive: Receive, send: Send) -> None:
        leaving = asyncio.create_task(_until_left(receive))
        stopping = asyncio.create_task(self._stop.wait())
        try:
            while not leaving.done() and not stopping.done():
                await send({"type": "websocket.send", "text": await self._status()})
                await asyncio.wait(
                    {leaving, stopping},
                    timeout=self._interval_s,
                    return_when=asyncio.FIRST_COMPLETED,
                )
            if not leaving.done():
                await send({"type": "websocket.close", "code": _GOING_AWAY})
        finally:
            leaving.cancel()
            stopping.cancel()

    async def _status(self) -> str:
        """The one that was made last, unless an interval has passed since."""
        now = time.monotonic()
        if self._made is None or now - self._made_at >= self._interval_s:
            self._made, self._made_at = asyncio.create_task(self._make()), now
        # Whoever leaves must not take it from the others.
        return await asyncio.shield(self._made)

    async def _make(self) -> str:
        return (await long_text(self._view())).decode()


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "websocket.disconnect":
        continue
