"""A transformers model from a verified folder: safetensors, nothing random, no code of a model.

*shell* over transformers' loading. Promises that every weight that is used came from a pinned
file; what transformers would make up is refused.
"""

import logging
from typing import Any, Final

import torch
from safetensors import SafetensorError
from transformers import PreTrainedModel

from sie_server.backend import ModelSpec, load_failed
from sie_server.prepacked import multiplies_bfloat16
from sie_server.sources import Weights

__all__ = ["backbone_of", "load_model"]

_LOG: Final = logging.getLogger(__name__)
_DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_WEIGHT_FILES: Final = ("model.safetensors", "model.safetensors.index.json")


def load_model(
    spec: ModelSpec, device: torch.device, kind: Any, *, may_lack: tuple[str, ...] = ()
) -> PreTrainedModel:
    """Load with one of transformers' Auto classes. Raises MODEL_LOAD_FAILED.

    `may_lack` are prefixes of weights that are not used, and may be missing.
    """
    folder = spec.weights.folder
    for name in _weight_files(spec.weights):
        spec.weights.file(name)
    try:
        model, info = kind.from_pretrained(
            folder,
            dtype=_dtype(spec, device),
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise load_failed(
            f"transformers cannot load {folder}: {error}; the backend takes safetensors of the "
            "architectures that transformers itself knows, and runs no code of a model"
        ) from error
    _require_complete(folder.name, info, may_lack)
    loaded: PreTrainedModel = model.to(device).eval().requires_grad_(False)
    return loaded


def _dtype(spec: ModelSpec, device: torch.device) -> torch.dtype:
    """The profile's type; float32 for bfloat16 on a CPU that has no instructions for it.

    There it would be emulated, thirty times slower than the float32 that it stands for.
    """
    wanted = _DTYPES[spec.profile.dtype]
    if wanted != torch.bfloat16 or device.type != "cpu" or multiplies_bfloat16():
        return wanted
    _LOG.warning("%s runs in fp32: this CPU does not multiply bfloat16", spec.model_id)
    return torch.float32


def backbone_of(model: PreTrainedModel) -> PreTrainedModel:
    """The encoder inside a model with a head."""
    backbone = model.base_model
    if not isinstance(backbone, PreTrainedModel):
        raise load_failed(f"{type(model).__name__} has no encoder of its own inside it")
    return backbone


def _weight_files(weights: Weights) -> list[str]:
    """The files with weights: one, or an index and its shards."""
    if not any((weights.folder / name).is_file() for name in _WEIGHT_FILES):
        weights.file(_WEIGHT_FILES[0], cure="weights are read as safetensors only: convert them")
    return sorted(path.name for path in weights.folder.glob("model*.safetensors"))


def _require_complete(name: str, info: dict[str, Any], may_lack: tuple[str, ...]) -> None:
    """A weight that is missing would be random."""
    missing = sorted(key for key in info["missing_keys"] if not key.startswith(may_lack))
    if missing or info.get("mismatched_keys"):
        raise load_failed(
            f"the weights in {name} lack {len(missing)} tensors of the model, {missing[:1]} first; "
            "they would be random: restore the file"
        )
