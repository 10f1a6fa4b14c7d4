"""The resolver: a registry as a router reads it.

*pure.* One immutable view for each position; a request reads it once and so never sees half an
entry. Resolves what a client names (id, alias, `id:profile`, `bundle:/id`) to a model, profile,
revision, bundle and pool. A name that cannot be resolved is an error that says what is wrong. Says
nothing about who is alive: that is the fleet's matter.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

import msgspec

from sie_core.chain import Position
from sie_core.layered import Layered
from sie_core.nearest import choice
from sie_core.registry import Entity, Registry
from sie_core.stored_documents import (
    AdapterJson,
    BundleJson,
    DocumentJson,
    ModelJson,
    PoolJson,
    ProfileJson,
)
from sie_schemas.entry import ENTITY_KINDS
from sie_schemas.errors import FixRequest
from sie_schemas.fleet import WorkerKind
from sie_schemas.revisions import adapter_revision, model_revision

__all__ = [
    "ResolvedAdapter",
    "ResolvedModel",
    "Resolver",
    "misplaced",
    "runnable_models",
    "touched_models",
]

_DEFAULT_PROFILE: Final = "default"


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """One model in one profile: what a job names and a worker runs."""

    model_id: str
    profile: str
    revision: str
    document: ModelJson
    profile_document: ProfileJson
    pool: str
    bundle: str
    machine_profiles: tuple[str, ...]
    operations: frozenset[str]
    outputs: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of it: its id, with the profile where that is not the default."""
        return self.model_id if self.profile == _DEFAULT_PROFILE else self.full_name

    @property
    def full_name(self) -> str:
        """`id:profile`."""
        return f"{self.model_id}:{self.profile}"

    def is_named(self, specs: Collection[str]) -> bool:
        """True if one of these, each `id` or `id:profile`, is it."""
        return self.name in specs or self.full_name in specs


@dataclass(frozen=True, slots=True)
class ResolvedAdapter:
    """One adapter of a model at its revision."""

    name: str
    revision: str
    document: AdapterJson


class Resolver:
    """The read view of one registry. Immutable to its users; it memoises what it resolved.

    `models`, `bundles` and `pools` are documents by key, in no order: to sort 3,000 models took
    0.93 of the 1.0 ms that an entry takes.
    """

    __slots__ = (
        "_adapters",
        "_aliases",
        "_memo",
        "_parsed",
        "bundles",
        "models",
        "pools",
        "position",
        "registry",
    )

    def __init__(
        self,
        registry: Registry,
        position: Position | None,
        parsed: dict[str, Layered[DocumentJson]],
        aliases: Mapping[str, str],
        adapters: Layered[tuple[str, ...]],
    ) -> None:
        self.registry: Final = registry
        self.position: Final = position
        self._parsed = parsed
        self.models: Final = cast("Mapping[str, ModelJson]", parsed["model"])
        self.bundles: Final = cast("Mapping[str, BundleJson]", parsed["bundle"])
        self.pools: Final = cast("Mapping[str, PoolJson]", parsed["pool"])
        self._aliases: Final = aliases
        self._adapters: Final = adapters
        """Their names, sorted, by model."""
        self._memo: dict[tuple[str, str, str], ResolvedModel] = {}

    @classmethod
    def of(
        cls, registry: Registry, position: Position | None, previous: "Resolver | None" = None
    ) -> "Resolver":
        """The view of a registry; with `previous`, made of it by what changed."""
        older = previous if previous is not None else _NOTHING
        changes = registry.difference(older.registry)
        by_kind: dict[str, dict[str, DocumentJson | None]] = {}
        for (kind, key), entity in changes.items():
            by_kind.setdefault(kind, {})[key] = _read(entity)
        parsed = dict(older._parsed)
        for kind, documents in by_kind.items():
            parsed[kind] = parsed[kind].with_changes(documents)
        models = by_kind.get("model", {})
        # Only then: an entry cost 32 µs at 3,000 models where all was read again, and costs 9 at
        # any size.
        renamed = any(map(_has_aliases, [*models.values(), *map(older.models.get, models)]))
        aliases = _aliases_of(parsed["model"]) if renamed else older._aliases
        adapters = older._adapters
        if changed := by_kind.get("adapter"):
            adapters = adapters.with_changes(_regrouped(adapters, changed))
        return cls(registry, position, parsed, aliases, adapters)

    def resolve(
        self, spec: str, *, bundle: str | None = None, pool: str | None = None
    ) -> ResolvedModel:
        """Resolve what a client named.

        `spec` is `id`, an alias, either with `:profile`, all with an optional `bundle:/` before.
        Raises `FixRequest` with MODEL_NOT_FOUND, PROFILE_NOT_FOUND, POOL_NOT_FOUND,
        BUNDLE_NOT_FOUND or BUNDLE_ROUTING_CONFLICT.
        """
        memo_key = (spec, bundle or "", pool or "")
        found = self._memo.get(memo_key)
        if found is None:
            found = self._resolve(spec, bundle, pool)
            self._memo[memo_key] = found
        return found

    @property
    def aliases(self) -> Collection[str]:
        """The other names of the models."""
        return self._aliases.keys()

    def tasks_of(self, spec: str) -> Collection[str]:
        """The tasks of the model that a client named; none where there is no such model."""
        try:
            return self.resolve(spec).document["tasks"]
        except FixRequest:
            return ()

    def backend_of(self, spec: str) -> str:
        """The backend of the profile that a client named; empty where there is no such model."""
        try:
            return self.resolve(spec).profile_document["backend"]
        except FixRequest:
            return ""

    def can_run(self, model_id: str, bundle: str) -> bool:
        """True if some profile of a model can run in a bundle: then its workers pull for it.

        Every compatible one, not only where it is routed by default: a client may name the bundle.
        """
        model, document = self.models.get(model_id), self.bundles.get(bundle)
        if model is None or document is None:
            return False
        return any(
            profile["backend"] in document["backends"] for profile in model["profiles"].values()
        )

    def pinned(self, pool: str) -> Sequence[str]:
        """The models, each `id` or `id:profile`, that a pool's workers keep; none of no pool."""
        document = self.pools.get(pool)
        return document.get("pinned_models", ()) if document is not None else ()

    def adapter(self, model_id: str, name: str) -> ResolvedAdapter:
        """An adapter of a model. Raises `FixRequest` ADAPTER_NOT_FOUND: never the base instead."""
        entity = self.registry.get("adapter", f"{model_id}/{name}")
        if entity is None:
            known = self.adapter_names(model_id)
            raise FixRequest(
                f"model {model_id!r} has no adapter {name!r}; {choice(name, known, 'it has')}",
                code="ADAPTER_NOT_FOUND",
                field="options.lora",
            )
        document = cast("AdapterJson", self._parsed["adapter"][entity.key])
        return ResolvedAdapter(name, adapter_revision(document), document)

    def adapter_names(self, model_id: str) -> list[str]:
        """The names of a model's adapters, sorted."""
        return list(self._adapters.get(model_id, ()))

    def _resolve(self, spec: str, bundle: str | None, pool: str | None) -> ResolvedModel:
        override, separator, rest = spec.partition(":/")
        if separator:
            bundle, spec = override, rest
        name, _, profile = spec.partition(":")
        model_id = name if name in self.models else self._aliases.get(name, name)
        document = self.models.get(model_id)
        if document is None:
            raise FixRequest(
                f"there is no model {name!r}; GET /v1/models lists them",
                code="MODEL_NOT_FOUND",
                field="model",
            )
        profile = profile or _DEFAULT_PROFILE
        if profile not in document["profiles"]:
            meant = (
                f'an adapter has that name: `"options": {{"lora": "{profile}"}}` beside the model '
                "asks for it, in `params` where the request has them"
                if profile in self._adapters.get(model_id, ())
                else choice(profile, document["profiles"], "it has")
            )
            raise FixRequest(
                f"model {model_id!r} has no profile {profile!r}; {meant}",
                code="PROFILE_NOT_FOUND",
                field="model",
            )
        chosen_bundle = self._bundle_of(model_id, document["profiles"][profile], bundle)
        if chosen_bundle is None:
            raise FixRequest(
                f"no bundle runs backend {document['profiles'][profile]['backend']!r} "
                f"of {model_id!r}:{profile}",
                code="BUNDLE_NOT_FOUND",
            )
        return self._resolved(model_id, profile, chosen_bundle, pool or document["pool"])

    def _resolved(self, model_id: str, profile: str, bundle: str, pool: str) -> ResolvedModel:
        document = self.models[model_id]
        if pool not in self.pools:
            raise FixRequest(
                f"there is no pool {pool!r}; {choice(pool, self.pools, 'there are')}",
                code="POOL_NOT_FOUND",
                field="pool",
            )
        tasks = document["tasks"]
        return ResolvedModel(
            model_id=model_id,
            profile=profile,
            revision=model_revision(document, profile),
            document=document,
            profile_document=document["profiles"][profile],
            pool=pool,
            bundle=bundle,
            machine_profiles=tuple(self.pools[pool]["machine_profiles"]),
            operations=frozenset(tasks),
            outputs=tuple(tasks.get("encode", {}).get("outputs", ())),
        )

    def _bundle_of(
        self, model_id: str, profile_document: ProfileJson, wanted: str | None
    ) -> str | None:
        backend = profile_document["backend"]
        compatible = sorted(
            (document["priority"], name)
            for name, document in self.bundles.items()
            if backend in document["backends"]
        )
        if wanted is None:
            return compatible[0][1] if compatible else None
        if wanted not in self.bundles:
            raise FixRequest(
                f"there is no bundle {wanted!r}; {choice(wanted, self.bundles, 'there are')}",
                code="BUNDLE_NOT_FOUND",
                field="model",
            )
        if wanted not in {name for _, name in compatible}:
            raise FixRequest(
                f"bundle {wanted!r} does not run backend {backend!r} of {model_id!r}",
                code="BUNDLE_ROUTING_CONFLICT",
                details={"compatible_bundles": [name for _, name in compatible]},
            )
        return wanted


def runnable_models(resolver: Resolver, bundle: str) -> list[str]:
    """The ids of the models of which some profile can run in a bundle."""
    return [model_id for model_id in sorted(resolver.models) if resolver.can_run(model_id, bundle)]


def misplaced(resolver: Resolver, kind: WorkerKind) -> str:
    """In words: why no job can come to workers of a kind; empty where jobs can. No model has to be
    there for it: a pool may be empty."""
    pool = resolver.pools.get(kind.pool)
    if pool is None:
        return f"the log has no pool {kind.pool!r}; {choice(kind.pool, resolver.pools, 'it has')}"
    profiles = pool["machine_profiles"]
    if kind.machine_profile not in profiles:
        meant = choice(kind.machine_profile, profiles, "it has")
        return f"pool {kind.pool!r} has no machine profile {kind.machine_profile!r}; {meant}"
    if kind.bundle not in resolver.bundles:
        meant = choice(kind.bundle, resolver.bundles, "it has")
        return f"the log has no bundle {kind.bundle!r}; {meant}"
    return ""


def touched_models(resolver: Resolver, bundle: str, before: Registry) -> set[str] | None:
    """The ids of the models, those that are gone included, of which it may have changed since
    `before` whether they can run in a bundle. None: all of them, since the bundle itself did."""
    changes = resolver.registry.difference(before)
    if ("bundle", bundle) in changes:
        return None
    return {key for kind, key in changes if kind == "model"}


def _read(entity: Entity | None) -> DocumentJson | None:
    return None if entity is None else msgspec.json.decode(entity.document)


def _regrouped(
    adapters: Mapping[str, tuple[str, ...]], changes: Mapping[str, DocumentJson | None]
) -> dict[str, tuple[str, ...] | None]:
    """The names of the adapters of each model that some of these changes are of."""
    found: dict[str, set[str]] = {}
    for key, document in changes.items():
        model_id, _, name = key.rpartition("/")
        names = found.setdefault(model_id, set(adapters.get(model_id, ())))
        (names.discard if document is None else names.add)(name)
    return {model_id: tuple(sorted(names)) or None for model_id, names in found.items()}


def _has_aliases(model: DocumentJson | None) -> bool:
    return model is not None and bool(model.get("aliases"))


def _aliases_of(models: Mapping[str, DocumentJson]) -> dict[str, str]:
    return {
        alias: model_id
        # In one order everywhere, so that two replicas agree even where two models have one alias.
        for model_id, document in sorted(models.items())
        for alias in document.get("aliases", ())
    }


_NOTHING: Final = Resolver(
    Registry.EMPTY, None, {kind: Layered({}, {}) for kind in ENTITY_KINDS}, {}, Layered({}, {})
)
