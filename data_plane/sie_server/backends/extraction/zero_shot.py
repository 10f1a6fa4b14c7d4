"""The backend `zero-shot-classification`: any labels for a text, by a classifier of inference.

*shell* over one model that was trained to say whether a hypothesis follows from a text. Takes texts
and the labels of the request, and makes a hypothesis of each label by a template. Answers
`classifications` with the scores of transformers' pipeline. The text is cut where a pair is longer
than the model reads, the hypothesis never.
"""

from collections.abc import Sequence
from string import Formatter
from typing import Final

import numpy as np
from msgspec.structs import replace
from tokenizers import Encoding

from sie_schemas.errors import FixRequest
from sie_schemas.ipc import Answers, ClassAnswers, Loaded, RunBatch, TextInput, TokensInput
from sie_server.backends.backend import (
    Backend,
    DeviceSpec,
    ModelSpec,
    load_failed,
    require_only,
    require_operation,
    take,
)
from sie_server.backends.extraction.classes import entailment, entailment_of, told
from sie_server.backends.extraction.labels import any_labels
from sie_server.backends.extraction.options import CLASSES, chosen
from sie_server.backends.extraction.sequence_logits import SequenceLogits
from sie_server.backends.forward.token_inputs import token_input
from sie_server.weights.tokenizer_file import read_tokenizer

__all__ = ["ZeroShotClassifier", "load"]

_OPTIONS: Final = {
    **CLASSES,
    "hypothesis_template": "This example is {}.",
    "multi_label": False,
}


def load(spec: ModelSpec, device: DeviceSpec) -> Backend:
    """Load a classifier and probe it. Raises MODEL_LOAD_FAILED."""
    require_only(spec, "extract")
    return ZeroShotClassifier(spec, device)


class ZeroShotClassifier(SequenceLogits):
    """A classifier that takes any labels."""

    def __init__(self, spec: ModelSpec, device: DeviceSpec) -> None:
        assert spec.tasks.extract is not None, "load has checked that"
        super().__init__(spec, device)
        self._own_labels = spec.tasks.extract.labels
        entails = entailment_of(self.names)
        if entails is None or len(self.names) < 2:
            raise load_failed(
                f"the labels of {spec.model_id} are {', '.join(self.names)}: none says that "
                "a hypothesis follows (`entailment`) beside one that says that it does not; "
                "the backend text-classification gives a model's own labels"
            )
        self._entails = entails
        self._tokenizer = read_tokenizer(self.tokenizer.path, tokens_max=self.tokens_max)
        # The first is the text: a hypothesis without its label would be about nothing.
        self._tokenizer.enable_truncation(
            self.tokens_max, strategy="only_first", direction=self.tokenizer.truncation_side
        )

    def describe(self) -> Loaded:
        """Texts in, classes out; a text's cost is a quarter of its bytes, for each label."""
        return replace(
            super().describe(),
            accepts="text",
            tokenizer_path="",
            tokenizer_sha256="",
            cost_unit="bytes4",
            # A text is read once for each label, which a batch's budget did not know at first.
            reads_per_label=max(1, len(self._own_labels)),
        )

    def run(self, batch: RunBatch) -> Answers:
        """A score for each label of each text, the likeliest first."""
        require_operation(batch, self._spec.model_id, "extract")
        asked = chosen(self._spec, batch, _OPTIONS)
        labels = any_labels(batch.labels or self._own_labels, self._spec.model_id)
        texts = [given.text for given in take(batch, TextInput)]
        hypotheses = _hypotheses(asked["hypothesis_template"], labels)
        pairs = [
            self._pair(text, hypothesis, index)
            for index, text in enumerate(texts)
            for hypothesis in hypotheses
        ]
        pins = batch.adapters or (batch.adapter,) * len(texts)
        each = [pin for pin in pins for _ in labels]
        inputs = [self._input(pair) for pair in pairs]
        logits = self.logits(batch, inputs, each).numpy()
        found = [
            entailment(rows, self._entails, multi_label=asked["multi_label"])
            for rows in logits.reshape(len(texts), len(labels), -1)
        ]
        counts = np.array([len(pair.ids) for pair in pairs]).reshape(len(texts), -1).sum(axis=1)
        return ClassAnswers(
            tuple(told(labels, scores, asked["threshold"]) for scores in found),
            tokens=tuple(counts.tolist()),
        )

    def _pair(self, text: str, hypothesis: str, index: int) -> Encoding:
        try:
            return self._tokenizer.encode(text, hypothesis)
        except Exception as error:  # the native library raises no narrower class
            raise FixRequest(
                f"a label of {len(hypothesis)} characters in its template leaves no room for text "
                f"{index} in the {self.tokens_max} tokens that the model reads",
                code="INPUT_TOO_LONG",
                field="labels",
            ) from error

    def _input(self, pair: Encoding) -> TokensInput:
        # A tokenizer may tell two types where the model's table has one.
        return token_input(pair.ids, pair.type_ids if self.takes_types else ())


def _hypotheses(template: str, labels: Sequence[str]) -> list[str]:
    """The template of each label, read as transformers reads it: `{{` is a brace."""
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise _no_template(f"cannot be read: {error}; a brace is written twice") from error
    places = [part for part in parts if part[1] is not None]
    # transformers refuses a second place too, and a thousand of them would fill the memory.
    if [part[1:] for part in places] != [("", "", None)]:
        raise _no_template(
            f"has {len(places) or 'no'} {{}} for the label to stand in; one is wanted"
        )
    return [
        "".join(text + (label if name == "" else "") for text, name, *_ in parts)
        for label in labels
    ]


def _no_template(what: str) -> FixRequest:
    name = "hypothesis_template"
    return FixRequest(f"the option {name} {what}", field=f"options.{name}")
