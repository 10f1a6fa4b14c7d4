"""The backend `gliclass`: classes for any labels in one pass, by the authors' library.

*device* over one GLiClass model of one encoder. Takes texts and the labels of the request. Answers
`classifications` with the library's scores: shared out among the labels, or each by itself with
`multi_label`. A text is cut where it and its labels are longer than the model reads, the labels
never.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import torch
from gliclass import GLiClassModel, ZeroShotClassificationPipeline
from transformers import CONFIG_MAPPING, AutoTokenizer

from sie_layouts.architectures.tensors.any_labels import lacking_of_gliclass
from sie_layouts.extraction.any_labels import read_gliclass
from sie_layouts.folder import FolderFiles
from sie_schemas.errors import FixRequest
from sie_schemas.ipc import Answers, ClassAnswers, Loaded, RunBatch, TextInput
from sie_server.backends.backend import (
    Backend,
    DeviceSpec,
    ModelSpec,
    WithoutAdapters,
    load_failed,
    require_only,
    take,
)
from sie_server.backends.extraction.classes import activated, told
from sie_server.backends.extraction.labels import any_labels
from sie_server.backends.extraction.libraries import (
    library_dtype,
    loaded_of_library,
    own_library_model,
    require_tensors,
    whole_layout,
)
from sie_server.backends.extraction.options import CLASSES, chosen
from sie_server.backends.extraction.reading_together import reads_together, trial_words

__all__ = ["GliclassClasses", "load"]

_OPTIONS: Final = {**CLASSES, "multi_label": False}
_MARKS: Final = ("<<LABEL>>", "<<SEP>>", "<<EXAMPLE>>")
_TOKENS_MAX: Final = 1024
"""The library's own bound, where the profile sets none."""
_AT_ONCE: Final = 8
"""Texts of a batch: their labels are in each row, which is long already."""
_TRIAL_LABELS: Final = ("a",)
"""As few as a model of fixed room may have room for."""


def load(spec: ModelSpec, device: DeviceSpec) -> Backend:
    """Load a model with the library. Raises MODEL_LOAD_FAILED."""
    require_only(spec, "extract")
    whole_layout(read_gliclass(FolderFiles(spec.weights.folder)))
    folder = str(spec.weights.folder)
    _require_known_encoder(spec.weights.folder / "config.json")
    spec.weights.file("model.safetensors", cure="pickles are not read: convert them to safetensors")
    require_tensors(lacking_of_gliclass(FolderFiles(spec.weights.folder)))
    dtype, torch_dtype = library_dtype(spec)
    try:
        model, found = GLiClassModel.from_pretrained(
            folder, local_files_only=True, dtype=torch_dtype, output_loading_info=True
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError) as error:
        raise load_failed(f"gliclass cannot load {folder}: {error}; restore the folder") from error
    # transformers fills what a file lacks with random numbers and warns in a log.
    unmatched = sorted({*found["missing_keys"], *found["unexpected_keys"]})
    if unmatched:
        raise load_failed(
            f"{folder} and the model differ in {len(unmatched)} tensors, {unmatched[0]} among them"
        )
    own_library_model(model, spec.weights)
    return GliclassClasses(spec, model.to(device.name), tokenizer, dtype)


class GliclassClasses(WithoutAdapters):
    """One model, owned by the device's thread."""

    name = "gliclass"

    def __init__(self, spec: ModelSpec, model: Any, tokenizer: Any, dtype: str) -> None:
        assert spec.tasks.extract is not None, "load has checked that"
        self._spec = spec
        self._own_labels = spec.tasks.extract.labels
        self._dtype = dtype
        self._model = model
        self._tokenizer = tokenizer
        self._tokens_max = spec.profile.max_sequence_length or _TOKENS_MAX
        whole = ZeroShotClassificationPipeline(
            model,
            tokenizer,
            max_length=self._tokens_max,
            device=model.device,
            progress_bar=False,
        )
        self._library = whole.pipe
        room = self._classes(len(_TRIAL_LABELS))
        together = reads_together(
            lambda texts: list(self._read(texts, _TRIAL_LABELS, room)[0]),
            [self._cut(text, _TRIAL_LABELS) for text in trial_words(tokenizer)],
            model.dtype,
        )
        self._at_once = _AT_ONCE if together else 1

    def describe(self) -> Loaded:
        """Texts in, classes out; a text's cost is a quarter of its bytes."""
        told = loaded_of_library(self._spec, "gliclass", self._dtype, self.memory_bytes())
        return msgspec.structs.replace(told, max_sequence_length=self._tokens_max)

    def memory_bytes(self) -> int:
        """Bytes of the weights."""
        return sum(weight.nbytes for weight in self._model.parameters())

    @torch.inference_mode()
    def run(self, batch: RunBatch) -> Answers:
        """A score for each label of each text, the likeliest first."""
        self.require(batch, "extract")
        asked = chosen(self._spec, batch, _OPTIONS)
        labels = any_labels(batch.labels or self._own_labels, self._spec.model_id)
        texts = [given.text for given in take(batch, TextInput)]
        for name, words in (("labels", labels), ("text", texts)):
            _require_plain(name, words)
        cut = [self._cut(text, labels) for text in texts]
        # Of like length together: the library pads each few to the longest of them.
        order = sorted(range(len(cut)), key=lambda place: len(cut[place]))
        found: list[tuple[dict[str, Any], ...]] = [()] * len(cut)
        counts = [0] * len(cut)
        room = self._classes(len(labels))
        activation = "sigmoid" if asked["multi_label"] else "softmax"
        for start in range(0, len(order), self._at_once):
            some = order[start : start + self._at_once]
            rows, lengths = self._read([cut[place] for place in some], labels, room)
            scores = activated(rows.float().cpu().numpy(), activation)
            for place, row, length in zip(some, scores, lengths, strict=True):
                found[place] = told(labels, row, asked["threshold"])
                counts[place] = length
        return ClassAnswers(tuple(found), tokens=tuple(counts))

    def _read(
        self, texts: Sequence[str], labels: Sequence[str], room: int | None
    ) -> tuple[torch.Tensor, list[int]]:
        """The logits of each text, a row, and its tokens, in one batch of the library's."""
        given = self._library.prepare_inputs(list(texts), list(labels), True)
        # A model with fixed room gives numbers for classes that nobody named, too.
        rows = self._model(**given, max_num_classes=room).logits[:, : len(labels)]
        return rows, given["attention_mask"].sum(dim=1).tolist()

    def _classes(self, count: int) -> int | None:
        """The number of classes that the model makes room for, as the library has it."""
        told_by_config = getattr(self._model.config, "max_labels_alloc", "dynamic")
        if told_by_config == "dynamic":
            return count
        fixed = told_by_config if isinstance(told_by_config, int) else None
        most = fixed or self._model.config.max_num_classes
        if count > most:
            raise FixRequest(f"{self._spec.model_id} takes at most {most} labels", field="labels")
        return fixed

    def _cut(self, text: str, labels: Sequence[str]) -> str:
        """The text as far as it fits beside the labels, whichever the model reads first."""
        over = self._over(text, labels)
        if over <= 0:
            return text
        if (alone := self._over("", labels)) >= 0:
            raise FixRequest(
                f"the labels take {self._tokens_max + alone} of the {self._tokens_max} tokens that "
                f"{self._spec.model_id} reads: name fewer",
                code="INPUT_TOO_LONG",
                field="labels",
            )
        places = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        stops = [0, *(stop for _, stop in places["offset_mapping"])]
        kept = len(stops) - 1
        # A text that was cut inside a word may have more tokens than it had as its part.
        while over > 0:
            kept = max(0, kept - over)
            over = self._over(text[: stops[kept]], labels)
        return text[: stops[kept]]

    def _over(self, text: str, labels: Sequence[str]) -> int:
        """The tokens of a text and labels beyond those that the model reads; negative below."""
        read = self._tokenizer(self._library.prepare_input(text, list(labels)))["input_ids"]
        return len(read) - self._tokens_max


def _require_known_encoder(config: Path) -> None:
    """The library fetches and runs the code of an encoder that transformers does not have."""
    table = json.loads(config.read_bytes())["encoder_config"]
    kind = str(table.get("model_type", "deberta-v2"))
    if kind not in CONFIG_MAPPING:
        raise load_failed(f"{config}: encoder_config is of a {kind}, which transformers has not")


def _require_plain(name: str, words: Sequence[str]) -> None:
    """Words that hold the library's marks would be read as other labels."""
    for index, word in enumerate(words):
        if any(mark in word for mark in _MARKS):
            where = "labels" if name == "labels" else f"inputs.{index}.text"
            raise FixRequest(
                f"{where} holds one of the model's marks {', '.join(_MARKS)}", field=where
            )
