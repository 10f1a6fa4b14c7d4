"""Laws of the revisions that a worker may be asked for: the very one that a job names, or none."""

from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.support.worker_world import LOG_ID, model_document

from sie_core.chain import Position
from sie_core.registry import Entity, Registry
from sie_core.resolver import Resolver
from sie_schemas import canonical
from sie_schemas.documents import admit_document
from sie_schemas.jobs import AdapterPin
from sie_worker.jobs.revisions import KnownRevisions

KEEP_S = 10.0
RESOLVERS_MAX = 4
BASE = {
    "bundle": {"default": admit_document("bundle", {"name": "default", "backends": ["scripted"]})},
    "pool": {"default": admit_document("pool", {"name": "default"})},
}
PACKAGE: Mapping[str, Any] = {"type": "package", "package": "p", "distribution": "p"}


def resolver(cost_max: int | None, version: str | None) -> Resolver:
    """A registry with a model, its adapter, both or none: by what makes their revisions."""
    documents: dict[str, dict[str, Any]] = {kind: dict(found) for kind, found in BASE.items()}
    if cost_max is not None:
        documents["model"] = {"org/a": model_document("org/a", cost_max=cost_max)}
        if version is not None:
            source = {**PACKAGE, "version": version}
            adapter = {"model_id": "org/a", "name": "legal", "source": source}
            documents["adapter"] = {"org/a/legal": admit_document("adapter", adapter)}
    registry = Registry.of(
        Entity(kind, key, 1, canonical.dumps(document))
        for kind, found in documents.items()
        for key, document in found.items()
    )
    return Resolver.of(registry, Position(LOG_ID, 1, "0" * 64, registry.digest, 1))


COSTS = (None, 1, 2, 3, 4, 5)
VERSIONS = (None, "1", "2")
RESOLVERS = {(cost, version): resolver(cost, version) for cost in COSTS for version in VERSIONS}
MODELS = {cost: RESOLVERS[cost, None].resolve("org/a") for cost in COSTS if cost is not None}
ADAPTERS = {
    version: RESOLVERS[1, version].adapter("org/a", "legal") for version in VERSIONS if version
}
STEPS = st.lists(
    st.tuples(st.sampled_from([0.0, 4.0, 6.0, 11.0]), st.sampled_from(sorted(RESOLVERS, key=str))),
    min_size=1,
    max_size=12,
)


@given(STEPS, st.floats(0, 12))
def test_a_job_runs_at_the_very_revision_that_it_names_as_long_as_that_is_kept(steps, later_s):
    known = KnownRevisions(keep_s=KEEP_S, resolvers_max=RESOLVERS_MAX)
    assert known.current is None
    assert known.model("org/a", "default", MODELS[1].revision) is None
    now = 0.0
    replaced: list[tuple[float, Any]] = []
    current: Any = None
    for pause_s, key in steps:
        now += pause_s
        if current is not None:
            replaced = [*replaced, (now, current)][-RESOLVERS_MAX:]
        current = key
        known.advance(RESOLVERS[key], now)
        assert known.current is RESOLVERS[key]
    now += later_s
    known.forget(now)
    there = {current, *(key for at, key in replaced if now - at < KEEP_S)}
    for cost, model in MODELS.items():
        found = known.model("org/a", "default", model.revision)
        assert (found is not None) == any(key[0] == cost for key in there)
        assert found is None or (found.revision, found.full_name) == (
            model.revision,
            model.full_name,
        )
        assert known.is_current("org/a", model.revision) is (current[0] == cost)
    for version, adapter in ADAPTERS.items():
        wanted = AdapterPin(name="legal", revision=adapter.revision)
        kept = known.adapter("org/a", wanted)
        assert (kept is not None) == any(key[0] and key[1] == version for key in there)
        assert kept is None or kept.revision == adapter.revision
        is_now = bool(current[0]) and current[1] == version
        assert known.is_current("org/a+legal", adapter.revision) is is_now
        assert known.is_current("org/a:default+legal", adapter.revision) is is_now
        assert known.adapter("org/a", AdapterPin(name="other", revision=adapter.revision)) is None
        # One's revision is nobody else's.
        assert not known.is_current("org/a", adapter.revision)
    assert known.model("org/a", "other", MODELS[1].revision) is None
