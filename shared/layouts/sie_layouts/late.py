"""The layout of late interaction (ColBERT): a vector for each token, and which of them count.

*pure.* Three forms are read, as sentence-transformers' MultiVectorEncoder reads them:

- its own folders;
- PyLate's, whose settings stand in `config_sentence_transformers.json` and which leave out the last
  steps;
- those of Stanford's library (`HF_ColBERT`), whose settings stand in `artifact.metadata` and whose
  projection lies among the model's weights.
"""

import string
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sie_layouts.architectures.own_architectures import require_own_architecture
from sie_layouts.facts import Fact, Files, Reading
from sie_layouts.inputs.texts import padding_side, sentence_table, text_layout
from sie_layouts.inputs.transformer import transformer_step
from sie_layouts.inputs.vocabularies import TOKENIZER_FILE, tokens_of
from sie_layouts.modules import dense_step, module_name, normalize_step
from sie_layouts.reader import Reader, class_names, joined
from sie_layouts.routes import MODULES_FILE, listed_modules
from sie_layouts.steps import DenseStep, NormalizeStep, Step, TransformerStep

__all__ = ["Expansion", "Side", "TokenLayout", "is_stanford", "read_late"]

_SETTINGS: Final = "config_sentence_transformers.json"
_METADATA: Final = "artifact.metadata"
_CONFIG: Final = "config.json"
_TOKENS: Final = "token_embeddings"
_QUERY_TOKENS: Final = 32
"""The length of a query where nobody says another."""
_PUNCTUATION: Final = tuple(string.punctuation)
_PYLATE_KEYS: Final = (
    "query_length", "document_length", "query_expansion", "do_query_expansion",
    "attend_to_expansion_tokens", "attend_to_mask_tokens", "query_prefix", "document_prefix",
    "skiplist_words",
)  # fmt: skip
_OLD_NAMES: Final = {"pylate.models.Dense.Dense": "sentence_transformers.base.modules.dense.Dense"}


@dataclass(frozen=True, slots=True)
class Expansion:
    """Queries are filled up to `tokens` with a token that counts as a word of the query."""

    tokens: int
    fixed: bool
    """True if longer queries are cut to it."""
    attended: bool
    """True if the other tokens look at those that were filled in."""
    token: str | None = None
    """The token; None: the tokenizer's mask, or its end of text."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side: texts are read behind `prompt`, and cut at `tokens_max` where there is one."""

    prompt: str = ""
    tokens_max: int | None = None


@dataclass(frozen=True, slots=True)
class TokenLayout:
    """A vector for each token of a text."""

    encoder: TransformerStep
    steps: tuple[Step, ...]
    query: Side
    document: Side
    expansion: Expansion | None = None
    marks: tuple[str, ...] = ()
    """Beginnings of texts that are one token where the vocabulary has them."""
    skipped: tuple[str, ...] = ()
    """Tokens that do not count, in the texts of `skipped_in`."""
    skipped_in: tuple[str, ...] = ("document",)
    kept_ids: tuple[int, ...] = ()
    """The tokens of a document that count; empty: all."""
    masked: bool = False
    """True if a step says which tokens count."""
    fills_right: bool | None = None
    """True if the tokenizer fills a query up at its end; None: only the tokenizer itself tells."""
    mean: bool = False
    """True if a score is divided by the query's tokens."""
    facts: tuple[Fact, ...] = ()

    @property
    def kind(self) -> str:
        """The output's name."""
        return "multivector"


def is_stanford(config: Mapping[str, Any]) -> bool:
    """True of a folder of Stanford's library."""
    return "HF_ColBERT" in class_names(config)


def read_late(files: Files) -> Reading[TokenLayout]:
    """Read a folder."""
    reader = Reader(files)
    layout = _of_modules(reader) if reader.has(MODULES_FILE) else _of_stanford(reader)
    _require_tokens(reader, layout.steps)
    layout = _filled(reader, layout)
    if reader.refusals:
        return Reading(None, tuple(reader.refusals))
    return Reading(replace(layout, facts=tuple(dict.fromkeys(reader.facts))))


def _filled(reader: Reader, layout: TokenLayout) -> TokenLayout:
    """The layout with the side on which a query is filled up; at its beginning is not done."""
    if layout.expansion is None:
        return layout
    name, table = sentence_table(reader, "") if reader.has(MODULES_FILE) else ("", {})
    source, side = padding_side(reader, name, table)
    # The settings' own word was passed over once: the vectors were those of filling at the right,
    # and the best cosine of a token was down to 0.71.
    if side == "left":
        reader.refuse(
            source,
            "fills texts at the left, and queries are filled up: at the right is done here",
            "save the model with a tokenizer that fills at the right, if it was trained so",
        )
    tokens, filler = tokens_of(reader), layout.expansion.token
    if filler is not None and tokens is not None and filler not in tokens:
        where = f"{name}: query_expansion.token"
        reader.refuse(where, f"is {filler!r}, which is no token of {TOKENIZER_FILE}")
    return replace(layout, fills_right=None if side is None else side == "right")


def _of_stanford(reader: Reader) -> TokenLayout:
    if not is_stanford(reader.table(_CONFIG)):
        reader.refuse(
            f"{_CONFIG}: architectures",
            "names no HF_ColBERT, and there is no modules.json: the projection would be random",
        )
    require_own_architecture(reader, "")
    table = reader.table(_METADATA)
    marks = {
        "query": str(table.get("query_token_id") or "[unused0]") + " ",
        "document": str(table.get("doc_token_id") or "[unused1]") + " ",
    }
    length = _length(reader, _METADATA, table, "query_maxlen") or _QUERY_TOKENS
    reader.fact("query", f"{marks['query']!r}, filled up to {length} tokens", _METADATA)
    reader.fact("document", f"{marks['document']!r}, {table.get('doc_maxlen')} tokens", _METADATA)
    return TokenLayout(
        encoder=TransformerStep("", "none", text_layout(reader, "", _SETTINGS, {})),
        steps=(
            DenseStep(
                "model.safetensors", 0, 0, bias=False, activation="Identity", source=_TOKENS,
                target=_TOKENS, beside=True,
            ),
            NormalizeStep(_TOKENS, _TOKENS),
        ),
        query=Side(marks["query"]),
        document=Side(marks["document"], _length(reader, _METADATA, table, "doc_maxlen")),
        expansion=Expansion(length, True, bool(table.get("attend_to_mask_tokens"))),
        marks=tuple(marks.values()),
        skipped=_PUNCTUATION if table.get("mask_punctuation", True) else (),
    )  # fmt: skip


def _length(reader: Reader, name: str, table: Mapping[str, Any], key: str) -> int | None:
    return reader.count(name, table, key) if table.get(key) else None


def _of_modules(reader: Reader) -> TokenLayout:
    settings = reader.table(_SETTINGS)
    name, table = sentence_table(reader, "")
    told = {**_pylate(reader, settings), **table}
    layout = TokenLayout(
        encoder=transformer_step(reader, "", task="feature-extraction", late=True),
        steps=(),
        query=Side(_prompt(reader, settings, "query"), _length(reader, name, told, "query_length")),
        document=Side(
            _prompt(reader, settings, "document"), _length(reader, name, told, "document_length")
        ),
        expansion=_expansion(reader, name, told.get("query_expansion")),
        marks=tuple(
            str(settings[key] or "") for key in ("query_prefix", "document_prefix")
            if key in settings
        ),
        mean=settings.get("similarity_fn_name") == "meanmaxsim",
    )  # fmt: skip
    _require_one_limit(reader, name, table, layout)
    layout = _with_modules(reader, layout)
    if settings.get("model_type") != "ColBERT":
        if layout.expansion is not None and not layout.masked:
            reader.refuse(MODULES_FILE, "has no MultiVectorMask: what fills up a query is not read")
        return layout
    if layout.masked:
        reader.refuse(
            f"{_SETTINGS}: model_type",
            "is 'ColBERT', to which the reference adds a MultiVectorMask, and there is one already",
            "save the model with sentence-transformers' MultiVectorEncoder",
        )
    # PyLate's own folders leave out the mask and the normalisation.
    words = reader.take(_SETTINGS, settings, "skiplist_words", list, list(_PUNCTUATION))
    skipped = tuple(map(str, words))
    ended = (*layout.steps, NormalizeStep(_TOKENS, _TOKENS))
    return replace(layout, skipped=skipped, skipped_in=("document",), steps=ended)


def _require_one_limit(
    reader: Reader, name: str, table: Mapping[str, Any], layout: TokenLayout
) -> None:
    """A length of the tokenizer's call counts over those of the sides, here and there otherwise."""
    calls = reader.take(name, table, "processing_kwargs", dict, {})
    called = {key for key, each in calls.items() if isinstance(each, dict) and "max_length" in each}
    grows = layout.expansion is not None and not layout.expansion.fixed
    # A length that is common to all inputs counts over that of a query that is filled up, too.
    over = layout.expansion is not None and "common" in called
    if over or (called and (grows or layout.query.tokens_max or layout.document.tokens_max)):
        reader.refuse(
            f"{name}: processing_kwargs",
            "has a max_length beside lengths of queries and documents, which is not done here",
            "remove it, or those lengths",
        )


def _with_modules(reader: Reader, layout: TokenLayout) -> TokenLayout:
    for place, table in enumerate(listed_modules(reader)):
        path = str(table.get("type"))
        source = f"{MODULES_FILE}: {place}.type"
        name = module_name(reader, source, _OLD_NAMES.get(path, path))
        folder = joined(str(table.get("path", "")), "")
        match name:
            case "Transformer":
                if place or folder:
                    reader.refuse(source, "is no single transformer in the folder itself")
            case "Dense":
                step = dense_step(reader, folder, source=_TOKENS)
                layout = replace(layout, steps=(*layout.steps, step))
            case "Normalize":
                layout = replace(layout, steps=(*layout.steps, normalize_step(reader, folder)))
            case "MultiVectorMask":
                layout = _masked(reader, layout, source, joined(folder, _CONFIG))
            case None:
                pass
            case _:
                reader.refuse(
                    source,
                    f"names a step {name!r}, which is not done for the vectors of tokens; Dense, "
                    "MultiVectorMask and Normalize are",
                )
    return layout


def _masked(reader: Reader, layout: TokenLayout, source: str, name: str) -> TokenLayout:
    # Each of several counts in the reference.
    if layout.masked:
        reader.refuse(source, "is a second MultiVectorMask, and one is done here")
    table = reader.table(name)
    known = {"keep_only_token_ids", "skiplist_tasks", "skiplist_words"}
    reader.refuse_others(name, table, known, "MultiVectorMask")
    words = reader.take(name, table, "skiplist_words", list, [])
    given = table.get("skiplist_tasks", ["document"])
    tasks = [given] if isinstance(given, str) else given
    if not isinstance(tasks, list):
        reader.refuse(f"{name}: skiplist_tasks", f"is {given!r}, and a list is wanted")
        tasks = []
    kept = reader.take(name, table, "keep_only_token_ids", list, [])
    if not all(isinstance(each, int) for each in kept):
        reader.refuse(f"{name}: keep_only_token_ids", "holds what is no id", "restore the file")
        kept = []
    reader.fact("tokens that do not count", " ".join(map(str, words)), f"{name}: skiplist_words")
    return replace(
        layout,
        masked=True,
        skipped=tuple(map(str, words)),
        skipped_in=tuple(map(str, tasks)),
        kept_ids=tuple(kept),
    )


def _pylate(reader: Reader, settings: Mapping[str, Any]) -> dict[str, Any]:
    """PyLate's settings as those of the transformer step, which count over them."""
    if not any(key in settings for key in _PYLATE_KEYS):
        return {}
    found = {
        key: settings[key]
        for key in ("query_length", "document_length")
        if settings.get(key) is not None
    }
    if "query_expansion" in settings:
        return {**found, "query_expansion": settings["query_expansion"]}
    if settings.get("do_query_expansion") is False:
        return {**found, "query_expansion": None}
    attended = settings.get(
        "attend_to_expansion_tokens", settings.get("attend_to_mask_tokens", False)
    )
    length = found.pop("query_length", None) or _QUERY_TOKENS
    reader.fact("query", f"filled up to {length} tokens", f"{_SETTINGS}: query_length")
    expansion = {"strategy": "fixed", "attend": bool(attended), "length": length}
    return {**found, "query_expansion": expansion}


def _expansion(reader: Reader, name: str, given: Any) -> Expansion | None:
    if given is None:
        return None
    where = f"{name}: query_expansion"
    table = given if isinstance(given, dict) else {}
    reader.refuse_others(where, table, {"attend", "length", "strategy", "token"}, "the expansion")
    if table.get("strategy") not in ("fixed", "min"):
        reader.refuse(f"{where}.strategy", f"is {table.get('strategy')!r}; fixed and min are done")
    return Expansion(
        tokens=reader.count(where, table, "length"),
        fixed=table.get("strategy") == "fixed",
        attended=reader.take(where, table, "attend", bool, False),
        token=table.get("token"),
    )


def _prompt(reader: Reader, settings: Mapping[str, Any], side: str) -> str:
    """The text before a query or a document: PyLate's prefix, then the prompt."""
    prompts = reader.take(_SETTINGS, settings, "prompts", dict, {})
    prefix = str(settings.get(f"{side}_prefix") or "")
    told = prefix + str(prompts.get(side) or "").removeprefix(prefix)
    if told:
        reader.fact(f"prompt {side}", repr(told), _SETTINGS)
    return told


def _require_tokens(reader: Reader, steps: tuple[Step, ...]) -> None:
    for step in steps:
        if not isinstance(step, DenseStep | NormalizeStep):
            continue
        if (step.source, step.target) != (_TOKENS, _TOKENS):
            reader.refuse(
                MODULES_FILE,
                f"has a step from {step.source} to {step.target}; of token vectors, steps from "
                f"{_TOKENS} to {_TOKENS} are done",
            )
