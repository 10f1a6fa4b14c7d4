"""Tokenizing: from a job's items to the inputs that a loaded model accepts, with their cost.

*shell* over the `tokenizers` library, whose native code runs without the interpreter's lock: call
`prepare` in a thread. A tokenizer file is used only if its hash is the one that model execution
stated. Texts are cut at the model's length, and refused for it only where a request wants that. An
item that lacks what the model needs fails alone. Does not know transformers.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
import tokenizers
from msgspec import Struct, structs

from sie_layouts.inputs.tokenizer_costs import costly_parts
from sie_runtime.process.native_calls import told_by_native
from sie_schemas.errors import FixRequest, OurFault
from sie_schemas.ipc import (
    DocumentInput,
    Input,
    LateInput,
    Loaded,
    PairForm,
    PairInput,
    QueryForm,
    TextForm,
    TextInput,
    TokensInput,
)
from sie_schemas.items import Item
from sie_schemas.jobs import ItemFailure, Job
from sie_worker.forms.costs import costs_of, token_count
from sie_worker.forms.cutting import ANY_CUT, NOWHERE, Cutter, fitting, unreadable, wanted_cut
from sie_worker.forms.late_sides import LateSide, int32
from sie_worker.forms.pairing import Pairing
from sie_worker.forms.pictures import picture_inputs
from sie_worker.forms.wording import check_options, score_wording, side_of, task_of, wording

__all__ = ["Prepared", "Tokenizer", "prepare"]

_CUT_PIECES: Final = 16
"""The word at which token ids were cut may be written in other pieces, and is not judged."""
_TEXT: Final = "\0"
"""Stands for a text where only the words before it are wanted."""


class Prepared(Struct, frozen=True):
    """A job's inputs as (index in the job, input, cost), and the items that cannot be one."""

    inputs: tuple[tuple[int, Input, int], ...]
    failures: tuple[ItemFailure, ...]
    tokens: int
    """Token ids in all inputs; 0 where the backend tokenizes."""
    took_ms: float


class Tokenizer:
    """A `tokenizer.json` of one loaded model. Immutable once made; safe to use from threads."""

    def __init__(
        self, native: tokenizers.Tokenizer, *, uncut: tokenizers.Tokenizer, loaded: Loaded
    ) -> None:
        self._native = native
        self._cutter = Cutter(native, loaded.max_sequence_length, loaded.truncation_side)
        self._uncut = uncut
        """The same without a limit, for templates of pairs."""
        self._tokens_max = loaded.max_sequence_length
        self._cuts_left = loaded.truncation_side == "left"
        self._marks_queries = False
        self._skips_prompts = loaded.skips_prompts
        self.queries = self
        """The one of queries, for a model that takes them in another way."""
        self._special_tokens = loaded.special_tokens
        added = native.get_added_tokens_decoder()
        self._sides: dict[str, LateSide] = {}
        self._special_ids = frozenset(number for number, token in added.items() if token.special)

    @classmethod
    def read(cls, loaded: Loaded) -> "Tokenizer":
        """Read and check the file that `loaded` names. Blocking. Raises `OurFault`."""
        path = Path(loaded.tokenizer_path)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise _unusable(path, f"it cannot be read: {error}") from error
        found = hashlib.sha256(content).hexdigest()
        if found != loaded.tokenizer_sha256:
            raise _unusable(path, f"its SHA-256 is {found}, not {loaded.tokenizer_sha256}")
        try:
            # Of the bytes that were hashed: a second reading might find others.
            native = tokenizers.Tokenizer.from_buffer(content)
        except BaseException as error:  # the native library raises no narrower class
            told = told_by_native(error)
            raise _unusable(path, f"it is not a tokenizer.json: {told}") from error
        why = _why_costly(native)
        if why:
            raise _unusable(path, why)
        native.no_padding()
        native.no_truncation()
        # A tokenizer of a large vocabulary takes time to copy, and few models have templates.
        uncut = native if loaded.pair is None else tokenizers.Tokenizer.from_buffer(content)
        uncut.no_padding()
        uncut.no_truncation()
        if loaded.max_sequence_length > 0:
            native.enable_truncation(
                max_length=loaded.max_sequence_length, direction=loaded.truncation_side
            )
        made = cls(native, uncut=uncut, loaded=loaded)
        if loaded.query_form is not None:
            made.queries = cls._of_queries(loaded, loaded.query_form)
        for name, side in loaded.texts.items():
            made._sides[name] = LateSide.of(content, loaded, side)
        return made

    @classmethod
    def _of_queries(cls, loaded: Loaded, form: QueryForm) -> "Tokenizer":
        told = {name: getattr(form, name) for name in form.__struct_fields__}
        # All but this are fields of `Loaded`, for which those of queries stand in.
        del told["by_default"]
        found = cls.read(structs.replace(loaded, **told, query_form=None))
        found._marks_queries = True
        return found

    @property
    def tokens_max(self) -> int:
        """The tokens that the model reads of a text; 0 where nothing limits them."""
        return self._tokens_max

    def texts(
        self, texts: Sequence[str], prompt: str = "", cut: str | None = None, task: str = ""
    ) -> list[TokensInput]:
        """Token ids of single texts, special tokens included; each begins with the prompt."""
        skip = self._prompt_tokens(prompt) if prompt and self._skips_prompts else 0
        return [
            TokensInput(int32(found.ids), skip=skip, query=self._marks_queries, task=task)
            for found in self._encoded(list(texts), self._cutter.at(cut))
        ]

    def text_of(self, ids: Sequence[int], *, whole: bool = False) -> str:
        """The text that token ids stand for, as far as the model reads it unless it is wanted
        whole. Raises `FixRequest` where they are none of this tokenizer's: ids of another one are
        other words, and nobody would notice."""
        # Each by itself, and not by their number: some vocabularies have gaps.
        for place, number in enumerate(ids):
            if self._native.id_to_token(number) is None:
                size = self._native.get_vocab_size()
                raise _foreign(f"number {place} is {number}, which is none of its {size} tokens")
        wanted = [number for number in ids if number not in self._special_ids]
        judged = len(wanted)
        if 0 < self._tokens_max < len(wanted) and not whole:
            kept = slice(-self._tokens_max, None) if self._cuts_left else slice(self._tokens_max)
            wanted, judged = wanted[kept], max(0, self._tokens_max - _CUT_PIECES)
        text: str = self._native.decode(wanted)
        native = self._cutter.at(NOWHERE if whole else None)
        found = native.encode(text, add_special_tokens=False).ids
        if self._cuts_left:
            found, wanted = found[::-1], wanted[::-1]
        if found[:judged] != wanted[:judged] or len(found) < judged:
            raise _foreign("it writes the text that they stand for in other words")
        return text

    def _prompt_tokens(self, prompt: str) -> int:
        """The tokens of a prompt alone, but for a special one at its end: the text's comes after.

        As sentence-transformers counts them, where a pooling leaves the prompt out.
        """
        ids = self._encoded([prompt])[0].ids
        return len(ids) - (1 if ids and ids[-1] in self._special_ids else 0)

    def pairs(self, query: str, texts: Sequence[str], cut: str | None = None) -> list[TokensInput]:
        """Token ids and segment ids of a query with each text; the longer of a pair is cut."""
        found = self._encoded([(query, text) for text in texts], self._cutter.at(cut))
        return [TokensInput(int32(pair.ids), int32(pair.type_ids)) for pair in found]

    def side(
        self, name: str, texts: Sequence[str], cut: str | None
    ) -> tuple[list[TokensInput], list[int]]:
        """Token ids of queries, or of documents, of a model of late interaction; and how many it
        reads of each, 0 where nothing limits them."""
        side = self._sides[name]
        found = [each.ids for each in self._encoded(list(texts), side.cutter.at(cut))]
        return [side.made(ids, name) for ids in found], list(map(side.reads, found))

    def templated(
        self, form: PairForm, job: Job, texts: Sequence[str], cut: str | None
    ) -> tuple[list[TokensInput], list[int]]:
        """Token ids of the query with each text in a template, and how many of them are read.
        Raises `FixRequest`."""
        pairing = Pairing(self._bare, form, job.instruction, self._tokens_max)
        query = _query(job)
        try:
            read = [pairing.ids(query, text) for text in texts]
            # A template may cut a long query though the pair has room: so they are compared.
            made = read if cut is None else [pairing.whole(query, text) for text in texts]
            reads = [min(len(ids), self._tokens_max) for ids in read]
            return [TokensInput(int32(ids)) for ids in made], reads
        except BaseException as error:  # the native library raises no narrower class
            told = told_by_native(error)
            raise OurFault(f"a text was not tokenized: {told}", code="INFERENCE_ERROR") from error

    def _bare(self, text: str) -> list[int]:
        """The ids of a text without special tokens, however long."""
        ids: list[int] = self._uncut.encode(text, add_special_tokens=False).ids
        return ids

    def _encoded(
        self,
        inputs: list[str] | list[tuple[str, str]],
        native: tokenizers.Tokenizer | None = None,
    ) -> list[tokenizers.Encoding]:
        chosen = native or self._native
        try:
            return chosen.encode_batch(inputs, add_special_tokens=self._special_tokens)
        except BaseException as error:  # the native library raises no narrower class
            told = told_by_native(error)
            raise OurFault(f"a text was not tokenized: {told}", code="INFERENCE_ERROR") from error


def prepare(job: Job, loaded: Loaded, tokenizer: Tokenizer | None) -> Prepared:
    """Make the inputs of a job. Blocking. Raises `FixRequest` where no item could ever run."""
    started = time.perf_counter()
    check_options(job, loaded)
    failures: list[ItemFailure] = []
    pictures: list[tuple[int, Input, int]] = []
    if any(item.images for item in job.items):
        made = picture_inputs(job, loaded, failures)
        cost = loaded.item_cost if loaded.picture is None else loaded.picture.cost
        pictures = [(index, picture, max(1, cost)) for index, picture in made]
    if tokenizer is not None:
        indexes, inputs = _tokenized(job, loaded, tokenizer, failures)
    else:
        wanted_cut(job, loaded)
        indexes, inputs = _passed_through(job, loaded, failures)
    tokens = [token_count(item) for item in inputs]
    costs = costs_of(inputs, tokens, loaded, job.labels)
    return Prepared(
        inputs=(*zip(indexes, inputs, costs, strict=True), *pictures),
        failures=tuple(failures),
        tokens=sum(tokens),
        took_ms=(time.perf_counter() - started) * 1000,
    )


def _tokenized(
    job: Job, loaded: Loaded, tokenizer: Tokenizer, failures: list[ItemFailure]
) -> tuple[list[int], Sequence[Input]]:
    own_way = loaded.pair is not None or any(form != TextForm() for form in loaded.texts.values())
    # At its start such a text has the words that say what it is.
    cut = wanted_cut(job, loaded, {NOWHERE} if own_way else ANY_CUT)
    reads = tokenizer
    if job.operation != "score" and side_of(job, loaded) == "query":
        reads = tokenizer.queries
    # By the one that reads them: queries may have other words, and another length.
    indexes, texts = _texts_of(job, reads, failures, whole=cut is not None)
    if job.operation == "score" and loaded.texts:
        return _late(job, loaded, tokenizer, cut, indexes, texts, failures)
    if job.operation == "score" and loaded.pair is not None:
        pairs, read = tokenizer.templated(loaded.pair, job, texts, cut)
        return fitting(job, read, indexes, pairs, failures)
    if job.operation == "score":
        query = score_wording(job, loaded, "query")(_query(job))
        read_document = score_wording(job, loaded, "document")
        pairs = tokenizer.pairs(query, list(map(read_document, texts)), cut)
        return fitting(job, [tokenizer.tokens_max] * len(pairs), indexes, pairs, failures)
    worded = list(map(wording(job, loaded), texts))
    if loaded.texts:
        made, read = tokenizer.side(side_of(job, loaded), worded, cut)
        return fitting(job, read, indexes, made, failures)
    prompt = wording(job, loaded)(_TEXT).partition(_TEXT)[0]
    made = reads.texts(worded, prompt, cut, task_of(job, loaded))
    return fitting(job, [reads.tokens_max] * len(made), indexes, made, failures)


def _texts_of(
    job: Job, tokenizer: Tokenizer, failures: list[ItemFailure], *, whole: bool
) -> tuple[list[int], list[str]]:
    """The items that are texts, or token ids of this tokenizer."""
    indexes: list[int] = []
    texts: list[str] = []
    for index, item in enumerate(job.items):
        if item.images:
            continue
        try:
            text = item.text
            if item.token_ids:
                text = tokenizer.text_of(item.token_ids, whole=whole)
        except FixRequest as error:
            message = f"item {job.first_item + index}: {error.message}"
            failures.append(ItemFailure(index, error.code, message))
            continue
        if text is None:
            failures.append(_lacks(index, "text"))
        else:
            indexes.append(index)
            texts.append(text)
    return indexes, texts


def _late(
    job: Job,
    loaded: Loaded,
    tokenizer: Tokenizer,
    cut: str | None,
    indexes: list[int],
    texts: Sequence[str],
    failures: list[ItemFailure],
) -> tuple[list[int], list[LateInput]]:
    """Each text with the query, both in the words of their side. Raises `FixRequest`."""
    asked = score_wording(job, loaded, "query")(_query(job))
    (query,), (query_max,) = tokenizer.side("query", [asked], cut)
    refusal = unreadable(job, query, query_max)
    if refusal is not None:
        raise refusal
    worded = map(score_wording(job, loaded, "document"), texts)
    documents, read = tokenizer.side("document", list(worded), cut)
    kept, fits = fitting(job, read, indexes, documents, failures)
    return kept, [LateInput(query, document) for document in fits]


def _passed_through(
    job: Job, loaded: Loaded, failures: list[ItemFailure]
) -> tuple[list[int], Sequence[Input]]:
    worded, query = wording(job, loaded), None
    if job.operation == "score":
        query = score_wording(job, loaded, "query")(_query(job))
        worded = score_wording(job, loaded, "document")
    indexes: list[int] = []
    inputs: list[Input] = []
    for index, item in enumerate(job.items):
        if item.images:
            continue
        made = _input(item, loaded.accepts, query, worded)
        if made is None:
            wanted = loaded.accepts if loaded.accepts in {"image", "document"} else "text"
            failures.append(_lacks(index, wanted))
        else:
            indexes.append(index)
            inputs.append(made)
    return indexes, inputs


def _input(
    item: Item, accepts: str, query: str | None, worded: Callable[[str], str]
) -> Input | None:
    if accepts == "image":
        return None
    if accepts == "document":
        document = item.document
        return DocumentInput(document.data, document.format) if document is not None else None
    if item.text is None:
        return None
    return TextInput(worded(item.text)) if query is None else PairInput(query, worded(item.text))


def _query(job: Job) -> str:
    if job.query is None or job.query.text is None:
        raise FixRequest("score needs a query with a text", field="query.text")
    return job.query.text


def _lacks(index: int, content: str) -> ItemFailure:
    return ItemFailure(
        index, "INVALID_REQUEST", f"the item has no {content}, which this model reads"
    )


def _foreign(why: str) -> FixRequest:
    return FixRequest(
        f"the token ids are not of this model's tokenizer ({why}): send the text instead, or what "
        "that tokenizer makes of it"
    )


def _why_costly(native: tokenizers.Tokenizer) -> str:
    """The reason why a tokenizer is not run; empty where there is none. A step may take all memory,
    or a thread for ever, so it is judged before it reads a text of anybody's."""
    parts = (native.normalizer, native.pre_tokenizer)
    steps = [None if part is None else msgspec.json.decode(part.__getstate__()) for part in parts]
    word_chars = int(getattr(native.model, "max_input_chars_per_word", 0))
    return next(costly_parts(*steps, word_chars=word_chars), "")


def _unusable(path: Path, why: str) -> OurFault:
    return OurFault(
        f"the tokenizer {path} is not used: {why}; restore the file", code="MODEL_LOAD_FAILED"
    )
