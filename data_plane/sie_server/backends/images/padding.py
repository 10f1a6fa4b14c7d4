"""Filling texts up: with which token, at which side, and if it is looked at.

*device*: tensors of token ids. The tokenizer's own word decides, as transformers reads it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoTokenizer

from sie_server.failures import load_failed

__all__ = ["Padding", "padding_of"]


@dataclass(frozen=True, slots=True)
class Padding:
    """The token that fills texts up; `left` of them, or behind them. `hidden` says that no token
    looks at it."""

    token: int
    left: bool
    hidden: bool

    def filled(self, ids: Sequence[Tensor], width: int) -> tuple[Tensor, Tensor | None]:
        """Token ids [texts, width], and the mask of those that are looked at; None: all."""
        rows = torch.full((len(ids), width), self.token, dtype=torch.long)
        mask = torch.zeros((len(ids), width), dtype=torch.long)
        for row, own in enumerate(ids):
            place = slice(width - len(own), width) if self.left else slice(0, len(own))
            rows[row, place] = own.long()
            mask[row, place] = 1
        return rows, mask if self.hidden else None


def padding_of(folder: Path, *, causal: bool) -> Padding:
    """The padding of a folder's tokenizer. Raises MODEL_LOAD_FAILED.

    In a `causal` tower no token looks at one behind it: what stands there changes nothing.
    """
    if causal:
        return Padding(0, left=False, hidden=True)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, ImportError, AttributeError, KeyError, TypeError) as error:
        raise load_failed(f"the tokenizer in {folder} cannot be read: {error}") from error
    if tokenizer.pad_token_id is None:
        raise load_failed(f"the tokenizer in {folder} has no token to fill texts up with")
    return Padding(
        int(tokenizer.pad_token_id),
        left=tokenizer.padding_side == "left",
        hidden="attention_mask" in tokenizer.model_input_names,
    )
