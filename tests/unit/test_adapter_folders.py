"""Adapters as libraries save them: the library's own answers over a model, or a refusal by name."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentence_transformers as st
import torch
import transformers as tf
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from tests.support.conformance import TEXTS, Answerer, load, save_small
from tests.support.sameness import assert_same
from tests.support.scored import write_json
from tests.support.small_tokenizers import small_tokenizer

from sie_cli.models.proposal import propose
from sie_layouts.folder import FolderFiles
from sie_schemas import ipc
from sie_schemas.errors import OurFault
from sie_schemas.jobs import AdapterPin
from sie_server.weights.sources import Weights

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

_PIN = AdapterPin("tuned", "1")
_SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 70,
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as sentence-transformers saves it."""
    folder = tmp_path_factory.mktemp("adapters")
    tokenizer = small_tokenizer("Bert", model_max_length=40)
    config = tf.BertConfig(vocab_size=len(tokenizer), **_SIZES)
    one = Transformer(str(save_small(folder / "plain", tf.BertModel(config), tokenizer)))
    torch.manual_seed(5)
    modules = [one, Pooling(16, "mean"), Dense(16, 8), Normalize()]
    model = st.SentenceTransformer(modules=modules, prompts={"query": "one: "}, device="cpu")
    model.save(str(folder / "base"), create_model_card=False)
    return folder / "base"


@pytest.fixture
def tuned(base: Path, tmp_path: Path) -> Path:
    """An adapter of it, saved by the same library."""
    model = st.SentenceTransformer(str(base), device="cpu")
    torch.manual_seed(11)
    model.add_adapter(
        LoraConfig(r=3, lora_alpha=6, target_modules=["query", "dense"], init_lora_weights=False)
    )
    model.save(str(tmp_path / "tuned"), create_model_card=False)
    return tmp_path / "tuned"


def _adapted(base: Path, adapter: Path) -> Answerer:
    answerer = Answerer(load(base))
    answerer.backend.load_adapter(_PIN, Weights(adapter, None))
    return answerer


def test_an_adapter_that_sentence_transformers_saved_answers_as_that_library(base, tuned):
    found = propose(FolderFiles(tuned), takes_pickles=False)
    assert (found.kind, found.refusals) == ("adapter", ())
    answerer = _adapted(base, tuned)
    inputs = tuple(answerer.inputs(TEXTS, "document"))
    batch = ipc.RunBatch(id=1, model_revision="r1", operation="encode", inputs=inputs, adapter=_PIN)
    answers = answerer.backend.run(batch)
    assert isinstance(answers, ipc.DenseAnswers)
    ours = np.frombuffer(answers.values, "<f4").reshape(len(TEXTS), answers.dim)
    reference = st.SentenceTransformer(str(tuned), device="cpu")
    expected = np.stack([reference.encode([text])[0] for text in TEXTS])
    assert_same(ours, expected)
    assert np.abs(ours - answerer.vectors(TEXTS)).max() > 1e-2


def _other_pooling(folder: Path) -> None:
    write_json(folder / "1_Pooling/config.json", pooling_mode="cls")


def _other_prompt(folder: Path) -> None:
    write_json(folder / "config_sentence_transformers.json", prompts={"query": "two: "})


def _shorter(folder: Path) -> None:
    write_json(folder / "tokenizer_config.json", model_max_length=12)


def _trained_dense(folder: Path) -> None:
    file = folder / "2_Dense/model.safetensors"
    save_file({name: one + 0.1 for name, one in load_file(file).items()}, file)


def _not_normal(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps(modules[:-1]))


def _unknown(folder: Path) -> None:
    write_json(folder / "1_Pooling/config.json", weighs=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_other_pooling, "document 1 modes 0 is 'cls' there, and 'mean' of the model"),
        (_other_prompt, "prompts query is 'two: ' there, and 'one: ' of the model"),
        (_shorter, "document 0 text tokens_max is 12 there, and 40 of the model"),
        (_trained_dense, "document 2 file is"),
        (_not_normal, "document 3 is None there, and 'NormalizeStep' of the model"),
        (_unknown, "1_Pooling/config.json: weighs is true"),
    ],
)
def test_steps_beside_an_adapter_that_are_not_its_models_are_refused(base, tuned, change, said):
    change(tuned)
    with pytest.raises(OurFault, match="was saved with steps of its own") as refused:
        _adapted(base, tuned)
    assert said in refused.value.message
    assert refused.value.code == "ADAPTER_LOAD_FAILED"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"target_modules": ["dense"]}, "self.query, which adapter_config.json does not target"),
        ({"target_modules": ".*query"}, "does not target"),
        ({"exclude_modules": ["query"]}, "does not target"),
        ({"layers_to_transform": [1]}, "layer.0.attention.output.dense, which"),
        ({"target_modules": "(a+)+"}, "could take for ever"),
        ({"kasa_config": {}}, "kasa_config is a key that is not known here"),
        ({"r": None}, "r is None, and a number is wanted"),
    ],
)
def test_an_adapter_that_peft_would_put_elsewhere_is_refused_when_added(base, tuned, change, said):
    """It leaves out what the config does not target; all tensors were applied, without a word."""
    write_json(tuned / "adapter_config.json", **change)
    assert said in str(propose(FolderFiles(tuned), takes_pickles=False).refusals[0])
    with pytest.raises(OurFault) as refused:
        _adapted(base, tuned)
    assert said in refused.value.message


@pytest.mark.parametrize(
    "targets",
    [
        {"target_modules": r".*layer\.[0-1]\.attention\.self\.(query|key)"},
        {"target_modules": ["query", "key"], "layers_to_transform": 1, "layers_pattern": "layer"},
        {"target_modules": "all-linear", "exclude_modules": ["pooler.dense"]},
    ],
)
def test_an_adapter_that_peft_saved_targets_its_own_tensors(base, tmp_path, targets):
    model = st.SentenceTransformer(str(base), device="cpu")
    model.add_adapter(LoraConfig(r=2, **targets))
    model.save(str(tmp_path / "tuned"), create_model_card=False)
    assert propose(FolderFiles(tmp_path / "tuned"), takes_pickles=False).refusals == ()


def test_a_model_with_an_adapter_inside_its_folder_is_refused(base, tuned, tmp_path):
    """Its library would put it on, which no revision and no request names."""
    for name in ("config.json", "model.safetensors"):
        (tuned / name).write_bytes((base / name).read_bytes())
    (refusal,) = propose(FolderFiles(tuned), takes_pickles=False).refusals
    assert "beside the weights of a whole model" in str(refusal)
    with pytest.raises(OurFault, match=r"adapter_config\.json"):
        load(tuned)


_MORE: dict[str, Any] = {
    "use_dora": True,
    "modules_to_save": ["classifier"],
    "bias": "lora_only",
    "init_lora_weights": "pissa",
    "peft_type": "LOHA",
    "a_later_key": 1,
}


@pytest.mark.parametrize("key", _MORE)
def test_an_adapter_that_is_more_is_refused_before_anything_is_written(tuned, key):
    write_json(tuned / "adapter_config.json", **{key: _MORE[key]})
    (refusal,) = propose(FolderFiles(tuned), takes_pickles=False).refusals
    assert refusal.source == f"adapter_config.json: {key}"


def test_a_pickled_adapter_of_a_folder_is_refused_and_one_of_a_hub_is_converted(tuned):
    (tuned / "adapter_model.safetensors").rename(tuned / "adapter_model.bin")
    (refusal,) = propose(FolderFiles(tuned), takes_pickles=False).refusals
    assert "is a pickle" in str(refusal)
    assert propose(FolderFiles(tuned), takes_pickles=True).refusals == ()
