"""Trial texts: token ids that nobody wrote, by which a model is tried when it is loaded.

*device.* Promises that two loads of one model draw the same texts, and so come to one verdict.
"""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

__all__ = ["first_plain", "trial_texts"]

_SEED: Final = 20_240_229
"""Any number will do, as long as it stays."""
_SPECIAL: Final = 10
"""The lowest ids are special in most vocabularies."""


def first_plain(vocabulary: int) -> int:
    """The lowest id that is drawn."""
    return min(_SPECIAL, vocabulary - 1)


def trial_texts(vocabulary: int, lengths: Sequence[int]) -> list[Tensor]:
    """A text of so many tokens each."""
    generator = torch.Generator().manual_seed(_SEED)
    first = first_plain(vocabulary)
    return [torch.randint(first, vocabulary, (length,), generator=generator) for length in lengths]
