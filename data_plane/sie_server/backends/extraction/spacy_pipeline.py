"""The backend `spacy`: named entities from a spaCy pipeline.

*shell* over one pipeline. Takes texts; answers entities with offsets in characters: those that the
pipeline gives as a whole. Only steps that entities do not hang on are left out. The labels are the
pipeline's own; asking for one that it does not have is an error, not an empty answer. A pipeline
gives no probabilities: each score is 1.0.
"""

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import spacy

from sie_schemas.errors import FixRequest
from sie_schemas.ipc import Answers, EntityAnswers, Loaded, RunBatch, TextInput
from sie_server.backends.backend import (
    Backend,
    DeviceSpec,
    ModelSpec,
    WithoutAdapters,
    load_failed,
    require_only,
    take,
)
from sie_server.backends.extraction.characters import placed, trimmed, whole
from sie_server.backends.extraction.labels import FixedLabels
from sie_server.backends.extraction.options import PLACES, chosen
from sie_server.backends.extraction.spans import Span

__all__ = ["SpacyPipeline", "load"]

_RECOGNISER: Final = "ner"
_ENTITIES: Final = "doc.ents"
"""The mark of a step that tells entities, among what it says that it assigns."""
_UNUSED: Final = frozenset(
    {"tagger", "attribute_ruler", "lemmatizer", "trainable_lemmatizer", "morphologizer"}
)
_READ_BY_ENTITIES: Final = frozenset(
    {"tok2vec", "transformer", "curated_transformer", "parser", "senter", "sentencizer", "ner"}
)
"""An entity ends where a sentence does, as the parser or another step has it."""


def load(spec: ModelSpec, device: DeviceSpec) -> Backend:
    """Load a pipeline's data folder. Raises MODEL_LOAD_FAILED."""
    require_only(spec, "extract")
    folder = spec.weights.folder
    spec.weights.file(f"{_RECOGNISER}/model", cure="the pipeline needs an entity recogniser")
    try:
        with warnings.catch_warnings():
            # A pipeline of a neighbouring spaCy version loads with a warning, which is not ours.
            warnings.simplefilter("ignore")
            pipeline = spacy.load(folder, exclude=_unused(folder))
    except (OSError, ValueError, KeyError) as error:
        raise load_failed(f"spaCy cannot load {folder}: {error}; restore the folder") from error
    return SpacyPipeline(spec, pipeline, _folder_bytes(folder))


class SpacyPipeline(WithoutAdapters):
    """One pipeline, owned by the device's thread."""

    name = "spacy"

    def __init__(self, spec: ModelSpec, pipeline: Any, folder_bytes: int) -> None:
        self._spec = spec
        self._pipeline = pipeline
        self._folder_bytes = folder_bytes
        self._labels = FixedLabels(spec, _labels(pipeline))

    def describe(self) -> Loaded:
        """Texts in, entities out; a text's cost is a quarter of its bytes."""
        return Loaded(
            id=0,
            revision=self._spec.revision,
            accepts="text",
            truncation_side="",
            cost_unit="bytes4",
            execution="padded",
            reason="spaCy batches by itself",
            batch_invariant=self._spec.profile.batch_invariant,
            memory_bytes=self.memory_bytes(),
        )

    def memory_bytes(self) -> int:
        """Bytes of the pipeline's files."""
        return self._folder_bytes

    def run(self, batch: RunBatch) -> Answers:
        """The entities of each text, in the order of the text."""
        self.require(batch, "extract")
        texts = [given.text for given in take(batch, TextInput)]
        self._check_lengths(texts)
        unit = chosen(self._spec, batch, PLACES)["offset_unit"]
        # Where nobody names labels none is left out: a step may tell one that it does not declare.
        wanted = self._labels.asked(batch.labels) or self._labels.default
        documents = list(self._pipeline.pipe(texts))
        read = zip(texts, documents, strict=True)
        return EntityAnswers(
            tuple(placed(text, list(_spans(text, own, wanted)), unit) for text, own in read),
            tokens=tuple(len(document) for document in documents),
        )

    def _check_lengths(self, texts: Sequence[str]) -> None:
        for index, text in enumerate(texts):
            # spaCy would raise for the whole batch, without saying which text it was.
            if len(text) > self._pipeline.max_length:
                raise FixRequest(
                    f"input {index} has {len(text)} characters; the model reads "
                    f"{self._pipeline.max_length}",
                    code="INPUT_TOO_LONG",
                    field=f"inputs.{index}.text",
                )


def _spans(text: str, document: Any, labels: frozenset[str]) -> Iterator[Span]:
    """The entities of labels, of any where there are none, each with whole characters.

    spaCy's words may end inside a flag or an emoji.
    """
    stopped = 0
    for span in document.ents:
        start, stop = whole(text, *trimmed(text, span.start_char, span.end_char))
        start = max(start, stopped)
        if (not labels or span.label_ in labels) and start < stop:
            yield start, stop, span.label_, 1.0
            stopped = stop


def _unused(folder: Path) -> list[str]:
    """The steps that no entity hangs on: none where a step is of another kind, such as rules over
    parts of speech."""
    steps = spacy.util.load_config(folder / "config.cfg")["components"]
    kinds = {name: str(step.get("factory")) for name, step in steps.items()}
    if not set(kinds.values()) <= _UNUSED | _READ_BY_ENTITIES:
        return []
    return [name for name, kind in kinds.items() if kind in _UNUSED]


def _labels(pipeline: Any) -> set[str]:
    """Those of every step that tells entities."""
    steps = {name: pipeline.get_pipe(name) for name in pipeline.pipe_names}
    return {
        label
        for name, step in steps.items()
        if _ENTITIES in pipeline.get_pipe_meta(name).assigns
        or getattr(step, "annotate_ents", False)
        # A step of somebody else's may be a mere function.
        for label in getattr(step, "labels", ())
    }


def _folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
