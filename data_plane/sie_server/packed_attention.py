"""Attention over sequences laid end to end, for every model that goes through the interface.

*pure.* `register()` names the function and its mask with transformers; a model whose attention
implementation is `PACKED` then runs one flat row of tokens, and the layout travels as a keyword of
its forward. Honours causal modules, sliding windows and grouped query heads. Raises `NotPackable`
for anything it does not know (a position bias, a soft cap, a mask): the probe then runs the model
padded, and no answer is ever silently wrong.
"""

from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface

from sie_server.packing import Group, Layout

__all__ = ["LAYOUT_KEYWORD", "PACKED", "NotPackable", "register"]

PACKED: Final = "sie_packed"
LAYOUT_KEYWORD: Final = "packed_layout"

_UNKNOWN_TERMS: Final = ("position_bias", "softcap", "s_aux", "cache")


class NotPackable(Exception):
    """The model asks its attention for something that the packed function does not do."""


def register() -> None:
    """Make `PACKED` an attention implementation. Idempotent; called once at start."""
    AttentionInterface.register(PACKED, _packed_attention)
    AttentionMaskInterface.register(PACKED, _no_mask)


def _no_mask(*_: Any, **__: Any) -> None:
    """The layout says which tokens meet; a mask over the flat row would be quadratic in it."""


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
    layout = others.get(LAYOUT_KEYWORD)
    if not isinstance(layout, Layout):
        raise NotPackable("the model's forward does not hand its keywords to its attention")
    if attention_mask is not None or {query.shape[2], key.shape[2]} != {layout.tokens}:
        raise NotPackable("the model masks or crosses its attention in a way of its own")
    unknown = [term for term in _UNKNOWN_TERMS if others.get(term) is not None]
    if unknown:
        raise NotPackable(f"the model's attention wants {', '.join(unknown)}")
    causal = bool(getattr(module, "is_causal", False)) if is_causal is None else is_causal
    output = query.new_empty(1, layout.tokens, query.shape[1], value.shape[3])
    for group in layout.groups:
        output[0, group.start : group.stop] = _attend(
            query, key, value, group, scaling, causal, sliding_window
        )
    return output, None


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    group: Group,
    scaling: float | None,
    causal: bool,
    window: int | None,
) -> Tensor:
    windowed = window is not None and group.length > window
    result = scaled_dot_product_attention(
        _block(query, group),
        _block(key, group),
        _block(value, group),
        attn_mask=_window_mask(group.length, window, causal, query.device) if windowed else None,
        is_causal=causal and not windowed,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return result.transpose(1, 2).flatten(0, 1)


def _block(states: Tensor, group: Group) -> Tensor:
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
