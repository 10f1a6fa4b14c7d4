"""Vectors equal to sentence-transformers' on the same files, or a refusal that says why.

Each row builds a small random model with the reference, which saves it; then both answer the same
texts: alone, in a mixed batch, packed and padded, through the sidecar's tokens.
"""

import hashlib
import inspect
import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sentence_transformers as st
import torch
import transformers as tf
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import LayerNorm, Pooling
from tests.support.conformance import TEXTS, Answerer, Call, assert_as_reference, load, save_small
from tests.support.small_tokenizers import small_tokenizer

from sie_schemas.errors import FixRequest, OurFault
from sie_schemas.ipc import RunBatch
from sie_server.backends.backend import unit_length
from sie_server.backends.encode import folder_layout

WIDTH = 16
_SIZES: dict[str, Any] = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}
_CALLS: Mapping[Call, tuple[str, ...]] = {"document": TEXTS}


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small BERT and its tokenizer, as transformers saves them."""
    tokenizer = small_tokenizer("Bert", model_max_length=64)
    config = tf.BertConfig(
        **_SIZES, vocab_size=len(tokenizer), max_position_embeddings=128, type_vocab_size=2
    )
    return save_small(tmp_path_factory.mktemp("bert"), tf.BertModel(config), tokenizer)


Modules = list[torch.nn.Module]


@dataclass(frozen=True)
class Row:
    """`modules` of a BERT's folder, what is written over the saved files, and what comes of it."""

    name: str
    modules: Callable[[Transformer], Modules] = lambda one: [one, Pooling(WIDTH, "mean")]
    transformer: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Any] = field(default_factory=dict)
    keys: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Keys that are written into saved files, beside what these say."""
    calls: Mapping[Call, tuple[str, ...]] = field(default_factory=lambda: _CALLS)
    refused: str = ""


def _pooled(*modes: str, **options: Any) -> Callable[[Transformer], Modules]:
    mode: Any = modes[0] if len(modes) == 1 else modes
    return lambda one: [one, Pooling(WIDTH, mode, **options)]


def _then(*modules: Callable[[], torch.nn.Module]) -> Callable[[Transformer], Modules]:
    def made(one: Transformer) -> Modules:
        torch.manual_seed(5)
        return [one, Pooling(WIDTH, "mean"), *(make() for make in modules)]

    return made


def _before(*modules: Callable[[], torch.nn.Module], width: int) -> Any:
    def made(one: Transformer) -> Modules:
        torch.manual_seed(5)
        return [one, *(make() for make in modules), Pooling(width, "mean")]

    return made


def _dense(out: int, activation: torch.nn.Module | None = None, **options: Any) -> Any:
    return lambda: Dense(WIDTH, out, activation_function=activation, **options)


_ACTIVATIONS = ("GELU", "Identity", "LeakyReLU", "ReLU", "SiLU", "Sigmoid", "Softplus", "Tanh")
_PROMPTS = {"query": "query: ", "document": "document: ", "nothing": "nothing much "}
_ASKED: Mapping[Call, tuple[str, ...]] = {
    "encode": TEXTS[:2],
    "query": TEXTS[:2],
    "document": TEXTS[1:3],
}
_BOTH: Mapping[Call, tuple[str, ...]] = {"query": TEXTS, "document": TEXTS}
_CUTS = {"direction": "Right", "max_length": 12, "strategy": "LongestFirst", "stride": 0}
_FILLS = {
    "direction": "Right", "strategy": {"Fixed": 12}, "pad_to_multiple_of": None, "pad_id": 0,
    "pad_type_id": 0, "pad_token": "[PAD]",
}  # fmt: skip
_OF_ANY_FILE = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
}
_TYPED = {
    "type": "TemplateProcessing",
    "single": [{"Sequence": {"id": "A", "type_id": 1}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {},
}

ROWS = [
    *(
        Row(f"pooling {mode}", _pooled(mode))
        for mode in ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
    ),
    Row("pooling of several", _pooled("lasttoken", "cls", "mean")),
    Row("pooling of all", _pooled(*Pooling.POOLING_MODES)),
    *(
        Row(
            f"prompt left out of {mode}",
            _pooled(mode, include_prompt=False),
            model={"prompts": {"query": "the query: ", "document": ""}},
            calls=_BOTH,
        )
        for mode in ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
    ),
    Row(
        "a prompt that null leaves out",
        model={"prompts": {"query": "the query: ", "document": ""}},
        keys={"1_Pooling/config.json": {"include_prompt": None}},
        calls=_BOTH,
    ),
    Row(
        "a bias that null leaves out",
        _then(_dense(6, torch.nn.Tanh(), bias=False)),
        keys={"2_Dense/config.json": {"bias": None}},
    ),
    Row(
        "a prompt of no name",
        model={"prompts": {"": "the query: "}, "default_prompt_name": ""},
        calls={"encode": TEXTS, **_BOTH},
    ),
    Row("answers as tuples", keys={"config.json": {"return_dict": False}}),
    Row("an attention by its name", keys={"config.json": {"_attn_implementation": "eager"}}),
    Row(
        "a layer in chunks",
        keys={"config.json": {"chunk_size_feed_forward": 4}},
        refused="no multiple of it",
    ),
    Row(
        "a decoder's attention without its tensors",
        keys={"config.json": {"is_decoder": True, "add_cross_attention": True}},
        refused="lacks 8 tensors",
    ),
    Row("a decoder", keys={"config.json": {"is_decoder": True}}),
    Row("normalised", _then(Normalize)),
    Row("normalised in the middle", _then(Normalize, _dense(8))),
    Row(
        "tokens normalised before the pooling",
        _before(lambda: Normalize("token_embeddings"), width=WIDTH),
    ),
    Row("normalised where nothing is yet", _before(Normalize, width=WIDTH)),
    Row("layer norm", _then(lambda: LayerNorm(WIDTH))),
    *(Row(f"dense {name}", _then(_dense(8, getattr(torch.nn, name)()))) for name in _ACTIVATIONS),
    Row("dense without bias", _then(_dense(8, torch.nn.Tanh(), bias=False))),
    Row("dense with residual", _then(_dense(WIDTH, torch.nn.Tanh(), use_residual=True))),
    Row("dense with projected residual", _then(_dense(8, torch.nn.GELU(), use_residual=True))),
    Row(
        "dense before the pooling",
        _before(_dense(8, torch.nn.Tanh(), module_input_name="token_embeddings"), width=8),
    ),
    Row(
        "dense into another feature",
        _then(_dense(8, module_output_name="beside"), Normalize),
    ),
    Row(
        "dense of tokens after the pooling",
        _then(_dense(8, torch.nn.Tanh(), module_input_name="token_embeddings")),
    ),
    Row("dense and normalised", _then(_dense(24, torch.nn.Tanh()), Normalize)),
    Row("prompts", model={"prompts": _PROMPTS}, calls=_BOTH),
    Row(
        "a default prompt",
        model={"prompts": _PROMPTS, "default_prompt_name": "nothing"},
        calls=_ASKED,
    ),
    Row(
        "a default prompt, and no others",
        model={"prompts": {"nothing": "nothing much "}, "default_prompt_name": "nothing"},
        calls=_ASKED,
    ),
    Row("numbers cut off", _then(Normalize), model={"truncate_dim": 5}),
    Row("a limit", transformer={"max_seq_length": 24}),
    Row("a limit of the tokenizer", transformer={"processor_kwargs": {"model_max_length": 17}}),
    Row("a limit of the call", transformer={"processing_kwargs": {"text": {"max_length": 9}}}),
    Row(
        "cut on the left",
        transformer={"processor_kwargs": {"truncation_side": "left", "model_max_length": 12}},
    ),
    Row(
        "cut on the left by the settings",
        files={
            "sentence_bert_config.json": {
                "processor_kwargs": {"truncation_side": "left", "model_max_length": 12}
            }
        },
    ),
    Row(
        "cut and filled up by tokenizer.json, as MiniLM",
        keys={"tokenizer.json": {"truncation": _CUTS, "padding": _FILLS}},
    ),
    Row(
        "cut on the left by tokenizer.json",
        keys={"tokenizer.json": {"truncation": {**_CUTS, "direction": "Left", "stride": 4}}},
    ),
    Row(
        "filled up on the left by tokenizer.json, to multiples",
        _pooled("weightedmean"),
        keys={
            "tokenizer.json": {"padding": {**_FILLS, "direction": "Left", "pad_to_multiple_of": 8}}
        },
    ),
    Row(
        "types of single texts",
        keys={"tokenizer.json": {"post_processor": _TYPED}, "tokenizer_config.json": _OF_ANY_FILE},
        refused="tokenizer.json: post_processor gives tokens of single texts a type other than 0",
    ),
    Row("padded on the left", transformer={"processor_kwargs": {"padding_side": "left"}}),
    Row(
        "lower case of a settings file",
        files={"sentence_bert_config.json": {"max_seq_length": 20, "do_lower_case": True}},
    ),
    Row(
        "settings of the config",
        files={"sentence_bert_config.json": {"config_args": {"hidden_act": "relu"}}},
    ),
    Row(
        "settings of the tokenizer",
        files={"sentence_bert_config.json": {"tokenizer_args": {"do_lower_case": False}}},
    ),
    Row(
        "an activation that is not torch's",
        _then(_dense(8)),
        files={
            "2_Dense/config.json": {
                "in_features": WIDTH,
                "out_features": 8,
                "activation_function": "house.Red",
            }
        },
        refused=r"2_Dense/config.json: activation_function is 'house.Red', which is not done here",
    ),
]


def _saved(row: Row, bert: Path, folder: Path) -> Path:
    one = Transformer(str(bert), **row.transformer)
    model = st.SentenceTransformer(modules=row.modules(one), device="cpu", **row.model)
    model.save(str(folder), create_model_card=False)
    for name, content in row.files.items():
        (folder / name).write_text(json.dumps(content))
    for name, content in row.keys.items():
        told = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**told, **content}))
    return folder


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_layout_answers_as_the_reference_or_is_refused(row, bert, tmp_path):
    folder = _saved(row, bert, tmp_path / "model")
    if row.refused:
        with pytest.raises(OurFault, match=row.refused):
            load(folder)
        return
    reference = st.SentenceTransformer(str(folder), device="cpu")
    packed, padded = (Answerer(load(folder, padded=padded)) for padded in (False, True))
    assert (packed.loaded.execution, padded.loaded.execution) == ("packed", "padded")
    assert packed.loaded.dims["dense"] == packed.vectors(TEXTS[:1]).shape[1]
    assert_as_reference(reference, row.calls, packed, padded)


def test_a_kernel_that_this_machine_lacks_is_left_to_the_device(bert, tmp_path):
    """The reference fails without flash-attn; the vectors are those of any other kernel."""
    folder = _saved(Row("none"), bert, tmp_path / "model")
    reference = st.SentenceTransformer(str(folder), device="cpu")
    told = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps({**told, "_attn_implementation": "flash_attention_2"})
    )
    assert_as_reference(reference, _CALLS, Answerer(load(folder)))


# ---- folders that no row's way of saving makes --------------------------------------------------


def _require_same(folder: Path, calls: Mapping[Call, tuple[str, ...]] = _CALLS) -> Answerer:
    options = {"dtype": torch.float32}
    reference = st.SentenceTransformer(str(folder), device="cpu", model_kwargs=options)
    answerer = Answerer(load(folder))
    assert_as_reference(reference, calls, answerer)
    return answerer


def test_the_real_minilm_saved_again_keeps_its_limit(tmp_path):
    """This release of the reference writes it as `model_max_length` and nowhere else."""
    from tests.support.encoder_models import MINILM

    from sie_server.weights.sources import resolve

    folder = tmp_path / "model"
    published = str(resolve(MINILM).folder)
    st.SentenceTransformer(published, device="cpu").save(str(folder), create_model_card=False)
    texts = ("short", "a bank of a river and a house " * 50)
    assert _require_same(folder, {"document": texts}).loaded.max_sequence_length == 256


_MINILM_FILES = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
    "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
}
"""The files of the model's repository at 1110a243fdf4, the commit of the catalog, as several who
pin it state them."""
_DOCUMENTED = ("The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium.")


def test_the_published_minilm_answers_as_the_reference_and_as_its_authors_print_it():
    from tests.support.encoder_models import MINILM

    from sie_server.weights.sources import resolve

    folder = resolve(MINILM).folder
    found = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in _MINILM_FILES
    }
    assert found == _MINILM_FILES
    answerer = _require_same(folder, {"document": (*TEXTS, *_DOCUMENTED)})
    rows = answerer.vectors(_DOCUMENTED)
    # The library's quick start prints these three, to four places.
    printed = [round(float(each), 4) for each in (rows @ rows.T)[[0, 0, 1], [1, 2, 2]]]
    assert printed == [0.6660, 0.1046, 0.1411]


@pytest.mark.parametrize("architecture", [["BertModel"], ["BertForCausalLM"], None])
def test_a_bare_transformer_is_pooled_as_the_reference_chooses(bert, tmp_path, architecture):
    folder = tmp_path / "model"
    shutil.copytree(bert, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": architecture}))
    _require_same(folder)


def test_weights_in_half_precision_and_in_several_files_are_read(bert, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(bert, folder)
    (folder / "model.safetensors").unlink()
    model = tf.AutoModel.from_pretrained(bert, dtype=torch.float16)
    model.save_pretrained(folder, max_shard_size="5KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    _require_same(folder)


def test_a_transformer_in_a_folder_of_its_own_is_found(bert, tmp_path):
    """As releases before the fifth saved it."""
    folder = _saved(Row("plain", _then(Normalize)), bert, tmp_path / "model")
    listed = json.loads((folder / "modules.json").read_text())
    listed[0]["path"] = "0_Transformer"
    (folder / "modules.json").write_text(json.dumps(listed))
    inside = folder / "0_Transformer"
    inside.mkdir()
    for path in [path for path in folder.iterdir() if path.is_file()]:
        if not path.name.startswith(("modules", "config_sentence")):
            path.rename(inside / path.name)
    _require_same(folder)


@pytest.mark.parametrize(
    ("words", "tokens_max"), [({"model_max_length": 1e30}, 128), ({"max_len": 33}, 33)]
)
def test_a_tokenizer_without_a_limit_leaves_it_to_the_positions(bert, tmp_path, words, tokens_max):
    folder = tmp_path / "model"
    shutil.copytree(bert, folder)
    told = json.loads((folder / "tokenizer_config.json").read_text())
    del told["model_max_length"]
    (folder / "tokenizer_config.json").write_text(json.dumps({**told, **words}))
    texts = (*TEXTS, "one two three four " * 50)
    found = _require_same(folder, {"document": texts})
    assert found.loaded.max_sequence_length == tokens_max


def test_a_model_of_images_and_texts_is_refused_with_its_key(tmp_path):
    config = tf.CLIPConfig(
        text_config={"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2},
        vision_config={"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2},
    )
    config.save_pretrained(tmp_path)
    with pytest.raises(OurFault, match=r"config.json: vision_config is there: a model that takes"):
        load(tmp_path)


@pytest.mark.parametrize("ends", [(), (Normalize,)])
def test_a_request_may_want_vectors_of_length_1_or_the_models_own(bert, tmp_path, ends):
    """Its own are those before the folder's last step, where that is one to length 1."""
    plain = st.SentenceTransformer(
        str(_saved(Row("plain", _then()), bert, tmp_path / "plain")), device="cpu"
    )
    answerer = Answerer(load(_saved(Row("ended", _then(*ends)), bert, tmp_path / "model")))
    inputs = answerer.inputs(TEXTS, "document")
    for unit in (False, True):
        expected = plain.encode_document(list(TEXTS), normalize_embeddings=unit)
        found = answerer.answered(inputs, normalize=unit)
        assert abs(found - expected).max() < 1e-5, unit


def test_a_length_is_of_dense_vectors_alone():
    with pytest.raises(FixRequest, match="normalize: it is of dense vectors"):
        unit_length(
            RunBatch(
                id=1,
                model_revision="r1",
                operation="encode",
                inputs=(),
                options={"normalize": True},
            ),
            "m",
            {"sparse"},
        )


@pytest.mark.parametrize("name", ["hkunlp/instructor-large", "org/instructor-large", ""])
def test_a_prompt_is_left_out_where_the_reference_knows_a_repository_by_its_name(
    name: str, bert: Path, tmp_path: Path
) -> None:
    """No file of an INSTRUCTOR says so: sentence-transformers has three names in its own code."""
    modules = [Transformer(str(bert)), Pooling(WIDTH, "mean"), Normalize()]
    prompts = {"query": "the query: ", "document": "a word of "}
    saved = st.SentenceTransformer(modules=modules, prompts=prompts, device="cpu")
    saved.save(str(tmp_path), create_model_card=False)
    reference = st.SentenceTransformer(str(tmp_path), device="cpu", local_files_only=True)
    if name == "hkunlp/instructor-large":
        reference.set_pooling_include_prompt(include_prompt=False)
    found = load(tmp_path, hub_name=f"{name}@{'a' * 40}" if name else "")
    assert_as_reference(reference, _BOTH, Answerer(found))


def test_the_names_that_the_reference_knows_are_these() -> None:
    code = inspect.getsource(st.SentenceTransformer.__init__)
    named = set(re.findall(r'"([\w.-]+/[\w.-]+)"', code))
    assert named == folder_layout.LEAVE_PROMPTS_OUT
