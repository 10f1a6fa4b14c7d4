"""The models that run packed: the probe's word for each family, and the same vectors either way."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from tests.support.encoder_models import (
    VOCABULARY,
    dense,
    load_folder,
    minilm,
    random_tokens,
    reference,
    text_tokens,
    write_tiny,
)
from tests.support.sameness import assert_same
from transformers import (
    AlbertConfig,
    AutoModel,
    AutoModelForTextEncoding,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    GteConfig,
    ModernBertConfig,
    MPNetConfig,
    NomicBertConfig,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
    RobertaConfig,
    T5Config,
    XLMRobertaConfig,
)

_SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "pad_token_id": 0,
}
_PACKED: dict[str, PreTrainedConfig] = {
    "bert": BertConfig(**_SHAPE),
    "xlm-roberta": XLMRobertaConfig(**{**_SHAPE, "pad_token_id": 1}, max_position_embeddings=128),
    "roberta": RobertaConfig(**{**_SHAPE, "pad_token_id": 1}, max_position_embeddings=128),
    "albert": AlbertConfig(**_SHAPE, embedding_size=16),
    "distilbert": DistilBertConfig(
        vocab_size=VOCABULARY, dim=32, n_layers=2, n_heads=4, hidden_dim=48
    ),
    "modernbert": ModernBertConfig(
        **{**_SHAPE, "num_hidden_layers": 4},
        local_attention=8,
        bos_token_id=2,
        eos_token_id=3,
        cls_token_id=2,
        sep_token_id=3,
    ),
    "gte": GteConfig(**_SHAPE),
    "nomic": NomicBertConfig(**_SHAPE),
    "qwen2": Qwen2Config(**_SHAPE, num_key_value_heads=2),
    "qwen3": Qwen3Config(**_SHAPE, num_key_value_heads=2, head_dim=8),
    "mpnet": MPNetConfig(**{**_SHAPE, "pad_token_id": 1}),
}
_PADDED: dict[str, PreTrainedConfig] = {
    "deberta-v2": DebertaV2Config(
        **_SHAPE, relative_attention=True, position_biased_input=False, pos_att_type=["p2c", "c2p"]
    ),
    "t5": T5Config(
        vocab_size=VOCABULARY,
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_heads=4,
        pad_token_id=0,
    ),
}


@pytest.mark.parametrize("family", _PACKED | _PADDED)
def test_a_family_runs_as_the_probe_says_and_answers_as_transformers_does(family, tmp_path):
    config = (_PACKED | _PADDED)[family]
    # Of a model that also decodes, published for embeddings, there is the encoder alone.
    kind = AutoModelForTextEncoding if family == "t5" else AutoModel
    folder = write_tiny(tmp_path, config, kind=kind)
    told = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 120}
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    backend = load_folder(folder)
    loaded = backend.describe()
    assert loaded.execution == ("packed" if family in _PACKED else "padded"), loaded.reason
    assert bool(loaded.reason) == (family in _PADDED)
    texts = random_tokens([40, 3, 3, 17], vocabulary=VOCABULARY)
    assert_same(dense(backend, texts), reference(folder, texts, kind))


def test_minilm_answers_as_transformers_with_mean_pooling_and_a_unit_length():
    from tests.support.encoder_models import MINILM

    from sie_server.weights.sources import resolve

    texts = text_tokens("a cat", "the quick brown fox jumps over the lazy dog", "rain " * 90)
    expected = reference(resolve(MINILM).folder, texts)
    assert_same(dense(minilm(), texts), expected / np.linalg.norm(expected, axis=1, keepdims=True))


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_half_precision_stays_within_a_thousandth_of_twice_full(dtype, tmp_path):
    from tests.support.encoder_models import DEVICE

    from sie_schemas.documents import EncodeTask, ProfileDocument, Tasks
    from sie_server.backends.backend import ModelSpec
    from sie_server.backends.encode import transformer
    from sie_server.weights.sources import Weights

    folder = write_tiny(tmp_path, _PACKED["bert"])
    profile = ProfileDocument(backend="transformer", dtype=dtype, options={"pooling": "cls"})
    spec = ModelSpec("m", "r1", Weights(folder, None), Tasks(encode=EncodeTask()), profile)
    texts = random_tokens([20, 5], vocabulary=VOCABULARY)
    half = dense(transformer.load(spec, DEVICE), texts)
    assert_same(half, reference(folder, texts, pooling="cls"), torch.bfloat16)


def test_a_model_that_comes_back_runs_as_its_first_probe_found(tmp_path):
    from tests.support.encoder_models import DEVICE

    from sie_schemas.documents import EncodeTask, ProfileDocument, Tasks
    from sie_server.backends.backend import ModelSpec
    from sie_server.backends.encode import transformer
    from sie_server.weights.sources import Weights

    folder = write_tiny(tmp_path, _PACKED["bert"])
    profile = ProfileDocument(backend="transformer", options={"pooling": "cls"})
    spec = ModelSpec("m", "r1", Weights(folder, None), Tasks(encode=EncodeTask()), profile)
    texts = random_tokens([20, 5], vocabulary=VOCABULARY)
    first = transformer.load(spec, DEVICE)
    again = transformer.load(spec, DEVICE)
    assert again.describe().execution == first.describe().execution == "packed"
    assert again.memory_bytes() == first.memory_bytes()
    assert_same(dense(again, texts), dense(first, texts))
