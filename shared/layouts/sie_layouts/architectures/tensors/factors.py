"""The factors of a LoRA adapter by its weights' header, and the numbers that its config gives them.

*pure.* Promises that what is not refused has a pair of factors for each layer. They have the rank
that its config gives that layer. `sie add` asks before anything is written, and a worker
before it reads a tensor. Values are for the worker alone.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sie_layouts.architectures.tensors.headers import Held
from sie_layouts.facts import Refusal

__all__ = ["ADAPTER_FILE", "FACTOR", "WEIGHTS_FILE", "Patterned", "unlike_base", "unlike_factors"]

ADAPTER_FILE: Final = "adapter_config.json"
WEIGHTS_FILE: Final = "adapter_model.safetensors"
FACTOR: Final = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<part>[AB])\.weight")
"""The name of a factor of a linear layer's product."""
_REPEATS: Final = re.compile(r"(?<!\()[*+?{]")
_CHOICES_MAX: Final = 2
r"""Repeats, and groups of alternatives, of one expression: `layers\.[0-9]+\.(query|value)` has two.
Eighty of `(aa|a)` behind each other were never found or missed."""
_GROUP_REPEATS: Final = re.compile(r"\)[*+?{]")
_PATTERN_CHARS_MAX: Final = 512
"""Names of layers by a pattern; a longer one is no pattern that a person wrote."""
_STEPS_MAX: Final = 500_000_000
"""Of all searches together, by what bounds each: seconds of Python's engine. A rank for each of
1,000 layers, by its name, takes a tenth of it."""
_POOLER: Final = "pooler"
_CURE: Final = "restore both files of one training"


class Patterned:
    """A number of the config that is another one for some modules, as peft finds it."""

    def __init__(self, config: Mapping[str, Any], patterns: str, default: str) -> None:
        """Raises `ValueError` where an expression is none, or could take for ever."""
        self._names = (patterns, default)
        self._usual = config.get(default)
        self._found: list[tuple[re.Pattern[str], int, Any]] = []
        self._left = _STEPS_MAX
        given = config.get(patterns) or {}
        if not isinstance(given, Mapping):
            raise ValueError(f"{patterns} of the config is no table of expressions")
        try:
            for pattern, number in given.items():
                choices = _choices(pattern, patterns)
                self._found.append((re.compile(rf"(.*\.)?({pattern})"), choices, number))
        except re.error as error:
            raise ValueError(
                f"{patterns} of the config holds no valid expression: {error}"
            ) from error

    def of(self, module: str) -> float:
        """That of the first pattern that ends the module's path. Raises `ValueError`."""
        patterns, default = self._names
        value = self._usual
        for pattern, choices, number in self._found:
            # A count and not a time: a busy machine refuses no adapter that an idle one takes.
            self._left -= len(module) ** (1 + choices) // math.factorial(1 + choices)
            if self._left < 0:
                raise ValueError(
                    f"{patterns} of the config holds more expressions than can be tried"
                )
            if pattern.fullmatch(module):
                value = number
                break
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not 0 < value < math.inf
        ):
            raise ValueError(
                f"{default} of the config is {value!r} for {module}; a number is wanted"
            )
        return value


def unlike_factors(config: Mapping[str, Any], held: Mapping[str, Held]) -> Iterator[Refusal]:
    """The first thing for which tensors are no pairs of factors of the config's ranks."""
    parts: dict[str, dict[str, Held]] = {}
    for name, tensor in held.items():
        if match := FACTOR.fullmatch(name):
            parts.setdefault(match["module"], {})[match["part"]] = tensor
    if not parts:
        yield Refusal(WEIGHTS_FILE, "holds no tensors", _CURE)
        return
    try:
        ranks = Patterned(config, "rank_pattern", "r")
        alphas = Patterned(config, "alpha_pattern", "lora_alpha")
        for module in sorted(parts):
            alphas.of(module)
            what = _unlike(module, parts[module], ranks.of(module))
            if what:
                yield Refusal(WEIGHTS_FILE, what, _CURE)
                return
    except ValueError as error:
        cure = "write the names of the modules out, each with its number"
        yield Refusal(ADAPTER_FILE, str(error), cure)


def unlike_base(
    held: Mapping[str, Held],
    shapes: Mapping[str, tuple[int, ...]],
    beginnings: tuple[str, ...],
    *,
    pools: bool,
) -> Iterator[Refusal]:
    """The first layer of an adapter that its model lacks, or has in another shape.

    `pools` says that a head reads the model's pooler, which is not adapted.

    `shapes` are those of the model's tensors, by names with and without `beginnings`. Of a family
    that is not declared there are none: any first word of a name may be one.
    """
    every = dict(shapes)
    if not beginnings:
        every = {name.partition(".")[2]: shape for name, shape in shapes.items()} | every
    cure = "it was trained on another model: register it for that one"
    for name in sorted(held):
        found = FACTOR.fullmatch(name)
        if found is None or found["part"] != "A":
            continue
        module = found["module"]
        starts = beginnings or (f"{module.partition('.')[0]}.",)
        own = [module, *(module.removeprefix(each) for each in ("model.", *starts))]
        if any(each.split(".", 1)[0] == _POOLER for each in own):
            # No vector is made with a pooler: its product is passed over.
            if not pools:
                continue
            what = f"has factors of {module}, which runs behind the tokens and is not adapted here"
            without = "train it without that layer, or merge it into its base"
            yield Refusal(WEIGHTS_FILE, what, without)
            return
        shape = next((every[f"{e}.weight"] for e in own if f"{e}.weight" in every), None)
        up = held.get(name.replace(".lora_A.", ".lora_B."))
        product = (up.shape[0], held[name].shape[1]) if up is not None else None
        if shape is None:
            yield Refusal(WEIGHTS_FILE, f"has factors of {module}, which its model lacks", cure)
            return
        if product is not None and shape != product:
            what = f"has factors of {module} for {list(product)}, and its model's is {list(shape)}"
            yield Refusal(WEIGHTS_FILE, what, cure)
            return


def _unlike(module: str, parts: Mapping[str, Held], rank: float) -> str:
    down, up = parts.get("A"), parts.get("B")
    if down is None or up is None:
        return f"has only one of the two factors of {module}"
    shapes = (down.shape, up.shape)
    if any(len(shape) != 2 for shape in shapes) or not down.shape[0] == up.shape[1] == rank:
        return (
            f"has factors of {module} of shapes {shapes[0]} and {shapes[1]}, which do not fit rank "
            f"{rank:g} of the config"
        )
    for tensor in (down, up):
        if "F" not in tensor.type:
            return f"has a factor of {module} as {tensor}, and floating-point numbers are wanted"
    return ""


def _choices(pattern: str, patterns: str) -> int:
    """Refuse a stranger's expression whose search may never end: nothing could interrupt it, and
    the device would wait. Choices inside of choices are what takes so long, and many of them."""
    choices = len(_REPEATS.findall(pattern)) + (pattern.count("(") if "|" in pattern else 0)
    if (
        len(pattern) > _PATTERN_CHARS_MAX
        or _GROUP_REPEATS.search(pattern)
        or choices > _CHOICES_MAX
    ):
        raise ValueError(
            f"{patterns} of the config holds an expression that could take for ever to look for: "
            f"{pattern[:80]!r}"
        )
    return choices
