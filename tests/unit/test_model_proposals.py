"""A repository or folder says what it is: by the files that the reference libraries write."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import sentence_transformers as st
import torch
import transformers as tf
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from sentence_transformers import MultiVectorEncoder
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from sentence_transformers.sparse_encoder.modules import SpladePooling
from tests.support.conformance import save_small
from tests.support.picture_models import save_clip, save_siglip_1
from tests.support.small_tokenizers import small_tokenizer

from sie_cli.models.catalog_changes import judge, operation_of
from sie_cli.models.proposal import Proposal, propose, weight_files
from sie_layouts.folder import FolderFiles

_SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 66,
}


def _saved(folder: Path, kind: Any, **more: Any) -> Path:
    tokenizer = small_tokenizer("Bert", model_max_length=40)
    return save_small(
        folder, kind(tf.BertConfig(vocab_size=len(tokenizer), **_SIZES, **more)), tokenizer
    )


def _vectors(folder: Path) -> None:
    plain = _saved(folder.with_name("plain"), tf.BertModel)
    modules = [Transformer(str(plain), max_seq_length=24), Pooling(16, "cls"), Normalize()]
    prompts = {"query": "find: ", "document": ""}
    st.SentenceTransformer(modules=modules, prompts=prompts, device="cpu").save(str(folder))


def _scores(folder: Path) -> None:
    plain = _saved(folder.with_name("plain"), tf.BertForSequenceClassification, num_labels=1)
    st.CrossEncoder(str(plain), device="cpu").save_pretrained(str(folder))


def _sparse(folder: Path) -> None:
    plain = _saved(folder.with_name("plain"), tf.BertForMaskedLM)
    one = Transformer(str(plain), transformer_task="fill-mask")
    st.SparseEncoder(modules=[one, SpladePooling()], device="cpu").save(str(folder))


def _token_vectors(folder: Path) -> None:
    one = Transformer(str(_saved(folder.with_name("plain"), tf.BertModel)))
    dense = Dense(
        16,
        8,
        bias=False,
        activation_function=torch.nn.Identity(),
        module_input_name="token_embeddings",
    )
    unit = Normalize(module_input_name="token_embeddings")
    steps = [one, dense, MultiVectorMask(), unit]
    MultiVectorEncoder(modules=steps, device="cpu").save(str(folder), create_model_card=False)


def _entities(folder: Path) -> None:
    _saved(folder, tf.BertForTokenClassification, num_labels=3)


def _classes(folder: Path) -> None:
    _saved(folder, tf.BertForSequenceClassification, num_labels=2)


def _entails(folder: Path) -> None:
    labels = {0: "entailment", 1: "not_entailment"}
    _saved(folder, tf.BertForSequenceClassification, id2label=labels)


def _adapter(folder: Path) -> None:
    base = _saved(folder.with_name("plain"), tf.BertModel)
    tuned = get_peft_model(
        tf.AutoModel.from_pretrained(base), LoraConfig(r=2, target_modules=["query"])
    )
    tuned.save_pretrained(str(folder))


_SAVED: dict[str, Any] = {
    "CLIP": (save_clip, "image-text", {"encode": {"outputs": ["dense"]}}),
    "SigLIP": (save_siglip_1, "image-text", {"encode": {"outputs": ["dense"]}}),
    "SentenceTransformer": (_vectors, "transformer", {"encode": {"outputs": ["dense"]}}),
    "CrossEncoder": (_scores, "cross-encoder", {"score": {}}),
    "ForTokenClassification": (_entities, "token-classification", {"extract": {}}),
    "two classes": (_classes, "text-classification", {"extract": {}}),
    "entailment": (_entails, "zero-shot-classification", {"extract": {}}),
    "MultiVectorEncoder": (
        _token_vectors,
        "transformer",
        {"encode": {"outputs": ["multivector"]}, "score": {}},
    ),
    "SparseEncoder": (_sparse, "transformer", {"encode": {"outputs": ["sparse"]}}),
}


def _facts(found: Proposal) -> dict[str, tuple[str, str]]:
    return {fact.name: (fact.value, fact.source) for fact in found.facts}


@pytest.mark.parametrize("kind", _SAVED)
def test_a_saved_folder_needs_no_other_word(kind, tmp_path):
    save, backend, tasks = _SAVED[kind]
    save(tmp_path / "model")
    found = propose(FolderFiles(tmp_path / "model"), takes_pickles=False)
    assert [str(each) for each in found.refusals] == []
    assert (found.kind, found.backend, found.tasks) == ("model", backend, tasks)
    facts = _facts(found)
    assert all(source for _, source in facts.values()), "each says its file"
    family = {"CLIP": "clip", "SigLIP": "siglip"}.get(kind, "bert")
    assert facts["model type"] == (family, "config.json: model_type")
    assert "model.safetensors" in weight_files(FolderFiles(tmp_path / "model").names())


def test_a_fact_names_the_file_and_the_key_that_it_is_from(tmp_path):
    _vectors(tmp_path / "model")
    facts = _facts(propose(FolderFiles(tmp_path / "model"), takes_pickles=False))
    assert facts["pooling"][0] == "cls"
    assert facts["pooling"][1].startswith("1_Pooling/config.json")
    assert facts["prompt query"][1] == "config_sentence_transformers.json: prompts.query"


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_adapter_of_peft_says_its_rank_and_its_base(tmp_path):
    _adapter(tmp_path / "adapter")
    found = propose(FolderFiles(tmp_path / "adapter"), takes_pickles=False)
    assert (found.kind, found.refusals) == ("adapter", ())
    assert found.base == str(tmp_path / "plain")
    assert _facts(found)["rank"] == ("2", "adapter_config.json: r")
    config = tmp_path / "adapter/adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "use_dora": True}))
    (refusal,) = propose(FolderFiles(tmp_path / "adapter"), takes_pickles=False).refusals
    assert "DoRA" in str(refusal)


def test_pickled_weights_are_for_the_hub_alone(tmp_path):
    folder = _saved(tmp_path / "model", tf.BertModel)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    found = propose(FolderFiles(folder), takes_pickles=True)
    assert found.refusals == ()
    told = "judged by names and shapes, and whole when a worker first reads them"
    said = (f"{told}: no pickle is run here", "pytorch_model.bin")
    assert _facts(found)["tensors"] == said
    refused = propose(FolderFiles(folder), takes_pickles=False)
    assert "pytorch_model.bin is a pickle" in str(refused.refusals[0])
    assert len(refused.refusals) == 1 and "tensors" not in _facts(refused)
    (folder / "pytorch_model.bin").unlink()
    (refusal,) = propose(FolderFiles(folder), takes_pickles=True).refusals
    assert "has no weights" in str(refusal)


def test_two_heads_beside_an_encoder_are_two_more_outputs(tmp_path):
    folder = _saved(tmp_path / "model", tf.BertModel)
    for head in ("sparse_linear", "colbert_linear"):
        (folder / f"{head}.pt").write_bytes(b"")
    found = propose(FolderFiles(folder), takes_pickles=True)
    outputs = ["dense", "sparse", "multivector"]
    assert found.tasks == {"encode": {"outputs": outputs}, "score": {}}
    # The headers of the model itself were read; those of its heads a worker reads.
    assert _facts(found)["tensors"][1] == "colbert_linear.pt, sparse_linear.pt"


_OFFERED = {"model_id": "org/m", "description": "new"}
_HELD = {"document": {"model_id": "org/m", "description": "old"}, "etag": "e1"}


def _changed(reason: str, actor: str = "anna") -> dict[str, Any]:
    return {"reason": reason, "actor": actor, "epoch": 7}


_CATALOG = _changed("the catalog of release 0.1.0: all", "sie-config")


@pytest.mark.parametrize(
    ("now", "history", "verdict"),
    [
        (None, [], "new"),
        ({**_HELD, "document": _OFFERED}, [_CATALOG], None),
        (_HELD, [_CATALOG], "changed"),
        (_HELD, [_CATALOG, _changed("a longer wait")], "kept"),
        (_HELD, [_changed("our own")], "kept"),
        (None, [_CATALOG, _changed("not wanted")], "kept"),
        (_HELD, [_CATALOG, _changed("edited"), _CATALOG], "changed"),
    ],
    ids=["new", "same", "untouched", "edited", "their-own", "deleted", "taken-back"],
)
def test_a_later_catalog_touches_nothing_that_somebody_edited(
    now: Mapping[str, Any] | None, history: list[Any], verdict: str | None
):
    change = judge(_OFFERED, now, history)
    assert (change and change.verdict) == verdict
    if change is not None and change.verdict != "kept":
        condition = {"if_match": "e1"} if now else {"if_none_match": "*"}
        assert operation_of(change).items() >= condition.items(), "on what was judged"
    if change is not None and change.verdict == "kept":
        assert "anna at epoch 7" in change.why
