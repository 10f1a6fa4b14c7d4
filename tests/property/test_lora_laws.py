"""Laws of LoRA: what is applied in the hot path is what peft computes."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, PeftModel, get_peft_model
from tests.support.encoder_models import (
    ADAPTERS,
    MINILM,
    VOCABULARY,
    assert_same,
    dense,
    load_folder,
    minilm,
    random_tokens,
    text_tokens,
    write_tiny,
)
from transformers import AutoModel, BertConfig

from sie_schemas.jobs import AdapterPin
from sie_server.backend import Backend
from sie_server.sources import Weights, resolve

# peft reads a name of transformers that is on its way out.
# And a pattern that no drawn target meets is a case that is wanted here.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning"),
    pytest.mark.filterwarnings("ignore:The following .*_pattern keys:RuntimeWarning"),
]

_TARGETS = ["query", "key", "value", "attention.output.dense", "intermediate.dense"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Backend]:
    """A random BERT: its folder, and the same loaded as a backend."""
    folder = tmp_path_factory.mktemp("tiny")
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=64,
    )
    write_tiny(folder, config)
    return folder, load_folder(folder)


@settings(max_examples=15)
@given(
    rank=st.integers(1, 6),
    alpha=st.integers(1, 32),
    stabilised=st.booleans(),
    targets=st.sets(st.sampled_from(_TARGETS), min_size=1),
    ranks=st.dictionaries(st.sampled_from([r"layer\.0\..*query", "value"]), st.integers(1, 5)),
    alphas=st.dictionaries(st.sampled_from(["query", "1.attention.self.key"]), st.integers(1, 40)),
)
def test_an_adapter_changes_vectors_exactly_as_peft_does(
    tiny, rank, alpha, stabilised, targets, ranks, alphas
):
    folder, backend = tiny
    torch.manual_seed(11)
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        use_rslora=stabilised,
        target_modules=sorted(targets),
        rank_pattern=ranks,
        alpha_pattern=alphas,
        init_lora_weights=False,
    )
    reference = get_peft_model(AutoModel.from_pretrained(folder), config).eval()
    with tempfile.TemporaryDirectory() as saved:
        _save(reference, saved)
        backend.load_adapter(AdapterPin("random", "1"), Weights(Path(saved), None))
    texts = random_tokens([7, 3, 12], vocabulary=VOCABULARY)
    assert_same(dense(backend, texts, "random"), _alone(reference, texts))


@pytest.mark.parametrize("name", ["legal", "medical"])
def test_the_demonstration_adapters_answer_as_under_peft_and_not_as_the_base(name):
    base = AutoModel.from_pretrained(resolve(MINILM).folder)
    reference = PeftModel.from_pretrained(base, str(ADAPTERS / name)).eval()
    texts = text_tokens("a lease ends at midnight", "the patient is short of breath")
    found = dense(minilm(), texts, name)
    expected = _alone(reference, texts)
    assert_same(found, expected / np.linalg.norm(expected, axis=1, keepdims=True))
    assert np.abs(found - dense(minilm(), texts)).max() > 0.01


def _save(model: PeftModel, folder: str) -> None:
    model.peft_config["default"].base_model_name_or_path = None
    model.save_pretrained(folder, save_embedding_layers=False)


@torch.inference_mode()
def _alone(model: PeftModel, texts) -> np.ndarray:
    """Mean-pooled vectors, each text by itself."""
    vectors = []
    for text in texts:
        ids = torch.from_numpy(np.frombuffer(text.ids, "<i4").astype(np.int64))[None]
        hidden = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        vectors.append(hidden[0].mean(dim=0).numpy())
    return np.stack(vectors)
