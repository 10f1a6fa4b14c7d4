"""Going dark: models that are used, and that no live worker could serve after a change.

*pure.* A change, whatever it is of, is judged by the registry before and the registry after, read
as gateways read them. A client's name is resolved to a pool, a bundle and machine profiles, and one
live worker there is enough. Promises to name a profile exactly when it was served before and is not
after. A model that slept before is not made dark by a change. A model that leaves its last bundle
or pool behind is named also if nobody asks for it. Who is alive and what is asked for are
arguments.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, TypeAlias

import msgspec

from sie_core.registry import Entity, EntityId, Registry
from sie_core.resolver import ResolvedModel, Resolver
from sie_schemas.api.writes import DarkRow
from sie_schemas.errors import FixRequest

__all__ = ["Dark", "Live", "Names", "Place", "check_dark", "going_dark", "narrowed", "unserved"]

Place: TypeAlias = tuple[str, str, str]
"""(pool, machine profile, bundle): the jobs that a worker runs."""

_NAMED_MAX: Final = 20
"""An answer that a person reads; the count tells the rest."""


@dataclass(frozen=True, slots=True)
class Live:
    """The places and the demand that the live replicas told."""

    places: frozenset[Place] = frozenset()
    """The places of workers."""
    anywhere: bool = False
    """A worker did not say where it is, as an older release does: it may be anywhere."""
    asked: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """The replica that was asked for a model last, and when, by the model's id."""
    adapters: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """The same by the key of an adapter."""

    def serves(self, model: ResolvedModel) -> bool:
        """True if a live worker runs the jobs of this model."""
        return self.anywhere or any(
            (model.pool, machine_profile, model.bundle) in self.places
            for machine_profile in model.machine_profiles
        )


@dataclass(frozen=True, slots=True)
class Dark:
    """One profile, or one adapter, that nobody serves, and what it would need."""

    name: str
    """`id:profile`, or the key of an adapter."""
    needs: str
    asked: str = ""
    pool: str | None = None
    bundle: str | None = None
    machine_profiles: tuple[str, ...] = ()

    @property
    def row(self) -> DarkRow:
        """As JSON tells it."""
        return {
            "name": self.name,
            "needs": self.needs,
            "asked": self.asked,
            "pool": self.pool,
            "bundle": self.bundle,
            "machine_profiles": list(self.machine_profiles),
        }


@dataclass(frozen=True, slots=True)
class Names:
    """Names that would take a walk over the whole registry to find."""

    bundles: frozenset[str]
    """Every bundle; one that is not there does no harm."""
    aliases: Mapping[str, str]
    """The model that has a name as its alias."""


def narrowed(registry: Registry, models: Iterable[str], names: Names) -> Resolver:
    """A registry as gateways read it, of all bundles, and of these models and their pools alone.

    Of ten thousand models a few are asked for: to read them all would hold up the writer.
    """
    found: dict[EntityId, Entity] = {}
    for model_id in models:
        owner = names.aliases.get(model_id, "")
        entity = registry.get("model", model_id) or registry.get("model", owner)
        if entity is not None:
            found["model", entity.key] = entity
    pools = {_MODEL.decode(entity.document).pool for entity in found.values()}
    for kind, keys in (("bundle", names.bundles), ("pool", pools)):
        for key in keys:
            if (entity := registry.get(kind, key)) is not None:
                found[kind, key] = entity
    return Resolver.of(Registry.of(found.values()), None)


def check_dark(dark: Sequence[Dark]) -> None:
    """Refuse a change that takes out what is used."""
    if not dark:
        return
    first = dark[0]
    asked = f" ({first.asked})" if first.asked else ""
    more = f", and {len(dark) - 1} more would go with it" if len(dark) > 1 else ""
    raise FixRequest(
        f"nobody could serve {first.name!r}{asked} any more: {first.needs}{more}. Start what is "
        "needed first, or say in X-SIE-Force why",
        code="FORCE_REQUIRED",
        field="X-SIE-Force",
        details={"dark": [each.row for each in dark[:_NAMED_MAX]], "count": len(dark)},
    )


def going_dark(
    before: Registry,
    after: Registry,
    touched: Sequence[EntityId],
    told: Callable[[], Live],
    names: Callable[[], Names],
) -> tuple[Dark, ...]:
    """The models and adapters that were served before a change of `touched`, and are not after it.
    What lives and the `names` of both registries are asked for only where the change may matter:
    most are of a new model."""
    if not _may_matter(before, after, touched):
        return ()
    live, known = told(), names()
    moves_all = any(kind in {"bundle", "pool"} for kind, _ in touched)
    models = {key for kind, key in touched if kind == "model"}
    asked = {name: words for name, words in live.asked.items() if moves_all or name in models}
    # By what gateways would answer, and not by kinds of change: a list of dangerous ones would have
    # missed a priority, an alias, or a batch of two that are harmless alone.
    old, new = narrowed(before, asked, known), narrowed(after, asked, known)
    found = [*_without_worker(old, new, asked, live), *_without_adapter(before, after, live)]
    if moves_all and (orphans := _orphans(before, after, touched, _lost_backends(old, new))):
        named = {each.name for each in found}
        old, new = narrowed(before, orphans, known), narrowed(after, orphans, known)
        found += [each for each in _without_place(old, new) if each.name not in named]
    return tuple(found)


def unserved(resolver: Resolver, model_ids: Sequence[str], live: Live) -> tuple[Dark, ...]:
    """The profiles of these models that no live worker serves; of models that are gone, none."""
    return tuple(
        dark
        for model_id in model_ids
        for spec in _specs(resolver, model_id)
        if (dark := _dark(resolver, spec, live, live.asked.get(model_id, "")))
    )


def _may_matter(before: Registry, after: Registry, touched: Sequence[EntityId]) -> bool:
    """Cheaply: whether the change touches where anything runs, or takes anything away."""
    for kind, key in touched:
        old, new = before.get(kind, key), after.get(kind, key)
        if kind in {"bundle", "pool"} or (old is not None and new is None):
            return True
        if kind == "model" and old is not None and new is not None and _moves(old, new):
            return True
    return False


def _moves(old: Entity, new: Entity) -> bool:
    return _MODEL.decode(old.document) != _MODEL.decode(new.document)


class _Profile(msgspec.Struct, frozen=True):
    backend: str


class _Model(msgspec.Struct, frozen=True):
    """The fields of a model that decide where it runs."""

    pool: str
    profiles: dict[str, _Profile]


_MODEL: Final = msgspec.json.Decoder(_Model)


def _without_worker(
    old: Resolver, new: Resolver, asked: Mapping[str, str], live: Live
) -> Iterator[Dark]:
    for model_id, words in sorted(asked.items()):
        for spec in _specs(old, model_id):
            if _dark(old, spec, live, words) is None and (dark := _dark(new, spec, live, words)):
                yield dark


def _without_adapter(before: Registry, after: Registry, live: Live) -> Iterator[Dark]:
    for key, asked in sorted(live.adapters.items()):
        if before.get("adapter", key) is not None and after.get("adapter", key) is None:
            yield Dark(key, "the adapter would be gone", asked)


def _orphans(
    before: Registry, after: Registry, touched: Sequence[EntityId], lost: frozenset[str]
) -> list[str]:
    """Models whose pool is gone, or that have a backend which no bundle runs any more."""
    gone = {
        key
        for kind, key in touched
        if kind == "pool" and before.get(kind, key) is not None and after.get(kind, key) is None
    }
    if not lost and not gone:
        return []
    models = ((each.key, _MODEL.decode(each.document)) for each in after.of_kind("model"))
    return [
        key
        for key, model in models
        if model.pool in gone or any(each.backend in lost for each in model.profiles.values())
    ]


def _without_place(old: Resolver, new: Resolver) -> Iterator[Dark]:
    for model_id in sorted(new.models):
        for spec in _specs(new, model_id):
            found = _resolved(new, spec)
            if isinstance(found, str) and not isinstance(_resolved(old, spec), str):
                yield Dark(spec, found)


def _lost_backends(old: Resolver, new: Resolver) -> frozenset[str]:
    """The backends that bundles ran, and that none runs any more."""
    ran, runs = (
        {name for bundle in each.bundles.values() for name in bundle["backends"]}
        for each in (old, new)
    )
    return frozenset(ran - runs)


def _specs(resolver: Resolver, model_id: str) -> list[str]:
    document = resolver.models.get(model_id)
    return [f"{model_id}:{name}" for name in sorted(document["profiles"])] if document else []


def _resolved(resolver: Resolver, spec: str) -> ResolvedModel | str:
    """The model that a gateway would make of it, or the reason for which it refuses."""
    try:
        return resolver.resolve(spec)
    except FixRequest as error:
        return error.message


def _dark(resolver: Resolver, spec: str, live: Live, asked: str) -> Dark | None:
    model = _resolved(resolver, spec)
    if isinstance(model, str):
        return Dark(spec, model, asked)
    if live.serves(model):
        return None
    kinds = " or ".join(repr(name) for name in model.machine_profiles)
    return Dark(
        spec,
        f"it needs a worker of pool {model.pool!r}, bundle {model.bundle!r} and machine profile "
        f"{kinds}, and none is alive",
        asked,
        pool=model.pool,
        bundle=model.bundle,
        machine_profiles=model.machine_profiles,
    )
