"""The tensors of models that hold a tower for texts and one for images.

*pure.* Declared as the families are (`families`), with one more kind of line. `single` is a tensor
that is its name alone, and `unread` such a one that no vector is made with: it may be missing.
"""

from collections.abc import Mapping
from typing import Any, Final

from sie_layouts.architectures.tensors.families import Family

__all__ = ["TOWERS"]

_LAYER: Final = (
    "".join(
        f"linear self_attn.{part}_proj hidden_size hidden_size\n" for part in ("q", "k", "v", "out")
    )
    + """
norm layer_norm1 hidden_size
linear mlp.fc1 intermediate_size hidden_size
linear mlp.fc2 hidden_size intermediate_size
norm layer_norm2 hidden_size
"""
)
_LAYERS: Final = "encoder.layers.*"
_TEXTS: Final = """
matrix embeddings.token_embedding vocab_size hidden_size
matrix embeddings.position_embedding max_position_embeddings hidden_size
norm final_layer_norm hidden_size
"""
_PATCHES: Final = "embeddings.patch_embedding hidden_size num_channels patch_size patch_size\n"
_POOLED: Final = """
single?vision_use_head head.probe 1 1 hidden_size
single?vision_use_head head.attention.in_proj_weight 3*hidden_size hidden_size
single?vision_use_head head.attention.in_proj_bias 3*hidden_size
linear?vision_use_head head.attention.out_proj hidden_size hidden_size
norm?vision_use_head head.layernorm hidden_size
linear?vision_use_head head.mlp.fc1 intermediate_size hidden_size
linear?vision_use_head head.mlp.fc2 hidden_size intermediate_size
"""
_IMAGES: Final[Mapping[str, Any]] = {
    "hidden_size": 768, "image_size": 224, "intermediate_size": 3072, "num_attention_heads": 12,
    "num_channels": 3, "num_hidden_layers": 12,
}  # fmt: skip
TOWERS: Final[Mapping[str, Family]] = {
    "clip": Family(
        ("clip.",),
        """
matrix text_projection projection_dim text_model.hidden_size
matrix visual_projection projection_dim vision_model.hidden_size
unread logit_scale
""",
        usual={"projection_dim": 512},
        parts={
            "text_model": Family(
                (),
                _TEXTS,
                _LAYERS,
                _LAYER,
                usual={
                    "hidden_size": 512, "intermediate_size": 2048, "max_position_embeddings": 77,
                    "num_attention_heads": 8, "num_hidden_layers": 12, "vocab_size": 49408,
                },
                # The first releases wrote both, and transformers takes the first where both are.
                config=("text_config_dict", "text_config"),
            ),
            "vision_model": Family(
                (),
                f"""
single embeddings.class_embedding hidden_size
matrix {_PATCHES}
matrix embeddings.position_embedding patches_and_class hidden_size
norm pre_layrnorm hidden_size
norm post_layernorm hidden_size
""",
                _LAYERS,
                _LAYER,
                usual={**_IMAGES, "patch_size": 32},
                config=("vision_config_dict", "vision_config"),
            ),
        },
    ),
    "siglip": Family(
        ("siglip.",),
        "unread logit_scale 1\nunread logit_bias 1",
        parts={
            "text_model": Family(
                (),
                f"{_TEXTS}linear head projection_size hidden_size",
                _LAYERS,
                _LAYER,
                usual={
                    "hidden_size": 768, "intermediate_size": 3072, "max_position_embeddings": 64,
                    "num_attention_heads": 12, "num_hidden_layers": 12, "vocab_size": 32000,
                },
                config=("text_config",),
            ),
            "vision_model": Family(
                (),
                f"""
linear {_PATCHES}
matrix embeddings.position_embedding patches hidden_size
norm post_layernorm hidden_size
{_POOLED}""",
                _LAYERS,
                _LAYER,
                usual={**_IMAGES, "patch_size": 16, "vision_use_head": True},
                config=("vision_config",),
            ),
        },
    ),
}  # fmt: skip
