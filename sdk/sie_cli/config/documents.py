"""Documents in files: what `sie apply` reads and `sie export` can be turned into again.

*shell.* Reads YAML and JSON, one or many documents in a file, a folder and all below it, or stdin.
Each document says its `kind` (model, adapter, bundle, pool) beside its own fields, or is wrapped as
Kubernetes wraps things. A text that is JSON is read as JSON whatever its name, and one whose name
says so has to be.

Promises that a document which cannot be read is named by file, place and line, and that no name
comes twice. What is given was all understood: what prunes relies on it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sie_cli.config.kinds import KINDS
from sie_cli.config.wrapped import unwrapped
from sie_cli.texts.local_texts import STDIN, SUFFIXES, read_texts
from sie_cli.texts.places import Spot, line_of
from sie_core.nearest import nearest
from sie_runtime.texts.plain_json import NotJson, read_json
from sie_runtime.texts.plain_yaml import read_yaml
from sie_schemas.errors import FixRequest
from sie_sdk.config.calls import Kind

__all__ = ["LocalDocument", "LocalDocuments", "key_of", "read_documents"]

_SHOWN_MAX: Final = 5
"""Files named in one sentence; a count tells the rest."""


@dataclass(frozen=True, slots=True)
class LocalDocument:
    """A document, and where it was read."""

    kind: Kind
    key: str
    document: Mapping[str, Any]
    place: str
    """The file, and the number of the document in it where there are several."""
    text: str = field(default="", repr=False, compare=False)
    spot: Spot = (0, None)

    def place_of(self, path: Sequence[str] = ()) -> str:
        """The place with the line of a field, or of the field that lacks it."""
        return _with_line(self.place, self.text, self.spot, path)


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


def key_of(kind: Kind, document: Mapping[str, Any]) -> str:
    """The key of a document. Raises `FixRequest` for one without a name."""
    names = {"model": ("model_id",), "adapter": ("model_id", "name")}.get(kind, ("name",))
    missing = [name for name in names if not isinstance(document.get(name), str)]
    if missing:
        raise FixRequest(f"a {kind} wants {missing[0]}", field=missing[0])
    return "/".join(document[name] for name in names)


def read_documents(source: str) -> LocalDocuments:
    """Every document of a file, of a folder, or of stdin (`-`). Raises `FixRequest`."""
    texts = read_texts(source)
    found = [each for place, text in texts.by_place.items() for each in _documents(text, place)]
    if not found:
        ends = f" in files that end in {', '.join(SUFFIXES)}" if texts.left_out else ""
        place = STDIN if source == "-" else source
        raise FixRequest(f"{place} holds no document{ends}: nothing is applied or compared")
    seen: dict[tuple[str, str], LocalDocument] = {}
    # Across files too: which of two is meant no order of files can say.
    for each in found:
        first = seen.setdefault((each.kind, each.key), each)
        if first is not each:
            raise FixRequest(
                f"{each.kind} {each.key!r} stands in {first.place_of()} and in {each.place_of()}: "
                "leave one of them"
            )
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
    parts = list(_parts(_values(text, place)))
    for number, (spot, value) in enumerate(parts, start=1):
        where = place if len(parts) == 1 else f"{place}, document {number}"
        try:
            yield from _understood(value, where, text, spot)
        except FixRequest as error:
            told = _with_line(where, text, spot, (error.field,) if error.field else ())
            raise FixRequest(f"{told}: {error.message}", field=error.field) from error


def _parts(values: Sequence[Any]) -> Iterator[tuple[Spot, Any]]:
    for document, value in enumerate(values):
        if isinstance(value, list):
            yield from (((document, part), each) for part, each in enumerate(value))
        elif value is not None:
            yield (document, None), value


def _understood(value: Any, place: str, text: str, spot: Spot) -> Iterator[LocalDocument]:
    if not isinstance(value, Mapping) or not isinstance(value.get("kind"), str):
        raise FixRequest("a document is a mapping that says its kind", field="kind")
    for each in unwrapped(value):
        kind = _kind_of(each)
        document = {name: part for name, part in each.items() if name != "kind"}
        yield LocalDocument(kind, key_of(kind, document), document, place, text, spot)


def _kind_of(document: Mapping[str, Any]) -> Kind:
    """The kind that a document says. In a file it is a whole word: it is read by many."""
    said = document["kind"]
    for kind in KINDS:
        if said in {kind, f"{kind}s"}:
            return kind
    meant = nearest(said, KINDS)
    hint = f"did you mean {meant!r}? " if meant else ""
    raise FixRequest(f"{said!r} is no kind; {hint}kinds are {', '.join(KINDS)}", field="kind")


def _with_line(place: str, text: str, spot: Spot, path: Sequence[str]) -> str:
    line = line_of(text, spot, path)
    return place if line is None else f"{place}, line {line}"
