"""Linear layers whose weights lie in the order in which the CPU's matrix kernels read them.

*device* over a model's modules. `prepack` swaps a model's linear layers for ones that hold oneDNN's
own layout, and folds a GELU that follows into the same kernel. `Swap.undo` puts the old ones back.
Promises the same sums up to rounding, which the caller's probe checks, and a place for what LoRA
adds before the activation. Layers that share a weight with another module, and releases of torch
without these kernels, stay as they are.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from transformers.activations import GELUActivation

__all__ = ["PrepackedLinear", "Swap", "multiplies_bfloat16", "prepack"]

_ROWS_EXPECTED: Final = 1024
"""Rows that the layout is chosen for; other counts run as well (docs/laboratory/engine.md)."""
_DTYPES: Final = frozenset({torch.float32, torch.bfloat16})
_ACTIVATED: Final = (("dense", "intermediate_act_fn"), ("lin1", "activation"))
"""Names under which families keep a layer and the activation that takes its output alone."""


class PrepackedLinear(nn.Module):
    """A linear layer, and the GELU behind it if `gelu`. Inference only; its weight is opaque."""

    def __init__(self, linear: nn.Linear, *, gelu: bool) -> None:
        super().__init__()
        self.in_features = linear.in_features
        self.out_features = linear.out_features
        self.dtype = linear.weight.dtype
        self.device = linear.weight.device
        self.addition: Callable[[Tensor, Tensor], None] | None = None
        """Adds to (input, fresh output) in place, before the activation; set for one batch."""
        self._gelu = gelu
        self._bias = None if linear.bias is None else linear.bias.detach()
        # Once, at load: read anew at each call they were a sixth of the time of the products.
        # Plain attributes: torch cannot copy or move a tensor of this layout.
        self._weight = torch.ops.mkldnn._reorder_linear_weight(
            linear.weight.detach(), _ROWS_EXPECTED
        )

    @property
    def memory_bytes(self) -> int:
        """Bytes of weight and bias."""
        bias = 0 if self._bias is None else self._bias.nbytes
        return self.in_features * self.out_features * self.dtype.itemsize + bias

    def forward(self, inputs: Tensor) -> Tensor:
        """The output that `nn.Linear`, and GELU, would give."""
        if self.addition is None:
            return self._product(inputs, gelu=self._gelu)
        output = self._product(inputs, gelu=False)
        self.addition(inputs, output)
        return nn.functional.gelu(output) if self._gelu else output

    def _product(self, inputs: Tensor, *, gelu: bool) -> Tensor:
        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            inputs, self._weight, self._bias, "gelu" if gelu else "none", [], "none" if gelu else ""
        )
        return product


@dataclass(frozen=True, slots=True)
class Swap:
    """The modules that were replaced, by the module that holds them."""

    replaced: Sequence[tuple[nn.Module, str, nn.Module]]

    def undo(self) -> None:
        """Put every one back."""
        for holder, name, module in self.replaced:
            setattr(holder, name, module)


def prepack(model: nn.Module) -> Swap:
    """Swap what can be swapped; an empty swap where this torch or device has no such kernels."""
    replaced: list[tuple[nn.Module, str, nn.Module]] = []
    if _supported():
        shared = _shared_weights(model)
        # Query, key and value are not joined into one product: since weights are in order it gives
        # 109 GFLOP/s, as three do.
        for holder in list(model.modules()):
            replaced += _swap_children(holder, shared)
    return Swap(replaced)


def multiplies_bfloat16() -> bool:
    """True if this CPU has instructions for it that oneDNN uses.

    Emulated it is thirty times slower than float32: 2 in place of 63 GFLOP/s.
    """
    return torch.backends.mkldnn.is_available() and bool(  # type: ignore[no-untyped-call]
        torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )


def _swap_children(
    holder: nn.Module, shared: frozenset[int]
) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    activations = dict(_ACTIVATED)
    for name, child in list(holder.named_children()):
        # A subclass may compute something else.
        if type(child) is not nn.Linear or not _fits(child, shared):
            continue
        follower = activations.get(name, "")
        activation = getattr(holder, follower, None) if follower else None
        gelu = type(activation) is GELUActivation and activation.act is nn.functional.gelu
        setattr(holder, name, PrepackedLinear(child, gelu=gelu))
        yield holder, name, child
        if gelu and activation is not None:
            setattr(holder, follower, nn.Identity())
            yield holder, follower, activation


def _supported() -> bool:
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    return all(
        hasattr(torch.ops.mkldnn, name) for name in ("_reorder_linear_weight", "_linear_pointwise")
    )


def _fits(linear: nn.Linear, shared: frozenset[int]) -> bool:
    weight = linear.weight
    if weight.device.type != "cpu" or weight.dtype not in _DTYPES or weight.data_ptr() in shared:
        return False
    # Without the instructions, bfloat16 kernels refuse to run.
    return weight.dtype != torch.bfloat16 or multiplies_bfloat16()


def _shared_weights(model: nn.Module) -> frozenset[int]:
    """The addresses of weights that two modules hold, an output layer tied to its embedding say."""
    seen: set[int] = set()
    twice: set[int] = set()
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor):
            (twice if weight.data_ptr() in seen else seen).add(weight.data_ptr())
    return frozenset(twice)
