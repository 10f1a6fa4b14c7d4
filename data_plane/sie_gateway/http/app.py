"""The inference routes, as a plain ASGI application.

*shell.* `POST /v1/{encode,score,extract}/{model}` in the native form, and the compatibility faces
at their paths. Promises that every request gets exactly one response, from the table of errors
where it is not an answer. A client that hangs up stops what was done for it. Every other path
belongs to the application that it is given.
"""

import dataclasses
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeAlias, get_args

from msgspec import Struct
from msgspec.structs import replace

from sie_gateway import metrics
from sie_gateway.faces import Face, FaceModels, Translated, face_at
from sie_gateway.faces.native import cold_error, cold_response, read_native, understands_202
from sie_gateway.fleet.routing import Cold, Wanted
from sie_gateway.http.preferences import patience_s
from sie_gateway.http.request_log import RequestLog
from sie_gateway.http.slips import Slips
from sie_gateway.request.asgi import (
    VERSION_HEADERS,
    Headers,
    Response,
    error_response,
    read_body,
    send_response,
)
from sie_gateway.request.inference import Inference, new_request_id
from sie_gateway.request.requests import Limits
from sie_gateway.request.responses import Answer
from sie_gateway.request.waiting import ClientGone
from sie_runtime.access.gate import principal_of
from sie_runtime.access.rates import Rates
from sie_runtime.access.strict_query import check_query
from sie_runtime.http.bodies import Receive, Scope, Send, until_gone
from sie_runtime.process.bounded_labels import BoundedLabels
from sie_runtime.process.named_requests import NamedRequests, echoed_id
from sie_runtime.process.spans import Span
from sie_runtime.process.tracing import begin_span, known_trace, name_task, trace_id_of
from sie_schemas.errors import FixRequest, OurFault, SIEError
from sie_schemas.items import Operation

__all__ = ["GatewayApp"]

ASGIApplication: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_LOG: Final = logging.getLogger(__name__)
_PREFIX: Final = "/v1/"
_NO_MODEL: Final = "none"
_MODELS_MAX: Final = 200
"""The models that have latencies of their own: a dozen series for each operation and class."""
_OPERATIONS: Final[dict[str, Operation]] = {name: name for name in get_args(Operation)}


class _Call(Struct):
    """One request as HTTP brought it. `face` is None for the native form; with one, `spec` may be
    empty and `operation` the usual one until the body was read."""

    operation: Operation
    spec: str
    face: Face | None
    headers: dict[bytes, bytes]
    tenant: str
    request_id: str
    started_at: float
    trace: str
    """The `traceparent` that goes on with it; empty where nobody traces it."""
    span: Span | None
    model: str | None = None
    """The registry's name of its model, once a route was found."""

    def elapsed_ms(self) -> float:
        """Since the request came."""
        return (time.perf_counter() - self.started_at) * 1000


class GatewayApp:
    """The whole HTTP face: inference here, WebSockets in `live`, all else in `rest`."""

    def __init__(
        self,
        inference: Inference,
        rest: NamedRequests,
        *,
        limits: Limits,
        body_bytes_max: int,
        provisioning_retry_after_s: float,
        live: ASGIApplication,
        face_models: FaceModels,
        request_log: RequestLog,
        slips: Slips,
        rates: Rates | None,
    ) -> None:
        self._inference = inference
        self._rest = rest
        self._limits = limits
        self._body_bytes_max = body_bytes_max
        self._provisioning_retry_after_s = provisioning_retry_after_s
        self._live = live
        self._face_models = face_models
        self._request_log = request_log
        self._slips = slips
        self._rates = rates
        self._models = BoundedLabels(_MODELS_MAX)
        for operation in _OPERATIONS:
            # There from the start: a rate of what is not yet there is not 0 but nothing.
            metrics.child(metrics.REQUESTS, operation, "200", "")
            metrics.child(metrics.REQUEST_SECONDS, operation, "200")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "websocket":
            await self._live(scope, receive, send)
            return
        call = _call(scope) if scope["type"] == "http" else None
        if call is None:
            await self._rest(scope, receive, send)
            return
        name_task(call.request_id, call.trace)
        try:
            response = await self._respond(scope, call, receive)
            await send_response(scope, send, response)
        except ClientGone:
            # nginx's word for a client that left: HTTP has no status for who reads none.
            self._count(call, 499, "CLIENT_GONE")
            _end_span(call, 499, "CLIENT_GONE")
        else:
            self._count(call, response.status, response.code)
            _end_span(call, response.status, response.code)
            if self._request_log.wants(response.status):
                self._note(call, response)

    def _count(self, call: _Call, status: int, code: str) -> None:
        took_s = time.perf_counter() - call.started_at
        named = call.model
        if named is None:
            # Never as the client spelled it: invented names would use up the labels of real models.
            named = self._inference.model_named(call.spec) or _NO_MODEL
        (model,) = self._models.of(named)
        outcome = metrics.outcome(call.operation, status, code, model)
        outcome.requests.inc()
        # The trace of one request of a bucket, where OpenMetrics is asked for.
        example = {"trace_id": call.span.trace_id} if call.span is not None else None
        outcome.seconds.observe(took_s, example)
        outcome.model_seconds.observe(took_s)

    def _note(self, call: _Call, response: Response) -> None:
        self._request_log.note(
            request_id=call.request_id,
            operation=call.operation,
            model=call.spec,
            tenant=call.tenant,
            status=response.status,
            code=response.code,
            headers=response.headers,
            elapsed_ms=call.elapsed_ms(),
            told_id=echoed_id(call.headers.get(b"x-request-id")),
            trace_id=trace_id_of(call.trace),
        )

    async def _respond(self, scope: Scope, call: _Call, receive: Receive) -> Response:
        method = scope["method"]
        try:
            if method != "POST":
                raise FixRequest(
                    f"{call.operation} takes POST, not {method}",
                    code="METHOD_NOT_ALLOWED",
                    details={"allow": "POST"},
                )
            query = scope.get("query_string")
            if query:
                check_query(query, (), route=f"POST {scope['path']}")
            # Before the body: who asks too often does not have megabytes read first.
            if self._rates is not None:
                self._rates.take(call.tenant, call.started_at)
            body = await read_body(
                call.headers, receive, bytes_max=self._body_bytes_max, scope=scope
            )
            response = await self._infer(call, body, receive)
        except SIEError as error:
            self._slips.tell(error, call.spec, principal_of(scope))
            response = self._refused(call, error)
        # No defect, as the next one would have it: `__call__` counts it.
        except ClientGone:
            raise
        except Exception:
            # The outermost code of a request: a defect too is answered in the table's shape.
            _LOG.exception("a request met a defect", extra={"request_id": call.request_id})
            response = self._refused(call, OurFault("the gateway failed; its log says why"))
        response.headers.append((b"x-sie-request-id", call.request_id.encode()))
        told_id = call.headers.get(b"x-request-id")
        named = echoed_id(told_id) if told_id is not None else ""
        response.headers.append((b"x-request-id", (named or call.request_id).encode("latin-1")))
        if call.trace:
            response.headers.append((b"traceparent", call.trace.encode()))
        response.headers.extend(VERSION_HEADERS)
        return response

    def _refused(self, call: _Call, error: SIEError) -> Response:
        if call.face is None:
            return error_response(error)
        status = call.face.statuses.get(error.code)
        return error_response(error, call.face.error(error), status=status)

    async def _infer(self, call: _Call, body: bytes, receive: Receive) -> Response:
        read = self._read(call, body)
        call.spec, call.operation = read.spec, read.asked.operation
        wanted = Wanted(
            spec=read.spec,
            operation=call.operation,
            pool=_lower(call.headers.get(b"x-sie-pool")),
            machine_profile=_lower(call.headers.get(b"x-sie-machine-profile")),
            lora=read.asked.lora,
        )
        outcome = await self._inference.answer(
            read.asked,
            wanted,
            request_id=call.request_id,
            tenant=call.tenant,
            until_gone=partial(until_gone, receive),
            patience_s=patience_s(call.headers),
            trace=call.trace,
        )
        call.model = outcome.route.model_name
        if isinstance(outcome, Cold):
            return self._cold(call, outcome)
        headers = _answer_headers(outcome)
        if call.face is not None:
            outcome = replace(outcome, request_id=call.request_id)
        return Response(200, read.render(outcome), headers, content_type=read.content_type)

    def _read(self, call: _Call, body: bytes) -> Translated:
        if call.face is not None:
            models = self._face_models
            if call.spec:
                models = dataclasses.replace(models, path=call.spec)
            return call.face.read(body, self._limits, models)
        return read_native(
            call.operation, call.spec, body, call.headers, self._limits, call.elapsed_ms
        )

    def _cold(self, call: _Call, cold: Cold) -> Response:
        """202 for those who know what it means, 503 for other SDKs and other APIs."""
        retry_after_s = self._provisioning_retry_after_s
        # Clients of other APIs take any 2xx for an answer, and send again after a 503.
        if call.face is not None or not understands_202(call.headers):
            raise cold_error(cold, retry_after_s=retry_after_s)
        return cold_response(cold, retry_after_s=retry_after_s)


def _call(scope: Scope) -> _Call | None:
    """The inference request that a path names; None for every other path."""
    path: str = scope["path"]
    face: Face | None = None
    found = face_at(scope["method"], path)
    if found is not None:
        face, spec = found
        operation = face.operation
    elif path.startswith(_PREFIX):
        name, separator, spec = path.removeprefix(_PREFIX).partition("/")
        if not separator or name not in _OPERATIONS:
            return None
        operation = _OPERATIONS[name]
    else:
        return None
    headers = dict(scope["headers"])
    tenant, request_id = principal_of(scope).tenant, new_request_id()
    trace = known_trace(headers.get(b"traceparent"))
    span = begin_span(operation, "server", parent=trace, may_begin=True)
    if span is not None:
        trace = span.traceparent
        span.tell("sie.request_id", request_id)
    return _Call(
        operation, spec, face, headers, tenant, request_id, time.perf_counter(), trace, span
    )


def _end_span(call: _Call, status: int, code: str) -> None:
    if call.span is not None:
        call.span.tell("sie.model", call.spec)
        call.span.tell("http.response.status_code", status)
        call.span.end(code if status >= 500 else "")


def _answer_headers(answer: Answer) -> Headers:
    return [
        *answer.route.headers,
        (b"x-sie-worker", ",".join(answer.workers).encode()),
        (b"x-queue-time", b"%.1f" % answer.queue_ms),
        (b"x-tokenization-time", b"%.1f" % answer.tokenization_ms),
        (b"x-inference-time", b"%.1f" % answer.inference_ms),
        (b"x-sie-units-input-tokens", b"%d" % answer.input_tokens),
    ]


def _lower(value: bytes | None) -> str | None:
    """Pools and machine profiles have names in lower case, whatever a client makes of them."""
    return value.decode("latin-1").strip().lower() or None if value is not None else None
