"""The numbers of a vector as other APIs write them: their types, and base64.

*pure.* Cohere, Voyage, Mistral and Jina have one set of words for the types. `binary` is `ubinary`
with each byte less 128, as they all have it.
"""

import base64
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sie_schemas.items import OutputDtype

__all__ = ["DTYPES", "NumberType", "as_base64", "as_type"]

NumberType: TypeAlias = Literal["float", "int8", "uint8", "binary", "ubinary"]
DTYPES: Final[Mapping[NumberType, OutputDtype]] = {
    "float": "float32",
    "int8": "int8",
    "uint8": "uint8",
    "binary": "binary",
    "ubinary": "ubinary",
}
_SIGNED: Final = 128
"""A byte of `ubinary` is that much above one of `binary`, which has a sign."""


def as_type(kind: NumberType, vector: NDArray[Any]) -> NDArray[Any]:
    """The numbers of a vector that was made in the dtype of `kind`."""
    if kind != "binary":
        return vector
    return (vector.astype(np.int16) - _SIGNED).astype(np.int8)


def as_base64(vector: NDArray[Any]) -> str:
    """The bytes of the numbers, the low one of each first."""
    dtype = vector.dtype.newbyteorder("<")
    return base64.b64encode(vector.astype(dtype, copy=False).tobytes()).decode("ascii")
