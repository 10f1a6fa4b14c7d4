"""The trial of a library's batches: does it tell of a text the same beside others as alone?

*device* over a model of an authors' library, by its own forward. A trial decides and no list of
layouts does: such a library pads its batches, and many of its parts read the padding. So do the
encoders that convolve or sample a row, and those that count its places from the left. Promises that
texts share a batch only where every logit of each agrees with those that it has alone.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import torch
from torch import Tensor

from sie_server.backends.forward.trial_texts import first_plain, trial_texts
from sie_server.failures import load_failed
from sie_server.tolerances import logits_agree

__all__ = ["Logits", "reads_together", "trial_words"]

_LENGTHS: Final = (60, 12, 2)
"""Tokens of the texts: the shortest stands beside thirty times its length of padding."""

Logits: TypeAlias = Callable[[Sequence[str]], Sequence[Tensor]]
"""From texts that are read together to the logits of each, those of padding left out."""
_FAILS: Final = (RuntimeError, TypeError, ValueError, IndexError, KeyError, AttributeError,
                      ArithmeticError, ImportError)  # fmt: skip
"""All that a library has been seen to end by."""


def trial_words(tokenizer: Any) -> list[str]:
    """Texts of other lengths, each of tokens that the tokenizer knows."""
    vocabulary = int(tokenizer.vocab_size)
    return [
        " ".join(
            tokenizer.decode([token])
            for token in [first_plain(vocabulary), *ids.tolist()]
            if token not in tokenizer.all_special_ids
        )
        for ids in trial_texts(vocabulary, _LENGTHS)
    ]


@torch.inference_mode()
def reads_together(logits: Logits, texts: Sequence[str], dtype: torch.dtype) -> bool:
    """True if texts may share a batch. Raises MODEL_LOAD_FAILED where even a lone one fails."""
    try:
        alone = [logits([text])[0] for text in texts]
    except _FAILS as error:
        raise load_failed(
            f"the model's own forward fails: {str(error)[:300]}; mend its config, if it was edited"
        ) from error
    try:
        together = logits(texts)
    except _FAILS:
        return False
    return all(
        found.shape == expected.shape and logits_agree(found.float(), expected.float(), dtype)
        for found, expected in zip(together, alone, strict=True)
    )
