"""Leases: what may be leased, where a lease places a request, and how pools and leases are told.

*pure.* Time is an argument. Promises:

- The shares of all leases of a pool stay within what the pool declares.
- A request under a lease runs in its pool and on its machine profiles, and nowhere else.
- A name of the log is never a lease's.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, cast

import msgspec

from sie_core.nearest import choice
from sie_core.resolver import Resolver
from sie_core.stored_documents import PoolJson
from sie_gateway.fleet.routing import Wanted
from sie_schemas.api.leases import Lease, LeaseRequest, LeaseSpec
from sie_schemas.api.pools import AssignedWorkerInfo, PoolListItem, PoolResponse, PoolSpec
from sie_schemas.errors import FixRequest, Later
from sie_schemas.fleet import Heartbeat, WantedModel, WorkerKind

__all__ = [
    "LeaseCaps",
    "check_grant",
    "check_name",
    "lease_view",
    "list_entry",
    "pinned_models",
    "pool_view",
    "spec_of",
    "under_lease",
    "warm_workers",
]

_DEFAULT_POOL: Final = "default"


@dataclass(frozen=True, slots=True)
class LeaseCaps:
    """The most that all leases, and each lease, may have."""

    leases_max: int
    ttl_s_max: float
    warm_workers_max: int


def check_name(resolver: Resolver, name: str, *, deleting: bool = False) -> None:
    """Refuse the name of a pool of the log. Raises `FixRequest` POOL_OPERATION_FORBIDDEN; where
    `default` would be deleted, the code that published clients know for it."""
    if name in resolver.pools or name == _DEFAULT_POOL:
        never = deleting and name == _DEFAULT_POOL
        raise FixRequest(
            f"pool {name!r} belongs to the configuration: it is changed at sie-config, not leased",
            code="DEFAULT_POOL_DELETE_FORBIDDEN" if never else "POOL_OPERATION_FORBIDDEN",
            field="$.name",
        )


def spec_of(request: LeaseRequest) -> LeaseSpec:
    """The lease that is asked for, without its duration."""
    fields = {name: getattr(request, name) for name in LeaseSpec.__struct_fields__}
    return LeaseSpec(**fields)


def check_grant(
    resolver: Resolver, others: Sequence[Lease], request: LeaseRequest, caps: LeaseCaps
) -> None:
    """Judge a request against the registry and every other lease.

    Raises `FixRequest` for what does not exist or is too much in any case, and `Later`
    POOL_CAPACITY_UNAVAILABLE where it is only taken now.
    """
    check_name(resolver, request.name)
    _check_places(resolver, request)
    if request.ttl_seconds is not None and request.ttl_seconds > caps.ttl_s_max:
        raise FixRequest(
            f"a lease lasts at most {caps.ttl_s_max:g} s without being renewed",
            field="$.ttl_seconds",
        )
    if request.minimum_worker_count > caps.warm_workers_max:
        raise FixRequest(
            f"a lease keeps at most {caps.warm_workers_max} workers warm",
            field="$.minimum_worker_count",
        )
    if len(others) >= caps.leases_max:
        raise FixRequest(
            f"there are {len(others)} leases already, the most at one time: delete one first",
            code="POOL_OPERATION_FORBIDDEN",
        )
    _check_share(resolver, others, request)


def under_lease(wanted: Wanted, lease: LeaseSpec) -> Wanted:
    """The request as its lease places it. Raises `FixRequest` for another machine profile."""
    profiles = tuple(lease.share)
    if wanted.machine_profile is not None and wanted.machine_profile not in profiles:
        raise FixRequest(
            f"the lease {lease.name!r} has no machine profile {wanted.machine_profile!r}; "
            f"it has {', '.join(profiles)}",
            field="X-SIE-MACHINE-PROFILE",
        )
    return msgspec.structs.replace(wanted, pool=lease.queue_pool, bundle=lease.bundle, lease=lease)


def lease_view(lease: Lease, workers: Iterable[Heartbeat]) -> PoolResponse:
    """A lease as the API tells it."""
    spec = lease.spec
    assigned = _assigned(spec, workers)
    have = {name: sum(each.machine_profile == name for each in assigned) for name in spec.share}
    active = bool(assigned) and all(have[name] >= count for name, count in spec.gpus.items())
    return {
        "name": spec.name,
        "spec": {
            "name": spec.name,
            "queue_pool": spec.queue_pool,
            "gpus": spec.gpus,
            "gpu_caps": spec.gpu_caps,
            "bundle": spec.bundle,
            "minimum_worker_count": spec.minimum_worker_count,
            "pinned_models": list(spec.pinned_models),
            "ttl_seconds": lease.ttl_s,
        },
        "status": {
            "state": "active" if active else "pending",
            "assigned_workers": [_worker(each) for each in assigned],
            "created_at": lease.created_at,
            "last_renewed": lease.renewed_at,
        },
    }


def pool_view(document: PoolJson, workers: Iterable[Heartbeat]) -> PoolResponse:
    """A pool of the log in the same form: it has no share and does not end."""
    ready = [each for each in workers if each.ready and each.pool == document["name"]]
    return {
        "name": document["name"],
        "spec": cast(PoolSpec, dict(document)),
        "status": {
            "state": "active" if ready else "pending",
            "assigned_workers": [_worker(each) for each in ready],
        },
    }


def list_entry(view: PoolResponse) -> PoolListItem:
    """One line of the list."""
    return {
        "name": view["name"],
        "kind": "lease" if "queue_pool" in view["spec"] else "pool",
        "state": view["status"]["state"],
        "gpus": view["spec"].get("gpus", {}),
        "worker_count": len(view["status"]["assigned_workers"]),
    }


def pinned_models(resolver: Resolver, spec: LeaseSpec) -> dict[WorkerKind, list[WantedModel]]:
    """The models that a lease keeps loaded, by kind of worker: none that has left the registry."""
    pinned: dict[WorkerKind, list[WantedModel]] = {}
    for named in spec.pinned_models:
        try:
            model = resolver.resolve(named, bundle=spec.bundle, pool=spec.queue_pool)
        except FixRequest:
            continue
        wanted = WantedModel(model_id=model.model_id, profile=model.profile)
        for machine_profile in spec.share:
            kind = WorkerKind(spec.queue_pool, machine_profile, model.bundle)
            pinned.setdefault(kind, []).append(wanted)
    return pinned


def warm_workers(pool: PoolJson, leases: Iterable[Lease]) -> int:
    """Workers that a pool of the log keeps although nothing is asked for."""
    leased = sum(
        lease.spec.minimum_worker_count for lease in leases if lease.spec.queue_pool == pool["name"]
    )
    most = pool.get("workers_max")
    wanted = max(pool.get("workers_min", 0), leased)
    return wanted if most is None else min(wanted, most)


def _check_places(resolver: Resolver, request: LeaseRequest) -> None:
    if not request.share:
        raise FixRequest("a lease names workers in `gpus` or `gpu_caps`", field="$.gpus")
    pool = resolver.pools.get(request.queue_pool)
    if pool is None:
        raise FixRequest(
            f"there is no pool {request.queue_pool!r} to lease of; "
            + choice(request.queue_pool, resolver.pools, "there are"),
            code="POOL_NOT_FOUND",
            field="$.queue_pool",
        )
    for name in request.share:
        if name not in pool["machine_profiles"]:
            raise FixRequest(
                f"pool {request.queue_pool!r} has no machine profile {name!r}; "
                f"it has {', '.join(pool['machine_profiles'])}",
                field="$.gpus" if name in request.gpus else "$.gpu_caps",
            )
        if request.gpus.get(name, 0) > request.share[name]:
            raise FixRequest(
                f"`gpus` counts on more workers of {name!r} than `gpu_caps` lets it use",
                field="$.gpu_caps",
            )
    if request.bundle is not None and request.bundle not in resolver.bundles:
        raise FixRequest(
            f"there is no bundle {request.bundle!r}", code="BUNDLE_NOT_FOUND", field="$.bundle"
        )
    for spec in request.pinned_models:
        resolver.resolve(spec, bundle=request.bundle, pool=request.queue_pool)


def _check_share(resolver: Resolver, others: Sequence[Lease], request: LeaseRequest) -> None:
    most = resolver.pools[request.queue_pool].get("workers_max")
    if most is None:
        return
    wanted = sum(request.share.values())
    if wanted > most:
        raise FixRequest(
            f"pool {request.queue_pool!r} has at most {most} workers, not {wanted}", field="$.gpus"
        )
    taken = sum(
        sum(lease.spec.share.values())
        for lease in others
        if lease.spec.queue_pool == request.queue_pool
    )
    if taken + wanted > most:
        raise Later(
            f"{taken} of the {most} workers of pool {request.queue_pool!r} are leased; "
            f"{wanted} more are not free until a lease ends (GET /v1/pools lists them, "
            "DELETE /v1/pools/NAME ends one)",
            code="POOL_CAPACITY_UNAVAILABLE",
        )


def _assigned(spec: LeaseSpec, workers: Iterable[Heartbeat]) -> list[Heartbeat]:
    """The ready workers that a lease may use, no more of a profile than its cap."""
    left: dict[str, float] = {name: spec.gpu_caps.get(name, math.inf) for name in spec.share}
    found = []
    # By id: nobody stores who was assigned, and every gateway must name the same workers.
    for worker in sorted(workers, key=lambda each: each.worker_id):
        fits = worker.pool == spec.queue_pool and spec.bundle in (None, worker.bundle)
        if worker.ready and fits and left.get(worker.machine_profile, 0) > 0:
            left[worker.machine_profile] -= 1
            found.append(worker)
    return found


def _worker(worker: Heartbeat) -> AssignedWorkerInfo:
    return {
        "name": worker.worker_id,
        "url": "",
        "gpu": worker.machine_profile,
        "bundle": worker.bundle,
    }
