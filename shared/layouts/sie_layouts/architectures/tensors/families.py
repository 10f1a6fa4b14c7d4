"""The tensors that an architecture needs, declared for the families that people publish.

*pure.* One line is one layer: its kind, its name, its sizes. A size is a key of config.json, with
the value that transformers has where the key is absent; a vocabulary has none. `a*b` is a product.
`linear` has a weight [out, in] and a bias, `matrix` no bias. `norm` has a weight and a bias,
`scale` a weight alone; `single` is its name alone, and `named` too, of any shape. Names with `|`
between them are alternatives. A line with `?key` counts where that key is not 0 or false, and with
`?!key` where it is. The key `layer` is the number of a layer. A config that does not say leaves it
to the loader: a declaration is never too strict.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

__all__ = ["DEBERTA_TABLES", "DEBERTA_USUAL", "FAMILIES", "Family", "Head"]

Head: TypeAlias = Literal["none", "classes", "tokens", "masked_language", "decoder"]
"""The part behind the encoder: of pairs and whole texts, of each token, of words."""


@dataclass(frozen=True, slots=True)
class Family:
    """One architecture."""

    prefixes: tuple[str, ...]
    """The beginnings of a name inside a model with a head; "" is always one."""
    once: str
    layers: str = ""
    """The name of a layer, with `*` for its number, and `+` for one inside it."""
    each: str = ""
    """Of one layer, with `#` for its number where `layers` has none."""
    heads: Mapping[Head, str] = field(default_factory=dict)
    usual: Mapping[str, Any] = field(default_factory=dict)
    """The values of keys that a config.json may leave out."""
    count: str = "num_hidden_layers"
    inner: str = ""
    least: Mapping[str, int] = field(default_factory=dict)
    """The sizes that transformers' forward counts on, whatever a config.json says."""
    parts: Mapping[str, "Family"] = field(default_factory=dict)
    """The models that it holds, by their names. `NAME.key` is a size of one of them."""
    config: tuple[str, ...] = ()
    """Of such a part: the keys under which config.json has its own; the first there counts."""


_SIZES: Final[Mapping[str, Any]] = {
    "hidden_size": 768, "intermediate_size": 3072, "max_position_embeddings": 512,
    "num_attention_heads": 12, "num_hidden_layers": 12, "tie_word_embeddings": True,
    "type_vocab_size": 2,
}  # fmt: skip
_TABLES: Final = """
matrix embeddings.word_embeddings vocab_size hidden_size
matrix embeddings.position_embeddings max_position_embeddings hidden_size
norm embeddings.LayerNorm hidden_size
"""
_BERT_TABLES: Final = f"""{_TABLES}
matrix?type_vocab_size embeddings.token_type_embeddings type_vocab_size hidden_size
"""
_PROJECTED: Final = "linear?projected embeddings_project hidden_size embedding_size"
_BERT_REST: Final = """
linear attention.output.dense hidden_size hidden_size
norm attention.output.LayerNorm hidden_size
linear intermediate.dense intermediate_size hidden_size
linear output.dense hidden_size intermediate_size
norm output.LayerNorm hidden_size
"""
_BERT_LAYER: Final = (
    "".join(
        f"linear attention.self.{part} hidden_size hidden_size\n"
        for part in ("query", "key", "value")
    )
    + _BERT_REST
    + """
linear?add_cross_attention crossattention.self.query hidden_size hidden_size
linear?add_cross_attention crossattention.output.dense hidden_size hidden_size
"""
)
_OF_TOKENS: Final = "linear classifier num_labels hidden_size"
_POOLED: Final = "linear pooler.dense hidden_size hidden_size\n"
_TWO_LAYERS: Final = """
linear classifier.dense hidden_size hidden_size
linear classifier.out_proj num_labels hidden_size
"""
_WORDS_OF_BERT: Final = """
linear cls.predictions.transform.dense hidden_size hidden_size
norm cls.predictions.transform.LayerNorm hidden_size
single?!untied_words cls.predictions.bias|cls.predictions.decoder.bias vocab_size
single?untied_words cls.predictions.bias vocab_size
linear?untied_words cls.predictions.decoder vocab_size hidden_size
"""
_WORDS_OF_ROBERTA: Final = """
linear lm_head.dense hidden_size hidden_size
norm lm_head.layer_norm hidden_size
single?!untied_words lm_head.bias|lm_head.decoder.bias vocab_size
single?untied_words lm_head.bias vocab_size
linear?untied_words lm_head.decoder vocab_size hidden_size
"""
_DENSE_AND_NORM: Final = """
matrix head.dense hidden_size hidden_size
single?classifier_bias head.dense.bias hidden_size
scale head.norm hidden_size
single?norm_bias head.norm.bias hidden_size
"""
_BERT: Final = Family(
    ("bert.",),
    _BERT_TABLES,
    "encoder.layer.*",
    _BERT_LAYER,
    {"classes": _POOLED + _OF_TOKENS, "tokens": _OF_TOKENS, "masked_language": _WORDS_OF_BERT},
    _SIZES,
)
_ROBERTA: Final = Family(
    ("roberta.",),
    _BERT_TABLES,
    "encoder.layer.*",
    _BERT_LAYER,
    {"classes": _TWO_LAYERS, "tokens": _OF_TOKENS, "masked_language": _WORDS_OF_ROBERTA},
    _SIZES,
)
_QUERIES: Final = "num_attention_heads*head_dim"
_KEYS: Final = "num_key_value_heads*head_dim"
_DECODER_LAYER: Final = f"""
matrix self_attn.q_proj {_QUERIES} hidden_size
matrix self_attn.k_proj {_KEYS} hidden_size
matrix self_attn.v_proj {_KEYS} hidden_size
matrix self_attn.o_proj hidden_size {_QUERIES}
matrix mlp.gate_proj intermediate_size hidden_size
matrix mlp.up_proj intermediate_size hidden_size
matrix mlp.down_proj hidden_size intermediate_size
scale input_layernorm hidden_size
scale post_attention_layernorm hidden_size
"""
_NORMED_HEADS: Final = "scale self_attn.q_norm head_dim\nscale self_attn.k_norm head_dim\n"
_BIASED_HEADS: Final = f"""
linear self_attn.q_proj {_QUERIES} hidden_size
linear self_attn.k_proj {_KEYS} hidden_size
linear self_attn.v_proj {_KEYS} hidden_size
"""
_BIASES_OF_HEADS: Final = (
    "".join(
        f"single?attention_bias self_attn.{part}_proj.bias {size}\n"
        for part, size in (("q", _QUERIES), ("k", _KEYS), ("v", _KEYS))
    )
    + "single?attention_bias self_attn.o_proj.bias hidden_size\n"
)
_BIASES: Final = f"""{_BIASES_OF_HEADS}
single?mlp_bias mlp.gate_proj.bias intermediate_size
single?mlp_bias mlp.up_proj.bias intermediate_size
single?mlp_bias mlp.down_proj.bias hidden_size
"""
"""Of a decoder whose config says so."""
_AROUND: Final = """
scale pre_feedforward_layernorm hidden_size
scale post_feedforward_layernorm hidden_size
"""


def _decoder(more: str = "", **usual: Any) -> Family:
    score = "matrix score num_labels hidden_size"
    return Family(
        ("model.",),
        "matrix embed_tokens vocab_size hidden_size\nscale norm hidden_size",
        "layers.*",
        _DECODER_LAYER + more,
        {
            "classes": score,
            "tokens": "linear score num_labels hidden_size",
            "decoder": "matrix?untied_words lm_head vocab_size hidden_size",
        },
        {"hidden_size": 4096, "num_attention_heads": 32, "num_hidden_layers": 32, **usual},
    )


_FLASH: Final = Family(
    ("roberta.",),
    "matrix embeddings.word_embeddings vocab_size hidden_size\nnorm emb_ln hidden_size",
    "encoder.layers.*",
    """
linear mixer.Wqkv 3*hidden_size hidden_size
linear mixer.out_proj hidden_size hidden_size
norm norm1 hidden_size
linear mlp.fc1 intermediate_size hidden_size
linear mlp.fc2 hidden_size intermediate_size
norm norm2 hidden_size
""",
    {"classes": _TWO_LAYERS},
    _SIZES,
)
DEBERTA_TABLES: Final = """
matrix embeddings.word_embeddings vocab_size embedding_size
norm embeddings.LayerNorm hidden_size
matrix?position_biased_input embeddings.position_embeddings max_position_embeddings embedding_size
matrix?type_vocab_size embeddings.token_type_embeddings type_vocab_size embedding_size
matrix?projected embeddings.embed_proj hidden_size embedding_size
"""
DEBERTA_USUAL: Final[Mapping[str, Any]] = {
    "max_position_embeddings": 512, "position_biased_input": True, "type_vocab_size": 0,
}  # fmt: skip
FAMILIES: Final[Mapping[str, Family]] = {
    "bert": _BERT,
    "camembert": _ROBERTA,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "electra": Family(
        ("electra.",),
        _BERT_TABLES.replace("hidden_size", "embedding_size") + _PROJECTED,
        "encoder.layer.*",
        _BERT_LAYER,
        {"classes": _TWO_LAYERS, "tokens": _OF_TOKENS},
        {**_SIZES, "embedding_size": 128, "hidden_size": 256, "intermediate_size": 1024,
         "num_attention_heads": 4},
    ),
    "mpnet": Family(
        ("mpnet.",),
        _TABLES + "matrix encoder.relative_attention_bias relative_attention_num_buckets "
        "num_attention_heads",
        "encoder.layer.*",
        "".join(f"linear attention.attn.{part} hidden_size hidden_size\n" for part in "qkvo")
        + "norm attention.LayerNorm hidden_size\n"
        + "\n".join(_BERT_REST.strip().splitlines()[2:]),
        {"classes": _TWO_LAYERS, "tokens": _OF_TOKENS, "masked_language": _WORDS_OF_ROBERTA},
        {**_SIZES, "relative_attention_num_buckets": 32},
        least={"relative_attention_num_buckets": 32},
    ),
    "distilbert": Family(
        ("distilbert.",),
        """
matrix embeddings.word_embeddings vocab_size dim
matrix embeddings.position_embeddings max_position_embeddings dim
norm embeddings.LayerNorm dim
""",
        "transformer.layer.*",
        """
linear attention.q_lin dim dim
linear attention.k_lin dim dim
linear attention.v_lin dim dim
linear attention.out_lin dim dim
norm sa_layer_norm dim
linear ffn.lin1 hidden_dim dim
linear ffn.lin2 dim hidden_dim
norm output_layer_norm dim
""",
        {
            "classes": "linear pre_classifier dim dim\nlinear classifier num_labels dim",
            "tokens": "linear classifier num_labels dim",
            "masked_language": "linear vocab_transform dim dim\nnorm vocab_layer_norm dim\n"
            "single vocab_projector.bias vocab_size\n"
            "matrix?untied_words vocab_projector vocab_size dim",
        },
        {"dim": 768, "hidden_dim": 3072, "max_position_embeddings": 512, "n_layers": 6,
         "tie_word_embeddings": True},
        count="n_layers",
    ),
    "deberta-v2": Family(
        ("deberta.",),
        f"""{DEBERTA_TABLES}
matrix?relative_attention encoder.rel_embeddings 2*relative_buckets hidden_size
norm?relative_norm encoder.LayerNorm hidden_size
named?conv_kernel_size encoder.conv.conv.weight
single?conv_kernel_size encoder.conv.conv.bias hidden_size
norm?conv_kernel_size encoder.conv.LayerNorm hidden_size
""",
        "encoder.layer.*",
        "".join(
            f"linear{part}_proj {_QUERIES} hidden_size\n"
            for part in (
                *(f" attention.self.{each}" for each in ("query", "key", "value")),
                "?own_c2p attention.self.pos_key",
                "?own_p2c attention.self.pos_query",
            )
        )
        + _BERT_REST,
        {
            "classes": "linear pooler.dense pooler_hidden_size pooler_hidden_size\n"
            "linear classifier num_labels pooler_hidden_size",
            "tokens": _OF_TOKENS,
        },
        {"hidden_size": 1536, "intermediate_size": 6144, "num_attention_heads": 24,
         "num_hidden_layers": 24, **DEBERTA_USUAL},
    ),
    "modernbert": Family(
        ("model.",),
        """
matrix embeddings.tok_embeddings vocab_size hidden_size
scale embeddings.norm hidden_size
scale final_norm hidden_size
single?norm_bias embeddings.norm.bias hidden_size
single?norm_bias final_norm.bias hidden_size
""",
        "layers.*",
        """
matrix attn.Wqkv 3*hidden_size hidden_size
single?attention_bias attn.Wqkv.bias 3*hidden_size
matrix attn.Wo hidden_size hidden_size
single?attention_bias attn.Wo.bias hidden_size
scale?layer attn_norm hidden_size
single?layer?norm_bias attn_norm.bias hidden_size
scale mlp_norm hidden_size
single?norm_bias mlp_norm.bias hidden_size
matrix mlp.Wi 2*intermediate_size hidden_size
single?mlp_bias mlp.Wi.bias 2*intermediate_size
matrix mlp.Wo hidden_size intermediate_size
single?mlp_bias mlp.Wo.bias hidden_size
""",
        {
            "classes": _DENSE_AND_NORM + _OF_TOKENS,
            "tokens": _DENSE_AND_NORM + _OF_TOKENS,
            "masked_language": _DENSE_AND_NORM
            + "matrix?untied_words decoder vocab_size hidden_size\n"
            "single?decoder_bias decoder.bias vocab_size",
        },
        {"decoder_bias": True, "hidden_size": 768, "intermediate_size": 1152,
         "num_hidden_layers": 22, "tie_word_embeddings": True},
    ),
    "qwen2": _decoder(_BIASED_HEADS, intermediate_size=22016),
    "qwen3": _decoder(_NORMED_HEADS + _BIASES_OF_HEADS, intermediate_size=22016, head_dim=128),
    "llama": _decoder(_BIASES, intermediate_size=11008),
    "mistral": _decoder(intermediate_size=14336, num_key_value_heads=8),
    "gemma": _decoder(
        _BIASES_OF_HEADS, intermediate_size=24576, hidden_size=3072, num_hidden_layers=28,
        num_attention_heads=16, num_key_value_heads=16, head_dim=256, tie_word_embeddings=True,
    ),
    "gemma2": _decoder(
        _AROUND + _BIASES_OF_HEADS, intermediate_size=9216, hidden_size=2304, num_hidden_layers=26,
        num_attention_heads=8, num_key_value_heads=4, head_dim=256, tie_word_embeddings=True,
    ),
    "gemma3_text": _decoder(
        _AROUND + _NORMED_HEADS + _BIASES_OF_HEADS, intermediate_size=9216, hidden_size=2304,
        num_hidden_layers=26, num_attention_heads=8, num_key_value_heads=4, head_dim=256,
        tie_word_embeddings=True,
    ),
    "t5": Family(
        ("transformer.",),
        "matrix shared|encoder.embed_tokens vocab_size d_model\n"
        "scale encoder.final_layer_norm d_model\n",
        "encoder.block.*.layer",
        """
matrix 0.SelfAttention.q num_heads*d_kv d_model
matrix 0.SelfAttention.k num_heads*d_kv d_model
matrix 0.SelfAttention.v num_heads*d_kv d_model
matrix 0.SelfAttention.o d_model num_heads*d_kv
matrix?!layer 0.SelfAttention.relative_attention_bias relative_attention_num_buckets num_heads
scale 0.layer_norm d_model
matrix?gated 1.DenseReluDense.wi_0 d_ff d_model
matrix?gated 1.DenseReluDense.wi_1 d_ff d_model
matrix?!gated 1.DenseReluDense.wi d_ff d_model
matrix 1.DenseReluDense.wo d_model d_ff
scale 1.layer_norm d_model
""",
        usual={"d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8,
               "relative_attention_num_buckets": 32},
        count="num_layers",
    ),
    "gte": Family(
        ("new.", "gte."),
        "matrix embeddings.word_embeddings vocab_size hidden_size\n"
        "matrix?type_vocab_size embeddings.token_type_embeddings type_vocab_size hidden_size\n"
        "norm embeddings.LayerNorm hidden_size",
        "encoder.layer.*",
        """
linear attention.qkv_proj 3*hidden_size hidden_size
linear attention.o_proj hidden_size hidden_size
norm attn_ln hidden_size
matrix mlp.up_gate_proj 2*intermediate_size hidden_size
linear mlp.down_proj hidden_size intermediate_size
norm mlp_ln hidden_size
""",
        {"classes": _OF_TOKENS, "tokens": _OF_TOKENS},
        {**_SIZES, "type_vocab_size": 1},
    ),
    "nomic_bert": Family(
        ("bert.", "nomic_bert."),
        "matrix embeddings.word_embeddings vocab_size hidden_size\nnorm emb_ln hidden_size",
        "encoder.layers.*",
        """
matrix attn.Wqkv 3*hidden_size hidden_size
matrix attn.out_proj hidden_size hidden_size
norm norm1 hidden_size
norm norm2 hidden_size
""",
        usual=_SIZES,
    ),
    "flash_roberta": _FLASH,
    "alibi_bert": Family(
        ("bert.",),
        "matrix embeddings.word_embeddings vocab_size hidden_size\n"
        "norm embeddings.LayerNorm hidden_size",
        "encoder.layer.*",
        """
linear attention.self.query hidden_size hidden_size
linear attention.self.key hidden_size hidden_size
linear attention.self.value hidden_size hidden_size
linear attention.output.dense hidden_size hidden_size
norm attention.output.LayerNorm hidden_size
matrix mlp.gated_layers|mlp.up_gated_layer 2*intermediate_size hidden_size
linear mlp.wo|mlp.down_layer hidden_size intermediate_size
""",
        usual=_SIZES,
    ),
}  # fmt: skip
