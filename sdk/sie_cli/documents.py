"""Documents in files: what `sie apply` reads and `sie export` can be turned into again.

*shell.* Reads YAML and JSON, one or many documents in a file, a folder and all below it, or stdin.
Each document says its `kind` (model, adapter, bundle, pool) beside its own fields. Promises that a
document which cannot be read is named by file and place, and that no name comes twice.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sie_cli.plain_yaml import read_yaml
from sie_schemas.errors import FixRequest
from sie_sdk.config_calls import Kind

__all__ = ["KINDS", "LocalDocument", "key_of", "kind_named", "read_documents"]

KINDS: Final[tuple[Kind, ...]] = ("bundle", "pool", "model", "adapter")
_SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})


@dataclass(frozen=True, slots=True)
class LocalDocument:
    """A document, and where it was read."""

    kind: Kind
    key: str
    document: Mapping[str, Any]
    place: str


def kind_named(text: str) -> Kind:
    """`model`, `models` and so on. Raises `FixRequest`."""
    for kind in KINDS:
        if text in {kind, f"{kind}s"}:
            return kind
    raise FixRequest(f"{text!r} is no kind; kinds are {', '.join(KINDS)}")


def key_of(kind: Kind, document: Mapping[str, Any], place: str) -> str:
    """The key of a document. Raises `FixRequest` for one without a name."""
    names = {"model": ("model_id",), "adapter": ("model_id", "name")}.get(kind, ("name",))
    missing = [name for name in names if not isinstance(document.get(name), str)]
    if missing:
        raise FixRequest(f"{place}: a {kind} wants {missing[0]}", field=missing[0])
    return "/".join(document[name] for name in names)


def read_documents(source: str) -> list[LocalDocument]:
    """Every document of a file, of a folder, or of stdin (`-`). Raises `FixRequest`."""
    found = [each for place, text in _texts(source) for each in _documents(text, place)]
    if not found:
        raise FixRequest(f"{source} holds no document: nothing would be applied or compared")
    seen: dict[tuple[str, str], str] = {}
    for each in found:
        first = seen.setdefault((each.kind, each.key), each.place)
        if first != each.place:
            raise FixRequest(f"{each.kind} {each.key!r} stands in {first} and in {each.place}")
    return found


def _texts(source: str) -> Iterator[tuple[str, str]]:
    if source == "-":
        yield "stdin", sys.stdin.read()
        return
    path = Path(source)
    try:
        files: Sequence[Path] = [path]
        if path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.suffix in _SUFFIXES and p.is_file())
        for file in files:
            yield str(file), file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FixRequest(f"{source} cannot be read: {error}") from error


def _documents(text: str, place: str) -> Iterator[LocalDocument]:
    values = read_yaml(text, place)
    parts = [part for value in values for part in (value if isinstance(value, list) else [value])]
    for number, value in enumerate(parts, start=1):
        if value is None:
            continue
        where = place if len(parts) == 1 else f"{place}, document {number}"
        if not isinstance(value, Mapping) or not isinstance(value.get("kind"), str):
            raise FixRequest(f"{where}: a document is a mapping that says its kind", field="kind")
        kind = kind_named(value["kind"])
        document = {name: part for name, part in value.items() if name != "kind"}
        yield LocalDocument(kind, key_of(kind, document, where), document, where)
