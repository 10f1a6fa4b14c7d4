"""The errors that the client raises: those of the cluster, by the names that people catch.

*types.* Two trees in one. By what the caller does: `FixRequest` change the request; `Later` send it
again; `OurFault` a defect on the other side. What is `Later` the client has sent again already, as
often as it was allowed to. By what happened, with the names of the published client: `RequestError`
for 4xx and `ServerError` for 5xx. There is one class for each thing that a caller may want to tell
apart. Every error has a stable `code`, `field` where a part of the request is at fault,
`status_code` and `request_id`.
"""

from typing import Any, Final, TypeAlias

from sie_schemas.errors import (
    CODES,
    FixRequest,
    Later,
    OurFault,
    SIEError,
    TimeRanOut,
    Untrusted,
)

__all__ = [
    "FixRequest",
    "GatewayTimeoutError",
    "IncompleteBatchError",
    "InputTooLongError",
    "Later",
    "LoraLoadingError",
    "ModelLoadFailedError",
    "ModelLoadingError",
    "OurFault",
    "PoolError",
    "ProvisioningError",
    "RateLimitError",
    "RequestError",
    "ResourceExhaustedError",
    "SIEConnectionError",
    "SIEError",
    "ServerError",
    "TimeRanOut",
    "UnavailableError",
    "Untrusted",
    "is_known",
    "strange_error",
    "told_error",
]

RequestError: TypeAlias = FixRequest
ServerError: TypeAlias = OurFault


class ProvisioningError(Later):
    """No worker was ready for the model in the time that the caller gave."""

    code = "PROVISIONING"


class ModelLoadingError(Later):
    """The model was still loading when the caller's time was over."""

    code = "MODEL_LOADING"


class LoraLoadingError(Later):
    """The adapter was still loading when the client had asked often enough."""

    code = "LORA_LOADING"


class SIEConnectionError(Later):
    """The service could not be reached, or the connection broke before the answer."""

    code = "NOT_READY"
    was_reached = False
    """True if the client had an answer from that address before."""


class RateLimitError(Later, FixRequest):
    """The caller asks more than it may, and did so until its time was over."""

    code = "RATE_LIMIT"


class InputTooLongError(FixRequest):
    """An input is longer than what is taken."""

    code = "INPUT_TOO_LONG"


class PoolError(FixRequest):
    """A pool or lease that is not there, or that may not be changed so."""

    code = "POOL_NOT_FOUND"


class UnavailableError(Later, OurFault):
    """The service could not take the request now, and said so until the client gave up."""

    code = "QUEUE_UNAVAILABLE"


class ResourceExhaustedError(UnavailableError):
    """The device has no memory for the request, and had none when it was sent again."""

    code = "RESOURCE_EXHAUSTED"


class GatewayTimeoutError(TimeRanOut, OurFault):
    """The answer did not come in the gateway's time."""

    code = "GATEWAY_TIMEOUT"


class ModelLoadFailedError(OurFault):
    """The model, or the adapter, cannot be loaded."""

    code = "MODEL_LOAD_FAILED"


class IncompleteBatchError(OurFault):
    """An answer has another number of results than the request had items."""


_BY_CODE: Final[dict[str, type[SIEError]]] = {
    "PROVISIONING": ProvisioningError,
    "MODEL_LOADING": ModelLoadingError,
    "LORA_LOADING": LoraLoadingError,
    "RATE_LIMIT": RateLimitError,
    "INPUT_TOO_LONG": InputTooLongError,
    "POOL_NOT_FOUND": PoolError,
    "POOL_OPERATION_FORBIDDEN": PoolError,
    "DEFAULT_POOL_DELETE_FORBIDDEN": PoolError,
    "RESOURCE_EXHAUSTED": ResourceExhaustedError,
    "GATEWAY_TIMEOUT": GatewayTimeoutError,
    "MODEL_LOAD_FAILED": ModelLoadFailedError,
    "ADAPTER_LOAD_FAILED": ModelLoadFailedError,
    "BILLING_CAPACITY_UNAVAILABLE": UnavailableError,
    "TRANSPORT_FAILURE": UnavailableError,
}
_PUBLISHED_RETRY_S: Final[dict[str, float]] = {"BILLING_CAPACITY_UNAVAILABLE": 1.0}
"""Codes that only the published services give: the pause where the answer does not tell one."""
_TOO_MANY: Final = 429
"""HTTP's status for it."""


def told_error(
    code: str,
    message: str,
    *,
    field: str | None = None,
    retry_after_s: float | None = None,
    details: Any = None,
) -> SIEError:
    """The error of a code that came over the wire; an unknown code is a defect of the service."""
    rule = CODES.get(code)
    branch = _BY_CODE.get(code) or (rule.branch if rule is not None else OurFault)
    if branch is Later and rule is not None and rule.status >= 500:
        branch = UnavailableError
    if retry_after_s is None:
        retry_after_s = _PUBLISHED_RETRY_S.get(code)
    return branch(message, code=code, field=field, retry_after_s=retry_after_s, details=details)


def strange_error(
    status: int,
    code: str,
    message: str,
    *,
    retry_after_s: float | None = None,
    details: Any = None,
) -> SIEError:
    """The error of a code that is not in the table, or of none. The status says whose fault it is.
    429 is sent again, whoever says it."""
    if status == _TOO_MANY:
        if retry_after_s is None:
            retry_after_s = CODES[RateLimitError.code].retry_after_s
        return RateLimitError(
            message, code=code or None, retry_after_s=retry_after_s, details=details
        )
    branch = FixRequest if 400 <= status < 500 else OurFault
    return branch(message, code=code or None, details=details)


def is_known(code: str) -> bool:
    """True for a code of ours, or one of the published services that means more than its status."""
    return code in CODES or code in _BY_CODE
