"""The nearness at which two answers count as the same: one bound for each type of number.

*device.* Kernels of other shapes, orders and instruction sets round otherwise, and bfloat16 a
thousand times as much as float32. The probe and the check of a head decide by these bounds, and the
tests hold answers to them. Nobody else has numbers of his own. What is no finite number agrees with
nothing.
"""

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

__all__ = ["FULL", "HALF", "Tolerance", "disagreement", "logits_agree", "tolerance_of"]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The largest differences that rounding explains."""

    cosine: float
    """Cosine distance of two vectors."""
    delta: float
    """Difference of one number, in parts of its vector's root mean square."""
    logit: float
    """Difference of one logit, in parts of itself and 1."""


FULL: Final = Tolerance(cosine=1e-6, delta=1e-5, logit=1e-4)
HALF: Final = Tolerance(cosine=1e-3, delta=math.inf, logit=5e-2)
"""Of half precision only the direction is promised: one number of many may be far off."""


def tolerance_of(dtype: torch.dtype) -> Tolerance:
    """The bound for answers of a model that runs in this type."""
    return HALF if dtype in (torch.bfloat16, torch.float16) else FULL


def disagreement(found: Tensor, expected: Tensor, dtype: torch.dtype) -> str:
    """The reason why two sets of vectors, one a row, do not count as equal; empty if they do."""
    allowed = tolerance_of(dtype)
    left, right = found.double(), expected.double()
    if not (left.isfinite().all() and right.isfinite().all()):
        return "a number that is none"
    differs = (left != right).any(dim=1)
    if not differs.any():
        return ""  # also two vectors of zeros alone, which have no direction
    left, right = left[differs], right[differs]
    distance = 1 - torch.nn.functional.cosine_similarity(left, right, dim=1)
    rms = right.square().mean(dim=1).sqrt()
    delta = (left - right).abs().amax(dim=1) / rms
    worst, most = distance.max().item(), delta.max().item()
    if worst <= allowed.cosine and most <= allowed.delta:
        return ""
    return f"cosine distance {worst:.1e} and difference {most:.1e} rms"


def logits_agree(found: Tensor, expected: Tensor, dtype: torch.dtype) -> bool:
    """True if two sets of logits count as equal, each number by itself."""
    allowed = tolerance_of(dtype).logit * (1 + expected.abs())
    return bool(((found - expected).abs() <= allowed).all())
