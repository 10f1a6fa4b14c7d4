"""Sparse vectors equal to sentence-transformers' SparseEncoder on the same files, or a refusal.

Each row builds a small random model with the reference, which saves it; then both answer the same
texts: alone, in a mixed batch, packed and padded, through the sidecar's tokens.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import sentence_transformers as st
import torch
import transformers as tf
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from sentence_transformers.sparse_encoder.modules import SparseAutoEncoder, SpladePooling
from tests.support.conformance import TEXTS, Answerer, Call, assert_as_reference, load, save_small
from tests.support.small_tokenizers import small_tokenizer

from sie_schemas.errors import OurFault

WIDTH = 16
_SIZES: dict[str, Any] = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 66,
}
_KINDS: dict[str, tuple[type, type, str, dict[str, Any]]] = {
    "bert": (tf.BertForMaskedLM, tf.BertConfig, "Bert", _SIZES),
    "distilbert": (
        tf.DistilBertForMaskedLM,
        tf.DistilBertConfig,
        "DistilBert",
        {"dim": WIDTH, "n_layers": 2, "n_heads": 2, "hidden_dim": 24},
    ),
    "xlm-roberta": (tf.XLMRobertaForMaskedLM, tf.XLMRobertaConfig, "XLMRoberta", _SIZES),
    "modernbert": (
        tf.ModernBertForMaskedLM,
        tf.ModernBertConfig,
        "Roberta",
        {**_SIZES, "pad_token_id": 1, "cls_token_id": 0, "sep_token_id": 2, "local_attention": 8},
    ),
}
_CALLS: Mapping[Call, tuple[str, ...]] = {"document": TEXTS}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Masked-language models, as transformers saves them: the output tied to the embeddings."""
    made = {}
    for name, (kind, config, family, sizes) in _KINDS.items():
        tokenizer = small_tokenizer(family, model_max_length=40)
        model = kind(config(vocab_size=len(tokenizer), **sizes))
        made[name] = save_small(tmp_path_factory.mktemp(name), model, tokenizer)
    return made


def _require_same(folder: Path, **profile: Any) -> None:
    reference = st.SparseEncoder(str(folder), device="cpu")
    packed, padded = (
        Answerer(load(folder, outputs=("sparse",), padded=padded, **profile))
        for padded in (False, True)
    )
    assert (packed.loaded.execution, padded.loaded.execution) == ("packed", "padded")
    assert_as_reference(reference, _CALLS, packed, padded)


@pytest.mark.parametrize("name", _KINDS)
def test_a_bare_masked_language_model_needs_no_option(folders, name):
    _require_same(folders[name])


@pytest.mark.parametrize(
    "options", [{"pooling_strategy": "sum"}, {"activation_function": "log1p_relu"}]
)
def test_a_splade_folder_pools_as_it_says(folders, tmp_path, options):
    one = Transformer(str(folders["bert"]), transformer_task="fill-mask")
    model = st.SparseEncoder(modules=[one, SpladePooling(**options)], device="cpu")
    model.save(str(tmp_path / "model"), create_model_card=False)
    _require_same(tmp_path / "model")


def test_a_splade_folder_of_an_older_release_names_its_classes_as_they_were(folders, tmp_path):
    """As naver/splade-v3 is published."""
    folder = tmp_path / "model"
    one = Transformer(str(folders["distilbert"]), transformer_task="fill-mask")
    st.SparseEncoder(modules=[one, SpladePooling()], device="cpu").save(
        str(folder), create_model_card=False
    )
    home = "sentence_transformers.sparse_encoder.models"
    modules = json.loads((folder / "modules.json").read_text())
    for module, name in zip(modules, ("MLMTransformer", "SpladePooling"), strict=True):
        module["type"] = f"{home}.{name}"
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "sentence_bert_config.json").write_text(
        '{"max_seq_length": 30, "do_lower_case": false}'
    )
    _require_same(folder)


def test_at_most_so_many_entries_are_kept(folders, tmp_path):
    one = Transformer(str(folders["bert"]), transformer_task="fill-mask")
    model = st.SparseEncoder(modules=[one, SpladePooling()], device="cpu", max_active_dims=7)
    model.save(str(tmp_path / "model"), create_model_card=False)
    _require_same(tmp_path / "model")


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("kept", [None, 3, 9])
def test_an_auto_encoder_of_dense_vectors_keeps_its_greatest(folders, tmp_path, normalize, kept):
    torch.manual_seed(2)
    encoder = SparseAutoEncoder(WIDTH, hidden_dim=40, k=5, k_aux=8, normalize=normalize)
    with torch.no_grad():
        for weight in encoder.parameters():
            weight.copy_(torch.randn(weight.shape))
    one = Transformer(str(folders["bert"]))
    model = st.SparseEncoder(
        modules=[one, Pooling(WIDTH, "mean"), encoder], device="cpu", max_active_dims=kept
    )
    model.save(str(tmp_path / "model"), create_model_card=False)
    _require_same(tmp_path / "model")


def test_dense_vectors_of_a_sparse_folder_are_refused_and_the_other_way_round(folders, tmp_path):
    one = Transformer(str(folders["bert"]), transformer_task="fill-mask")
    sparse = tmp_path / "sparse"
    st.SparseEncoder(modules=[one, SpladePooling()], device="cpu").save(
        str(sparse), create_model_card=False
    )
    with pytest.raises(OurFault, match=r"modules.json makes sparse vectors, and dense ones are"):
        load(sparse)
    dense = tmp_path / "dense"
    one = Transformer(str(folders["bert"]))
    st.SentenceTransformer(modules=[one, Pooling(WIDTH)], device="cpu").save(
        str(dense), create_model_card=False
    )
    with pytest.raises(OurFault, match=r"modules.json makes dense vectors, and sparse ones are"):
        load(dense, outputs=("sparse",))


def test_sparse_vectors_of_a_model_without_a_vocabulary_head_are_refused(tmp_path):
    tokenizer = small_tokenizer("Bert")
    config = tf.BertConfig(vocab_size=len(tokenizer), **_SIZES)
    folder = save_small(tmp_path / "model", tf.BertModel(config), tokenizer)
    with pytest.raises(OurFault, match=r"config.json: architectures is \['BertModel'\]"):
        load(folder, outputs=("sparse",))
