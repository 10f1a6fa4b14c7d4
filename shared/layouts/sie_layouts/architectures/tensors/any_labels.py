"""The tensors of GLiNER and GLiClass: their encoders as the families have them, and what is behind.

*pure* over `Files`. The rows of the vocabulary are left to the loader, because the libraries add
tokens to it. So is what only some configs have, and an encoder whose config is not in the folder.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from sie_layouts.architectures.counts import PARTS_MAX
from sie_layouts.architectures.tensors.declared import unlike_family
from sie_layouts.architectures.tensors.families import FAMILIES, Family
from sie_layouts.facts import Files, Refusal
from sie_layouts.reader import Reader

__all__ = ["lacking_of_gliclass", "lacking_of_gliner"]

_GLINER: Final = "gliner_config.json"
_GLICLASS: Final = "config.json"
_WEIGHTS: Final = "model.safetensors"
_ENCODERS: Final = frozenset(
    {"bert", "camembert", "deberta-v2", "distilbert", "electra", "modernbert", "mpnet", "roberta",
     "xlm-roberta"}
)  # fmt: skip
"""Those that both libraries make by transformers' own class, under its own names."""
_WIDTH: Final = 512
"""Of a GLiNER whose config does not say."""
_TOKENS: Final = "token_level"
_MARKED: Final = "markerV0"
_WIDER: Final = 4
"""The library's projections are so much wider inside."""


def lacking_of_gliner(files: Files) -> tuple[Refusal, ...]:
    """The refusals of a GLiNER's weights that would not load; nothing of a file not there."""
    config = Reader(files).table(_GLINER)
    encoders = {
        "token_rep_layer.bert_layer.model": "encoder_config",
        "token_rep_layer.labels_encoder.model": "labels_encoder_config",
    }
    if config.get("labels_encoder") is None:
        del encoders["token_rep_layer.labels_encoder.model"]
    own = Family((), "\n".join(_of_gliner(config)), parts=_parts(config, encoders))
    return unlike_family(files, _WEIGHTS, _GLINER, config, own)


def lacking_of_gliclass(files: Files) -> tuple[Refusal, ...]:
    """The same of a GLiClass."""
    config = Reader(files).table(_GLICLASS)
    own = Family(("model.",), "", parts=_parts(config, {"encoder_model": "encoder_config"}))
    return unlike_family(files, _WEIGHTS, _GLICLASS, config, own)


def _parts(config: Mapping[str, Any], encoders: Mapping[str, str]) -> dict[str, Family]:
    found = {}
    for name, key in encoders.items():
        own = config.get(key)
        kind = own.get("model_type") if isinstance(own, Mapping) else None
        if isinstance(kind, str) and kind in _ENCODERS:
            once = FAMILIES[kind].once.split("\n")
            kept = "\n".join(line for line in once if "vocab_size" not in line.split())
            found[name] = replace(FAMILIES[kind], once=kept, config=(key,))
    return found


def _of_gliner(config: Mapping[str, Any]) -> Iterator[str]:
    width, layers = config.get("hidden_size", _WIDTH), config.get("num_rnn_layers", 1)
    mode = config.get("span_mode", _MARKED)
    if not _is_count(width) or not _is_count(layers):
        return
    yield from _lstm(width, min(layers, PARTS_MAX))
    if mode == _TOKENS:
        yield f"linear scorer.proj_token {2 * width} {width}"
        yield f"linear scorer.proj_label {2 * width} {width}"
        # Three: its start, its end, and that a token is inside.
        yield from _projection("scorer.out_mlp", 3 * width, _WIDER * width, 3)
    else:
        yield from _projection("prompt_rep_layer", width, _WIDER * width, width)
    if mode == _MARKED or (mode == _TOKENS and config.get("represent_spans")):
        spans = "span_rep_layer.span_rep_layer"
        for name, given in (("project_start", 1), ("project_end", 1), ("out_project", 2)):
            yield from _projection(f"{spans}.{name}", given * width, _WIDER * width, width)


def _lstm(width: int, layers: int) -> Iterator[str]:
    """Both directions, each of half the width: four gates from what comes and from what was."""
    half = width // 2
    for layer in range(layers):
        comes = 2 * half if layer else width
        for direction in ("", "_reverse"):
            for part, sizes in (("ih", f" {comes}"), ("hh", f" {half}")):
                yield f"single rnn.lstm.weight_{part}_l{layer}{direction} {4 * half}{sizes}"
                yield f"single rnn.lstm.bias_{part}_l{layer}{direction} {4 * half}"


def _projection(name: str, given: int, inside: int, out: int) -> Iterator[str]:
    yield f"linear {name}.0 {inside} {given}"
    yield f"linear {name}.3 {out} {inside}"


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
