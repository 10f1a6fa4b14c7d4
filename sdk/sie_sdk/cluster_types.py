"""The types of what a gateway tells of its models, workers and pools.

*types.* Public by `sie_sdk.types`. Most are the very types of which a gateway makes its answers.
"""

from typing import TypeAlias, TypedDict

from sie_schemas.api.cluster import (
    ClusterSummary,
    HealthResponse,
    ModelSummary,
    TroubleInfo,
    WorkerInfo,
)
from sie_schemas.api.models import (
    ModelCapabilities,
    ModelDims,
    ModelInfo,
    ModelLoadError,
    ProfileInfo,
)
from sie_schemas.api.pools import (
    AssignedWorkerInfo,
    PoolListItem,
    PoolResponse,
    PoolSpec,
    PoolStatusInfo,
)

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
    "TroubleInfo",
    "WorkerInfo",
]


class CapacityInfo(TypedDict):
    """The workers that are ready, of one machine profile or of all."""

    status: str
    worker_count: int
    gpu_count: int
    models_loaded: int
    configured_gpu_types: list[str]
    live_gpu_types: list[str]
    workers: list[WorkerInfo]


class ClusterStatusMessage(HealthResponse):
    """The same, one of a series."""


# The published client's names of the same.
ClusterModelInfo: TypeAlias = ModelSummary
StatusMessage: TypeAlias = ClusterStatusMessage
PoolInfo: TypeAlias = PoolResponse
PoolSpecResponse: TypeAlias = PoolSpec
