"""A response that is no answer: the error that it tells, and when to ask again.

*pure.* Promises that every response outside of success becomes an error of the tree with the status
and the request's id. That holds whoever wrote it: our services, the published ones, or a proxy.
"""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

import msgspec

from sie_schemas.errors import OurFault, SIEError
from sie_schemas.malformed import MALFORMED
from sie_sdk.errors import is_known, strange_error, told_error

__all__ = ["raise_for", "read_json", "says_why"]

_RETRY_AFTER_MAX_S: Final = 3600.0
"""Beyond an hour it is a mistake, or a date in another zone."""
_ONLY_WHERE_TOLD: Final = frozenset({"QUEUE_UNAVAILABLE", "TRANSPORT_FAILURE"})
"""Sent again only where the service says when: else it does not know what became of the work."""


def read_json(status: int, headers: Mapping[str, str], content: bytes) -> Any:
    """The decoded answer to a GET. Raises the error that the response tells."""
    raise_for(status, headers, content)
    try:
        return msgspec.json.decode(content)
    except MALFORMED as error:
        raise OurFault(f"the answer is not JSON: {error}") from error


def says_why(headers: Mapping[str, str], content: bytes) -> bool:
    """True if an answer that is an error has one of our codes: else it may be a stranger's."""
    return bool(headers.get("x-sie-error-code") or _detail(content).get("code"))


def raise_for(status: int, headers: Mapping[str, str], content: bytes) -> None:
    """Raise the error of a response that is no success. 202 is one: nothing was queued."""
    if status in {200, 201}:
        return
    error = _error_of(status, headers, _detail(content))
    error.answered_status = status
    error.request_id = headers.get("x-sie-request-id", "")
    error.request = {"id": error.request_id} if error.request_id else None
    raise error


def _error_of(status: int, headers: Mapping[str, str], detail: Mapping[str, Any]) -> SIEError:
    retry_after_s = _retry_after_s(headers)
    message = str(detail.get("message") or f"the answer has status {status} and does not say why")
    if status == 202:
        return told_error("PROVISIONING", message, retry_after_s=retry_after_s, details=detail)
    # OpenAI's envelope has our codes in small letters.
    code = str(headers.get("x-sie-error-code") or detail.get("code") or "").upper()
    if not is_known(code):
        return strange_error(
            status, code, message, retry_after_s=retry_after_s, details=detail.get("details")
        )
    named = detail.get("field")
    error = told_error(
        code,
        message,
        field=named if isinstance(named, str) else None,
        retry_after_s=retry_after_s,
        details=detail.get("details"),
    )
    if code in _ONLY_WHERE_TOLD and retry_after_s is None:
        error.retry_after_s = None
    return error


def _detail(content: bytes) -> dict[str, Any]:
    """The part of a body that tells of an error; empty where it cannot be read."""
    try:
        body = msgspec.json.decode(content)
    except MALFORMED:
        return {}
    if not isinstance(body, dict):
        return {}
    # FastAPI and the published services say `detail`, OpenAI's envelope says `error`.
    detail = body.get("detail", body.get("error", body))
    return detail if isinstance(detail, dict) else {"message": str(detail)}


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds; None where absent, or neither a number that can be waited for nor a date."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * scale
        except ValueError:
            continue
        if 0 <= seconds <= _RETRY_AFTER_MAX_S:
            return seconds
    return _until(headers.get("retry-after", ""), headers.get("date", ""))


def _until(moment: str, now: str) -> float | None:
    """Seconds from one date of HTTP to another, both of the server's clock; 0 where it is past."""
    try:
        seconds = (parsedate_to_datetime(moment) - parsedate_to_datetime(now)).total_seconds()
    except (TypeError, ValueError):
        return None
    return max(0.0, seconds) if seconds <= _RETRY_AFTER_MAX_S else None
