"""The backend `gliner`: entities for any labels, by the authors' library.

*device* over one GLiNER model, of one encoder or two, of spans or tokens. Takes texts and the
labels of the request. A text of more words than the model reads is read in windows of words that
overlap. So is one whose pieces of words would be cut, and a word that is longer than a window is
read in parts. Where two windows see an entity, the one in which it begins farthest from a cut tells
it. Spans, scores and the rule for overlaps are the library's; the rule is held over the whole text.
The embeddings of labels that a model of two encoders has seen are kept.
"""

import json
import tempfile
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import gliner
import msgspec
import torch
from safetensors import safe_open

from sie_layouts.architectures.tensors.any_labels import lacking_of_gliner
from sie_layouts.extraction.any_labels import GLINER_FILE, GlinerLayout, read_gliner
from sie_layouts.folder import FolderFiles
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
from sie_server.backends.extraction.characters import placed, whole
from sie_server.backends.extraction.gliner.candidates import Candidates, without_overlaps
from sie_server.backends.extraction.gliner.logits import TRIAL_LABELS, logits_of
from sie_server.backends.extraction.gliner.word_windows import WordWindow, word_windows
from sie_server.backends.extraction.labels import any_labels
from sie_server.backends.extraction.libraries import (
    library_dtype,
    loaded_of_library,
    own_library_model,
    require_no_code,
    require_tensors,
    whole_layout,
)
from sie_server.backends.extraction.options import PLACES, chosen
from sie_server.backends.extraction.reading_together import reads_together, trial_words
from sie_server.backends.extraction.spans import Span

__all__ = ["GlinerEntities", "load"]

_FAILS: Final = (
    OSError,
    ValueError,
    KeyError,
    RuntimeError,
    TypeError,
    AttributeError,
    ImportError,
)
_OPTIONS: Final = {**PLACES, "threshold": 0.5, "flat_ner": True, "multi_label": False}
_WEIGHTS: Final = "model.safetensors"
_MADE_WITH_THE_MODEL: Final = "position_ids"
"""A table of places that some files hold and no model reads from them."""
_TOKENS_MAX: Final = 2048
"""The tokens of a window where an encoder has no last place. A word has any length, and attention
costs the square: one word of 20,000 letters wanted 60 GB of a model of twelve heads."""
_TEXT_TOKENS: Final = 768
"""Of them those of the text: twice as many as most published models read words."""
_TOKENS_OF_A_WORD: Final = 2
"""So that a model that reads more words reads them at once, as the library has it do."""
_RUN_S_MAX: Final = 50.0
"""Seconds after which a run ends itself. A gateway waits for 60; at 100 the process counts as one
that hangs, and ends."""
_TOGETHER_MAX: Final = 64 * _TEXT_TOKENS
"""The tokens of several texts in one run: many full windows, which few machines fail to read in its
time. A text that is refused for the time of others would be told of a fault that it has not."""
_ROOM_MIN: Final = 64
"""The tokens that labels have to leave before a word is read in parts: fewer tell of no word."""
_AT_ONCE: Final = 8
"""Windows of a batch, length-sorted, so that little of it is padding."""
_SQUARES_AT_ONCE: Final = _AT_ONCE * 512**2
"""Eight windows of 512 tokens, which is what most published models were trained with; of attention
each costs the square."""
_LABEL_SETS_KEPT: Final = 64
"""Sets of labels whose embeddings are kept: applications ask with a handful."""


def load(spec: ModelSpec, device: DeviceSpec) -> Backend:
    """Load a model with the library. Raises MODEL_LOAD_FAILED."""
    require_only(spec, "extract")
    layout = whole_layout(read_gliner(FolderFiles(spec.weights.folder)))
    weights = spec.weights.file(
        _WEIGHTS, cure="pickles are not read: convert pytorch_model.bin to safetensors"
    )
    require_tensors(lacking_of_gliner(FolderFiles(spec.weights.folder)))
    dtype, torch_dtype = library_dtype(spec)
    try:
        with _assembled(spec, layout) as folder:
            model = gliner.GLiNER.from_pretrained(
                str(folder), local_files_only=True, map_location=device.name, dtype=torch_dtype
            )
    except _FAILS as error:
        raise load_failed(
            f"gliner cannot load {spec.weights.folder}: {error}; restore the folder"
        ) from error
    _require_whole(model, weights)
    own_library_model(model.model, spec.weights)
    return GlinerEntities(spec, layout, model, dtype)


class GlinerEntities(WithoutAdapters):
    """One model, owned by the device's thread."""

    name = "gliner"

    def __init__(self, spec: ModelSpec, layout: GlinerLayout, model: Any, dtype: str) -> None:
        assert spec.tasks.extract is not None, "load has checked that"
        self._spec = spec
        self._model = model
        self._candidates = Candidates(model.decoder, spec.model_id)
        self._dtype = dtype
        self._own_labels = spec.tasks.extract.labels
        self._two_encoders = layout.encoders > 1
        self._tokenizer = model.data_processor.transformer_tokenizer
        self._tokens_max = _tokens_max(self._tokenizer, model.config.encoder_config)
        if self._two_encoders:
            self._label_tokens_max = _tokens_max(
                model.data_processor.labels_tokenizer,
                model.model.token_rep_layer.labels_encoder.model.config,
            )
        self._text_tokens_max = max(_TEXT_TOKENS, _TOKENS_OF_A_WORD * model.config.max_len)
        self._embeddings: OrderedDict[tuple[str, ...], Any] = OrderedDict()
        # A field, so that a test need not read for a minute.
        self._run_s_max = _RUN_S_MAX
        prompt = sum(self._pieces(TRIAL_LABELS)) + len(TRIAL_LABELS) + 1
        trial = [
            text[window.start : window.stop]
            for text in trial_words(self._tokenizer)
            for window in self._windows(text, prompt)[:1]
        ]
        together = reads_together(logits_of(model), trial, next(model.model.parameters()).dtype)
        self._at_once = _AT_ONCE if together else 1

    def describe(self) -> Loaded:
        """Texts in, entities out; a text's cost is a quarter of its bytes."""
        told = loaded_of_library(self._spec, "gliner", self._dtype, self.memory_bytes())
        # A long text is read in windows.
        return msgspec.structs.replace(told, truncation_side="")

    def memory_bytes(self) -> int:
        """Bytes of the weights."""
        return sum(weight.nbytes for weight in self._model.model.parameters())

    @torch.inference_mode()
    def run(self, batch: RunBatch) -> Answers:
        """The entities of each text, in the order of the text; those that begin alike, the longest
        first."""
        self.require(batch, "extract")
        asked = chosen(self._spec, batch, _OPTIONS)
        given = any_labels(batch.labels or self._own_labels, self._spec.model_id)
        # Each once, as the library reads them.
        labels = tuple(dict.fromkeys(given))
        self._require_plain(labels)
        texts = [given.text for given in take(batch, TextInput)]
        prompt = 0 if self._two_encoders else sum(self._pieces(labels)) + len(labels) + 1
        windows = [self._windows(text, prompt) for text in texts]
        parts = [
            (text[window.start : window.stop], window.tokens + prompt)
            for text, own in zip(texts, windows, strict=True)
            for window in own
        ]
        if len(texts) > 1 and sum(tokens for _, tokens in parts) > _TOGETHER_MAX:
            # Before anything is read: whoever runs them halves them, and a lone text has its time.
            raise FixRequest(
                f"these texts take more than {_TOGETHER_MAX} tokens of {self._spec.model_id} in "
                "its windows: send fewer at a time",
                code="INPUT_TOO_LONG",
                field="text",
            )
        told = iter(self._told(parts, labels, asked))
        found = []
        for text, own in zip(texts, windows, strict=True):
            spans = (span for window in own for span in _kept(text, window, next(told)))
            found.append(
                without_overlaps(spans, flat=asked["flat_ner"], multi_label=asked["multi_label"])
            )
        return EntityAnswers(
            tuple(
                placed(text, spans, asked["offset_unit"])
                for text, spans in zip(texts, found, strict=True)
            ),
            tokens=tuple(sum(window.tokens for window in own) for own in windows),
        )

    def _told(
        self, parts: Sequence[tuple[str, int]], labels: Sequence[str], asked: dict[str, Any]
    ) -> list[list[dict[str, Any]]]:
        """The library's word on each part, in order; parts of as many tokens go together."""
        options = {
            "flat_ner": asked["flat_ner"],
            "threshold": asked["threshold"],
            "multi_label": asked["multi_label"],
            "batch_size": self._at_once,
        }
        if self._two_encoders:
            options["labels_embeds"] = self._embedded(tuple(labels))
        found: list[list[dict[str, Any]]] = [[] for _ in parts]
        self._candidates.begin()
        began = time.monotonic()
        for group in _groups([tokens for _, tokens in parts]):
            # Between groups: nothing interrupts the library in the midst of one.
            if time.monotonic() - began > self._run_s_max:
                raise FixRequest(
                    f"{self._spec.model_id} read for {self._run_s_max:g} s and was not at the end: "
                    "send the text in parts",
                    code="INPUT_TOO_LONG",
                    field="text",
                )
            some = [parts[place][0] for place in group]
            told = self._model.inference(some, list(labels), **options)
            for place, entities in zip(group, told, strict=True):
                found[place] = entities
        return found

    def _embedded(self, labels: tuple[str, ...]) -> Any:
        """The embeddings of labels, computed as the library does within a batch."""
        # Taken out and put back at the end: the first is then the one that was not asked for
        # longest.
        known = self._embeddings.pop(labels, None)
        if known is None:
            read = self._model.data_processor.labels_tokenizer(
                list(labels), return_tensors="pt", truncation=True, padding="longest"
            ).to(self._model.device)
            tokens = read["input_ids"].shape[1]
            if tokens > self._label_tokens_max:
                raise FixRequest(
                    f"the longest label takes {tokens} tokens, and {self._spec.model_id} reads "
                    f"{self._label_tokens_max} of one: give a shorter label",
                    code="INPUT_TOO_LONG",
                    field="labels",
                )
            known = self._model.model.token_rep_layer.encode_labels(**read)
        self._embeddings[labels] = known
        while len(self._embeddings) > _LABEL_SETS_KEPT:
            self._embeddings.popitem(last=False)
        return known

    def _windows(self, text: str, prompt: int) -> list[WordWindow]:
        """The windows of a text, beside the tokens of the labels."""
        words = [
            (start, stop) for _, start, stop in self._model.data_processor.words_splitter(text)
        ]
        if not words:
            return []
        pieces = self._pieces([text[start:stop] for start, stop in words])
        room = min(
            self._tokens_max - prompt - self._tokenizer.num_special_tokens_to_add(),
            self._text_tokens_max,
        )
        if room < max(pieces):
            if room < _ROOM_MIN:
                raise FixRequest(
                    f"the labels leave room for {max(0, room)} of the {self._tokens_max} tokens "
                    f"that {self._spec.model_id} reads: name fewer",
                    code="INPUT_TOO_LONG",
                    field="labels",
                )
            words, pieces = self._in_parts(text, words, pieces, room)
        config = self._model.config
        return word_windows(words, pieces, config.max_len, room, config.max_width)

    def _in_parts(
        self, text: str, words: Sequence[tuple[int, int]], pieces: Sequence[int], room: int
    ) -> tuple[list[tuple[int, int]], list[int]]:
        """The words, those that have no room halved until each part has."""
        left = list(zip(words, pieces, strict=True))
        while any(count > room for _, count in left):
            halved: list[tuple[tuple[int, int], int]] = []
            for (start, stop), count in left:
                if count <= room:
                    halved.append(((start, stop), count))
                    continue
                middle = (start + stop) // 2
                two = ((start, middle), (middle, stop))
                halved += zip(two, self._pieces([text[a:b] for a, b in two]), strict=True)
            left = halved
        return [word for word, _ in left], [count for _, count in left]

    def _pieces(self, words: Sequence[str]) -> list[int]:
        """The tokens of each word: at least one, for those that the tokenizer drops."""
        read = self._tokenizer(list(words), is_split_into_words=True, add_special_tokens=False)
        counts = [0] * len(words)
        for word in read.word_ids():
            if word is not None:
                counts[word] += 1
        return [max(1, count) for count in counts]

    def _require_plain(self, labels: Sequence[str]) -> None:
        """A label may not hold what tells labels apart."""
        marks = (self._model.config.ent_token, self._model.config.sep_token)
        for label in labels:
            # The library would read two labels where there is one, and tell entities of neither.
            if any(mark in label for mark in marks):
                raise FixRequest(
                    f"the label {label[:80]!r} holds one of the model's marks {', '.join(marks)}",
                    field="labels",
                )


@contextmanager
def _assembled(spec: ModelSpec, layout: GlinerLayout) -> Iterator[Path]:
    """The folder as the library wants it: what it would fetch by name is named by its place."""
    weights = spec.weights
    absent = [name for name in layout.beside if name not in weights.beside]
    if absent:
        raise load_failed(
            f"{spec.model_id} wants the tokenizer and config of {', '.join(absent)}: name the "
            "commit in `beside` of its source, as `sie add` does"
        )
    if unread := sorted(weights.beside.keys() - set(layout.beside)):
        raise load_failed(f"the source's beside: {spec.model_id} reads nothing of {unread[0]}")
    if not layout.beside:
        yield weights.folder
        return
    for name in layout.beside:
        require_no_code(f"{name}: config.json", weights.beside[name].folder / "config.json")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for path in weights.folder.iterdir():
            (folder / path.name).symlink_to(path.absolute())
        # The library fetches what it finds by a name, at whatever commit is newest.
        config = json.loads((weights.folder / GLINER_FILE).read_bytes())
        for key in ("model_name", "labels_encoder"):
            if config.get(key) in layout.beside:
                config[key] = str(weights.beside[config[key]].folder)
        # It is a link to the pinned file, which writing through it would change.
        (folder / GLINER_FILE).unlink()
        (folder / GLINER_FILE).write_text(json.dumps(config))
        yield folder


def _kept(text: str, window: WordWindow, entities: Sequence[dict[str, Any]]) -> Iterator[Span]:
    """The entities that a window tells, at their places in the whole text.

    The library's words end before a mark that combines: an entity has the whole character.
    """
    for one in entities:
        start = window.start + one["start"]
        if window.tells(start):
            places = whole(text, start, window.start + one["end"])
            yield (*places, one["label"], min(1.0, float(one["score"])))


def _groups(tokens: Sequence[int]) -> Iterator[list[int]]:
    """Places of parts that are run together, the shortest first: a batch is as wide as its longest
    part."""
    group: list[int] = []
    for place in sorted(range(len(tokens)), key=lambda place: tokens[place]):
        squares = (len(group) + 1) * tokens[place] ** 2
        if group and (len(group) == _AT_ONCE or squares > _SQUARES_AT_ONCE):
            yield group
            group = []
        group.append(place)
    if group:
        yield group


def _tokens_max(tokenizer: Any, encoder: Any) -> int:
    """The tokens after which the tokenizer cuts, or the encoder of that config has no more places;
    at most a bound of our own."""
    limits = [int(tokenizer.model_max_length), _TOKENS_MAX]
    if encoder is not None and getattr(encoder, "position_biased_input", True):
        places = getattr(encoder, "max_position_embeddings", None)
        padding = getattr(encoder, "pad_token_id", 0) or 0
        if places:
            limits.append(places - padding - 1 if padding else places)
    return min(limits)


def _require_whole(model: Any, weights: Path) -> None:
    """Refuse what the library would make up, and what it would leave unread."""
    with safe_open(str(weights), framework="pt") as opened:
        held = {*opened.keys(), *(opened.metadata() or {})}
    wanted = set(model.model.state_dict())
    missing = sorted(wanted - held)
    unread = sorted(
        name for name in held - wanted - {"format"} if not name.endswith(_MADE_WITH_THE_MODEL)
    )
    if missing or unread:
        raise load_failed(
            f"{weights} lacks {len(missing)} of the model's tensors ({', '.join(missing[:3])}) and "
            f"holds {len(unread)} that it does not have ({', '.join(unread[:3])}); restore the file"
        )
