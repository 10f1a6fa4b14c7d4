"""The inference routes, as a plain ASGI application.

*shell.* `POST /v1/{encode,score,extract}/{model}`, JSON or MessagePack in by `Content-Type` and out
by `Accept`. Promises that every request gets exactly one response, from the table of errors where
it is not an answer, and that a client which hangs up stops what was done for it. Every other path
belongs to the application that it is given.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias, get_args

import msgspec

from sie_gateway import metrics
from sie_gateway.asgi import (
    ClientGone,
    Receive,
    Response,
    Scope,
    Send,
    error_response,
    read_body,
    retry_headers,
    send_response,
    until_gone,
    version_headers,
)
from sie_gateway.inference import Inference, new_request_id
from sie_gateway.requests import Limits, read_request
from sie_gateway.responses import Answer, render
from sie_gateway.routing import Cold, Wanted
from sie_schemas.errors import FixRequest, Later, SIEError
from sie_schemas.items import Operation

__all__ = ["GatewayApp"]

ASGIApplication: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_OPERATIONS: Final[dict[str, Operation]] = {name: name for name in get_args(Operation)}
_MSGPACK_TYPES: Final = frozenset(
    {"application/msgpack", "application/x-msgpack", "application/vnd.msgpack"}
)
_OWN_SDK: Final = b"sie-cluster/"


@dataclass(frozen=True, slots=True)
class _Call:
    """One request as HTTP brought it."""

    operation: Operation
    spec: str
    headers: dict[bytes, bytes]
    request_id: str
    started_at: float


class GatewayApp:
    """The whole HTTP face: inference here, all else in `rest`."""

    def __init__(
        self,
        inference: Inference,
        rest: ASGIApplication,
        *,
        limits: Limits,
        body_bytes_max: int,
        provisioning_retry_after_s: float,
    ) -> None:
        self._inference = inference
        self._rest = rest
        self._limits = limits
        self._body_bytes_max = body_bytes_max
        self._provisioning_retry_after_s = provisioning_retry_after_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        path = scope.get("path", "")
        _, _, rest = path.partition("/v1/")
        name, separator, spec = rest.partition("/")
        operation = _OPERATIONS.get(name)
        if scope["type"] != "http" or not path.startswith("/v1/") or not separator or not operation:
            await self._rest(scope, receive, send)
            return
        call = _Call(operation, spec, dict(scope["headers"]), new_request_id(), time.perf_counter())
        try:
            async with asyncio.TaskGroup() as group:
                response = await self._respond(scope["method"], call, receive, group)
                await send_response(send, response)
        except* ClientGone:
            _count(call, 499, "CLIENT_GONE")
        else:
            _count(call, response.status, response.code)

    async def _respond(
        self, method: str, call: _Call, receive: Receive, group: asyncio.TaskGroup
    ) -> Response:
        try:
            if method != "POST":
                raise FixRequest(
                    f"{call.operation} takes POST, not {method}",
                    code="METHOD_NOT_ALLOWED",
                    details={"allow": "POST"},
                )
            body = await read_body(call.headers, receive, bytes_max=self._body_bytes_max)
            response = await self._infer(call, body, receive, group)
        except SIEError as error:
            response = error_response(error)
        response.headers.update({"X-SIE-Request-Id": call.request_id, **version_headers()})
        return response

    async def _infer(
        self, call: _Call, body: bytes, receive: Receive, group: asyncio.TaskGroup
    ) -> Response:
        asked = read_request(
            call.operation,
            body,
            is_msgpack=_media_type(call.headers.get(b"content-type")) in _MSGPACK_TYPES,
            limits=self._limits,
        )
        wanted = Wanted(
            spec=call.spec,
            operation=call.operation,
            pool=_text(call.headers.get(b"x-sie-pool")),
            machine_profile=_text(call.headers.get(b"x-sie-machine-profile")),
            lora=asked.lora,
        )
        # A client that leaves raises in this task, and the group then cancels the request.
        watcher = group.create_task(until_gone(receive))
        try:
            outcome = await self._inference.answer(asked, wanted, request_id=call.request_id)
        finally:
            watcher.cancel()
        if isinstance(outcome, Cold):
            return self._cold(call, outcome)
        return _answered(call, outcome)

    def _cold(self, call: _Call, cold: Cold) -> Response:
        """Nothing was queued. 202 for those who know what it means, 503 for other SDKs."""
        route, retry_after_s = cold.route, self._provisioning_retry_after_s
        message = (
            f"no worker is ready in pool {route.pool!r} on {route.machine_profile!r} with bundle "
            f"{route.bundle!r}; the demand is recorded and nothing was queued: send the request "
            f"again in {retry_after_s:g} s"
        )
        place = {
            "pool": route.pool,
            "machine_profile": route.machine_profile,
            "bundle": route.bundle,
            "model": route.model_name,
        }
        sdk = call.headers.get(b"x-sie-sdk-version")
        if sdk is not None and not sdk.startswith(_OWN_SDK):
            raise Later(message, code="PROVISIONING", retry_after_s=retry_after_s, details=place)
        body = {"status": "provisioning", **place, "retry_after_s": retry_after_s}
        return Response(
            202,
            msgspec.json.encode(body | {"message": message}),
            {"X-SIE-Config-Epoch": str(route.position), **retry_headers(retry_after_s)},
            code="PROVISIONING",
        )


def _answered(call: _Call, answer: Answer) -> Response:
    as_msgpack = _wants_msgpack(call.headers.get(b"accept"))
    total_ms = (time.perf_counter() - call.started_at) * 1000
    route = answer.route
    headers = {
        "X-SIE-Config-Epoch": str(route.position),
        "X-SIE-Model-Revision": route.model.revision,
        "X-SIE-Worker": ",".join(answer.workers),
        "X-Queue-Time": f"{answer.queue_ms:.1f}",
        "X-Tokenization-Time": f"{answer.tokenization_ms:.1f}",
        "X-Inference-Time": f"{answer.inference_ms:.1f}",
        "X-SIE-Units-Input-Tokens": str(answer.input_tokens),
    }
    if route.adapter is not None:
        headers["X-SIE-Adapter-Revision"] = route.adapter.revision
    return Response(
        200,
        render(answer, total_ms=total_ms, as_msgpack=as_msgpack),
        headers,
        content_type="application/x-msgpack" if as_msgpack else "application/json",
    )


def _count(call: _Call, status: int, code: str) -> None:
    metrics.REQUESTS.labels(call.operation, str(status), code).inc()
    metrics.REQUEST_SECONDS.labels(call.operation).observe(time.perf_counter() - call.started_at)


def _wants_msgpack(accept: bytes | None) -> bool:
    """The first type of the list that we can give decides; JSON where there is none."""
    for part in (accept or b"").split(b","):
        media_type = _media_type(part)
        if media_type in _MSGPACK_TYPES:
            return True
        if media_type in {"application/json", "*/*", "application/*"}:
            return False
    return False


def _media_type(value: bytes | None) -> str:
    return (value or b"").partition(b";")[0].strip().lower().decode("latin-1")


def _text(value: bytes | None) -> str | None:
    return value.decode("latin-1").strip() or None if value is not None else None
