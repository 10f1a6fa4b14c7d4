"""Activations: from a classifier's logits to the score that its authors' library gives.

*device.* A config names an activation by its class in torch, and can name nothing else. `judge`
gives for each pair the score, the relevance (the model's own probability, between 0 and 1) and the
logit that both come from.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["ACTIVATIONS", "Judged", "judge"]

Activation: TypeAlias = Callable[[Tensor], Tensor]

ACTIVATIONS: Final[Mapping[str, Activation]] = {
    "Identity": lambda logits: logits,
    "Sigmoid": torch.sigmoid,
    "Softmax": lambda logits: logits.softmax(dim=1),
    "Hardsigmoid": functional.hardsigmoid,
    "LogSigmoid": functional.logsigmoid,
    "LogSoftmax": lambda logits: logits.log_softmax(dim=1),
    "Tanh": torch.tanh,
    "Softplus": functional.softplus,
    "ReLU": torch.relu,
}
"""Those that a saved cross-encoder may name, by the class in `torch.nn`: logits [pairs, labels]."""
_PROBABILITIES: Final = frozenset({"Sigmoid", "Softmax", "Hardsigmoid"})


@dataclass(frozen=True, slots=True)
class Judged:
    """Numbers of pairs, [pairs] each, float32."""

    scores: Tensor
    relevance: Tensor
    logits: Tensor


def judge(logits: Tensor, activation: str, label: int) -> Judged:
    """Logits [pairs, labels] to the numbers of one label.

    The relevance is the score where that is a probability by itself, else the probability that the
    logits stand for: the sigmoid of a single one, the softmax of several.
    """
    given = logits.float()
    scores = ACTIVATIONS[activation](given)
    if activation in _PROBABILITIES:
        chances = scores
    else:
        chances = given.sigmoid() if given.shape[1] == 1 else given.softmax(dim=1)
    return Judged(scores[:, label], chances[:, label], given[:, label])
