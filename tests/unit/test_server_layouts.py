"""A folder's word on its vectors: tokenizer, pooling, layers behind it, files of weights."""

import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.support.encoder_models import (
    MINILM,
    VOCABULARY,
    dense,
    fresh_device,
    load_folder,
    random_tokens,
    write_tiny,
)
from tests.support.sameness import assert_same
from tokenizers import Tokenizer
from transformers import AutoModel, BertConfig

from sie_layouts.steps import TextLayout
from sie_schemas.documents import EncodeTask, PathSource, ProfileDocument, Tasks
from sie_schemas.errors import FixRequest, OurFault
from sie_schemas.ipc import TokensInput
from sie_server.backends.backend import Backend, ModelSpec
from sie_server.backends.encode import transformer
from sie_server.weights.file_hashes import sha256
from sie_server.weights.sources import Weights, resolve
from sie_server.weights.tokenizer_file import tokenizer_file

_TINY = BertConfig(
    vocab_size=VOCABULARY,
    hidden_size=32,
    num_hidden_layers=1,
    num_attention_heads=4,
    intermediate_size=48,
    max_position_embeddings=64,
    pad_token_id=0,
)
_TEXTS = random_tokens([9, 3, 40], vocabulary=VOCABULARY)


# ---- tokenizers ---------------------------------------------------------------------------------


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def _words(folder: Path, *words: str) -> Path:
    """The files of a tokenizer of BERT's, without a tokenizer.json."""
    _write(folder / "vocab.txt", "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]))
    _write(folder / "config.json", {"model_type": "bert"})
    return folder


def _pieces(folder: Path, name: str, tokenizer: str, model_type: str) -> Path:
    """The files of a SentencePiece tokenizer, without a tokenizer.json."""
    protobuf: Any = importlib.import_module("sentencepiece.sentencepiece_model_pb2")
    model = protobuf.ModelProto()
    special = [("<s>", 3), ("<pad>", 3), ("</s>", 3), ("<unk>", 2)]
    pieces = [("▁a", 1), ("▁cat", 1), ("s", 1), ("▁", 1), ("a", 1), ("c", 1), ("t", 1)]
    for place, (text, kind) in enumerate(special + pieces):
        piece = model.pieces.add()
        piece.piece, piece.score, piece.type = text, -float(place), kind
    model.trainer_spec.model_type, model.trainer_spec.unk_id = 1, 3
    model.normalizer_spec.name = "identity"
    _write(folder / "config.json", {"model_type": model_type})
    _write(folder / "tokenizer_config.json", {"tokenizer_class": tokenizer})
    (folder / name).write_bytes(model.SerializeToString())
    return folder


def _tokens(folder: Path, cache: Path, text: str) -> list[str]:
    made = tokenizer_file(folder, cache)
    found: list[str] = Tokenizer.from_file(str(made.path)).encode(text).tokens
    return found


def test_a_slow_tokenizer_is_converted_once_for_each_vocabulary(tmp_path):
    folder, cache = _words(tmp_path / "m", "a", "cat", "##s"), tmp_path / "cache"
    assert _tokens(folder, cache, "A cats") == ["[CLS]", "a", "cat", "##s", "[SEP]"]
    made = tokenizer_file(folder, cache)
    written = made.path.stat().st_mtime_ns
    assert tokenizer_file(folder, cache) == made
    assert made.path.stat().st_mtime_ns == written, "it was not converted again"
    assert not (folder / "tokenizer.json").exists(), "the source stays as it was verified"

    _words(folder, "a", "cat", "cats")
    assert _tokens(folder, cache, "A cats") == ["[CLS]", "a", "cats", "[SEP]"]


@pytest.mark.parametrize(
    ("name", "tokenizer", "model_type", "expected"),
    [
        (
            "sentencepiece.bpe.model",
            "XLMRobertaTokenizer",
            "xlm-roberta",
            ["<s>", "▁a", "▁cat", "s", "</s>"],
        ),
        ("spiece.model", "T5Tokenizer", "t5", ["▁a", "▁cat", "s", "</s>"]),
    ],
    ids=["xlm-roberta", "t5"],
)
def test_a_sentencepiece_tokenizer_is_converted(tmp_path, name, tokenizer, model_type, expected):
    folder = _pieces(tmp_path / "m", name, tokenizer, model_type)
    assert _tokens(folder, tmp_path / "cache", "a cats") == expected


def test_a_folder_without_any_vocabulary_is_refused_and_no_tokenizer_is_made_up(tmp_path):
    folder = _words(tmp_path / "m", "a")
    (folder / "vocab.txt").unlink()
    with pytest.raises(OurFault, match=r"vocab\.txt is missing; add the tokenizer") as refused:
        tokenizer_file(folder, tmp_path / "cache")
    assert refused.value.code == "MODEL_LOAD_FAILED"
    assert not (tmp_path / "cache").exists()


def test_a_tokenizer_whose_class_is_code_of_its_own_is_the_file_that_lies_beside_it(tmp_path):
    folder, cache = write_tiny(tmp_path / "m", _TINY), tmp_path / "cache"
    told = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": [None, "own.Own"]}}
    _write(folder / "tokenizer_config.json", told)
    _write(folder / "config.json", {"model_type": "own", "auto_map": {"AutoConfig": "own.Config"}})
    assert tokenizer_file(folder, cache).path == folder / "tokenizer.json"
    # The file as it is would leave out the token that has to stand behind each text.
    with pytest.raises(OurFault, match="trust_remote_code"):
        tokenizer_file(folder, cache, TextLayout(tokens_max=None, ends=True))


def test_a_tokenizer_that_is_as_its_class_makes_it_is_found_so_once(tmp_path):
    folder, cache = resolve(MINILM).folder, tmp_path / "cache"
    assert tokenizer_file(folder, cache).path == folder / "tokenizer.json"
    (kept,) = (cache / "tokenizers").iterdir()
    assert [path.name for path in kept.iterdir()] == ["as_it_is"]
    assert tokenizer_file(folder, cache).path == folder / "tokenizer.json"


# ---- pooling and what follows it ----------------------------------------------------------------


def _hidden(folder: Path) -> list[torch.Tensor]:
    model = AutoModel.from_pretrained(folder).eval()
    ids = [torch.from_numpy(np.frombuffer(text.ids, "<i4").astype(np.int64)) for text in _TEXTS]
    with torch.inference_mode():
        return [model(input_ids=one[None]).last_hidden_state[0] for one in ids]


_POOLED = {
    "cls": lambda states: states[0],
    "last": lambda states: states[-1],
    "mean": lambda states: states.mean(dim=0),
    "max": lambda states: states.amax(dim=0),
    "mean_sqrt_len": lambda states: states.sum(dim=0) / len(states) ** 0.5,
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("layouts") / "tiny", _TINY)


def _copy(tiny: Path, folder: Path, steps: Sequence[tuple[str, str]], **files: Any) -> Path:
    """The tiny model with `modules.json` of (type, path), and other files by their names."""
    for path in tiny.iterdir():
        _link(path, folder)
    modules = [
        {"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.{kind}"}
        for place, (kind, path) in enumerate(steps)
    ]
    _write(folder / "modules.json", modules)
    for name, content in files.items():
        _write(folder / name, content)
    return folder


def _link(path: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / path.name).symlink_to(path)


@pytest.mark.parametrize("mode", _POOLED)
def test_tokens_are_pooled_as_the_profile_says(tiny, mode):
    expected = np.stack([_POOLED[mode](states).numpy() for states in _hidden(tiny)])
    assert_same(dense(load_folder(tiny, pooling=mode), _TEXTS), expected)


@pytest.mark.parametrize(
    ("config", "mode"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_lasttoken": True}, "last"),
        ({"pooling_mode_max_tokens": True}, "max"),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, "mean_sqrt_len"),
        ({"pooling_mode": "lasttoken"}, "last"),
        ({"pooling_mode": ["mean"]}, "mean"),
    ],
    ids=str,
)
def test_tokens_are_pooled_as_the_folder_says(tiny, tmp_path, config, mode):
    steps = [("models.Transformer", ""), ("models.Pooling", "1_Pooling")]
    pooling = {"word_embedding_dimension": 32, **config}
    folder = _copy(tiny, tmp_path / "m", steps, **{"1_Pooling/config.json": pooling})
    expected = np.stack([_POOLED[mode](states).numpy() for states in _hidden(tiny)])
    assert_same(dense(_as_the_folder_says(folder), _TEXTS), expected)


def _as_the_folder_says(folder: Path) -> Backend:
    profile = ProfileDocument(backend="transformer")
    spec = ModelSpec("m", "r1", Weights(folder, None), Tasks(encode=EncodeTask()), profile)
    return transformer.load(spec, fresh_device())


@pytest.mark.parametrize("normalized", [False, True])
def test_layers_after_the_pooling_are_done_in_their_order(tiny, tmp_path, normalized):
    steps = [
        ("models.Transformer", ""),
        ("models.Pooling", "1_Pooling"),
        ("models.Dense", "2_Dense"),
        *([("models.Normalize", "3_Normalize")] if normalized else []),
    ]
    named = {"activation_function": "torch.nn.modules.activation.Tanh", "bias": True}
    folder = _copy(
        tiny,
        tmp_path / "m",
        steps,
        **{
            "1_Pooling/config.json": {
                "word_embedding_dimension": 32,
                "pooling_mode_mean_tokens": True,
            },
            "2_Dense/config.json": {"in_features": 32, "out_features": 16, **named},
        },
    )
    torch.manual_seed(2)
    layer = torch.nn.Linear(32, 16)
    tensors = {f"linear.{name}": tensor for name, tensor in layer.state_dict().items()}
    save_file(tensors, folder / "2_Dense/model.safetensors")
    backend = _as_the_folder_says(folder)
    assert backend.describe().dims == {"dense": 16}
    with torch.inference_mode():
        pooled = torch.stack([states.mean(dim=0) for states in _hidden(tiny)])
        expected = layer(pooled).tanh()
        if normalized:
            expected = torch.nn.functional.normalize(expected, dim=1)
    assert_same(dense(backend, _TEXTS), expected.numpy())


# ---- weights ------------------------------------------------------------------------------------


def test_weights_in_several_files_are_read_and_each_has_to_be_pinned(tiny, tmp_path):
    model = AutoModel.from_pretrained(tiny)
    folder = tmp_path / "m"
    model.save_pretrained(folder, max_shard_size="10KB")
    _link(tiny / "tokenizer.json", folder)
    shards = sorted(path.name for path in folder.glob("model-*.safetensors"))
    assert len(shards) > 1
    assert_same(dense(load_folder(folder), _TEXTS), dense(load_folder(tiny), _TEXTS))

    pinned = {name: sha256(folder / name) for name in ("config.json", *shards[1:])}
    weights = resolve(PathSource(type="path", path=str(folder), manifest=pinned))
    with pytest.raises(OurFault, match="not in the source's manifest"):
        weights.file(shards[0])


def test_a_text_without_a_token_is_told_and_no_vector_is_made_of_it(tiny):
    with pytest.raises(FixRequest, match="the text is empty"):
        dense(load_folder(tiny), [*_TEXTS[:1], TokensInput(b"")])
