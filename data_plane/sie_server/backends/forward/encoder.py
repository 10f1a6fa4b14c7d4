"""A transformer's forward over a batch of token ids: packed, or padded.

*device* over one torch model. `packed` runs flat rows without a padding token; `padded` runs
length-sorted chunks through the model's own attention. Both give the hidden states of all tokens,
laid end to end in the order that they say. Owned by the device's thread.
"""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sie_server.adapters.lora import Adapter, applied
from sie_server.backends.architectures import mpnet
from sie_server.backends.architectures.alibi_bert import AlibiBertModel
from sie_server.packed.packed_attention import PACKED, PLAN_KEYWORD, NotPackable, Plan, takes_rows
from sie_server.packed.packing import PackedRow, end_to_end, packed_rows, padded_chunks
from sie_server.packed.prepacked import PrepackedLinear, Swap, prepack

__all__ = ["Encoder", "Execution", "Sequences", "States"]

Execution: TypeAlias = Literal["packed", "padded", "alone"]
"""`alone` is padded with nothing to pad: one text at a time."""


_ROW_TOKENS_MAX: Final = 512
"""Tokens of a row of blocks on a CPU: more would fall out of its caches."""
_FLOAT32_ROW_TOKENS_MAX: Final = 2048
"""In float32 the weights fall out, and are read for each row (docs/laboratory/engine.md#on-amx)."""
_CUDA_ROW_TOKENS_MAX: Final = 16_384
"""In blocks on a GPU: four batches of the usual cost in one call. A mask has, for each token
of a row, a number for each of its block: 512 MiB in float32 for two texts of 8,192."""
_WHOLE_ROW_TOKENS_MAX: Final = 131_072
"""Without blocks there is no mask, and the widest states bound a row. With 4,096 numbers a token
they take 1 GiB in half precision."""
_BLOCK_TOKENS: Final = 128
"""Tokens of a block of short texts: less was not faster, more costs scores that are thrown away."""


@dataclass(frozen=True, slots=True)
class Sequences:
    """Token ids of a batch; `owners[i]` is the place of sequence i's adapter, or None.

    `skips`, where any, are each sequence's leading tokens that are its prompt's; `attended`, where
    any, those at which all of its tokens look.
    """

    ids: Sequence[Tensor]
    type_ids: Sequence[Tensor | None]
    owners: Sequence[int | None]
    skips: Sequence[int] = ()
    attended: Sequence[int] = ()

    @property
    def lengths(self) -> list[int]:
        """Tokens of each sequence."""
        return [len(ids) for ids in self.ids]


@dataclass(frozen=True, slots=True)
class States:
    """Hidden states [tokens, width] of sequences laid end to end as `order` says."""

    hidden: Tensor
    order: tuple[int, ...]


class Encoder:
    """One model. `positions` is how many it has a table for; None where it makes them up.

    `no_position` is the token that takes none of them; None where each takes one.
    """

    def __init__(self, model: PreTrainedModel, *, device: torch.device) -> None:
        self._model = model
        self._device = device
        self._own_attention: str = model.config._attn_implementation
        # A model that takes no positions, or types that no file counts, would drop or misread them
        # in silence.
        parameters = inspect.signature(model.forward).parameters
        self._takes_types = "token_type_ids" in parameters and bool(
            getattr(model.config, "type_vocab_size", None)
        )
        self._takes_positions = "position_ids" in parameters
        self._mpnet = mpnet.install(model)
        self.attends_rows = takes_rows(device, model.dtype) and not (
            self._mpnet is not None or isinstance(model, AlibiBertModel)
        )
        """True if a row is attended in one call. A bias by place is quadratic in its block, so
        models that have one lie in blocks on every device."""
        self._row_tokens_max = _row_tokens_max(device, model.dtype)
        self.types_unstated = "token_type_ids" in parameters and not hasattr(
            model.config, "type_vocab_size"
        )
        """True if token types would be used, and no file says how many there are."""
        self._alone = False
        self.no_position, self.positions = _position_table(model)

    @property
    def model(self) -> PreTrainedModel:
        """The torch model, for binding adapters."""
        return self._model

    @property
    def dtype(self) -> torch.dtype:
        """The type that the model computes in."""
        return self._model.dtype

    @property
    def memory_bytes(self) -> int:
        """Bytes of the weights."""
        repacked = sum(
            module.memory_bytes
            for module in self._model.modules()
            if isinstance(module, PrepackedLinear)
        )
        return repacked + sum(parameter.nbytes for parameter in self._model.parameters())

    @property
    def types(self) -> int:
        """The token types that the model tells apart; 0 if it takes none."""
        return self._model.config.type_vocab_size or 0 if self._takes_types else 0

    @property
    def window(self) -> int:
        """Tokens of the model's sliding window, 0 if it has none."""
        config = self._model.config
        # A config of layers that differ tells no value of all.
        configs = config.per_layer_config if config.is_heterogeneous else (config,)
        told = [
            getattr(each, name, None)
            for each in configs
            for name in ("sliding_window", "local_attention")
        ]
        # A family without windows takes any value there.
        return max((each for each in told if isinstance(each, int)), default=0)

    @property
    def padding_id(self) -> int:
        """The id with which texts are filled up."""
        # Some published files say -1, which is no row of a table.
        return max(self._model.config.pad_token_id or 0, 0)

    def choose(self, execution: Execution) -> None:
        """From now on this forward is called, and only this one: it selects the attention."""
        chosen = PACKED if execution == "packed" else self._own_attention
        self._alone = execution == "alone"
        try:
            self._model.set_attn_implementation(chosen)
        except ValueError as error:
            raise NotPackable(f"the model refuses another attention: {error}") from error

    def prepack(self) -> Swap:
        """Lay the weights out for this device's kernels, as far as it has a better order."""
        return prepack(self._model)

    @torch.inference_mode()
    def packed(self, batch: Sequences, adapters: Sequence[Adapter] = ()) -> States:
        """Flat rows. Raises `NotPackable` where the model's attention cannot be given them."""
        if not self._takes_positions:
            raise NotPackable("the model's forward takes no positions")
        by_row = self.attends_rows and not batch.attended
        rows = (
            end_to_end(batch.lengths, batch.owners, _WHOLE_ROW_TOKENS_MAX)
            if by_row
            else packed_rows(
                batch.lengths, batch.owners, tokens_max=self._row_tokens_max, block=_BLOCK_TOKENS
            )
        )
        parts: list[Tensor] = []
        order: list[int] = []
        for row in rows:
            parts.append(self._packed_row(batch, row, adapters, by_row=by_row))
            order.extend(row.order)
        return States(parts[0] if len(parts) == 1 else torch.cat(parts), tuple(order))

    def _packed_row(
        self, batch: Sequences, row: PackedRow, adapters: Sequence[Adapter], *, by_row: bool
    ) -> Tensor:
        attended = [batch.attended[index] for index in row.order] if batch.attended else []
        plan = Plan(row, self._device, attended=attended, by_row=by_row)
        ids = [batch.ids[index] for index in row.order]
        inputs: dict[str, Any] = {
            "input_ids": self._row(row, ids),
            "position_ids": self._row(row, self._positions(ids)),
            PLAN_KEYWORD: plan,
        }
        if self._takes_types:
            inputs["token_type_ids"] = self._row(row, [_types(batch, index) for index in row.order])
        # One product for all adapters of the row: products of each had sizes that no batch had
        # before, and a new kernel each time on AMX.
        with self._planned(plan), applied(self._model, adapters, row.owners, step=row.block):
            hidden: Tensor = self._model(**inputs).last_hidden_state
        return self._without_filling(row, hidden[0])

    @contextmanager
    def _planned(self, plan: Plan) -> Iterator[None]:
        """MPNet drops its forward's keywords: its encoder holds the plan meanwhile."""
        if self._mpnet is None:
            yield
            return
        self._mpnet.plan = plan
        try:
            yield
        finally:
            self._mpnet.plan = None

    @torch.inference_mode()
    def padded(
        self, batch: Sequences, adapters: Sequence[Adapter] = (), *, tokens_max: int
    ) -> States:
        """Length-sorted chunks of at most `tokens_max` padded tokens."""
        parts: list[Tensor] = []
        order: list[int] = []
        # A text above the budget has a chunk of its own.
        budget = 0 if self._alone else tokens_max
        for chunk in padded_chunks(batch.lengths, batch.owners, budget):
            parts.append(self._padded_chunk(batch, chunk, adapters))
            order.extend(chunk)
        return States(torch.cat(parts), tuple(order))

    def _padded_chunk(
        self, batch: Sequences, chunk: Sequence[int], adapters: Sequence[Adapter]
    ) -> Tensor:
        mask = self._pad([torch.ones_like(batch.ids[index]) for index in chunk], 0)
        looked_at = mask
        if batch.attended:
            bounds = torch.tensor([batch.attended[index] for index in chunk], device=mask.device)
            looked_at = mask * (torch.arange(mask.shape[1], device=mask.device) < bounds[:, None])
        inputs = {
            "input_ids": self._pad([batch.ids[index] for index in chunk], self.padding_id),
            "attention_mask": looked_at,
        }
        if self._takes_types:
            inputs["token_type_ids"] = self._pad([_types(batch, index) for index in chunk], 0)
        owner = batch.owners[chunk[0]]
        with applied(self._model, adapters, [(mask.numel(), owner)]):
            hidden: Tensor = self._model(**inputs).last_hidden_state
        # By the mask of what is there: tokens at which the others do not look have states too.
        return hidden[mask.bool()]

    def _positions(self, texts: Sequence[Tensor]) -> list[Tensor]:
        """The position of each token in its text.

        A table with a padding index (RoBERTa and its kin) counts from behind it. A token of that
        very id has it for its position, wherever it stands, and is not counted.
        """
        none = self.no_position
        if none is None:
            return [torch.arange(len(ids)) for ids in texts]
        counted = [ids != none for ids in texts]
        return [each.cumsum(0) * each + none for each in counted]

    def _row(self, row: PackedRow, parts: Sequence[Tensor]) -> Tensor:
        """One row of the parts; the filling is zeros, which every table has."""
        spans: list[Tensor] = []
        for part, gap in zip(parts, row.gaps, strict=True):
            spans.append(part)
            if gap:
                spans.append(part.new_zeros(gap))
        return torch.cat(spans).to(self._device)[None]

    def _without_filling(self, row: PackedRow, hidden: Tensor) -> Tensor:
        if not any(row.gaps):
            return hidden
        return torch.cat(torch.split(hidden, row.spans)[::2])

    def _pad(self, parts: Sequence[Tensor], value: int) -> Tensor:
        return torch.nn.utils.rnn.pad_sequence(
            list(parts), batch_first=True, padding_value=value
        ).to(self._device)


def _row_tokens_max(device: torch.device, dtype: torch.dtype) -> int:
    if device.type != "cpu":
        return _CUDA_ROW_TOKENS_MAX
    return _FLOAT32_ROW_TOKENS_MAX if dtype == torch.float32 else _ROW_TOKENS_MAX


def _types(batch: Sequences, index: int) -> Tensor:
    given = batch.type_ids[index]
    return torch.zeros_like(batch.ids[index]) if given is None else given


def _position_table(model: PreTrainedModel) -> tuple[int | None, int | None]:
    """The table's padding index, and how many positions it has; None where there is none."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            none = module.padding_idx
            return none, module.num_embeddings - (0 if none is None else none + 1)
    return None, None
