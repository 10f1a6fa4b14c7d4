"""BigBird: whole attention for short texts and blocks for long ones, whatever was read before.

*device* over one model. The library moves a model to whole attention at its first short text, and
never back. Both stand ready here, with the same weights, and each text is read as a fresh model of
the library reads it. That goes by the longest text of a batch, so that these models run texts
alone.
"""

from collections.abc import Mapping
from typing import Any, Final

from torch import Tensor, nn
from transformers.models.big_bird.modeling_big_bird import BigBirdModel

__all__ = ["SWITCHES", "keep_attention", "switches_attention"]

_BLOCKS: Final = "block_sparse"
_WHOLE: Final = "original_full"
_SHARED: Final = ("query", "key", "value")
SWITCHES: Final = "it reads short texts by another attention than long ones"


def switches_attention(model: nn.Module) -> bool:
    """True if a model's attention depends on the length of a text."""
    return any(_by_blocks(module) for module in model.modules())


def keep_attention(model: nn.Module) -> None:
    """Have every text read as a model does that has read nothing yet."""
    for module in model.modules():
        if _by_blocks(module):
            module.register_forward_pre_hook(_Attention(module), with_kwargs=True)


def _by_blocks(module: nn.Module) -> bool:
    return isinstance(module, BigBirdModel) and module.config.attention_type == _BLOCKS


class _Attention:
    """Both attentions of each layer, one of which is in its place."""

    def __init__(self, model: Any) -> None:
        config = model.config
        # The library's own bound: blocks for all, for neighbours and for chance, twice.
        self._whole_up_to = (5 + 2 * config.num_random_blocks) * config.block_size
        self._layers = [layer.attention for layer in model.encoder.layer]
        self._kept: dict[str, list[Any]] = {_BLOCKS: [each.self for each in self._layers]}
        model.set_attention_type(_WHOLE)
        self._kept[_WHOLE] = [each.self for each in self._layers]

    def __call__(self, model: Any, args: tuple[Any, ...], given: Mapping[str, Tensor]) -> None:
        """Put the attention for what is about to be read into its place."""
        read = given.get("input_ids")
        if read is None:
            read = args[0] if args else given["inputs_embeds"]
        kind = _WHOLE if read.shape[1] <= self._whole_up_to else _BLOCKS
        if model.attention_type == kind:
            return
        for layer, chosen in zip(self._layers, self._kept[kind], strict=True):
            for name in _SHARED:
                # As they are now: an adapter may stand in a layer's place.
                setattr(chosen, name, getattr(layer.self, name))
            layer.self = chosen
        for part in (model, model.encoder, *model.encoder.layer, *self._layers):
            part.attention_type = kind
