"""Decoders score as their authors do: by the logits of a yes and a no behind a template.

The references are sentence-transformers' CrossEncoder on the folders that it saves, and the
formulas of the model cards, computed here with plain transformers.
"""

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.support.sameness import assert_same
from tests.support.scored import load, scaled, scored, write_json
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Gemma2Config,
    GemmaConfig,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

from sie_catalog.families import FAMILIES
from sie_catalog.offers import document_of
from sie_catalog.published import published
from sie_cli.models.proposal import propose
from sie_layouts.folder import FolderFiles
from sie_layouts.score import read_score
from sie_schemas.errors import FixRequest, OurFault
from sie_server.backends.score.chat_templates import takes_texts

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from sentence_transformers import CrossEncoder
    from sentence_transformers.base.modality import (
        KNOWN_MODEL_TYPES_MESSAGE_FORMATS,
        InputFormatter,
    )
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.cross_encoder.modules import LogitScore

_SHAPE: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 48,
    "max_position_embeddings": 1600,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_FAMILIES: dict[str, PreTrainedConfig] = {
    "qwen3": Qwen3Config(**_SHAPE),
    "qwen2": Qwen2Config(**_SHAPE),
    "gemma": GemmaConfig(**_SHAPE),
    "llama": LlamaConfig(**_SHAPE),
    # Its logits have a soft bound, and so small a one moves each of them.
    "gemma2": Gemma2Config(
        **_SHAPE,
        query_pre_attn_scalar=8,
        attn_logit_softcapping=None,
        final_logit_softcapping=0.5,
    ),
}
_SPECIAL = ["<pad>", "<bos>", "<eos>", "<|im_start|>", "<|im_end|>", "<|endoftext|>"]
_MERGES = [("y", "e"), ("ye", "s"), ("n", "o"), ("Y", "e"), ("Ye", "s"), ("t", "h"), ("th", "e")]
_QUERIES = ("what is rain?", "  the\nmoon ")
_TEXTS = ("water that falls", "no", "the tower stands.\n\n " * 9, " yes it is the one", "x{y}z")
_PAIRS = [(query, text) for query in _QUERIES for text in _TEXTS]
_ROLES = (
    '{{ messages | selectattr("role", "eq", "query") | map(attribute="content") | first }}',
    '{{ messages | selectattr("role", "eq", "document") | map(attribute="content") | first }}',
)
_SYSTEM = (
    '{% set told = messages | selectattr("role", "eq", "system") | map(attribute="content") '
    "| list %}"
)
_CHAT = (
    f"{_SYSTEM}<|im_start|>system\nJudge.<|im_end|>\n<|im_start|>user\n"
    f"{{% if told %}}<Instruct>: {{{{ told[0] }}}}\n{{% endif %}}<Query>: {_ROLES[0]}\n"
    f"<Document>: {_ROLES[1]}<|im_end|>\n<|im_start|>assistant\n"
)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _decoder(
    folder: Path, family: str = "qwen3", *, chat: str = "", limit: int = 400, side: str = "right"
) -> Path:
    """A random decoder with a tokenizer of bytes and a few words."""
    torch.manual_seed(3)
    scaled(AutoModelForCausalLM.from_config(_FAMILIES[family])).save_pretrained(folder)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*letters, *("".join(pair) for pair in _MERGES)]
    vocabulary = {text: place for place, text in enumerate([*_SPECIAL, *words])}
    native = Tokenizer(models.BPE(vocabulary, _MERGES))
    native.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    native.decoder = decoders.ByteLevel()
    native.add_special_tokens([AddedToken(text, special=True) for text in _SPECIAL])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=native, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>",
        model_max_length=limit, truncation_side=side,
    )  # fmt: skip
    tokenizer.chat_template = chat or None
    tokenizer.save_pretrained(folder)
    return folder


def _saved(folder: Path, *, chat: str = _CHAT, no: bool = True, **options: Any) -> Path:
    """A reranker as version 6 of the reference saves it."""
    cuts = {"limit": options.pop("limit", 400), "side": options.pop("side", "right")}
    plain = _decoder(folder / "plain", chat=chat, **cuts)
    prompts = options.pop("prompts", None)
    transformer = Transformer(str(plain), transformer_task="text-generation", **options)
    ids = [transformer.tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no")]
    score = LogitScore(ids[0], ids[1] if no else None)
    model = CrossEncoder(modules=[transformer, score], device="cpu", prompts=prompts)
    if prompts:
        model.default_prompt_name = next(iter(prompts))
    model.save(str(folder / "saved"), create_model_card=False)
    return folder / "saved"


def _same(folder: Path, *, instruction: str | None = None, **options: Any) -> None:
    reference = CrossEncoder(str(folder), device="cpu", local_files_only=True)
    expected = reference.predict(_PAIRS, batch_size=4, prompt=instruction)
    told = {} if instruction is None else {"instruction": instruction}
    for padded in (False, True):
        backend = load(folder, padded=padded, **options)
        assert padded or backend.describe().execution == "packed", backend.describe().reason
        assert_same(scored(backend, _PAIRS, **told)["score"], expected)
        assert_same(scored(backend, [_PAIRS[2]], **told)["score"], expected[[2]])
    assert np.ptp(expected) > 1e-3, "the pairs are told apart"


_LAYOUTS: dict[str, dict[str, Any]] = {
    "yes less no": {},
    "yes alone": {"no": False},
    "an instruction of its own": {"prompts": {"web": "find what answers it"}},
    "cut, and the end restored": {"limit": 150},
    "cut at its beginning": {"limit": 150, "side": "left"},
    "a generation prompt": {
        "chat": _CHAT.removesuffix("<|im_start|>assistant\n")
        + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
        "processing_kwargs": {"chat_template": {"add_generation_prompt": True}},
    },
    "trimmed": {"chat": _CHAT.replace("| first }}", "| first | trim }}")},
    "content in parts": {
        # The comment is one of the words by which the reference knows it, and saves its form.
        "chat": _CHAT.replace('"content"', '"content.0.text"') + "{# 'type' #}"
    },
    "no chat template": {"chat": ""},
}


@pytest.mark.parametrize("layout", _LAYOUTS)
def test_a_saved_reranker_scores_as_its_reference_does(layout, tmp_path):
    _same(_saved(tmp_path, **_LAYOUTS[layout]))


@pytest.mark.parametrize("layout", ["yes less no", "content in parts"])
def test_a_decoder_without_modules_scores_as_its_reference_does(layout, tmp_path):
    _same(_decoder(tmp_path, chat=_LAYOUTS[layout].get("chat", _CHAT)))


@pytest.mark.parametrize("is_folder_of_modules", [True, False])
def test_a_vocabulary_without_the_words_of_a_judgement_is_refused_when_added(
    is_folder_of_modules, tmp_path
):
    """The reference takes no part of a word for the word. A part was taken here."""
    if is_folder_of_modules:
        folder = _saved(tmp_path)
        write_json(folder / "1_LogitScore/config.json", false_token_id=300)
        said = "false_token_id is 300, and the vocabulary has 300 tokens"
    else:
        folder = _decoder(tmp_path, chat=_CHAT)
        file = folder / "tokenizer.json"
        native = json.loads(file.read_text())
        native["model"]["vocab"]["yesss"] = native["model"]["vocab"].pop("yes")
        native["model"]["merges"] = [
            each for each in native["model"]["merges"] if "".join(each) != "yes"
        ]
        file.write_text(json.dumps(native))
        said = "has no token 'yes'"
    (refusal,) = propose(
        FolderFiles(folder), takes_pickles=False, task=None if is_folder_of_modules else "score"
    ).refusals
    assert said in str(refusal)
    with pytest.raises((IndexError, ValueError)):
        CrossEncoder(str(folder), device="cpu", local_files_only=True).predict(_PAIRS[:1])
    with pytest.raises(OurFault, match=r"300 tokens|lacks yes or no"):
        load(folder)


def test_logits_of_a_soft_bound_score_as_their_reference_does(tmp_path):
    _same(_decoder(tmp_path, "gemma2", chat=_CHAT))


_TRIMMED = [place.replace("| first }}", "| first | trim }}") for place in _ROLES]


@pytest.mark.parametrize("trimmed", ["never", "without", "with"])
def test_the_instruction_of_a_request_is_the_system_message(trimmed, tmp_path):
    chat = _CHAT
    if trimmed != "never":
        # Some templates trim in one branch alone: each form of the pairs is judged by itself.
        test = "told" if trimmed == "with" else "not told"
        for place, shorn in zip(_ROLES, _TRIMMED, strict=True):
            chat = chat.replace(place, f"{{% if {test} %}}{shorn}{{% else %}}{place}{{% endif %}}")
    folder = _saved(tmp_path, chat=chat)
    _same(folder, instruction="find the skill")
    if trimmed != "never":
        _same(folder)


@pytest.mark.parametrize(
    ("chat", "named"),
    [
        ("{% for m in messages %}{{ m.role }}{% endfor %}", "no place for the query"),
        (_CHAT.replace("| first }}", "| first | upper }}"), "no place for the query|changes the"),
        ("{{ raise_exception('no pairs') }}", "takes no pair: no pairs"),
    ],
    ids=["no place", "changed", "raises"],
)
def test_a_chat_template_that_carries_no_pair_refuses_the_load(chat, named, tmp_path):
    with pytest.raises(OurFault, match=rf"{named}.*; set the profile's pair_template|{named}"):
        load(_decoder(tmp_path, chat=chat))


@pytest.mark.parametrize("form", [{}, {"format": "auto"}], ids=["unsaid", "auto"])
@pytest.mark.parametrize("layout", ["yes less no", "content in parts"])
def test_an_unsaid_form_of_messages_is_told_by_the_template(layout, form, tmp_path):
    folder = _saved(tmp_path, **_LAYOUTS[layout])
    _same(_with_form(folder, form))


def test_a_form_of_messages_is_the_one_of_the_reference(tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(_decoder(tmp_path))
    words = ("content[0]", "x.type", "'type'", '"type"', "message.content[", "a type of content")
    templates = [None, *words, {"default": "flat"}]
    for kind in ("qwen3", *KNOWN_MODEL_TYPES_MESSAGE_FORMATS):
        # Of some families a layer slides by it.
        write_json(tmp_path / "config.json", model_type=kind, sliding_window=8)
        layout = read_score(FolderFiles(tmp_path)).layout
        assert layout is not None
        for template in templates:
            tokenizer.chat_template = template
            wanted = InputFormatter(kind, processor=tokenizer).message_format
            assert takes_texts(tokenizer, layout) == (wanted == "flat"), (kind, template)


@pytest.mark.parametrize("form", ["parts", None])
def test_a_form_of_messages_that_nobody_knows_refuses_the_load(form, tmp_path):
    with pytest.raises(OurFault, match=r"message\.format is .*; auto, flat and structured are"):
        load(_with_form(_saved(tmp_path), {"format": form}))


def _with_form(folder: Path, form: Mapping[str, Any]) -> Path:
    file = folder / "sentence_bert_config.json"
    told = json.loads(file.read_text())["modality_config"]
    del told["message"]["format"]
    write_json(file, modality_config=told | {"message": told["message"] | form})
    return folder


# ---- the formulas of the model cards ------------------------------------------------------------


class _Card:
    """A model and its tokenizer, as a model card uses them."""

    def __init__(self, folder: Path) -> None:
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder).eval()
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)

    def ids(self, text: str, limit: int | None = None) -> list[int]:
        found: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return found if limit is None else found[:limit]

    @torch.inference_mode()
    def logits(self, ids: Sequence[int], *words: str) -> list[float]:
        last = self.model(input_ids=torch.tensor([list(ids)])).logits[0, -1]
        return [last[self.ids(word)[0]].item() for word in words]


def _sigmoid(value: float) -> float:
    return float(1 / (1 + np.exp(-value)))


def _qwen3(card: _Card, query: str, document: str, limit: int, instruction: str | None) -> float:
    told = instruction or (
        "Given a web search query, retrieve relevant passages that answer the query"
    )
    prefix = card.ids(
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query "
        'and the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
        "<|im_start|>user\n"
    )
    suffix = card.ids("<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n")
    body = f"<Instruct>: {told}\n<Query>: {query}\n<Document>: {document}"
    room = limit - len(prefix) - len(suffix)
    yes, no = card.logits(prefix + card.ids(body, room) + suffix, "yes", "no")
    return float(torch.tensor([no, yes]).log_softmax(0)[1].exp())


def _mxbai(card: _Card, query: str, document: str, limit: int, instruction: str | None) -> float:
    prefix = card.ids(
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant."
        "<|im_end|>\n<|im_start|>user\n"
    )
    task = card.ids(
        "You are a search relevance expert who evaluates how well documents match search queries. "
        "For each query-document pair, carefully analyze the semantic relationship between them, "
        "then provide your binary relevance judgment (0 for not relevant, 1 for relevant).\n"
        "Relevance:"
    )
    suffix = card.ids("<|im_end|>\n<|im_start|>assistant\n")
    gap = card.ids("\n")
    room = limit - len(prefix) - len(gap) - len(task) - len(suffix)
    told = f"instruction: {instruction}\n" if instruction else ""
    asked = card.ids(f"{told}query: {query}", room * 3 // 4)
    read = (gap + card.ids(f"document: {document}"))[: room - len(asked)]
    yes, no = card.logits(prefix + asked + read + gap + task + suffix, "1", "0")
    return yes - no


def _bge(card: _Card, query: str, document: str, limit: int, instruction: str | None) -> float:
    prompt = card.ids(
        instruction
        or "Given a query A and a passage B, determine whether the passage contains an answer to "
        "the query by providing a prediction of either 'Yes' or 'No'."
    )
    gap = card.ids("\n")
    room = limit - len(gap) - len(prompt)
    asked = [card.tokenizer.bos_token_id, *card.ids(f"A: {query}", room * 3 // 4)]
    read = (gap + card.ids(f"B: {document}"))[: room - len(asked)]
    return card.logits(asked + read + gap + prompt, "Yes")[0]


def _zerank(card: _Card, query: str, document: str, limit: int, instruction: str | None) -> float:
    text = (
        f"<|im_start|>system\n{query.strip()}<|im_end|>\n<|im_start|>user\n{document.strip()}"
        "<|im_end|>\n<|im_start|>assistant\n"
    )
    return _sigmoid(card.logits(card.ids(text), "Yes")[0] / 5.0)


_CARDS: dict[str, Any] = {
    "qwen3": ("qwen3", _qwen3, 500),
    "mxbai-v2": ("qwen2", _mxbai, 560),
    "bge-gemma": ("gemma", _bge, 300),
    "zerank": ("qwen3", _zerank, 600),
}


@pytest.mark.parametrize("instruction", [None, "find the skill that solves it"])
@pytest.mark.parametrize("template", _CARDS)
def test_a_named_template_scores_as_the_models_card_says(template, instruction, tmp_path):
    family, formula, limit = _CARDS[template]
    folder = _decoder(tmp_path, family, limit=2000)
    card = _Card(folder)
    told = {} if instruction is None else {"instruction": instruction}
    for padded in (False, True):
        backend = load(folder, padded=padded, pair_template=template, max_sequence_length=limit)
        if instruction is not None and template == "zerank":
            with pytest.raises(FixRequest, match="has no place for an instruction"):
                scored(backend, _PAIRS, **told)
            continue
        expected = [formula(card, *pair, limit, instruction) for pair in _PAIRS]
        assert_same(scored(backend, _PAIRS, **told)["score"], expected)


_JUDGES = [row for row in published() if "pair_template" in FAMILIES[row.family].options]


@pytest.mark.parametrize("row", _JUDGES, ids=lambda row: row.id)
def test_a_judge_of_the_catalog_scores_by_its_document_as_its_card_says(row, tmp_path):
    """As it is registered: no word is added, and the files are a bare decoder's."""
    document = document_of(row)
    profile = document["profiles"]["default"]
    family, formula, limit = _CARDS[profile["options"]["pair_template"]]
    folder = _decoder(tmp_path, family, chat="{{ messages }}", limit=limit)
    backend = load(folder, backend=profile["backend"], **profile["options"])
    assert list(document["tasks"]) == ["score"]
    card = _Card(folder)
    expected = [formula(card, *pair, limit, row.instruction or None) for pair in _PAIRS]
    assert_same(scored(backend, _PAIRS)["score"], expected)


def test_a_written_template_and_its_tokens_are_those_of_the_profile(tmp_path):
    folder = _decoder(tmp_path, "llama", limit=2000)
    card = _Card(folder)
    backend = load(
        folder,
        pair_template="Q: {query}\nI: {instruction}\nD: {document}\nanswer:",
        default_instruction="why",
        yes_token="Yes",
        no_token="no",
        activation="none",
        temperature=2.0,
    )
    found = scored(backend, _PAIRS)
    expected = []
    for query, document in _PAIRS:
        head = card.ids(f"Q: {query}\nI: why\nD: ")
        ids = head + card.ids(document) + card.ids("\nanswer:")
        yes, no = card.logits(ids, "Yes", "no")
        expected.append((yes - no) / 2.0)
    assert_same(found["score"], expected)
    assert_same(found["relevance"], [_sigmoid(value) for value in expected])


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"pair_template": "qwen4"}, "is no template of pairs; known are bge-gemma, mxbai-v2"),
        ({"pair_template": "{document} {query}"}, "{document} is the last place"),
        ({"pair_template": "{query} {text}"}, "a template has no place {text}"),
        ({"pair_template": "qwen3", "no_token": "no"}, "no_token needs yes_token"),
        ({"pair_template": "zerank", "default_instruction": "x"}, "no template of this profile"),
        ({"pair_template": "qwen3", "doc_template": "D: {text}"}, "doc_template is for one text"),
    ],
)
def test_a_template_that_cannot_be_filled_refuses_the_load(options, named, tmp_path):
    with pytest.raises(OurFault) as refused:
        load(_decoder(tmp_path), **options)
    assert named in refused.value.message


def test_a_yes_outside_the_vocabulary_refuses_the_load(tmp_path):
    folder = _saved(tmp_path)
    path = next(folder.glob("*LogitScore")) / "config.json"
    write_json(path, true_token_id=4000)
    with pytest.raises(OurFault, match="true_token_id is 4000"):
        load(folder)
    write_json(path, module_input_name="other")
    with pytest.raises(OurFault, match="module_input_name is 'other'"):
        load(folder)
    assert json.loads(path.read_text())["module_input_name"] == "other"
