"""The tensors of further families, most of them those of a known one under another name.

*pure.* Lines as in `families`.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from sie_layouts.architectures.tensors.families import (
    DEBERTA_TABLES,
    DEBERTA_USUAL,
    FAMILIES,
    Family,
)

__all__ = ["KIN", "LATER"]

_BERT: Final = FAMILIES["bert"]
_ROBERTA: Final = FAMILIES["roberta"]
_T5: Final = FAMILIES["t5"]
_LLAMA: Final = FAMILIES["llama"]
_ELECTRA: Final = FAMILIES["electra"]
_OF_MT5: Final[Mapping[str, Any]] = {
    **_T5.usual, "d_ff": 1024, "feed_forward_proj": "gated-gelu", "num_layers": 8, "num_heads": 6,
}  # fmt: skip
_DEBERTA: Final[Mapping[str, Any]] = {
    "hidden_size": 768, "intermediate_size": 3072, "max_position_embeddings": 512,
    "num_attention_heads": 12, "num_hidden_layers": 12, **DEBERTA_USUAL,
}  # fmt: skip


def _llama(**usual: Any) -> Family:
    return replace(_LLAMA, usual={**_LLAMA.usual, **usual})


KIN: Final[Mapping[str, Family]] = {
    "albert": Family(
        ("albert.",),
        """
matrix embeddings.word_embeddings vocab_size embedding_size
matrix embeddings.position_embeddings max_position_embeddings embedding_size
matrix embeddings.token_type_embeddings type_vocab_size embedding_size
norm embeddings.LayerNorm embedding_size
linear encoder.embedding_hidden_mapping_in hidden_size embedding_size
""",
        "encoder.albert_layer_groups.*.albert_layers.+",
        """
linear attention.query hidden_size hidden_size
linear attention.key hidden_size hidden_size
linear attention.value hidden_size hidden_size
linear attention.dense hidden_size hidden_size
norm attention.LayerNorm hidden_size
linear ffn intermediate_size hidden_size
linear ffn_output hidden_size intermediate_size
norm full_layer_layer_norm hidden_size
""",
        {
            "classes": "linear pooler hidden_size hidden_size\n"
            "linear classifier num_labels hidden_size",
            "tokens": "linear classifier num_labels hidden_size",
        },
        {"embedding_size": 128, "hidden_size": 4096, "intermediate_size": 16384,
         "inner_group_num": 1, "max_position_embeddings": 512, "num_attention_heads": 64,
         "num_hidden_groups": 1, "type_vocab_size": 2},
        count="num_hidden_groups",
        inner="inner_group_num",
    ),
    "data2vec-text": replace(
        _ROBERTA,
        prefixes=("data2vec_text.",),
    ),
    "deberta": Family(
        ("deberta.",),
        DEBERTA_TABLES
        + "matrix?relative_attention encoder.rel_embeddings 2*relative_rows hidden_size",
        "encoder.layer.*",
        """
matrix?c2p attention.self.pos_proj hidden_size hidden_size
linear?p2c attention.self.pos_q_proj hidden_size hidden_size
matrix?talking_head attention.self.head_logits_proj num_attention_heads num_attention_heads
matrix?talking_head attention.self.head_weights_proj num_attention_heads num_attention_heads
matrix attention.self.in_proj 3*hidden_size hidden_size
single attention.self.q_bias hidden_size
single attention.self.v_bias hidden_size
linear attention.output.dense hidden_size hidden_size
norm attention.output.LayerNorm hidden_size
linear intermediate.dense intermediate_size hidden_size
linear output.dense hidden_size intermediate_size
norm output.LayerNorm hidden_size
""",
        FAMILIES["deberta-v2"].heads,
        _DEBERTA,
    ),
    "convbert": Family(
        ("convbert.",),
        _ELECTRA.once,
        "encoder.layer.*",
        """
named attention.self.query.weight
named attention.self.query.bias
named attention.self.key.weight
named attention.self.key.bias
named attention.self.value.weight
named attention.self.value.bias
named attention.self.key_conv_attn_layer.bias
named attention.self.key_conv_attn_layer.depthwise.weight
named attention.self.key_conv_attn_layer.pointwise.weight
named attention.self.conv_kernel_layer.weight
named attention.self.conv_kernel_layer.bias
named attention.self.conv_out_layer.weight
named attention.self.conv_out_layer.bias
linear attention.output.dense hidden_size hidden_size
norm attention.output.LayerNorm hidden_size
named intermediate.dense.weight
single intermediate.dense.bias intermediate_size
named output.dense.weight
single output.dense.bias hidden_size
norm output.LayerNorm hidden_size
""",
        _ELECTRA.heads,
        {**_BERT.usual, "embedding_size": 768},
    ),
    "ernie": replace(_BERT, prefixes=("ernie.",)),
    "eurobert": replace(
        _LLAMA,
        heads={"tokens": "linear classifier num_labels hidden_size"},
        usual={"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12,
               "num_hidden_layers": 12},
    ),
    "fnet": Family(
        ("fnet.",),
        _BERT.once + "linear embeddings.projection hidden_size hidden_size",
        "encoder.layer.*",
        """
norm fourier.output.LayerNorm hidden_size
linear intermediate.dense intermediate_size hidden_size
linear output.dense hidden_size intermediate_size
norm output.LayerNorm hidden_size
""",
        dict.fromkeys(("classes", "tokens"), _BERT.heads["classes"]),
        {"hidden_size": 768, "intermediate_size": 3072, "max_position_embeddings": 512,
         "num_hidden_layers": 12, "type_vocab_size": 4},
    ),
    # It has no class for labels.
    "granite": replace(_llama(), heads={"decoder": _LLAMA.heads["decoder"]}),
    "layoutlm": replace(
        _BERT,
        prefixes=("layoutlm.",),
        once=_BERT.once + "".join(
            f"matrix embeddings.{side}_position_embeddings max_2d_position_embeddings hidden_size\n"
            for side in "xyhw"
        ),
        heads={
            head: "linear pooler.dense hidden_size hidden_size\n" + lines
            for head, lines in _BERT.heads.items()
        },
        usual={**_BERT.usual, "max_2d_position_embeddings": 1024},
    ),
    "mt5": replace(_T5, usual=_OF_MT5),
    "smollm3": _llama(
        hidden_size=2048, intermediate_size=11008, num_attention_heads=16, num_hidden_layers=36,
        num_key_value_heads=4, tie_word_embeddings=True,
    ),
    "umt5": replace(_T5, each=_T5.each.replace("?!layer", ""), usual=_OF_MT5),
}  # fmt: skip
_POOLED: Final = "linear pooler.dense hidden_size hidden_size\n"
_OF_TOKENS: Final = "linear classifier num_labels hidden_size"


def _later(prefixes: tuple[str, ...], each: str, classes: str) -> Family:
    """One that transformers knows by other names than its authors published it under."""
    return Family(
        prefixes,
        """
matrix embeddings.word_embeddings vocab_size hidden_size
matrix?type_vocab_size embeddings.token_type_embeddings type_vocab_size hidden_size
norm embeddings.LayerNorm hidden_size
""",
        "layers.*",
        f"""{each}
norm post_attention_layernorm hidden_size
norm post_mlp_layernorm hidden_size
""",
        {"classes": classes, "tokens": _OF_TOKENS},
        _BERT.usual,
    )


_BIASED: Final = "".join(
    f"linear self_attn.{part}_proj hidden_size hidden_size\n" for part in "qkvo"
)
_GATED: Final = """
matrix mlp.gate_proj intermediate_size hidden_size
matrix mlp.up_proj intermediate_size hidden_size
"""
LATER: Final[Mapping[str, Family]] = {
    "flash_roberta": _later(
        ("roberta.",),
        _BIASED
        + "linear mlp.fc1 intermediate_size hidden_size\n"
        + "linear mlp.fc2 hidden_size intermediate_size",
        _ROBERTA.heads["classes"],
    ),
    "gte": _later(
        ("gte.", "new."),
        f"{_BIASED}{_GATED}linear mlp.down_proj hidden_size intermediate_size",
        _POOLED + _OF_TOKENS,
    ),
    "nomic_bert": _later(
        ("nomic_bert.", "bert."),
        _BIASED.replace("linear", "matrix")
        + f"{_GATED}matrix mlp.down_proj hidden_size intermediate_size",
        _POOLED + _OF_TOKENS,
    ),
}
"""By the names of transformers' own class. Those of the authors are in `families`."""
