"""The client of the cluster: encode, score and extract, synchronous and asynchronous.

    from sie_sdk import SIEClient
    from sie_sdk.types import Item

    with SIEClient("http://127.0.0.1:8080") as client:
        vector = client.encode("all-MiniLM-L6-v2", Item(text="a lease"))["dense"]

`SIEConfigClient` reads and changes the configuration in the same way; it talks to sie-config.

It knows the wire and nothing else of the cluster. What a request says and what an answer means
is in `exchange`, which is pure; the two clients only send, wait and try again. A name is imported
when it is asked for first: to import the package costs next to nothing.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sie_sdk.client.async_ import SIEAsyncClient
    from sie_sdk.client.sync import SIEClient
    from sie_sdk.config.async_client import SIEAsyncConfigClient
    from sie_sdk.config.calls import Terms
    from sie_sdk.config.client import SIEConfigClient
    from sie_sdk.encoding import (
        dense_embedding,
        multivector_embedding,
        normalize_sparse_vector,
        sparse_embedding,
        sparse_embedding_dict,
    )
    from sie_sdk.errors import (
        AccountInactiveError,
        AccountStateUnavailableError,
        EstimateUnroutableError,
        FixRequest,
        GatedModelError,
        GatewayTimeoutError,
        IncompleteBatchError,
        InputTooLongError,
        InsufficientCreditsError,
        JobFailedError,
        Later,
        LoraLoadingError,
        MalformedChunkError,
        ModelLoadFailedError,
        ModelLoadingError,
        OurFault,
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
        TimeRanOut,
        UnavailableError,
        Untrusted,
    )
    from sie_sdk.patience import Retry
    from sie_sdk.scoring import maxsim, maxsim_batch
    from sie_sdk.types import (
        AssignedWorkerInfo,
        CapacityInfo,
        ClusterStatusMessage,
        ClusterSummary,
        EncodeResult,
        Entity,
        ExtractResult,
        HealthResponse,
        Item,
        Media,
        ModelInfo,
        ModelSummary,
        PoolInfo,
        PoolListItem,
        PoolResponse,
        PoolSpec,
        PoolSpecResponse,
        PoolStatusInfo,
        RequestInfo,
        ScoreEntry,
        ScoreResult,
        SparseResult,
        SparseVector,
        StatusMessage,
        Timing,
        TimingInfo,
        Usage,
        WorkerInfo,
    )
    from sie_sdk.wire.transport import Tls

_MODULES: Final = {
    "client.async_": {"SIEAsyncClient"},
    "client.sync": {"SIEClient"},
    "config.async_client": {"SIEAsyncConfigClient"},
    "config.calls": {"Terms"},
    "config.client": {"SIEConfigClient"},
    "patience": {"Retry"},
    "scoring": {"maxsim", "maxsim_batch"},
    "wire.transport": {"Tls"},
}
"""The modules of few names. Those of `errors`, `encoding` and `types` are told by their form."""

__all__ = [
    "AccountInactiveError",
    "AccountStateUnavailableError",
    "AssignedWorkerInfo",
    "CapacityInfo",
    "ClusterStatusMessage",
    "ClusterSummary",
    "EncodeResult",
    "Entity",
    "EstimateUnroutableError",
    "ExtractResult",
    "FixRequest",
    "GatedModelError",
    "GatewayTimeoutError",
    "HealthResponse",
    "IncompleteBatchError",
    "InputTooLongError",
    "InsufficientCreditsError",
    "Item",
    "JobFailedError",
    "Later",
    "LoraLoadingError",
    "MalformedChunkError",
    "Media",
    "ModelInfo",
    "ModelLoadFailedError",
    "ModelLoadingError",
    "ModelSummary",
    "OurFault",
    "PoolError",
    "PoolInfo",
    "PoolListItem",
    "PoolResponse",
    "PoolSpec",
    "PoolSpecResponse",
    "PoolStatusInfo",
    "ProvisioningError",
    "RateLimitError",
    "RelayUnavailableError",
    "RequestError",
    "RequestInfo",
    "ResourceExhaustedError",
    "Retry",
    "SIEAsyncClient",
    "SIEAsyncConfigClient",
    "SIEClient",
    "SIEConfigClient",
    "SIEConnectionError",
    "SIEError",
    "ScoreEntry",
    "ScoreResult",
    "ServerError",
    "SparseResult",
    "SparseVector",
    "SpendLimitError",
    "StatusMessage",
    "Terms",
    "TimeRanOut",
    "Timing",
    "TimingInfo",
    "Tls",
    "UnavailableError",
    "Untrusted",
    "Usage",
    "WorkerInfo",
    "dense_embedding",
    "maxsim",
    "maxsim_batch",
    "multivector_embedding",
    "normalize_sparse_vector",
    "sparse_embedding",
    "sparse_embedding_dict",
]

# Two packages, one import name: this is a module that only the published `sie-sdk` brings.
if (Path(__file__).parent / "client/_shared.py").is_file():
    raise ImportError(
        "the packages sie-cluster and sie-sdk are both installed, and both are imported as "
        "`sie_sdk`: uninstall both, then install the one that this environment is for (code for "
        "sie-sdk runs on sie-cluster's)"
    )


def __getattr__(name: str) -> Any:
    """Import a name when it is asked for first."""
    if name == "__version__":
        return str(import_module("importlib.metadata").version("sie-cluster"))
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = next((module for module, names in _MODULES.items() if name in names), None)
    if module is None and name.islower():
        module = "encoding"
    if module is None:
        is_error = hasattr(import_module(f"{__name__}.errors"), name)
        module = "errors" if is_error else "types"
    found = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """Every name, also of what was not imported yet."""
    return sorted({*globals(), *__all__})
