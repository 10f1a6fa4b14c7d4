"""Scores equal those of the authors' library on the same files, or the folder is refused.

The reference is sentence-transformers' CrossEncoder. Models are small and random; pairs are of
mixed lengths, alone and in one batch, packed and padded.
"""

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.support.encoder_models import VOCABULARY, random_tokens
from tests.support.new_model import CONFIG, NewModel
from tests.support.sameness import assert_same
from tests.support.scored import WORDS, load, scaled, scored, write_json, write_tokenizer
from torch import nn
from transformers import (
    AlbertConfig,
    AutoModelForSequenceClassification,
    BertConfig,
    BertTokenizer,
    Data2VecTextConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    GteConfig,
    ModernBertConfig,
    MPNetConfig,
    PreTrainedConfig,
    Qwen3Config,
    RobertaConfig,
    XLMConfig,
    XLMForSequenceClassification,
    XLMRobertaConfig,
)

from sie_cli.models.proposal import propose
from sie_layouts.folder import FolderFiles
from sie_schemas import ipc
from sie_schemas.errors import OurFault

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from sentence_transformers import CrossEncoder

_SHAPE: dict[str, Any] = {
    "vocab_size": WORDS,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 130,
    "pad_token_id": 0,
    "num_labels": 1,
}
_MARKS: dict[str, Any] = {
    "bos_token_id": 2,
    "eos_token_id": 3,
    "cls_token_id": 2,
    "sep_token_id": 3,
}
_DISTIL: dict[str, Any] = {
    "vocab_size": WORDS, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "num_labels": 1,
}  # fmt: skip
_DISENTANGLED: dict[str, Any] = {
    "type_vocab_size": 0, "relative_attention": True, "position_buckets": 16,
    "pos_att_type": ["p2c", "c2p"], "share_att_key": True, "norm_rel_ebd": "layer_norm",
    "position_biased_input": False, "pooler_hidden_size": 32, "pooler_hidden_act": "gelu",
}  # fmt: skip
_FAMILIES: dict[str, PreTrainedConfig] = {
    "bert": BertConfig(**_SHAPE),
    "roberta": RobertaConfig(**_SHAPE, type_vocab_size=1),
    "xlm-roberta": XLMRobertaConfig(**_SHAPE, type_vocab_size=1),
    "electra": ElectraConfig(**_SHAPE, embedding_size=24),
    "mpnet": MPNetConfig(**_SHAPE),
    "albert": AlbertConfig(**_SHAPE, embedding_size=24),
    "distilbert": DistilBertConfig(**_DISTIL),
    "modernbert": ModernBertConfig(**_SHAPE, **_MARKS, local_attention=8),
    "modernbert-mean": ModernBertConfig(**_SHAPE, **_MARKS, classifier_pooling="mean"),
    "deberta-v2": DebertaV2Config(**_SHAPE, **_DISENTANGLED),
    "qwen3": Qwen3Config(**_SHAPE, num_key_value_heads=2, head_dim=8),
    "gte": GteConfig(**_SHAPE, type_vocab_size=2),
}  # fmt: skip
_QUERIES = ("w9 w8 w30", "w40")
_TEXTS = (
    "w7",
    " ".join(f"w{5 + number * 7 % 110}" for number in range(60)),
    "w11 w12 w13 w99 w100",
    "w8 w9",
    " ".join(f"w{110 - number}" for number in range(100)),
)
_PAIRS = [(query, text) for query in _QUERIES for text in _TEXTS]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _classifier(folder: Path, config: PreTrainedConfig, **tokenizer: Any) -> Path:
    """A random classifier of transformers with its tokenizer."""
    torch.manual_seed(3)
    scaled(AutoModelForSequenceClassification.from_config(config)).save_pretrained(folder)
    return write_tokenizer(folder, **tokenizer)


def _same(folder: Path, *, label: int = 0, **options: Any) -> None:
    """Ours equal the reference's on a folder: packed, padded, together and alone."""
    reference = CrossEncoder(str(folder), device="cpu", local_files_only=True)
    if reference.num_labels > 1:
        options["label"] = label
    expected, logits = (
        found if found.ndim == 1 else found[:, label]
        for found in (
            reference.predict(_PAIRS, batch_size=4),
            reference.predict(_PAIRS, activation_fn=nn.Identity()),
        )
    )
    alone = [_PAIRS[0], _PAIRS[4]]
    for padded in (False, True):
        backend = load(folder, padded=padded, **options)
        found = scored(backend, _PAIRS)
        assert_same(found["score"], expected)
        assert_same(found["logit"], logits)
        assert np.all((found["relevance"] >= 0) & (found["relevance"] <= 1))
        for pair in alone:
            assert_same(scored(backend, [pair])["score"], expected[[_PAIRS.index(pair)]])
    assert np.ptp(expected) > 1e-3, "the pairs are told apart"


_ONE_TYPE = {"roberta", "xlm-roberta"}


@pytest.mark.parametrize(
    ("family", "typed"),
    [(each, False) for each in _FAMILIES]
    + [(each, True) for each in _FAMILIES if each not in _ONE_TYPE],
)
def test_a_classifier_scores_as_its_reference_does(family, typed, tmp_path):
    _same(_classifier(tmp_path, _FAMILIES[family], typed=typed))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        # klue/roberta: a model of one type, and BERT's tokenizer, which gives two.
        (_FAMILIES["roberta"], {"tokenizer_class": "BertTokenizer"}),
        (_FAMILIES["xlm-roberta"], {"tokenizer_class": "BertTokenizerFast"}),
        (BertConfig(**_SHAPE, type_vocab_size=1), {}),
        (ElectraConfig(**_SHAPE, embedding_size=24, type_vocab_size=1), {}),
        (GteConfig(**{**_SHAPE, "type_vocab_size": 1}), {}),
        # No family of these is known when a model is added.
        (Data2VecTextConfig(**_SHAPE, type_vocab_size=1), {}),
    ],
    ids=lambda value: getattr(value, "model_type", ""),
)
def test_types_that_a_model_has_not_are_refused_with_the_way_out(config, words, tmp_path):
    folder = _classifier(tmp_path, config, typed=not words)
    write_json(folder / "tokenizer_config.json", **words)
    with pytest.raises(IndexError):
        CrossEncoder(str(folder), device="cpu", local_files_only=True).predict(_PAIRS[:1])
    said = "type_vocab_size is 1, and the tokenizer gives tokens of a pair the type 1"
    with pytest.raises(OurFault, match=said):
        load(folder)
    refused = [str(each) for each in propose(FolderFiles(folder), takes_pickles=False).refusals]
    assert any(said in each for each in refused) or config.model_type == "data2vec-text"
    write_json(folder / "tokenizer_config.json", model_input_names=["input_ids", "attention_mask"])
    _same(folder)


def test_a_decoder_judges_by_the_last_token_that_is_no_padding(tmp_path):
    """A text may end with the padding's own word, where the tokenizer puts no mark behind it."""
    folder = _classifier(tmp_path, _FAMILIES["qwen3"])
    told = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps({**told, "post_processor": None}))
    pairs = [
        ("w9", "w8 [PAD]"), ("[PAD]", "[PAD] [PAD]"), ("w9 [PAD] w8", "w7 [PAD] [PAD]"),
        ("w9", "w8"),
    ]  # fmt: skip
    reference = CrossEncoder(str(folder), device="cpu", local_files_only=True)
    expected = np.concatenate([reference.predict([pair]) for pair in pairs])
    for padded in (False, True):
        backend = load(folder, padded=padded)
        assert_same(scored(backend, pairs)["score"], expected)
    assert np.ptp(expected) > 1e-3, "the pairs are told apart"


def test_a_tokenizer_of_berts_gives_types_and_one_without_a_class_gives_none(tmp_path):
    folder = _classifier(tmp_path, _FAMILIES["bert"], typed=True)
    words = {text: place for place, text in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])}
    words |= {"[MASK]": 4} | {f"w{number}": number for number in range(5, WORDS)}
    BertTokenizer(vocab=words).save_pretrained(folder)
    _same(folder)


# ---- what a folder says -------------------------------------------------------------------------


def _saved(folder: Path, *, labels: int = 1, prompts: Any = None, **options: Any) -> Path:
    """A BERT classifier as version 6 of the reference saves it."""
    config = BertConfig(**{**_SHAPE, "num_labels": labels})
    plain = _classifier(folder / "plain", config, typed=True)
    model = CrossEncoder(str(plain), device="cpu", prompts=prompts, **options)
    if prompts:
        model.default_prompt_name = next(iter(prompts))
    model.save(str(folder / "saved"), create_model_card=False)
    return folder / "saved"


def _plain(folder: Path, file: str, labels: int = 1, **changes: Any) -> Path:
    """A BERT classifier of transformers, with changes in one of its files."""
    config = BertConfig(**{**_SHAPE, "num_labels": labels})
    _classifier(folder, config, typed=True)
    write_json(folder / file, **changes)
    return folder


_BASE = "sentence_transformers.base.modules"
_IDENTITY = "torch.nn.modules.linear.Identity"
_LAYOUTS: dict[str, tuple[Callable[[Path], Path], dict[str, Any]]] = {
    "saved": (_saved, {}),
    "max_length": (lambda folder: _saved(folder, max_length=40), {}),
    "identity": (lambda folder: _saved(folder, activation_fn=nn.Identity()), {}),
    "tanh": (lambda folder: _saved(folder, activation_fn=nn.Tanh()), {}),
    "three labels": (lambda folder: _saved(folder, labels=3), {"label": 2}),
    "the first of three": (lambda folder: _saved(folder, labels=3), {"label": 0}),
    "softmax": (lambda folder: _saved(folder, labels=3, activation_fn=nn.Softmax()), {"label": 1}),
    "prompt": (lambda folder: _saved(folder, prompts={"ask": "w50 w51 "}), {}),
    "model_max_length": (
        lambda folder: _plain(folder, "tokenizer_config.json", model_max_length=24), {},
    ),
    "no limit but positions": (
        lambda folder: _plain(folder, "tokenizer_config.json", model_max_length=int(1e30)), {},
    ),
    "cut at the left": (
        lambda folder: _plain(
            folder, "tokenizer_config.json", model_max_length=24, truncation_side="left"
        ), {},
    ),
    "activation in config.json": (
        lambda folder: _plain(
            folder, "config.json", sentence_transformers={"activation_fn": _IDENTITY}
        ), {},
    ),
    "activation of version 3": (
        lambda folder: _plain(
            folder, "config.json", sbert_ce_default_activation_function=_IDENTITY
        ), {},
    ),
    "activation of no torch class": (
        lambda folder: _plain(
            folder, "config.json", sentence_transformers={"activation_fn": "os.getcwd"}
        ), {},
    ),
    "a word that does not count": (
        lambda folder: _plain(
            folder, "config_sentence_transformers.json", model_type="CrossEncoder",
            activation_fn=_IDENTITY, prompts={"ask": "w50 "}, default_prompt_name="ask",
        ), {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", _LAYOUTS)
def test_a_folder_scores_by_its_own_words(layout, tmp_path):
    make, options = _LAYOUTS[layout]
    _same(make(tmp_path), **options)


def _sentence(**changes: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        saved = _saved(folder)
        write_json(saved / "sentence_bert_config.json", **changes)
        return saved

    return make


@pytest.mark.parametrize(
    "changes",
    [
        {"max_seq_length": 30},
        {"processor_kwargs": {"model_max_length": 30, "truncation_side": "left"}},
        {"tokenizer_args": {"model_max_length": 30}},
        {"processing_kwargs": {"text": {"max_length": 30}}},
        {"processing_kwargs": {"common": {"max_length": 30}, "text": {"max_length": 30}}},
    ],
    ids=["max_seq_length", "processor_kwargs", "tokenizer_args", "processing_kwargs", "the same"],
)
def test_a_length_of_the_transformer_module_cuts_pairs(changes, tmp_path):
    _same(_sentence(**changes)(tmp_path))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"quantum": 1}, "quantum is 1, which is not done here"),
        ({"config_kwargs": {"num_labels": 2}}, r"config_kwargs\.num_labels"),
        ({"processor_kwargs": {"do_lower_case": True}}, r"processor_kwargs\.do_lower_case"),
        ({"processing_kwargs": {"text": {"truncation": "only_second"}}}, "'only_second'"),
        (
            {"processing_kwargs": {"common": {"max_length": 9}, "text": {"max_length": 20}}},
            "processing_kwargs names several lengths, 9 and 20",
        ),
        ({"processing_kwargs": {"text": {"max_length": True}}}, "max_length is True"),
        ({"transformer_task": "feature-extraction"}, "'feature-extraction'"),
    ],
)
def test_a_word_that_is_not_done_here_refuses_the_load(changes, named, tmp_path):
    folder = _sentence(**changes)(tmp_path)
    with pytest.raises(OurFault, match=named) as refused:
        load(folder)
    assert refused.value.code == "MODEL_LOAD_FAILED"


@pytest.mark.parametrize("is_saved", [True, False])
def test_a_classifier_whose_pairs_a_chat_template_makes_is_refused_when_added(is_saved, tmp_path):
    """It was read as if it had none, and each score was another one than the reference's."""
    plain = _plain(tmp_path / "plain", "config.json")
    (plain / "chat_template.jinja").write_text(
        "{% for each in messages %}{{ each.role }} w7 {{ each.content }} {% endfor %}w8"
    )
    folder = plain
    if is_saved:
        folder = tmp_path / "saved"
        CrossEncoder(str(plain), device="cpu").save(str(folder), create_model_card=False)
    (refusal,) = propose(FolderFiles(folder), takes_pickles=False).refusals
    assert "puts every pair" in str(refusal)
    with pytest.raises(OurFault, match="puts every pair"):
        load(folder)
    with_template = CrossEncoder(str(folder), device="cpu").predict(_PAIRS[:2])
    if is_saved:
        sentence = json.loads((folder / "sentence_bert_config.json").read_text())
        sentence["modality_config"].pop("message")
        write_json(folder / "sentence_bert_config.json", **sentence)
        _same(folder)
    else:
        (folder / "chat_template.jinja").unlink()
    without = CrossEncoder(str(folder), device="cpu").predict(_PAIRS[:2])
    assert np.abs(with_template - without).max() > 1e-3


def test_modules_behind_the_transformer_refuse_the_load(tmp_path):
    folder = _saved(tmp_path)
    modules = [
        {"idx": place, "name": str(place), "path": f"{place}", "type": f"{_BASE}.{name}"}
        for place, name in enumerate(["Transformer", "Dense"])
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(OurFault, match="makes scores by Transformer, Dense; of a classifier"):
        load(folder)


def test_a_head_that_is_not_known_here_refuses_the_load(tmp_path):
    told: dict[str, Any] = {"emb_dim": 16, "n_layers": 1, "n_heads": 2, "num_labels": 1}
    told |= {"max_position_embeddings": 64, "pad_index": 0}
    config = XLMConfig(vocab_size=WORDS, **told)
    scaled(XLMForSequenceClassification(config)).save_pretrained(tmp_path)
    with pytest.raises(OurFault, match="model_type is xlm, whose head is built in a way"):
        load(write_tokenizer(tmp_path))


def test_an_activation_that_is_not_done_here_refuses_the_load(tmp_path):
    path = "torch.nn.modules.activation.Softmin"
    folder = _plain(tmp_path, "config.json", sentence_transformers={"activation_fn": path})
    with pytest.raises(OurFault, match="Softmin'; Hardsigmoid, Identity"):
        load(folder)


def test_the_instruction_of_a_request_takes_the_place_of_the_folders_prompt(tmp_path):
    folder = _saved(tmp_path, prompts={"ask": "w50 w51 "})
    reference = CrossEncoder(str(folder), device="cpu", local_files_only=True)
    expected = reference.predict(_PAIRS, prompt="w60 ")
    assert_same(scored(load(folder), _PAIRS, instruction="w60 ")["score"], expected)
    assert_same(scored(load(folder), _PAIRS)["score"], reference.predict(_PAIRS))


def test_the_templates_of_a_profile_are_around_the_query_and_the_document(tmp_path):
    folder = _saved(tmp_path)
    reference = CrossEncoder(str(folder), device="cpu", local_files_only=True)
    backend = load(
        folder,
        query_template="w60 {instruction} w61 {text}",
        doc_template="w62 {text}",
        default_instruction="w63",
    )
    for told, word in (({}, "w63"), ({"instruction": "w64"}, "w64")):
        pairs = [(f"w60 {word} w61 {query}", f"w62 {text}") for query, text in _PAIRS]
        assert_same(scored(backend, _PAIRS, **told)["score"], reference.predict(pairs))


def test_every_module_of_a_cross_encoder_is_known():
    """A class that the reference gains is done here, or refused by a test of its own."""
    from sentence_transformers.cross_encoder import modules

    known = {"Asym", "Dense", "InputModule", "LogitScore", "Module", "Router", "Transformer"}
    assert set(modules.__all__) == known


@torch.inference_mode()
def test_a_reranker_that_is_published_as_new_scores_without_code_of_its_own(tmp_path):
    """gte-multilingual-reranker-base's own names; its code is not at hand, its formula is."""
    labels = {"architectures": ["NewForSequenceClassification"], "id2label": {"0": "LABEL_0"}}
    new = NewModel({**CONFIG, **labels})
    folder = new.write(tmp_path, prefix="new.")
    torch.manual_seed(4)
    pooler, classifier = nn.Linear(32, 32), nn.Linear(32, 1)
    path = folder / "model.safetensors"
    heads = {"new.pooler.dense": pooler, "classifier": classifier}
    added = {
        f"{name}.{part}": tensor
        for name, layer in heads.items()
        for part, tensor in layer.state_dict().items()
    }
    save_file(load_file(path) | added, path, {"format": "pt"})
    backend = load(folder)
    texts = random_tokens((40, 3, 17), vocabulary=VOCABULARY)
    batch = ipc.RunBatch(id=1, model_revision="r1", operation="score", inputs=tuple(texts))
    answers = backend.run(batch)
    assert isinstance(answers, ipc.ScoreAnswers)
    ids = [torch.from_numpy(np.frombuffer(text.ids, "<i4").astype(np.int64)) for text in texts]
    expected = [classifier(pooler(new.answer(each)[0]).tanh()).sigmoid().item() for each in ids]
    assert_same(np.frombuffer(answers.values, "<f4"), expected)
