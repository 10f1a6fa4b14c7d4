"""LoRA in the hot path: low-rank products added to linear layers, each token its own adapter's.

*device.* An `Adapter` is bound to the modules of one model when it loads. `applied()` hooks the
layers for one batch only and unhooks them whatever happens; what the hooks add is an argument of
that batch. So no batch can see another's adapter, and a batch without one runs the bare base.
`bind` only reads the model, so it may run beside a batch.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from sie_layouts.adapter import UNFILLED_CURE, AdapterConfig, unfilled
from sie_schemas.errors import OurFault
from sie_server.adapters.lora_format import LowRank, refused
from sie_server.packed.prepacked import PrepackedLinear

__all__ = ["Adapter", "Delta", "applied", "bind"]


_COLUMNS_STEP: Final = 32
"""Columns of the adapters of a product are filled up to a multiple of it."""
_SHARED_COLUMNS_MAX: Final = 64
"""Blocks share a product up to it. Each column costs every token, each product some microseconds:
fewer lost in bfloat16 (docs/laboratory/engine.md#lora)."""
_POOLER: Final = "pooler"
"""The layer that makes one row of a text, by its name in every family."""
_OTHERS: Final = (nn.Embedding, nn.Conv1d, nn.Conv2d, Conv1D)
"""The layers that peft adapts beside linear ones, where a config names them."""


@dataclass(frozen=True, slots=True)
class Delta:
    """One layer's low-rank product, on the layer's device and in its type.

    `down` is [rank, in]; `up` is [rank, out] and holds the scale. All numbers are finite: a batch
    multiplies its tokens with the factors of all its adapters, and drops what is not theirs. Of a
    table of embeddings, which takes ids in, `down` has a column for each id.
    """

    down: Tensor
    up: Tensor

    def low(self, rows: Tensor) -> Tensor:
        """The first factor's product with rows, or its columns of ids: [tokens, rank]."""
        if rows.is_floating_point():
            return torch.mm(rows, self.down.T)
        return nn.functional.embedding(rows, self.down.T)


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter bound to a model: what it adds to each linear layer, by the layer's name."""

    deltas: Mapping[str, Delta]

    @property
    def rank(self) -> int:
        """The largest rank of its products; 0 where it has none."""
        return max((len(delta.down) for delta in self.deltas.values()), default=0)

    @property
    def memory_bytes(self) -> int:
        """Bytes of its factors."""
        return sum(delta.down.nbytes + delta.up.nbytes for delta in self.deltas.values())


def bind(
    low_ranks: Sequence[LowRank],
    model: nn.Module,
    config: AdapterConfig,
    *,
    prefix: str,
    whole: nn.Module | None = None,
    pools: bool = False,
) -> Adapter:
    """Find each product's layer.

    `config` is the adapter's own, and `prefix` the name that heads give this model (`bert`).
    `whole` is the model with its head. `pools` says that a head behind the model reads its pooler;
    else nothing does, and a product of it changes no answer.

    Raises ADAPTER_LOAD_FAILED when a layer is missing, is not linear, has another shape, or is a
    pooler that is read. So it does for a layer whose factors peft would draw at random.
    """
    modules = dict(model.named_modules())
    deltas: dict[str, Delta] = {}
    starts: set[str] = set()
    for product in low_ranks:
        name = _module_name(product.module, modules, prefix)
        module = modules[name]
        starts.add(product.module.removesuffix(name))
        # A pooler runs behind the hooks of the tokens: its product was lost without a word.
        if name.split(".", 1)[0] == _POOLER:
            if pools:
                raise refused(
                    f"it adapts {name}, which runs behind the tokens and is not adapted here; "
                    "train it without that layer, or merge it into its base"
                )
            continue
        if not _is_linear(module):
            raise refused(f"{name} is a {type(module).__name__}; only linear layers are adapted")
        wanted = (product.up.shape[0], product.down.shape[1])
        if (module.out_features, module.in_features) != wanted:
            raise refused(
                f"{name} is {(module.out_features, module.in_features)}, the adapter's product is "
                f"{wanted}: it was trained on another base model, register it for that one"
            )
        place = _place(module)
        up = (product.up.float() * product.scale).to(**place)
        delta = Delta(product.down.to(**place), up.T.contiguous())
        # Every token is multiplied with the factors of all adapters of its row: one infinity would
        # reach texts of others.
        if not (delta.down.isfinite().all() and delta.up.isfinite().all()):
            raise refused(
                f"its factors of {name} hold numbers that are not finite in "
                f"{str(delta.down.dtype).removeprefix('torch.')}: train it again"
            )
        deltas[name] = delta
    linear, others = _targets(starts, modules, whole, pools=pools)
    what = unfilled(config, {product.module for product in low_ranks}, linear, others)
    if what:
        raise refused(f"its file {what}; {UNFILLED_CURE}")
    return Adapter(deltas)


def _targets(
    starts: Set[str], modules: Mapping[str, nn.Module], whole: nn.Module | None, *, pools: bool
) -> tuple[list[str], list[str]]:
    """The linear layers that answers are made with, and what else peft adapts, as a file has them.

    `starts` are the beginnings of its names before the model's own. With one it was put on a model
    with a head.
    """
    own = {
        start + name: module
        for start in sorted(starts)
        for name, module in modules.items()
        if pools or name.split(".", 1)[0] != _POOLER
    }
    if whole is not None and any(starts):
        inside = set(modules.values())
        own |= {name: each for name, each in whole.named_modules() if each not in inside}
    linear = [name for name, each in own.items() if _is_linear(each)]
    return linear, [name for name, each in own.items() if isinstance(each, _OTHERS)]


def _is_linear(module: nn.Module) -> bool:
    return type(module) is nn.Linear or isinstance(module, PrepackedLinear)


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
    model: nn.Module,
    adapters: Sequence[Adapter],
    owners: Sequence[tuple[int, int | None]],
    *,
    step: int = 0,
) -> Iterator[None]:
    """Within the block, each token gets its adapter's products.

    `owners` are runs of the flattened batch's tokens and the place of their adapter, None for the
    base. Products are cut at multiples of `step` tokens only; 0 does not cut. One thread runs a
    model at a time; forward passes of another thread would be hooked too.
    """
    ranks = {place: adapters[place].rank for _, place in owners if place is not None}
    tokens = _Tokens(owners, ranks, step)
    parts: defaultdict[str, dict[int, Delta]] = defaultdict(dict)
    for place in sorted(ranks):
        for name, delta in adapters[place].deltas.items():
            parts[name][place] = delta
    with ExitStack() as hooks:
        for name, deltas in parts.items():
            # For this batch alone: a hook that stays and reads a variable would give one batch
            # another's adapter after an error in between.
            hooks.callback(_attach(model.get_submodule(name), _Addition(tokens, deltas)))
        yield


def _attach(module: nn.Module, addition: "_Addition") -> Callable[[], None]:
    """Have a layer add to its output; gives what takes it off again."""
    if not isinstance(module, PrepackedLinear):
        return module.register_forward_hook(addition.as_hook).remove
    module.addition = addition
    return lambda: setattr(module, "addition", None)


class _Run:
    """Tokens that are multiplied together. Its layers share the columns."""

    def __init__(self, start: int, owners: Sequence[tuple[int, int | None]]) -> None:
        self.slice = slice(start, start + sum(count for count, _ in owners))
        self.places = sorted({place for _, place in owners if place is not None})
        self.are_alike = len({place for _, place in owners}) == 1
        """True if all have the same adapter, or none."""
        self._owners = owners
        self._others: dict[tuple[tuple[int, int], ...], Tensor] = {}

    def others(self, ranks: tuple[tuple[int, int], ...], width: int, like: Tensor) -> Tensor:
        """True [tokens, width] in the columns of adapters that are not the token's own.

        `ranks` are places of adapters and how many columns each has; those behind are nobody's.
        """
        if ranks not in self._others:
            counts = torch.tensor([count for count, _ in self._owners])
            places = [-1 if place is None else place for _, place in self._owners]
            own = torch.tensor(places).repeat_interleave(counts)
            columns = torch.full((width,), -2)
            start = 0
            for place, rank in ranks:
                columns[start : start + rank] = place
                start += rank
            self._others[ranks] = (own[:, None] != columns).to(like.device)
        return self._others[ranks]


class _Tokens:
    """The adapter of each token. Made for one batch."""

    def __init__(
        self, owners: Sequence[tuple[int, int | None]], ranks: Mapping[int, int], step: int
    ) -> None:
        self.count = sum(count for count, _ in owners)
        self.are_alike = len({place for _, place in owners}) == 1
        """True if all have the same adapter."""
        self.runs: list[_Run] = []
        run: list[tuple[int, int | None]] = []
        start = 0
        for block in _blocks(owners, step or self.count):
            if run and not _share(run, block, ranks):
                self.runs.append(_Run(start, run))
                start, run = self.runs[-1].slice.stop, []
            run += block
        self.runs.append(_Run(start, run))


def _blocks(
    owners: Sequence[tuple[int, int | None]], step: int
) -> Iterator[list[tuple[int, int | None]]]:
    """The runs of tokens, cut at every multiple of `step`."""
    block: list[tuple[int, int | None]] = []
    room = step
    for count, place in owners:
        left = count
        while left:
            taken = min(left, room)
            block.append((taken, place))
            left, room = left - taken, room - taken
            if not room:
                yield block
                block, room = [], step
    if block:
        yield block


def _share(
    run: Sequence[tuple[int, int | None]],
    block: Sequence[tuple[int, int | None]],
    ranks: Mapping[int, int],
) -> bool:
    """True if a block joins the run before it. Tokens of the base alone have no product at all."""
    before = _columns(run, ranks)
    if bool(before) != bool(_columns(block, ranks)):
        return False
    return _columns([*run, *block], ranks) <= max(_SHARED_COLUMNS_MAX, before)


def _columns(owners: Sequence[tuple[int, int | None]], ranks: Mapping[int, int]) -> int:
    """The columns of all adapters of these tokens together."""
    return sum(ranks[place] for place in {place for _, place in owners if place is not None})


@dataclass(frozen=True, slots=True)
class _Addition:
    """Adds to a layer's fresh output in place."""

    tokens: _Tokens
    deltas: Mapping[int, Delta]

    def __call__(self, inputs: Tensor, output: Tensor) -> None:
        # A table of embeddings takes ids, one of a token.
        is_table = not inputs.is_floating_point()
        rows = inputs.flatten() if is_table else inputs.reshape(-1, inputs.shape[-1])
        sums = output.view(-1, output.shape[-1])
        if self.tokens.are_alike:
            [delta] = self.deltas.values()
            sums.addmm_(delta.low(rows), delta.up)
            return
        # DeBERTa projects its table of distances too: those rows are nobody's tokens.
        if len(sums) != self.tokens.count:
            raise OurFault(
                "a layer that an adapter changes is shared by all texts of a batch, and they have "
                "several adapters",
                code="INFERENCE_ERROR",
            )
        for run in self.tokens.runs:
            self._add(run, rows[run.slice], sums[run.slice])

    def _add(self, run: _Run, rows: Tensor, sums: Tensor) -> None:
        deltas = {place: self.deltas[place] for place in run.places if place in self.deltas}
        if not deltas:
            return
        ups = [delta.up for delta in deltas.values()]
        if run.are_alike:
            [delta] = deltas.values()
            sums.addmm_(delta.low(rows), delta.up)
            return
        # One product for all adapters, and of it the columns that are a token's own: a product for
        # each would be of a size that no batch had before, and building a kernel for it costs more.
        ranks = tuple((place, len(delta.down)) for place, delta in deltas.items())
        filling = -sum(rank for _, rank in ranks) % _COLUMNS_STEP
        if filling:
            ups.append(ups[0].new_zeros(filling, ups[0].shape[1]))
        low = _low_of([*deltas.values()], rows, filling)
        # Replaced and not multiplied by zero: no number of another's adapter, NaN among them, may
        # reach this token.
        low.masked_fill_(run.others(ranks, low.shape[1], low), 0)
        sums.addmm_(low, torch.cat(ups))

    def as_hook(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        """The form in which torch calls a forward hook."""
        self(args[0], output)


def _low_of(deltas: Sequence[Delta], rows: Tensor, filling: int) -> Tensor:
    """The columns of all adapters, and so many of zeros."""
    if not rows.is_floating_point():
        # A table's factors are as long as its vocabulary, and are not laid side by side.
        return nn.functional.pad(
            torch.cat([each.low(rows) for each in deltas], dim=1), (0, filling)
        )
    downs = [each.down for each in deltas]
    if filling:
        downs.append(downs[0].new_zeros(filling, downs[0].shape[1]))
    return torch.mm(rows, torch.cat(downs).T)
