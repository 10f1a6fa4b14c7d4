"""Decoders that their authors' code only turns to both sides answer as that code computes.

The code is not at hand. The reference is what it does beside transformers' own class: a mask that
hides nothing, a token behind each text, and words before a text that no pooling counts.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf
from msgspec.structs import replace
from sentence_transformers.base.modules import Dense
from tests.support.conformance import TEXTS, Answerer, load, save_small
from tests.support.sameness import assert_same
from tests.support.small_jobs import small_job
from tests.support.small_tokenizers import small_tokenizer
from torch.nn.functional import normalize

from sie_cli.models.proposal import propose
from sie_layouts.architectures.published import LOOKS_BOTH_WAYS
from sie_layouts.folder import FolderFiles
from sie_schemas.errors import SIEError
from sie_schemas.items import Item
from sie_worker.forms.tokenizing import Tokenizer, prepare

_SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "max_position_embeddings": 256,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
}
_END = "<|endoftext|>"
_CLASSES = ["tokenization_qwen.Qwen2Tokenizer", "tokenization_qwen.Qwen2TokenizerFast"]
_STELLA = next(iter(LOOKS_BOTH_WAYS))
_GRITLM = {"AutoModel": "modeling_gritlm7b.MistralModel"}


@torch.inference_mode()
def _both_ways(folder: Path, ids: list[int]) -> torch.Tensor:
    """The states of a text through a mask that hides nothing."""
    model: Any = tf.AutoModel.from_pretrained(folder, attn_implementation="eager")
    nothing_hidden = torch.zeros(1, 1, len(ids), len(ids))
    states: torch.Tensor = model(torch.tensor([ids]), attention_mask=nothing_hidden)[0][0]
    return states


def _changed(path: Path, **keys: Any) -> None:
    told = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(told | keys))


def _qwen(folder: Path, **config: Any) -> Path:
    """The files of gte-Qwen2: transformers' own form, and code beside it that must not run."""
    tokenizer = small_tokenizer("Qwen2", eos_token=_END, model_max_length=90)
    made = tf.Qwen2Config(**_SIZES, vocab_size=len(tokenizer), pad_token_id=0)
    save_small(folder, tf.AutoModel.from_config(made), tokenizer)
    code = {"AutoModel": "modeling_qwen.Qwen2Model"}
    _changed(folder / "config.json", auto_map=code, architectures=["Qwen2ForCausalLM"], **config)
    _changed(
        folder / "tokenizer_config.json", auto_map={"AutoTokenizer": _CLASSES}, add_eos_token=True
    )
    around = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False}
    _changed(folder / "tokenizer.json", post_processor=around | {"use_regex": False})
    for name in ("modeling_qwen.py", "tokenization_qwen.py"):
        (folder / name).write_text("raise SystemExit('this code must not run')")
    return folder


def _modules(folder: Path, pooling: str, *more: str) -> None:
    parts = ["Transformer", "Pooling", *more]
    listed = [
        {
            "idx": place,
            "name": str(place),
            "path": f"{place}_{part}" if place else "",
            "type": f"sentence_transformers.models.{part}",
        }
        for place, part in enumerate(parts)
    ]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "1_Pooling").mkdir()
    told = {"word_embedding_dimension": 16, f"pooling_mode_{pooling}": True}
    if pooling != "mean_tokens":
        told["pooling_mode_mean_tokens"] = False
    (folder / "1_Pooling/config.json").write_text(json.dumps(told))


def _ended(folder: Path, text: str) -> list[int]:
    """The ids of a text, at most the tokenizer's length, and the token behind it."""
    tokenizer = tf.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    ends: list[int] = tokenizer(_END, add_special_tokens=False)["input_ids"]
    return [*ids[:89], *ends]


@pytest.mark.parametrize("name", ["gte", "stella"])
@torch.inference_mode()
def test_a_qwen2_whose_tokenizer_ends_texts_answers_by_its_authors_way(name, tmp_path):
    if name == "gte":
        folder = _qwen(tmp_path, is_causal=False)
        _modules(folder, "lasttoken", "Normalize")
        expected = [
            normalize(_both_ways(folder, _ended(folder, text))[-1], dim=0) for text in TEXTS
        ]
    else:
        folder = _qwen(tmp_path)
        _modules(folder, "mean_tokens", "Dense")
        layer = Dense(16, 12, activation_function=torch.nn.Identity())
        (folder / "2_Dense").mkdir()
        layer.save(str(folder / "2_Dense"))
        means = [_both_ways(folder, _ended(folder, text)).mean(dim=0) for text in TEXTS]
        expected = [layer({"sentence_embedding": mean})["sentence_embedding"] for mean in means]
    for padded in (False, True):
        answerer = Answerer(load(folder, padded=padded, hub_name="" if name == "gte" else _STELLA))
        assert answerer.loaded.execution == ("padded" if padded else "packed")
        assert_same(answerer.vectors(TEXTS), torch.stack(expected).numpy())
    found = propose(
        FolderFiles(folder), takes_pickles=False, name=_STELLA.partition("@")[0],
        commit=_STELLA.partition("@")[2],
    )  # fmt: skip
    assert not found.refusals
    assert found.tasks == {"encode": {"outputs": ["dense"]}}


def test_another_commit_of_such_a_repository_is_refused(tmp_path):
    folder = _qwen(tmp_path)
    _modules(folder, "mean_tokens")
    name, other = _STELLA.partition("@")[0], "0" * 40
    found = propose(FolderFiles(folder), takes_pickles=False, name=name, commit=other)
    assert "whether a token looks ahead" in str(found.refusals[0])
    with pytest.raises(SIEError, match="whether a token looks ahead"):
        load(folder, hub_name=f"{name}@{other}")


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("tokenizer_config.json", {"add_eos_token": False}, "which token ends a text"),
        ("tokenizer_config.json", {"add_eos_token": None}, "which token ends a text"),
        ("tokenizer_config.json", {"eos_token": None}, "which token ends a text"),
        (
            "tokenizer_config.json",
            {"auto_map": {"AutoTokenizer": [None, _CLASSES[1]]}},
            "which token ends a text",
        ),
        ("config.json", {"model_type": "qwen3"}, "which token ends a text"),
        (
            "tokenizer.json",
            {
                "post_processor": {
                    "type": "TemplateProcessing",
                    "single": [{"Sequence": {"id": "A", "type_id": 0}}],
                    "pair": [{"Sequence": {"id": "A", "type_id": 0}}],
                    "special_tokens": {},
                }
            },
            "post_processor is TemplateProcessing",
        ),
    ],
)
def test_what_only_the_tokenizer_s_code_does_is_refused_by_its_key(file, change, said, tmp_path):
    folder = _qwen(tmp_path, is_causal=False)
    _modules(folder, "lasttoken")
    _changed(folder / file, **change)
    found = propose(FolderFiles(folder), takes_pickles=False, name="a")
    assert said in "; ".join(map(str, found.refusals))
    with pytest.raises(SIEError, match=said):
        load(folder)


def _gritlm(folder: Path) -> Path:
    tokenizer = small_tokenizer("Llama", model_max_length=90, bos_token="<bos>", eos_token="<eos>")
    # A window that transformers' own class would look through.
    made = tf.MistralConfig(**_SIZES, vocab_size=len(tokenizer), pad_token_id=0, sliding_window=5)
    save_small(folder, tf.AutoModel.from_config(made), tokenizer)
    told = {"auto_map": _GRITLM, "architectures": ["MistralForCausalLM"]}
    _changed(folder / "config.json", **told)
    _changed(folder / "tokenizer_config.json", chat_template="{{ messages }}")
    return folder


_WORDS = "<|user|>\n{instruction}\n<|embed|>\n"
_CALLS: Any = [
    ({}, None, "<|embed|>\n"),
    ({"is_query": True}, None, "<|user|>\nfind\n<|embed|>\n"),
    ({"is_query": True}, "the red house", "<|user|>\nthe red house\n<|embed|>\n"),
]


@torch.inference_mode()
def test_gritlm_answers_by_its_authors_way(tmp_path):
    """Mistral through a mask that hides nothing; the mean leaves the words before a text out."""
    folder = _gritlm(tmp_path)
    tokenizer = tf.AutoTokenizer.from_pretrained(folder)
    words = {
        "query": f"{_WORDS}{{text}}", "document": "<|embed|>\n{text}", "instruction": "find"
    }  # fmt: skip
    texts = (*TEXTS, "one two three four five six seven eight nine ten " * 30)
    items = tuple(Item(text=text) for text in texts)
    # Its library cuts at 512 where its caller names no other length, whatever its tokenizer says.
    for padded, length in ((False, None), (True, None), (False, 90)):
        backend = load(folder, padded=padded, max_sequence_length=length, batch_cost_max=1024)
        answerer = Answerer(backend)
        assert answerer.loaded.execution == ("padded" if padded else "packed")
        assert answerer.loaded.max_sequence_length == (length or 512)
        loaded = replace(answerer.loaded, templates=words)
        for options, instruction, before in _CALLS:
            job = small_job(items=items, options=options, instruction=instruction)
            made = prepare(job, loaded, Tokenizer.read(loaded))
            expected = []
            for text in texts:
                ids = tokenizer(before + text, truncation=True, max_length=length or 512)[
                    "input_ids"
                ]
                skip = len(tokenizer(before)["input_ids"])
                expected.append(normalize(_both_ways(folder, ids)[skip:].mean(dim=0), dim=0))
            found = answerer.answered([given for _, given, _ in made.inputs])
            assert_same(found, torch.stack(expected).numpy())
    told = propose(FolderFiles(folder), takes_pickles=False, name="GritLM/GritLM-7B")
    assert not told.refusals
    assert told.tasks == {"encode": {"outputs": ["dense"]}}


def test_gritlm_beside_modules_is_refused(tmp_path):
    folder = _gritlm(tmp_path)
    _modules(folder, "mean_tokens")
    found = propose(FolderFiles(folder), takes_pickles=False, name="GritLM/GritLM-7B")
    assert "looks both ways for gritlm and back for sentence-transformers" in str(found.refusals)
    with pytest.raises(SIEError, match="looks both ways for gritlm"):
        load(folder)
