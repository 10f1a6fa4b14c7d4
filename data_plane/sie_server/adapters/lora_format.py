"""LoRA adapters on disk: `adapter_config.json` and `adapter_model.safetensors`.

*device*, and the two files that it reads. Promises that what it returns is a plain sum of low-rank
products. Each has its scale as peft computes it (rank and alpha patterns, rank-stabilised scale).
Everything else that an adapter can be is refused with the reason, an unknown config key included.
Does not know the model that the adapter is for.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sie_layouts.adapter import AdapterConfig, adapter_refusals, untargeted
from sie_layouts.architectures.tensors.factors import ADAPTER_FILE, FACTOR, WEIGHTS_FILE, Patterned
from sie_layouts.architectures.tensors.headers import read_header
from sie_layouts.folder import FolderFiles
from sie_schemas.errors import OurFault
from sie_server.weights.own_tensors import own_tensors

__all__ = ["CONFIG_FILE", "WEIGHTS_FILE", "LowRank", "read_adapter", "refused"]

CONFIG_FILE: Final = ADAPTER_FILE


@dataclass(frozen=True, slots=True)
class LowRank:
    """`scale * (x @ down.T) @ up.T` is added to a layer's output: down [r, in], up [out, r]."""

    module: str
    down: Tensor
    up: Tensor
    scale: float


def read_adapter(folder: Path) -> tuple[tuple[LowRank, ...], AdapterConfig]:
    """The low-rank products of an adapter, sorted by module, and its config.

    Raises ADAPTER_LOAD_FAILED.
    """
    config = _read_config(folder / CONFIG_FILE)
    try:
        held = read_header(FolderFiles(folder), WEIGHTS_FILE)
        for reason in untargeted(config, held):
            raise refused(f"the adapter in {folder} cannot be applied as it is: {reason}")
        tensors = own_tensors(load_file(folder / WEIGHTS_FILE))
    except (OSError, SafetensorError, ValueError) as error:
        raise refused(
            f"{folder / WEIGHTS_FILE} cannot be read: {error}; restore the file"
        ) from error
    parts: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if match := FACTOR.fullmatch(key):
            parts.setdefault(match["module"], {})[match["part"]] = tensor
    ranks = Patterned(config, "rank_pattern", "r")
    alphas = Patterned(config, "alpha_pattern", "lora_alpha")
    stabilised = bool(config.get("use_rslora"))
    found = []
    for module in sorted(parts):
        rank, alpha = ranks.of(module), alphas.of(module)
        # As peft: with rank-stabilised training the product grows with the rank's root alone.
        scale = alpha / (math.sqrt(rank) if stabilised else rank)
        found.append(LowRank(module, parts[module]["A"], parts[module]["B"], scale))
    return tuple(found), config


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


def refused(message: str) -> OurFault:
    """The error of an adapter that is not applied."""
    return OurFault(message, code="ADAPTER_LOAD_FAILED")
