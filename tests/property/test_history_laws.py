"""Laws of history: differences, merge patches, batches, trials, exports, reverts and blame."""

import asyncio
import json
import random
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.support.config_writer import LOG_ID, NOW_US, TENURE, begun_log, put_model, write

from sie_config.documents.differences import (
    changes_between,
    escape,
    json_patch,
    registry_patch,
    same,
)
from sie_config.documents.merge_patch import merged
from sie_config.http.write_answers import entity_answer, models_met
from sie_config.past.blame import Traced, origins, trace
from sie_config.past.listing import Listing
from sie_config.upkeep.exports import Export, Exports
from sie_config.writer.draft import Draft, Outcome, Write
from sie_config.writer.reverting import revert_commands
from sie_config.writer.rules import Command, Delete, Expectation, Index, Put, etag
from sie_core.registry import Entity, Registry
from sie_schemas import canonical, snapshot
from sie_schemas.documents import admit_document
from sie_schemas.errors import FixRequest
from sie_testing.json_patching import as_json, patched
from sie_testing.stage.loop import SimulatedLoop
from sie_testing.strategies import json_values
from sie_testing.written_log import WrittenLog

PLURALS = {"model": "models", "adapter": "adapters", "bundle": "bundles", "pool": "pools"}


@given(json_values(), json_values())
def test_the_patch_of_two_values_turns_the_first_into_the_second(before, after):
    assert same(patched(before, json_patch(before, after)), after)
    assert json_patch(after, after) == []


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patches_do_what_rfc_7396_lists(target, patch, result):
    assert merged(target, patch) == result


def _pool(name: str, text: str) -> Put:
    document = admit_document("pool", {"name": name, "description": text})
    return Put("pool", name, document, canonical.dumps(document))


def _adapter(model_id: str, text: str) -> Put:
    source = {"type": "hub", "id": "org/lora", "revision": "1" * 40}
    given = {"model_id": model_id, "name": "legal", "source": source, "description": text}
    document = admit_document("adapter", given)
    return Put("adapter", f"{model_id}/legal", document, canonical.dumps(document))


def commands() -> st.SearchStrategy[Command]:
    ids, texts = st.sampled_from(["a", "org/b", "c"]), st.sampled_from(["", "x"])
    models = st.builds(
        lambda name, text, alias, pool: put_model(name, description=text, aliases=alias, pool=pool),
        ids,
        texts,
        st.sampled_from([[], ["x"], ["y"], ["c"]]),
        st.sampled_from(["default", "eu"]),
    )
    deletes = st.builds(
        Delete, st.just("model"), ids, st.sampled_from([Expectation(), Expectation(etags=("*",))])
    )
    others = (
        st.builds(_pool, st.just("eu"), texts)
        | st.builds(_adapter, ids, texts)
        | st.builds(lambda name: Delete("adapter", f"{name}/legal"), ids)
        | st.just(Delete("pool", "eu"))
    )
    return models | models | deletes | others


def continued(draft: Draft) -> Draft:
    """Another draft on the same state, with an index of its own."""
    return Draft(draft.registry, Index.of(draft.registry), draft.last, TENURE, NOW_US)


def documents(registry: Registry) -> dict[tuple[str, str], bytes]:
    return {(entity.kind, entity.key): entity.document for entity in registry}


def index_state(index: Index) -> dict[str, Any]:
    adapters = {model: names for model, names in index.adapters.items() if names}
    return {"aliases": index.aliases, "backends": index.backends, "adapters": adapters}


def grown(history: list[list[Command]]) -> tuple[Draft, list[Registry]]:
    """A log of these writes, those that are refused left out; the registry at each epoch."""
    draft = begun_log()
    registries = [draft.registry]
    for batch in history:
        try:
            draft.write(write(*batch))
        except FixRequest:
            continue
        registries.append(draft.registry)
    return draft, registries


def forced(*batch: Command) -> Write:
    """A write that the gate on many removals lets pass: one command alone never meets it."""
    return Write("a", "", "r", batch, forced="because")


histories = st.lists(st.lists(commands(), min_size=1, max_size=2), max_size=8)


@given(histories, st.lists(commands(), min_size=1, max_size=5))
def test_a_batch_is_taken_as_its_commands_one_after_another(history, batch):
    base, _ = grown(history)
    one_by_one, together = continued(base), continued(base)
    refused: FixRequest | None = None
    try:
        for command in batch:
            one_by_one.write(forced(command))
    except FixRequest as error:
        refused = error
    if refused is not None:
        with pytest.raises(FixRequest) as caught:
            together.write(forced(*batch))
        assert caught.value.code == refused.code
        assert together.registry == base.registry
    else:
        together.write(forced(*batch))
        assert documents(together.registry) == documents(one_by_one.registry)
        differs = documents(together.registry) != documents(base.registry)
        assert len(together.entries) == int(differs), "one entry, and none for nothing"
    assert index_state(together._index) == index_state(Index.of(together.registry))


def _met(trial: Outcome) -> set[str]:
    """The models that are named, that have the adapter, or that are left in the pool."""
    assert trial.after is not None
    changed = {(change.entity_kind, change.key) for change in trial.entry.changes}
    models = {each.key: json.loads(each.document)["pool"] for each in trial.after.of_kind("model")}
    return {
        *(key.removesuffix("/legal") for kind, key in changed if kind != "pool"),
        *(name for name, pool in models.items() if ("pool", pool) in changed),
    }


@given(histories, st.lists(commands(), min_size=1, max_size=4), st.booleans())
@example([[put_model("org/b")]], [_adapter("org/b", "")], False)
@example([[put_model("a")], [put_model("b")]], [put_model("a")], False)
def test_a_trial_foretells_the_write_and_leaves_no_trace(history, batch, simultaneous):
    draft, _ = grown(history)
    asked = Write("a", "", "r", tuple(batch), simultaneous=simultaneous)
    before = index_state(Index.of(draft.registry))
    try:
        foretold = draft.trial(asked)
    except FixRequest as error:
        assert index_state(draft._index) == before
        with pytest.raises(FixRequest) as caught:
            draft.write(asked)
        assert caught.value.code == error.code
        return
    assert index_state(draft._index) == before
    done = draft.write(asked)
    assert foretold.after is not None
    assert foretold.after.digest == draft.registry.digest
    assert (foretold.changed, foretold.created) == (done.changed, done.created)
    assert models_met(foretold) == sorted(_met(foretold) if foretold.changed else ())
    for command in batch[:1] if len(batch) == 1 else ():
        answer = entity_answer(
            command.kind, command.key, done, is_put=isinstance(command, Put), is_published=True
        )
        now = draft.registry.get(command.kind, command.key)
        # A write that changed nothing is answered with the ETag that a read has.
        tag = None if now is None else etag(LOG_ID, now.modified_epoch)
        assert answer.get("etag") == tag
    assert index_state(draft._index) == index_state(Index.of(draft.registry))


@given(histories, st.data())
def test_property_12_a_revert_brings_back_every_document_by_at_most_one_entry(history, data):
    """Property 12."""
    draft, registries = grown(history)
    then = data.draw(st.sampled_from(registries))
    differs = documents(then) != documents(draft.registry)
    length = len(draft.entries)
    commands_ = revert_commands(draft.registry, then, None)
    asked = Write("a", "", "r", commands_, forced="because", simultaneous=True)
    outcome = draft.write(asked)
    assert documents(draft.registry) == documents(then)
    assert (len(draft.entries) - length, outcome.changed) == (int(differs), differs)
    assert index_state(draft._index) == index_state(Index.of(draft.registry))


@given(histories, st.data())
def test_a_difference_and_its_revert_are_inverse(history, data):
    _, registries = grown(history)
    old, new = data.draw(st.sampled_from(registries)), data.draw(st.sampled_from(registries))
    there = registry_patch(changes_between(old, new))
    back = registry_patch(changes_between(new, old))
    assert patched(patched(as_json(old), there), back) == as_json(old)
    assert patched(as_json(old), there) == as_json(new)
    assert {(c.kind, c.key) for c in changes_between(old, new)} == {
        (command.kind, command.key) for command in revert_commands(new, old, None)
    }


SLOTS = st.tuples(st.sampled_from(["model", "pool"]), st.text("abc", min_size=1, max_size=2))


@given(
    st.lists(st.dictionaries(SLOTS, st.none() | st.integers(1, 2), max_size=4), max_size=8),
    st.integers(0, 4),
)
def test_a_listing_has_the_keys_of_the_registry_it_was_brought_to(rounds, many):
    listing, exports, registry = Listing(many=many), Exports(), Registry.EMPTY
    [entry] = WrittenLog().entries
    for changes in rounds:
        registry = registry.with_changes(
            {(k, name): e and Entity(k, name, e, b"{}") for (k, name), e in changes.items()}
        )
        assert set(listing.follow(registry)) <= set(changes)
        assert list(listing.ids()) == [(each.kind, each.key) for each in registry]
        keys = [each.key for each in registry.of_kind("model")]
        assert [*listing.keys_after("model", "b", limit=2)] == [k for k in keys if k > "b"][:2]
        # Rows that are kept make the bytes that a registry read anew makes.
        rows = [
            snapshot.encode_row(each.kind, each.key, each.modified_epoch, each.document)
            for each in registry
        ]
        made = exports._join(registry, (entry,), entry)
        assert made == snapshot.encode((entry,), entry, rows)
        assert len(exports._rows) == len(rows)


_GROWN = WrittenLog()
for _number in range(6):
    _GROWN.put("model", f"m{_number % 4}", {"number": _number})
_LINEAGE = tuple(_GROWN.entries[:1])


def _exported(epoch: int) -> bytes:
    """The bytes of the snapshot at an epoch, made of the whole registry."""
    rows = [
        snapshot.encode_row(each.kind, each.key, each.modified_epoch, each.document)
        for each in _GROWN.registries[epoch]
    ]
    return snapshot.encode(_LINEAGE, _GROWN.entries[epoch - 1], rows)


@given(
    seed=st.integers(0, 99),
    steps=st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.0, 0.0005, 0.003]),
            st.sampled_from(["write", "ask", "ask", "leave"]),
        ),
        max_size=14,
    ),
)
def test_an_export_is_of_one_epoch_never_older_than_its_request_and_made_once_for_all(seed, steps):
    loop = SimulatedLoop(random.Random(seed))  # type: ignore[abstract]
    log: Any = SimpleNamespace()

    def stand_at(epoch: int) -> None:
        log.registry, log.last = _GROWN.registries[epoch], _GROWN.entries[epoch - 1]
        log.lineage = _LINEAGE

    async def story() -> None:
        asked: list[tuple[int, asyncio.Task[Export]]] = []
        with closing(Exports()) as exports:
            for pause_s, what in steps:
                await asyncio.sleep(pause_s)
                if what == "write":
                    stand_at(min(log.last.epoch + 1, _GROWN.epoch))
                elif what == "ask":
                    asked.append((log.last.epoch, asyncio.create_task(exports.newest(log))))
                elif asked:
                    asked.pop(seed % len(asked))[1].cancel()
            await asyncio.sleep(0.1)
            for epoch, task in asked:
                found = task.result()
                assert found.epoch >= epoch
                assert found.hash == _GROWN.entries[found.epoch - 1].hash
                assert found.data == _exported(found.epoch)
            assert exports.rendered <= log.last.epoch, "none was made twice"
            made = exports.rendered
            newest = await exports.newest(log)
            assert newest is await exports.newest(log)
            assert newest.epoch == log.last.epoch
            assert exports.rendered - made <= 1

    stand_at(1)
    loop.run_until_complete(story())


FEW = st.integers(0, 1)
NESTED = st.fixed_dictionaries({"x": FEW, "y/~": FEW})
DOCUMENTS = st.dictionaries(st.sampled_from("ab"), json_values(), min_size=1) | st.dictionaries(
    st.sampled_from(["a", "~b/"]), FEW | NESTED, min_size=1
)
"""Of few values, so that in what changed something stayed."""


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Every leaf by its pointer. A list is a leaf; so is an empty object."""
    if not isinstance(value, dict) or not value:
        return {path: value}
    return {
        pointer: leaf
        for name, part in value.items()
        for pointer, leaf in leaves(part, f"{path}/{escape(name)}").items()
    }


@given(st.lists(st.none() | DOCUMENTS, min_size=1))
@settings(max_examples=50)
def test_blame_names_the_first_version_since_which_a_field_has_its_value(versions):
    traced: Traced[int] | None = None
    for number, version in enumerate(versions):
        traced = trace(traced, None if version is None else canonical.dumps(version), number)
    found = [] if traced is None else list(origins(traced))
    newest = {} if versions[-1] is None else leaves(versions[-1])
    assert {path: value for path, value, _ in found} == newest
    for path, value, since in found:
        holds = [
            document is not None and path in (at := leaves(document)) and same(at[path], value)
            for document in versions
        ]
        assert all(holds[since:])
        assert since == 0 or not holds[since - 1]


@given(histories, commands(), st.integers(0, 12))
def test_property_07_a_condition_holds_exactly_when_the_entity_is_there_at_that_epoch(
    history, command, epoch
):
    """Property 7: a write with If-Match is taken only on the version that it names."""
    draft, _ = grown(history)
    entity = draft.registry.get(command.kind, command.key)
    expects = Expectation(etags=(etag(LOG_ID, epoch),))
    guarded: Command = (
        Delete(command.kind, command.key, expects)
        if isinstance(command, Delete)
        else Put(command.kind, command.key, command.document, command.body, expects)
    )
    fits = entity is not None and entity.modified_epoch == epoch
    try:
        draft.write(write(guarded))
    except FixRequest as error:
        assert (error.code != "PRECONDITION_FAILED") is fits
    else:
        assert fits
