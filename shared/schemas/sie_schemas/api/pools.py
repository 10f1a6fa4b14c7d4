"""Pools and leases as a gateway tells of them: `/v1/pools`.

*types.* A gateway makes them, the SDK gives them back, and the OpenAPI document shows them.
"""

from typing import NotRequired, TypedDict

__all__ = [
    "AssignedWorkerInfo",
    "PoolDeleted",
    "PoolList",
    "PoolListItem",
    "PoolRenewed",
    "PoolResponse",
    "PoolSpec",
    "PoolStatusInfo",
]


class PoolSpec(TypedDict, total=False):
    """The share of a pool that is leased; of a pool of the log its document."""

    name: str
    queue_pool: str
    gpus: dict[str, int]
    gpu_caps: dict[str, int]
    bundle: str | None
    minimum_worker_count: int
    pinned_models: list[str]
    ttl_seconds: float
    machine_profiles: list[str]
    description: str
    workers_min: int
    workers_max: int


class AssignedWorkerInfo(TypedDict):
    """A worker that serves a lease."""

    name: str
    url: str
    gpu: str
    bundle: str


class PoolStatusInfo(TypedDict):
    """A pool as it stands. The times of a lease are seconds of Unix time."""

    state: str
    assigned_workers: list[AssignedWorkerInfo]
    created_at: NotRequired[float]
    last_renewed: NotRequired[float]


class PoolResponse(TypedDict):
    """A lease, or a pool of the configuration."""

    name: str
    spec: PoolSpec
    status: PoolStatusInfo


class PoolListItem(TypedDict):
    """The same in short. `kind` is `lease` or `pool`."""

    name: str
    kind: str
    state: str
    gpus: dict[str, int]
    worker_count: int


class PoolList(TypedDict):
    """Every pool of the configuration and every lease, by name."""

    pools: list[PoolListItem]


class PoolRenewed(TypedDict):
    """A lease lasts so many seconds from now."""

    message: str
    ttl_seconds: float


class PoolDeleted(TypedDict):
    """A lease has ended."""

    message: str
