"""The layout of sentence vectors, dense or sparse, as a model folder states it.

*pure.* A folder with `modules.json` is read as sentence-transformers reads it; one without is a
bare transformer, for which the reference chooses the pooling. Promises that each step finds what
it reads, and that the last writes `sentence_embedding`.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, Literal

from sie_layouts.architectures.published import published_form
from sie_layouts.facts import Files, Reading
from sie_layouts.inputs.transformer import plain_transformer
from sie_layouts.layout import SentenceLayout
from sie_layouts.reader import Reader, class_names
from sie_layouts.routes import MODULES_FILE, steps_of
from sie_layouts.steps import (
    AutoEncoderStep,
    DenseStep,
    LayerNormStep,
    NormalizeStep,
    PoolingStep,
    SpladeStep,
    StaticStep,
    Step,
    TokenWeightsStep,
    TransformerStep,
)

__all__ = ["SETTINGS_FILE", "read_sentence"]

Output = Literal["dense", "sparse"]

SETTINGS_FILE: Final = "config_sentence_transformers.json"
_CONFIG: Final = "config.json"
_TOKENS: Final = "token_embeddings"
_VECTOR: Final = "sentence_embedding"
_QUERY_WEIGHTS: Final = ("idf.json", "query_token_weights.txt")
"""Files by which some models weigh the tokens of a query, in place of running it."""
_TYPES: Final[Mapping[str, Output]] = {"SentenceTransformer": "dense", "SparseEncoder": "sparse"}
_SPARSE_STEPS: Final = (SpladeStep, TokenWeightsStep, AutoEncoderStep)


def read_sentence(files: Files, output: Output | None = None) -> Reading[SentenceLayout]:
    """Read a folder. `output` is the one that is wanted; None: the one that the folder makes."""
    reader = Reader(files)
    has_modules = reader.has(MODULES_FILE)
    if not has_modules and not reader.has(_CONFIG):
        reader.refuse(_CONFIG, "is not there, nor is modules.json", "choose the model's own folder")
    settings = reader.table(SETTINGS_FILE) if has_modules else {}
    found = _output(reader, settings, has_modules, output)
    document = _steps(reader, "document", found)
    query = _steps(reader, "query", found)
    unnamed = _steps(reader, "", found)
    # A sidecar knows two ways of reading a text, and takes one of them for a text that is called
    # neither. It once took the way of documents, whatever the folder said.
    if unnamed not in (document, query):
        reader.refuse(
            MODULES_FILE,
            "has a way of its own for a text that is called neither query nor document",
            "make the route of documents its default_route",
        )
    for steps in (document,) if query == document else (document, query):
        _require_whole(reader, steps, found)
    if query != document and any(getattr(step, "tasks", None) for step in (*document, *query)):
        reader.refuse(MODULES_FILE, "routes queries apart, and its model has tasks: one is done")
    prompts = _prompts(reader, settings)
    default_prompt = _default_prompt(reader, settings)
    kept = _kept(reader, settings, found)
    for step in (*_kept_by(document, kept), *_kept_by(query, kept)):
        if isinstance(step, AutoEncoderStep) and step.kept > step.width:
            name = step.file.replace("model.safetensors", _CONFIG)
            source = f"{name}: k" if kept is None else f"{SETTINGS_FILE}: max_active_dims"
            reader.refuse(source, f"is {step.kept}, and a vector has {step.width} numbers")
    if reader.refusals:
        return Reading(None, tuple(reader.refusals))
    return Reading(
        SentenceLayout(
            output=found,
            document=_kept_by(document, kept),
            query=_kept_by(query, kept),
            prompts=prompts,
            default_prompt=default_prompt,
            kept=kept,
            similarity=_similarity(settings),
            default_side="document" if unnamed == document else "query",
            facts=tuple(dict.fromkeys(reader.facts)),
        )
    )


def _output(
    reader: Reader, settings: Mapping[str, Any], has_modules: bool, wanted: Output | None
) -> Output:
    if not has_modules:
        return wanted or "dense"
    kind = settings.get("model_type", "SentenceTransformer")
    found = _TYPES.get(str(kind))
    if found is None:
        reader.refuse(
            f"{SETTINGS_FILE}: model_type", f"is {kind!r}, which makes no vectors of whole texts"
        )
        return wanted or "dense"
    if wanted not in (None, found):
        reader.refuse(
            MODULES_FILE,
            f"makes {found} vectors, and {wanted} ones are wanted",
            f"give the model's task encode the output {found}",
        )
    return found


def _steps(reader: Reader, task: str, output: Output) -> tuple[Step, ...]:
    if reader.has(MODULES_FILE):
        return steps_of(reader, task)
    config = reader.table(_CONFIG)
    # The class that was saved is the one word of a bare folder on what it is for.
    classes = class_names(config)
    if output == "sparse":
        if not any(name.endswith("ForMaskedLM") for name in classes):
            reader.refuse(
                f"{_CONFIG}: architectures",
                f"is {classes}: without modules.json only a masked-language model gives sparse "
                "vectors",
            )
        for name in _QUERY_WEIGHTS:
            if reader.has(name):
                reader.refuse(
                    name,
                    "weighs the tokens of queries, which without modules.json no library reads",
                    "save the model with sentence-transformers' SparseStaticEmbedding",
                )
        reader.fact("pooling", "max of log(1 + relu)", f"{_CONFIG}: architectures")
        return (plain_transformer(reader, "masked_language"), SpladeStep())
    if published_form(config) == "gritlm":
        reader.fact("pooling", "mean without the words before a text", f"{_CONFIG}: auto_map")
        mean = PoolingStep(("mean",), width=_hidden(config), include_prompt=False)
        return (plain_transformer(reader, "none"), mean, NormalizeStep())
    # As the reference does: a decoder is read at its last token.
    decodes = bool(classes) and classes[0].endswith("ForCausalLM") and config.get("is_causal", True)
    mode: Literal["last", "mean"] = "last" if decodes else "mean"
    reader.fact("pooling", f"{mode}, for no file says another", f"{_CONFIG}: architectures")
    return (plain_transformer(reader, "none"), PoolingStep((mode,), width=_hidden(config)))


def _hidden(config: Mapping[str, Any]) -> int:
    """The width of a token's state, by the names that families give it; 0 where none is there."""
    for key in ("hidden_size", "d_model", "dim"):
        value = config.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return 0


def _require_whole(reader: Reader, steps: tuple[Step, ...], output: Output) -> None:
    """Refuse steps that do not find what they read, or end in something else."""
    if not steps:
        if not reader.refusals:
            reader.refuse(MODULES_FILE, "names no step that takes texts in", "restore the file")
        return
    if not isinstance(steps[0], TransformerStep | StaticStep | TokenWeightsStep):
        reader.refuse(MODULES_FILE, f"begins with {_name(steps[0])}, which takes no texts in")
        return
    there = {_TOKENS if isinstance(steps[0], TransformerStep) else _VECTOR}
    for step in steps[1:]:
        source, target = _features(step)
        if isinstance(step, TransformerStep | StaticStep | TokenWeightsStep):
            reader.refuse(MODULES_FILE, f"has {_name(step)} behind another step")
        elif source not in there and not isinstance(step, NormalizeStep):
            reader.refuse(MODULES_FILE, f"has {_name(step)}, and no step before it makes {source}")
        there.add(target)
    if _VECTOR not in there:
        reader.refuse(MODULES_FILE, f"ends without a {_VECTOR}: no step makes one of the tokens")
    _require_head(reader, steps, output)


def _require_head(reader: Reader, steps: tuple[Step, ...], output: Output) -> None:
    first = steps[0]
    scored = isinstance(first, TransformerStep) and first.head == "masked_language"
    splade = any(isinstance(step, SpladeStep) for step in steps)
    if scored != splade:
        reader.refuse(
            MODULES_FILE,
            "pools a vocabulary's scores, and its transformer gives none"
            if splade
            else "has a transformer that scores the vocabulary, and no SpladePooling",
        )
    sparse = any(isinstance(step, _SPARSE_STEPS) for step in steps)
    if sparse != (output == "sparse"):
        reader.refuse(MODULES_FILE, f"is of a model of {output} vectors, and its steps make others")


def _features(step: Step) -> tuple[str, str]:
    """The feature that a step reads, and the one that it writes."""
    match step:
        case DenseStep() | NormalizeStep():
            return step.source, step.target
        case PoolingStep() | SpladeStep():
            return _TOKENS, _VECTOR
        case LayerNormStep() | AutoEncoderStep():
            return _VECTOR, _VECTOR
        case TransformerStep():
            return "", _TOKENS
        case _:
            return "", _VECTOR


def _name(step: Step) -> str:
    return type(step).__name__.removesuffix("Step")


def _prompts(reader: Reader, settings: Mapping[str, Any]) -> dict[str, str]:
    given = reader.take(SETTINGS_FILE, settings, "prompts", dict, {})
    for name, text in given.items():
        if text:
            reader.fact(f"prompt {name}", repr(text), f"{SETTINGS_FILE}: prompts.{name}")
    return {str(name): str(text or "") for name, text in given.items()}


def _default_prompt(reader: Reader, settings: Mapping[str, Any]) -> str | None:
    if settings.get("default_prompt_name") is None:
        return None
    # A name of no letters is one too.
    name = reader.take(SETTINGS_FILE, settings, "default_prompt_name", str, "")
    source = f"{SETTINGS_FILE}: default_prompt_name"
    prompts = reader.take(SETTINGS_FILE, settings, "prompts", dict, {})
    # The reference has these two names, without a text, also where a folder lists none.
    if name not in prompts and name not in ("query", "document"):
        reader.refuse(source, f"is {name!r}, and the prompts are {sorted(prompts)}")
    reader.fact("default prompt", name, source)
    return name


def _kept(reader: Reader, settings: Mapping[str, Any], output: Output) -> int | None:
    key = "truncate_dim" if output == "dense" else "max_active_dims"
    if settings.get(key) is None:
        return None
    kept = reader.count(SETTINGS_FILE, settings, key)
    reader.fact("kept", kept, f"{SETTINGS_FILE}: {key}")
    return kept


def _kept_by(steps: tuple[Step, ...], kept: int | None) -> tuple[Step, ...]:
    """As the reference does: the number of entries that are kept replaces an auto-encoder's own."""
    if kept is None:
        return steps
    return tuple(
        replace(step, kept=kept) if isinstance(step, AutoEncoderStep) else step for step in steps
    )


def _similarity(settings: Mapping[str, Any]) -> str | None:
    name = settings.get("similarity_fn_name")
    return name if isinstance(name, str) else None
