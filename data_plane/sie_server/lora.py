"""LoRA in the hot path: low-rank products added to linear layers, segment by segment.

*pure.* An `Adapter` is bound to the modules of one model when it loads. `applied()` hooks the
layers for one batch only and unhooks them whatever happens, and what the hooks add is an argument
of that batch; so no batch can see another's adapter, and a batch without one runs the bare base.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sie_server.lora_format import LowRank, refused
from sie_server.packing import Segment

__all__ = ["Adapter", "Delta", "applied", "bind"]


@dataclass(frozen=True, slots=True)
class Delta:
    """One linear layer's low-rank product, on the layer's device and in its type."""

    down: Tensor
    up: Tensor
    scale: float


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter bound to a model: what it adds to each linear layer, by the layer's name."""

    deltas: Mapping[str, Delta]

    @property
    def memory_bytes(self) -> int:
        """Bytes of its factors."""
        return sum(delta.down.nbytes + delta.up.nbytes for delta in self.deltas.values())


def bind(low_ranks: Sequence[LowRank], model: nn.Module, *, prefix: str) -> Adapter:
    """Find each product's layer. `prefix` is the name that heads give this model (`bert`).

    Raises ADAPTER_LOAD_FAILED when a layer is missing, is not linear, or has another shape.
    """
    modules = dict(model.named_modules())
    deltas: dict[str, Delta] = {}
    for product in low_ranks:
        name = _module_name(product.module, modules, prefix)
        module = modules[name]
        if type(module) is not nn.Linear:
            raise refused(f"{name} is a {type(module).__name__}; only linear layers are adapted")
        wanted = (product.up.shape[0], product.down.shape[1])
        if tuple(module.weight.shape) != wanted:
            raise refused(
                f"{name} is {tuple(module.weight.shape)}, the adapter's product is {wanted}: "
                "it was trained on another base model"
            )
        weight = module.weight
        deltas[name] = Delta(product.down.to(weight), product.up.to(weight), product.scale)
    return Adapter(deltas)


def _module_name(saved: str, modules: Mapping[str, nn.Module], prefix: str) -> str:
    for name in (saved, saved.removeprefix(f"{prefix}."), saved.removeprefix("model.")):
        if name in modules:
            return name
    raise refused(f"the base model has no module {saved}: the adapter is for another model")


@contextmanager
def applied(
    model: nn.Module, adapters: Sequence[Adapter], segments: Sequence[Segment]
) -> Iterator[None]:
    """Within the block, each segment's tokens get its adapter's products.

    Segments count the tokens of the flattened batch and name adapters by their place. One thread
    runs a model at a time; forward passes of another thread would be hooked too.
    """
    parts: defaultdict[str, list[tuple[Segment, Delta]]] = defaultdict(list)
    for segment in segments:
        if segment.adapter is not None:
            for name, delta in adapters[segment.adapter].deltas.items():
                parts[name].append((segment, delta))
    with ExitStack() as hooks:
        for name, additions in parts.items():
            hooked = model.get_submodule(name).register_forward_hook(_Addition(additions))
            hooks.callback(hooked.remove)
        yield


@dataclass(frozen=True, slots=True)
class _Addition:
    """A forward hook: adds to a layer's fresh output in place."""

    parts: Sequence[tuple[Segment, Delta]]

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        inputs = args[0].reshape(-1, args[0].shape[-1])
        flat = output.view(-1, output.shape[-1])
        for segment, delta in self.parts:
            rows = slice(segment.start, segment.stop)
            flat[rows].addmm_(torch.mm(inputs[rows], delta.down.T), delta.up.T, alpha=delta.scale)
        return output
