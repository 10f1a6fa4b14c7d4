"""Differences between documents and between registries, for programs and for people.

*pure.* Promises that the patch (RFC 6902) of two values turns the first into the second: a law
holds it to that. A list that differs is replaced whole, since its items have no identity.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec import Raw

from sie_core.registry import Entity, EntityId, Registry

__all__ = [
    "PLURALS",
    "EntityChange",
    "changes_between",
    "document_patch",
    "escape",
    "human_lines",
    "json_patch",
    "registry_patch",
    "same",
]

PLURALS: Final = {"model": "models", "adapter": "adapters", "bundle": "bundles", "pool": "pools"}
"""The kinds of entity, and how a path or a list names many of them."""
_SHOWN: Final = 80
"""A value in a sentence: one line of a terminal."""
_ABSENT: Final = "(absent)"
_FIELDS: Final = msgspec.json.Decoder(dict[str, Raw])


@dataclass(frozen=True, slots=True)
class EntityChange:
    """One entity that differs. None is absent."""

    kind: str
    key: str
    before: Entity | None
    after: Entity | None

    @property
    def verb(self) -> str:
        """The word for the change: `added`, `removed` or `changed`."""
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "changed"


def changes_between(
    before: Registry, after: Registry, touched: Sequence[EntityId] | None = None
) -> list[EntityChange]:
    """The entities whose documents differ, by kind and key. `touched` bounds the search."""
    if touched is None:
        ids = {(e.kind, e.key) for e in before} | {(e.kind, e.key) for e in after}
    else:
        ids = set(touched)
    found = []
    for kind, key in sorted(ids):
        old, new = before.get(kind, key), after.get(kind, key)
        # Registries share what did not change: seldom are two documents compared.
        if old is not new and (old and old.document) != (new and new.document):
            found.append(EntityChange(kind, key, old, new))
    return found


def registry_patch(changes: Sequence[EntityChange]) -> list[dict[str, Any]]:
    """RFC 6902 over `{"models": {id: document}, "adapters": …}`."""
    patch: list[dict[str, Any]] = []
    for change in changes:
        path = f"/{PLURALS[change.kind]}/{escape(change.key)}"
        if change.after is None:
            patch.append({"op": "remove", "path": path})
        elif change.before is None:
            patch.append({"op": "add", "path": path, "value": _document(change.after)})
        else:
            patch += document_patch(change.before.document, change.after.document, path)
    return patch


def json_patch(before: Any, after: Any, path: str = "") -> list[dict[str, Any]]:
    """RFC 6902 operations that turn one JSON value into the other."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return list(_object_patch(before, after, path))
    if same(before, after):
        return []
    # Lists too, as a whole: their members have no names by which to tell which one changed.
    return [{"op": "replace", "path": path, "value": after}]


def document_patch(before: bytes, after: bytes, path: str = "") -> list[dict[str, Any]]:
    """`json_patch` of two documents in canonical bytes, of which only what differs is decoded."""
    return json_patch(*_apart(before, after), path)


def same(left: Any, right: Any) -> bool:
    """Equality of JSON values; true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def human_lines(changes: Sequence[EntityChange]) -> list[str]:
    """One line for each thing that differs: `+` added, `-` removed, `~` changed."""
    lines = []
    for change in changes:
        name = f"{change.kind} {change.key}"
        if change.before is None or change.after is None:
            lines.append(f"{'+' if change.before is None else '-'} {name}")
            continue
        old, new = _apart(change.before.document, change.after.document)
        lines += [f"~ {name}  {line}" for line in _field_lines(old, new)]
    return lines


def escape(name: str) -> str:
    """A name as one token of a JSON pointer (RFC 6901)."""
    # In this order: the other would escape the `~` of `~1` again.
    return name.replace("~", "~0").replace("/", "~1")


def _object_patch(
    before: Mapping[str, Any], after: Mapping[str, Any], path: str
) -> Iterator[dict[str, Any]]:
    for name in sorted(before.keys() | after.keys()):
        inner = f"{path}/{escape(name)}"
        if name not in after:
            yield {"op": "remove", "path": inner}
        elif name not in before:
            yield {"op": "add", "path": inner, "value": after[name]}
        else:
            yield from json_patch(before[name], after[name], inner)


def _field_lines(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for operation in json_patch(before, after):
        names = operation["path"][1:].split("/")
        field = ".".join(name.replace("~1", "/").replace("~0", "~") for name in names)
        old = _shown(_at(before, names)) if operation["op"] != "add" else _ABSENT
        new = _shown(operation["value"]) if operation["op"] != "remove" else _ABSENT
        yield f"{field}: {old} → {new}"


def _at(value: Any, names: Sequence[str]) -> Any:
    for name in names:
        value = value[name.replace("~1", "/").replace("~0", "~")]
    return value


def _shown(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _apart(before: bytes, after: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields of each that the other lacks or has another value of."""
    old, new = _FIELDS.decode(before), _FIELDS.decode(after)
    return _without(old, new), _without(new, old)


def _without(fields: Mapping[str, Raw], others: Mapping[str, Raw]) -> dict[str, Any]:
    return {
        name: msgspec.json.decode(value)
        for name, value in fields.items()
        if others.get(name) != value
    }


def _document(entity: Entity) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(entity.document)
    return found
