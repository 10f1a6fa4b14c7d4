"""LoRA adapters on disk: `adapter_config.json` and `adapter_model.safetensors`.

*device*, and the two files that it reads. Promises that what it returns is a plain sum of low-rank
products. Each has its scale as peft computes it (rank and alpha patterns, rank-stabilised scale).
Everything else that an adapter can be is refused with the reason, an unknown config key included.
Does not know the model that the adapter is for.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sie_layouts.adapter import ADAPTER_FILE, adapter_refusals
from sie_schemas.errors import OurFault

__all__ = ["CONFIG_FILE", "WEIGHTS_FILE", "LowRank", "read_adapter", "refused"]

CONFIG_FILE: Final = ADAPTER_FILE
WEIGHTS_FILE: Final = "adapter_model.safetensors"

_REPEATS: Final = re.compile(r"(?<!\()[*+?{]")
_REPEATS_MAX: Final = 2
r"""Of an expression for names of modules: `layers\.[0-9]+\..*` has two."""
_GROUP_REPEATS: Final = re.compile(r"\)[*+?{]")
_GROUPS_MAX: Final = 2
"""Each group that may match in two ways doubles the time, without any repeat. `(.|[a-z])` 18 times
over took 0.04 s for the name of one layer, and 56 of them have room."""
_CHOICES_MAX: Final = 64
r"""Alternatives of all groups: `layers\.(0|1|…|47)` has 48."""
_PATTERN_CHARS_MAX: Final = 512
"""Names of layers by a pattern; a longer one is no pattern that a person wrote."""
_KEY: Final = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<part>[AB])\.weight")


@dataclass(frozen=True, slots=True)
class LowRank:
    """`scale * (x @ down.T) @ up.T` is added to a layer's output: down [r, in], up [out, r]."""

    module: str
    down: Tensor
    up: Tensor
    scale: float


def read_adapter(folder: Path) -> tuple[LowRank, ...]:
    """The low-rank products of an adapter, sorted by module. Raises ADAPTER_LOAD_FAILED."""
    config = _read_config(folder / CONFIG_FILE)
    try:
        tensors = load_file(folder / WEIGHTS_FILE)
    except (OSError, SafetensorError) as error:
        raise refused(
            f"{folder / WEIGHTS_FILE} cannot be read: {error}; restore the file"
        ) from error
    parts: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        match = _KEY.fullmatch(key)
        if match is None:
            raise refused(f"the tensor {key} is not a factor of a linear layer's low-rank product")
        parts.setdefault(match["module"], {})[match["part"]] = tensor
    if not parts:
        raise refused(f"{folder / WEIGHTS_FILE} holds no tensors")
    return tuple(_low_rank(module, parts[module], config) for module in sorted(parts))


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


def _low_rank(module: str, parts: Mapping[str, Tensor], config: Mapping[str, Any]) -> LowRank:
    down, up = parts.get("A"), parts.get("B")
    if down is None or up is None:
        raise refused(f"{module} has only one of its two factors")
    rank = _patterned(config, "rank_pattern", "r", module)
    alpha = _patterned(config, "alpha_pattern", "lora_alpha", module)
    if down.ndim != 2 or up.ndim != 2 or not down.shape[0] == up.shape[1] == rank:
        raise refused(
            f"the factors of {module} have shapes {tuple(down.shape)} and {tuple(up.shape)}, "
            f"which do not fit rank {rank:g} of the config: are both files of one training?"
        )
    scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    return LowRank(module, down, up, scale)


def _patterned(config: Mapping[str, Any], patterns: str, default: str, module: str) -> float:
    """A number of the config for one module: the first pattern that ends the module's path."""
    value = config.get(default)
    try:
        for pattern, number in (config.get(patterns) or {}).items():
            _require_quick(pattern, patterns)
            if re.fullmatch(rf"(.*\.)?({pattern})", module):
                value = number
                break
    except re.error as error:
        raise refused(f"{patterns} of the config holds no valid expression: {error}") from error
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise refused(f"{default} of the config is {value!r} for {module}; a number is wanted")
    return value


def _require_quick(pattern: str, patterns: str) -> None:
    """Refuse a stranger's expression whose search may never end: nothing could interrupt it, and
    the device would wait. Repeats inside of repeats take so long, and many groups of choices."""
    if (
        len(pattern) > _PATTERN_CHARS_MAX
        or _GROUP_REPEATS.search(pattern)
        or len(_REPEATS.findall(pattern)) > _REPEATS_MAX
        or pattern.count("(") > _GROUPS_MAX
        or pattern.count("|") >= _CHOICES_MAX
    ):
        raise refused(
            f"{patterns} of the config holds an expression that could take for ever to look for: "
            f"{pattern[:80]!r}; write the names of the modules out"
        )


def refused(message: str) -> OurFault:
    """The error of an adapter that is not applied."""
    return OurFault(message, code="ADAPTER_LOAD_FAILED")
