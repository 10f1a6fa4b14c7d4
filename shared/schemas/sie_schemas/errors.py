"""Errors: one root, five branches named for what the catcher does, one table of codes.

*types.* The gateway answers by this table, the worker reports by it, the SDK retries by it. A code
is stable; a message says what failed, on what, and what to do.
"""

from dataclasses import dataclass
from typing import Any, Final

__all__ = [
    "CODES",
    "CodeRule",
    "FixRequest",
    "Later",
    "OurFault",
    "SIEError",
    "TimeRanOut",
    "Untrusted",
    "error_for",
]


@dataclass(frozen=True, slots=True)
class CodeRule:
    """The rule by which a code is answered. `retry_after_s` is None where a retry cannot help by
    itself.

    `cause` and `cure` are for whoever reads the manual (docs/errors.md).
    """

    status: int
    retry_after_s: float | None
    branch: "type[SIEError]"
    cause: str
    cure: str


class SIEError(Exception):
    """The root. `code` is stable, `field` names the offending part of the request if any.

    `retry_after_s` overrides the code's own; `details` is JSON that a program may act on.
    """

    code: str = "INTERNAL_SERVER_ERROR"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        field: str | None = None,
        retry_after_s: float | None = None,
        details: Any = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.field = field
        self.details = details
        rule = CODES.get(self.code)
        default = rule.retry_after_s if rule is not None else None
        self.retry_after_s = retry_after_s if retry_after_s is not None else default

    @property
    def status(self) -> int:
        """The HTTP status of the code; 500 for a code that the table does not have."""
        rule = CODES.get(self.code)
        return rule.status if rule is not None else 500

    def to_wire(self) -> dict[str, Any]:
        """The one body of an error: `{"detail": {code, message, field?, details?}}`."""
        detail: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.field is not None:
            detail["field"] = self.field
        if self.details is not None:
            detail["details"] = self.details
        return {"detail": detail}


class FixRequest(SIEError):
    """The request is at fault: sending it again changes nothing."""

    code = "INVALID_REQUEST"


class Later(SIEError):
    """Nothing is wrong with the request: send it again after `retry_after_s`."""

    code = "QUEUE_UNAVAILABLE"


class TimeRanOut(SIEError):
    """The deadline passed; the work may or may not have been done."""

    code = "GATEWAY_TIMEOUT"


class Untrusted(SIEError):
    """The log, or a copy of it, cannot be trusted: an operator has to look."""

    code = "LOG_RECOVERY"


class OurFault(SIEError):
    """A defect or a failing part on our side."""

    code = "INTERNAL_SERVER_ERROR"


CODES: Final[dict[str, CodeRule]] = {
    "INVALID_REQUEST": CodeRule(
        400,
        None,
        FixRequest,
        "the request cannot be read as what it has to be: JSON, a parameter, a header",
        "mend what `field` names",
    ),
    "INPUT_TOO_LONG": CodeRule(
        400,
        None,
        FixRequest,
        "a text has more tokens than the model reads, and may not be cut",
        "shorten it, or ask for truncation",
    ),
    "UNSUPPORTED_OPERATION": CodeRule(
        400,
        None,
        FixRequest,
        "the model has no such task: a reranker does not encode",
        "`GET /v1/models` lists what each model does",
    ),
    "UNSUPPORTED_FIELD": CodeRule(
        400,
        None,
        FixRequest,
        "the model or this face of the API does not know the option",
        "leave it out, or use the one that the message names",
    ),
    "UNAUTHORIZED": CodeRule(
        401,
        None,
        FixRequest,
        "no token, or one that nobody knows",
        "send `Authorization: Bearer …`; `sie token new` makes one",
    ),
    "FORBIDDEN": CodeRule(
        403,
        None,
        FixRequest,
        "the token's role does not allow this route, or a web page of elsewhere asks",
        "use a token with the role that the message names",
    ),
    "POOL_OPERATION_FORBIDDEN": CodeRule(
        403,
        None,
        FixRequest,
        "the pool of the log cannot be changed through leases",
        "change it at sie-config",
    ),
    "DEFAULT_POOL_DELETE_FORBIDDEN": CodeRule(
        403,
        None,
        FixRequest,
        "requests that name no pool go to `default`",
        "keep it; give it other machine profiles instead",
    ),
    "NOT_FOUND": CodeRule(
        404,
        None,
        FixRequest,
        "there is no such route or thing",
        "look at the path; the message names the nearest",
    ),
    "MODEL_NOT_FOUND": CodeRule(
        404,
        None,
        FixRequest,
        "the registry has no model of that id or alias",
        "`GET /v1/models` lists them; add it at sie-config",
    ),
    "PROFILE_NOT_FOUND": CodeRule(
        404,
        None,
        FixRequest,
        "the model has no profile of that name",
        "use one that the message lists",
    ),
    "ADAPTER_NOT_FOUND": CodeRule(
        404,
        None,
        FixRequest,
        "the model has no adapter of that name; the base is never used instead",
        "use one that the message lists, or add it",
    ),
    "BUNDLE_NOT_FOUND": CodeRule(
        404,
        None,
        FixRequest,
        "no bundle has that name, or none runs the model's backend",
        "name another, or add the backend to a bundle",
    ),
    "POOL_NOT_FOUND": CodeRule(
        404,
        None,
        FixRequest,
        "the registry has no pool of that name, or the lease is over",
        "name another, or lease again",
    ),
    "METHOD_NOT_ALLOWED": CodeRule(
        405,
        None,
        FixRequest,
        "the path takes other methods",
        "use one of `Allow`",
    ),
    "REQUEST_TIMEOUT": CodeRule(
        408,
        1.0,
        Later,
        "headers or body came too slowly",
        "send again, faster",
    ),
    "AHEAD": CodeRule(
        409,
        None,
        FixRequest,
        "the caller stands past the head that this sie-config has",
        "ask again; if it stays, another sie-config answers here than the one that wrote",
    ),
    "BUNDLE_ROUTING_CONFLICT": CodeRule(
        409,
        None,
        FixRequest,
        "the bundle that the request names does not run the model",
        "name one of `details.compatible_bundles`, or none",
    ),
    "ENTITY_CONFLICT": CodeRule(
        409,
        None,
        FixRequest,
        "the thing is there already, or is used by another one",
        "`details` names what stands against it",
    ),
    "FORCE_REQUIRED": CodeRule(
        409,
        None,
        FixRequest,
        "the change is allowed and dangerous: it takes away what is used",
        "read the message; send `X-SIE-Force` with the reason if it is meant",
    ),
    "GONE": CodeRule(
        410,
        None,
        FixRequest,
        "the entries asked for lie below the low water, and are not served one by one",
        "take the snapshot (`/v1/configs/export`)",
    ),
    "PRECONDITION_FAILED": CodeRule(
        412,
        None,
        FixRequest,
        "the entity changed since it was read (`If-Match`), or is there (`If-None-Match`)",
        "read it again and decide anew",
    ),
    "PAYLOAD_TOO_LARGE": CodeRule(
        413,
        None,
        FixRequest,
        "the body is above the route's limit",
        "send less at once; the limit is in the message",
    ),
    "URL_TOO_LONG": CodeRule(
        414,
        None,
        FixRequest,
        "path and query are above the limit",
        "shorten them",
    ),
    "UNSUPPORTED_MEDIA_TYPE": CodeRule(
        415,
        None,
        FixRequest,
        "the body's type is not one that the route reads",
        "send one that the message names",
    ),
    "VALIDATION_ERROR": CodeRule(
        422,
        None,
        FixRequest,
        "the document or the parameters break their schema",
        "`details` lists each path with what is wrong there",
    ),
    "IDEMPOTENCY_MISMATCH": CodeRule(
        422,
        None,
        FixRequest,
        "the idempotency key was used with another request",
        "use a new key for a new request",
    ),
    "RATE_LIMIT": CodeRule(
        429,
        1.0,
        Later,
        "a tenant, token or lease sends more than it may",
        "wait as `Retry-After` says",
    ),
    "HEADERS_TOO_LARGE": CodeRule(
        431,
        None,
        FixRequest,
        "headers are above the limit in number or bytes",
        "send fewer",
    ),
    "PROVISIONING": CodeRule(
        503,
        5.0,
        Later,
        "no worker of the kind is ready; the demand was noted for the autoscaler",
        "wait as `Retry-After` says; the SDK does so",
    ),
    "POOL_CAPACITY_UNAVAILABLE": CodeRule(
        503,
        5.0,
        Later,
        "the pool cannot give the workers that were asked for",
        "ask for fewer, or wait",
    ),
    "MODEL_LOADING": CodeRule(
        503,
        2.0,
        Later,
        "the model is on its way to a device",
        "wait as `Retry-After` says",
    ),
    "LORA_LOADING": CodeRule(
        503,
        1.0,
        Later,
        "the adapter is on its way to a device",
        "wait as `Retry-After` says",
    ),
    "QUEUE_FULL": CodeRule(
        503,
        1.0,
        Later,
        "more waits than may",
        "wait; if it stays, add workers",
    ),
    "QUEUE_UNAVAILABLE": CodeRule(
        503,
        2.0,
        Later,
        "the broker is away, or has no leader just now",
        "wait; if it stays, look at the broker",
    ),
    "RESOURCE_EXHAUSTED": CodeRule(
        503,
        5.0,
        Later,
        "memory of the device or of a process is used up",
        "wait; if it stays, raise the bound that the message names, or load fewer models",
    ),
    "REVISION_CHANGED": CodeRule(
        503,
        0.5,
        Later,
        "the model changed while the job waited, and its revision is gone",
        "send again: it runs at the new one",
    ),
    "NOT_READY": CodeRule(
        503,
        1.0,
        Later,
        "the process has just started, or is about to end",
        "wait as `Retry-After` says",
    ),
    "STORAGE_FULL": CodeRule(
        507,
        10.0,
        Later,
        "the disk of the log, or its bound, is full; nothing was written",
        "make room: writes go on by themselves",
    ),
    "STORAGE_FAILED": CodeRule(
        503,
        5.0,
        Later,
        "the disk refused a read or a write; nothing was answered as done that is not",
        "look at the disk and at sie-config's log",
    ),
    "LOG_RECOVERY": CodeRule(
        503,
        10.0,
        Untrusted,
        "the writer cannot prove that its file is the newest history",
        "read the message at `/readyz` of sie-config: it names what is lacking and the command",
    ),
    "LOG_READ_ONLY": CodeRule(
        503,
        5.0,
        Later,
        "writes are stopped for now; reads go on",
        "wait; `/readyz` of sie-config says why",
    ),
    "MODEL_LOAD_FAILED": CodeRule(
        502,
        None,
        OurFault,
        "a worker could not load the model",
        "`sie replicas` shows the reason; mend the document or the files",
    ),
    "ADAPTER_LOAD_FAILED": CodeRule(
        502,
        None,
        OurFault,
        "a worker could not load the adapter",
        "`sie replicas` shows the reason; mend the document or the files",
    ),
    "INFERENCE_ERROR": CodeRule(
        500,
        None,
        OurFault,
        "the model failed on this very input",
        "look at the input; the message names the item",
    ),
    "INTERNAL_SERVER_ERROR": CodeRule(
        500,
        None,
        OurFault,
        "a defect on our side",
        "report it with the request id",
    ),
    "GATEWAY_TIMEOUT": CodeRule(
        504,
        5.0,
        TimeRanOut,
        "no answer came in time; the work may or may not have been done",
        "send again; if it stays, look at `sie dlq ls` and at the load",
    ),
}


def error_for(
    code: str,
    message: str,
    *,
    field: str | None = None,
    retry_after_s: float | None = None,
    details: Any = None,
) -> SIEError:
    """The error of a code that came over a wire; an unknown code is our fault."""
    rule = CODES.get(code)
    branch = rule.branch if rule is not None else OurFault
    return branch(message, code=code, field=field, retry_after_s=retry_after_s, details=details)
