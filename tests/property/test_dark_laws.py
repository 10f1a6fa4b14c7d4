"""Laws of going dark: a model is named exactly when a live worker served it before and none after.

The oracle shares no code with the rule: it goes over plain documents.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from sie_config.writer.dark import Live, Names, going_dark, unserved
from sie_core.apply import ChangeRefused, preview
from sie_core.registry import Registry
from sie_core.resolver import Resolver
from sie_schemas.entry import Change, delete, put

NAMES = ["a", "b"]
KNOWN = Names(frozenset(NAMES), {})
BACKENDS = st.lists(st.sampled_from(["x", "y"]), min_size=1, max_size=2, unique=True)
MACHINES = st.lists(st.sampled_from(["cpu", "l4"]), min_size=1, max_size=2, unique=True)
MODELS = st.builds(
    lambda pool, profiles: {
        "pool": pool,
        "tasks": {"encode": {}},
        "source": {"type": "path", "path": "/m"},
        "profiles": {name: {"backend": backend} for name, backend in profiles.items()},
    },
    st.sampled_from(NAMES),
    st.dictionaries(st.sampled_from(["default", "fast"]), st.sampled_from(["x", "y"]), min_size=1),
)
BUNDLES = st.builds(
    lambda backends, priority: {"backends": backends, "priority": priority},
    BACKENDS,
    st.integers(1, 3),
)
POOLS = st.builds(lambda machines: {"machine_profiles": machines}, MACHINES)
DOCUMENTS = {"model": MODELS, "bundle": BUNDLES, "pool": POOLS}
KEYS = st.sampled_from(NAMES)
CHANGES = st.sampled_from(["model", "bundle", "pool"]).flatmap(
    lambda kind: (
        st.builds(put, st.just(kind), KEYS, DOCUMENTS[kind])
        | st.builds(delete, st.just(kind), KEYS)
    )
)
PLACES = st.frozensets(st.tuples(KEYS, st.sampled_from(["cpu", "l4"]), KEYS), max_size=4)


def _folded(registry: Registry, changes: list[Change], epoch: int) -> Registry:
    for change in changes:
        try:
            registry = preview(registry, [change], epoch)
        except ChangeRefused:
            continue
    return registry


def _documents(registry: Registry) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {"model": {}, "bundle": {}, "pool": {}}
    for entity in registry:
        found[entity.kind][entity.key] = msgspec.json.decode(entity.document)
    return found


def _served(documents: Mapping[str, Any], places: frozenset[tuple[str, str, str]]) -> set[str]:
    """Every `id:profile` that some place runs, by trying all of them."""
    served = set()
    for model_id, model in documents["model"].items():
        for profile, how in model["profiles"].items():
            able = [
                (bundle["priority"], name)
                for name, bundle in documents["bundle"].items()
                if how["backend"] in bundle["backends"]
            ]
            for pool, machine, bundle in places:
                pool_document = documents["pool"].get(pool)
                if (
                    pool == model["pool"]
                    and pool_document is not None
                    and machine in pool_document["machine_profiles"]
                    and able
                    and min(able)[1] == bundle
                ):
                    served.add(f"{model_id}:{profile}")
    return served


@given(
    st.lists(CHANGES, max_size=10),
    st.lists(CHANGES, min_size=1, max_size=4),
    PLACES,
    st.frozensets(KEYS),
)
def test_what_is_used_goes_dark_exactly_when_it_was_served_and_is_not(first, second, places, used):
    before = _folded(Registry.EMPTY, first, 1)
    after = _folded(before, second, 2)
    touched = [(change.entity_kind, change.key) for change in second]
    live = Live(places, asked=dict.fromkeys(used, "just now"))
    found = going_dark(before, after, touched, lambda: live, lambda: KNOWN)
    lost = _served(_documents(before), places) - _served(_documents(after), places)
    asked = {each.name for each in found if each.asked}
    assert asked == {name for name in lost if name.partition(":")[0] in used}
    # What nobody asks for is named only where it has no place left at all.
    nowhere = unserved(Resolver.of(after, None), sorted(NAMES), Live(anywhere=True))
    assert {each.name for each in found if not each.asked} <= {each.name for each in nowhere}


@given(st.lists(CHANGES, max_size=10), PLACES)
def test_a_change_of_nothing_darkens_nothing_and_a_worker_of_an_older_release_may_be_anywhere(
    changes, places
):
    registry = _folded(Registry.EMPTY, changes, 1)
    touched = [(entity.kind, entity.key) for entity in registry]
    live = Live(places, asked=dict.fromkeys(NAMES, "just now"))
    assert going_dark(registry, registry, touched, lambda: live, lambda: KNOWN) == ()
    found = unserved(Resolver.of(registry, None), NAMES, Live(anywhere=True))
    assert all(each.pool is None for each in found), "only what resolves to nothing"
    served = _served(_documents(registry), places)
    told = {each.name for each in unserved(Resolver.of(registry, None), NAMES, Live(places))}
    everything = {
        f"{key}:{profile}"
        for key, model in _documents(registry)["model"].items()
        for profile in model["profiles"]
    }
    assert told == everything - served
