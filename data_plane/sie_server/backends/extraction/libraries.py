"""Backends on an authors' own library: what they have in common.

*device.* A folder is read by its layout before the library sees it, and nothing of it names code.
Both libraries would fetch and run what a config names.
"""

import json
from pathlib import Path
from typing import Final, TypeVar

import torch
from torch import nn

from sie_layouts.extraction.any_labels import code_named
from sie_layouts.facts import Reading, Refusal
from sie_schemas.ipc import Loaded
from sie_server.backends.architectures.big_bird import SWITCHES, switches_attention
from sie_server.backends.backend import ModelSpec, load_failed
from sie_server.weights.own_tensors import own_model
from sie_server.weights.sources import Weights

__all__ = [
    "library_dtype",
    "loaded_of_library",
    "own_library_model",
    "require_no_code",
    "require_tensors",
    "whole_layout",
]

L = TypeVar("L")

_DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# Not those of `model_files`, which the older transformers of these bundles may fail to import.


def whole_layout(reading: Reading[L]) -> L:
    """The layout that was read. Raises MODEL_LOAD_FAILED with all that stands in its way."""
    if reading.layout is None:
        raise load_failed("; ".join(map(str, reading.refusals)))
    return reading.layout


def require_tensors(refusals: tuple[Refusal, ...]) -> None:
    """Raises MODEL_LOAD_FAILED with what `sie add` would have refused, in its words."""
    if refusals:
        raise load_failed("; ".join(map(str, refusals)))


def require_no_code(what: str, config: Path) -> None:
    """Raises MODEL_LOAD_FAILED where a config names code, or is no config."""
    try:
        table = json.loads(config.read_bytes())
    except (OSError, ValueError) as error:
        raise load_failed(f"{what} cannot be read: {error}; restore the file") from error
    named = code_named(table) if isinstance(table, dict) else ["it is no JSON object"]
    if named:
        raise load_failed(f"{what} names code of its own, which is never run here ({named[0]})")


def own_library_model(model: nn.Module, weights: Weights) -> None:
    """Take a model of a library for this process. Raises MODEL_LOAD_FAILED for one whose answers
    would hang on what it read before."""
    if switches_attention(model):
        raise load_failed(f"its encoder's attention_type: {SWITCHES}; write original_full")
    own_model(model, weights)


def library_dtype(spec: ModelSpec) -> tuple[str, torch.dtype]:
    """The type of numbers, by name and as torch has it: full precision where nobody chose."""
    name = "fp32" if spec.profile.dtype == "auto" else spec.profile.dtype
    return name, _DTYPES[name]


def loaded_of_library(spec: ModelSpec, library: str, dtype: str, memory_bytes: int) -> Loaded:
    """Texts in, at a cost of a quarter of their bytes; the library pads its batches by itself."""
    stated = spec.profile.dtype != "auto"
    return Loaded(
        id=0,
        revision=spec.revision,
        accepts="text",
        cost_unit="bytes4",
        execution="padded",
        reason=f"{library} batches by itself",
        dtype=dtype,
        dtype_reason="the profile says so" if stated else "auto is exact for this backend",
        batch_invariant=spec.profile.batch_invariant,
        memory_bytes=memory_bytes,
    )
