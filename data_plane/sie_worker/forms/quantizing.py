"""Vectors in smaller types, and cut to fewer numbers.

*pure.* The types are those of `sie_schemas.arrays`. A vector is a row, of one text or of one token.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sie_schemas.arrays import DTYPES, in_dtype

__all__ = ["DTYPES", "in_dtype", "kept"]

_NORM_MIN: Final = 1e-12
"""Below it a length counts as this, as torch's normalize has it."""


def kept(vectors: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """The first `width` numbers of each vector, normalised; all of them as they are.

    A row of zeros stays one. Matryoshka models are trained to be cut so.
    """
    if width >= vectors.shape[-1]:
        return vectors
    cut = vectors[..., :width]
    lengths = np.linalg.norm(cut, axis=-1, keepdims=True)
    return np.ascontiguousarray(cut / np.maximum(lengths, np.float32(_NORM_MIN)))
