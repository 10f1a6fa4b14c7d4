"""The backend `text-classification`: the classes of a text, by a torch classifier.

*shell* over one sequence-classification model and its adapters. Takes token ids. Answers
`classifications`: every label of the model with its score, or those that are asked for. The scores
are those of transformers' pipeline: softmax, or sigmoid where the config says that several labels
may hold, or where there is one. The option `activation` chooses otherwise.
"""

from typing import Final

from sie_schemas.ipc import Answers, ClassAnswers, RunBatch, TokensInput
from sie_server.backends.backend import (
    Backend,
    DeviceSpec,
    ModelSpec,
    require_only,
    require_operation,
    take,
)
from sie_server.backends.extraction.classes import activated, told
from sie_server.backends.extraction.labels import FixedLabels
from sie_server.backends.extraction.options import CLASSES, chosen
from sie_server.backends.extraction.sequence_logits import SequenceLogits

__all__ = ["TextClassifier", "load"]

_OPTIONS: Final = {**CLASSES, "activation": "default"}


def load(spec: ModelSpec, device: DeviceSpec) -> Backend:
    """Load a classifier and probe it. Raises MODEL_LOAD_FAILED."""
    require_only(spec, "extract")
    return TextClassifier(spec, device)


class TextClassifier(SequenceLogits):
    """A classifier with labels of its own."""

    def __init__(self, spec: ModelSpec, device: DeviceSpec) -> None:
        super().__init__(spec, device)
        self._labels = FixedLabels(spec, self.names)
        self._activation = _activation(self)

    def run(self, batch: RunBatch) -> Answers:
        """The classes of each text, the likeliest first."""
        require_operation(batch, self._spec.model_id, "extract")
        asked = chosen(self._spec, batch, _OPTIONS)
        wanted = self._labels.wanted(batch.labels)
        logits = self.logits(batch, take(batch, TokensInput)).numpy()
        named = asked["activation"]
        scores = activated(logits, self._activation if named == "default" else named)
        places = [place for place, name in enumerate(self.names) if name in wanted]
        names = [self.names[place] for place in places]
        # Without a threshold every label is told: a regression, or logits as they are, may be
        # below 0.
        least = asked["threshold"] or float("-inf")
        return ClassAnswers(tuple(told(names, row[places], least) for row in scores))


def _activation(model: SequenceLogits) -> str:
    problem = model.config.problem_type
    if problem == "regression":
        return "none"
    if problem == "multi_label_classification" or len(model.names) == 1:
        return "sigmoid"
    return "softmax"
