"""BigBird reads short texts by full attention, and for good from then on: ours forgets the last."""

import json
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from tests.support.conformance import Answerer, load, save_small
from tests.support.small_tokenizers import small_tokenizer

from sie_layouts.extraction.any_labels import read_gliclass, read_gliner
from sie_layouts.folder import FolderFiles
from sie_schemas.errors import OurFault
from sie_server.backends.extraction.libraries import own_library_model
from sie_server.tolerances import disagreement
from sie_server.weights.sources import Weights

_SHORT = "the cat sat on the mat"
_LONG = "one two three four five six seven eight nine ten the red house " * 9


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Its blocks are so small that a text of 33 tokens is read by them."""
    made = tmp_path_factory.mktemp("sparse")
    tokenizer = small_tokenizer("Bert", model_max_length=120)
    config = tf.BigBirdConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=24, max_position_embeddings=130, attention_type="block_sparse",
        block_size=4, num_random_blocks=1, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        sep_token_id=2,
    )  # fmt: skip
    model = tf.BigBirdModel(config, add_pooling_layer=False)
    save_small(made / "plain", model, tokenizer)
    whole = SentenceTransformer(
        modules=[Transformer(str(made / "plain")), Pooling(16, "mean")], device="cpu"
    )
    whole.save(str(made / "saved"), create_model_card=False)
    return made / "saved"


def test_an_answer_depends_on_no_text_that_was_read_before_or_beside(folder):
    def fresh(text: str) -> torch.Tensor:
        # Loaded for each: the library's own answer depends on what it read before.
        model = SentenceTransformer(str(folder), device="cpu")
        return torch.from_numpy(model.encode([text]))

    expected = {text: fresh(text) for text in (_SHORT, _LONG)}
    used = SentenceTransformer(str(folder), device="cpu")
    used.encode([_SHORT])
    by_full = torch.from_numpy(used.encode([_LONG]))
    assert disagreement(by_full, expected[_LONG], torch.float32), "the two attentions are alike"
    backend = load(folder)
    answerer = Answerer(backend)
    for asked in ([_LONG], [_SHORT], [_LONG], [_SHORT, _LONG, _SHORT], [_LONG, _SHORT]):
        found = torch.from_numpy(np.array(answerer.vectors(asked)))
        wanted = torch.cat([expected[text] for text in asked])
        assert not disagreement(found, wanted, torch.float32), [len(text) for text in asked]
    assert "another attention" in answerer.loaded.reason


@pytest.mark.parametrize("attention", ["block_sparse", None, "original_full"])
def test_an_authors_library_is_given_no_such_encoder(tmp_path, attention):
    """Its own models are run as they are."""
    encoder: dict[str, Any] = {
        "model_type": "big_bird",
        "hidden_size": 16,
        "num_attention_heads": 2,
    }
    encoder |= {"num_hidden_layers": 1, "intermediate_size": 24, "vocab_size": 40}
    encoder |= {"attention_type": attention} if attention else {}
    wanted = attention != "original_full"
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "GLiClass", "encoder_config": encoder})
    )
    (tmp_path / "gliner_config.json").write_text(json.dumps({"encoder_config": encoder}))
    for read in (read_gliclass, read_gliner):
        said = [str(each) for each in read(FolderFiles(tmp_path)).refusals]
        assert any("encoder_config.attention_type" in each for each in said) == wanted, read
    model = tf.BigBirdModel(tf.BigBirdConfig(**encoder))
    if wanted:
        with pytest.raises(OurFault, match="write original_full"):
            own_library_model(model, Weights(tmp_path, None))
    else:
        own_library_model(model, Weights(tmp_path, None))
