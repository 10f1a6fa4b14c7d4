"""Attention over sequences laid end to end, for every model that goes through the interface.

*device.* `register()` names the function and its mask with transformers. A model whose attention
implementation is `PACKED` then runs one flat row of tokens, and a `Plan` travels as a keyword of
its forward. Honours causal modules, sliding windows and grouped query heads. Raises `NotPackable`
for anything it does not know: a position bias, a soft cap, a mask. The probe then runs the model
padded, and no answer is ever silently wrong.

On CUDA in half precision the whole row is one call of torch's variable-length flash attention,
where this torch has it. Else each group of equal lengths is one dense block.
"""

import importlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface

from sie_server.packed.packing import Group, PackedRow

__all__ = [
    "PACKED",
    "PLAN_KEYWORD",
    "NotPackable",
    "Plan",
    "attend_groups",
    "attend_row",
    "block",
    "plan_of",
    "register",
]

PACKED: Final = "sie_packed"
PLAN_KEYWORD: Final = "packed_plan"

_UNKNOWN_TERMS: Final = ("position_bias", "softcap", "s_aux", "cache")
_EXPLICIT_TOKENS_MAX: Final = 112
"""Below it, two products and a softmax beat the fused CPU kernel in float32 (46 tokens: 88 µs, not
119). That kernel is slow at lengths which are no multiple of its vector."""
_UPCAST_TOKENS_MAX: Final = 64
"""To this length, bfloat16 attention on a CPU is faster through float32. At 100 tokens it takes 294
µs as it is, and 397 through float32."""
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


@dataclass(frozen=True, slots=True)
class Plan:
    """A packed row, and where its sequences begin and end as the CUDA kernel wants it (int32).

    `attended`, where given, are the leading tokens of each sequence at which all of its tokens
    look, in the order of the row.
    """

    packed: PackedRow
    bounds: Tensor | None
    attended: Tensor | None = None


def plan_of(
    packed: PackedRow, device: torch.device, dtype: torch.dtype, attended: Sequence[int] = ()
) -> Plan:
    """The plan of a packed row on a device."""
    if attended:
        return Plan(packed, None, torch.tensor(attended, device=device))
    if device.type != "cuda" or dtype == torch.float32 or _VARLEN is None:
        return Plan(packed, None)
    ends = torch.tensor((0, *packed.lengths), dtype=torch.int32).cumsum(0, dtype=torch.int32)
    return Plan(packed, ends.to(device, non_blocking=True))


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
    if _VARLEN is not None and plan.bounds is not None and query.shape[3] <= _VARLEN_HEAD_MAX:
        return attend_row(_VARLEN, plan, query, key, value, scaling, causal, sliding_window), None
    return attend_groups(plan, query, key, value, scaling, causal, sliding_window), None


def attend_groups(
    plan: Plan,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scaling: float | None,
    causal: bool,
    window: int | None,
) -> Tensor:
    """Each group of equal lengths as one dense block; gives [1, tokens, heads, width]."""
    output = query.new_empty(1, plan.packed.tokens, query.shape[1], value.shape[3])
    first = 0
    for group in plan.packed.groups:
        seen = None if plan.attended is None else plan.attended[first : first + group.count]
        output[0, group.start : group.stop] = _attend(
            query, key, value, group, scaling, causal, window, seen
        )
        first += group.count
    return output


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
    """The whole row in one call of variable-length attention, as `attend_groups` otherwise."""
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


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    group: Group,
    scaling: float | None,
    causal: bool,
    window: int | None,
    seen: Tensor | None = None,
) -> Tensor:
    """One group; `seen` are the leading tokens of each sequence at which its tokens look."""
    windowed = window is not None and group.length > window
    grouped = query.shape[1] != key.shape[1]
    blocks = block(query, group), block(key, group), block(value, group)
    if seen is not None:
        # A mask of its own for each sequence; the kernels below take one for all, or none.
        near = _window_mask(group.length, window, causal, query.device)
        places = torch.arange(group.length, device=query.device)
        mask = near[None] & (places < seen[:, None])[:, None]
        result = scaled_dot_product_attention(
            *blocks, attn_mask=mask[:, None], scale=scaling, enable_gqa=grouped
        )
        return result.transpose(1, 2).flatten(0, 1)
    if not (causal or windowed or grouped) and _is_faster_explicit(query, group.length):
        result = _explicit(*blocks, scaling)
    else:
        result = scaled_dot_product_attention(
            *blocks,
            attn_mask=_window_mask(group.length, window, causal, query.device)
            if windowed
            else None,
            # One or the other: torch defines no meaning for both, and the mask is causal itself.
            is_causal=causal and not windowed,
            scale=scaling,
            enable_gqa=grouped,
        )
    return result.transpose(1, 2).flatten(0, 1)


def _is_faster_explicit(query: Tensor, length: int) -> bool:
    if query.device.type != "cpu":
        return False
    if query.dtype == torch.float32:
        return length < _EXPLICIT_TOKENS_MAX
    return query.dtype == torch.bfloat16


def _explicit(query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
    """Attention as two batched products, [count, heads, length, width] in and out."""
    shape, dtype = value.shape, value.dtype
    through = torch.float32 if query.shape[2] <= _UPCAST_TOKENS_MAX else dtype
    left, right, carried = (
        states.reshape(-1, *states.shape[2:]).to(through) for states in (query, key, value)
    )
    scale = query.shape[3] ** -0.5 if scaling is None else scaling
    # `beta` 0: the first argument is never read, and the scale costs no pass of its own.
    scores = torch.baddbmm(left.new_empty(1), left, right.transpose(1, 2), beta=0, alpha=scale)
    return torch.bmm(scores.softmax(-1), carried).to(dtype).view(shape)


def block(states: Tensor, group: Group) -> Tensor:
    """[1, heads, tokens, width] to [count, heads, length, width] of one group, mostly a view."""
    flat = states[0].transpose(0, 1)[group.start : group.stop]
    return flat.reshape(group.count, group.length, *flat.shape[1:]).transpose(1, 2)


def _window_mask(length: int, window: int | None, causal: bool, device: torch.device) -> Tensor:
    """True where a query may look: fewer than `window` tokens away, and not ahead if causal."""
    place = torch.arange(length, device=device)
    distance = place[:, None] - place[None, :]
    reach = length if window is None else window
    near = distance.abs() < reach
    return near & (distance >= 0) if causal else near
