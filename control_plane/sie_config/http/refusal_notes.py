"""Notes of refusals: what an error that is being answered tells the audit.

*shell.* Promises that every refused attempt to change something, and every request that lacked the
right to ask, is noted exactly as it was answered. A read that found nothing is no attempt.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from sie_config.documents.differences import PLURALS
from sie_config.http.doors import changes_the_log
from sie_config.http.write_requests import request_id_of, shown_text
from sie_config.writer_process import ControlPlane
from sie_runtime.access.gate import REQUEST_ID, principal_of
from sie_runtime.texts.secret_shapes import without_secrets
from sie_schemas.errors import SIEError, without_password

__all__ = ["noting", "noting_gate"]

OnError = Callable[[Request, Exception], Awaitable[Response]]

_KINDS: Final = {plural: kind for kind, plural in PLURALS.items()}
_NO_RIGHT: Final = frozenset({401, 403})


def noting(plane: ControlPlane, on_error: OnError) -> OnError:
    """The same answers, with a note of each refusal."""

    async def on_error_noted(request: Request, error: Exception) -> Response:
        response = await on_error(request, error)
        if changes_the_log(request.scope) or response.status_code in _NO_RIGHT:
            detail: dict[str, Any] = msgspec.json.decode(bytes(response.body))["detail"]
            actor = shown_text(request, "x-sie-actor") or "anonymous"
            status = response.status_code
            _note(plane, request, detail["code"], detail["message"], status, actor)
            if REQUEST_ID in request.scope:
                response.headers["x-request-id"] = request.scope[REQUEST_ID]
        return response

    return on_error_noted


def noting_gate(plane: ControlPlane) -> Callable[[Any, SIEError], None]:
    """A gate's callback that notes requests that lacked the right to ask, or asked too often."""

    def on_refused(scope: Any, error: SIEError) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope)
        claimed = shown_text(request, "x-sie-actor")
        # Nobody vouches for a claimed name where the token is absent or unknown.
        actor = principal_of(scope).name or f"unverified {claimed}".strip()
        _note(plane, request, error.code, error.message, error.status, actor)

    return on_refused


def _note(
    plane: ControlPlane, request: Request, code: str, message: str, status: int, actor: str
) -> None:
    # An address, or a token, that was pasted for a name stands in the path.
    path = without_secrets(without_password(request.url.path))
    kind, key = _entity_of(path)
    plane.refusals.note(
        actor=actor,
        outcome=code,
        status=status,
        method=request.scope.get("method", "GET"),
        path=path,
        kind=kind,
        key=key,
        reason=shown_text(request, "x-sie-reason"),
        message=without_secrets(message),
        request_id=request_id_of(request),
    )


def _entity_of(path: str) -> tuple[str, str]:
    parts = path.removeprefix("/v1/configs/").partition("/")
    return _KINDS.get(parts[0], ""), parts[2]
