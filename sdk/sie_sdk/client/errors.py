"""The errors under the path of the published client; they are those of `sie_sdk.errors`.

*types.* Names what that module has, for code that imports it from here.
"""

from sie_sdk.errors import (
    AccountInactiveError,
    AccountStateUnavailableError,
    EstimateUnroutableError,
    IncompleteBatchError,
    InputTooLongError,
    InsufficientCreditsError,
    JobFailedError,
    LoraLoadingError,
    ModelLoadFailedError,
    ModelLoadingError,
    PoolError,
    ProvisioningError,
    RateLimitError,
    RelayUnavailableError,
    RequestError,
    ResourceExhaustedError,
    ServerError,
    SIEConnectionError,
    SIEError,
    SpendLimitError,
)

__all__ = [
    "AccountInactiveError",
    "AccountStateUnavailableError",
    "EstimateUnroutableError",
    "IncompleteBatchError",
    "InputTooLongError",
    "InsufficientCreditsError",
    "JobFailedError",
    "LoraLoadingError",
    "ModelLoadFailedError",
    "ModelLoadingError",
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
]
