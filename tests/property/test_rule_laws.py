"""Laws of the rules: a command is refused for what is there, as a naive reading of it says."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sie_cli.models.bases import judged
from sie_cli.models.examining import Found, Wanted
from sie_cli.models.proposal import Proposal
from sie_config.writer.rules import (
    Command,
    Delete,
    Expectation,
    Index,
    Put,
    absent,
    admit,
    etag,
)
from sie_core.backend_options import BACKEND_OPTIONS, takes_adapters
from sie_core.registry import Entity, Registry
from sie_schemas.errors import FixRequest

LOG = "5e" * 16
MODELS = st.sampled_from(["a", "a", "b", "b", "c", "k", "org/history"])
POOLS = st.sampled_from(["default", "default", "default", "eu", "blame"])
BACKENDS = st.sampled_from(["x", "x", "x", "y", "z", "echo", "gliner", "transformer"])
"""Most of what is drawn may be written: a rule is met where the ones before it let pass."""
State = dict[tuple[str, str], tuple[int, dict[str, Any]]]
"""(kind, key) -> (modified epoch, document)."""


def put(kind: str, key: str, document: dict[str, Any]) -> Put:
    return Put(kind, key, document, msgspec.json.encode(document, order="sorted"))


@st.composite
def commands(draw: st.DrawFn) -> Command:
    kind = draw(st.sampled_from(["model", "model", "model", "adapter", "bundle", "bundle", "pool"]))
    if kind == "model":
        document: dict[str, Any] = {
            "pool": draw(POOLS),
            "profiles": {
                name: {"backend": draw(BACKENDS)} for name in draw(st.sampled_from(["p", "pq"]))
            },
        }
        aliases = draw(st.lists(st.sampled_from(["b", "k", "l", "m", "n"]), max_size=2))
        if draw(st.booleans()) or aliases:
            document["aliases"] = aliases
        made = put(kind, draw(MODELS), document)
    elif kind == "adapter":
        model = draw(MODELS)
        name = draw(st.sampled_from(["legal", "medical", "status"]))
        made = put(kind, f"{model}/{name}", {"model_id": model, "name": name})
    elif kind == "bundle":
        backends = draw(st.lists(BACKENDS, unique=True, max_size=2))
        made = put(kind, draw(st.sampled_from(["default", "gpu"])), {"backends": backends})
    else:
        made = put(kind, draw(POOLS), {"note": draw(st.integers(0, 1))})
    return made if draw(st.integers(0, 3)) else Delete(made.kind, made.key)


BELIEFS = st.sampled_from([*[""] * 9, "absent", "*", "right", "wrong", "one of two", "both"])
"""Mostly none: what is refused for a belief meets no other rule."""


def believing(command: Command, belief: str, state: State) -> Command:
    """The command, and what its client takes for granted."""
    here = state.get((command.kind, command.key), (7, {}))[0]
    right, wrong = etag(LOG, here), etag(LOG, here + 1)
    expects = {
        "": Expectation(),
        "absent": Expectation(absent=True),
        "*": Expectation(("*",)),
        "right": Expectation((right,)),
        "wrong": Expectation((wrong,)),
        "one of two": Expectation((wrong, right)),
        "both": Expectation((right,), absent=True),
    }[belief]
    return replace(command, expects=expects)


def refusals(state: State, command: Command, *, forced: bool) -> Iterator[tuple[str, str | None]]:
    """Every code and field that a command could be refused by, the first one first."""
    slot = (command.kind, command.key)
    here = state.get(slot)
    tags = command.expects.etags
    if command.expects.absent and here is not None:
        yield "PRECONDITION_FAILED", None
    if tags is not None and (here is None or not {"*", etag(LOG, here[0])} & set(tags)):
        yield "PRECONDITION_FAILED", None
    if isinstance(command, Delete):
        if here is None:
            yield f"{command.kind.upper()}_NOT_FOUND", None
        yield from refused_deletes(state, command, forced=forced)
    elif here is None or here[1] != command.document:
        yield from refused_puts(state, command)


def refused_puts(state: State, command: Put) -> Iterator[tuple[str, str | None]]:
    if command.key.split("/")[-1] in ("blame", "history", "status"):
        yield "VALIDATION_ERROR", "model_id" if command.kind == "model" else "name"
    if command.kind == "adapter" and ("model", command.document["model_id"]) not in state:
        yield "MODEL_NOT_FOUND", "model_id"
    elif command.kind == "adapter" and adds_refuse(state, command.document["model_id"]):
        yield "VALIDATION_ERROR", "model_id"
    if command.kind == "model":
        yield from refused_places(state, command)
        yield from refused_names(state, command)
        after = {**state, ("model", command.key): (0, dict(command.document))}
        adapters = of_kind(state, "adapter").values()
        mine = [each for each in adapters if each["model_id"] == command.key]
        if mine and adds_refuse(after, command.key):
            yield "ENTITY_CONFLICT", "profiles"


def adds_refuse(state: State, model_id: str) -> bool:
    """True if `sie add` refuses an adapter of this model for the backends of its profiles."""
    found = Found(Proposal(kind="adapter", base=model_id), {}, "tuned")
    told = judged(found, Wanted("tuned", adapter_of=model_id), of_kind(state, "model").get)
    return any("takes no adapters" in str(each) for each in told.proposal.refusals)


def refused_places(state: State, command: Put) -> Iterator[tuple[str, str | None]]:
    runnable = [b for each in of_kind(state, "bundle").values() for b in each["backends"]]
    for name, profile in command.document["profiles"].items():
        if profile["backend"] not in runnable:
            yield "VALIDATION_ERROR", f"profiles.{name}.backend"
    if ("pool", command.document["pool"]) not in state:
        yield "VALIDATION_ERROR", "pool"


def refused_names(state: State, command: Put) -> Iterator[tuple[str, str | None]]:
    others = {key: each for key, each in of_kind(state, "model").items() if key != command.key}
    taken = {alias for each in others.values() for alias in each.get("aliases", ())}
    if command.key in taken:
        yield "ENTITY_CONFLICT", "model_id"
    aliases = command.document.get("aliases", ())
    for place, alias in enumerate(aliases):
        if alias == command.key or alias in aliases[:place]:
            yield "VALIDATION_ERROR", f"aliases.{place}"
        if alias in others or alias in taken:
            yield "ENTITY_CONFLICT", f"aliases.{place}"


def refused_deletes(
    state: State, command: Delete, *, forced: bool
) -> Iterator[tuple[str, str | None]]:
    models = of_kind(state, "model")
    adapters = of_kind(state, "adapter").values()
    if command.kind == "model" and any(each["model_id"] == command.key for each in adapters):
        yield "ENTITY_CONFLICT", None
    users = {
        "pool": [name for name, each in models.items() if each["pool"] == command.key],
        "bundle": users_of_bundle(state, command.key),
    }
    if users.get(command.kind) and not forced:
        yield "FORCE_REQUIRED", "X-SIE-Force"


def users_of_bundle(state: State, key: str) -> list[str]:
    """The models with a profile that no other bundle runs."""
    bundles = of_kind(state, "bundle")
    others = [b for name, each in bundles.items() if name != key for b in each["backends"]]
    models = of_kind(state, "model")
    return sorted(
        name
        for name, each in models.items()
        if not all(profile["backend"] in others for profile in each["profiles"].values())
    )


def of_kind(state: State, kind: str) -> dict[str, dict[str, Any]]:
    return {key: document for (each, key), (_, document) in state.items() if each == kind}


def registry_of(state: State) -> Registry:
    return Registry.of(
        Entity(kind, key, epoch, msgspec.json.encode(document, order="sorted"))
        for (kind, key), (epoch, document) in state.items()
    )


def tables(index: Index) -> tuple[object, ...]:
    """All that an index knows, as it is now."""
    adapters = {model: set(names) for model, names in index.adapters.items() if names}
    return dict(index.aliases), dict(index.backends), adapters, index.names().bundles


def fold(state: State, index: Index, command: Command, epoch: int) -> None:
    document = command.document if isinstance(command, Put) else None
    index.update(command.kind, command.key, document)
    state.pop((command.kind, command.key), None)
    if document is not None:
        state[command.kind, command.key] = (epoch, dict(document))


def begun() -> tuple[State, Index]:
    """A state in which something may be written, and its index."""
    state: State = {
        ("bundle", "default"): (1, {"backends": ["x", "y", "echo", "gliner", "transformer"]}),
        ("pool", "default"): (1, {"note": 0}),
        ("model", "a"): (1, {"pool": "default", "profiles": {}, "aliases": ["k", "n"]}),
        ("adapter", "a/legal"): (1, {"model_id": "a", "name": "legal"}),
    }
    return state, Index.of(registry_of(state))


STEPS = st.lists(st.tuples(commands(), BELIEFS, st.booleans()), max_size=25)


@given(STEPS)
def test_a_command_is_refused_by_the_first_rule_that_it_breaks_and_else_folded(steps):
    state, index = begun()
    for epoch, (drawn, belief, forced) in enumerate(steps, 2):
        command = believing(drawn, belief, state)
        registry = registry_of(state)
        expected = next(refusals(state, command, forced=forced), None)
        here = state.get((command.kind, command.key))
        try:
            admitted = admit(registry, index, LOG, command, forced=forced)
        except FixRequest as error:
            assert (error.code, error.field) == expected, error.message
            check_words(error, state, command)
            continue
        assert expected is None, f"{command} is refused by nobody"
        assert admitted.created == (here is None)
        is_same = isinstance(command, Put) and here is not None and here[1] == command.document
        assert admitted.changed != is_same
        if admitted.changed:
            fold(state, index, command, epoch)
        assert tables(index) == tables(Index.of(registry_of(state)))


def check_words(error: FixRequest, state: State, command: Command) -> None:
    """A refusal says what is there, and who is in the way."""
    here = state.get((command.kind, command.key))
    if error.code == "PRECONDITION_FAILED":
        wanted: dict[str, Any] = {"etag": None}
        if here is not None:
            wanted = {
                "etag": etag(LOG, here[0]),
                "modified_epoch": here[0],
                "document": here[1],
            }
        assert error.details == wanted
        assert (wanted["etag"] or "exist") in error.message or command.expects.absent
    if error.code == "FORCE_REQUIRED":
        users = users_of_bundle(state, command.key)
        if command.kind == "pool":
            models = of_kind(state, "model")
            users = sorted(name for name, each in models.items() if each["pool"] == command.key)
        assert error.details == {"models": users}
        assert all(name in error.message for name in users[:5])
    if error.code == "VALIDATION_ERROR":
        check_choices(error, state)
        assert error.details == [{"path": error.field, "message": error.message}]


def check_choices(error: FixRequest, state: State) -> None:
    """A refusal of a name that is not there tells those that are."""
    bundles = of_kind(state, "bundle").values()
    if error.field == "pool":
        known = ", ".join(sorted(of_kind(state, "pool"))) or "none"
        assert error.message.endswith(f"there are: {known}")
    if str(error.field).endswith(".backend"):
        runnable = ", ".join(sorted({b for each in bundles for b in each["backends"]}))
        assert error.message.endswith(f"bundles run: {runnable or 'none'}")


def test_a_command_takes_nothing_for_granted_unless_it_says_so():
    assert put("pool", "p", {}).expects == Delete("pool", "p").expects == Expectation(None, False)
    assert Expectation() == Expectation(etags=None, absent=False)


@given(STEPS, st.lists(commands(), max_size=6))
def test_what_was_tried_is_taken_out_of_the_index_again(steps, tried):
    state, index = begun()
    for epoch, (command, _, _) in enumerate(steps, 2):
        if next(refusals(state, command, forced=True), None) is None:
            fold(state, index, command, epoch)
    registry = registry_of(state)
    before = tables(index)
    after, touched = dict(state), []
    for command in tried:
        if next(refusals(after, command, forced=True), None) is None:
            fold(after, index, command, 99)
            touched.append((command.kind, command.key))

    names = index.names(touched)
    bundles = of_kind(after, "bundle").keys() | {key for kind, key in touched if kind == "bundle"}
    assert names.bundles == bundles
    index.restore(touched, registry)

    assert tables(index) == before


def test_a_refusal_of_a_crowd_names_five_of_it_and_lists_a_hundred():
    names = [f"m{number:03d}" for number in range(103)]
    state: State = {("pool", "eu"): (1, {})}
    state |= {("model", name): (1, {"pool": "eu", "profiles": {}}) for name in names}
    registry = registry_of(state)

    with pytest.raises(FixRequest) as caught:
        admit(registry, Index.of(registry), LOG, Delete("pool", "eu"))

    assert caught.value.message.count("m0") == 5
    assert caught.value.details == {"models": names[:100]}
    assert admit(registry, Index.of(registry), LOG, Delete("pool", "eu"), forced=True).changed


@pytest.mark.parametrize(("aliases", "field"), [(["c"], "aliases.0"), (["l", "l"], "aliases.1")])
def test_a_model_has_each_of_its_names_once(aliases, field):
    state, index = begun()
    command = put("model", "c", {"pool": "default", "profiles": {}, "aliases": aliases})
    with pytest.raises(FixRequest, match="given twice") as caught:
        admit(registry_of(state), index, LOG, command)
    assert caught.value.field == field


def test_a_bundle_is_needed_where_no_other_one_runs_a_backend():
    state, _ = begun()
    state["model", "b"] = (2, {"pool": "default", "profiles": {"p": {"backend": "x"}}})
    command = Delete("bundle", "default")
    registry = registry_of(state)
    with pytest.raises(FixRequest, match="is needed by: b"):
        admit(registry, Index.of(registry), LOG, command)

    state["bundle", "gpu"] = (3, {"backends": ["x"]})
    registry = registry_of(state)
    assert admit(registry, Index.of(registry), LOG, command).changed


@pytest.mark.parametrize("backend", BACKEND_OPTIONS)
def test_an_adapter_is_over_a_model_and_a_model_under_its_adapters_as_adding_has_it(backend):
    state, _ = begun()
    state["bundle", "default"] = (1, {"backends": [backend, "transformer"]})
    given = {"pool": "default", "profiles": {"p": {"backend": backend}}}
    state["model", "b"] = (2, given)
    over = put("adapter", "b/new", {"model_id": "b", "name": "new"})
    under = put("model", "a", given)
    refused = adds_refuse(state, "b")
    assert refused == (takes_adapters(backend) is False)
    for command, field in ((over, "model_id"), (under, "profiles")):
        registry = registry_of(state)
        if not refused:
            assert admit(registry, Index.of(registry), LOG, command).changed
            continue
        with pytest.raises(FixRequest, match=backend) as caught:
            admit(registry, Index.of(registry), LOG, command)
        assert caught.value.field == field


def test_an_adapter_that_a_log_holds_over_such_a_model_is_in_nobodys_way_and_may_go():
    state, _ = begun()
    state["model", "b"] = (2, {"pool": "default", "profiles": {"p": {"backend": "gliner"}}})
    state["adapter", "b/old"] = (3, {"model_id": "b", "name": "old"})
    registry = registry_of(state)
    index = Index.of(registry)
    for kind, key in (("model", "b"), ("adapter", "b/old"), ("pool", "default")):
        same = put(kind, key, state[kind, key][1])
        assert not admit(registry, index, LOG, same).changed
    for command in (Delete("adapter", "b/old"), put("pool", "default", {"note": 1})):
        assert admit(registry, index, LOG, command).changed


@given(MODELS, st.none() | st.integers(1, 9))
def test_what_is_absent_is_told_with_the_epoch_that_was_asked_about(key, epoch):
    told = absent("model", key, epoch)

    assert told.code == "MODEL_NOT_FOUND"
    assert (f"at epoch {epoch}" in told.message) == (epoch is not None)
    assert ("there is no" in told.message) == (epoch is None)
