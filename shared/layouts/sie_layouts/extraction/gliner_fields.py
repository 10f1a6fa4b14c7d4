"""The values that a `gliner_config.json` may have, key by key, as the authors' library takes them.

*pure.* A key that is absent has the library's default; one that is null is null to it, and most of
them may not be. What is refused here ends the library when it loads, or at its first text.
"""

import difflib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sie_layouts.architectures.known_types import KNOWN_TYPES
from sie_layouts.facts import Refusal
from sie_layouts.inputs.vocabularies import TOKENIZER_FILE, tokens_of
from sie_layouts.reader import Reader

__all__ = ["refuse_fields", "refuse_switching"]

_SPLITTER: Final = "whitespace"
"""The one way to split words of which the library brings all that it needs."""
_ENCODERS: Final = ("encoder_config", "labels_encoder_config")
_DEFAULT: Final = "deberta-v2"
"""The type of an encoder whose config does not say."""
_CONTEXTS: Final = frozenset({"deberta-v2", "modernbert", "rnn"})
_SHOWN: Final = 60
"""Characters of a value: a person knows it by fewer."""


@dataclass(frozen=True, slots=True)
class _Field:
    """The values that one key may have."""

    wanted: str
    """In words."""
    fits: Callable[[object], bool]
    names: frozenset[str] = frozenset()
    """Of which one is wanted, where they are few."""


def _one_of(*names: str, null: bool = False) -> _Field:
    words = ", ".join((*sorted(names), *(("null",) if null else ())))
    known = frozenset(names)
    return _Field(
        f"one of {words}" if "," in words else words,
        lambda value: (null and value is None) or (isinstance(value, str) and value in known),
        known,
    )


def _whole(least: int) -> _Field:
    return _Field(
        f"a whole number from {least}",
        lambda value: type(value) is int and value >= least,
    )


_MARK: Final = _Field(
    "a text that is not empty", lambda value: isinstance(value, str) and value != ""
)
_FIELDS: Final[Mapping[str, _Field]] = {
    "subtoken_pooling": _one_of("first", "last", "mean", "max"),
    "span_mode": _one_of(
        "marker", "markerV0", "markerV1", "markerV2", "query", "mlp", "cat", "conv_conv",
        "conv_max", "conv_mean", "conv_sum", "conv_share", "token_level",
    ),
    "words_splitter_type": _one_of(_SPLITTER),
    "_attn_implementation": _one_of("eager", "sdpa", null=True),
    "torch_dtype": _one_of("float32", "float16", "bfloat16", "float64", "half", "float", null=True),
    "max_len": _whole(1),
    "max_width": _whole(1),
    "hidden_size": _whole(1),
    "num_rnn_layers": _Field("a whole number", lambda value: type(value) is int),
    "class_token_index": _whole(-1),
    "ent_token": _MARK,
    "sep_token": _MARK,
    "dropout": _Field(
        "a number from 0 to 1",
        lambda value: type(value) in (int, float) and 0 <= float(str(value)) <= 1,
    ),
}  # fmt: skip


def refuse_fields(reader: Reader, name: str, config: Mapping[str, Any], *, two: bool) -> None:
    """Refuse each value of the config `name` with which the library ends; `two` encoders or one."""
    for key, field in _FIELDS.items():
        if key in config and not field.fits(config[key]):
            reader.add(_unfit(f"{name}: {key}", config[key], field.wanted, field.names))
    layers = config.get("num_rnn_layers", 1)
    if two and type(layers) is int and layers < 0:
        said = "is below 0, which a model of two encoders does not take for none"
        reader.refuse(f"{name}: num_rnn_layers", said, "write 0")
    for key in (*_ENCODERS, "span_encoder_config"):
        known = KNOWN_TYPES if key in _ENCODERS else _CONTEXTS
        usual = _DEFAULT if key in _ENCODERS else None
        for refusal in _of_part(f"{name}: {key}", config.get(key), known, usual):
            reader.add(refusal)
        refuse_switching(reader, f"{name}: {key}", config.get(key))
    indices = (config.get("class_token_index", -1), config.get("vocab_size", -1))
    if not two and not reader.refusals and -1 not in indices and reader.has(TOKENIZER_FILE):
        _refuse_marks(reader, name, config)


def refuse_switching(reader: Reader, source: str, encoder: object) -> None:
    """Refuse an encoder that reads short texts by another attention than long ones: the library's
    stays with that of its first short text."""
    if not isinstance(encoder, dict) or encoder.get("model_type") != "big_bird":
        return
    said = encoder.get("attention_type", "block_sparse")
    if said != "original_full":
        what = f"is {_short(said)}, with which answers hang on what was read before"
        reader.refuse(f"{source}.attention_type", what, "write original_full")


def _of_part(
    source: str, value: object, known: Collection[str], usual: str | None
) -> Iterator[Refusal]:
    if value is None:
        return
    if not isinstance(value, dict):
        yield _unfit(source, value, "an object, or null,")
        return
    kind = value.get("model_type", usual)
    if not isinstance(kind, str) or kind not in known:
        wanted = f"one of {', '.join(sorted(known))}" if known is _CONTEXTS else "a known type"
        yield _unfit(f"{source}.model_type", kind, wanted, known)


def _refuse_marks(reader: Reader, name: str, config: Mapping[str, Any]) -> None:
    """With both places given the library adds no marks: its tokenizer has to have them."""
    tokens = tokens_of(reader)
    if tokens is None:
        return
    place, mark = config["class_token_index"], config.get("ent_token", "<<ENT>>")
    if place >= len(tokens):
        said = f"is {place}, and {TOKENIZER_FILE} has {len(tokens)} tokens"
        reader.refuse(f"{name}: class_token_index", said, "write -1, and -1 as vocab_size")
    elif mark not in tokens:
        said = f"is {_short(mark)}, which {TOKENIZER_FILE} has not"
        reader.refuse(f"{name}: ent_token", said, "write -1 as class_token_index and vocab_size")


def _unfit(source: str, value: object, wanted: str, names: Collection[str] = ()) -> Refusal:
    near = difflib.get_close_matches(value, sorted(names), 1) if isinstance(value, str) else []
    cure = "" if names else "restore the file"
    cure = f"write {near[0]}, if that was meant" if near else cure
    return Refusal(source, f"is {_short(value)}, and {wanted} is wanted", cure)


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
