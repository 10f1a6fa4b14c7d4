"""Skeletons: how a model that has left comes back without transformers' loading.

*device* over weight files. A skeleton is a loaded model without its weights. It is kept when a
revision is loaded for the second time, since most never leave. It is kept only where the file's
tensors were found equal to what transformers had made of them, under one prefix. A model that
transformers renames, ties or merges is loaded its way again. Promises weights from the same
verified files, in the same type. Owned by the thread that loads.
"""

import copy
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import PreTrainedModel

__all__ = ["Skeletons"]

_KEPT_MAX: Final = 64
"""A skeleton is a megabyte or so of Python's objects."""


@dataclass(frozen=True, slots=True)
class _Skeleton:
    model: PreTrainedModel
    prefix: str
    """The text that the file puts before the model's names."""


class Skeletons:
    """The skeletons of one process, by what a model was loaded from and as."""

    def __init__(self) -> None:
        self._seen: set[Hashable] = set()
        self._kept: dict[Hashable, _Skeleton] = {}

    def revive(
        self, key: Hashable, files: Iterable[Path], place: torch.device
    ) -> PreTrainedModel | None:
        """The model again, with the weights in `files`.

        None where no skeleton is kept, or the files are not what they were: then transformers says
        what is wrong with them.
        """
        skeleton = self._kept.get(key)
        if skeleton is None:
            return None
        wanted = skeleton.model.state_dict()
        tensors = _tensors(files) or {}
        given = {name: tensors.get(skeleton.prefix + name) for name in wanted}
        weights = {
            name: tensor.to(place, wanted[name].dtype)
            for name, tensor in given.items()
            if tensor is not None and tensor.shape == wanted[name].shape
        }
        if len(weights) < len(wanted):
            return None
        model = copy.deepcopy(skeleton.model)
        model.load_state_dict(weights, assign=True)
        return model.requires_grad_(False)

    def saw(self, key: Hashable, model: PreTrainedModel, files: Iterable[Path]) -> None:
        """Transformers loaded a model from `files`; it is as it was then."""
        if key not in self._seen:
            self._seen.add(key)
            return
        prefix = _prefix(model.state_dict(), _tensors(files) or {})
        if prefix is None:
            return
        bare = {
            id(each): torch.nn.Parameter(each.to("meta"), requires_grad=False)
            for each in model.parameters()
        }
        self._kept[key] = _Skeleton(copy.deepcopy(model, bare), prefix)
        if len(self._kept) > _KEPT_MAX:
            del self._kept[next(iter(self._kept))]


def _tensors(files: Iterable[Path]) -> dict[str, Tensor] | None:
    """The tensors of the files, as views of them; None where one does not read."""
    found: dict[str, Tensor] = {}
    try:
        for path in files:
            with safe_open(path, "pt") as opened:
                found |= {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        return None
    return found


def _prefix(state: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> str | None:
    """The text before each of the model's names in the file, where all tensors are equal."""
    if not state:
        return None
    first = next(iter(state))
    for prefix in [name.removesuffix(first) for name in tensors if name.endswith(first)]:
        if all(_equal(own, tensors.get(prefix + name)) for name, own in state.items()):
            return prefix
    return None


def _equal(own: Tensor, given: Tensor | None) -> bool:
    return (
        given is not None
        and given.shape == own.shape
        and torch.equal(given.to(own.device, own.dtype), own)
    )
