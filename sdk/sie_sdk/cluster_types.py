"""The types of what a gateway tells of its models, workers and pools.

*types.* Public by `sie_sdk.types`.
"""

from typing import Any, TypeAlias, TypedDict

__all__ = [
    "AssignedWorkerInfo",
    "CapacityInfo",
    "ClusterModelInfo",
    "ClusterStatusMessage",
    "ClusterSummary",
    "HealthResponse",
    "ModelCapabilities",
    "ModelDims",
    "ModelInfo",
    "ModelLoadError",
    "ModelSummary",
    "PoolInfo",
    "PoolListItem",
    "PoolResponse",
    "PoolSpec",
    "PoolSpecResponse",
    "PoolStatusInfo",
    "ProfileInfo",
    "StatusMessage",
    "WorkerInfo",
]


class ModelDims(TypedDict, total=False):
    """The widths of a model's outputs."""

    dense: int
    sparse: int
    multivector: int


class ModelLoadError(TypedDict, total=False):
    """The failure of a load that is not tried again by itself."""

    code: str
    message: str
    attempts: int
    permanent: bool


class ProfileInfo(TypedDict, total=False):
    """A profile of a model."""

    is_default: bool


class ModelCapabilities(TypedDict, total=False):
    """The abilities that a model has beside its outputs."""

    streaming: bool
    lora_adapters: list[str]


class ModelInfo(TypedDict, total=False):
    """A model as the gateway tells of it. `dims` and `max_sequence_length` are None until a worker
    has it loaded."""

    name: str
    loaded: bool
    state: str
    last_error: ModelLoadError | None
    inputs: list[str]
    outputs: list[str]
    operations: list[str]
    dims: ModelDims | None
    max_sequence_length: int | None
    revision: str
    profiles: dict[str, ProfileInfo]
    capabilities: ModelCapabilities
    aliases: list[str]
    pool: str
    description: str


class WorkerInfo(TypedDict, total=False):
    """A worker as the gateway hears of it."""

    name: str
    url: str
    pool: str
    gpu: str
    gpu_count: int
    ready_gpu_slots: int
    bundle: str
    healthy: bool
    queue_depth: int
    pending_cost: int
    inflight_batches: int
    loaded_models: list[str]
    memory_used_bytes: int
    memory_total_bytes: int


class CapacityInfo(TypedDict):
    """The workers that are ready, of one machine profile or of all."""

    status: str
    worker_count: int
    gpu_count: int
    models_loaded: int
    configured_gpu_types: list[str]
    live_gpu_types: list[str]
    workers: list[WorkerInfo]


class ClusterSummary(TypedDict):
    """The cluster in numbers."""

    worker_count: int
    gpu_count: int
    models_loaded: int
    total_qps: float


class ModelSummary(TypedDict, total=False):
    """A model over all workers."""

    name: str
    state: str
    worker_count: int
    gpu_types: list[str]
    total_queue_depth: int


class HealthResponse(TypedDict, total=False):
    """The cluster as one gateway sees it."""

    status: str
    type: str
    cluster: ClusterSummary
    configured_gpu_types: list[str]
    live_gpu_types: list[str]
    workers: list[WorkerInfo]
    models: list[ModelSummary]
    troubles: list[dict[str, Any]]


class ClusterStatusMessage(HealthResponse, total=False):
    """The same, and when it was seen: seconds of Unix time."""

    timestamp: float


class PoolSpec(TypedDict, total=False):
    """The share of a pool that is leased, or wanted."""

    name: str
    queue_pool: str
    gpus: dict[str, int]
    gpu_caps: dict[str, int]
    bundle: str | None
    minimum_worker_count: int
    pinned_models: list[str]
    ttl_seconds: float


class AssignedWorkerInfo(TypedDict):
    """A worker that serves a lease."""

    name: str
    url: str
    gpu: str
    bundle: str


class PoolStatusInfo(TypedDict, total=False):
    """A lease as it stands; its times are seconds of Unix time."""

    state: str
    assigned_workers: list[AssignedWorkerInfo]
    created_at: float
    last_renewed: float


class PoolResponse(TypedDict, total=False):
    """A lease, or a pool of the configuration."""

    name: str
    spec: PoolSpec
    status: PoolStatusInfo


class PoolListItem(TypedDict, total=False):
    """The same in short."""

    name: str
    state: str
    gpus: dict[str, int]
    worker_count: int


# The published client's names of the same.
ClusterModelInfo: TypeAlias = ModelSummary
StatusMessage: TypeAlias = ClusterStatusMessage
PoolInfo: TypeAlias = PoolResponse
PoolSpecResponse: TypeAlias = PoolSpec
