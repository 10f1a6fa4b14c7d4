"""Laws of resolving: the manual's rules for what a client names, told in other words."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.worker_world import model_document

from sie_core.registry import Entity, Registry
from sie_core.resolver import Resolver
from sie_schemas import canonical
from sie_schemas.documents import admit_document
from sie_schemas.errors import FixRequest

IDS = ["a", "b", "org/c"]
NAMES = [*IDS, "x", "y"]
BACKENDS = ["scripted", "other"]
PROFILES = ["default", "fast"]
MODELS = st.dictionaries(
    st.sampled_from(IDS),
    st.tuples(
        st.lists(st.sampled_from(NAMES), max_size=2, unique=True),
        st.dictionaries(
            st.sampled_from(["default", "fast"]), st.sampled_from(BACKENDS), min_size=1
        ),
        st.sampled_from(["default", "night"]),
    ),
    min_size=1,
)
BUNDLES = st.dictionaries(
    st.sampled_from(["default", "big", "old"]),
    st.tuples(st.integers(0, 3), st.sets(st.sampled_from(BACKENDS), min_size=1)),
)
POOLS = st.sets(st.sampled_from(["default", "night"]))
SPECS = st.tuples(
    st.sampled_from([None, "default", "big", "nobody"]),
    st.sampled_from(NAMES),
    st.sampled_from([None, "default", "fast", "nothing"]),
    st.sampled_from([None, "default", "night", "nowhere"]),
)


def resolver_of(models: Any, bundles: Any, pools: Any) -> Resolver:
    found = [
        Entity("model", model_id, 1, canonical.dumps(_document(model_id, *parts)))
        for model_id, parts in models.items()
    ]
    for name, (priority, backends) in bundles.items():
        bundle = {"name": name, "priority": priority, "backends": sorted(backends)}
        found.append(Entity("bundle", name, 1, canonical.dumps(admit_document("bundle", bundle))))
    for name in pools:
        pool = admit_document("pool", {"name": name})
        found.append(Entity("pool", name, 1, canonical.dumps(pool)))
    return Resolver.of(Registry.of(found), None)


def _document(model_id: str, aliases: Any, profiles: Any, pool: str) -> dict[str, Any]:
    made = model_document(model_id)
    usual = made["profiles"]["default"]
    return {
        **made,
        "aliases": aliases,
        "pool": pool,
        "profiles": {name: {**usual, "backend": backend} for name, backend in profiles.items()},
    }


def routed(bundles: Any, backend: str, wanted: str | None) -> tuple[str, str]:
    """The code of an error, or the bundle."""
    can = {each for each, (_, backends) in bundles.items() if backend in backends}
    if wanted is None:
        best = min(can, key=lambda each: (bundles[each][0], each), default="")
        return ("", best) if best else ("BUNDLE_NOT_FOUND", "")
    if wanted not in bundles:
        return "BUNDLE_NOT_FOUND", ""
    return ("", wanted) if wanted in can else ("BUNDLE_ROUTING_CONFLICT", "")


def expected(models: Any, bundles: Any, pools: Any, spec: Any) -> tuple[str, ...]:
    """Model, profile, bundle and pool, or the code of what is wrong."""
    bundle, name, profile, pool = spec
    owners = [model_id for model_id in sorted(models) if name in models[model_id][0]]
    if name in models:
        model_id = name
    elif owners:
        model_id = owners[-1]
    else:
        return ("MODEL_NOT_FOUND",)
    _, profiles, own_pool = models[model_id]
    profile = profile or "default"
    if profile not in profiles:
        return ("PROFILE_NOT_FOUND",)
    code, bundle = routed(bundles, profiles[profile], bundle)
    if code:
        return (code,)
    if (pool or own_pool) not in pools:
        return ("POOL_NOT_FOUND",)
    return (model_id, profile, bundle, pool or own_pool)


@given(MODELS, BUNDLES, POOLS, st.lists(SPECS, min_size=1, max_size=12))
def test_what_a_client_names_is_found_or_refused_by_the_rules(models, bundles, pools, specs):
    resolver = resolver_of(models, bundles, pools)
    for spec in specs:
        bundle, name, profile, pool = spec
        text = (f"{bundle}:/" if bundle else "") + name + (f":{profile}" if profile else "")
        try:
            found = resolver.resolve(text, pool=pool)
            told: tuple[str, ...] = (
                found.model_id,
                found.profile,
                found.bundle,
                found.pool,
            )
        except FixRequest as error:
            told = (error.code,)
        assert told == expected(models, bundles, pools, spec), text


def test_an_adapter_in_the_place_of_a_profile_is_told_its_own_place() -> None:
    found = [
        Entity("model", "a", 1, canonical.dumps(_document("a", [], {"default": "other"}, "p")))
    ]
    source = {"type": "package", "package": "echo", "distribution": "echo", "version": "1"}
    adapter = {"model_id": "a", "name": "legal", "source": source}
    found.append(
        Entity("adapter", "a/legal", 1, canonical.dumps(admit_document("adapter", adapter)))
    )
    resolver = Resolver.of(Registry.of(found), None)
    with pytest.raises(FixRequest, match=r'"options": \{"lora": "legal"\}'):
        resolver.resolve("a:legal")
    with pytest.raises(FixRequest, match="it has: default"):
        resolver.resolve("a:other")
