"""Operations: what a request asks for, worked out into commands against one registry.

*pure*, but for `pin`, which has the files of a path source read. Promises:

- A command holds a whole, checked document.
- A patch was applied to what the operations before it left.
- What the result rests on is named, so that the sequencer can tell whether it moved.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct

from sie_config.documents.bodies import converted
from sie_config.documents.manifests import Pin, unpinned
from sie_config.documents.merge_patch import merged
from sie_config.documents.secret_rules import refuse_secrets
from sie_config.writer.draft import Seen
from sie_config.writer.rules import Command, Delete, Expectation, Put, absent
from sie_core.backend_options import of_backend, unread_fields
from sie_core.options import profile_problems
from sie_core.registry import EntityId, Registry
from sie_core.stored_documents import DocumentJson
from sie_schemas import canonical
from sie_schemas.documents import admit_document
from sie_schemas.errors import FixRequest, invalid_field

__all__ = ["BatchBody", "Operation", "WorkedOut", "admitted", "key_of", "parse_batch", "work_out"]

Kind: TypeAlias = Literal["model", "adapter", "bundle", "pool"]


class Operation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One operation as asked. A put's key may be left to its document."""

    op: Literal["put", "patch", "delete"]
    kind: Kind
    key: str = ""
    document: Any = None
    patch: Any = None
    if_match: str | None = None
    if_none_match: Literal["*"] | None = None


class BatchBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Operations that become one entry, or nothing.

    They take effect in order, each on what the ones before it left. If `simultaneous`, each entity
    is named once and only the whole is judged.
    """

    operations: tuple[Operation, ...]
    simultaneous: bool = False


@dataclass(slots=True)
class WorkedOut:
    """Commands, and the entities of the registry that their documents rest on."""

    commands: list[Command] = field(default_factory=list)
    basis: list[Seen] = field(default_factory=list)


def parse_batch(value: Any, *, operations_max: int) -> BatchBody:
    """The batch of a decoded body. Raises `FixRequest` naming the part at fault."""
    batch = converted(value, BatchBody)
    if len(batch.operations) > operations_max:
        raise FixRequest(
            f"a batch takes up to {operations_max} operations, not {len(batch.operations)}",
            code="PAYLOAD_TOO_LARGE",
            field="operations",
        )
    return batch


async def work_out(
    operations: Sequence[Operation],
    expects: Sequence[Expectation],
    registry: Registry,
    pin: Pin = unpinned,
) -> WorkedOut:
    """The commands of these operations. Raises `FixRequest` with the problems of all of them.

    `pin` gives a path source its manifest, where it has none.
    """
    result = WorkedOut()
    left: dict[EntityId, DocumentJson | None] = {}
    problems: list[dict[str, Any]] = []
    first: FixRequest | None = None
    for index, (operation, expected) in enumerate(zip(operations, expects, strict=True)):
        try:
            command = await _command(operation, expected, registry, left, result.basis, pin)
        except FixRequest as error:
            first = first or error
            problems += _problems(error, index if len(operations) > 1 else None)
            continue
        left[command.kind, command.key] = command.document if isinstance(command, Put) else None
        result.commands.append(command)
    if first is not None:
        raise FixRequest(
            first.message,
            code=first.code,
            field=problems[0]["path"] or None,
            details=problems if first.code == "VALIDATION_ERROR" else first.details,
        )
    return result


async def admitted(kind: str, value: Any, pin: Pin) -> dict[str, Any]:
    """A document that may enter the log, as it will be stored. Raises `FixRequest`."""
    document = admit_document(kind, await pin(value))
    refuse_secrets(document)
    if kind == "model":
        _check_options(document)
    return document


def _check_options(document: DocumentJson) -> None:
    """Refuse options of profiles that a built-in backend does not take, and fields that it does not
    read. The worker that loads the model checks those of another package's backend."""
    problems = [
        {"path": f"profiles.{name}.options.{option}", "message": problem}
        for name, profile in document["profiles"].items()
        if (declared := of_backend(profile["backend"])) is not None
        for option, problem in profile_problems(
            profile["options"], declared, backend=profile["backend"]
        )
    ]
    problems += [{"path": path, "message": problem} for path, problem in unread_fields(document)]
    if problems:
        first = problems[0]
        raise FixRequest(
            f"{first['path']}: {first['message']}"
            + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""),
            code="VALIDATION_ERROR",
            field=first["path"],
            details=problems,
        )


def key_of(kind: str, document: DocumentJson) -> str:
    """The key of an entity, from its document."""
    if kind == "adapter":
        return f"{document['model_id']}/{document['name']}"
    return str(document["model_id"] if kind == "model" else document["name"])


async def _command(
    operation: Operation,
    expects: Expectation,
    registry: Registry,
    left: Mapping[EntityId, DocumentJson | None],
    basis: list[Seen],
    pin: Pin,
) -> Command:
    kind, key = operation.kind, operation.key
    if operation.op != "put" and not key:
        raise invalid_field("key", f"a {operation.op} names its entity")
    if operation.op == "delete":
        return Delete(kind, key, expects)
    value = operation.document
    if operation.op == "patch":
        current = _current((kind, key), registry, left, basis)
        value = merged(current, operation.patch)
    document = await admitted(kind, _named(kind, key, value) if key else value, pin)
    return Put(kind, key_of(kind, document), document, canonical.dumps(document), expects)


def _current(
    entity_id: EntityId,
    registry: Registry,
    left: Mapping[EntityId, DocumentJson | None],
    basis: list[Seen],
) -> DocumentJson:
    kind, key = entity_id
    if entity_id in left:
        document = left[entity_id]
    else:
        entity = registry.get(kind, key)
        basis.append(Seen(kind, key, entity.modified_epoch if entity is not None else 0))
        document = msgspec.json.decode(entity.document) if entity is not None else None
    if document is None:
        raise absent(kind, key)
    return document


def _named(kind: str, key: str, value: Any) -> Any:
    """The document with the names that its key gives; it may repeat them, not contradict."""
    if not isinstance(value, Mapping):
        return value
    if kind == "adapter":
        model_id, _, name = key.rpartition("/")
        names = {"model_id": model_id, "name": name}
    else:
        names = {"model_id" if kind == "model" else "name": key}
    for name, wanted in names.items():
        if value.get(name, wanted) != wanted:
            raise invalid_field(
                name, f"the document says {name} {value[name]!r}, the path says {wanted!r}"
            )
    return {**value, **names}


def _problems(error: FixRequest, index: int | None) -> list[dict[str, Any]]:
    listed = error.details if isinstance(error.details, list) else None
    problems = listed or [{"path": error.field or "", "message": error.message}]
    if index is None:
        return problems
    return [
        {**problem, "path": f"operations.{index}.{problem['path']}".rstrip(".")}
        for problem in problems
    ]
