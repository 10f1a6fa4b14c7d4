"""Attention over sequences laid in blocks, for every model that goes through the interface.

*device.* `register()` names the function and its mask with transformers. A model whose attention
implementation is `PACKED` then runs one flat row of tokens, and a `Plan` travels as a keyword of
its forward. Honours causal modules, sliding windows and grouped query heads. Raises `NotPackable`
for anything it does not know: a position bias, a soft cap, a mask. The probe then runs the model
padded, and no answer is ever silently wrong.

On CUDA in half precision the whole row is one call of torch's variable-length flash attention,
where this torch has it. Else the blocks of the row are one dense call, under a mask by which tokens
see those of their own sequence alone.
"""

import importlib
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface

from sie_server.packed.packing import PackedRow

__all__ = [
    "PACKED",
    "PLAN_KEYWORD",
    "NotPackable",
    "Plan",
    "attend_blocks",
    "attend_row",
    "register",
    "takes_rows",
]

PACKED: Final = "sie_packed"
PLAN_KEYWORD: Final = "packed_plan"

_UNKNOWN_TERMS: Final = ("position_bias", "softcap", "s_aux", "cache")
_VARLEN_HEAD_MAX: Final = 256
"""The kernel's own bound on the width of a head."""

_VarlenAttention = Callable[..., Tensor]


def _find_varlen() -> _VarlenAttention | None:
    """Torch's variable-length attention, if this release has it in the form that is used here."""
    try:
        found: _VarlenAttention = importlib.import_module("torch.nn.attention.varlen").varlen_attn
    except (ImportError, AttributeError):
        return None
    known = inspect.signature(found).parameters.keys()
    return found if {"scale", "window_size", "enable_gqa"} <= known else None


_VARLEN: Final = _find_varlen()


class NotPackable(Exception):
    """The model asks its attention for something that the packed function does not do."""


class Plan:
    """A packed row, and who sees whom in it. Made for one forward; its layers share the masks.

    `attended`, where given, are the leading tokens of each sequence at which all of its tokens
    look, in the order of the row. With `by_row` the row is attended as one (`takes_rows`).
    """

    def __init__(
        self,
        packed: PackedRow,
        device: torch.device,
        *,
        attended: Sequence[int] = (),
        by_row: bool = False,
    ) -> None:
        self.packed = packed
        self.bounds: Tensor | None = None
        self._device = device
        self._attended = attended
        self._masks: dict[tuple[torch.dtype, bool, int | None], Tensor] = {}
        if by_row:
            ends = torch.tensor((0, *packed.lengths), dtype=torch.int32).cumsum(0)
            self.bounds = ends.to(device, torch.int32, non_blocking=True)

    def mask(self, dtype: torch.dtype, causal: bool, window: int | None) -> Tensor | None:
        """The term that is added to the scores of the blocks: [blocks, 1, block, block].

        None where each sees all keys of its block, of which a lone sequence has no more than its
        own (`seen`).
        """
        packed = self.packed
        windowed = window is not None and packed.block > window
        if not (windowed or self._attended or packed.shares_blocks):
            return None
        key = (dtype, causal, window if windowed else None)
        if key not in self._masks:
            self._masks[key] = self._make_mask(*key)
        return self._masks[key]

    def biased(self, bias: Tensor) -> Tensor:
        """A bias of the scores by place [1, heads, block, block], under the mask if any."""
        mask = self.mask(bias.dtype, causal=False, window=None)
        return bias[..., : self.packed.seen] if mask is None else bias + mask

    def _make_mask(self, dtype: torch.dtype, causal: bool, window: int | None) -> Tensor:
        spans = torch.tensor(self.packed.spans)
        # Two names for each sequence: its tokens see each other, and so does the filling behind.
        # Filling that saw nothing would be NaN, and 0 times NaN reaches every text a layer later.
        names = torch.arange(len(spans)).repeat_interleave(spans).view(-1, self.packed.block)
        near = names[:, :, None] == names[:, None, :]
        place = torch.arange(self.packed.block)
        distance = place[:, None] - place[None, :]
        if window is not None:
            near &= distance.abs() < window
        if causal:
            near &= distance >= 0
        if self._attended:
            near &= self._leading(spans).view(-1, 1, self.packed.block)
        mask = torch.zeros(near.shape, dtype=dtype).masked_fill_(~near, float("-inf"))
        return mask[:, None].to(self._device)

    def _leading(self, spans: Tensor) -> Tensor:
        """True for the tokens of the row that are looked at."""
        starts = (spans.cumsum(0) - spans).repeat_interleave(spans)
        limits = torch.stack([torch.tensor(self._attended), spans[1::2]], dim=1).flatten()
        return torch.arange(len(starts)) - starts < limits.repeat_interleave(spans)


def takes_rows(device: torch.device, dtype: torch.dtype) -> bool:
    """True where a row of sequences of any lengths is attended in one call."""
    return device.type == "cuda" and dtype != torch.float32 and _VARLEN is not None


def register() -> None:
    """Make `PACKED` an attention implementation. Idempotent; called once at start."""
    AttentionInterface.register(PACKED, _packed_attention)
    AttentionMaskInterface.register(PACKED, _no_mask)


def _no_mask(*_: Any, **__: Any) -> None:
    """The row says which tokens meet; a mask over the flat row would be quadratic in it."""


def _packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    is_causal: bool | None = None,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Query [1, heads, tokens, width] and its keys and values; gives [1, tokens, heads, width]."""
    plan = others.get(PLAN_KEYWORD)
    if not isinstance(plan, Plan):
        raise NotPackable("the model's forward does not hand its keywords to its attention")
    if attention_mask is not None or {query.shape[2], key.shape[2]} != {plan.packed.tokens}:
        raise NotPackable("the model masks or crosses its attention in a way of its own")
    unknown = [term for term in _UNKNOWN_TERMS if others.get(term) is not None]
    if unknown:
        raise NotPackable(f"the model's attention wants {', '.join(unknown)}")
    causal = bool(getattr(module, "is_causal", False)) if is_causal is None else is_causal
    if plan.bounds is None:
        return attend_blocks(plan, query, key, value, scaling, causal, sliding_window), None
    if _VARLEN is None or query.shape[3] > _VARLEN_HEAD_MAX:
        raise NotPackable(f"the model's heads are wider than {_VARLEN_HEAD_MAX}")
    return attend_row(_VARLEN, plan, query, key, value, scaling, causal, sliding_window), None


def attend_blocks(
    plan: Plan,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scaling: float | None = None,
    causal: bool = False,
    window: int | None = None,
    *,
    biased: Tensor | None = None,
) -> Tensor:
    """The blocks in one dense call; gives [1, tokens, heads, width].

    `biased` is a bias of the scores as the plan gave it.
    """
    queries, keys, values = (
        _in_blocks(states, plan.packed.block) for states in (query, key, value)
    )
    mask = plan.mask(query.dtype, causal, window)
    if mask is None:
        keys, values = (states[:, :, : plan.packed.seen] for states in (keys, values))
    # One call for blocks of one length, and not one for each text: a length that is no multiple of
    # 16 costs torch's kernel as much as one twice as long, and the mask is free.
    result = scaled_dot_product_attention(
        queries,
        keys,
        values,
        attn_mask=mask if biased is None else biased,
        # One or the other: torch defines no meaning for both, and the mask is causal itself.
        is_causal=causal and mask is None,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return result.transpose(1, 2).flatten(0, 1)[None]


def _in_blocks(states: Tensor, length: int) -> Tensor:
    """[1, heads, tokens, width] to [blocks, heads, length, width], a view."""
    flat = states[0].transpose(0, 1)
    return flat.view(-1, length, *flat.shape[1:]).transpose(1, 2)


def attend_row(
    attention: _VarlenAttention,
    plan: Plan,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scaling: float | None,
    causal: bool,
    window: int | None,
) -> Tensor:
    """The whole row in one call of variable-length attention, as `attend_blocks` otherwise."""
    reach = -1 if window is None else window - 1
    longest = max(plan.packed.lengths)
    row = attention(
        *(states[0].transpose(0, 1) for states in (query, key, value)),
        plan.bounds,
        plan.bounds,
        longest,
        longest,
        scale=scaling,
        window_size=(reach, 0 if causal else reach),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return row[None]
