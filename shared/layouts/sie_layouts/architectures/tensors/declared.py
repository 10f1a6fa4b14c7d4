"""A model's tensors by its config.json, and what its files lack of them.

*pure* over `Files`. `sie add` asks before anything is written, and a worker before it loads, by the
same declaration. An architecture that is not declared has the form of its files judged alone.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Final

from sie_layouts.architectures.configs import numbers_lacking, read_of
from sie_layouts.architectures.counts import PARTS_MAX
from sie_layouts.architectures.published import published_form
from sie_layouts.architectures.tensors.families import FAMILIES, Family, Head
from sie_layouts.architectures.tensors.headers import Held, read_header
from sie_layouts.architectures.tensors.kin import KIN, LATER
from sie_layouts.architectures.tensors.library import library_family
from sie_layouts.architectures.tensors.pickle_header import read_pickle
from sie_layouts.architectures.tensors.pickled import pickles_wanted
from sie_layouts.architectures.tensors.towers import TOWERS
from sie_layouts.architectures.unrunnable import unrunnable
from sie_layouts.facts import Files, Refusal
from sie_layouts.reader import Reader, joined

__all__ = [
    "Wanted",
    "declared_types",
    "held_by",
    "lacking",
    "layer_shapes",
    "main_file",
    "unlike_family",
    "wanted",
]

_WEIGHTS: Final = "model.safetensors"
_INDEX: Final = "model.safetensors.index.json"
_SHARDS_MAX: Final = 256
"""A model of 2,000 layers has fewer; each one's header is a request to a hub."""
_SHOWN: Final = 3
"""Names that a person wants to see of what is missing."""
_PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "linear": ("weight", "bias"), "matrix": ("weight",), "norm": ("weight", "bias"),
    "named": ("",), "scale": ("weight",), "single": ("",), "unread": ("",),
}  # fmt: skip
_WRAPPED: Final = re.compile(r"(?:(?:module|auto_model|_orig_mod)\.)+")
"""The beginnings that wrappers of other libraries give to every name."""
_SIZE_MAX: Final = 2**40
"""More than any tensor has. Products of larger ones have too many digits to be told."""
_OLD_PARTS: Final = {"gamma": "weight", "beta": "bias"}
"""Names that norms had in the first releases, and that transformers still reads."""
_CHANGED: Final = ".parametrizations.weight.original"  # a base's weight beside its LoRA
_OTHER_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "hidden_size": ("n_embd",), "num_hidden_layers": ("n_layer",), "intermediate_size": ("n_inner",)
}  # fmt: skip
_FORMS: Final = {"both_ways_llama": "llama", "gritlm": "mistral"}
_TYPES: Final = {"new": "gte", "jina_embeddings_v3": "flash_roberta"}
"""Other names of a family."""
_KEY_HEADS: Final = "num_key_value_heads"
_EVERY: Final[Mapping[str, Family]] = {**FAMILIES, **KIN, **TOWERS}


@dataclass(frozen=True, slots=True)
class Wanted:
    """One tensor: any of its names will do."""

    names: tuple[str, ...]
    shape: tuple[int, ...] | None
    """None of one whose shape is left to the loader."""
    needed: bool = True
    """False of one that no answer is made with: it may be missing, and has its shape if not."""


def declared_types() -> frozenset[str]:
    """The values of `model_type` whose tensors are declared here, with their shapes."""
    return frozenset({*_EVERY, *_TYPES})


def main_file(files: Files, folder: str) -> str:
    """The file of a model's weights, or their index, whether it is there or not."""
    named = Reader(files).table(joined(folder, "config.json")).get("transformers_weights")
    if named:
        return joined(folder, str(named))
    index, main = joined(folder, _INDEX), joined(folder, _WEIGHTS)
    return index if index in files.names() and main not in files.names() else main


def held_by(files: Files, main: str) -> tuple[dict[str, Held], tuple[Refusal, ...]] | None:
    """The tensors of a file, or of the shards that an index names; None where one is not there."""
    shards = [main]
    if main.endswith(".index.json"):
        index = Reader(files).table(main)
        if not isinstance(index.get("metadata"), dict):
            said = "has no `metadata`, without which transformers reads no shards"
            return {}, (Refusal(main, said, "restore the file"),)
        listed = index.get("weight_map")
        names = set(map(str, listed.values())) if isinstance(listed, dict) else set()
        shards = sorted(joined(main.rpartition("/")[0], each) for each in names)
    if len(shards) > _SHARDS_MAX:
        said = f"names {len(shards)} files, and at most {_SHARDS_MAX} are read"
        return {}, (Refusal(main, said, "use a model of fewer files"),)
    if not set(shards) <= files.names().keys():
        return None
    found: dict[str, Held] = {}
    refusals: list[Refusal] = []
    for shard in shards:
        try:
            found |= read_header(files, shard)
        except ValueError as error:
            refusals.append(Refusal(shard, str(error), "restore the file"))
    return found, tuple(refusals)


def wanted(config: Mapping[str, Any], head: Head, names: Iterable[str] = ()) -> Iterator[Wanted]:
    """The tensors that a config.json needs with a head; none where its family is not declared.

    `names` are those that its file has: of an architecture that is known by two, they decide.
    """
    kind = _key(config)
    family, later = _EVERY.get(kind) or library_family(kind), LATER.get(kind)
    if later is not None and _has_layers(later, names):
        family = later
    if family is None:
        return
    yield from _of_family(config, family, "", family.prefixes)
    yield from _lines(family.heads.get(head, ""), "", family.prefixes, _sizes(config, family))
    yield from (Wanted((each,), None) for each in numbers_lacking(kind, config, names))


def _of_family(
    config: Mapping[str, Any], family: Family, inside: str, prefixes: tuple[str, ...]
) -> Iterator[Wanted]:
    """The tensors of a model without a head, and of those that it holds."""
    sizes = _sizes(config, family)
    yield from _lines(family.once, inside, prefixes, sizes)
    inner = min(sizes.get(family.inner, 1), PARTS_MAX) if family.inner else 1
    for number in range(min(sizes.get(family.count, 0), PARTS_MAX)):
        for place in range(inner):
            layer = family.layers.replace("*", str(number)).replace("+", str(place))
            each, sized = family.each.replace("#", str(number)), {**sizes, "layer": number}
            yield from _lines(each, _joined(inside, layer), prefixes, sized)
    for name, part in family.parts.items():
        yield from _of_family(_config_of(config, part), part, _joined(inside, name), prefixes)


def _config_of(config: Mapping[str, Any], part: Family) -> Mapping[str, Any]:
    own = next((config[key] for key in part.config if config.get(key) is not None), None)
    return own if isinstance(own, Mapping) else {}


def _joined(inside: str, name: str) -> str:
    return f"{inside}.{name}" if inside and name else inside or name


def lacking(
    files: Files, folder: str, head: Head, changed: Mapping[str, Any] | None = None
) -> tuple[Refusal, ...]:
    """The refusals of weights that would not load; nothing of files that are not there.

    `changed` are values that stand for those of its config.json.
    """
    name, main = joined(folder, "config.json"), main_file(files, folder)
    config = {**Reader(files).table(name), **(changed or {})}
    small = (*unrunnable(name, config), *_too_small(name, config))
    return small or _judged(files, main, name, config, head)


def layer_shapes(
    files: Files, folder: str
) -> tuple[Mapping[str, tuple[int, ...]], tuple[str, ...]] | None:
    """The shapes of a model's tensors by every name, and the beginnings that a name may have.

    Without beginnings its family is not declared. None where its files are not there, or it is
    known by two sets of names.
    """
    config = Reader(files).table(joined(folder, "config.json"))
    read = _read(files, main_file(files, folder))
    if read is None or read[2] or published_form(config) is not None or _key(config) in LATER:
        return None
    shapes = {_today(name): each.shape for name, each in read[1].items()}
    for each in wanted(config, "none"):
        held = next((shapes[name] for name in each.names if name in shapes), each.shape)
        shapes |= {name: held for name in each.names if held is not None}
    family = _family(config)
    return shapes, family.prefixes if family is not None else ()


def unlike_family(
    files: Files, main: str, name: str, config: Mapping[str, Any], family: Family
) -> tuple[Refusal, ...]:
    """The refusals of one file by the config `name`, for a family that no `model_type` names."""
    read = _read(files, main)
    every = _of_family(config, family, "", family.prefixes)
    return _unlike_any(*read, name, every) if read is not None else ()


def _judged(
    files: Files, main: str, name: str, config: Mapping[str, Any], head: Head
) -> tuple[Refusal, ...]:
    read = _read(files, main)
    if read is None:
        return ()
    return _unlike_any(*read, name, wanted(config, head, read[1]))


def _read(files: Files, main: str) -> tuple[str, Mapping[str, Held], tuple[Refusal, ...]] | None:
    """The file that has the tensors, and those; None where nothing can be told yet."""
    read = held_by(files, main) if main in files.names() else None
    if read is None:
        main, read = _pickled(files, main)
    return (main, *read) if read is not None else None


def _unlike_any(
    main: str,
    held: Mapping[str, Held],
    refusals: tuple[Refusal, ...],
    config: str,
    every: Iterable[Wanted],
) -> tuple[Refusal, ...]:
    if refusals:
        return refusals
    by_name = {_today(each): tensor for each, tensor in held.items()}
    wanted_ones = tuple(dict.fromkeys(every))
    return (*_wrapped(main, by_name),) or (*_unlike(main, config, by_name, wanted_ones),)


def _pickled(
    files: Files, main: str
) -> tuple[str, tuple[dict[str, Held], tuple[Refusal, ...]] | None]:
    """The pickles that a worker makes `main` of, by the first one's name, and their tensors."""
    folder = main.rpartition("/")[0]
    names = [
        name
        for name in pickles_wanted(files.names())
        if name.startswith(f"{folder}/pytorch_model" if folder else "pytorch_model")
    ]
    held = [read_pickle(files, name) for name in names[:_SHARDS_MAX]]
    known = [each for each in held if each is not None]
    if not names or len(known) < len(names):
        return main, None
    return names[0], ({key: each for one in known for key, each in one.items()}, ())


def _too_small(name: str, config: Mapping[str, Any]) -> Iterator[Refusal]:
    family = _family(config)
    if family is None:
        return
    sizes = _sizes(config, family)
    for key, least in family.least.items():
        if sizes.get(key, least) < least:
            said = f"is {sizes[key]}, and transformers' own forward reads {least}: it fails"
            yield Refusal(f"{name}: {key}", said, "use the model as its authors published it")
    heads, keys = sizes.get("num_attention_heads", 0), sizes.get("num_key_value_heads", 0)
    # Others ignore the key, as transformers' own BERT does.
    if _KEY_HEADS in family.each and keys > 0 and heads % keys:
        said = f"is {keys}, of which {heads} heads are no multiple: transformers' forward fails"
        yield Refusal(f"{name}: {_KEY_HEADS}", said, "restore the file")


def _wrapped(main: str, held: Mapping[str, Held]) -> Iterator[Refusal]:
    """Names that transformers reads of no family."""
    first = _WRAPPED.match(next(iter(held), ""))
    if first is not None and all(each.startswith(first[0]) for each in held):
        said = f"names each tensor {first[0]}…, as a wrapper does, and transformers reads none so"
        yield Refusal(main, said, "save the model itself, without what was around it")


def _unlike(
    main: str, config: str, held: Mapping[str, Held], every: tuple[Wanted, ...]
) -> Iterator[Refusal]:
    cure = "restore the file, or its config.json"
    found = {each: next((one for one in each.names if one in held), None) for each in every}
    missing = [each.names[0] for each, name in found.items() if name is None and each.needed]
    if missing:
        said = f"lacks {len(missing)} tensors of the model that {config} describes: "
        yield Refusal(main, said + ", ".join(missing[:_SHOWN]), cure)
    there = [(name, held[name], each.shape) for each, name in found.items() if name is not None]
    others = [(name, one.shape, shape) for name, one, shape in there if shape is not None]
    for name, own, shape in [each for each in others if each[1] != each[2]][:_SHOWN]:
        said = f"holds {name} as {list(own)}, and by {config} it is {list(shape)}"
        yield Refusal(main, said, cure)
    for name, tensor, _ in [each for each in there if "F" not in each[1].type][:_SHOWN]:
        said = f"holds {name} as {tensor}, and floating-point numbers are wanted"
        yield Refusal(main, said, "use the model as its authors published it")


def _family(config: Mapping[str, Any]) -> Family | None:
    return _EVERY.get(_key(config))


def _key(config: Mapping[str, Any]) -> str:
    form, kind = published_form(config), str(config.get("model_type"))
    return _FORMS.get(form, form) if form is not None else _TYPES.get(kind, kind)


def _has_layers(family: Family, names: Iterable[str]) -> bool:
    return any(
        each.removeprefix(prefix).startswith("layers.")
        for each in names
        for prefix in ("", *family.prefixes)
    )


def _today(name: str) -> str:
    name = name.replace(_CHANGED, ".weight")
    start, _, last = name.rpartition(".")
    return f"{start}.{_OLD_PARTS[last]}" if last in _OLD_PARTS else name


def _sizes(config: Mapping[str, Any], family: Family) -> dict[str, int]:
    """The whole numbers of a config, with those that follow from others."""
    given: dict[str, Any] = dict(family.usual)
    for key, others in _OTHER_KEYS.items():
        for other in others:
            if config.get(other) is not None:
                given[key] = config[other]
    given |= read_of(config)
    labels = given.get("id2label")
    named = len(labels) if isinstance(labels, Mapping) and labels else 2
    if given.setdefault("num_labels", named) != named and labels:
        del given["num_labels"]  # the two disagree, and the loader says which counts
    found = {
        key: int(each)
        for key, each in given.items()
        if isinstance(each, int) and abs(each) <= _SIZE_MAX
    }
    heads, width = found.get("num_attention_heads", 0), found.get("hidden_size", 0)
    found.setdefault("head_dim", width // heads if heads else 0)
    found.setdefault("num_key_value_heads", heads)
    found.setdefault("embedding_size", width)
    found.setdefault("pooler_hidden_size", width)
    found.setdefault("projection_size", width)
    found["untied_words"] = int(not given.get("tie_word_embeddings", False))
    found |= _relative(given, found)
    found["gated"] = int(str(given.get("feed_forward_proj")).startswith("gated-"))
    found["projected"] = int(found["embedding_size"] != width)
    found["grouped"] = int(found.get("num_groups", 1) > 1)
    if found.get("patch_size", 0) > 0:
        found["patches"] = (found.get("image_size", 0) // found["patch_size"]) ** 2
        found["patches_and_class"] = found["patches"] + 1
    for name, part in family.parts.items():
        own = _sizes(_config_of(config, part), part)
        found |= {f"{name}.{key}": value for key, value in own.items()}
    return found


def _relative(given: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, int]:
    """The positions of a DeBERTa by its config: relative, absolute, or both."""
    own, buckets = sizes.get("max_relative_positions", -1), sizes.get("position_buckets", -1)
    rows = own if own > 0 else sizes.get("max_position_embeddings", 0)
    kinds = given.get("pos_att_type") if sizes.get("relative_attention") else None
    shared = bool(sizes.get("share_att_key"))
    found = {"relative_rows": rows, "relative_buckets": buckets if buckets > 0 else rows}
    for kind in ("c2p", "p2c"):
        # A string is a list to transformers, which looks for the one in the other.
        found[kind] = int(isinstance(kinds, list | str) and kind in kinds)
        found[f"own_{kind}"] = int(found[kind] and not shared)
    normed = str(given.get("norm_rel_ebd", "none")).lower().split("|")
    found["relative_norm"] = int("layer_norm" in [each.strip() for each in normed])
    return found


def _lines(
    text: str, layer: str, prefixes: tuple[str, ...], sizes: Mapping[str, int]
) -> Iterator[Wanted]:
    for line in text.split("\n"):
        if not line.strip():
            continue
        kind, names, *dimensions = line.split()
        kind, *conditions = kind.split("?")
        shape = tuple(_number(each, sizes) for each in dimensions)
        # A declaration is never too strict: of a size that is not known the loader judges.
        if None in shape or not all(_holds(each, sizes) for each in conditions):
            continue
        for part in _PARTS[kind]:
            own = [_joined(_joined(layer, name), part) for name in names.split("|")]
            every = [f"{prefix}{name}" for name in own for prefix in ("", *prefixes)]
            sized = None if kind == "named" else _of_part(part, shape)
            yield Wanted(tuple(every), sized, kind != "unread")


def _holds(condition: str, sizes: Mapping[str, int]) -> bool:
    key = condition.removeprefix("!")
    return bool(sizes.get(key)) != (key != condition)


def _of_part(part: str, shape: tuple[int | None, ...]) -> tuple[int, ...]:
    whole = tuple(each for each in shape if each is not None)
    return whole[:1] if part == "bias" else whole


def _number(text: str, sizes: Mapping[str, int]) -> int | None:
    """A size; None where the config does not say it, and then the line is left to the loader."""
    parts = [int(each) if each.isdecimal() else sizes.get(each) for each in text.split("*")]
    return None if None in parts else prod(each for each in parts if each is not None)
