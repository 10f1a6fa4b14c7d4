"""The sameness of two answers, by the bounds of the type that they were made in.

A test module that imports `assert_same` is numeric: `sie soak` runs it under every instruction set.
"""

import numpy as np
import torch
from numpy.typing import ArrayLike

from sie_server.tolerances import disagreement

__all__ = ["assert_same"]


def assert_same(found: ArrayLike, expected: ArrayLike, dtype: torch.dtype = torch.float32) -> None:
    """Equal vectors: one, or one a row; numbers of several texts are one vector."""
    left, right = (torch.from_numpy(np.atleast_2d(np.array(each))) for each in (found, expected))
    assert left.shape == right.shape, f"shape {left.shape} is not {right.shape}"
    reason = disagreement(left, right, dtype)
    assert not reason, f"{reason} in {dtype}"
