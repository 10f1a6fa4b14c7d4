"""A LoRA adapter as its folder states it: a plain sum of low-rank products, or all that it is more.

*pure.* An adapter that sentence-transformers saved has the steps of a whole model beside it. Over a
registered model it is the same model only where these are that model's own steps.
"""

import hashlib
import json
import re
from collections.abc import Container, Iterable, Iterator, Mapping, Set
from dataclasses import fields, is_dataclass, replace
from typing import Any, Final, TypeAlias

from sie_layouts.architectures.tensors.declared import layer_shapes, wanted
from sie_layouts.architectures.tensors.factors import (
    ADAPTER_FILE,
    FACTOR,
    WEIGHTS_FILE,
    unlike_base,
    unlike_factors,
)
from sie_layouts.architectures.tensors.headers import Held, read_header
from sie_layouts.facts import Files, Refusal
from sie_layouts.inputs.expression_costs import takes_for_ever
from sie_layouts.layout import SentenceLayout
from sie_layouts.reader import Reader, joined
from sie_layouts.reading import Layout, kind_of, read
from sie_layouts.routes import MODULES_FILE
from sie_layouts.steps import TextLayout, TransformerStep

__all__ = [
    "UNFILLED_CURE",
    "AdapterConfig",
    "adapter_refusals",
    "other_steps",
    "refusals_over",
    "unfilled",
    "untargeted",
]

AdapterConfig: TypeAlias = Mapping[str, Any]
"""`adapter_config.json`, as peft wrote it."""

_CONFIG: Final = "config.json"
_NAME_CHARS_MAX: Final = 256
"""Of a layer: twice the longest that is known. A search for a target takes the square of it, one
for a rank of its own the cube."""
_WRAPPED: Final = "base_model.model."
"""The beginning that peft gives a name. A name that has it twice is of a model in two of them."""
_EVERY: Final = "all-linear"
"""peft's word for each linear layer."""
_NUMBER: Final = re.compile(r"\.\d+\.")
"""The place of a layer in a list."""
UNFILLED_CURE: Final = (
    "restore both files of one training, or leave out of target_modules what was not trained"
)
_CURE: Final = "train a plain LoRA, or merge it into its base and register that as a model"
_NOT_PLAIN: Final[Mapping[str, str]] = {
    "alora_invocation_tokens": "makes it an activated LoRA (aLoRA)",
    "arrow_config": "routes between adapters (Arrow)",
    "bdlora_config": "makes its factors block-diagonal",
    "fan_in_fan_out": "says that its target layers store their weights transposed",
    "kasa_config": "changes the base's weights by their singular values (KaSA)",
    "layer_replication": "replicates layers of the base",
    "lora_bias": "trains biases",
    "megatron_config": "is for Megatron's parallel layers",
    "monteclora_config": "draws its factors at random (MonteCLoRA)",
    "modules_to_save": "replaces whole modules",
    "target_parameters": "targets bare parameters, not linear layers",
    "trainable_token_indices": "trains token embeddings",
    "use_bdlora": "makes its factors block-diagonal",
    "use_dora": "makes it a DoRA: magnitudes beside the low-rank product",
    "use_qalora": "pools its inputs (QALoRA)",
    "velora_config": "compresses what its layers read (VeLoRA)",
}
"""The keys that make it more than a low-rank sum, where they are set."""
_KNOWN: Final = frozenset(
    {
        "alpha_pattern", "auto_mapping", "base_model_name_or_path", "bias", "corda_config",
        "ensure_weight_tying", "eva_config", "exclude_modules", "inference_mode",
        "init_lora_weights", "layers_pattern", "layers_to_transform", "loftq_config", "lora_alpha",
        "lora_dropout", "lora_ga_config", "megatron_core", "peft_type", "peft_version",
        "qalora_group_size", "r", "rank_pattern", "revision", "runtime_config", "target_modules",
        "task_type", "use_rslora",
    }
)  # fmt: skip
"""Keys of training and provenance, and those by which the products are made."""
_KEEPS_BASE: Final = (None, True, False, "gaussian", "eva", "mica", "orthogonal")
"""Initialisations that leave the base's own weights as they are."""
_CONVERTED: Final = ("corda", "lora_ga", "olora", "pissa")
"""Those that peft saves as a plain LoRA if it is asked to."""
_OF_NO_VECTOR: Final = frozenset({"facts", "folder", "similarity"})
"""Fields of a layout that change no answer."""


def adapter_refusals(config: AdapterConfig) -> Iterator[Refusal]:
    """Each reason for which an adapter is more than low-rank products over an unchanged base."""
    kind = config.get("peft_type")
    if kind != "LORA":
        yield _refusal("peft_type", f"is {kind!r}, not 'LORA'")
    for key, what in _NOT_PLAIN.items():
        if _is_set(config.get(key)):
            yield _refusal(key, what)
    if config.get("bias", "none") != "none":
        yield _refusal("bias", f"is {config['bias']!r}: it trains biases")
    # peft takes the adapter's part out of the base for these: over the registered model the sum is
    # another one.
    if config.get("init_lora_weights") not in _KEEPS_BASE:
        named = config["init_lora_weights"]
        yield Refusal(
            f"{ADAPTER_FILE}: init_lora_weights",
            f"is {named!r}, which alters the base's weights",
            "save it with peft's `path_initial_model_for_weight_conversion`"
            if str(named).startswith(_CONVERTED)
            else _CURE,
        )
    yield from _no_numbers(config)
    for key in sorted(each for each in config if _is_set(config[each])):
        if key not in _KNOWN and key not in _NOT_PLAIN:
            yield _refusal(key, "is a key that is not known here")


def _no_numbers(config: AdapterConfig) -> Iterator[Refusal]:
    for key in ("r", "lora_alpha"):
        number = config.get(key)
        if isinstance(number, bool) or not isinstance(number, int | float) or not number > 0:
            what = f"is {number!r}, and a number is wanted"
            yield Refusal(f"{ADAPTER_FILE}: {key}", what, "restore it")


def _is_set(value: Any) -> bool:
    # To peft an empty table is a table: with `kasa_config: {}` all products are other ones.
    return isinstance(value, dict) or bool(value)


def _refusal(key: str, what: str) -> Refusal:
    return Refusal(f"{ADAPTER_FILE}: {key}", what, _CURE)


def untargeted(config: AdapterConfig, held: Mapping[str, Held]) -> Iterator[Refusal]:
    """The first tensor of the weights that is no factor, has not its rank, or is left out by peft.

    It puts products only where the config says, and passes over the tensors of other layers.
    """
    unreadable = _unreadable(config)
    if unreadable is not None:
        yield unreadable
        return
    for tensor in sorted(held):
        found = FACTOR.fullmatch(tensor)
        if found is None:
            what = f"has the tensor {tensor}, which is not a factor of a linear layer's product"
        elif len(found["module"]) > _NAME_CHARS_MAX:
            what = f"has a layer's name of {len(found['module'])} characters: {tensor[:80]!r}"
        elif found["module"].startswith(_WRAPPED):
            what = f"names a layer {tensor[:80]}, as an adapter put on another; peft finds none so"
        elif not _is_target(config, found["module"]):
            what = f"has factors of {found['module']}, which {ADAPTER_FILE} does not target"
        else:
            continue
        yield Refusal(WEIGHTS_FILE, what, "restore both files of one training")
        return
    yield from unlike_factors(config, held)


def _unreadable(config: AdapterConfig) -> Refusal | None:
    """The refusal of names of layers that are none, or could take for ever to look for."""
    for key in ("target_modules", "exclude_modules"):
        named = config.get(key)
        if isinstance(named, str) and (takes_for_ever(named) or not _compiles(named)):
            what = "holds an expression that could take for ever to look for, or is none"
            return Refusal(f"{ADAPTER_FILE}: {key}", what, "write the names of the modules out")
    lists = config.get("layers_pattern")
    if lists is None or isinstance(lists, str | list):
        return None
    what = f"is {lists!r}, and the name of a list of layers is wanted"
    return Refusal(f"{ADAPTER_FILE}: layers_pattern", what, "restore it")


def unfilled(
    config: AdapterConfig, held: Container[str], linear: Iterable[str], others: Iterable[str]
) -> str:
    """The layer of which peft draws factors, as an adapter's file has none; "" where it draws none.

    `held` are the layers of which the file has factors, and `linear` those of the model. `others`
    are layers that peft adapts by name alone: tables, convolutions.
    """
    # With any other initialisation the product of new factors is nothing.
    if config.get("init_lora_weights", True):
        return ""
    by_name = () if str(config.get("target_modules")).lower() == _EVERY else others
    for each in (*linear, *by_name):
        if each not in held and _is_target(config, each):
            return (
                f"has no factors of {each}, which the config targets: with init_lora_weights "
                f"{json.dumps(config['init_lora_weights'])} peft draws some at random"
            )
    return ""


def _is_target(config: AdapterConfig, module: str) -> bool:
    excluded, wanted = config.get("exclude_modules"), config.get("target_modules")
    if excluded and _names(excluded, module):
        return False
    if isinstance(wanted, str):
        return wanted.lower() == _EVERY or _names(wanted, module)
    if not _names(wanted, module):
        return False
    places = config.get("layers_to_transform")
    if places is None or places == []:
        return True
    pattern = config.get("layers_pattern") or r"[^.]*"
    lists = [pattern] if isinstance(pattern, str) else pattern
    # The first number behind a list of layers, as peft has it. Without a list's name it wants a
    # name before that.
    ahead = r"(?:^|.*?\.)" if config.get("layers_pattern") else r".*?\."
    for each in lists:
        part = each if each == r"[^.]*" else re.escape(str(each))
        place = re.match(rf"{ahead}{part}\.(\d+)\.", module)
        if place is not None:
            return int(place[1]) in (places if isinstance(places, list) else [places])
    return False


def _names(named: Any, module: str) -> bool:
    """True if an expression is the whole of a path, or a list holds an end of it."""
    if isinstance(named, str):
        return re.fullmatch(named, module) is not None
    return isinstance(named, list) and any(
        module == each or module.endswith(f".{each}") for each in named
    )


def _compiles(expression: str) -> bool:
    try:
        re.compile(expression)
    except re.error:
        return False
    return True


def other_steps(adapter: Files, base: Files) -> str:
    """The first thing in which the steps beside an adapter are not its model's; "" where none is.

    An adapter that peft itself saved has no steps beside it, and is of any.
    """
    # sentence-transformers saves steps, prompts and lengths of a whole model with an adapter, and
    # trains the layers behind the encoder with it. All of that was passed over once.
    if MODULES_FILE not in adapter.names():
        return ""
    kind = kind_of(base)
    wanted = read(base, kind).layout
    config = joined(_folder(wanted), _CONFIG)
    whole = _Whole(adapter, base, config)
    found = read(whole, kind)
    if found.layout is None:
        return "; ".join(map(str, found.refusals))
    positions = Reader(base).table(config).get("max_position_embeddings")
    limit = positions if isinstance(positions, int) else None
    told, own = _flat(found.layout, whole, limit), _flat(wanted, base, limit)
    for name in sorted(told.keys() | own.keys()):
        if told.get(name) != own.get(name):
            return f"{name} is {told.get(name)!r} there, and {own.get(name)!r} of the model"
    return ""


def refusals_over(adapter: Files, base: Files, *, pools: bool) -> Iterator[Refusal]:
    """Each reason for which an adapter, plain by itself, is none of this model.

    `pools` says that a head of the model reads its pooler.
    """
    layout = read(base, kind_of(base)).layout
    unadapted = _unadapted(layout)
    if unadapted:
        yield Refusal(MODULES_FILE, unadapted, "merge the adapter into its base, and add that")
        return
    other = other_steps(adapter, base)
    if other:
        cure = "register the model that it was saved with, and the adapter for that one"
        yield Refusal(MODULES_FILE, f"was saved with steps of its own: {other}", cure)
    folder = _folder(layout)
    shapes = layer_shapes(base, folder)
    if shapes is None or WEIGHTS_FILE not in adapter.names():
        return
    held = read_header(adapter, WEIGHTS_FILE)
    unlike = tuple(unlike_base(held, *shapes, pools=pools))
    yield from unlike
    if not unlike:
        modules = {found["module"] for each in held if (found := FACTOR.fullmatch(each))}
        of_base = Reader(base).table(joined(folder, _CONFIG))
        what = unfilled(Reader(adapter).table(ADAPTER_FILE), modules, *_beside(modules, of_base))
        if what:
            yield Refusal(WEIGHTS_FILE, what, UNFILLED_CURE)


def _beside(modules: Set[str], config: AdapterConfig) -> tuple[list[str], list[str]]:
    """The matrices in those lists of a model's layers of which an adapter has factors.

    Those of a kind that has factors are linear. Of the others no name says so; a worker knows, and
    judges what stands in no list. Of a family that is not declared there are none.
    """
    lists = {_NUMBER.split(each, maxsplit=1)[0] for each in modules}
    kinds = {_NUMBER.sub("", each) for each in modules}
    linear: list[str] = []
    others: list[str] = []
    for tensor in wanted(config, "none"):
        for name in tensor.names if tensor.shape is not None and len(tensor.shape) == 2 else ():
            each = name.removesuffix(".weight")
            if each != name and _NUMBER.search(name) and _NUMBER.split(name, 1)[0] in lists:
                (linear if _NUMBER.sub("", each) in kinds else others).append(each)
    return linear, others


class _Whole:
    """The files of an adapter as those of the whole model that it was saved with."""

    def __init__(self, adapter: Files, base: Files, config: str) -> None:
        self._adapter = adapter
        self._base = base
        self._config = config

    def names(self) -> Mapping[str, int]:
        """The adapter's, without the adapter itself."""
        names = self._adapter.names()
        return {name: size for name, size in names.items() if name != ADAPTER_FILE}

    def read(self, name: str) -> bytes | None:
        """A file of the adapter's folder; in place of a config that it lacks, the model's."""
        content = self._adapter.read(name)
        if content is None and name.rsplit("/", 1)[-1] == _CONFIG:
            return self._base.read(self._config)
        return content

    def head(self, name: str, count: int) -> bytes | None:
        """The beginning of a file of the adapter's folder."""
        return self._adapter.head(name, count)


def _unadapted(layout: Layout | None) -> str:
    """The reason why a model of this layout takes no adapter; "" for one that does."""
    if not isinstance(layout, SentenceLayout):
        return ""
    if layout.routed:
        return "of the model sends queries another way, and an adapter is of one of the two"
    if not isinstance(layout.document[0], TransformerStep):
        return "of the model begins with a table, and no layer of it is adapted"
    return ""


def _folder(layout: Layout | None) -> str:
    """The folder of a layout's transformer, inside the model's."""
    first = layout.document[0] if isinstance(layout, SentenceLayout) else None
    return first.folder if isinstance(first, TransformerStep) else ""


def _flat(value: Any, files: Files, positions: int | None, path: str = "") -> dict[str, Any]:
    """All that a layout says, by the way to it; a file is its content's hash."""
    if isinstance(value, TextLayout):
        limits = [value.tokens_max, positions if value.capped_by_positions else None]
        told = [limit for limit in limits if limit is not None]
        value = replace(value, tokens_max=min(told, default=None), capped_by_positions=False)
    if is_dataclass(value):
        parts = [(each.name, getattr(value, each.name)) for each in fields(value)]
        parts = [(name, part) for name, part in parts if name not in _OF_NO_VECTOR]
    elif isinstance(value, tuple):
        parts = [(str(place), part) for place, part in enumerate(value)]
    elif isinstance(value, Mapping):
        parts = [(str(name), part) for name, part in value.items() if part]
    elif path.endswith(" file"):
        # By content: the layers behind the encoder have the same names and shapes in every
        # training.
        return {path: hashlib.sha256(files.read(value) or b"").hexdigest()}
    else:
        return {path: value}
    found = {path: type(value).__name__} if is_dataclass(value) else {}
    for name, part in parts:
        found |= _flat(part, files, positions, f"{path} {name}".strip())
    return found
