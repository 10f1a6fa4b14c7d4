"""YAML as it is meant in a config: JSON's values, and nothing that is guessed.

*pure.* Promises:

- What is read can be sent as JSON and means what it looks like.
- A key that stands twice is an error, not the last of both.
- A value that JSON has no form for is refused with its line.
- What is read is bounded in values and levels before it is built, what aliases repeat included.
- What is written is read back as it was, by older readers of YAML too. It holds no character that
  a terminal obeys.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

import yaml

from sie_runtime.texts.bounds import BOUNDS, Bounds
from sie_runtime.texts.plain_scalars import (
    is_surely_text,
    meaning_of,
    no_form,
    shown,
    tagged_meaning,
)
from sie_runtime.texts.printable import yaml_code
from sie_schemas.errors import FixRequest, escaped

__all__ = ["PARSERS", "dump_yaml", "dump_yaml_all", "read_yaml"]

_TAG: Final = "tag:yaml.org,2002:"
_UNTAGGED: Final = frozenset({None, "!"})
PARSERS: Final[tuple[Any, ...]] = (
    (yaml.CSafeLoader, yaml.SafeLoader) if yaml.__with_libyaml__ else (yaml.SafeLoader,)
)
"""The first is taken. Both tell the same; one is twenty times as fast and not in every build."""
_MERGE: Final = "<<"
_TAKES_OVER: Final = object()
"""The key of a mapping whose next value is to be merged into it."""
_OPEN: Final = object()
"""Stands for the value of an anchor whose end is not read yet."""


def read_yaml(
    text: str, place: str, bounds: Bounds = BOUNDS, *, parser: Any = PARSERS[0]
) -> list[Any]:
    """Every document of a text, as JSON values. Raises `FixRequest` that names place and line."""
    try:
        return _Reading(bounds).read(_events(text, parser))
    except yaml.MarkedYAMLError as error:
        raise FixRequest(f"{place} is no YAML: {_told(error)}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise FixRequest(f"{place} is no YAML: {' '.join(str(error).split())}") from error
    except FixRequest as error:
        raise FixRequest(f"{place}, {error.message}") from error


def _told(error: Any) -> str:
    """The parser's words, with the line where it stopped and that from which it looked."""
    line = f"line {error.problem_mark.line + 1}: " if error.problem_mark is not None else ""
    began = f" from line {error.context_mark.line + 1} on" if error.context_mark is not None else ""
    context = f" ({error.context}{began})" if error.context else ""
    return f"{line}{error.problem or 'it cannot be read'}{context}"


def dump_yaml(value: Any) -> str:
    """A value as people write it."""
    return dump_yaml_all([value])


def dump_yaml_all(values: Iterable[Any]) -> str:
    """Values as people write them, with a line `---` between them."""
    text = yaml.dump_all(
        values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False
    )
    # Whatever holds such a character is in double quotes, where its code means the same.
    return escaped(cast(str, text), yaml_code, kept="\n")


def _events(text: str, parser: Any) -> Iterator[Any]:
    """The parser's events, one by one: whoever stops asking stops the parser."""
    if any(line.startswith("%TAG") for line in text.splitlines()):
        raise FixRequest("%TAG names types of its own, and none of them has a form in JSON")
    return iter(yaml.parse(text, Loader=parser))


@dataclass(slots=True)
class _Open:
    """A list or a mapping whose end is not read yet."""

    anchor: str | None
    began: int
    """The number of values before it."""
    value: Any
    key: Any = None
    """Of a mapping: the key whose value comes next."""
    merged: list[dict[str, Any]] | None = None
    """Of a mapping with `<<`: what it takes over."""


class _Reading:
    """One text. Values are built from the inside out, without recursion."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._count = 0
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        """Value by anchor, and how many values it holds."""
        self._documents: list[Any] = []

    def read(self, events: Iterable[Any]) -> list[Any]:
        for event in events:
            try:
                self._take(event)
            except (FixRequest, ValueError) as error:
                raise _refused(event.start_mark.line + 1, error) from error
        return self._documents

    def _take(self, event: Any) -> None:
        match event:
            case yaml.ScalarEvent():
                self._counted(1)
                self._scalar(event)
            case yaml.AliasEvent():
                self._alias(event.anchor)
            case yaml.SequenceStartEvent():
                self._begin(event, [], "seq")
            case yaml.MappingStartEvent():
                self._begin(event, {}, "map")
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                self._end()
            case yaml.DocumentStartEvent():
                self._anchors.clear()

    def _scalar(self, event: Any) -> None:
        is_plain = not event.style and event.tag in _UNTAGGED
        if is_plain and event.value == _MERGE and self._wants_key():
            if self._open[-1].merged is not None:
                raise FixRequest(f"the key {_MERGE!r} stands twice")
            self._open[-1].key = _TAKES_OVER
            return
        _check_text(event.value)
        if is_plain:
            value = meaning_of(event.value)
        elif event.tag in _UNTAGGED:
            value = event.value
        else:
            value = tagged_meaning(event.tag, event.value)
        self._name(event.anchor, value, self._count - 1)
        self._put(value)

    def _alias(self, anchor: str) -> None:
        if anchor not in self._anchors:
            raise FixRequest(f"the alias {shown(anchor)} stands for nothing above it")
        value, size = self._anchors[anchor]
        if value is _OPEN:
            raise FixRequest("this holds itself")
        self._counted(size)
        self._put(value)

    def _begin(self, event: Any, value: Any, kind: str) -> None:
        if event.tag not in _UNTAGGED and event.tag != _TAG + kind:
            raise FixRequest(no_form(event.tag.removeprefix(_TAG)))
        if self._wants_key():
            raise FixRequest("a key is a text: quote it")
        self._counted(1)
        if event.anchor:
            self._anchors[event.anchor] = (_OPEN, 0)
        self._open.append(_Open(event.anchor, self._count - 1, value))
        self._bounds.check_depth(len(self._open))

    def _end(self) -> None:
        ended = self._open.pop()
        value = ended.value
        if ended.merged:
            # What a mapping says itself comes after what it takes over, and so prevails.
            value = {key: part for each in reversed(ended.merged) for key, part in each.items()}
            value |= ended.value
        self._name(ended.anchor, value, ended.began)
        self._put(value)

    def _name(self, anchor: str | None, value: Any, began: int) -> None:
        if anchor:
            self._anchors[anchor] = (value, self._count - began)

    def _wants_key(self) -> bool:
        if not self._open:
            return False
        return isinstance(self._open[-1].value, dict) and self._open[-1].key is None

    def _put(self, value: Any) -> None:
        """Give a value to what is open around it."""
        if not self._open:
            self._documents.append(value)
            return
        around = self._open[-1]
        if isinstance(around.value, list):
            around.value.append(value)
        elif around.key is None:
            if not isinstance(value, str):
                raise FixRequest("a key is a text: quote it")
            if value in around.value:
                raise FixRequest(f"the key {shown(value)} stands twice")
            around.key = value
        else:
            if around.key is _TAKES_OVER:
                around.merged = _mappings(value)
            else:
                around.value[around.key] = value
            around.key = None

    def _counted(self, more: int) -> None:
        self._count += more
        self._bounds.check_values(self._count)


def _mappings(value: Any) -> list[dict[str, Any]]:
    """The mappings that `<<` takes: one, or a list of them of which the first prevails."""
    found = value if isinstance(value, list) else [value]
    if not all(isinstance(each, dict) for each in found):
        raise FixRequest(f"{_MERGE} takes a mapping, or a list of them")
    return found


def _check_text(text: str) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise FixRequest("half a character: write the character itself") from error


def _refused(line: int, error: Exception) -> FixRequest:
    message = error.message if isinstance(error, FixRequest) else str(error)
    return FixRequest(f"line {line}: {message}")


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Quotes each text that some reader would take for something else."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        tag = super().resolve(kind, value, implicit)
        if kind is yaml.ScalarNode and tag == f"{_TAG}str" and implicit[0]:
            return tag if is_surely_text(value) else f"{_TAG}unsure"
        return tag

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, text: str) -> Any:
        # Some characters end a line to one reader and not to another: they are written by name.
        style = '"' if any(not each.isprintable() and each != "\n" for each in text) else None
        return self.represent_scalar(f"{_TAG}str", text, style=style)


_Dumper.add_representer(str, _Dumper.represent_text)
