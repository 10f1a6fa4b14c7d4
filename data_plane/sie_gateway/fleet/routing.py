"""Routing: from what a request asks for to the place where its jobs are published.

*pure.* Promises:

- A route lies in the pool and on a machine profile that the request allows.
- A model without the wanted operation or adapter is an error, never a substitute.
- `Cold` is answered exactly when no ready worker is alive there.
- What is remembered of one registry is never told of another.

Chooses no single worker: placement among the workers of a route is their own.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias

from msgspec import Struct

from sie_core.chain import Position
from sie_core.resolver import ResolvedModel, Resolver
from sie_gateway.fleet.fleet import Fleet
from sie_schemas.api.leases import LeaseSpec
from sie_schemas.errors import FixRequest, Later
from sie_schemas.fleet import WorkerKind
from sie_schemas.items import Operation
from sie_schemas.jobs import AdapterPin, Job, subject

__all__ = ["Cold", "Route", "Routes", "Wanted"]

_REMEMBERED_MAX: Final = 10_000
"""Each name of each model, by each pool and profile: clients cannot fill the memory."""

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]


class Wanted(Struct, frozen=True):
    """The wishes of a request. None leaves the choice to the registry."""

    spec: str
    operation: Operation
    pool: str | None = None
    machine_profile: str | None = None
    lora: str | None = None
    bundle: str | None = None
    lease: LeaseSpec | None = None
    """The lease whose share the request uses: it runs on the lease's machine profiles only."""


class Route(Struct, frozen=True):
    """The place of the jobs, and their revisions. `position` is of the registry that said so."""

    position: Position
    model: ResolvedModel
    model_name: str
    """The model as an answer names it."""
    adapter: AdapterPin | None
    kind: WorkerKind
    subject: str
    """The subject on which the jobs are published."""
    headers: Headers
    """The headers of every answer, with the position and the revisions."""
    job: Job
    """The fields that all jobs on this route have in common."""

    @property
    def pool(self) -> str:
        """The pool that it goes to."""
        return self.kind.pool

    @property
    def machine_profile(self) -> str:
        """The machine profile that it goes to."""
        return self.kind.machine_profile

    @property
    def bundle(self) -> str:
        """The bundle that it goes to."""
        return self.kind.bundle


class Cold(Struct, frozen=True):
    """The route exists and no ready worker is on it: capacity has to come first."""

    route: Route


class Routes:
    """Finds routes, and remembers what the registry of now says of each kind of request: it is
    replaced whole at every epoch. Owner: one gateway."""

    def __init__(self) -> None:
        self._resolver: Resolver | None = None
        self._remembered: dict[Wanted, Sequence[Route]] = {}

    def find(self, resolver: Resolver, fleet: Fleet, wanted: Wanted, *, now: float) -> Route | Cold:
        """Resolve a request. Raises `SIEError` with a code of the table, naming what is wrong."""
        # Not remembered: a lease ends when it likes, and no epoch tells.
        if wanted.lease is not None:
            return _warmest(_choices(resolver, wanted), fleet, now)
        if resolver is not self._resolver or len(self._remembered) >= _REMEMBERED_MAX:
            self._resolver, self._remembered = resolver, {}
        choices = self._remembered.get(wanted)
        if choices is None:
            # What cannot be resolved raises, so that nothing is remembered which clients invent.
            choices = self._remembered[wanted] = _choices(resolver, wanted)
        return _warmest(choices, fleet, now)


def _choices(resolver: Resolver, wanted: Wanted) -> list[Route]:
    """The routes that a request allows, the one that is preferred first."""
    if resolver.position is None:
        raise Later("this gateway has no verified registry yet", code="NOT_READY")
    model = resolver.resolve(wanted.spec, bundle=wanted.bundle, pool=wanted.pool)
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
    adapter = _adapter(resolver, model, wanted.lora)
    return [
        _route(resolver.position, model, wanted.operation, adapter, machine_profile)
        for machine_profile in _machine_profiles(model, wanted)
    ]


def _route(
    position: Position,
    model: ResolvedModel,
    operation: Operation,
    adapter: AdapterPin | None,
    machine_profile: str,
) -> Route:
    headers = [
        (b"x-sie-config-epoch", str(position).encode()),
        (b"x-sie-model-revision", model.revision.encode()),
    ]
    if adapter is not None:
        headers.append((b"x-sie-adapter-revision", adapter.revision.encode()))
    return Route(
        position=position,
        model=model,
        model_name=model.name,
        adapter=adapter,
        kind=WorkerKind(model.pool, machine_profile, model.bundle),
        subject=subject(model.pool, machine_profile, model.bundle, model.model_id),
        headers=tuple(headers),
        job=Job(
            job_id="",
            request_id="",
            first_item=0,
            operation=operation,
            log_id=position.log_id,
            epoch=position.epoch,
            model_id=model.model_id,
            profile=model.profile,
            model_revision=model.revision,
            adapter=adapter,
            items=(),
            reply_to="",
            deadline=0.0,
            published_at=0.0,
        ),
    )


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


def _adapter(resolver: Resolver, model: ResolvedModel, name: str | None) -> AdapterPin | None:
    if name is None:
        return None
    adapter = resolver.adapter(model.model_id, name)
    return AdapterPin(name=adapter.name, revision=adapter.revision)


def _warmest(choices: Sequence[Route], fleet: Fleet, now: float) -> Route | Cold:
    """The first route with a worker that can load the revision; else with any ready worker.

    Where every worker failed to load it, the job is sent all the same. A worker answers with the
    reason, and tries again once its cool-down is over.
    """
    fallback: Route | None = None
    for route in choices:
        for worker in fleet.ready(route.kind, now=now):
            report = worker.models.get(route.model.model_id)
            if (
                report is None
                or report.state != "failed"
                or report.revision != route.model.revision
            ):
                return route
            fallback = fallback or route
    return fallback if fallback is not None else Cold(choices[0])
