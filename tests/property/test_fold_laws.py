"""Laws of the fold, the digest and the chain."""

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sie_core.apply import ChangeRefused, apply, preview
from sie_core.chain import ChainBroken, check_successor
from sie_core.registry import Entity, Registry
from sie_schemas.entry import Change, Supersedes, build_entry
from sie_testing import strategies
from sie_testing.written_log import WrittenLog


def histories(max_entries: int = 12) -> st.SearchStrategy[WrittenLog]:
    """Logs with whatever of some lists of changes could be folded."""

    def write(lists: list[list[Change]]) -> WrittenLog:
        log = WrittenLog()
        log.begin_term()
        for changes in lists:
            with contextlib.suppress(ChangeRefused):
                log.append(changes)
        return log

    return st.lists(strategies.change_lists(), max_size=max_entries).map(write)


def naive(registry: Registry) -> dict[tuple[str, str], tuple[int, bytes]]:
    return {(e.kind, e.key): (e.modified_epoch, e.document) for e in registry}


@given(histories())
def test_the_fold_agrees_with_a_naive_one_at_every_epoch(log):
    registry = Registry.EMPTY
    for entry in log.entries:
        registry = apply(registry, entry)

        assert naive(registry) == log.state_at(entry.epoch)
        assert len(registry) == len(log.state_at(entry.epoch))
        assert registry.digest == entry.state_digest


@given(histories(), strategies.change_lists())
def test_a_refusal_leaves_no_trace(log, changes):
    registry = log.registries[-1]
    before, digest = naive(registry), registry.digest

    with contextlib.suppress(ChangeRefused):
        preview(registry, changes, log.epoch + 1)

    assert naive(registry) == before
    assert registry.digest == digest


@given(histories(), st.randoms())
def test_the_digest_does_not_depend_on_the_order_in_which_entities_came(log, random):
    entities = list(log.registries[-1])
    random.shuffle(entities)

    one_by_one = Registry.EMPTY
    for entity in entities:
        one_by_one = one_by_one.with_changes({(entity.kind, entity.key): entity})

    assert one_by_one.digest == log.registries[-1].digest
    assert Registry.of(entities).digest == log.registries[-1].digest


@given(histories(), st.data())
def test_the_digest_does_not_depend_on_when_it_was_asked_for_before(log, data):
    registry = Registry.EMPTY
    made = []
    for entry in log.entries:
        registry = apply(registry, entry)
        made.append((registry, entry.state_digest))
        if data.draw(st.booleans()):
            assert registry.digest == entry.state_digest

    # The older ones are still what they were, whatever was made of them.
    for registry, digest in data.draw(st.permutations(made)):
        assert registry.digest == digest == registry.recounted()


@given(histories(), st.data())
def test_the_digest_changes_with_every_field_of_every_entity(log, data):
    registry = log.put("model", "a", {"x": 1}) and log.registries[-1]
    entity = data.draw(st.sampled_from(list(registry)))
    kind, key, epoch, document = entity.kind, entity.key, entity.modified_epoch, entity.document
    other = data.draw(
        st.sampled_from(
            [
                Entity(kind, key, epoch + 1, document),
                Entity(kind, key, epoch, document + b" "),
                Entity(kind, key, epoch, document[:-1]),
            ]
        )
    )

    assert registry.with_changes({(kind, key): other}).digest != registry.digest
    assert registry.with_changes({(kind, key): None}).digest != registry.digest


def test_moving_bytes_between_the_fields_of_a_leaf_changes_it():
    leaves = {
        Entity("model", "ab", 1, b"c").leaf,
        Entity("model", "a", 1, b"bc").leaf,
        Entity("modela", "b", 1, b"c").leaf,
        Entity("model", "ab", 11, b"c").leaf,
    }

    assert len(leaves) == 4


@given(histories(), st.data())
def test_the_difference_of_two_registries_is_what_one_lacks_of_the_other(log, data):
    places = st.integers(0, len(log.registries) - 1)
    older, newer = (log.registries[data.draw(places)] for _ in range(2))
    before, after = naive(older), naive(newer)
    found = newer.difference(older)
    assert {
        name: None if each is None else (each.modified_epoch, each.document)
        for name, each in found.items()
    } == {
        name: after.get(name)
        for name in before.keys() | after.keys()
        if before.get(name) != after.get(name)
    }
    assert (newer == older) == (before == after)
    # An entity is its contents, whichever registry it is of.
    for one in older:
        for other in newer:
            same = (one.kind, one.key) == (other.kind, other.key)
            assert (one == other) == (
                same and before[one.kind, one.key] == after[one.kind, one.key]
            )


@given(histories(), st.data())
def test_a_snapshot_and_the_deltas_after_it_give_the_later_snapshot(log, data):
    early = data.draw(st.integers(1, log.epoch))
    late = data.draw(st.integers(early, log.epoch))
    snapshot = log.snapshot(early)
    registry = Registry.of(
        Entity(row.kind, row.key, row.modified_epoch, bytes(row.document))
        for row in snapshot.entities
    )
    for entry in log.entries[early:late]:
        registry = apply(registry, entry)

    assert naive(registry) == naive(log.registries[late])
    assert registry.digest == log.snapshot(late).entry.state_digest
    assert log.snapshot_bytes(late) == log.snapshot_bytes(late)


@given(histories())
def test_only_the_linked_entry_may_follow_a_position(log):
    for before, after in zip(log.entries, log.entries[1:], strict=False):
        check_successor(log.position_at(before.epoch), after)
        for other in log.entries:
            if other is not after:
                with pytest.raises(ChainBroken):
                    check_successor(log.position_at(before.epoch), other)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"epoch": 9}, "does not follow"),
        ({"prev_hash": "f" * 64}, "linked to another"),
        ({"term": 0}, "after term"),
        ({"log_id": "f" * 32}, "without beginning"),
        ({"changes": [Change(kind="log.begin")]}, "without beginning"),
    ],
)
def test_an_entry_that_is_wrong_in_one_field_does_not_follow(change, complaint):
    log = WrittenLog()
    log.begin_term()
    log.begin_term()
    good = msgspec.structs.asdict(log.put("model", "m", {}))
    fields = {name: good[name] for name in good if name not in {"body", "hash", "v", "signature"}}
    bad = build_entry(**fields | change)

    with pytest.raises(ChainBroken, match=complaint):
        check_successor(log.position_at(log.epoch - 1), bad)


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": 2},
        {"prev_hash": "f" * 64},
        {"changes": [Change(kind="term.begin")]},
        {"changes": [Change(kind="log.begin", supersedes=Supersedes("f" * 32, 1, "f" * 64))]},
    ],
)
def test_an_entry_that_is_wrong_in_one_field_begins_no_log(change):
    good = msgspec.structs.asdict(WrittenLog().entries[0])
    fields = {name: good[name] for name in good if name not in {"body", "hash", "v", "signature"}}

    with pytest.raises(ChainBroken):
        check_successor(None, build_entry(**fields | change))


def test_an_heir_that_supersedes_nothing_does_not_follow():
    old = WrittenLog("old")
    good = msgspec.structs.asdict(WrittenLog("heir", base=old).entries[-1])
    fields = {name: good[name] for name in good if name not in {"body", "hash", "v", "signature"}}

    with pytest.raises(ChainBroken, match="does not supersede"):
        heir = build_entry(**fields | {"changes": [Change(kind="log.begin")]})
        check_successor(old.position_at(old.epoch), heir)


def test_a_log_is_begun_at_epoch_one_and_superseded_only_by_its_own_heir():
    old, stranger = WrittenLog("old"), WrittenLog("stranger")
    old.put("model", "m", {})
    stranger.put("model", "m", {})
    heir = WrittenLog("heir", base=old)

    check_successor(None, old.entries[0])
    check_successor(old.position_at(old.epoch), heir.entries[-1])
    with pytest.raises(ChainBroken):
        check_successor(stranger.position_at(stranger.epoch), heir.entries[-1])
    with pytest.raises(ChainBroken):
        check_successor(None, old.entries[1])


@pytest.mark.parametrize("kind", ["rollout.start", "model.patch", "secret.put", "", "."])
def test_an_unknown_kind_of_change_is_refused_as_unknown(kind):
    with pytest.raises(ChangeRefused) as caught:
        preview(Registry.EMPTY, [Change(kind=kind, key="x")], 1)

    assert caught.value.unknown_kind


@pytest.mark.parametrize("key", ["", "a\0b", "k" * 600, "é" * 300])
def test_an_unusable_key_is_refused(key):
    with pytest.raises(ChangeRefused, match="key"):
        preview(Registry.EMPTY, [Change(kind="model.delete", key=key)], 1)


def test_a_put_without_a_document_is_refused():
    with pytest.raises(ChangeRefused, match="no document"):
        preview(Registry.EMPTY, [Change(kind="model.put", key="m")], 1)


def test_a_later_change_of_an_entry_sees_what_an_earlier_one_did():
    from sie_schemas.entry import delete, put

    registry = preview(
        Registry.EMPTY, [put("model", "m", {}), delete("model", "m"), put("model", "n", {})], 1
    )

    assert [entity.key for entity in registry] == ["n"]
    with pytest.raises(ChangeRefused):
        preview(Registry.EMPTY, [put("model", "m", {}), *[delete("model", "m")] * 2], 1)
