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

from sie_schemas.ipc import ScoreAnswers
from sie_server.backends.backend import ModelSpec
from sie_server.backends.heads.vector_answers import float_bytes

__all__ = ["ACTIVATIONS", "Judged", "chosen_activation", "judge", "score_answers"]

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
_OF_OPTIONS: Final = {"none": "Identity", "sigmoid": "Sigmoid", "softmax": "Softmax"}
_PROBABILITIES: Final = frozenset({"Sigmoid", "Softmax", "Hardsigmoid"})


@dataclass(frozen=True, slots=True)
class Judged:
    """Numbers of pairs, [pairs] each, float32."""

    scores: Tensor
    relevance: Tensor
    logits: Tensor


def judge(logits: Tensor, activation: str, label: int) -> Judged:
    """Logits [pairs, labels] to the numbers of one label.

    The relevance is the score where that is a probability by itself. Else it is the probability
    that the logits stand for: the sigmoid of a single one, the softmax of several.
    """
    given = logits.float()
    scores = ACTIVATIONS[activation](given)
    if activation in _PROBABILITIES:
        chances = scores
    else:
        chances = given.sigmoid() if given.shape[1] == 1 else given.softmax(dim=1)
    return Judged(scores[:, label], chances[:, label], given[:, label])


def chosen_activation(spec: ModelSpec, found: str | None) -> str | None:
    """The profile's activation, else the one that was found in the folder."""
    option = spec.profile.options.get("activation")
    return found if option is None else _OF_OPTIONS[str(option)]


def score_answers(judged: Judged) -> ScoreAnswers:
    """The numbers of pairs, in their order."""
    return ScoreAnswers(
        values=float_bytes(judged.scores),
        relevance=float_bytes(judged.relevance),
        logits=float_bytes(judged.logits),
    )
