"""The layouts of GLiNER and GLiClass: entities and classes for the labels of a request.

*pure.* Read as the authors' libraries read them: GLiNER by `gliner_config.json`, GLiClass by the
`model_type` of `config.json`. Promises that nothing of such a folder names code that a library
would fetch and run. It says of which other repositories it wants the tokenizer or the config.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from sie_layouts.extraction.gliner_fields import refuse_fields, refuse_switching
from sie_layouts.facts import Fact, Files, Reading
from sie_layouts.reader import Reader

__all__ = [
    "GLINER_FILE",
    "GliclassLayout",
    "GlinerLayout",
    "code_named",
    "is_gliclass",
    "is_gliner",
    "read_gliclass",
    "read_gliner",
]

GLINER_FILE: Final = "gliner_config.json"
_CONFIG: Final = "config.json"
_TOKENIZER: Final = "tokenizer_config.json"
_LABELS_TOKENIZER: Final = f"labels_tokenizer/{_TOKENIZER}"
_GLICLASS: Final = "GLiClass"
_WORDS_MAX: Final = 384
"""The words that GLiNER reads where its config does not say."""
_OTHER_WORK: Final = (
    ("relations_layer", "tells relations too, which is not done here"),
    ("labels_decoder", "writes labels of its own, which is not done here"),
    ("precomputed_prompts_mode", "holds labels that were read before, which is not done here"),
)
_ENCODERS: Final = ("uni-encoder",)


@dataclass(frozen=True, slots=True)
class GlinerLayout:
    """Entities for any labels."""

    encoders: Literal[1, 2]
    """Two: labels are read apart from texts."""
    finds: Literal["spans", "tokens"]
    words_max: int
    beside: tuple[str, ...] = ()
    """Repositories of which the tokenizer and the config are wanted, beside this folder."""
    facts: tuple[Fact, ...] = ()


@dataclass(frozen=True, slots=True)
class GliclassLayout:
    """Classes for any labels, in one pass."""

    facts: tuple[Fact, ...] = ()


def is_gliner(files: Files) -> bool:
    """True of a folder that GLiNER's library saved."""
    return GLINER_FILE in files.names()


def is_gliclass(files: Files) -> bool:
    """True of a folder that GLiClass's library saved."""
    return str(Reader(files).table(_CONFIG).get("model_type")) == _GLICLASS


def read_gliner(files: Files) -> Reading[GlinerLayout]:
    """The layout of a GLiNER, or all that stands in the way."""
    reader = Reader(files)
    config = reader.table(GLINER_FILE)
    for key, what in _OTHER_WORK:
        # An empty name of a layer is one to the library: only null is none.
        if config.get(key) or config.get(key) == "":
            reader.refuse(f"{GLINER_FILE}: {key}", what)
    if config.get("model_type") == "gliner_streaming_span":
        reader.refuse(
            f"{GLINER_FILE}: model_type", "reads a stream of text, which is not done here"
        )
    _refuse_code(reader, GLINER_FILE, config)
    two = config.get("labels_encoder") is not None
    refuse_fields(reader, GLINER_FILE, config, two=two)
    layout = GlinerLayout(
        encoders=2 if two else 1,
        finds="tokens" if config.get("span_mode") == "token_level" else "spans",
        words_max=reader.take(GLINER_FILE, config, "max_len", int, _WORDS_MAX),
        beside=tuple(dict.fromkeys(_beside(reader, config, two=two))),
    )
    reader.fact("encoders", layout.encoders, f"{GLINER_FILE}: labels_encoder")
    reader.fact("finds", layout.finds, f"{GLINER_FILE}: span_mode")
    reader.fact("words at once", layout.words_max, f"{GLINER_FILE}: max_len")
    for name in layout.beside:
        reader.fact("beside it", name, f"{GLINER_FILE}: the tokenizer or encoder that it names")
    if reader.refusals:
        return Reading(None, tuple(reader.refusals))
    return Reading(
        GlinerLayout(
            layout.encoders, layout.finds, layout.words_max, layout.beside, tuple(reader.facts)
        )
    )


def read_gliclass(files: Files) -> Reading[GliclassLayout]:
    """The layout of a GLiClass, or all that stands in the way."""
    reader = Reader(files)
    config = reader.table(_CONFIG)
    kind = reader.take(_CONFIG, config, "architecture_type", str, _ENCODERS[0])
    if kind not in _ENCODERS:
        reader.refuse(
            f"{_CONFIG}: architecture_type", f"is {kind}, and {', '.join(_ENCODERS)} is run here"
        )
    if config.get("squeeze_layers"):
        reader.refuse(
            f"{_CONFIG}: squeeze_layers", "is what the authors' library cannot run itself"
        )
    if config.get("multimodal"):
        reader.refuse(f"{_CONFIG}: multimodal", "takes images, which is not done here")
    if not isinstance(config.get("encoder_config"), dict):
        reader.refuse(
            f"{_CONFIG}: encoder_config", "is missing", "save the model with its encoder's config"
        )
    refuse_switching(reader, f"{_CONFIG}: encoder_config", config.get("encoder_config"))
    _refuse_code(reader, _CONFIG, config)
    if not reader.has(_TOKENIZER):
        reader.refuse(_TOKENIZER, "is missing", "save the tokenizer into the folder")
    reader.fact("encoders", 1, f"{_CONFIG}: architecture_type")
    if reader.refusals:
        return Reading(None, tuple(reader.refusals))
    return Reading(GliclassLayout(tuple(reader.facts)))


def _beside(reader: Reader, config: Mapping[str, Any], *, two: bool) -> Iterator[str]:
    """The repositories that the library would look for on the hub."""
    # The library fetches what the folder lacks, at whatever commit is newest. So each of these is
    # pinned beside the model.
    if not reader.has(_TOKENIZER) or config.get("encoder_config") is None:
        yield from _repository(reader, config, "model_name")
    no_labels = not reader.has(_LABELS_TOKENIZER) or config.get("labels_encoder_config") is None
    if two and no_labels:
        yield from _repository(reader, config, "labels_encoder")


def _repository(reader: Reader, config: Mapping[str, Any], key: str) -> Iterator[str]:
    name = reader.take(GLINER_FILE, config, key, str, "")
    owner, _, rest = name.partition("/")
    if owner and rest and "/" not in rest and not name.startswith((".", "~")):
        yield name
    else:
        reader.refuse(
            f"{GLINER_FILE}: {key}",
            f"is {name or 'missing'}, and the folder lacks its tokenizer or config",
            "save the tokenizer and the encoder's config into the folder",
        )


def code_named(table: Mapping[str, Any]) -> list[str]:
    """The keys of a config, and of configs inside it, that name code of the model's own."""
    return [f"{path}auto_map" for path, each in _tables(table) if each.get("auto_map")]


def _refuse_code(reader: Reader, file: str, config: Mapping[str, Any]) -> None:
    """Both libraries would let an encoder's config name code, and run it."""
    for key in code_named(config):
        reader.refuse(f"{file}: {key}", "names code of its own, which is never run here")


def _tables(table: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield path, table
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _tables(value, f"{path}{key}.")
