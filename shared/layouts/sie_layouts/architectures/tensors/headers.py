"""The header of a safetensors file: the name, type and shape of each of its tensors.

*pure* over `Files`. A header stands at a file's beginning, so that of a hub a few kilobytes are
fetched and no weight. Promises that little is read. A file whose header does not agree with its
size is refused: it was cut short, or is none.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Final

from sie_layouts.facts import Files

__all__ = ["Held", "read_header"]

_LENGTH_BYTES: Final = 8
_FIRST_BYTES: Final = 64 * 1024
"""The headers of most models are shorter: one request reads them."""
_HEADER_BYTES_MAX: Final = 8 * 1024**2
"""Of 40,000 tensors: 2,000 layers, the most that are made, have as many."""
_BITS: Final[Mapping[str, int]] = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "I64": 64, "U64": 64, "F64": 64, "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip
_DIMENSION_MAX: Final = 1 << 48
_DIMENSIONS_MAX: Final = 8
"""More than any weight has: a product of these stays a number that is quickly made."""
_POINTER: Final = b"version https://git-lfs"
_META: Final = "__metadata__"


@dataclass(frozen=True, slots=True)
class Held:
    """One tensor of a file."""

    type: str
    """As the format writes it: `F32`, `BF16`."""
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{list(self.shape)} of {self.type}"


def read_header(files: Files, name: str) -> dict[str, Held]:
    """The tensors of a file by their names. Raises `ValueError` with what is wrong with it."""
    first = files.head(name, _FIRST_BYTES)
    if first is None:
        raise ValueError("cannot be read")
    if first.startswith(_POINTER):
        raise ValueError("is a pointer of Git LFS in place of the file: fetch it with git lfs pull")
    length = int.from_bytes(first[:_LENGTH_BYTES], "little")
    if len(first) < _LENGTH_BYTES or not length > 0:
        raise ValueError("has no header of safetensors: it is cut short, or another kind of file")
    if length > _HEADER_BYTES_MAX:
        raise ValueError(
            f"says that its header has {length} bytes, and at most {_HEADER_BYTES_MAX} are read: "
            "it is damaged, or another kind of file"
        )
    whole = _LENGTH_BYTES + length
    content = first if len(first) >= whole else files.head(name, whole) or b""
    if len(content) < whole:
        raise ValueError(f"ends inside its header of {length} bytes: it is cut short")
    found, data_bytes = _parsed(content[_LENGTH_BYTES:whole])
    size = files.names().get(name, 0)
    # The one proof that a file is whole without its bytes: a download that broke off has a good
    # header.
    if size and size != whole + data_bytes:
        raise ValueError(
            f"has {size} bytes, and its header describes {whole + data_bytes}: it is cut short, or "
            "damaged"
        )
    return found


def _parsed(text: bytes) -> tuple[dict[str, Held], int]:
    """The tensors, and the bytes of all of them."""
    try:
        table = json.loads(text.decode(), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"has a header that does not read ({error}): it is damaged") from error
    if not isinstance(table, dict):
        raise ValueError("has a header that is no JSON object: it is damaged")
    found: dict[str, Held] = {}
    data_bytes = 0
    for name, entry in table.items():
        if name != _META:
            found[name], stop = _tensor(name, entry)
            data_bytes = max(data_bytes, stop)
    return found, data_bytes


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a name is there twice")
    return table


def _tensor(name: str, entry: Any) -> tuple[Held, int]:
    table = entry if isinstance(entry, dict) else {}
    kind, shape, place = table.get("dtype"), table.get("shape"), table.get("data_offsets")
    bits = _BITS.get(kind) if isinstance(kind, str) else None
    if (
        not isinstance(kind, str)
        or bits is None
        or not isinstance(shape, list)
        or len(shape) > _DIMENSIONS_MAX
        or not all(_is_count(each) for each in shape)
        or not isinstance(place, list)
        or len(place) != 2
        or not all(_is_count(each) for each in place)
        or (place[1] - place[0]) * 8 != prod(shape) * bits
    ):
        raise ValueError(f"describes {name[:80]!r} by what is no tensor: it is damaged")
    return Held(kind, tuple(shape)), place[1]


def _is_count(value: Any) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole and 0 <= value <= _DIMENSION_MAX
