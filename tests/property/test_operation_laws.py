"""The law of operations: they come to the commands that they say, or to every problem of theirs."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sie_config.documents.merge_patch import merged
from sie_config.writer.draft import Seen
from sie_config.writer.operations import Operation, parse_batch, work_out
from sie_config.writer.rules import Command, Delete, Expectation, Put
from sie_core.registry import Entity, EntityId, Registry
from sie_schemas import canonical
from sie_schemas.documents import admit_document
from sie_schemas.errors import FixRequest

NAMES: Final = {
    ("model", "a"): {"model_id": "a"},
    ("model", "org/b"): {"model_id": "org/b"},
    ("adapter", "org/b/legal"): {"model_id": "org/b", "name": "legal"},
    ("adapter", "a/legal"): {"model_id": "a", "name": "legal"},
    ("pool", "eu"): {"name": "eu"},
}
"""Each entity, and the fields of its document that its key gives."""
_HUB: Final = {"type": "hub", "id": "org/weights", "revision": "1" * 40}
GIVEN: Final[dict[str, dict[str, Any]]] = {
    "model": {
        "source": _HUB,
        "tasks": {"encode": {}},
        "profiles": {name: {"backend": "transformer"} for name in ("default", "fast")},
    },
    "adapter": {"source": _HUB},
    "pool": {},
}
PARTS: Final = st.sampled_from(
    [
        {},
        {"description": "x"},
        {"description": None},
        {"description": "hf_" + "abcdefgh" * 4},
        {"wrong": 1},
        {"wrong": 1, "worse": 2},
        {"profiles": {"fast": {"options": {"no_such": 1}}}},
        {"name": "other"},
        {"model_id": "other"},
    ]
)


@st.composite
def operations(draw: st.DrawFn) -> dict[str, Any]:
    kind, key = draw(st.sampled_from(sorted(NAMES)))
    told: dict[str, Any] = {
        "op": draw(st.sampled_from(["put", "put", "patch", "patch", "delete"])),
        "kind": kind,
    }
    if draw(st.sampled_from([True, True, True, False])):
        told["key"] = key
    if told["op"] == "patch":
        told["patch"] = draw(PARTS | st.just("no object"))
    if told["op"] == "put":
        names = {} if "key" in told and draw(st.booleans()) else NAMES[kind, key]
        whole = PARTS.map(lambda part: merged({**GIVEN[kind], **names}, part))
        told["document"] = draw(whole | st.just("no object"))
    return told


async def pinned(document: Any) -> Any:
    """A pin that leaves its mark."""
    is_plain = isinstance(document, Mapping) and "description" not in document
    return {**document, "description": "pinned"} if is_plain else document


def refused(code: str, field: str | None = None) -> FixRequest:
    return FixRequest("refused", code=code, field=field)


def named(asked: Operation, value: Any) -> Any:
    names = NAMES.get((asked.kind, asked.key), {})
    for name, wanted in names.items():
        if value.get(name, wanted) != wanted:
            raise refused("VALIDATION_ERROR", name)
    return value | names


async def document_of(asked: Operation, current: Any) -> Any:
    """The document that an operation leaves, None for none. Raises `FixRequest`."""
    if asked.op != "put" and not asked.key:
        raise refused("VALIDATION_ERROR", "key")
    if asked.op == "delete":
        return None
    if asked.op == "patch" and current is None:
        raise refused(f"{asked.kind.upper()}_NOT_FOUND")
    value = merged(current, asked.patch) if asked.op == "patch" else asked.document
    if isinstance(value, dict):
        value = named(asked, value)
    document = admit_document(asked.kind, await pinned(value))
    if "hf_" in str(document["description"]):
        raise refused("VALIDATION_ERROR", "description")
    if document.get("profiles", {}).get("fast", {}).get("options"):
        raise refused("VALIDATION_ERROR", "profiles.fast.options.no_such")
    return document


class Naive:
    """The outcome of a batch, by one operation after another over plain documents."""

    def __init__(self, there: list[EntityId]) -> None:
        self.left: dict[EntityId, Any] = {
            each: admit_document(each[0], {**GIVEN[each[0]], **NAMES[each]}) for each in there
        }
        self.epochs = {each: 5 + number for number, each in enumerate(there)}
        self.registry = Registry.of(
            Entity(*each, epoch, canonical.dumps(self.left[each]))
            for each, epoch in self.epochs.items()
        )
        self.commands: list[Command] = []
        self.basis: list[Seen] = []
        self.errors: list[FixRequest] = []
        self.paths: list[str] = []
        self._touched: set[EntityId] = set()

    async def take(self, asked: Operation, expects: Expectation, prefix: str) -> None:
        entity_id = (asked.kind, asked.key)
        if asked.op == "patch" and asked.key and entity_id not in self._touched:
            self.basis.append(Seen(*entity_id, self.epochs.get(entity_id, 0)))
        try:
            document = await document_of(asked, self.left.get(entity_id))
        except FixRequest as error:
            self.errors.append(error)
            paths = [one["path"] for one in error.details or [{"path": error.field or ""}]]
            self.paths += [f"{prefix}{path}".rstrip(".") for path in paths]
            return
        if document is None:
            self.commands.append(Delete(*entity_id, expects))
        else:
            names = (document.get("model_id"), document.get("name"))
            entity_id = (asked.kind, "/".join(filter(None, names)))
            self.commands.append(Put(*entity_id, document, canonical.dumps(document), expects))
        self.left[entity_id] = document
        self._touched.add(entity_id)


@given(
    there=st.lists(st.sampled_from(sorted(NAMES)), unique=True),
    raw=st.lists(operations(), min_size=1, max_size=4),
)
@settings(max_examples=150)
def test_operations_come_to_the_commands_that_they_say_in_turn_or_to_every_problem(there, raw):
    with pytest.raises(FixRequest, match="a batch takes up to"):
        parse_batch({"operations": raw}, operations_max=len(raw) - 1)
    asked = parse_batch({"operations": raw}, operations_max=len(raw)).operations
    expects = [Expectation((f'"{number}"',)) for number in range(len(asked))]
    naive = Naive(there)

    async def story() -> None:
        for number, (each, expected) in enumerate(zip(asked, expects, strict=True)):
            await naive.take(each, expected, f"operations.{number}." if len(asked) > 1 else "")
        if not naive.errors:
            result = await work_out(asked, expects, naive.registry, pinned)
            assert (result.commands, result.basis) == (naive.commands, naive.basis)
            return
        with pytest.raises(FixRequest) as caught:
            await work_out(asked, expects, naive.registry, pinned)
        told = caught.value
        assert (told.code, told.field) == (naive.errors[0].code, naive.paths[0] or None)
        is_invalid = told.code == "VALIDATION_ERROR"
        assert [one["path"] for one in told.details or []] == (naive.paths if is_invalid else [])

    asyncio.run(story())
