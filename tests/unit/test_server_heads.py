"""Heads: scores, entities, sparse vectors and multivectors as transformers' own forward gives them.

Each family is a small random model; the expected answer is each text alone, padded by nothing,
through the unchanged model.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.support.encoder_models import (
    DEVICE,
    VOCABULARY,
    dense,
    random_tokens,
    write_tiny,
)
from tests.support.extracting import extracted
from tests.support.new_model import NewModel
from tests.support.sameness import assert_same
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertConfig,
    DistilBertConfig,
    GteConfig,
    ModernBertConfig,
    MPNetConfig,
    PreTrainedConfig,
    Qwen3Config,
    XLMRobertaConfig,
)

from sie_schemas import ipc
from sie_schemas.documents import EncodeTask, ExtractTask, ProfileDocument, ScoreTask, Tasks
from sie_schemas.errors import FixRequest, OurFault
from sie_server.adapters.adapter_shelf import AdapterShelf
from sie_server.backends.architectures.gte import gte_config
from sie_server.backends.backend import Backend, ModelSpec
from sie_server.backends.encode import transformer
from sie_server.backends.extraction import token_classification
from sie_server.backends.extraction.spans import Token, spans
from sie_server.backends.extraction.tags import read_tags
from sie_server.backends.score import cross_encoder
from sie_server.weights.sources import Weights

_SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "pad_token_id": 0,
}
_NUMBERED: dict[str, Any] = {**_SHAPE, "pad_token_id": 1, "max_position_embeddings": 130}
_MODERN = ModernBertConfig(
    **{**_SHAPE, "num_hidden_layers": 4},
    local_attention=8,
    bos_token_id=2,
    eos_token_id=3,
    cls_token_id=2,
    sep_token_id=3,
)
_DISTIL = DistilBertConfig(vocab_size=VOCABULARY, dim=32, n_layers=2, n_heads=4, hidden_dim=48)
_FAMILIES: dict[str, PreTrainedConfig] = {
    "bert": BertConfig(**_SHAPE),
    "xlm-roberta": XLMRobertaConfig(**_NUMBERED),
    "distilbert": _DISTIL,
    "modernbert": _MODERN,
    "modernbert-mean": ModernBertConfig(**{**_MODERN.to_dict(), "classifier_pooling": "mean"}),
    "mpnet": MPNetConfig(**_NUMBERED),
    "gte": GteConfig(**_SHAPE),
    "qwen3": Qwen3Config(**_SHAPE, num_key_value_heads=2, head_dim=8),
}
_LENGTHS = (40, 3, 3, 17)


def _load(module: Any, folder: Path, tasks: Tasks, backend: str, **options: Any) -> Backend:
    profile = ProfileDocument(backend=backend, options=options)
    spec = ModelSpec("test/model", "r1", Weights(folder, None), tasks, profile)
    loaded: Backend = module.load(spec, replace(DEVICE, adapters=AdapterShelf()))
    return loaded


def _batch(
    operation: Any, inputs: Sequence[ipc.Input], outputs: tuple[str, ...] = ()
) -> ipc.RunBatch:
    return ipc.RunBatch(
        id=1, model_revision="r1", operation=operation, inputs=tuple(inputs), outputs=outputs
    )


def _ids(text: ipc.TokensInput) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(text.ids, "<i4").astype(np.int64))[None]


@pytest.mark.parametrize("family", _FAMILIES)
@torch.inference_mode()
def test_pairs_score_packed_as_the_model_scores_each_alone(family, tmp_path):
    config = _FAMILIES[family]
    config.num_labels = 1
    folder = write_tiny(tmp_path, config, kind=AutoModelForSequenceClassification)
    backend = _load(cross_encoder, folder, Tasks(score=ScoreTask()), "cross-encoder")
    assert backend.describe().execution == "packed", backend.describe().reason
    pairs = random_tokens(_LENGTHS, vocabulary=VOCABULARY)
    answers = backend.run(_batch("score", pairs))
    assert isinstance(answers, ipc.ScoreAnswers)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    expected = [model(input_ids=_ids(pair)).logits[0, -1].item() for pair in pairs]
    assert_same(np.frombuffer(answers.logits, "<f4"), np.array(expected))


def test_the_options_of_a_cross_encoder_choose_the_label_and_the_activation(tmp_path):
    config = BertConfig(**_SHAPE, id2label={0: "a", 1: "b", 2: "c"})
    folder = write_tiny(tmp_path, config, kind=AutoModelForSequenceClassification)
    pairs = random_tokens(_LENGTHS, vocabulary=VOCABULARY)

    def scores(**options: Any) -> np.ndarray:
        loaded = _load(cross_encoder, folder, Tasks(score=ScoreTask()), "cross-encoder", **options)
        answers = loaded.run(_batch("score", pairs))
        assert isinstance(answers, ipc.ScoreAnswers)
        return np.frombuffer(answers.values, "<f4")

    assert_same(scores(activation="sigmoid"), 1 / (1 + np.exp(-scores())))
    assert np.abs(scores(label=0) - scores(label=2)).max() > 0.01
    with pytest.raises(OurFault, match="labels 0 to 2"):
        scores(label=3)


@pytest.mark.parametrize("family", ["bert", "distilbert", "modernbert", "qwen3"])
@torch.inference_mode()
def test_entities_are_those_of_the_labels_that_the_model_gives_each_word(family, tmp_path):
    config = _FAMILIES[family]
    config.id2label = {0: "O", 1: "B-PER", 2: "I-PER", 3: "B-LOC", 4: "I-LOC"}
    config.label2id = {name: place for place, name in config.id2label.items()}
    folder = write_tiny(tmp_path, config, kind=AutoModelForTokenClassification)
    backend = _load(
        token_classification, folder, Tasks(extract=ExtractTask()), "token-classification"
    )
    assert backend.describe().execution == "packed", backend.describe().reason
    texts = ["w9 w8  w7 w30 w31 w32 w50", "w11", "w12 w13 w14 w15 w16 w17 w18 w19 w20"]
    answers = backend.run(_batch("extract", [ipc.TextInput(text) for text in texts]))
    assert isinstance(answers, ipc.EntityAnswers)
    model = AutoModelForTokenClassification.from_pretrained(folder).eval()
    for text, found in zip(texts, answers.entities, strict=True):
        ids = torch.tensor([[int(word[1:]) for word in text.split()]])
        chances = model(input_ids=ids).logits[0].softmax(dim=-1)
        tokens, place = [], 0
        for word, row in zip(text.split(), chances, strict=True):
            start = text.index(word, place)
            place = start + len(word)
            tokens.append(Token(start, place, row.numpy()))
        expected = spans(text, tokens, read_tags(list(config.id2label.values())))
        assert [(one["start"], one["end"], one["label"]) for one in found] == [
            span[:3] for span in expected
        ]
        assert_same([one["score"] for one in found], [span[3] for span in expected])
        assert all(text[one["start"] : one["end"]] == one["text"] for one in found)
    with pytest.raises(FixRequest, match="knows no label 'ORG'"):
        extracted(ipc.EntityAnswers, backend, ("w9",), ("ORG",))


@torch.inference_mode()
def test_a_text_that_is_longer_than_the_model_reads_is_read_in_windows(tmp_path):
    config = BertConfig(**{**_SHAPE, "max_position_embeddings": 24})
    config.id2label = {0: "O", 1: "B-PER", 2: "I-PER", 3: "B-LOC", 4: "I-LOC"}
    config.label2id = {name: place for place, name in config.id2label.items()}
    folder = write_tiny(tmp_path, config, kind=AutoModelForTokenClassification)
    backend = _load(
        token_classification, folder, Tasks(extract=ExtractTask()), "token-classification"
    )
    words = [f"w{9 + number % 50}" for number in range(60)]
    texts = [" ".join(words), "w11 w12", " ".join(words[:24])]
    answers = backend.run(_batch("extract", [ipc.TextInput(text) for text in texts]))
    assert isinstance(answers, ipc.EntityAnswers)

    model = AutoModelForTokenClassification.from_pretrained(folder).eval()
    # Windows of 24 words begin 18 apart; the middle of what two share is where they meet.
    for text, found in zip(texts, answers.entities, strict=True):
        given = text.split()
        starts = range(0, max(1, len(given) - 6), 18)
        expected, place = [], 0
        for number, word in enumerate(given):
            own = max(start for start in starts if start == 0 or number >= start + 3)
            window = given[own : own + 24]
            ids = torch.tensor([[int(each[1:]) for each in window]])
            row = model(input_ids=ids).logits[0].softmax(dim=-1)[number - own]
            start = text.index(word, place)
            place = start + len(word)
            expected.append(Token(start, place, row.numpy()))
        wanted = spans(text, expected, read_tags(list(config.id2label.values())))
        assert [(one["start"], one["end"], one["label"]) for one in found] == [
            span[:3] for span in wanted
        ]
    assert answers.entities[0][-1]["end"] > len(" ".join(words[:40]))


@pytest.mark.parametrize("family", ["bert", "xlm-roberta", "distilbert", "modernbert", "mpnet"])
@torch.inference_mode()
def test_sparse_vectors_of_a_masked_language_model_are_its_strongest_words(family, tmp_path):
    folder = write_tiny(tmp_path, _FAMILIES[family], kind=AutoModelForMaskedLM)
    backend = _load(
        transformer,
        folder,
        Tasks(encode=EncodeTask(outputs=("sparse",))),
        "transformer",
    )
    assert backend.describe().execution == "packed", backend.describe().reason
    assert backend.describe().dims == {"sparse": VOCABULARY}
    texts = random_tokens(_LENGTHS, vocabulary=VOCABULARY)
    found = _sparse_rows(backend.run(_batch("encode", texts, ("sparse",))), VOCABULARY)
    model = AutoModelForMaskedLM.from_pretrained(folder).eval()
    for text, row in zip(texts, found, strict=True):
        logits = model(input_ids=_ids(text)).logits[0]
        assert_same(row, logits.relu().log1p().amax(dim=0).numpy())


def _sparse_rows(answers: ipc.Answers, vocabulary: int) -> np.ndarray:
    assert isinstance(answers, ipc.EncodeAnswers)
    assert answers.sparse is not None
    counts = np.frombuffer(answers.sparse.counts, "<i4")
    indices = np.frombuffer(answers.sparse.indices, "<i4")
    values = np.frombuffer(answers.sparse.values, "<f4")
    rows = np.zeros((len(counts), vocabulary), dtype=np.float32)
    rows[np.repeat(np.arange(len(counts)), counts), indices] = values
    return rows


@torch.inference_mode()
def test_a_small_bge_m3_gives_dense_sparse_and_multivector_in_one_answer(tmp_path):
    folder = write_tiny(tmp_path, XLMRobertaConfig(**_NUMBERED), special=(2, 3))
    torch.manual_seed(4)
    sparse = torch.nn.Linear(32, 1)
    colbert = torch.nn.Linear(32, 32)
    save_file(dict(sparse.state_dict()), folder / "sparse_linear.safetensors")
    save_file(dict(colbert.state_dict()), folder / "colbert_linear.safetensors")
    outputs = EncodeTask(outputs=("dense", "sparse", "multivector"))
    backend = _load(
        transformer, folder, Tasks(encode=outputs), "transformer", pooling="cls", normalize=True
    )
    assert backend.describe().dims == {"dense": 32, "sparse": VOCABULARY, "multivector": 32}
    texts = [
        ipc.TokensInput(np.array(ids, dtype="<i4").tobytes())
        for ids in ([2, 20, 21, 20, 3], [2, 50, 3], [2, *range(5, 35), 3])
    ]
    answers = backend.run(_batch("encode", texts))
    assert isinstance(answers, ipc.EncodeAnswers)
    assert answers.dense is not None and answers.multivector is not None
    vectors = np.frombuffer(answers.dense.values, "<f4").reshape(3, 32)
    rows = np.frombuffer(answers.multivector.values, "<f4").reshape(-1, 32)
    tokens = np.split(rows, np.cumsum(np.frombuffer(answers.multivector.counts, "<i4"))[:-1])
    weights = _sparse_rows(answers, VOCABULARY)
    model = AutoModel.from_pretrained(folder).eval()
    for place, text in enumerate(texts):
        hidden = model(input_ids=_ids(text)).last_hidden_state[0]
        assert_same(vectors[place], torch.nn.functional.normalize(hidden[0], dim=0).numpy())
        assert_same(
            tokens[place], torch.nn.functional.normalize(colbert(hidden[1:]), dim=1).numpy()
        )
        expected = np.zeros(VOCABULARY, dtype=np.float32)
        for number, weight in zip(_ids(text)[0].tolist(), sparse(hidden)[:, 0], strict=True):
            if number not in (2, 3):
                expected[number] = max(expected[number], weight.item())
        assert_same(weights[place], expected)
    only = backend.run(_batch("encode", texts, ("dense",)))
    assert isinstance(only, ipc.DenseAnswers)


def test_a_head_that_is_kept_in_a_pickle_is_told_how_to_convert(tmp_path):
    folder = write_tiny(tmp_path, XLMRobertaConfig(**_NUMBERED))
    (folder / "colbert_linear.pt").write_bytes(b"pickled")
    tasks = Tasks(encode=EncodeTask(outputs=("dense", "multivector")))
    with pytest.raises(OurFault, match=r"convert colbert_linear\.pt to safetensors"):
        _load(transformer, folder, tasks, "transformer", pooling="cls")


@pytest.mark.parametrize("prefix", ["", "new."])
@torch.inference_mode()
def test_a_small_stella_answers_as_published_without_any_code_of_its_own(prefix, tmp_path):
    """`new`, mean pooling, then a linear layer to another width: stella_en_400M_v5's own files."""
    model = NewModel()
    folder = model.write(tmp_path / "stella", prefix=prefix)
    torch.manual_seed(6)
    linear = torch.nn.Linear(32, 24)
    steps = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Dense", "2_Dense_24")]
    modules = [
        {
            "idx": place,
            "name": str(place),
            "path": path,
            "type": f"sentence_transformers.models.{kind}",
        }
        for place, (kind, path) in enumerate(steps)
    ]
    prompts = {"s2p_query": "Find: ", "s2s_query": "Alike: "}
    files: dict[str, Any] = {
        "modules.json": modules,
        "1_Pooling/config.json": {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True},
        "2_Dense_24/config.json": {
            "in_features": 32,
            "out_features": 24,
            "bias": True,
            "activation_function": "torch.nn.modules.linear.Identity",
        },
        "sentence_bert_config.json": {"max_seq_length": 512, "do_lower_case": False},
        "config_sentence_transformers.json": {"prompts": prompts, "default_prompt_name": None},
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    tensors = {f"linear.{name}": value for name, value in linear.state_dict().items()}
    save_file(tensors, folder / "2_Dense_24" / "model.safetensors")
    backend = _load(
        transformer, folder, Tasks(encode=EncodeTask()), "transformer", query_prompt="s2p_query"
    )
    loaded = backend.describe()
    assert (loaded.execution, loaded.dims) == ("packed", {"dense": 24}), loaded.reason
    assert loaded.max_sequence_length == 512
    assert loaded.prompts["query"] == "Find: "
    texts = random_tokens((400, 3, 3, 17), vocabulary=VOCABULARY)
    expected = [linear(model.answer(_ids(text)[0]).mean(dim=0)).numpy() for text in texts]
    assert_same(dense(backend, texts), np.stack(expected))


@pytest.mark.parametrize(
    "change",
    [
        {"position_embedding_type": "absolute"},
        {"layer_norm_type": "rms_norm"},
        {"logn_attention_scale": True},
        {"pack_qkv": False},
        {"rope_scaling": {"type": "ntk", "factor": 2.0, "mixed_b": 0.5}},
        {"rope_scaling": {"type": "yarn", "factor": 2.0}},
        {"hidden_size": "wide"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_only_the_code_of_a_new_model_does_is_left_to_that_code(change):
    assert gte_config(NewModel().config) is not None
    assert gte_config(NewModel().config | {"rope_scaling": None}) is not None
    assert gte_config(NewModel().config | change) is None
