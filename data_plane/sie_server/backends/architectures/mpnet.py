"""MPNet, packed: its attention adds a bias by relative position and goes through no interface.

*device* over a model's modules. `install` replaces MPNet's encoder by one that shares its weights
and, while a plan is set, attends by it. Without a plan it is the stock forward.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.models.mpnet.modeling_mpnet import (
    MPNetEncoder,
    MPNetModel,
    MPNetSelfAttention,
)

from sie_server.packed.packed_attention import Plan, attend_blocks

__all__ = ["PackedMPNetEncoder", "install"]


class _PlannedBias:
    """Travels where the stock layers hand the bias on without looking at it."""

    def __init__(self, plan: Plan, values: Tensor) -> None:
        self.plan = plan
        self.values = values


class _Attention(MPNetSelfAttention):
    """The stock attention's weights under their own names."""

    def __init__(self, stock: MPNetSelfAttention) -> None:
        nn.Module.__init__(self)
        # Past the parent, which would make weights of its own.
        self.num_attention_heads = stock.num_attention_heads
        self.attention_head_size = stock.attention_head_size
        self.all_head_size = stock.all_head_size
        self.q, self.k, self.v, self.o = stock.q, stock.k, stock.v, stock.o
        self.dropout = stock.dropout

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        position_bias: Any = None,
        output_attentions: bool = False,
        **others: Any,
    ) -> tuple[Tensor, ...]:
        """As stock, or by the plan in `position_bias`."""
        if not isinstance(position_bias, _PlannedBias):
            stock: Callable[..., tuple[Tensor, ...]] = super().forward
            return stock(hidden_states, attention_mask, position_bias, output_attentions, **others)
        shape = (*hidden_states.shape[:-1], -1, self.attention_head_size)
        query, key, value = (
            layer(hidden_states).view(shape).transpose(1, 2) for layer in (self.q, self.k, self.v)
        )
        planned = position_bias
        output = attend_blocks(planned.plan, query, key, value, biased=planned.values)
        return (self.o(output.flatten(2)),)


class PackedMPNetEncoder(MPNetEncoder):
    """The stock encoder's layers. `plan` is set by the caller for one forward."""

    def __init__(self, stock: MPNetEncoder) -> None:
        nn.Module.__init__(self)
        self.config, self.n_heads, self.layer = stock.config, stock.n_heads, stock.layer
        self.relative_attention_bias = stock.relative_attention_bias
        self.plan: Plan | None = None
        layers: Any = self.layer
        for layer in layers:
            layer.attention.attn = _Attention(layer.attention.attn)

    def compute_position_bias(
        self, x: Tensor, position_ids: Tensor | None = None, num_buckets: int = 32
    ) -> Any:
        """The stock bias; of a block of the plan, if there is one."""
        stock: Callable[..., Tensor] = super().compute_position_bias
        if self.plan is None:
            return stock(x, position_ids, num_buckets)
        # It depends on the distance alone, so one serves the blocks of any sequences.
        bias = stock(x[:, : self.plan.packed.block], None, num_buckets)
        return _PlannedBias(self.plan, self.plan.biased(bias))


def install(model: PreTrainedModel) -> PackedMPNetEncoder | None:
    """Replace the encoder of an MPNet model; None for every other model."""
    if not isinstance(model, MPNetModel):
        return None
    model.encoder = PackedMPNetEncoder(model.encoder)
    return model.encoder
