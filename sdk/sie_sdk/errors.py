"""The errors that the client raises: those of the cluster, by the names that people catch.

*types.* Two trees in one. By what the caller does: `FixRequest` change the request; `Later` send it
again; `OurFault` a defect on the other side. What is `Later` the client has sent again already, as
often as it was allowed to. By what happened, with the names of the published client: `RequestError`
for 4xx and `ServerError` for 5xx. There is one class for each thing that a caller may want to tell
apart. Every error has a stable `code`, `field` where a part of the request is at fault,
`status_code`, `request_id` and `request`. What the caller asked for, such as `model` and `gpu`, is
on the errors that are about it. Some are of operations that no gateway here has: they are there so
that code which catches them runs.
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
    "AccountInactiveError",
    "AccountStateUnavailableError",
    "EstimateUnroutableError",
    "FixRequest",
    "GatedModelError",
    "GatewayTimeoutError",
    "IncompleteBatchError",
    "InputTooLongError",
    "InsufficientCreditsError",
    "JobFailedError",
    "Later",
    "LoraLoadingError",
    "MalformedChunkError",
    "ModelLoadFailedError",
    "ModelLoadingError",
    "OurFault",
    "PoolError",
    "ProvisioningError",
    "RateLimitError",
    "RelayUnavailableError",
    "RequestError",
    "ResourceExhaustedError",
    "SIEConnectionError",
    "SIEError",
    "ServerError",
    "SpendLimitError",
    "TimeRanOut",
    "UnavailableError",
    "Untrusted",
    "asked_for",
    "is_known",
    "strange_error",
    "told_error",
]

RequestError: TypeAlias = FixRequest
ServerError: TypeAlias = OurFault


class ProvisioningError(Later):
    """No worker was ready for the model in the time that the caller gave."""

    code = "PROVISIONING"
    gpu: str | None = None


class ModelLoadingError(Later):
    """The model was still loading when the caller's time was over."""

    code = "MODEL_LOADING"
    model: str | None = None


class LoraLoadingError(Later):
    """The adapter was still loading when the client had asked often enough."""

    code = "LORA_LOADING"
    model: str | None = None
    lora: str | None = None


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
    model: str | None = None


class PoolError(FixRequest):
    """A pool or lease that is not there, or that may not be changed so."""

    code = "POOL_NOT_FOUND"
    pool_name: str | None = None
    state: str | None = None


class UnavailableError(Later, OurFault):
    """The service could not take the request now, and said so until the client gave up."""

    code = "QUEUE_UNAVAILABLE"


class ResourceExhaustedError(UnavailableError):
    """The device has no memory for the request, and had none when it was sent again."""

    code = "RESOURCE_EXHAUSTED"
    model: str | None = None
    retries = 0


class GatewayTimeoutError(TimeRanOut, OurFault):
    """The answer did not come in the gateway's time."""

    code = "GATEWAY_TIMEOUT"


class ModelLoadFailedError(OurFault):
    """The model, or the adapter, cannot be loaded. `permanent` where another try cannot help."""

    code = "MODEL_LOAD_FAILED"
    model: str | None = None
    error_class: str | None = None
    permanent = True
    attempts = 1


class IncompleteBatchError(OurFault):
    """An answer has another number of results than the request had items.

    None of them is given back: which item each belongs to is not known.
    """

    model: str | None = None
    missing_ids: list[str] | None = None

    def __init__(self, message: str, *, expected: int = 0, received: int = 0, **told: Any) -> None:
        super().__init__(message, **told)
        self.expected = expected
        self.received = received
        self.results: list[Any] = []


class InsufficientCreditsError(FixRequest):
    """A managed service in between wants payment."""

    code = "INSUFFICIENT_CREDITS"


class SpendLimitError(FixRequest):
    """A managed service in between has a limit for this key."""

    code = "KEY_SPEND_LIMIT_EXCEEDED"


class AccountInactiveError(FixRequest):
    """A managed service in between does not serve this account."""

    code = "ACCOUNT_SUSPENDED"


class RelayUnavailableError(FixRequest):
    """A managed service in between has nobody to serve this."""

    code = "THIRD_PARTY_SERVING_DISABLED"
    key_region: str | None = None
    deployment_region: str | None = None


class AccountStateUnavailableError(OurFault):
    """A managed service in between does not know the account's state."""

    code = "ACCOUNT_STATE_UNAVAILABLE"


class EstimateUnroutableError(OurFault):
    """Of estimates, which are no operation here."""


class JobFailedError(SIEError):
    """Of batch jobs, which are no operation here."""


class MalformedChunkError(SIEError):
    """Of batch jobs, which are no operation here."""


class GatedModelError(Exception):
    """Of downloads, which no client here makes."""

    def __init__(self, model_id: str, original_error: Exception) -> None:
        super().__init__(f"{model_id} is gated: {original_error}")
        self.model_id = model_id
        self.original_error = original_error


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
    "INSUFFICIENT_CREDITS": InsufficientCreditsError,
    "KEY_SPEND_LIMIT_EXCEEDED": SpendLimitError,
    "ACCOUNT_SUSPENDED": AccountInactiveError,
    "ACCOUNT_PENDING_REVIEW": AccountInactiveError,
    "THIRD_PARTY_SERVING_DISABLED": RelayUnavailableError,
    "THIRD_PARTY_RUNTIME_UNLISTED": RelayUnavailableError,
    "THIRD_PARTY_REGION_UNAVAILABLE": RelayUnavailableError,
    "ACCOUNT_STATE_UNAVAILABLE": AccountStateUnavailableError,
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


def asked_for(error: SIEError, **asked: str | None) -> None:
    """Tell an error what its caller asked for, as far as it is about that."""
    for name, value in asked.items():
        if value and getattr(type(error), name, value) is None:
            setattr(error, name, value)


def is_known(code: str) -> bool:
    """True for a code of ours, or one of the published services that means more than its status."""
    return code in CODES or code in _BY_CODE
