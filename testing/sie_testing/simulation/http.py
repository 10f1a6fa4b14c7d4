"""HTTP in memory: a replica's fetches answered by the writer's own functions.

*shell.* What `sie_runtime.follower.log_source` uses of an HTTP client, and the routes of followers.
Promises the failures of a network as the client library's own errors. A request or an answer is
lost, or a server is gone in the middle. Frames no bytes: uvicorn and httpx do that.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

import httpx
import msgspec

from sie_config.http.follow_routes import check_range, entry_lines, head_body, wait_for_difference
from sie_config.writer_process import ControlPlane
from sie_runtime.access.gate import NOBODY
from sie_schemas.errors import SIEError
from sie_testing.stage.loop import Host, SimulatedLoop
from sie_testing.stage.network import Network

__all__ = ["CONFIG", "Calls", "ConfigClient", "Lost"]

CONFIG: Final = "config"
"""The writer's name on the network, whoever stands behind it."""
T = TypeVar("T")


class Lost(Exception):
    """The call or its answer was lost; whether it took effect is unknown."""


class Calls:
    """Calls from one host to the writer. `serving` is who answers now."""

    def __init__(self, loop: SimulatedLoop, network: Network) -> None:
        self._loop = loop
        self._network = network
        self.serving: tuple[Host, ControlPlane] | None = None
        self.answered: Callable[[int, bytes], tuple[int, bytes]] = lambda status, body: (
            status,
            body,
        )
        """The answer that arrives in the place of the writer's: a fault may give another."""
        self.asked: Callable[[dict[str, str]], dict[str, str]] = dict
        """The query that reaches the writer in the place of the one that was sent."""

    async def call(
        self, sender: str, work: Callable[[ControlPlane], Awaitable[T]], *, timeout_s: float
    ) -> T:
        """Have the writer do `work`, in its own process. Raises `Lost`, or what `work` raises."""
        network = self._network
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.sleep(network.delay_s())
                if self.serving is None:
                    raise Lost("connection refused")
                if not network.carries(sender, CONFIG):
                    await asyncio.Event().wait()
                answer = await self._done(work, *self.serving)
                if not network.carries(CONFIG, sender):
                    await asyncio.Event().wait()
                await asyncio.sleep(network.delay_s())
        except TimeoutError as error:
            raise Lost("no answer in time") from error
        if isinstance(answer, SIEError):
            raise answer
        return answer

    async def _done(
        self, work: Callable[[ControlPlane], Awaitable[T]], host: Host, plane: ControlPlane
    ) -> T | SIEError:
        async def run() -> T | SIEError:
            try:
                return await work(plane)
            except SIEError as error:
                return error

        task = self._loop.create_task(run(), name="request", context=host.context.copy())
        # Shielded: a caller that goes away does not undo what the server is doing.
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise Lost("connection reset") from None
            raise


@dataclass(frozen=True, slots=True)
class _Answer:
    """The part of httpx's answer that is read here; a whole one costs as much as a fold."""

    status_code: int
    content: bytes

    @property
    def text(self) -> str:
        return httpx.Response(self.status_code, content=self.content).text


class ConfigClient:
    """The HTTP client of one host, as far as `sie_runtime.follower.log_source` uses httpx's."""

    def __init__(self, calls: Calls, sender: str, *, timeout_s: float) -> None:
        self._calls = calls
        self._sender = sender
        self._timeout_s = timeout_s

    async def get(
        self,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        timeout: httpx.Timeout | None = None,  # noqa: ASYNC109
        headers: Mapping[str, str] | None = None,
    ) -> _Answer:
        """Fetch. Raises `httpx.TransportError`."""
        del headers
        read_s = timeout.read if timeout is not None else None
        query = self._calls.asked(dict(params or {}))
        return await self._sent(lambda plane: _ROUTES[path](plane, query), read_s)

    async def post(
        self, path: str, *, content: bytes, headers: Mapping[str, str] | None = None
    ) -> _Answer:
        """Send. Raises `httpx.TransportError`."""
        del headers
        assert path == "/v1/configs/replicas", path
        return await self._sent(lambda plane: _report(plane, content), None)

    async def aclose(self) -> None:
        """Nothing is open."""

    async def _sent(
        self, answer: Callable[[ControlPlane], Awaitable[bytes]], timeout_s: float | None
    ) -> _Answer:
        async def work(plane: ControlPlane) -> tuple[int, bytes]:
            try:
                return 200, await answer(plane)
            except SIEError as error:
                return error.status, msgspec.json.encode(error.to_wire())

        try:
            status, body = await self._calls.call(
                self._sender, work, timeout_s=timeout_s or self._timeout_s
            )
        except Lost as error:
            raise httpx.ConnectError(str(error)) from error
        status, body = self._calls.answered(status, body)
        return _Answer(status, body)


async def _epoch(plane: ControlPlane, query: Mapping[str, str]) -> bytes:
    if "after" in query:
        known = query.get("log_id", ""), int(query["after"]), query.get("digest", "")
        await wait_for_difference(plane, known, float(query.get("wait", "0")))
    return msgspec.json.encode(head_body(plane))


async def _log(plane: ControlPlane, query: Mapping[str, str]) -> bytes:
    after = int(query["after"])
    check_range(plane, query.get("log_id", ""), after)
    until = min(plane.sequencer.position.epoch, after + int(query["limit"]))
    return b"".join([page async for page in entry_lines(plane, after, until)])


async def _report(plane: ControlPlane, data: bytes) -> bytes:
    await plane.replicas.hearing.hear_over_http(data, NOBODY)
    return msgspec.json.encode(head_body(plane))


async def _export(plane: ControlPlane, query: Mapping[str, str]) -> bytes:
    del query
    sequencer = plane.sequencer
    assert sequencer.last is not None
    return (await plane.exports.newest(sequencer)).data


_ROUTES: Final[dict[str, Callable[[ControlPlane, Mapping[str, str]], Awaitable[bytes]]]] = {
    "/v1/configs/epoch": _epoch,
    "/v1/configs/log": _log,
    "/v1/configs/export": _export,
}
