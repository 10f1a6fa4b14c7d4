"""Models that repositories publish with code of their own answer as that code says, and none runs.

The code is not at hand. The reference is its formula, from its paper and its published names, in
float64 (`tests.support.published_models`).
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf
from safetensors.torch import load_file, save_file
from tests.support.conformance import Answerer, load, save_small
from tests.support.encoder_models import (
    VOCABULARY,
    dense,
    load_folder,
    random_tokens,
    reference,
    write_tokenizer,
)
from tests.support.new_model import CONFIG, NewModel
from tests.support.published_models import (
    ALIBI,
    FLASH,
    NOMIC,
    NOMIC_EXPERTS,
    PUBLISHED,
    TASKS,
    Published,
    PublishedTasks,
)
from tests.support.sameness import assert_same
from tests.support.scored import load as load_scored
from tests.support.small_jobs import small_job

from sie_cli.models.proposal import propose
from sie_layouts.folder import FolderFiles
from sie_layouts.reading import read
from sie_schemas import ipc
from sie_schemas.errors import FixRequest, SIEError
from sie_schemas.items import Item
from sie_schemas.jobs import AdapterPin
from sie_worker.forms.tokenizing import Tokenizer, prepare

TEXTS = (200, 3, 3, 17, 1, 90)


def _ids(text: ipc.TokensInput) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(text.ids, "<i4").astype(np.int64))


_NAMES = [
    "alibi bert",
    "alibi bert, normed",
    "alibi bert, reglu",
    "flash xlm-roberta",
    "flash xlm-roberta, rotated",
    "nomic",
    "nomic with biases",
    "nomic with experts",
]
assert sorted(PUBLISHED) == _NAMES, "a case is named here: the catalog rests on it"


@pytest.mark.parametrize("name", _NAMES)
@torch.inference_mode()
def test_a_published_architecture_answers_by_its_formula(name, tmp_path):
    model = PUBLISHED[name]()
    folder = model.write(tmp_path)
    backend = load_folder(folder, pooling="mean", normalize=False)
    loaded = backend.describe()
    assert loaded.execution == "packed", loaded.reason
    texts = random_tokens(TEXTS, vocabulary=VOCABULARY)
    expected = [model.answer(_ids(text)).mean(dim=0).numpy() for text in texts]
    assert_same(dense(backend, texts), expected)
    alone = np.concatenate([dense(backend, [text]) for text in texts])
    assert_same(alone, expected)
    backend._core.pad("a test wants it so")  # type: ignore[attr-defined]
    assert_same(dense(backend, texts), expected)


@pytest.mark.parametrize("prefix", ["roberta.", "bert."])
def test_names_may_stand_behind_those_of_a_whole_model(prefix, tmp_path):
    model = Published(ALIBI if prefix == "bert." else FLASH)
    folder = model.write(tmp_path, prefix=prefix)
    texts = random_tokens((9, 4), vocabulary=VOCABULARY)
    expected = [model.answer(_ids(text)).mean(dim=0).numpy() for text in texts]
    assert_same(dense(load_folder(folder, normalize=False), texts), expected)


@torch.inference_mode()
def test_gte_under_its_later_name_answers_by_its_formula(tmp_path):
    """snowflake-arctic-embed-m-v2.0: the keys of `new`, called `gte`."""
    model = NewModel({**CONFIG, "model_type": "gte", "architectures": ["GteModel"]})
    folder = model.write(tmp_path)
    texts = random_tokens(TEXTS, vocabulary=VOCABULARY)
    expected = [model.answer(_ids(text)).mean(dim=0).numpy() for text in texts]
    assert_same(dense(load_folder(folder, normalize=False), texts), expected)


@torch.inference_mode()
def test_gte_that_weighs_words_answers_by_its_formula(tmp_path):
    """opensearch-neural-sparse-encoding-doc-v3-gte: `new` with its head for masked words."""
    model = NewModel({**CONFIG, "architectures": ["NewForMaskedLM"]})
    folder = model.write(tmp_path, prefix="new.")
    size = CONFIG["hidden_size"]
    torch.manual_seed(8)
    dense_layer, norm = torch.nn.Linear(size, size), torch.nn.LayerNorm(size)
    table = model.tensors["embeddings.word_embeddings.weight"]
    bias = torch.randn(VOCABULARY)
    path = folder / "model.safetensors"
    head = {
        "lm_head.dense.weight": dense_layer.weight,
        "lm_head.dense.bias": dense_layer.bias,
        "lm_head.norm.weight": norm.weight,
        "lm_head.norm.bias": norm.bias,
        "lm_head.decoder.weight": table.clone(),
        "lm_head.decoder.bias": bias,
    }
    save_file(load_file(path) | head, path, {"format": "pt"})
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 300})
    )
    answerer = Answerer(load(folder, outputs=("sparse",)))
    assert answerer.loaded.execution == "packed", answerer.loaded.reason
    texts = random_tokens((40, 3, 17), vocabulary=VOCABULARY)
    norm_eps = torch.nn.LayerNorm(size, eps=CONFIG["layer_norm_eps"])
    expected = []
    for text in texts:
        inner = norm_eps(torch.nn.functional.gelu(dense_layer(model.answer(_ids(text)))))
        logits = inner @ table.T + bias
        expected.append(logits.amax(dim=0).relu().log1p().numpy())
    assert_same(answerer.answered(texts), np.stack(expected))


def test_a_llama_that_looks_both_ways_answers_as_transformers_own(tmp_path):
    """llama-embed-nemotron-8b: Llama under a name of its own, its code the mask alone."""
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 256,
        "pad_token_id": 0,
        "is_causal": False,
    }
    config = tf.LlamaConfig(**sizes)
    plain = save_small(
        tmp_path / "own", tf.AutoModel.from_config(config), _Tokenizer(tmp_path / "own")
    )
    published = tmp_path / "published"
    published.mkdir()
    for path in plain.iterdir():
        (published / path.name).write_bytes(path.read_bytes())
    told = json.loads((plain / "config.json").read_text())
    del told["is_causal"]
    told |= {
        "architectures": ["LlamaBidirectionalModel"],
        "auto_map": {"AutoModel": "llama_bidirectional_model.LlamaBidirectionalModel"},
        "model_type": "llama_bidirec",
        "pooling": "avg",
    }
    (published / "config.json").write_text(json.dumps(told))
    texts = random_tokens((40, 3, 17), vocabulary=VOCABULARY)
    found = dense(load_folder(published, normalize=False), texts)
    assert_same(found, reference(plain, texts))


@torch.inference_mode()
def test_a_published_reranker_scores_by_its_formula(tmp_path):
    """jina-reranker-v2-base-multilingual: XLM-RoBERTa's own head on the published encoder."""
    config = {**FLASH, "architectures": ["XLMRobertaForSequenceClassification"], "num_labels": 1}
    config["id2label"] = {"0": "LABEL_0"}
    model = Published(config)
    folder = model.write(tmp_path, prefix="roberta.")
    torch.manual_seed(4)
    width = FLASH["hidden_size"]
    heads = {"dense": torch.nn.Linear(width, width), "out_proj": torch.nn.Linear(width, 1)}
    added = {
        f"classifier.{name}.{part}": tensor
        for name, layer in heads.items()
        for part, tensor in layer.state_dict().items()
    }
    path = folder / "model.safetensors"
    save_file(load_file(path) | added, path, {"format": "pt"})
    backend = load_scored(folder)
    texts = random_tokens((40, 3, 17), vocabulary=VOCABULARY)
    batch = ipc.RunBatch(id=1, model_revision="r1", operation="score", inputs=tuple(texts))
    answers = backend.run(batch)
    assert isinstance(answers, ipc.ScoreAnswers)
    heads = {name: layer.double() for name, layer in heads.items()}
    first = [model.answer(_ids(text))[0] for text in texts]
    expected = [heads["out_proj"](heads["dense"](each).tanh()).sigmoid().item() for each in first]
    assert_same(np.frombuffer(answers.values, "<f4"), expected)


_TEXTS = ("w3", "w5 w6 w11 w40 " * 30, "w9 w20 w21")
_CALLS: Any = [
    ({}, "retrieval.passage"),
    ({"task": ""}, ""),
    ({"is_query": True}, "retrieval.query"),
    ({"is_query": False}, "retrieval.passage"),
    ({"task": "text-matching"}, "text-matching"),
    ({"task": "retrieval.passage", "is_query": True}, "retrieval.passage"),
]


def _asked(loaded: ipc.Loaded, texts: Any, options: dict[str, Any]) -> list[ipc.Input]:
    job = small_job(items=tuple(Item(text=text) for text in texts), options=options)
    return [given for _, given, _ in prepare(job, loaded, Tokenizer.read(loaded)).inputs]


@pytest.mark.parametrize("padded", [False, True])
@torch.inference_mode()
def test_a_model_that_holds_tasks_answers_each_by_its_formula(padded, tmp_path):
    """jina-embeddings-v3: a change of the weights and words for each task, one batch for all."""
    model = PublishedTasks()
    answerer = Answerer(load(model.write(tmp_path), padded=padded))
    loaded = answerer.loaded
    assert loaded.execution == ("padded" if padded else "packed")
    inputs: list[ipc.Input] = []
    expected = []
    for options, task in _CALLS:
        words = TASKS["task_instructions"].get(task, "")
        given = _asked(loaded, _TEXTS, options)
        whole = _asked(loaded, [words + text for text in _TEXTS], {"task": ""})
        assert [each.ids for each in given] == [each.ids for each in whole]  # type: ignore[union-attr]
        vectors = [model.answer(_ids(each), task).numpy() for each in whole]  # type: ignore[arg-type]
        assert_same(answerer.answered(given), np.stack(vectors))
        inputs += given
        expected += vectors
    assert_same(answerer.answered(inputs[::-1]), np.stack(expected[::-1]))
    assert abs(expected[0] - expected[3]).max() > 1e-2
    assert abs(expected[3] - expected[6]).max() > 1e-2


def test_a_profile_has_a_task_for_all_of_its_texts(tmp_path):
    model = PublishedTasks()
    folder = model.write(tmp_path)
    answerer = Answerer(load(folder, options={"task": "text-matching"}))
    for options in ({}, {"is_query": True}):
        [given] = _asked(answerer.loaded, _TEXTS[2:], options)
        expected = model.answer(_ids(given), "text-matching").numpy()  # type: ignore[arg-type]
        assert_same(answerer.answered([given]), expected[None])
    with pytest.raises(SIEError, match="option task is 'text', and the model has retrieval"):
        load(folder, options={"task": "text"})


def test_a_task_that_a_model_has_not_is_refused(tmp_path):
    loaded = load(PublishedTasks().write(tmp_path)).describe()
    with pytest.raises(FixRequest, match=r"options\.task: .*did you mean 'text-matching'"):
        _asked(loaded, _TEXTS, {"task": "text_matching"})
    plain = load_folder(Published(NOMIC).write(tmp_path / "plain"))
    with pytest.raises(FixRequest, match="has no tasks"):
        _asked(plain.describe(), _TEXTS, {"task": "text-matching"})
    with pytest.raises(SIEError, match="option task is 'a', and the model has none"):
        load_folder(tmp_path / "plain", task="a")


def test_a_task_and_an_adapter_are_not_both_put_on(tmp_path):
    backend = load(PublishedTasks().write(tmp_path))
    given = _asked(backend.describe(), _TEXTS[:1], {"task": "text-matching"})
    batch = ipc.RunBatch(
        id=1,
        model_revision="r1",
        operation="encode",
        adapter=AdapterPin("legal", "1"),
        inputs=tuple(given),
    )
    with pytest.raises(FixRequest, match="adapter legal and the task text-matching: name one"):
        backend.run(batch)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("lora_B", "have 3 changes of embeddings.token_type_embeddings, and 3 tasks"),
        ("rank", "a task changes embeddings.token_type_embeddings by a product"),
        ("all", "hold no changes of tasks"),
    ],
)
def test_changes_that_do_not_fit_fail_the_load(change, said, tmp_path):
    folder = PublishedTasks().write(tmp_path)
    file = folder / "model.safetensors"
    tensors = load_file(file)
    first = "roberta.embeddings.token_type_embeddings.parametrizations.weight.0."
    if change == "lora_B":
        del tensors[first + "lora_B"]
    elif change == "rank":
        tensors[first + "lora_B"] = tensors[first + "lora_B"][:, :, :3].contiguous()
    else:
        tensors = {name: each for name, each in tensors.items() if "lora_" not in name}
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(SIEError, match=said):
        load(folder)


def test_words_of_a_task_that_its_files_say_in_two_ways_are_refused(tmp_path):
    folder = PublishedTasks().write(tmp_path)
    told = {"prompts": {"retrieval.query": "w3 "}}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(told))
    said = "; ".join(map(str, read(FolderFiles(folder)).refusals))
    assert "prompts.retrieval.query is 'w3 ', and the task's words" in said
    found = propose(FolderFiles(folder), takes_pickles=False, name="jina-embeddings-v3")
    assert "prompts.retrieval.query" in str(found.refusals[0])


class _Tokenizer:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save_pretrained(self, folder: Path) -> None:
        write_tokenizer(folder)


@pytest.mark.parametrize(
    ("config", "change", "said"),
    [
        (ALIBI, {"feed_forward_type": "original"}, "feed_forward_type is 'original'"),
        (FLASH, {"lora_adaptations": ["a"]}, "lora_adaptations is there, and auto_map names no"),
        (TASKS, {"load_trained_adapters": False}, "the tasks would be random weights"),
        (TASKS, {"lora_rank": 0}, "lora_rank is no whole number above 0"),
        (TASKS, {"lora_alpha": "1"}, "lora_alpha is '1', and a number above 0 is wanted"),
        (
            TASKS,
            {"task_instructions": {"a": "b"}},
            "has the words of ['a'], and ['retrieval.query'",
        ),
        (TASKS, {"position_embedding_type": "absolute"}, "a model with a table of positions"),
        (TASKS, {"truncate_dim": 8}, "truncate_dim is 8"),
        (FLASH, {"position_embedding_type": "alibi"}, "position_embedding_type is 'alibi'"),
        (NOMIC, {"rotary_scaling_factor": 2}, "rotary_scaling_factor is 2"),
        (NOMIC, {"prenorm": True}, "prenorm is True"),
        (NOMIC, {"qkv_proj_bias": True}, "qkv_proj_bias differs"),
        (NOMIC, {"n_layer": 0}, "n_layer is no whole number above 0"),
        (NOMIC_EXPERTS, {"num_shared_experts": 1}, "num_shared_experts is 1"),
        (NOMIC_EXPERTS, {"moe_top_k": None}, "moe_top_k is no whole number above 0"),
        (NOMIC_EXPERTS, {"expert_choice_router": True}, "expert_choice_router is True"),
    ],
)
def test_what_only_the_code_of_such_a_model_does_is_refused_by_its_key(
    config, change, said, tmp_path
):
    folder = Published(config).write(tmp_path)
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    told = "; ".join(map(str, read(FolderFiles(folder)).refusals))
    assert said in told
    with pytest.raises(SIEError, match=r"config\.json"):
        load_folder(folder)


def test_a_decoder_whose_code_alone_says_where_it_looks_is_refused(tmp_path):
    """gte-Qwen2: a type that transformers has, which looks back, and code that looks both ways."""
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 24,
        "max_position_embeddings": 64,
        "num_attention_heads": 2,
        "num_hidden_layers": 1,
        "num_key_value_heads": 2,
        "vocab_size": VOCABULARY,
    }
    config = tf.Qwen2Config(**sizes)
    model = tf.AutoModel.from_config(config)
    folder = save_small(tmp_path, model, _Tokenizer(tmp_path))
    assert load_folder(folder, pooling="last").describe().dims == {"dense": 16}
    told = json.loads((folder / "config.json").read_text())
    told["auto_map"] = {"AutoModel": "modeling_qwen.Qwen2Model"}
    (folder / "config.json").write_text(json.dumps(told))
    found = propose(FolderFiles(folder), takes_pickles=False, name="org/gte", task="encode")
    assert "whether a token looks ahead" in str(found.refusals[0])
    with pytest.raises(SIEError, match="whether a token looks ahead"):
        load_folder(folder, pooling="last")
    # A key without a value says nothing.
    (folder / "config.json").write_text(json.dumps(told | {"is_causal": None}))
    with pytest.raises(SIEError, match="whether a token looks ahead"):
        load_folder(folder, pooling="last")
    texts = random_tokens((20, 3, 11), vocabulary=VOCABULARY)
    looking: list[Any] = []
    for is_causal in (False, True):
        (folder / "config.json").write_text(json.dumps(told | {"is_causal": is_causal}))
        backend = load_folder(folder, pooling="mean")
        assert backend.describe().execution == "packed"
        looking.append(dense(backend, texts))
        assert_same(looking[-1], reference(folder, texts))
    assert abs(looking[0] - looking[1]).max() > 1e-2


def test_a_decoder_whose_tokenizer_is_code_is_refused(tmp_path):
    """gte-Qwen2: transformers' own class of that name puts no token at the end of a text."""
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_attention_heads": 2,
        "num_hidden_layers": 1,
        "num_key_value_heads": 2,
        "vocab_size": VOCABULARY,
        "is_causal": False,
    }
    model = tf.AutoModel.from_config(tf.Qwen2Config(**sizes))
    folder = save_small(tmp_path, model, _Tokenizer(tmp_path))
    file = folder / "tokenizer_config.json"
    told = {"model_max_length": 64, "tokenizer_class": "PreTrainedTokenizerFast"}
    file.write_text(json.dumps(told))
    assert not propose(FolderFiles(folder), takes_pickles=False, name="a", task="encode").refusals
    classes = [None, "tokenization_qwen.Qwen2TokenizerFast"]
    # Older releases of transformers wrote the bare list.
    for code in ({"AutoTokenizer": classes}, classes):
        file.write_text(json.dumps(told | {"auto_map": code, "add_eos_token": True}))
        found = propose(FolderFiles(folder), takes_pickles=False, name="a", task="encode")
        assert "that code alone says which token ends a text" in str(found.refusals[0])
        with pytest.raises(SIEError, match="which token ends a text"):
            load_folder(folder, pooling="last")


def test_a_head_that_such_a_model_has_not_is_refused(tmp_path):
    config = {**NOMIC, "architectures": ["NomicBertForSequenceClassification"]}
    folder = Published(config).write(tmp_path)
    told = "; ".join(map(str, read(FolderFiles(folder)).refusals))
    assert "makes no scores here" in told
    folder = PublishedTasks().write(tmp_path / "tasks")
    told = "; ".join(map(str, read(FolderFiles(folder), "scores").refusals))
    assert "done for vectors of whole texts only" in told
