"""Folders as people publish them: each is answered as the reference does, or refused when added.

Every change is one that was made by hand or by another tool. What `sie add` takes has to load, by
the very document that it would write.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import sentence_transformers as st
import torch
import transformers as tf
from safetensors.torch import load_file, save_file
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from tests.support.conformance import TEXTS, Answerer, assert_as_reference, save_small
from tests.support.conformance import load as load_plain
from tests.support.encoder_models import fresh_device
from tests.support.small_tokenizers import small_tokenizer

from sie_cli.models.proposal import propose
from sie_layouts.folder import FolderFiles
from sie_schemas.documents import ProfileDocument, Tasks
from sie_schemas.errors import FixRequest
from sie_server.backends.backend import Backend, ModelSpec
from sie_server.backends.names import load_backend
from sie_server.weights.sources import Weights

_WEIGHTS = "model.safetensors"
_SHARD = "model-00001-of-00001.safetensors"
_INDEX = "model.safetensors.index.json"
_SETTINGS = "config_sentence_transformers.json"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BERT, a mean, and a layer, as sentence-transformers saves them."""
    home = tmp_path_factory.mktemp("strange")
    tokenizer = small_tokenizer("Bert", model_max_length=40)
    config = tf.BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=70,
    )
    plain = save_small(home / "plain", tf.BertModel(config), tokenizer)
    torch.manual_seed(1)
    modules = [Transformer(str(plain)), Pooling(16, "mean"), Dense(16, 8)]
    model = st.SentenceTransformer(modules=modules, device="cpu")
    model.save(str(home / "model"), create_model_card=False)
    return home / "model"


def _say(file: Path, **words: Any) -> None:
    told = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps({**told, **words}))


def _tensors(folder: Path, change: Callable[[str, torch.Tensor], Any], name: str = "") -> None:
    """Each tensor under the name and value that `change` gives; None leaves it out."""
    file = folder / name / _WEIGHTS
    changed = [change(key, each) for key, each in load_file(file).items()]
    save_file(dict(each for each in changed if each is not None), file, {"format": "pt"})


def _other_formats(folder: Path) -> None:
    for name in ("onnx", "openvino"):
        (folder / name).mkdir()
        (folder / name / "model.onnx").write_bytes(b"another form of the model")
        (folder / name / "config.json").write_text("{")
    for name in ("pytorch_model.bin", "optimizer.pt", "training_args.bin"):
        (folder / name).write_bytes(b"no pickle")


def _index(folder: Path, shard: str = _SHARD) -> None:
    listed = dict.fromkeys(load_file(folder / _WEIGHTS), shard)
    (folder / _INDEX).write_text(json.dumps({"metadata": {}, "weight_map": listed}))


def _one_shard(folder: Path) -> None:
    _index(folder)
    (folder / _WEIGHTS).rename(folder / _SHARD)


def _stale_index(folder: Path) -> None:
    _index(folder)
    doubled = {name: each * 2 for name, each in load_file(folder / _WEIGHTS).items()}
    save_file(doubled, folder / _SHARD, {"format": "pt"})


def _vocabulary_alone(folder: Path) -> None:
    words = tf.AutoTokenizer.from_pretrained(folder).get_vocab()
    (folder / "vocab.txt").write_text("\n".join(sorted(words, key=words.__getitem__)) + "\n")
    (folder / "tokenizer.json").unlink()


def _tokenizer_file_alone(folder: Path) -> None:
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).unlink(missing_ok=True)


def _folder_of_its_own(folder: Path) -> None:
    (folder / "0_Transformer").mkdir()
    for file in [each for each in folder.iterdir() if each.is_file()]:
        if file.name not in ("modules.json", _SETTINGS):
            shutil.move(file, folder / "0_Transformer")
    listed = json.loads((folder / "modules.json").read_text())
    listed[0]["path"] = "0_Transformer"
    (folder / "modules.json").write_text(json.dumps(listed))


def _more_words_than_rows(folder: Path) -> None:
    tokenizer = tf.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["a word that no text has"])
    tokenizer.save_pretrained(folder)


def _unknown_word_unknown(folder: Path) -> None:
    file = folder / "tokenizer.json"
    told = json.loads(file.read_text())
    told["model"]["unk_token"] = "[NONE]"
    file.write_text(json.dumps(told))


def _old_flags(folder: Path) -> None:
    flags = {f"pooling_mode_{name}": False for name in ("mean_tokens", "max_tokens")}
    told = {"word_embedding_dimension": 16, "pooling_mode_cls_token": True, **flags}
    (folder / "1_Pooling/config.json").write_text(json.dumps(told))


def _renamed(name: str, each: torch.Tensor) -> tuple[str, torch.Tensor]:
    old = name.replace("LayerNorm.weight", "LayerNorm.gamma")
    return old.replace("LayerNorm.bias", "LayerNorm.beta"), each


_EQUAL: Mapping[str, Callable[[Path], Any]] = {
    "other formats beside it": _other_formats,
    "an index of one shard": _one_shard,
    "an index of other weights beside them": _stale_index,
    "tensors that name no library": lambda to: save_file(load_file(to / _WEIGHTS), to / _WEIGHTS),
    "a vocabulary in place of a tokenizer": _vocabulary_alone,
    "a tokenizer without its config": _tokenizer_file_alone,
    "settings of version 2": lambda to: (to / _SETTINGS).write_text(
        '{"__version__": {"sentence_transformers": "2.2.2", "pytorch": "2.0.1"}}'
    ),
    "settings of version 3": lambda to: (to / _SETTINGS).write_text(
        '{"prompts": {}, "default_prompt_name": null, "similarity_fn_name": null}'
    ),
    "no settings": lambda to: (to / _SETTINGS).unlink(),
    "a length of null": lambda to: _say(to / "sentence_bert_config.json", max_seq_length=None),
    "flags of an older pooling": _old_flags,
    "a layer in halves": lambda to: _tensors(to, lambda *e: (e[0], e[1].half()), "2_Dense"),
    "weights in bfloat16": lambda to: _tensors(to, lambda *e: (e[0], e[1].bfloat16())),
    "no pooler": lambda to: _tensors(to, lambda *e: None if "pooler" in e[0] else e),
    "norms as TensorFlow names them": lambda to: _tensors(to, _renamed),
    "code of its own for a type that is known": lambda to: _say(
        to / "config.json", auto_map={"AutoModel": "modeling.MyBert"}
    ),
    "no class named": lambda to: _say(to / "config.json", architectures=None),
    "a folder of its own": _folder_of_its_own,
    "more words than rows": _more_words_than_rows,
    "an unknown word that is unknown": _unknown_word_unknown,
    "other marks in a map": lambda to: _say(to / "special_tokens_map.json", pad_token="[MASK]"),
}


def _mark_order(name: str) -> Callable[[Path], None]:
    def marked(folder: Path) -> None:
        file = folder / name
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())

    return marked


def _pickled_layer(folder: Path) -> None:
    file = folder / "2_Dense" / _WEIGHTS
    torch.save(load_file(file), file.with_name("pytorch_model.bin"))
    file.unlink()


def _shard_is_missing(folder: Path) -> None:
    _index(folder, "model-00002-of-00002.safetensors")
    (folder / _WEIGHTS).rename(folder / _SHARD)


def _without_type(folder: Path) -> None:
    file = folder / "config.json"
    told = json.loads(file.read_text())
    told.pop("model_type")
    file.write_text(json.dumps(told))


_REFUSED: Mapping[str, tuple[Callable[[Path], Any], str]] = {
    "a variant alone": (
        lambda to: (to / _WEIGHTS).rename(to / "model.fp16.safetensors"),
        "model.safetensors is not there; there is model.fp16.safetensors",
    ),
    "a shard that is missing": (
        _shard_is_missing,
        f"{_INDEX} names model-00002-of-00002.safetensors, which is not there",
    ),
    "a layer that is a pickle": (
        _pickled_layer,
        "2_Dense/model.safetensors is not there; there is 2_Dense/pytorch_model.bin",
    ),
    "no vocabulary": (
        lambda to: (to / "tokenizer.json").unlink(),
        "tokenizer.json is not there, nor a vocabulary",
    ),
    "another format alone": (
        lambda to: (to / _WEIGHTS).rename(to / "model.gguf"),
        "model.safetensors is not there",
    ),
    "integers": (
        lambda to: _say(to / "config.json", quantization_config={"load_in_8bit": True}),
        "weights in integers are not read",
    ),
    "a type that nobody knows": (
        lambda to: _say(to / "config.json", model_type="brandnew"),
        "config.json: model_type is no type that transformers knows; restore",
    ),
    "a type that code of its own knows": (
        lambda to: _say(to / "config.json", model_type="nvembed", auto_map={"AutoModel": "m.M"}),
        "code of the model's own does; use another model, or let an operator",
    ),
    "no type": (_without_type, "config.json: model_type is missing"),
    "a mark of byte order": (_mark_order("config.json"), "config.json is no JSON"),
    "a mark of byte order in a list": (_mark_order("modules.json"), "modules.json is no JSON"),
    "a head of another library": (
        lambda to: (
            (to / "sparse_linear.pt").write_bytes(b"")
            or (to / "colbert_linear.pt").write_bytes(b"")
        ),
        "sparse_linear.pt is a pickle",
    ),
}


def _added(folder: Path) -> Backend:
    """The backend by the document that `sie add` would write."""
    found = propose(FolderFiles(folder), takes_pickles=False, name="org/model")
    assert [str(each) for each in found.refusals] == []
    tasks = Tasks.model_validate_json(json.dumps(found.tasks))
    profile = ProfileDocument(backend=found.backend, options=dict(found.options))
    spec = ModelSpec("org/model", "r1", Weights(folder, None), tasks, profile)
    return load_backend(spec, fresh_device())


@pytest.mark.parametrize("how", _EQUAL)
def test_a_strange_folder_is_added_and_answers_as_the_reference(how, saved, tmp_path):
    folder = Path(shutil.copytree(saved, tmp_path / "model"))
    _EQUAL[how](folder)
    full = {"dtype": torch.float32}
    reference = st.SentenceTransformer(str(folder), device="cpu", model_kwargs=full).float()
    assert_as_reference(reference, {"encode": TEXTS}, Answerer(_added(folder)))


@pytest.mark.parametrize("how", _REFUSED)
def test_a_folder_that_could_not_run_is_refused_when_it_is_added(how, saved, tmp_path):
    folder = Path(shutil.copytree(saved, tmp_path / "model"))
    change, said = _REFUSED[how]
    change(folder)
    found = propose(FolderFiles(folder), takes_pickles=False, name="org/model")
    assert said in "; ".join(map(str, found.refusals))


def test_a_text_that_the_reference_reads_beyond_the_positions_is_refused(tmp_path):
    """A padding token inside a text takes no position, where nothing but their number is a limit:
    so the reference cuts elsewhere."""
    for pad in (1, 3):
        tokenizer = small_tokenizer("XLMRoberta")
        config = tf.XLMRobertaConfig(
            vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=24, max_position_embeddings=40, pad_token_id=pad,
        )  # fmt: skip
        folder = save_small(tmp_path / str(pad), tf.XLMRobertaModel(config), tokenizer)
        mark = tokenizer.convert_ids_to_tokens(pad)
        text = f"the cat {mark} {mark} {mark} {mark} {mark} sat on " + "the cat " * 60
        reference = st.SentenceTransformer(str(folder), device="cpu")
        answerer = Answerer(load_plain(folder))
        assert_as_reference(reference, {"document": [f"the {mark} cat", text[:20]]}, answerer)
        assert len(reference.encode([text])[0])
        with pytest.raises(FixRequest, match="takes none: the authors' library reads on"):
            answerer.vectors([text])
        table = json.loads((folder / "tokenizer_config.json").read_text())
        (folder / "tokenizer_config.json").write_text(json.dumps({**table, "model_max_length": 9}))
        reference = st.SentenceTransformer(str(folder), device="cpu")
        assert_as_reference(reference, {"document": [text]}, Answerer(load_plain(folder)))
