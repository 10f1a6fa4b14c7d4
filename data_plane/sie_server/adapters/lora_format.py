"""LoRA adapters on disk: `adapter_config.json` and `adapter_model.safetensors`.

*device*, and the two files that it reads. Promises that what it returns is a plain sum of low-rank
products. Each has its scale as peft computes it (rank and alpha patterns, rank-stabilised scale).
Everything else that an adapter can be is refused with the reason, an unknown config key included.
Does not know the model that the adapter is for.
"""

import json
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sie_layouts.adapter import (
    ADAPTER_FILE,
    FACTOR,
    WEIGHTS_FILE,
    adapter_refusals,
    untargeted,
)
from sie_schemas.errors import OurFault
from sie_server.weights.own_tensors import own_tensors

__all__ = ["CONFIG_FILE", "WEIGHTS_FILE", "LowRank", "read_adapter", "refused"]

CONFIG_FILE: Final = ADAPTER_FILE

_REPEATS: Final = re.compile(r"(?<!\()[*+?{]")
_CHOICES_MAX: Final = 2
r"""Repeats, and groups of alternatives, of one expression: `layers\.[0-9]+\.(query|value)` has two.
Eighty of `(aa|a)` behind each other were never found or missed."""
_GROUP_REPEATS: Final = re.compile(r"\)[*+?{]")
_PATTERN_CHARS_MAX: Final = 512
"""Names of layers by a pattern; a longer one is no pattern that a person wrote."""
_SEARCH_S: Final = 5.0
"""Processor time of all searches: 560 patterns of 560 layers take half a second."""


@dataclass(frozen=True, slots=True)
class LowRank:
    """`scale * (x @ down.T) @ up.T` is added to a layer's output: down [r, in], up [out, r]."""

    module: str
    down: Tensor
    up: Tensor
    scale: float


def read_adapter(folder: Path, *, search_s: float = _SEARCH_S) -> tuple[LowRank, ...]:
    """The low-rank products of an adapter, sorted by module. Raises ADAPTER_LOAD_FAILED.

    `search_s` bounds the processor time of the patterns of its config.
    """
    config = _read_config(folder / CONFIG_FILE)
    try:
        tensors = own_tensors(load_file(folder / WEIGHTS_FILE))
    except (OSError, SafetensorError) as error:
        raise refused(
            f"{folder / WEIGHTS_FILE} cannot be read: {error}; restore the file"
        ) from error
    for reason in untargeted(config, tensors):
        raise refused(f"the adapter in {folder} cannot be applied as it is: {reason}")
    parts: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if match := FACTOR.fullmatch(key):
            parts.setdefault(match["module"], {})[match["part"]] = tensor
    if not parts:
        raise refused(f"{folder / WEIGHTS_FILE} holds no tensors")
    ranks, alphas = (
        _Patterned(config, *names, search_s)
        for names in (("rank_pattern", "r"), ("alpha_pattern", "lora_alpha"))
    )
    stabilised = bool(config.get("use_rslora"))
    return tuple(
        _low_rank(module, parts[module], ranks.of(module), alphas.of(module), stabilised=stabilised)
        for module in sorted(parts)
    )


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise refused(f"{path} cannot be read as JSON: {error}; restore the file") from error
    if not isinstance(config, dict):
        raise refused(f"{path} does not hold a JSON object")
    reason = next(adapter_refusals(config), None)
    if reason is not None:
        raise refused(f"the adapter in {path.parent} cannot be applied as it is: {reason}")
    return config


def _low_rank(
    module: str, parts: Mapping[str, Tensor], rank: float, alpha: float, *, stabilised: bool
) -> LowRank:
    down, up = parts.get("A"), parts.get("B")
    if down is None or up is None:
        raise refused(f"{module} has only one of its two factors")
    if down.ndim != 2 or up.ndim != 2 or not down.shape[0] == up.shape[1] == rank:
        raise refused(
            f"the factors of {module} have shapes {tuple(down.shape)} and {tuple(up.shape)}, "
            f"which do not fit rank {rank:g} of the config: are both files of one training?"
        )
    # As peft: with rank-stabilised training the product grows with the root of the rank alone.
    scale = alpha / (math.sqrt(rank) if stabilised else rank)
    return LowRank(module, down, up, scale)


class _Patterned:
    """A number of the config that is another one for some modules."""

    def __init__(
        self, config: Mapping[str, Any], patterns: str, default: str, search_s: float
    ) -> None:
        self._names = (patterns, default)
        self._usual = config.get(default)
        self._found: list[tuple[re.Pattern[str], Any]] = []
        self._left_s = search_s
        try:
            for pattern, number in (config.get(patterns) or {}).items():
                _require_quick(pattern, patterns)
                self._found.append((re.compile(rf"(.*\.)?({pattern})"), number))
        except re.error as error:
            raise refused(f"{patterns} of the config holds no valid expression: {error}") from error

    def of(self, module: str) -> float:
        """That of the first pattern that ends the module's path. Raises ADAPTER_LOAD_FAILED."""
        patterns, default = self._names
        value, began = self._usual, time.thread_time()
        for pattern, number in self._found:
            if pattern.fullmatch(module):
                value = number
                break
            # Processor time and not the clock's: a busy machine refuses no adapter that an idle one
            # takes.
            if time.thread_time() - began > self._left_s:
                raise refused(f"{patterns} of the config holds more expressions than can be tried")
        self._left_s -= time.thread_time() - began
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not 0 < value < math.inf
        ):
            raise refused(f"{default} of the config is {value!r} for {module}; a number is wanted")
        return value


def _require_quick(pattern: str, patterns: str) -> None:
    """Refuse a stranger's expression whose search may never end: nothing could interrupt it, and
    the device would wait. Choices inside of choices are what takes so long, and many of them."""
    choices = len(_REPEATS.findall(pattern)) + (pattern.count("(") if "|" in pattern else 0)
    if (
        len(pattern) > _PATTERN_CHARS_MAX
        or _GROUP_REPEATS.search(pattern)
        or choices > _CHOICES_MAX
    ):
        raise refused(
            f"{patterns} of the config holds an expression that could take for ever to look for: "
            f"{pattern[:80]!r}; write the names of the modules out"
        )


def refused(message: str) -> OurFault:
    """The error of an adapter that is not applied."""
    return OurFault(message, code="ADAPTER_LOAD_FAILED")
