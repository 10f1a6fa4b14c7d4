"""Laws of the resolver: made by what changed, it is the one that is made anew."""

from hypothesis import given
from hypothesis import strategies as st

from sie_core.apply import ChangeRefused, preview
from sie_core.layered import Layered
from sie_core.registry import Registry
from sie_core.resolver import Resolver, misplaced
from sie_schemas.entry import delete, put
from sie_schemas.fleet import WorkerKind

KEYS = st.sampled_from(["a", "b", "c/d", "e", "f"])
DOCUMENTS = st.fixed_dictionaries(
    {}, optional={"aliases": st.lists(st.sampled_from(["x", "y", "z"]), max_size=2)}
)
KINDS = st.sampled_from(["model", "bundle", "pool", "adapter"])
CHANGES = st.lists(
    st.builds(put, KINDS, KEYS, DOCUMENTS) | st.builds(delete, KINDS, KEYS), min_size=1, max_size=4
)


def shown(resolver: Resolver) -> list[object]:
    """All that a reader can see."""
    aliases = [
        (alias, model_id)
        for model_id, document in sorted(resolver.models.items())
        for alias in document.get("aliases", ())
    ]
    return [
        sorted(resolver.models.items()),
        sorted(resolver.bundles.items()),
        sorted(resolver.pools.items()),
        sorted(resolver._parsed["adapter"].items()),
        dict(resolver._aliases) == dict(aliases),
    ]


@given(st.lists(CHANGES, max_size=8))
def test_a_resolver_made_by_what_changed_is_the_one_made_anew(history):
    registry = Registry.EMPTY
    resolver = Resolver.of(registry, None)
    for epoch, changes in enumerate(history, start=1):
        try:
            registry = preview(registry, changes, epoch)
        except ChangeRefused:
            continue
        resolver = Resolver.of(registry, None, resolver)
        assert shown(resolver) == shown(Resolver.of(registry, None))


@given(st.lists(CHANGES, max_size=6), st.lists(CHANGES, max_size=6))
def test_the_difference_of_two_registries_makes_one_of_the_other(history, other):
    found = []
    for changes_list in (history, other):
        registry = Registry.EMPTY
        for epoch, changes in enumerate(changes_list, start=1):
            try:
                registry = preview(registry, changes, epoch)
            except ChangeRefused:
                continue
        found.append(registry)
    older, newer = found
    difference = newer.difference(older)
    assert older.with_changes(difference) == newer
    assert all(older.get(*entity_id) != entity for entity_id, entity in difference.items())


@given(st.lists(st.dictionaries(KEYS, st.none() | st.integers(), max_size=4), max_size=20))
def test_a_map_in_two_layers_is_the_plain_one_after_the_same_changes(history):
    plain: dict[str, int] = {}
    layered: Layered[int] = Layered({}, {})
    for changes in history:
        before, was = layered, dict(plain)
        plain |= {key: value for key, value in changes.items() if value is not None}
        for key in [key for key, value in changes.items() if value is None]:
            plain.pop(key, None)
        layered = layered.with_changes(changes)

        assert layered == plain
        assert len(layered) == len(plain)
        assert [layered.get(key) for key in "abc"] == [plain.get(key) for key in "abc"]
        assert before == was


def test_a_map_that_has_grown_is_poured_together_and_forgets_what_went():
    layered: Layered[int] = Layered({}, {})
    for number in range(100):
        layered = layered.with_changes({f"{number}": number, f"{number - 1}": None})

    assert dict(layered) == {"99": 99}
    assert len(layered._lower) + len(layered._upper) < 40


NAMES = ["default", "night", "cpu", "l4", "gliner"]
PLACES = st.dictionaries(
    st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), min_size=1, unique=True), max_size=3
)


@given(
    pools=PLACES,
    bundles=st.sets(st.sampled_from(NAMES)),
    kind=st.tuples(*[st.sampled_from([*NAMES, "defualt", "nihgt"])] * 3),
)
def test_a_kind_of_worker_is_misplaced_where_no_job_can_name_it(pools, bundles, kind):
    changes = [put("pool", name, {"machine_profiles": names}) for name, names in pools.items()]
    changes += [put("bundle", name, {"backends": []}) for name in sorted(bundles)]
    resolver = Resolver.of(preview(Registry.EMPTY, changes, 1), None)
    pool, profile, bundle = kind
    wrong = misplaced(resolver, WorkerKind(*kind))
    can_be_named = profile in pools.get(pool, ()) and bundle in bundles
    assert (wrong == "") == can_be_named
    if pool == "defualt" and "default" in pools:
        assert "'defualt'; did you mean 'default'?" in wrong
