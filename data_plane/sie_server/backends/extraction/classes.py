"""Classes: from logits to labels with their scores.

*pure.* The scores are those of transformers' pipelines. Classes come by falling score; equal scores
keep the order of the labels.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Activation", "activated", "entailment", "entailment_of", "told"]

Activation: TypeAlias = Literal["softmax", "sigmoid", "none"]
_ENTAILS: Final = "entail"


def activated(logits: NDArray[Any], activation: str) -> NDArray[np.float64]:
    """Scores of logits [..., labels], by an `Activation`."""
    rows = logits.astype(np.float64)
    if activation == "sigmoid":
        # The sigmoid as it does not overflow: 1 / (1 + exp(-x)) does for logits far below 0.
        return np.asarray(0.5 * (1 + np.tanh(rows / 2)))
    if activation == "softmax":
        powers = np.exp(rows - rows.max(axis=-1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
    return rows


def entailment_of(names: Sequence[str]) -> int | None:
    """The place of the label that says that a hypothesis follows; None where none is named so."""
    return next(
        (place for place, name in enumerate(names) if name.lower().startswith(_ENTAILS)), None
    )


def entailment(logits: NDArray[Any], entails: int, *, multi_label: bool) -> NDArray[np.float64]:
    """Scores [labels] of one text from the logits [labels, classes] of its hypotheses.

    With `multi_label`, or for a single label, each stands by itself: entailment against
    contradiction. Else they share one.
    """
    if multi_label or len(logits) == 1:
        # As transformers guesses it, whatever the labels are called: the first class, or the last
        # where the first is the entailment.
        contradicts = logits.shape[-1] - 1 if entails == 0 else 0
        return activated(logits[:, [contradicts, entails]], "softmax")[:, 1]
    return activated(logits[:, entails], "softmax")


def told(
    labels: Sequence[str], scores: NDArray[Any], threshold: float = -np.inf
) -> tuple[dict[str, Any], ...]:
    """The classes of one text whose score is not below a threshold."""
    order = sorted(range(len(labels)), key=lambda place: -float(scores[place]))
    return tuple(
        {"label": labels[place], "score": float(scores[place])}
        for place in order
        if scores[place] >= threshold
    )
