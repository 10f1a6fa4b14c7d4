"""Values of a config.json with which transformers fails, or answers in two ways, are refused.

They are refused where a model is added, and where one is loaded whose files changed since.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import sentence_transformers as st
import torch
import transformers as tf
from tests.support.conformance import load, save_small
from tests.support.encoder_models import fresh_device
from tests.support.small_tokenizers import small_tokenizer
from transformers.models.auto.configuration_auto import model_type_to_module_name
from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

from sie_cli.models.proposal import propose
from sie_layouts.architectures.known_types import KNOWN_TYPES
from sie_layouts.architectures.unrunnable import CAUSAL_WHERE_UNPADDED
from sie_layouts.architectures.without_texts import MORE_THAN_TEXTS, WITHOUT_TEXTS
from sie_layouts.folder import FolderFiles
from sie_layouts.inputs.tokenizer_classes import TYPES_UNSTATED
from sie_schemas.documents import ProfileDocument, Tasks
from sie_schemas.errors import OurFault
from sie_server.backends.backend import ModelSpec
from sie_server.backends.names import load_backend
from sie_server.weights.sources import Weights

_SIZES: dict[str, Any] = {
    "hidden_size": 16, "intermediate_size": 24, "max_position_embeddings": 70,
    "num_attention_heads": 2, "num_hidden_layers": 1,
}  # fmt: skip


def test_types_without_texts_are_those_whose_forward_takes_no_token_ids() -> None:
    """Read from the source: to import four hundred models takes a minute."""
    library = Path(tf.models.__path__[0])
    found, typed = set(), set()
    for kind in MODEL_MAPPING_NAMES.keys() & KNOWN_TYPES:
        named = MODEL_MAPPING_NAMES[kind]
        name = named if isinstance(named, str) else named[0]
        for file in (library / model_type_to_module_name(kind)).glob("modeling_*.py"):
            _, made, rest = file.read_text().partition(f"\nclass {name}(")
            forward = re.search(r"def forward\(\s*self,(.*?)\)\s*(?:->|:)", rest, re.DOTALL)
            own = rest.partition("\nclass ")[0]
            if made and forward and forward[0] in own and "input_ids" not in forward[1]:
                found.add(kind)
            told = forward[1] if made and forward and forward[0] in own else ""
            if "token_type_ids" in told and "pixel_values" not in told:
                typed.add(kind)
    uncounted = {
        kind
        for kind in typed - MORE_THAN_TEXTS
        if not hasattr(tf.AutoConfig.for_model(kind), "type_vocab_size")
    }
    assert uncounted == TYPES_UNSTATED
    assert found == WITHOUT_TEXTS
    assert MORE_THAN_TEXTS <= KNOWN_TYPES - WITHOUT_TEXTS


def _bert(folder: Path, kind: Any = tf.BertModel, **told: Any) -> Path:
    tokenizer = small_tokenizer("Bert", model_max_length=60)
    config = tf.BertConfig(**_SIZES, vocab_size=len(tokenizer))
    save_small(folder, kind(config), tokenizer)
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | told))
    return folder


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"model_type": "vit"}, "model_type is vit, which in transformers takes no texts"),
        ({"model_type": "perceiver"}, "is perceiver, which in transformers takes no texts"),
        ({"model_type": "layoutlmv2"}, "takes more than texts, or gives less"),
        ({"chunk_size_feed_forward": 3}, "no multiple of it"),
        ({"is_causal": True}, "looks back at a text alone, and both ways where texts are padded"),
        ({"is_causal": "no"}, "is_causal is 'no', and true or false is wanted"),
        ({"id2label": ["a", "b"]}, "an object from numbers to names is wanted"),
        ({"id2label": {"a": "b"}}, "has the key 'a', which is no number"),
        ({"id2label": {"9" * 5000: "b"}}, "9', which is no number"),
        ({"num_labels": "2"}, "num_labels is '2', and a whole number is wanted"),
        ({"num_labels": None}, "num_labels is 'None', and a whole number is wanted"),
        ({"max_position_embeddings": 0}, "max_position_embeddings is 0, by which transformers"),
    ],
)
def test_a_config_that_no_folder_is_run_with_is_refused_by_its_key(told, said, tmp_path) -> None:
    folder = _bert(tmp_path, **told)
    assert said in "; ".join(map(str, propose(FolderFiles(folder), takes_pickles=False).refusals))
    with pytest.raises(OurFault, match=re.escape(said)):
        load(folder)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"id2label": ["a", "b"]}, "an object from numbers to names is wanted"),
        ({"id2label": {"0": "a", "5": "b"}}, "labels are numbered from 0 without a gap"),
        ({"id2label": {"0": "a", "9" * 5000: "b"}}, "9', which is no number"),
        ({"id2label": {"-1": "a", "0": "b"}}, "labels are numbered from 0 without a gap"),
        ({"is_causal": True}, "looks back at a text alone"),
        ({"chunk_size_feed_forward": 3}, "no multiple of it"),
    ],
)
@pytest.mark.parametrize("head", ["tokens", "texts"])
def test_labels_that_no_pipeline_could_tell_are_refused(head, told, said, tmp_path) -> None:
    tokens = head == "tokens"
    made = tf.BertForTokenClassification if tokens else tf.BertForSequenceClassification
    folder = _bert(tmp_path, made, **told)
    found = propose(FolderFiles(folder), takes_pickles=False, task="extract")
    backend = "token-classification" if tokens else "text-classification"
    assert found.backend == backend
    assert said in "; ".join(map(str, found.refusals))
    profile = ProfileDocument(backend=backend)
    spec = ModelSpec("test/model", "r1", Weights(folder, None), Tasks(extract={}), profile)  # type: ignore[arg-type]
    with pytest.raises(OurFault, match=re.escape(said)):
        load_backend(spec, fresh_device())


@pytest.mark.parametrize("kind", ["bert", "distilbert", "modernbert", "xlm-roberta"])
@torch.inference_mode()
def test_a_type_that_padding_turns_answers_in_two_ways_in_transformers(kind) -> None:
    """The reason for the list: the library's own answer depends on what is beside a text."""
    assert kind in CAUSAL_WHERE_UNPADDED
    sizes = _SIZES | {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 24, "vocab_size": 50}
    tokens = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1}
    config = tf.AutoConfig.for_model(kind, **sizes, **tokens, sep_token_id=2)
    model = tf.AutoModel.from_config(config).eval()
    # Small enough that a word attends to more than itself.
    drawn = torch.Generator().manual_seed(1)
    for weight in model.parameters():
        if weight.ndim > 1:
            weight.normal_(std=0.3, generator=drawn)
    model.config.is_causal = True
    ids = torch.tensor([[5, 6, 7], [8, 9, 0]])
    alone = model(ids[1:, :2], attention_mask=torch.ones(1, 2)).last_hidden_state[0]
    padded = model(ids, attention_mask=(ids != 0).long()).last_hidden_state[1, :2]
    assert (alone - padded).abs().max() > 1e-3


def test_a_longformer_s_parts_divide_its_window(tmp_path) -> None:
    tokenizer = small_tokenizer("Roberta", model_max_length=60)
    config = tf.LongformerConfig(
        **_SIZES, vocab_size=len(tokenizer), pad_token_id=1, attention_window=[8],
        chunk_size_feed_forward=4,
    )  # fmt: skip
    folder = save_small(tmp_path, tf.LongformerModel(config), tokenizer)
    assert not propose(FolderFiles(folder), takes_pickles=False).refusals
    assert load(folder).describe().dims == {"dense": 16}
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"chunk_size_feed_forward": 3}))
    said = "chunk_size_feed_forward is 3: transformers reads 8 tokens at a time"
    assert said in str(propose(FolderFiles(folder), takes_pickles=False).refusals[0])
    with pytest.raises(OurFault, match=said):
        load(folder)


def test_heads_that_share_no_whole_number_of_keys_are_refused(tmp_path) -> None:
    tokenizer = small_tokenizer("Qwen2", model_max_length=60)
    config = tf.Qwen2Config(
        **_SIZES | {"num_attention_heads": 4}, num_key_value_heads=2, vocab_size=len(tokenizer)
    )
    folder = save_small(tmp_path, tf.Qwen2Model(config), tokenizer)
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"num_key_value_heads": 3}))
    said = "num_key_value_heads is 3, of which 4 heads are no multiple"
    assert said in str(propose(FolderFiles(folder), takes_pickles=False).refusals[0])
    with pytest.raises(OurFault, match=said):
        load(folder)


def test_a_family_that_reads_no_key_heads_may_name_any_number_of_them(tmp_path) -> None:
    tokenizer = small_tokenizer("Bert", model_max_length=60)
    config = tf.BertConfig(**_SIZES | {"num_attention_heads": 4}, vocab_size=len(tokenizer))
    folder = save_small(tmp_path, tf.BertModel(config), tokenizer)
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"num_key_value_heads": 3}))
    assert not propose(FolderFiles(folder), takes_pickles=False).refusals
    assert load(folder).describe().dims == {"dense": 16}


def test_a_model_whose_positions_are_none_is_refused_where_the_reference_cuts_nothing(tmp_path):
    tokenizer = small_tokenizer("Bert", model_max_length=8)
    sizes = _SIZES | {"pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2}
    config = tf.ModernBertConfig(**sizes, vocab_size=len(tokenizer))
    folder = save_small(tmp_path, tf.ModernBertModel(config), tokenizer)
    file = folder / "config.json"
    told = json.loads(file.read_text())
    file.write_text(json.dumps(told | {"max_position_embeddings": 0}))
    reference = st.SentenceTransformer(str(folder), device="cpu")
    assert reference.preprocess(["the cat " * 20])["input_ids"].shape[1] > 40
    assert "is 0, by which" in str(propose(FolderFiles(folder), takes_pickles=False).refusals[0])
    with pytest.raises(OurFault, match="max_position_embeddings is 0"):
        load(folder)
