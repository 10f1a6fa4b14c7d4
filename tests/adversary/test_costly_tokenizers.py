"""A model's author writes a tokenizer or a config that takes all memory, or a thread for ever.

A tokenizer is native code that nothing interrupts, and its texts are other people's. A config is
believed by libraries before they look at a weight.
"""

import hashlib
import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from tests.support import small_tokenizers
from tests.support.encoder_models import fresh_device, write_tiny
from tests.support.small_jobs import small_job
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from transformers import BertConfig

from sie_layouts.architectures.counts import too_many_parts
from sie_layouts.inputs.tokenizer_costs import costly_parts
from sie_schemas.documents import EncodeTask, ProfileDocument, Tasks
from sie_schemas.errors import OurFault
from sie_schemas.ipc import Loaded
from sie_schemas.items import Item
from sie_server.backends.backend import ModelSpec
from sie_server.backends.names import load_backend
from sie_server.weights.sources import Weights
from sie_worker.forms import tokenizing

WORDS = {"[UNK]": 0, "a": 1, "##a": 2}
TWICE = normalizers.Replace("a", "aa")


def word_level() -> Tokenizer:
    return Tokenizer(models.WordLevel(WORDS, unk_token="[UNK]"))


def normalized(*steps: Any) -> Tokenizer:
    made = word_level()
    made.normalizer = normalizers.Sequence(list(steps))
    return made


def split(expression: str) -> Tokenizer:
    made = word_level()
    made.pre_tokenizer = pre_tokenizers.Split(Regex(expression), "isolated")
    return made


COSTLY: dict[str, tuple[Tokenizer, str]] = {
    "doubled and doubled": (normalized(*[TWICE] * 26), "characters of one"),
    "a word of a letter": (normalized(normalizers.Replace("a", "a" * 1000)), "characters of one"),
    "between all letters": (normalized(normalizers.Replace(Regex("x*"), "a" * 999)), "of one"),
    "sequences in sequences": (
        normalized(normalizers.Sequence([TWICE] * 20), normalizers.Sequence([TWICE] * 20)),
        "characters of one",
    ),
    "a long beginning": (normalized(normalizers.Prepend("a" * 100_000)), "characters of one"),
    "bytes of bytes": (normalized(*[normalizers.ByteLevel()] * 9), "characters of one"),
    "steps": (normalized(*[normalizers.Lowercase()] * 99), "99 steps"),
    "a word without end": (
        Tokenizer(models.WordPiece(WORDS, unk_token="[UNK]", max_input_chars_per_word=10**9)),
        "max_input_chars_per_word",
    ),
    "repeats of repeats": (split(r"(a+)+$"), "repeats what repeats"),
    "repeats of choices": (split(r"(?:a|aa)+c"), "repeats what repeats"),
    "hidden in groups": (split(r"((?:a*)b?)*c"), "repeats what repeats"),
    "counted": (split(r"(\w{1,}){2,}c"), "repeats what repeats"),
    "repeats in a row": (split(r"x*x*(?!x|\b)"), "repeats in a row"),
    "slow repeats in a row": (split(r"x*?x*?y+?"), "repeats in a row"),
    "groups in a row": (split(r"(?:x*|z)(x?x+)y"), "repeats in a row"),
    "repeats that are looked for": (split(r"x*(?!x*y)"), "repeats in a row"),
    "counted in a row": (split(r"x{1,50}x{1,50}x{1,50}y"), "repeats in a row"),
    "in a choice of a group": (split(r"a|(?:b(?:c|x*x*y)?)"), "repeats in a row"),
    "what was found before": (split(r"(x+)\1+y"), "for ever"),
    "itself": (split(r"(?<a>x|x\g<a>y)"), "for ever"),
}


def growth_refused(*kinds: str | int) -> bool:
    """True if steps are refused: normal forms by name, and maps whose longest text is so long."""
    steps: list[dict[str, Any]] = []
    for kind in kinds:
        if isinstance(kind, str):
            steps.append({"type": kind})
            continue
        content = b64encode(bytes(4) + b"a" * kind + b"\0").decode()
        steps.append({"type": "Precompiled", "precompiled_charsmap": content})
    return any(costly_parts({"type": "Sequence", "normalizers": steps}, None))


def test_a_map_of_characters_counts_once_and_a_second_one_again() -> None:
    """The longest text of the published maps has 18 characters: such a map is a normal form."""
    taken: list[tuple[str | int, ...]] = [
        (18,),
        (324,),
        (18, 18),
        ("NFKC", 18),
        ("NFKD", "NFC", 18),
    ]
    refused: list[tuple[str | int, ...]] = [(325,), (18, 18, 18), (19, "NFKC"), (18, 18, 2)]
    assert [growth_refused(*kinds) for kinds in taken] == [False] * len(taken)
    assert [growth_refused(*kinds) for kinds in refused] == [True] * len(refused)


def read(tokenizer: Tokenizer, folder: Path) -> tokenizing.Tokenizer:
    path = folder / "tokenizer.json"
    tokenizer.save(str(path))
    return tokenizing.Tokenizer.read(loaded(path))


def loaded(path: Path) -> Loaded:
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    return Loaded(
        id=0,
        revision="r",
        accepts="tokens",
        tokenizer_path=str(path),
        tokenizer_sha256=found,
        max_sequence_length=8,
    )


@pytest.mark.parametrize("name", sorted(COSTLY))
def test_a_tokenizer_that_may_take_all_is_not_used(name: str, tmp_path: Path) -> None:
    tokenizer, words = COSTLY[name]
    with pytest.raises(OurFault, match=words) as refused:
        read(tokenizer, tmp_path)
    assert refused.value.code == "MODEL_LOAD_FAILED"


KNOWN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{M}]*[\p{Ll}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}",
    r" ?[^(\s|[.,!?\u2026\u3002])]+",
    r"\d{1,3}(?=(?:\d{3})*\b)",
    r"[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s+(?!\S)|\s",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+",
    r"\s*\n\s*",
    r" {2,}",
)
"""Expressions of published tokenizers."""


@pytest.mark.parametrize("expression", KNOWN, ids=range(len(KNOWN)))
def test_the_expressions_of_published_tokenizers_are_used(expression: str, tmp_path: Path) -> None:
    assert read(split(expression), tmp_path)


@pytest.mark.parametrize(
    "family",
    [
        "Bert",
        "MPNet",
        "Roberta",
        "Albert",
        "XLMRoberta",
        "T5",
        "DebertaV2",
        "Qwen2",
        "Gemma",
        "Llama",
    ],
)
def test_the_tokenizers_of_families_are_used(family: str, tmp_path: Path) -> None:
    made = small_tokenizers.small_tokenizer(family)
    assert read(made.backend_tokenizer, tmp_path)


def test_a_text_at_which_the_library_panics_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The expression is let through, as one that nobody thought of would be."""
    monkeypatch.setattr(tokenizing, "_why_costly", lambda _: "")
    panics = read(split(r"(a+)+$"), tmp_path)
    job = small_job(items=(Item(text="a" * 40 + "b"),))
    with pytest.raises(OurFault, match="not tokenized") as failed:
        tokenizing.prepare(job, loaded(tmp_path / "tokenizer.json"), panics)
    assert failed.value.code == "INFERENCE_ERROR"


@pytest.mark.parametrize(
    "change",
    [
        {"num_hidden_layers": 10**6},
        {"num_labels": 10**8},
        {"num_hidden_layers": 10**30},
        {"text_config": {"encoder_layers": 10**7}},
        {"depths": [2, 10**6]},
    ],
    ids=str,
)
def test_a_config_of_more_layers_than_any_model_has_makes_none(
    change: dict[str, Any], tmp_path: Path
) -> None:
    shape: dict[str, Any] = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    write_tiny(tmp_path, BertConfig(vocab_size=60, intermediate_size=8, **shape))
    config = tmp_path / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    profile = ProfileDocument(backend="transformer")
    spec = ModelSpec("m", "r", Weights(tmp_path, None), Tasks(encode=EncodeTask()), profile)
    with pytest.raises(OurFault, match="are made"):
        load_backend(spec, fresh_device())


@pytest.mark.parametrize(
    "config",
    [
        {"label2id": {"blocks": 2500, "last layer": 2501}},
        {"num_parameters": 135_000_000, "num_train_examples": 5_000_000},
        {"added_tokens_decoder": {"128000": {"content": "<a>"}}, "n_positions": 2_000_000},
    ],
    ids=["names of classes", "facts", "numbers of words"],
)
def test_a_config_of_many_names_and_facts_asks_for_no_parts(config: dict[str, Any]) -> None:
    assert not [*too_many_parts(config)]
