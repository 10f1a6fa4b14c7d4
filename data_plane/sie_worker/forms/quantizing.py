"""Vectors in smaller types, for those who store millions of them.

*pure.* Every vector (a row, of one text or of one token) is scaled by itself, whatever it was
computed with. The scale is not sent, since cosines and Hamming distances do not need it. The forms
are those that published SIE clients ask for.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["DTYPES", "in_dtype", "kept"]

_NORM_MIN: Final = 1e-12
"""Below it a length counts as this, as torch's normalize has it."""
_Form = Callable[[NDArray[np.float32]], NDArray[Any]]


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


def kept(vectors: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """The first `width` numbers of each vector, normalised; all of them as they are.

    A row of zeros stays one. Matryoshka models are trained to be cut so.
    """
    if width >= vectors.shape[-1]:
        return vectors
    cut = vectors[..., :width]
    lengths = np.linalg.norm(cut, axis=-1, keepdims=True)
    return np.ascontiguousarray(cut / np.maximum(lengths, np.float32(_NORM_MIN)))


def in_dtype(vectors: NDArray[np.float32], dtype: str) -> NDArray[Any]:
    """Vectors, [dim] or [rows, dim], in a type of `DTYPES`."""
    return DTYPES[dtype](vectors)
