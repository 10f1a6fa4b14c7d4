"""Laws of a draft: what a group of writes leaves is what each of them was told, and no more."""

import contextlib
from itertools import permutations
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sie_config.documents.moments import parse_ts
from sie_config.writer.draft import BasisMoved, Draft, Outcome, Seen, Tenure, Write
from sie_config.writer.rules import Command, Delete, Index, Put
from sie_core.registry import Registry
from sie_schemas.entry import Change, ChangeKind, Idempotency
from sie_schemas.entry import put as put_change
from sie_schemas.errors import FixRequest, SIEError

TENURE = Tenure("5e" * 16, 1, "w")
FIRST: dict[tuple[str, str], dict[str, Any]] = {
    ("bundle", "default"): {"backends": ["x", "y"]},
    ("bundle", "gpu"): {"backends": ["z"]},
    ("pool", "default"): {"note": 0},
    ("pool", "eu"): {"note": 0},
    ("model", "a"): {"pool": "default", "profiles": {"p": {"backend": "x"}}, "aliases": ["k"]},
    ("model", "b"): {"pool": "eu", "profiles": {"p": {"backend": "z"}}, "aliases": ["l"]},
    ("adapter", "a/legal"): {"model_id": "a", "name": "legal"},
}


def draft_of() -> Draft:
    """A log with an entry for each entity, as a group of writes finds it."""
    began = Draft(Registry.EMPTY, Index(), None, TENURE, 10**15)
    began.begin([Change(kind=ChangeKind.LOG_BEGIN)], actor="w", reason="")
    for (kind, key), document in FIRST.items():
        began.begin([put_change(kind, key, document)], actor="w", reason="")
    return Draft(began.registry, Index.of(began.registry), began.last, TENURE, 10**15)


def put(kind: str, key: str, document: dict[str, Any]) -> Put:
    return Put(kind, key, document, msgspec.json.encode(document, order="sorted"))


MODELS = st.builds(
    lambda key, pool, backend, aliases: put(
        "model",
        key,
        {"pool": pool, "profiles": {"p": {"backend": backend}}, "aliases": aliases},
    ),
    st.sampled_from("abc"),
    st.sampled_from(["default", "eu"]),
    st.sampled_from("xz"),
    st.sampled_from([["k"], ["l"], []]),
)
OTHERS = st.sampled_from([
    put("adapter", "a/legal", {"model_id": "a", "name": "legal"}),
    put("adapter", "c/new", {"model_id": "c", "name": "new"}),
    put("pool", "default", {"note": 1}),
    put("pool", "eu", {"note": 0}),
    put("bundle", "gpu", {"backends": ["z"]}),
    put("bundle", "gpu", {"backends": ["z", "y"]}),
])  # fmt: skip
DELETES = st.builds(
    Delete, st.sampled_from(["model", "pool", "bundle", "adapter"]), st.just("")
).flatmap(
    lambda each: st.builds(
        Delete,
        st.just(each.kind),
        st.sampled_from([key for kind, key in FIRST if kind == each.kind]),
    )
)
SAME = st.sampled_from([put(kind, key, document) for (kind, key), document in FIRST.items()])
NEW = put("model", "c", {"pool": "us", "profiles": {"p": {"backend": "new"}}, "aliases": []})
ROOM = put("pool", "us", {"note": 0}), put("bundle", "new", {"backends": ["new"]})
OF_NEW = put("adapter", "c/new", {"model_id": "c", "name": "new"})
STORIES: list[list[Command]] = [
    # Each refers to the ones before it.
    [*ROOM, NEW, OF_NEW],
    [OF_NEW, NEW, *ROOM],
    # Nothing comes of these in the end.
    [ROOM[0], Delete("pool", "us")],
    [put("pool", "eu", {"note": 9}), put("pool", "eu", FIRST["pool", "eu"])],
    [put("pool", "eu", FIRST["pool", "eu"])],
    # Of these the last one alone.
    [put("pool", "default", {"note": 0}), put("pool", "eu", {"note": 9})],
    # Of these the first one alone makes something.
    [ROOM[0], put("pool", "eu", {"note": 9})],
    [Delete("model", "a")],
    [Delete("adapter", "a/legal"), Delete("model", "a")],
]
COMMANDS = st.lists(
    st.one_of(MODELS, MODELS, OTHERS, DELETES, SAME), min_size=1, max_size=4
) | st.sampled_from(STORIES)


def write_of(commands: tuple[Command, ...], **more: Any) -> Write:
    return Write("me", "because", "", commands, **more)


WRITES = st.builds(
    write_of,
    COMMANDS.map(tuple),
    simultaneous=st.booleans(),
    dry_run=st.booleans(),
    idempotency=st.none() | st.just(Idempotency("key", "f" * 64)),
)


def tables(index: Index) -> tuple[object, ...]:
    adapters = {model: set(names) for model, names in index.adapters.items() if names}
    return dict(index.aliases), dict(index.backends), adapters, index.names().bundles


def documents(registry: Registry) -> dict[tuple[str, str], bytes]:
    return {(each.kind, each.key): each.document for each in registry}


def creates(before: Registry, commands: tuple[Command, ...]) -> bool:
    """True if one of these puts what is not there at its turn."""
    present = {(each.kind, each.key) for each in before}
    for each in commands:
        name = each.kind, each.key
        if isinstance(each, Put) and name not in present:
            return True
        present -= {name} if isinstance(each, Delete) else set()
    return False


def tried(draft: Draft, write: Write) -> Outcome | None:
    with contextlib.suppress(SIEError):
        return draft.trial(write) if write.dry_run else draft.write(write)
    return None


@given(st.lists(WRITES, min_size=1, max_size=4))
@settings(max_examples=100, deadline=None)
def test_each_write_is_judged_on_what_the_ones_before_it_left_and_told_what_came_of_it(writes):
    draft = draft_of()
    for write in writes:
        before, entries, keys = draft.registry, list(draft.entries), list(draft.keys)
        assert draft.last is not None
        head = draft.last
        outcome = tried(draft, write)
        # The index is that of the registry: of what was refused, tried or undone nothing stays.
        assert tables(draft._index) == tables(Index.of(draft.registry))
        if outcome is None or write.dry_run:
            assert (draft.registry, draft.last) == (before, head)
            assert (draft.entries, draft.keys) == (entries, keys)
        if outcome is None:
            continue
        after = outcome.after if write.dry_run else draft.registry
        assert after is not None
        differs = documents(before) != documents(after)
        assert outcome.changed is differs
        assert (outcome.entry.epoch, outcome.entry != head) == (head.epoch + differs, differs)
        touched = [(each.kind, each.key) for each in write.commands]
        there = [found for each in touched if (found := before.get(*each)) is not None]
        newest = max((each.modified_epoch for each in there), default=0)
        assert outcome.modified_epoch == (outcome.entry.epoch if differs else newest)
        assert outcome.created is (differs and creates(before, write.commands))
        if write.dry_run:
            assert not differs or outcome.entry.idempotency is None, "a trial uses up no key"
            continue
        assert draft.entries == entries + ([outcome.entry] if differs else [])
        if differs:
            entry = outcome.entry
            assert entry.idempotency == write.idempotency
            # Behind the clock too: `?at=TIME` searches by halves.
            assert parse_ts(entry.ts) > parse_ts(head.ts)
        made = draft.keys[len(keys) :]
        assert len(made) == (write.idempotency is not None)
        for row in made:
            assert (row.epoch, row.changed) == (outcome.entry.epoch, differs)
            assert (row.created, row.modified_epoch) == (outcome.created, outcome.modified_epoch)


@given(COMMANDS)
@settings(max_examples=100, deadline=None)
def test_simultaneous_commands_have_no_order_and_leave_nothing_that_refers_to_nothing(commands):
    found: set[str] = set()
    for order in list(permutations(commands))[:6]:
        draft = draft_of()
        outcome = tried(draft, write_of(order, simultaneous=True))
        found.add("refused" if outcome is None else draft.registry.digest)
        state = _by_kind(draft.registry)
        names = {key for key, _ in state["model"]}
        pools = {key for key, _ in state["pool"]}
        runs = {backend for _, each in state["bundle"] for backend in each["backends"]}
        assert {each["model_id"] for _, each in state["adapter"]} <= names
        assert {each["pool"] for _, each in state["model"]} <= pools
        used = {one["backend"] for _, each in state["model"] for one in each["profiles"].values()}
        assert used <= runs
        aliases = [alias for _, each in state["model"] for alias in each["aliases"]]
        assert len({*aliases, *names}) == len(aliases) + len(names)
    assert len(found) == 1


def _by_kind(registry: Registry) -> dict[str, list[tuple[str, Any]]]:
    found: dict[str, list[tuple[str, Any]]] = {kind: [] for kind, _ in FIRST}
    for each in registry:
        found[each.kind].append((each.key, msgspec.json.decode(each.document)))
    return found


@example(("pool", "none"), -1, "basis", False)
@given(
    st.sampled_from([*FIRST, ("pool", "none")]),
    st.sampled_from([-1, 0, 1]),
    st.sampled_from(["basis", "basis_epoch", "if_epoch"]),
    st.booleans(),
)
def test_a_write_that_rests_on_another_state_than_is_there_is_not_made(name, ago, belief, is_new):
    draft = draft_of()
    assert draft.last is not None
    entity, head = draft.registry.get(*name), draft.last.epoch
    # Of what is absent 0 is believed, and of a log that one knows nothing of its head is none.
    there = entity.modified_epoch if entity is not None else 0
    known = 0 if is_new else (there if belief == "basis" else head) - ago
    believed = (Seen(name[0], name[1], known),) if belief == "basis" else known
    write = write_of((put("pool", "eu", {"note": 5}),), **{belief: believed})
    if known == (there if belief == "basis" else head):
        assert draft.write(write).changed
        return
    refused = FixRequest if belief == "if_epoch" else BasisMoved
    with pytest.raises(refused) as caught:
        draft.write(write)
    assert caught.value.code == "PRECONDITION_FAILED"
    assert draft.last.epoch == head
