"""The cluster as one gateway sees it: `/health`.

*types.* A gateway makes them, the SDK gives them back, and the OpenAPI document shows them.
"""

from typing import Any, NotRequired, TypedDict

__all__ = [
    "ClusterHead",
    "ClusterSummary",
    "HealthResponse",
    "JudgedWorker",
    "ModelSummary",
    "TroubleInfo",
    "WorkerInfo",
]


class JudgedWorker(TypedDict):
    """The part of a worker's row that says whether it is well."""

    name: str
    pool: str
    healthy: bool
    devices: int
    devices_ready: int
    devices_trouble: str
    trouble: str


class WorkerInfo(JudgedWorker):
    """A worker as the gateway hears of it.

    `qps` are the items a second that it answers. `batch_fill` is the share of a batch that is
    filled.
    """

    url: str
    gpu: str
    gpu_count: int
    ready_gpu_slots: int
    bundle: str
    queue_depth: int
    pending_cost: int
    inflight_batches: int
    qps: float
    batch_fill: float
    loaded_models: list[str]
    memory_used_bytes: int
    memory_total_bytes: int
    config_epoch: int


class ModelSummary(TypedDict):
    """A model over all workers."""

    name: str
    state: str
    worker_count: int
    gpu_types: list[str]
    total_queue_depth: int


class ClusterSummary(TypedDict):
    """The cluster in numbers."""

    worker_count: int
    gpu_count: int
    models_loaded: int
    total_qps: float


class TroubleInfo(TypedDict):
    """One thing that is wrong, what shows it, and the next step."""

    tone: str
    id: str
    what: str
    evidence: NotRequired[str]
    cure: NotRequired[str]
    command: NotRequired[str]
    model: NotRequired[str]


class ClusterHead(TypedDict):
    """The cluster without its lists. `timestamp` is in seconds of Unix time."""

    timestamp: float | None
    status: str
    type: str
    config_epoch: str | None
    config_digest: str | None
    configured_gpu_types: list[str]
    live_gpu_types: list[str]
    cluster: ClusterSummary
    pending_generation: dict[str, Any]
    troubles: list[TroubleInfo]


class HealthResponse(ClusterHead):
    """The cluster as one gateway sees it; the list of models may be left out."""

    workers: list[WorkerInfo]
    models: NotRequired[list[ModelSummary]]
