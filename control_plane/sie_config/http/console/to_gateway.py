"""The console's way to the gateway: a few paths, passed on with the caller's own token.

*shell.* A page may speak to its own site alone, and its cookie means nothing to a gateway. Promises
that no other path and no other host is ever asked. What is passed on is bounded in size, in time
and in number. The gateway judges the token itself. Applications do not come this way:
inference never depends on sie-config.
"""

import asyncio
import re
import ssl
from collections.abc import Callable, Coroutine
from typing import Any, Final
from urllib.parse import quote

import httpx
from starlette.requests import Request
from starlette.responses import Response

from sie_config.documents.asked_process import while_wanted
from sie_config.http.direct import DirectApp
from sie_config.http.doors import JSON_BODY, door
from sie_config.http.write_requests import read_body
from sie_schemas.errors import FixRequest, Later, OurFault

__all__ = ["ToGateway", "is_passed_on"]

_AT_ONCE_MAX: Final = 16
"""A playground has one or two; more would make the single writer a proxy."""
_BODY_BYTES_MAX: Final = 1024 * 1024
"""Texts that somebody typed or pasted."""
_ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024
"""Vectors of 64 texts with 4,096 dimensions as JSON take about 5 MiB."""
_WITHIN_S: Final = 70.0
"""Beyond a gateway's own limit (`request_timeout_s`, 60 s), so that its answer comes first."""
_PATHS: Final = {
    "GET": re.compile(
        r"health|v1/models(/.+)?|v1/pools|v1/configs/epoch|v1/configs/models/.+/status"
    ),
    "POST": re.compile(r"v1/(encode|score|extract)/.+"),
}
_SENT: Final = ("accept", "authorization", "content-type", "x-sie-pool", "x-sie-machine-profile")
_TOLD: Final = re.compile(
    r"content-type|retry-after|x-sie-.*|x-(queue|tokenization|inference)-time"
)


def is_passed_on(method: str, path: str) -> bool:
    """True for the paths that the console asks; none of them leaves its place by dots."""
    found = _PATHS.get(method)
    plain = not {".", "..", ""} & set(path.split("/"))
    return found is not None and plain and found.fullmatch(path) is not None


class ToGateway:
    """One for each process. `url` empty: no gateway is known, which is said."""

    def __init__(
        self,
        url: str,
        *,
        tls: ssl.SSLContext | None,
        transport: httpx.AsyncBaseTransport | None,
        until_stopping: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        self._until_stopping = until_stopping
        self._url = url.rstrip("/")
        self._tls = tls
        self._transport = transport
        self._client: httpx.AsyncClient | None = None
        self._running = 0

    def mount(self, app: DirectApp) -> None:
        """Mount `/console/gateway/…`."""
        path = "/console/gateway/{path:path}"
        app.add_plain("GET", path, self._get)
        app.add_plain("POST", path, self._post)

    async def close(self) -> None:
        """Close its connections."""
        if self._client is not None:
            await self._client.aclose()

    @door("read", query=("models",))
    async def _get(self, request: Request) -> Response:
        """Look at something of the gateway."""
        return await self._pass_on(request, b"")

    @door("read", media=JSON_BODY)
    async def _post(self, request: Request) -> Response:
        """Send one inference request."""
        return await self._pass_on(request, await read_body(request, _BODY_BYTES_MAX))

    async def _pass_on(self, request: Request, body: bytes) -> Response:
        path = str(request.path_params["path"])
        if not is_passed_on(request.method, path):
            raise FixRequest(f"the console asks no {path[:100]} of a gateway", code="NOT_FOUND")
        if not self._url:
            raise FixRequest(
                "sie-config knows no gateway: start it with --gateway-url", code="NOT_FOUND"
            )
        if self._running >= _AT_ONCE_MAX:
            raise Later("the console asks the gateway too much at once", code="RESOURCE_EXHAUSTED")
        self._running += 1
        try:
            async with asyncio.timeout(_WITHIN_S):
                return await while_wanted(
                    self._exchanged(request, path, body),
                    self._until_stopping(),
                    what="the request to the gateway",
                )
        except (httpx.HTTPError, TimeoutError) as error:
            raise Later(
                f"the gateway at {self._url} does not answer: {str(error) or type(error).__name__}",
                code="NOT_READY",
            ) from error
        finally:
            self._running -= 1

    async def _exchanged(self, request: Request, path: str, body: bytes) -> Response:
        if self._client is None:
            # Its own address was given to it: no proxy of the environment has a say.
            self._client = httpx.AsyncClient(
                transport=self._transport,
                timeout=_WITHIN_S,
                trust_env=False,
                verify=self._tls if self._tls is not None else True,
            )
        query = request.scope["query_string"].decode("latin-1")
        url = f"{self._url}/{quote(path)}" + (f"?{query}" if query else "")
        headers = {name: request.headers[name] for name in _SENT if name in request.headers}
        data = bytearray()
        async with self._client.stream(
            request.method, url, content=body or None, headers=headers
        ) as answer:
            async for part in answer.aiter_bytes():
                data += part
                if len(data) > _ANSWER_BYTES_MAX:
                    raise OurFault("the gateway's answer is too large for the console")
        told = {name: value for name, value in answer.headers.items() if _TOLD.fullmatch(name)}
        return Response(bytes(data), answer.status_code, told)
