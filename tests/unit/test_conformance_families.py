"""Families of transformers: a small random model of each answers as sentence-transformers does.

What a family needs of its own (positions, windows, masks, grouped heads, an encoder without its
decoder) shows here, packed where the probe finds it equal and padded where not.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sentence_transformers as st
import torch
import transformers as tf
from sentence_transformers.base.modules import Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from tests.support.conformance import TEXTS, Answerer, assert_as_reference, load, save_small
from tests.support.sameness import assert_same
from tests.support.small_tokenizers import small_tokenizer

WIDTH = 16
_SIZES: dict[str, Any] = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}
_GROUPED = {**_SIZES, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}


@dataclass(frozen=True)
class Family:
    """`config` of a model, with the vocabulary's size filled in, and the tokenizer's class."""

    name: str
    config: Callable[..., tf.PreTrainedConfig]
    tokenizer: str
    options: Mapping[str, Any] = field(default_factory=dict)
    pooling: str = "mean"
    packed: bool = True
    limit: int = 40


def _sized(name: str, **options: Any) -> Callable[..., tf.PreTrainedConfig]:
    kind = getattr(tf, f"{name}Config")
    return lambda size: kind(vocab_size=size, **options)


_POSITIONS = {"max_position_embeddings": 66}
FAMILIES = [
    Family("bert", _sized("Bert", **_SIZES, **_POSITIONS), "Bert"),
    Family("roberta", _sized("Roberta", **_SIZES, **_POSITIONS), "Roberta"),
    Family("camembert", _sized("Camembert", **_SIZES, **_POSITIONS), "XLMRoberta"),
    Family(
        "xlm-roberta", _sized("XLMRoberta", **_SIZES, **_POSITIONS), "XLMRoberta", pooling="cls"
    ),
    Family("mpnet", _sized("MPNet", **_SIZES, **_POSITIONS), "MPNet"),
    Family(
        "distilbert",
        _sized("DistilBert", dim=WIDTH, n_layers=2, n_heads=2, hidden_dim=24, **_POSITIONS),
        "DistilBert",
    ),
    Family("electra", _sized("Electra", **_SIZES, embedding_size=8, **_POSITIONS), "Bert"),
    Family(
        "deberta-v2",
        _sized(
            "DebertaV2",
            **_SIZES,
            **_POSITIONS,
            relative_attention=True,
            position_buckets=8,
            pos_att_type=["p2c", "c2p"],
            share_att_key=True,
            norm_rel_ebd="layer_norm",
            type_vocab_size=0,
        ),
        "DebertaV2",
        packed=False,
    ),
    Family("albert", _sized("Albert", **_SIZES, **_POSITIONS, embedding_size=8), "Albert"),
    Family(
        "modernbert",
        _sized(
            "ModernBert",
            **_SIZES,
            **_POSITIONS,
            local_attention=8,
            global_attn_every_n_layers=2,
            pad_token_id=1,
            bos_token_id=0,
            eos_token_id=2,
            cls_token_id=0,
            sep_token_id=2,
        ),
        "Roberta",
        pooling="cls",
    ),
    Family("gte", _sized("Gte", **_SIZES, **_POSITIONS), "Bert", pooling="cls"),
    Family("nomic_bert", _sized("NomicBert", **_SIZES, **_POSITIONS), "Bert"),
    Family(
        "jina_embeddings_v3",
        _sized("JinaEmbeddingsV3", **_SIZES, **_POSITIONS, pad_token_id=1),
        "XLMRoberta",
    ),
    Family("eurobert", _sized("EuroBert", **_GROUPED, **_POSITIONS, pad_token_id=0), "Llama"),
    Family(
        "qwen2",
        _sized("Qwen2", **_GROUPED, **_POSITIONS, pad_token_id=0),
        "Qwen2",
        pooling="lasttoken",
    ),
    Family(
        "qwen3",
        _sized("Qwen3", **_GROUPED, **_POSITIONS, pad_token_id=0),
        "Qwen2",
        pooling="lasttoken",
    ),
    Family(
        "qwen2 in both directions",
        _sized("Qwen2", **_GROUPED, **_POSITIONS, pad_token_id=0, is_causal=False),
        "Qwen2",
    ),
    Family(
        "gemma3 in both directions",
        _sized(
            "Gemma3Text",
            **_GROUPED,
            **_POSITIONS,
            pad_token_id=0,
            use_bidirectional_attention=True,
            sliding_window=9,
            layer_types=["sliding_attention", "full_attention"],
        ),
        "Gemma",
    ),
    Family(
        "mistral",
        _sized("Mistral", **_GROUPED, **_POSITIONS, sliding_window=9, pad_token_id=0),
        "Llama",
        pooling="lasttoken",
    ),
    Family(
        "llama",
        _sized("Llama", **_GROUPED, **_POSITIONS, pad_token_id=0),
        "Llama",
        pooling="weightedmean",
    ),
    Family(
        "llama in both directions",
        _sized("Llama", **_GROUPED, **_POSITIONS, pad_token_id=0, is_causal=False),
        "Llama",
    ),
    Family(
        "t5",
        _sized("T5", d_model=WIDTH, d_kv=8, d_ff=24, num_layers=2, num_heads=2),
        "T5",
        packed=False,
    ),
    # The numbers of this activation stay bfloat16 in a model that is loaded as float32.
    Family("bert of xielu", _sized("Bert", **_SIZES, **_POSITIONS, hidden_act="xielu"), "Bert"),
    Family(
        "apertus",
        _sized("Apertus", **_GROUPED, **_POSITIONS, pad_token_id=0),
        "Llama",
        pooling="lasttoken",
    ),
    # What stands beside a text changes these even where it is padding: each runs by itself.
    Family("convbert", _sized("ConvBert", **_SIZES, **_POSITIONS), "Bert", packed=False),
    Family("fnet", _sized("FNet", **_SIZES, **_POSITIONS), "Albert", packed=False),
    Family(
        "mobilebert",
        _sized("MobileBert", **_SIZES, **_POSITIONS, embedding_size=16, intra_bottleneck_size=16),
        "Bert",
        packed=False,
    ),
    Family("nystromformer", _sized("Nystromformer", **_SIZES, **_POSITIONS), "Bert", packed=False),
]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_family_answers_as_the_reference(family, tmp_path: Path):
    tokenizer = small_tokenizer(family.tokenizer, **family.options)
    model = tf.AutoModel.from_config(family.config(len(tokenizer)))
    plain = save_small(tmp_path / "plain", model, tokenizer)
    one = Transformer(str(plain), max_seq_length=family.limit)
    pooled: Any = family.pooling
    modules = [one, Pooling(WIDTH, pooled), Normalize()]
    folder = tmp_path / "model"
    st.SentenceTransformer(modules=modules, device="cpu").save(str(folder), create_model_card=False)
    reference = st.SentenceTransformer(str(folder), device="cpu")
    chosen = Answerer(load(folder))
    assert chosen.loaded.execution == ("packed" if family.packed else "padded"), (
        chosen.loaded.reason
    )
    others = [Answerer(load(folder, padded=True))] if family.packed else []
    assert_as_reference(reference, {"document": TEXTS}, chosen, *others)


def test_layers_that_differ_answer_as_transformers_itself_has_them(tmp_path: Path):
    tokenizer = small_tokenizer("Llama")
    sizes = {**_SIZES, "hidden_size": 32, "num_attention_heads": 4, "head_dim": 64}
    config = tf.AutoConfig.for_model("neomme", vocab_size=len(tokenizer), **sizes)
    assert len({each.sliding_window for each in config.per_layer_config}) > 1
    folder = save_small(tmp_path, tf.AutoModel.from_config(config), tokenizer)
    given = tokenizer(TEXTS[0], return_tensors="pt")
    with torch.no_grad():
        states = tf.AutoModel.from_pretrained(folder)(**given).last_hidden_state
    expected = states[0].mean(dim=0).numpy()
    assert_same(Answerer(load(folder)).vectors(TEXTS[:1])[0], expected)
