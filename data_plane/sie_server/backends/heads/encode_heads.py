"""Sparse vectors and multivectors from the hidden states of flat tokens.

*device.* Works on tokens laid end to end, sequences given by their lengths. `masked_language_head`
is a model's own scorer of its vocabulary. `lexical` weighs the tokens of the text itself, and
`token_vectors` projects each token but the first (both as bge-m3 does). Everything is float32.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from sie_server.backends.backend import load_failed

__all__ = ["lexical", "masked_language_head", "token_vectors"]

Sparse = tuple[NDArray[np.int32], NDArray[np.float32]]
"""Indices, ascending, and their weights."""


def masked_language_head(model: PreTrainedModel) -> Callable[[Tensor], Tensor]:
    """The part of a masked-language model behind its encoder. Raises MODEL_LOAD_FAILED."""
    parts: Any = model
    # Families give the same part other names; one that is nowhere here is refused and not guessed.
    for name in ("cls", "lm_head"):
        if isinstance(getattr(model, name, None), nn.Module):
            head: Callable[[Tensor], Tensor] = getattr(model, name)
            return head
    if hasattr(model, "vocab_projector"):
        return lambda hidden: parts.vocab_projector(
            parts.vocab_layer_norm(parts.activation(parts.vocab_transform(hidden)))
        )
    if hasattr(model, "head") and hasattr(model, "decoder"):
        return lambda hidden: parts.decoder(parts.head(hidden))
    raise load_failed(f"{type(model).__name__} keeps its vocabulary head where it is not known")


def lexical(weights: Tensor, ids: Sequence[Tensor], special: NDArray[np.int64]) -> list[Sparse]:
    """The greatest weight of each distinct token of each text, special ones and zeros left out."""
    found: list[Sparse] = []
    for own, text in zip(torch.split(weights, [len(text) for text in ids]), ids, strict=True):
        tokens, values = text.cpu().numpy(), own.float().cpu().numpy()
        kept = ~np.isin(tokens, special) & (values > 0)
        distinct, places = np.unique(tokens[kept], return_inverse=True)
        greatest = np.zeros(len(distinct), dtype=np.float32)
        # One after the other: by plain indexing a token that comes twice keeps its last weight.
        np.maximum.at(greatest, places, values[kept])
        found.append((distinct.astype(np.int32), greatest))
    return found


def token_vectors(head: nn.Linear, hidden: Tensor, lengths: Sequence[int]) -> list[Tensor]:
    """A unit vector for each token but the first of each text, whose place is the dense vector."""
    projected = nn.functional.normalize(head(hidden).float(), dim=1)
    return [text[1:] for text in torch.split(projected, list(lengths))]
