"""The clients of a gateway, synchronous and asynchronous, and the errors that they raise.

Every name is also one of `sie_sdk`. A client is imported when it is asked for first: who catches
errors alone does not pay for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from sie_sdk.client.errors import (
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

if TYPE_CHECKING:
    from sie_sdk.client.async_ import SIEAsyncClient
    from sie_sdk.client.sync import SIEClient

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
    "SIEAsyncClient",
    "SIEClient",
    "SIEConnectionError",
    "SIEError",
    "ServerError",
    "SpendLimitError",
]

_MODULES: Final = {"SIEAsyncClient": "async_", "SIEClient": "sync"}


def __getattr__(name: str) -> Any:
    """Import a client when it is asked for first."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
