"""LoRA in the hot path: low-rank products added to linear layers, segment by segment.

*device.* An `Adapter` is bound to the modules of one model when it loads. `applied()` hooks the
layers for one batch only and unhooks them whatever happens; what the hooks add is an argument of
that batch. So no batch can see another's adapter, and a batch without one runs the bare base.
`bind` only reads the model, so it may run beside a batch.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from sie_schemas.errors import OurFault
from sie_server.adapters.lora_format import LowRank, refused
from sie_server.packed.packing import Segment
from sie_server.packed.prepacked import PrepackedLinear

__all__ = ["Adapter", "Delta", "applied", "bind"]


_POOLER: Final = "pooler"
"""The layer that makes one row of a text, by its name in every family."""


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


def bind(
    low_ranks: Sequence[LowRank], model: nn.Module, *, prefix: str, pools: bool = False
) -> Adapter:
    """Find each product's layer. `prefix` is the name that heads give this model (`bert`).

    `pools` says that a head behind the model reads its pooler; else nothing does, and a product of
    it changes no answer. Raises ADAPTER_LOAD_FAILED when a layer is missing, is not linear, has
    another shape, or is a pooler that is read.
    """
    modules = dict(model.named_modules())
    deltas: dict[str, Delta] = {}
    for product in low_ranks:
        name = _module_name(product.module, modules, prefix)
        module = modules[name]
        if name.split(".", 1)[0] == _POOLER:
            if pools:
                raise refused(
                    f"it adapts {name}, which runs behind the tokens and is not adapted here; "
                    "train it without that layer, or merge it into its base"
                )
            continue
        if not (type(module) is nn.Linear or isinstance(module, PrepackedLinear)):
            raise refused(f"{name} is a {type(module).__name__}; only linear layers are adapted")
        wanted = (product.up.shape[0], product.down.shape[1])
        if (module.out_features, module.in_features) != wanted:
            raise refused(
                f"{name} is {(module.out_features, module.in_features)}, the adapter's product is "
                f"{wanted}: it was trained on another base model, register it for that one"
            )
        place = _place(module)
        deltas[name] = Delta(product.down.to(**place), product.up.to(**place), product.scale)
    return Adapter(deltas)


def _place(module: nn.Linear | PrepackedLinear) -> dict[str, Any]:
    holder = module if isinstance(module, PrepackedLinear) else module.weight
    return {"device": holder.device, "dtype": holder.dtype}


def _module_name(saved: str, modules: Mapping[str, nn.Module], prefix: str) -> str:
    for name in (saved, saved.removeprefix(f"{prefix}."), saved.removeprefix("model.")):
        if name in modules:
            return name
    raise refused(
        f"the base model has no module {saved}: the adapter is for another model, register it "
        "for that one"
    )


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
            addition = _Addition(additions, segments[-1].stop, is_whole=len(segments) == 1)
            hooks.callback(_attach(model.get_submodule(name), addition))
        yield


def _attach(module: nn.Module, addition: "_Addition") -> Callable[[], None]:
    """Have a layer add to its output; gives what takes it off again."""
    if not isinstance(module, PrepackedLinear):
        return module.register_forward_hook(addition.as_hook).remove
    module.addition = addition
    return lambda: setattr(module, "addition", None)


@dataclass(frozen=True, slots=True)
class _Addition:
    """Adds to a layer's fresh output in place."""

    parts: Sequence[tuple[Segment, Delta]]
    tokens: int
    """Those of the batch."""
    is_whole: bool
    """True if one segment is the whole batch."""

    def __call__(self, inputs: Tensor, output: Tensor) -> None:
        rows = inputs.reshape(-1, inputs.shape[-1])
        sums = output.view(-1, output.shape[-1])
        # DeBERTa projects its table of distances too: those rows are nobody's tokens.
        if len(rows) != self.tokens and not self.is_whole:
            raise OurFault(
                "a layer that an adapter changes is shared by all texts of a batch, and they have "
                "several adapters",
                code="INFERENCE_ERROR",
            )
        for segment, delta in self.parts:
            span = slice(None) if self.is_whole else slice(segment.start, segment.stop)
            sums[span].addmm_(torch.mm(rows[span], delta.down.T), delta.up.T, alpha=delta.scale)

    def as_hook(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        """The form in which torch calls a forward hook."""
        self(args[0], output)
