"""Laws of LoRA: what is applied in the hot path is what peft computes."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from tests.support.encoder_models import (
    ADAPTERS,
    MINILM,
    VOCABULARY,
    dense,
    fresh_device,
    load_folder,
    minilm,
    random_tokens,
    text_tokens,
    write_tiny,
)
from tests.support.sameness import assert_same
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertConfig,
    DebertaV2Config,
    PreTrainedConfig,
)

from sie_schemas import ipc
from sie_schemas.documents import ExtractTask, ProfileDocument, ScoreTask, Tasks
from sie_schemas.errors import OurFault
from sie_schemas.jobs import AdapterPin
from sie_server.adapters.lora import Adapter, Delta, applied
from sie_server.backends.backend import Backend, ModelSpec
from sie_server.backends.extraction import token_classification
from sie_server.backends.score import cross_encoder
from sie_server.weights.sources import Weights, resolve

# peft reads a name of transformers that is on its way out.
# And a pattern that no drawn target meets is a case that is wanted here.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning"),
    pytest.mark.filterwarnings("ignore:The following .*_pattern keys:RuntimeWarning"),
]

_TINY: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}
_TARGETS = ["query", "key", "value", "attention.output.dense", "intermediate.dense"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Backend]:
    """A random BERT: its folder, and the same loaded as a backend."""
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny(folder, BertConfig(**_TINY))
    return folder, load_folder(folder)


@settings(max_examples=15)
@given(
    rank=st.integers(1, 6),
    # A scale far beyond what is trained makes a model in which float32 itself is off by more than
    # its bound, and nothing is left to hold us to.
    alpha=st.integers(1, 8),
    stabilised=st.booleans(),
    targets=st.sets(st.sampled_from(_TARGETS), min_size=1),
    ranks=st.dictionaries(st.sampled_from([r"layer\.0\..*query", "value"]), st.integers(1, 5)),
    alphas=st.dictionaries(st.sampled_from(["query", "1.attention.self.key"]), st.integers(1, 8)),
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
    assert_same(dense(backend, texts, "random"), _alone(reference.double(), texts))


_SHARED: dict[str, Any] = {
    "relative_attention": True,
    "position_biased_input": False,
    "pos_att_type": ["p2c", "c2p"],
}
_FAMILIES: dict[str, PreTrainedConfig] = {
    # Its table of distances is projected by layers that an adapter may change, too.
    "deberta-v2": DebertaV2Config(**_TINY, **_SHARED),
    "bert with its pooler": BertConfig(**_TINY),
}


@pytest.mark.parametrize("family", _FAMILIES)
def test_an_adapter_of_every_linear_layer_is_as_under_peft(family, tmp_path):
    folder = write_tiny(tmp_path / "model", _FAMILIES[family])
    told = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 60}
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    torch.manual_seed(11)
    config = LoraConfig(r=3, lora_alpha=6, target_modules="all-linear", init_lora_weights=False)
    reference = get_peft_model(AutoModel.from_pretrained(folder), config).eval()
    _save(reference, str(tmp_path / "adapter"))
    backend = load_folder(folder)
    backend.load_adapter(AdapterPin("every", "1"), Weights(tmp_path / "adapter", None))
    # The greatest differences of random weights are those of float32 in peft too.
    texts = random_tokens([7, 3, 12, 40], vocabulary=VOCABULARY)
    assert_same(dense(backend, texts, "every"), _alone(reference.double(), texts))


@pytest.mark.parametrize(
    ("target", "lost", "said"),
    [
        ("pooler.dense", "nothing", r"it adapts pooler\.dense, which runs behind the tokens"),
        ("pooler.dense", "pooler.dense", r"no factors of bert\.pooler\.dense, which"),
        ("classifier", "classifier", "no factors of classifier, which"),
        ("word_embeddings", "word_embeddings", r"no factors of bert\.embeddings\.word_embeddings"),
    ],
)
def test_an_adapter_of_a_layer_beside_the_tokens_is_refused_where_a_score_reads_it(
    tmp_path, target, lost, said
):
    """It cannot be adapted here; where its factors are lost, peft would draw others."""
    module, name, kind, tasks = _HEADED["score"]
    folder = write_tiny(tmp_path / "model", BertConfig(**{**_TINY, "num_labels": 1}), kind=kind)
    profile = ProfileDocument(backend=name)
    spec = ModelSpec("test/model", "r1", Weights(folder, None), tasks, profile)
    backend: Backend = module.load(spec, fresh_device())
    lora = LoraConfig(r=3, target_modules=["query", target], init_lora_weights=False)
    _save(get_peft_model(kind.from_pretrained(folder), lora), str(tmp_path / "adapter"))
    file = tmp_path / "adapter/adapter_model.safetensors"
    save_file({key: one for key, one in load_file(file).items() if lost not in key}, file)
    with pytest.raises(OurFault, match=said):
        backend.load_adapter(AdapterPin("pooled", "1"), Weights(tmp_path / "adapter", None))
        backend.prepare(
            ipc.RunBatch(
                id=1, model_revision="r1", operation="score", inputs=(),
                adapter=AdapterPin("pooled", "1"),
            )
        )  # fmt: skip


@pytest.mark.parametrize("name", ["legal", "medical"])
def test_the_demonstration_adapters_answer_as_under_peft_and_not_as_the_base(name):
    base = AutoModel.from_pretrained(resolve(MINILM).folder)
    reference = PeftModel.from_pretrained(base, str(ADAPTERS / name)).eval()
    texts = text_tokens("a lease ends at midnight", "the patient is short of breath")
    found = dense(minilm(), texts, name)
    expected = _alone(reference, texts)
    assert_same(found, expected / np.linalg.norm(expected, axis=1, keepdims=True))
    assert np.abs(found - dense(minilm(), texts)).max() > 0.01


_HEADED: dict[str, Any] = {
    "score": (
        cross_encoder,
        "cross-encoder",
        AutoModelForSequenceClassification,
        Tasks(score=ScoreTask()),
    ),
    "extract": (
        token_classification,
        "token-classification",
        AutoModelForTokenClassification,
        Tasks(extract=ExtractTask()),
    ),
}
_CLASSES = {0: "O", 1: "PER", 2: "LOC"}


@pytest.mark.parametrize("operation", _HEADED)
def test_adapters_change_scores_and_entities_as_peft_does_also_in_one_batch(operation, tmp_path):
    """The base and two adapters in one packed batch; their tensors are named from the head on."""
    module, name, kind, tasks = _HEADED[operation]
    labels = {value: number for number, value in _CLASSES.items()}
    config = BertConfig(**{**_TINY, "id2label": _CLASSES, "label2id": labels})
    folder = write_tiny(tmp_path / "model", config, kind=kind)
    profile = ProfileDocument(backend=name)
    spec = ModelSpec("test/model", "r1", Weights(folder, None), tasks, profile)
    backend: Backend = module.load(spec, fresh_device())
    models: dict[str | None, Any] = {None: kind.from_pretrained(folder).eval()}
    for number, adapter in enumerate(("one", "two")):
        torch.manual_seed(20 + number)
        lora = LoraConfig(r=3, lora_alpha=9, target_modules=_TARGETS, init_lora_weights=False)
        models[adapter] = get_peft_model(kind.from_pretrained(folder), lora).eval()
        _save(models[adapter], str(tmp_path / adapter))
        backend.load_adapter(AdapterPin(adapter, "1"), Weights(tmp_path / adapter, None))

    texts = [["w9", "w8", "w30"], ["w11"], ["w12", "w13"], ["w40", "w41", "w42", "w43"]] * 2
    owners = ("one", None, "two", "two", None, "one", "one", None)
    ids = [torch.tensor([[int(word[1:]) for word in words]]) for words in texts]
    inputs: tuple[ipc.Input, ...] = (
        tuple(ipc.TokensInput(each.numpy().astype("<i4").tobytes()) for each in ids)
        if operation == "score"
        else tuple(ipc.TextInput(" ".join(words)) for words in texts)
    )
    answers = backend.run(
        ipc.RunBatch(
            id=1,
            model_revision="r1",
            operation=operation,
            inputs=inputs,
            adapters=tuple(None if owner is None else AdapterPin(owner, "1") for owner in owners),
        )
    )
    with torch.inference_mode():
        logits = [
            models[owner](input_ids=each).logits[0] for owner, each in zip(owners, ids, strict=True)
        ]
    if isinstance(answers, ipc.ScoreAnswers):
        expected = [row[-1].item() for row in logits]
        assert_same(np.frombuffer(answers.values, "<f4"), expected)
        assert len(set(np.round(expected, 3))) == len(expected), "each adapter answers otherwise"
        return
    assert isinstance(answers, ipc.EntityAnswers)
    for words, row, found in zip(texts, logits, answers.entities, strict=True):
        assert _labelled(words, found) == _likeliest(words, row)
    plain = [
        _likeliest(each, models[None](input_ids=given).logits[0])
        for each, given in zip(texts, ids, strict=True)
    ]
    assert plain != [_likeliest(each, row) for each, row in zip(texts, logits, strict=True)]


def test_an_adapter_that_overflows_reaches_no_text_but_its_own():
    layer = torch.nn.Linear(4, 4)
    mild = Adapter({"0": Delta(torch.ones(2, 4), torch.ones(2, 4))})
    wild = Adapter({"0": Delta(torch.full((3, 4), 3e38), torch.ones(3, 4))})
    inputs = torch.full((5, 4), 2.0)
    model = torch.nn.Sequential(layer)
    with torch.inference_mode():
        with applied(model, [mild, wild], [(2, 0), (1, 1), (2, None)]):
            together = model(inputs)
        with applied(model, [mild], [(5, 0)]):
            alone = model(inputs)
        assert not together[2].isfinite().any()
        assert_same(together[:2].numpy(), alone[:2].numpy())
        assert torch.equal(together[3:], layer(inputs)[3:])


def _labelled(words: Sequence[str], found: Sequence[dict[str, Any]]) -> list[str]:
    """The label of each word, by the entities of its text."""
    labels, place = [], 0
    for word in words:
        inside = [one["label"] for one in found if one["start"] <= place < one["end"]]
        labels.append(inside[0] if inside else "O")
        place += len(word) + 1
    return labels


def _likeliest(words: Sequence[str], logits: torch.Tensor) -> list[str]:
    return [_CLASSES[int(row.argmax())] for row in logits[: len(words)]]


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
