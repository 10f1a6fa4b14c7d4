"""Routing: from what a request asks for to the place where its jobs are published.

*pure.* Promises that a route lies in the pool and on a machine profile that the request allows,
that a model without the wanted operation or adapter is an error and never a substitute, and that
`Cold` is answered exactly when no ready worker is alive there. Chooses no single worker: placement
among the workers of a route is their own.
"""

from typing import TypeAlias

from msgspec import Struct

from sie_core.chain import Position
from sie_core.models import Catalog, ResolvedModel
from sie_gateway.fleet import Fleet
from sie_schemas.errors import FixRequest, Later
from sie_schemas.items import Operation
from sie_schemas.jobs import AdapterPin
from sie_schemas.leases import LeaseSpec

__all__ = ["Cold", "Lane", "Route", "Wanted", "find_route"]

Lane: TypeAlias = tuple[str, str, str]
"""(pool, machine profile, bundle): a kind of worker."""


class Wanted(Struct, frozen=True):
    """What a request asks for. None leaves the choice to the registry."""

    spec: str
    operation: Operation
    pool: str | None = None
    machine_profile: str | None = None
    lora: str | None = None
    bundle: str | None = None
    lease: LeaseSpec | None = None
    """The lease whose share the request uses: it runs on the lease's machine profiles only."""


class Route(Struct, frozen=True):
    """Where the jobs go, and at which revisions. `position` is of the registry that said so."""

    position: Position
    model: ResolvedModel
    adapter: AdapterPin | None
    pool: str
    machine_profile: str
    bundle: str

    @property
    def lane(self) -> Lane:
        """The kind of worker."""
        return self.pool, self.machine_profile, self.bundle

    @property
    def model_name(self) -> str:
        """The model as an answer names it."""
        if self.model.profile == "default":
            return self.model.model_id
        return f"{self.model.model_id}:{self.model.profile}"


class Cold(Struct, frozen=True):
    """The route exists and no ready worker is on it: capacity has to come first."""

    route: Route


def find_route(catalog: Catalog, fleet: Fleet, wanted: Wanted, *, now: float) -> Route | Cold:
    """Resolve a request. Raises `SIEError` with a code of the table, naming what is wrong."""
    if catalog.position is None:
        raise Later("this gateway has no verified registry yet", code="NOT_READY")
    model = catalog.resolve(wanted.spec, bundle=wanted.bundle, pool=wanted.pool)
    if wanted.operation not in model.operations:
        raise FixRequest(
            f"{model.model_id} does not {wanted.operation}; "
            f"it can {', '.join(sorted(model.operations))}",
            code="UNSUPPORTED_OPERATION",
        )
    if wanted.bundle is not None and model.bundle != wanted.bundle:
        raise FixRequest(
            f"the lease runs on bundle {wanted.bundle!r}, not {model.bundle!r}",
            code="BUNDLE_ROUTING_CONFLICT",
        )
    candidates = _machine_profiles(model, wanted)
    choices = [
        Route(
            position=catalog.position,
            model=model,
            adapter=_adapter(catalog, model, wanted.lora),
            pool=model.pool,
            machine_profile=machine_profile,
            bundle=model.bundle,
        )
        for machine_profile in candidates
    ]
    return _warmest(choices, fleet, now)


def _machine_profiles(model: ResolvedModel, wanted: Wanted) -> tuple[str, ...]:
    if wanted.machine_profile is None:
        leased = wanted.lease.share if wanted.lease is not None else model.machine_profiles
        found = tuple(name for name in model.machine_profiles if name in leased)
        if found:
            return found
        raise FixRequest(
            f"pool {model.pool!r} has none of the lease's machine profiles any more",
            field="X-SIE-Pool",
        )
    if wanted.machine_profile not in model.machine_profiles:
        raise FixRequest(
            f"pool {model.pool!r} has no machine profile {wanted.machine_profile!r}; "
            f"it has {', '.join(model.machine_profiles)}",
            field="X-SIE-MACHINE-PROFILE",
        )
    return (wanted.machine_profile,)


def _adapter(catalog: Catalog, model: ResolvedModel, name: str | None) -> AdapterPin | None:
    if name is None:
        return None
    adapter = catalog.adapter(model.model_id, name)
    return AdapterPin(name=adapter.name, revision=adapter.revision)


def _warmest(choices: list[Route], fleet: Fleet, now: float) -> Route | Cold:
    """The first route with a worker that can load the revision; else with any ready worker.

    Where every worker failed to load it, the job is sent all the same: a worker answers with the
    reason, and tries again once its cool-down is over.
    """
    fallback: Route | None = None
    for route in choices:
        workers = fleet.ready(
            pool=route.pool, machine_profile=route.machine_profile, bundle=route.bundle, now=now
        )
        for worker in workers:
            report = worker.models.get(route.model.model_id)
            if (
                report is None
                or report.state != "failed"
                or report.revision != route.model.revision
            ):
                return route
        if workers and fallback is None:
            fallback = route
    return fallback if fallback is not None else Cold(choices[0])
