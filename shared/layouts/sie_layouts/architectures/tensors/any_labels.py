"""The tensors of GLiNER and GLiClass: their encoders as the families have them, and what is behind.

*pure* over `Files`. The rows of the vocabulary are left to the loader, because the libraries add
tokens to it. So is an encoder whose config is not in the folder. Tensors of a part that a config
says a GLiNER has not are refused by the key that says so.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from sie_layouts.architectures.counts import PARTS_MAX
from sie_layouts.architectures.tensors.declared import held_by, unlike_family
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
_WORDS: Final = 12
"""Of the widest entity of such a one."""
_USUAL: Final = "deberta-v2"
"""The type of an encoder whose config does not say."""
_ENDS: Final[Mapping[str, tuple[str, ...]]] = {
    _MARKED: (), _TOKENS: (), "markerV1": ("project_first",), "markerV2": ("project_context",),
}  # fmt: skip
"""The ways to see spans by their ends, and what each looks at beside them."""
_ASKED: Final = frozenset({"query", "cat"})
_ASKED_WIDTH: Final = 128
"""Of the library's own choice."""
_ALONE: Final = frozenset({"l2l", "t2t"})
"""The steps in which labels, or words, meet each other alone."""
_ONCE: Final = {
    r"cross_fuser\.()": "post_fusion_schema",
    r"token_rep_layer\.\w+\.layers_fuser\.()": "fuse_layers",
    r"token_rep_layer\.labels_encoder\.()": "labels_encoder",
    r"span_rep_layer\.context_encoder\.encoder\.()": "span_encoder_config",
}
"""The names of parts that a config has or has not, each with the key that says so."""
_COUNTED: Final = {
    r"rnn\.lstm\.\w+_l(\d+)": "num_rnn_layers",
    r"cross_fuser\.layers\.(\d+)\.": "num_post_fusion_layers",
}
"""And of those that it may have several of: one, where it does not say."""
_WIDER: Final = 4
"""The library's projections are so much wider inside."""


def lacking_of_gliner(files: Files) -> tuple[Refusal, ...]:
    """The refusals of a GLiNER's weights that would not load; nothing of a file not there."""
    config = Reader(files).table(_GLINER)
    two = config.get("labels_encoder") is not None
    encoders = {f"{part}.model": key for part, key in _encoders(two=two).items()}
    own = Family((), "\n".join(_of_gliner(config)), parts=_parts(config, encoders))
    return unlike_family(files, _WEIGHTS, _GLINER, config, own) or tuple(_unread(files, config))


def lacking_of_gliclass(files: Files) -> tuple[Refusal, ...]:
    """The same of a GLiClass."""
    config = Reader(files).table(_GLICLASS)
    own = Family(("model.",), "", parts=_parts(config, {"encoder_model": "encoder_config"}))
    return unlike_family(files, _WEIGHTS, _GLICLASS, config, own)


def _parts(config: Mapping[str, Any], encoders: Mapping[str, str]) -> dict[str, Family]:
    found = {}
    for name, key in encoders.items():
        own = config.get(key)
        kind = own.get("model_type", _USUAL) if isinstance(own, Mapping) else None
        if isinstance(kind, str) and kind in _ENCODERS:
            once = FAMILIES[kind].once.split("\n")
            kept = "\n".join(line for line in once if "vocab_size" not in line.split())
            found[name] = replace(FAMILIES[kind], once=kept, config=(key,))
    return found


def _encoders(*, two: bool) -> dict[str, str]:
    """The parts that read, each with the key of its config."""
    texts = {"token_rep_layer.bert_layer": "encoder_config"}
    return {**texts, "token_rep_layer.labels_encoder": "labels_encoder_config"} if two else texts


def _of_gliner(config: Mapping[str, Any]) -> Iterator[str]:
    width, layers = config.get("hidden_size", _WIDTH), config.get("num_rnn_layers", 1)
    mode = config.get("span_mode", _MARKED)
    if not _is_count(width) or not isinstance(layers, int):
        return
    yield from _lstm("rnn.lstm", width, min(layers, PARTS_MAX))
    yield from _fused(config, width)
    if mode == _TOKENS:
        yield f"linear scorer.proj_token {2 * width} {width}"
        yield f"linear scorer.proj_label {2 * width} {width}"
        # Three: its start, its end, and that a token is inside.
        yield from _projection("scorer.out_mlp", 3 * width, _WIDER * width, 3)
    else:
        yield from _projection("prompt_rep_layer", width, _WIDER * width, width)
    if mode != _TOKENS or config.get("represent_spans"):
        yield from _spans(str(mode), width, config.get("max_width", _WORDS))
        yield from _context(config.get("span_encoder_config"), width)


def _spans(mode: str, width: int, words: object) -> Iterator[str]:
    """The part that makes vectors of spans: of words at their ends, or of all inside."""
    spans = "span_rep_layer.span_rep_layer"
    inner = _ENDS.get(mode)
    if inner is not None:
        ends = ("project_start", "project_end", *inner)
        for name in ends:
            yield from _projection(f"{spans}.{name}", width, _WIDER * width, width)
        yield from _projection(f"{spans}.out_project", len(ends) * width, _WIDER * width, width)
    elif mode.startswith("conv"):
        yield f"linear {spans}.project.1 {width} {width}"
    elif mode in _ASKED and _is_count(words):
        rows = width if mode == "query" else _ASKED_WIDTH
        yield f"single {spans}.query_seg {rows} {words}"
        yield f"linear {spans}.project.0 {width} {width if mode == 'query' else width + rows}"
    elif mode == "mlp" and _is_count(words):
        yield f"linear {spans}.mlp {width * int(str(words))} {width}"


def _context(own: object, width: int) -> Iterator[str]:
    """The part that reads the words once more, where it is an LSTM of both directions."""
    if not isinstance(own, Mapping) or own.get("bidirectional") is False:
        return
    inside, layers = own.get("hidden_size", width), own.get("num_hidden_layers", 1)
    if not _is_count(inside) or not _is_count(layers):
        return
    reads = "span_rep_layer.context_encoder"
    if inside != width:
        yield f"linear {reads}.input_projection {inside} {width}"
        yield f"linear {reads}.output_projection {width} {inside}"
    if own.get("model_type") == "rnn":
        yield from _lstm(f"{reads}.encoder", inside, min(layers, PARTS_MAX))


def _fused(config: Mapping[str, Any], width: int) -> Iterator[str]:
    """The parts that weigh an encoder's layers, fit its width, and have labels and words meet."""
    for part, key in _encoders(two=config.get("labels_encoder") is not None).items():
        own = config.get(key)
        inside, layers = _sizes(own if isinstance(own, Mapping) else {})
        if config.get("fuse_layers") and inside and layers:
            yield f"linear {part}.layers_fuser.squeeze 1 {inside}"
            yield f"linear {part}.layers_fuser.W1 {layers // 2} {layers}"
            yield f"linear {part}.layers_fuser.W2 {layers} {layers // 2}"
            yield f"linear {part}.layers_fuser.output_projection {inside} {inside}"
        if inside and inside != width:
            name = "projection" if key == "encoder_config" else "labels_projection"
            yield f"linear token_rep_layer.{name} {width} {inside}"
    schema, meets = config.get("post_fusion_schema"), config.get("num_post_fusion_layers", 1)
    if not isinstance(schema, str) or not schema or not _is_count(meets):
        return
    steps = schema.split("-")
    for place in range(min(meets * len(steps), PARTS_MAX)):
        name = f"cross_fuser.layers.{place // len(steps)}.{place % len(steps)}"
        alone = steps[place % len(steps)] in _ALONE
        for own in ("query", "key", "value"):
            attends = "self_attn" if alone else "cross_attn"
            yield f"linear {name}.{attends}.{own}_layer {width} {width}"
        for own in ("q_proj", "k_proj", "v_proj") if alone else ("v_proj",):
            yield f"linear {name}.{own} {width} {width}"
        yield f"norm {name}.pre_norm {width}"
        yield f"norm {name}.post_norm {width}"


def _sizes(encoder: Mapping[str, Any]) -> tuple[int, int]:
    """The width and the layers that an encoder's config says; 0 for one that it does not."""
    told = (encoder.get("hidden_size", 0), encoder.get("num_hidden_layers", 0))
    return (told[0], told[1]) if all(map(_is_count, told)) else (0, 0)


def _unread(files: Files, config: Mapping[str, Any]) -> Iterator[Refusal]:
    """A refusal for each key by which the library leaves tensors of the file unread."""
    read = held_by(files, _WEIGHTS) if _WEIGHTS in files.names() else None
    for pattern, key, count in _numbered(config):
        found = [each for each in map(re.compile(pattern).match, read[0] if read else ()) if each]
        more = sorted(each.string for each in found if int(each.group(1) or 0) >= count)
        if more:
            value = config
            for part in key.split("."):
                value = value.get(part, "missing") if isinstance(value, Mapping) else value
            yield Refusal(
                f"{_GLINER}: {key}",
                f"is {json.dumps(value)}, and {_WEIGHTS} holds {len(more)} tensors that it leaves "
                f"unread, {more[0]} first",
                "restore the file",
            )


def _numbered(config: Mapping[str, Any]) -> Iterator[tuple[str, str, int]]:
    """The names of parts of which a key says the number, with the key and that; 0 of none."""
    yield from ((pattern, key, 0) for pattern, key in _ONCE.items() if not config.get(key))
    for pattern, key in _COUNTED.items():
        count = config.get(key, 1)
        if isinstance(count, int):
            yield pattern, key, count
    for part, key in _encoders(two=config.get("labels_encoder") is not None).items():
        own = config.get(key)
        own = own if isinstance(own, Mapping) else {}
        kind, layers = own.get("model_type", _USUAL), own.get("num_hidden_layers")
        if kind in _ENCODERS and _is_count(layers):
            named = re.escape(f"{part}.model.{FAMILIES[str(kind)].layers}").replace(r"\*", r"(\d+)")
            yield rf"{named}\.", f"{key}.num_hidden_layers", int(str(layers))


def _lstm(name: str, width: int, layers: int) -> Iterator[str]:
    """Both directions, each of half the width: four gates from what comes and from what was."""
    half = width // 2
    for layer in range(layers):
        comes = 2 * half if layer else width
        for direction in ("", "_reverse"):
            for part, sizes in (("ih", f" {comes}"), ("hh", f" {half}")):
                yield f"single {name}.weight_{part}_l{layer}{direction} {4 * half}{sizes}"
                yield f"single {name}.bias_{part}_l{layer}{direction} {4 * half}"


def _projection(name: str, given: int, inside: int, out: int) -> Iterator[str]:
    yield f"linear {name}.0 {inside} {given}"
    yield f"linear {name}.3 {out} {inside}"


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
