"""The tensors of further families, most of them those of a known one under another name.

*pure.* Lines as in `families`.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from sie_layouts.architectures.tensors.families import FAMILIES, Family

__all__ = ["KIN"]

_BERT: Final = FAMILIES["bert"]
_ROBERTA: Final = FAMILIES["roberta"]
_T5: Final = FAMILIES["t5"]
_LLAMA: Final = FAMILIES["llama"]
_DEBERTA: Final[Mapping[str, Any]] = {
    "hidden_size": 768, "intermediate_size": 3072, "max_position_embeddings": 512,
    "num_attention_heads": 12, "num_hidden_layers": 12,
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
        # Of the layers in a group the first: a group has as many as its config says.
        "encoder.albert_layer_groups.*.albert_layers.0",
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
         "max_position_embeddings": 512, "num_attention_heads": 64, "num_hidden_groups": 1,
         "type_vocab_size": 2},
        count="num_hidden_groups",
    ),
    "data2vec-text": replace(
        _ROBERTA,
        prefixes=("data2vec_text.",),
    ),
    "deberta": Family(
        ("deberta.",),
        "matrix embeddings.word_embeddings vocab_size embedding_size\n"
        "norm embeddings.LayerNorm hidden_size",
        "encoder.layer.*",
        """
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
    "ernie": replace(_BERT, prefixes=("ernie.",)),
    # It has no class for labels.
    "granite": replace(_llama(), heads={"decoder": _LLAMA.heads["decoder"]}),
    "layoutlm": replace(_BERT, prefixes=("layoutlm.",)),
    "mt5": replace(_T5, usual={**_T5.usual, "d_ff": 1024, "num_layers": 8, "num_heads": 6}),
    "smollm3": _llama(
        hidden_size=2048, intermediate_size=11008, num_attention_heads=16, num_hidden_layers=36,
        num_key_value_heads=4, tie_word_embeddings=True,
    ),
    "umt5": replace(_T5, usual={**_T5.usual, "d_ff": 1024, "num_layers": 8, "num_heads": 6}),
}  # fmt: skip
