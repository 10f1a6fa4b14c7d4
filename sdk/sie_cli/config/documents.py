"""Documents in files: what `sie apply` reads and `sie export` can be turned into again.

*shell.* Reads YAML and JSON, one or many documents in a file, a folder and all below it, or stdin.
Each document says its `kind` (model, adapter, bundle, pool) beside its own fields. A text that is
JSON is read as JSON whatever its name, and one whose name says so has to be. Promises that a
document which cannot be read is named by file and place, and that no name comes twice. What is
given was all understood: what prunes relies on it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sie_cli.texts.local_texts import SUFFIXES, read_texts
from sie_cli.texts.plain_json import NotJson, read_json
from sie_cli.texts.plain_yaml import read_yaml
from sie_schemas.errors import FixRequest
from sie_sdk.config.calls import Kind

__all__ = ["KINDS", "LocalDocument", "LocalDocuments", "key_of", "kind_named", "read_documents"]

KINDS: Final[tuple[Kind, ...]] = ("bundle", "pool", "model", "adapter")
_SHOWN_MAX: Final = 5


@dataclass(frozen=True, slots=True)
class LocalDocument:
    """A document, and where it was read."""

    kind: Kind
    key: str
    document: Mapping[str, Any]
    place: str


@dataclass(frozen=True, slots=True)
class LocalDocuments:
    """Every document of a source, and what stood beside them."""

    documents: Sequence[LocalDocument]
    left_out: tuple[str, ...]
    """Files that were not read, since their names do not say that they hold documents."""

    def check_whole(self) -> None:
        """Refuse a folder that is not all that was meant. An apply that prunes would remove the
        entities of a file that its name kept from being read. Raises `FixRequest`."""
        for place in self.left_out:
            name = place.rpartition("/")[2].lower()
            if any(suffix in name for suffix in SUFFIXES):
                raise FixRequest(
                    f"{place} looks like documents and is not read, since its name does not end in "
                    f"{', '.join(SUFFIXES)}: rename or move it, or leave out --prune"
                )

    def unread_line(self) -> str:
        """A line on the files that were not read, for the person; empty where all were."""
        if not self.left_out:
            return ""
        names = ", ".join(self.left_out[:_SHOWN_MAX])
        more = len(self.left_out) - _SHOWN_MAX
        rest = f" and {more} more" if more > 0 else ""
        return f"not read, since no name ends in {', '.join(SUFFIXES)}: {names}{rest}"


def kind_named(text: str, place: str = "") -> Kind:
    """`model`, `models` and so on, as it stands at a place. Raises `FixRequest`."""
    for kind in KINDS:
        if text in {kind, f"{kind}s"}:
            return kind
    where = f"{place}: " if place else ""
    raise FixRequest(f"{where}{text!r} is no kind; kinds are {', '.join(KINDS)}")


def key_of(kind: Kind, document: Mapping[str, Any], place: str) -> str:
    """The key of a document. Raises `FixRequest` for one without a name."""
    names = {"model": ("model_id",), "adapter": ("model_id", "name")}.get(kind, ("name",))
    missing = [name for name in names if not isinstance(document.get(name), str)]
    if missing:
        raise FixRequest(f"{place}: a {kind} wants {missing[0]}", field=missing[0])
    return "/".join(document[name] for name in names)


def read_documents(source: str) -> LocalDocuments:
    """Every document of a file, of a folder, or of stdin (`-`). Raises `FixRequest`."""
    texts = read_texts(source)
    found = [each for place, text in texts.by_place.items() for each in _documents(text, place)]
    if not found:
        ends = f" in files that end in {', '.join(SUFFIXES)}" if texts.left_out else ""
        raise FixRequest(f"{source} holds no document{ends}: nothing is applied or compared")
    seen: dict[tuple[str, str], str] = {}
    for each in found:
        first = seen.setdefault((each.kind, each.key), each.place)
        if first != each.place:
            raise FixRequest(f"{each.kind} {each.key!r} stands in {first} and in {each.place}")
    return LocalDocuments(found, texts.left_out)


def _values(text: str, place: str) -> list[Any]:
    """The values of a text. JSON is YAML in most cases; it is never worse read as what it is."""
    if place.lower().endswith(".json"):
        return [read_json(text, place)]
    if text.lstrip().startswith(("{", "[")):
        try:
            return [read_json(text, place)]
        except NotJson:
            return read_yaml(text, place)
    return read_yaml(text, place)


def _documents(text: str, place: str) -> Iterator[LocalDocument]:
    values = _values(text, place)
    parts = [part for value in values for part in (value if isinstance(value, list) else [value])]
    for number, value in enumerate(parts, start=1):
        if value is None:
            continue
        where = place if len(parts) == 1 else f"{place}, document {number}"
        if not isinstance(value, Mapping) or not isinstance(value.get("kind"), str):
            raise FixRequest(f"{where}: a document is a mapping that says its kind", field="kind")
        kind = kind_named(value["kind"], where)
        document = {name: part for name, part in value.items() if name != "kind"}
        yield LocalDocument(kind, key_of(kind, document, where), document, where)
