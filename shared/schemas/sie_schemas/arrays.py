"""Numpy arrays on the wire.

*pure.* An array is a msgpack map whose keys are bytes: `nd`, `type`, `kind`, `shape`, `data`. The
`msgpack-numpy` package and the published SIE clients read that form. Promises that a decoded array
is read-only and has exactly the bytes that were sent. Object and structured types are refused.

`in_dtype` gives vectors in the smaller types that `output_dtype` names, for those who store
millions of them. Every vector is scaled by itself, whatever it was computed with. The scale is not
sent, since cosines and Hamming distances do not need it.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "DTYPES",
    "ArrayMalformed",
    "from_wire",
    "in_dtype",
    "lists_from_wire",
    "to_wire",
    "wire_of",
]

_DTYPES: Final = frozenset(
    {
        order + kind
        for order in "<>"
        for kind in ("f2", "f4", "f8", "i2", "i4", "i8", "u2", "u4", "u8")
    }
    | {"|b1", "|i1", "|u1"}
)
_DIMENSIONS_MAX: Final = 4
"""As a batch of pictures has, twice what an answer has: as lists each costs 56 bytes a row."""
_EMPTY_ROWS_MAX: Final = 1024
"""Without a number in them: no answer has one such row."""


_Form: TypeAlias = Callable[[NDArray[np.float32]], NDArray[Any]]


class ArrayMalformed(ValueError):
    """A map claims to be an array and is not one."""


def to_wire(array: NDArray[Any]) -> dict[bytes, Any]:
    """The map of an array, C order."""
    contiguous = np.asarray(array, order="C")
    return wire_of(contiguous.dtype.str, list(contiguous.shape), contiguous.tobytes())


def wire_of(dtype: str, shape: list[int], data: bytes) -> dict[bytes, Any]:
    """The map of an array whose bytes are at hand, C order."""
    return {b"nd": True, b"type": dtype, b"kind": b"", b"shape": shape, b"data": data}


def from_wire(value: Any) -> Any:
    """Replace every array map inside a decoded msgpack value. Raises `ArrayMalformed`."""
    if isinstance(value, dict):
        if b"nd" in value:
            return _array(value)
        return {key: from_wire(item) for key, item in value.items()}
    if isinstance(value, list):
        return [from_wire(item) for item in value]
    return value


def lists_from_wire(value: Any) -> Any:
    """Like `from_wire`, with nested lists instead of arrays: what a JSON answer holds."""
    if isinstance(value, dict):
        if b"nd" in value:
            return _array(value).tolist()
        return {key: lists_from_wire(item) for key, item in value.items()}
    if isinstance(value, list):
        return [lists_from_wire(item) for item in value]
    return value


def _array(value: dict[Any, Any]) -> NDArray[Any]:
    dtype, shape, data = value.get(b"type"), value.get(b"shape", []), value.get(b"data")
    if isinstance(dtype, bytes):
        dtype = dtype.decode("ascii", "replace")
    if dtype not in _DTYPES or value.get(b"kind", b"") not in (b"", ""):
        raise ArrayMalformed(f"arrays of type {dtype!r} are not sent")
    if not isinstance(data, bytes | bytearray | memoryview):
        raise ArrayMalformed("an array's data is bytes")
    if not value[b"nd"]:
        shape = []
    if not isinstance(shape, list) or len(shape) > _DIMENSIONS_MAX:
        raise ArrayMalformed(f"an array has at most {_DIMENSIONS_MAX} dimensions")
    if not data and 0 in shape and math.prod(shape[: shape.index(0)]) > _EMPTY_ROWS_MAX:
        # As lists they would be as many as the shape says, for which no byte was sent.
        raise ArrayMalformed(f"more than {_EMPTY_ROWS_MAX} rows without a number are not sent")
    try:
        array = np.frombuffer(data, dtype=dtype).reshape(shape)
    except (TypeError, ValueError) as error:
        raise ArrayMalformed(f"the data do not fill an array of shape {shape}: {error}") from error
    array.flags.writeable = False
    return array


def in_dtype(vectors: NDArray[np.float32], dtype: str) -> NDArray[Any]:
    """Vectors, [dim] or [rows, dim], in a type of `DTYPES`."""
    return DTYPES[dtype](vectors)


def _int8(vectors: NDArray[np.float32]) -> NDArray[Any]:
    """Symmetric: the largest magnitude of a row becomes 127."""
    largest = np.abs(vectors).max(axis=-1, keepdims=True, initial=0)
    return _rounded(vectors / _or_one(largest) * 127, "|i1")


def _uint8(vectors: NDArray[np.float32]) -> NDArray[Any]:
    """From the least of a row (0) to its greatest (255)."""
    least = vectors.min(axis=-1, keepdims=True)
    spread = vectors.max(axis=-1, keepdims=True) - least
    return _rounded((vectors - least) / _or_one(spread) * 255, "|u1")


def _bits(vectors: NDArray[np.float32]) -> NDArray[Any]:
    """One bit for each number, set where it is positive. The first is the highest of its byte, and
    the last byte is filled up with zeros."""
    return np.packbits(vectors > 0, axis=-1)


def _rounded(numbers: NDArray[np.float32], dtype: str) -> NDArray[Any]:
    return numbers.round().astype(dtype)


def _or_one(scale: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(scale > 0, scale, np.float32(1))


DTYPES: Final[Mapping[str, _Form]] = {
    "float32": lambda vectors: vectors,
    "float16": lambda vectors: vectors.astype("<f2"),
    "int8": _int8,
    "uint8": _uint8,
    "binary": _bits,
    "ubinary": _bits,
}
"""The forms that `output_dtype` names, and how vectors get there."""
