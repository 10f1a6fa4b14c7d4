"""Late interaction: vectors of tokens, and MaxSim, as the authors' library gives them.

The reference is sentence-transformers' MultiVectorEncoder, which reads its own folders, PyLate's
and those of Stanford's ColBERT. Models are small and random.
"""

import inspect
import json
import shutil
import string
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from tests.support.sameness import assert_same
from tests.support.scored import load, run, scaled, scored, write_json
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import (
    AutoModel,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    JinaEmbeddingsV3Config,
    ModernBertConfig,
    MPNetConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
)
from transformers.models.auto.tokenization_auto import (
    MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS,
    TOKENIZER_MAPPING_NAMES,
)

from sie_cli.models.proposal import propose
from sie_layouts.folder import FolderFiles
from sie_layouts.inputs.tokenizer_classes import CLASS_PASSED_OVER, FILL_AT_THE_LEFT, GIVE_TYPES
from sie_schemas.arrays import from_wire
from sie_schemas.documents import EncodeTask, ScoreTask, Tasks
from sie_schemas.errors import OurFault
from sie_server.backends.backend import Backend

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.multi_vector_encoder import modules as library
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused0]", "[unused1]"]
_WORDS = [*_SPECIAL, *string.punctuation, "Q", "D", *(f"w{number}" for number in range(60))]
_SHAPE: dict[str, Any] = {
    "vocab_size": 120,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 130,
    "pad_token_id": 0,
}
_MARKS: dict[str, Any] = {
    "bos_token_id": 2,
    "eos_token_id": 3,
    "cls_token_id": 2,
    "sep_token_id": 3,
}
_DISTIL: dict[str, Any] = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48}
_RELATIVE: dict[str, Any] = {
    "type_vocab_size": 0, "relative_attention": True, "position_buckets": 16,
    "pos_att_type": ["p2c", "c2p"], "position_biased_input": False,
}  # fmt: skip
_FAMILIES: dict[str, PreTrainedConfig] = {
    "bert": BertConfig(**_SHAPE),
    "xlm-roberta": XLMRobertaConfig(**_SHAPE, type_vocab_size=1),
    "rotated": JinaEmbeddingsV3Config(**_SHAPE, type_vocab_size=1),
    "distilbert": DistilBertConfig(**{"vocab_size": 120, **_DISTIL}),
    "modernbert": ModernBertConfig(**{**_SHAPE, **_MARKS}, local_attention=16),
    "mpnet": MPNetConfig(**_SHAPE),
    "deberta-v2": DebertaV2Config(**{**_SHAPE, **_RELATIVE}),
}
_QUERIES = ("w9 w8 w30", "w40 ?", " ".join(f"w{number}" for number in range(40)))
_TEXTS = (
    "w7",
    " ".join(f"w{number * 7 % 60}" for number in range(60)),
    "w11 w12 , w13 . ( w14 ) !",
    "w8 w9 [unused0] Q",
    " ".join(f"w{59 - number % 60}" for number in range(100)),
)
_TASKS = Tasks(encode=EncodeTask(outputs=("multivector",)), score=ScoreTask())


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _plain(folder: Path, family: str = "bert", added: Sequence[str] = ()) -> Path:
    """A random encoder and its tokenizer, in which `added` are tokens that text is searched for."""
    torch.manual_seed(3)
    scaled(AutoModel.from_config(_FAMILIES[family])).save_pretrained(folder)
    native = Tokenizer(models.WordLevel(dict(zip(_WORDS, range(120), strict=False)), "[UNK]"))
    native.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()]
    )
    native.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    native.add_tokens([AddedToken(text) for text in added])
    PreTrainedTokenizerFast(
        tokenizer_object=native, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", mask_token="[MASK]", model_max_length=100,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def _dense(width: int = 16) -> Dense:
    torch.manual_seed(5)
    return Dense(
        32, width, bias=False, activation_function=nn.Identity(),
        module_input_name="token_embeddings",
    )  # fmt: skip


def _saved(folder: Path, family: str = "bert", *, mask: Any = None, **options: Any) -> Path:
    """A folder of version 6 of the reference."""
    prompts = options.pop("prompts", None)
    name = options.pop("similarity", None)
    transformer = Transformer(str(_plain(folder / "plain", family)), **options)
    steps = [
        transformer, _dense(), mask or MultiVectorMask(),
        Normalize(module_input_name="token_embeddings"),
    ]  # fmt: skip
    model = MultiVectorEncoder(
        modules=steps, device="cpu", prompts=prompts, similarity_fn_name=name
    )
    model.save(str(folder / "saved"), create_model_card=False)
    return folder / "saved"


def _pylate(folder: Path, added: Sequence[str] = (), **settings: Any) -> Path:
    """A folder as PyLate saves it: two modules, and its settings in one file."""
    _plain(folder, added=added)
    if added:
        model: Any = AutoModel.from_pretrained(folder)
        model.resize_token_embeddings(120)
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Dense", "type": "pylate.models.Dense.Dense"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    write_json(folder / "sentence_bert_config.json", max_seq_length=90, do_lower_case=False)
    told = {
        "model_type": "ColBERT", "query_prefix": "[Q] ", "document_prefix": "[D] ",
        "query_length": 32, "document_length": 60, "attend_to_expansion_tokens": False,
        "skiplist_words": list(string.punctuation), "do_query_expansion": True,
        "similarity_fn_name": "MaxSim", "prompts": {}, "default_prompt_name": None,
    }  # fmt: skip
    write_json(folder / "config_sentence_transformers.json", **{**told, **settings})
    (folder / "1_Dense").mkdir()
    config = {
        "in_features": 32, "out_features": 16, "bias": False,
        "activation_function": "torch.nn.modules.linear.Identity",
    }  # fmt: skip
    write_json(folder / "1_Dense" / "config.json", **config)
    save_file(_dense().state_dict(), folder / "1_Dense" / "model.safetensors")
    return folder


def _stanford(folder: Path, family: str = "bert", **metadata: Any) -> Path:
    """A folder of Stanford's ColBERT: the projection beside the model's weights."""
    _plain(folder, family)
    path = folder / "model.safetensors"
    prefix = "bert." if family == "bert" else "roberta."
    tensors = {f"{prefix}{name}": tensor for name, tensor in load_file(path).items()}
    save_file(tensors | {"linear.weight": _dense().linear.weight.detach()}, path, {"format": "pt"})
    write_json(folder / "config.json", architectures=["HF_ColBERT"])
    told = {"query_maxlen": 32, "doc_maxlen": 50, "dim": 16, "mask_punctuation": True}
    write_json(folder / "artifact.metadata", **{**told, **metadata})
    return folder


def _vectors(backend: Backend, texts: Sequence[str], *, is_query: bool) -> list[NDArray[Any]]:
    found = run(backend, "encode", texts, options={"is_query": is_query})
    return [from_wire(answer)["multivector"]["values"] for answer in found]


def _same(folder: Path, *, packed: bool = True, ours: Path | None = None) -> None:
    """Ours equal the reference's on a folder: vectors and scores, packed, padded and alone.

    `ours` is the folder that we read, where it is another.
    """
    reference = MultiVectorEncoder(str(folder), device="cpu", local_files_only=True)
    queries = reference.encode_query(list(_QUERIES), batch_size=2)
    documents = reference.encode_document(list(_TEXTS), batch_size=2)
    scores = reference.similarity(queries, documents).numpy()
    pairs = [(query, text) for query in _QUERIES for text in _TEXTS]
    for padded in (False, True):
        backend = load(ours or folder, backend="transformer", tasks=_TASKS, padded=padded)
        if not padded:
            said = backend.describe()
            assert said.execution == ("packed" if packed else "padded"), said.reason
        for is_query, texts, expected in ((True, _QUERIES, queries), (False, _TEXTS, documents)):
            found = _vectors(backend, texts, is_query=is_query)
            for own, one in zip(found, expected, strict=True):
                assert_same(own, one.numpy())
            (alone,) = _vectors(backend, texts[1:2], is_query=is_query)
            assert_same(alone, expected[1].numpy())
        numbers = scored(backend, pairs)
        assert_same(numbers["score"], scores.reshape(-1))
        assert np.all((numbers["relevance"] >= 0) & (numbers["relevance"] <= 1))


_FIXED: dict[str, Any] = {"strategy": "fixed", "length": 20}


@pytest.mark.parametrize("family", _FAMILIES)
def test_token_vectors_of_a_family_are_those_of_the_reference(family, tmp_path):
    folder = _saved(tmp_path, family, query_expansion=dict(_FIXED))
    _same(folder, packed=family != "deberta-v2")


_FOLDERS: dict[str, Callable[[Path], Path]] = {
    "plain": _saved,
    "prompts": lambda folder: _saved(folder, prompts={"query": "Q w1 ", "document": "D "}),
    "lengths": lambda folder: _saved(folder, query_length=12, document_length=30),
    "filled and attended": lambda folder: _saved(
        folder, query_expansion={**_FIXED, "attend": True}
    ),
    "filled at least": lambda folder: _saved(
        folder, query_expansion={**_FIXED, "strategy": "min"}, query_length=40
    ),
    "filled to more than it is cut at": lambda folder: _changed(
        _saved(folder, query_expansion={**_FIXED, "strategy": "min"}),
        "tokenizer_config.json",
        model_max_length=9,
    ),
    "the same beside a length of documents": lambda folder: _changed(
        _saved(folder, query_expansion={**_FIXED, "strategy": "min"}, document_length=30),
        "tokenizer_config.json",
        model_max_length=9,
    ),
    "filled with a word": lambda folder: _saved(folder, query_expansion={**_FIXED, "token": "w50"}),
    "a class that transformers passes over by the file": lambda folder: _changed(
        _changed(
            _saved(folder, query_expansion=dict(_FIXED)),
            "tokenizer_config.json",
            tokenizer_class="LlamaTokenizerFast",
        ),
        "tokenizer.json",
        decoder={
            "type": "ByteLevel",
            "add_prefix_space": True,
            "trim_offsets": True,
            "use_regex": True,
        },
    ),
    "a class that transformers passes over by the type": lambda folder: _changed(
        _saved(folder, "modernbert", query_expansion=dict(_FIXED)),
        "tokenizer_config.json",
        tokenizer_class="GemmaTokenizer",
    ),
    "filled at the right by its settings": lambda folder: _changed(
        _changed(
            _saved(folder, query_expansion=dict(_FIXED)),
            "sentence_bert_config.json",
            processor_kwargs={"padding_side": "right"},
        ),
        "tokenizer_config.json",
        padding_side="left",
    ),
    "a skip list": lambda folder: _saved(
        folder, mask=MultiVectorMask(list(string.punctuation), skiplist_tasks=["query", "document"])
    ),
    "only some tokens": lambda folder: _saved(
        folder, mask=MultiVectorMask(keep_only_token_ids=list(range(2, 80)))
    ),
    "the mean": lambda folder: _saved(folder, similarity="meanmaxsim"),
    "pylate": _pylate,
    "pylate, prefixes in the vocabulary": lambda folder: _pylate(folder, ["[Q] ", "[D] "]),
    "pylate, no expansion": lambda folder: _pylate(folder, do_query_expansion=False),
    "pylate, attended": lambda folder: _pylate(folder, attend_to_expansion_tokens=True),
    "pylate, no skip list": lambda folder: _pylate(folder, skiplist_words=[]),
    "pylate, prompts too": lambda folder: _pylate(folder, prompts={"query": "w5 "}),
    "stanford": _stanford,
    "stanford, attended": lambda folder: _stanford(folder, attend_to_mask_tokens=True),
    "stanford, punctuation": lambda folder: _stanford(folder, mask_punctuation=False),
    "stanford, other marks": lambda folder: _stanford(
        folder, query_token_id="[unused1]", doc_token_id="[unused0]", query_maxlen=24
    ),
}


@pytest.mark.parametrize("outputs", [("dense",), ("multivector", "dense")])
def test_a_document_that_names_vectors_of_whole_texts_is_refused(outputs, tmp_path):
    tasks = Tasks(encode=EncodeTask(outputs=outputs))
    with pytest.raises(OurFault, match="gives the output multivector, and no other"):
        load(_saved(tmp_path), backend="transformer", tasks=tasks)


@pytest.mark.parametrize("folder", _FOLDERS)
def test_a_folder_of_late_interaction_answers_by_its_own_words(folder, tmp_path):
    _same(_FOLDERS[folder](tmp_path))


def test_the_published_form_of_a_rotated_xlm_roberta_is_that_of_the_library(tmp_path):
    """As jina-colbert-v2 is published, which says in its own words what transformers has too."""
    folder = _stanford(tmp_path / "own", "rotated", attend_to_mask_tokens=True)
    published = tmp_path / "published"
    shutil.copytree(folder, published)
    names = load_file(published / "model.safetensors")
    assert "roberta.encoder.layers.0.mixer.Wqkv.weight" in names, "as it is published"
    config = json.loads((published / "config.json").read_text())
    del config["rope_parameters"], config["model_type"]
    home = "jinaai/xlm-roberta-flash-implementation"
    config |= {
        "auto_map": {
            "AutoConfig": f"{home}--configuration_xlm_roberta.XLMRobertaFlashConfig",
            "AutoModel": f"{home}--modeling_xlm_roberta.XLMRobertaModel",
        },
        "lora_adaptations": None,
        "position_embedding_type": "rotary",
        "rotary_emb_base": 20_000.0,
        "use_flash_attn": True,
    }
    (published / "config.json").write_text(json.dumps(config))
    _same(folder, ours=published)


def test_bge_m3_scores_by_the_mean_over_the_querys_tokens(tmp_path):
    """As FlagEmbedding computes its colbert_score of the vectors that the model gives."""
    folder = _plain(tmp_path, "xlm-roberta")
    torch.manual_seed(9)
    for name, width in (("sparse_linear", 1), ("colbert_linear", 32)):
        save_file(dict(nn.Linear(32, width).state_dict()), folder / f"{name}.safetensors")
    tasks = Tasks(encode=EncodeTask(outputs=("dense", "sparse", "multivector")), score=ScoreTask())
    backend = load(folder, backend="transformer", tasks=tasks, pooling="cls")
    queries = [_rows(backend, text) for text in _QUERIES]
    documents = [_rows(backend, text) for text in _TEXTS]
    expected = [
        (query @ document.T).max(axis=1).mean() for query in queries for document in documents
    ]
    pairs = [(query, text) for query in _QUERIES for text in _TEXTS]
    assert_same(scored(backend, pairs)["score"], expected)


def _rows(backend: Backend, text: str) -> NDArray[Any]:
    (found,) = run(backend, "encode", [text], output_types=("multivector",))
    rows: NDArray[Any] = from_wire(found)["multivector"]["values"]
    return rows


def _changed(folder: Path, file: str, **changes: Any) -> Path:
    write_json(folder / file, **changes)
    return folder


def _masked_twice(folder: Path) -> Path:
    """Each mask counts in the reference; the last alone did here."""
    saved = _saved(folder, mask=MultiVectorMask(skiplist_words=["w9"]))
    modules = json.loads((saved / "modules.json").read_text())
    mask = {**modules[2], "name": "again", "path": "again"}
    (saved / "modules.json").write_text(json.dumps([*modules[:3], mask, *modules[3:]]))
    (saved / "again").mkdir()
    (saved / "again/config.json").write_text("{}")
    return saved


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (
            lambda folder: _changed(
                _saved(folder), "sentence_bert_config.json", query_expansion={"strategy": "other"}
            ),
            "query_expansion.strategy is 'other'",
        ),
        (
            lambda folder: _changed(
                _saved(folder), "2_MultiVectorMask/config.json", drop_stop_words=True
            ),
            "drop_stop_words is true",
        ),
        (
            lambda folder: _changed(
                _saved(folder), "1_Dense/config.json", module_output_name="elsewhere"
            ),
            "from token_embeddings to elsewhere",
        ),
        (
            lambda folder: _changed(
                _saved(folder), "config_sentence_transformers.json", model_type="ColBERT"
            ),
            "is 'ColBERT', to which the reference adds a MultiVectorMask",
        ),
        (
            lambda folder: _changed(
                _saved(folder),
                "sentence_bert_config.json",
                query_expansion={**_FIXED, "token": "nobody"},
            ),
            "query_expansion.token is 'nobody', which is no token of tokenizer.json",
        ),
        (_masked_twice, "3.type is a second MultiVectorMask"),
        (
            lambda folder: _changed(
                _saved(folder, query_expansion=dict(_FIXED)),
                "sentence_bert_config.json",
                processing_kwargs={"common": {"max_length": 5}},
            ),
            "max_length beside lengths of queries and documents",
        ),
    ],
)
def test_a_word_that_is_not_done_here_refuses_the_load(make, named, tmp_path):
    with pytest.raises(OurFault) as refused:
        load(make(tmp_path), backend="transformer", tasks=_TASKS)
    assert named in refused.value.message


def test_pooled_tokens_refuse_the_load(tmp_path):
    folder = _saved(tmp_path)
    modules = json.loads((folder / "modules.json").read_text())
    path = "sentence_transformers.multi_vector_encoder.modules.token_pooling"
    modules.append({"idx": 4, "name": "4", "path": "4", "type": f"{path}.HierarchicalTokenPooling"})
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(OurFault, match="'HierarchicalTokenPooling', which is not done"):
        load(folder, backend="transformer", tasks=_TASKS)


def test_every_module_of_the_reference_is_done_or_refused():
    assert set(library.__all__) == {
        "BaseTokenPooling", "HierarchicalTokenPooling", "LambdaTokenPooling", "MultiVectorMask",
    }  # fmt: skip


_PADDING = {
    "strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
    "pad_type_id": 0, "pad_token": "[PAD]",
}  # fmt: skip


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("tokenizer_config.json", {"padding_side": "left"}),
        ("sentence_bert_config.json", {"processor_kwargs": {"padding_side": "left"}}),
        ("sentence_bert_config.json", {"processing_kwargs": {"text": {"padding_side": "left"}}}),
        (
            "sentence_bert_config.json",
            {
                "processing_kwargs": {
                    "text": {"padding_side": "right"},
                    "common": {"padding_side": "left"},
                }
            },
        ),
        ("tokenizer_config.json", {"tokenizer_class": "LlamaTokenizerFast"}),
        ("tokenizer.json", {"padding": {**_PADDING, "direction": "Left"}}),
    ],
    ids=["the tokenizer", "its options", "its call", "over its call", "its class", "its file"],
)
def test_queries_that_are_filled_up_at_the_left_are_refused_when_added(file, told, tmp_path):
    """The words before them would stand at other positions, and their vectors be others."""
    folder = _changed(_saved(tmp_path, query_expansion=dict(_FIXED)), file, **told)
    (refusal,) = propose(FolderFiles(folder), takes_pickles=False, name="org/late").refusals
    assert "fills texts at the left" in str(refusal)
    with pytest.raises(OurFault, match="fills texts at the left"):
        load(folder, backend="transformer", tasks=_TASKS)
    first, second, *_, last = _read_by_the_reference(folder, "w9 w8 w30")
    assert first == second != last, "the reference fills it up at the left"


def _read_by_the_reference(folder: Path, query: str) -> list[int]:
    """The token ids of a query, as they reach the reference's model."""
    reference = MultiVectorEncoder(str(folder), device="cpu", local_files_only=True)
    found: list[int] = []

    def heard(_module: Any, inputs: Any) -> None:
        found.extend(inputs[0][0].tolist())

    model: Any = reference[0].auto_model
    model.get_input_embeddings().register_forward_pre_hook(heard)
    reference.encode_query([query])
    return found


def test_classes_that_fill_at_the_left_are_those_of_transformers():
    names = set(filter(None, TOKENIZER_MAPPING_NAMES.values()))
    found = {name: getattr(transformers, name, None) for name in sorted(names)}
    # In the place of a class whose package is not installed stands one that answers nothing.
    classes = {name: each for name, each in found.items() if not getattr(each, "is_dummy", False)}
    signatures = {
        name: inspect.signature(each.__init__).parameters.get("padding_side")
        for name, each in classes.items()
        if each is not None
    }
    by_default = {name for name, each in signatures.items() if each and each.default == "left"}
    by_class = {
        name for name, each in classes.items() if getattr(each, "padding_side", "right") == "left"
    }
    assert by_class | by_default == FILL_AT_THE_LEFT
    gives = {
        name
        for name, each in classes.items()
        if "token_type_ids" in getattr(each, "model_input_names", ())
    }
    assert gives == GIVE_TYPES


def test_types_whose_class_is_passed_over_are_those_of_transformers():
    """Of these it takes a class of any file's, or the type's own, whatever a folder names."""
    of_any_file = {
        "MistralCommonBackend", "PreTrainedTokenizerFast", "PythonBackend", "TokenizersBackend",
    }  # fmt: skip
    types = {kind for kind, name in TOKENIZER_MAPPING_NAMES.items() if name in of_any_file}
    assert types | MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS == CLASS_PASSED_OVER
