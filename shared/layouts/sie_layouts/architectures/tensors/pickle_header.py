"""The names, types and shapes that a pickled file of torch describes, read and never run.

*pure* over `Files`. torch writes a zip whose first part, not compressed, is the pickle; the numbers
lie in parts behind it. Its operations are read one by one: nothing is imported, called or made but
tuples and tables of names. Whatever is not such a table of tensors gives None, and a worker says
what it is.

A stranger wrote the pickle. Each operation has a byte of its own and bounded work. Nothing here
looks into a tuple in a tuple. So the reading takes as long as there are bytes.
"""

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from sie_layouts.architectures.tensors.headers import Held
from sie_layouts.facts import Files

__all__ = ["read_pickle"]

_FIRST_BYTES: Final = 64 * 1024
"""The pickles of most models are shorter: one request reads them."""
_BYTES_MAX: Final = 2 * 1024**2
"""Of 20,000 tensors, several times those of the largest model that is published so."""
_START: Final = b"PK\x03\x04"
_FIXED: Final = 30
"""Bytes of a zip's part before its name."""
_PICKLE: Final = b"/data.pkl"
_STORED: Final = 0
"""A zip's number for what is not compressed."""
_NAME_MAX: Final = 4096
"""Characters of a tensor's name. Tables compare equal names as often as a pickle says them."""
_DIMENSIONS_MAX: Final = 64
"""As many as torch's own operations take. A pickle may say one shape for each of its tensors."""
_TYPES: Final[Mapping[str, str]] = {
    "torch BFloat16Storage": "BF16", "torch BoolStorage": "BOOL", "torch ByteStorage": "U8",
    "torch CharStorage": "I8", "torch DoubleStorage": "F64", "torch FloatStorage": "F32",
    "torch HalfStorage": "F16", "torch IntStorage": "I32", "torch LongStorage": "I64",
    "torch ShortStorage": "I16",
}  # fmt: skip
_TENSOR: Final = "torch._utils _rebuild_tensor_v2"
_PARAMETER: Final = "torch._utils _rebuild_parameter"
_TABLE: Final = "collections OrderedDict"


class _OtherError(Exception):
    """The pickle is no table of tensors, or of a form that is not known here."""


@dataclass(frozen=True, slots=True)
class _Named:
    """Something that a pickle names, as `module name`; nobody looks for it."""

    name: str


@dataclass(frozen=True, slots=True)
class _Storage:
    type: str


_OTHER: Final = object()
"""In place of what is made of something else."""
_UNREAD: Final = (
    _OtherError, ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError,
)  # fmt: skip
"""The ends of a reading that finds no table."""


def read_pickle(files: Files, name: str) -> dict[str, Held] | None:
    """The tensors of a file by their names; None where it does not show them so."""
    for count in (_FIRST_BYTES, _BYTES_MAX):
        content = files.head(name, count) or b""
        if not content.startswith(_START):
            return None
        try:
            return _table(_pickle(content))
        except _UNREAD:
            if len(content) < count:
                return None
    return None


def _pickle(content: bytes) -> bytes:
    method = int.from_bytes(content[8:10], "little")
    name_bytes = int.from_bytes(content[26:28], "little")
    begins = _FIXED + name_bytes + int.from_bytes(content[28:30], "little")
    part = content[_FIXED : _FIXED + name_bytes]
    if not part.endswith(_PICKLE) or method != _STORED:
        raise _OtherError
    return content[begins:]


def _table(pickle: bytes) -> dict[str, Held]:
    read = _Reading()
    for operation, given, _ in pickletools.genops(pickle):
        if operation.name == "STOP":
            break
        does = _DOES.get(operation.name)
        if does is None:
            raise _OtherError
        does(read, given)
    (found,) = read.stack
    if not isinstance(found, dict) or not all(isinstance(each, Held) for each in found.values()):
        raise _OtherError
    return found


class _Reading:
    """The stack and the memo of one pickle, on which its operations work."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        """The values since the last mark, as the standard library's own reader has them."""
        self._before_marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def push(self, given: Any) -> None:
        self.stack.append(given)

    def put(self, given: Any) -> None:
        self._memo[len(self._memo) if given is None else given] = self.stack[-1]

    def get(self, given: Any) -> None:
        self.push(self._memo[given])

    def name(self, given: Any) -> None:
        self.push(_Named(given))

    def mark(self, _: Any) -> None:
        self._before_marks.append(self.stack)
        self.stack = []

    def last(self, count: int) -> None:
        if len(self.stack) < count:
            raise _OtherError
        parts = tuple(self.stack[len(self.stack) - count :])
        del self.stack[len(self.stack) - count :]
        self.push(parts)

    def group(self, _: Any) -> None:
        self.push((*self._since_mark(),))

    def set_items(self, _: Any) -> None:
        items = self._since_mark()
        self._set(items[::2], items[1::2])

    def set_item(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key], [value])

    def _set(self, keys: list[Any], values: list[Any]) -> None:
        # To hash a tuple goes as deep as it is.
        if not all(isinstance(key, str) and len(key) <= _NAME_MAX for key in keys):
            raise _OtherError
        self.stack[-1].update(zip(keys, values, strict=True))

    def storage(self, _: Any) -> None:
        self.push(_storage(self.stack.pop()))

    def reduce(self, _: Any) -> None:
        parts = self.stack.pop()
        self.push(_made_of(self.stack.pop(), parts))

    def build(self, _: Any) -> None:
        self.stack.pop()  # words beside a table: `_metadata`

    def _since_mark(self) -> list[Any]:
        found, self.stack = self.stack, self._before_marks.pop()
        return found


def _storage(told: Any) -> Any:
    kind = told[1] if isinstance(told, tuple) and told[:1] == ("storage",) else None
    name = kind.name if isinstance(kind, _Named) else ""
    return _Storage(_TYPES[name]) if name in _TYPES else _OTHER


def _made_of(what: Any, parts: tuple[Any, ...]) -> Any:
    name = what.name if isinstance(what, _Named) else ""
    if name == _TABLE and not parts:
        return {}
    if name == _PARAMETER:
        return parts[0]
    if name != _TENSOR or not isinstance(parts[0], _Storage):
        return _OTHER
    shape = parts[2]
    if not isinstance(shape, tuple) or len(shape) > _DIMENSIONS_MAX:
        raise _OtherError
    if not all(type(each) is int for each in shape):
        raise _OtherError
    return Held(parts[0].type, shape)


_Does: TypeAlias = Callable[[_Reading, Any], None]
_VALUES: Final = (
    "BINFLOAT", "BININT", "BININT1", "BININT2", "BINUNICODE", "BINUNICODE8", "LONG1",
    "SHORT_BINUNICODE",
)  # fmt: skip
_DOES: Final[Mapping[str, _Does]] = {
    **dict.fromkeys(_VALUES, _Reading.push),
    "BINGET": _Reading.get,
    "BINPERSID": _Reading.storage,
    "BINPUT": _Reading.put,
    "BUILD": _Reading.build,
    "EMPTY_DICT": lambda read, _: read.push({}),
    "EMPTY_TUPLE": lambda read, _: read.push(()),
    "GLOBAL": _Reading.name,
    "LONG_BINGET": _Reading.get,
    "LONG_BINPUT": _Reading.put,
    "MARK": _Reading.mark,
    "MEMOIZE": _Reading.put,
    "NEWFALSE": lambda read, _: read.push(False),
    "NEWTRUE": lambda read, _: read.push(True),
    "NONE": lambda read, _: read.push(None),
    "PROTO": lambda read, given: None,
    "REDUCE": _Reading.reduce,
    "SETITEM": _Reading.set_item,
    "SETITEMS": _Reading.set_items,
    "TUPLE": _Reading.group,
    "TUPLE1": lambda read, _: read.last(1),
    "TUPLE2": lambda read, _: read.last(2),
    "TUPLE3": lambda read, _: read.last(3),
}
"""The operations of a table of tensors; any other one ends the reading."""
