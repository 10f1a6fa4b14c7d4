"""Small classifiers of tokens with the tokenizers of widespread families, made on the spot.

Each tokenizer is made of a handful of sentences and is of the family's own class; the models are
random, or fitted to sentences whose entities are given.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st
from tests.support.small_tokenizers import parts_of, weighed_pieces
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import (
    AutoModelForTokenClassification,
    AutoTokenizer,
    BertConfig,
    BertTokenizer,
    DebertaV2Config,
    DebertaV2Tokenizer,
    LlamaConfig,
    LlamaTokenizer,
    OpenAIPrivacyFilterConfig,
    PreTrainedConfig,
    Qwen2Tokenizer,
    Qwen3Config,
    RobertaConfig,
    RobertaTokenizer,
    XLMRobertaConfig,
    XLMRobertaTokenizer,
)

__all__ = ["CORPUS", "FAMILIES", "HOSTILE", "Sentence", "fit", "write_classifier", "write_family"]

Sentence = tuple[str, Sequence[tuple[str, str]]]
"""A text, and its entities as (text, kind) in order."""

CORPUS = (
    "Tim Cook spoke in Berlin. Tim Cook went to Berlin! (Berlin), Lisbon; Tim Cook!",
    "Ada Lovelace and Charles Babbage lived in London, England, and wrote to Jean-Baptiste.",
    "The U.S. and the U.N. met Angela Merkel's team in New York on 3.5.2024 for 5€ or $7.",
    "习近平访问了柏林。 東京タワーは日本にあります。 สวัสดีครับ กรุงเทพ Привет, Москва!",
    "José Müller naïve café 😀 👩‍👩‍👧 e\u0301 ﬁne İstanbul ß x\u200dy\n\ttab  two  blanks",
    "micro micros microsoft microscope company companies com pany soft softly unaffordable",
)
HOSTILE = st.text(
    st.one_of(
        st.sampled_from("TimCookBerlin .,()-'\t\n\u00a0\u3000▁Ġ##习近平東京タワสวัสดี"),
        st.sampled_from(
            "😀👩👧\u200d\ufe0f🇩🇪🏽e\u0301\u0327\u200bﬁİßǆ가\u1100\u1161क\u094dष\u0bbe\ud7a3"
        ),
        st.sampled_from("\0\x1c\u0085\u2028\u2029\ufeff\u202e\u05d0\u05d1\u0627\u0644\u0633\u0651"),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=60,
)
"""Texts that tokenizers and offsets stumble over."""
_SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "pad_token_id": 0,
}
_POSITIONS = 258


def _word_pieces(*, lowercase: bool = False, size: int = 260) -> Any:
    normalizer, splitter = (
        normalizers.BertNormalizer(lowercase=lowercase),
        pre_tokenizers.BertPreTokenizer(),
    )
    words = [
        word
        for text in CORPUS
        for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))
    ]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [text if begins else f"##{text}" for text, begins, _ in parts_of(words, size)]
    vocabulary = {piece: place for place, piece in enumerate([*special, *pieces])}
    return BertTokenizer(vocab=vocabulary, do_lower_case=lowercase)


def _uncased() -> Any:
    return _word_pieces(lowercase=True, size=220)


def _unigram(special: Sequence[str]) -> list[tuple[str, float]]:
    words = (word for text in CORPUS for word in text.split())
    return [*((token, 0.0) for token in special), *weighed_pieces(words, 300)]


def _pairs(pre_tokenizer: Any, special: Sequence[str], size: int, **model: Any) -> dict[str, Any]:
    """Vocabulary and merges of pairs of bytes, or of characters."""
    tokenizer = Tokenizer(models.BPE(**model))
    tokenizer.pre_tokenizer = pre_tokenizer
    alphabet = pre_tokenizers.ByteLevel.alphabet() if not model else []
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=[*special], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    told = json.loads(tokenizer.to_str())["model"]
    return {"vocab": told["vocab"], "merges": [tuple(pair) for pair in told["merges"]]}


def _xlm() -> Any:
    return XLMRobertaTokenizer(vocab=_unigram(["<s>", "<pad>", "</s>", "<unk>"]))


def _deberta() -> Any:
    vocabulary = _unigram(["[PAD]", "<unk>", "[CLS]", "[SEP]", "[MASK]"])
    vocabulary[1] = ("[UNK]", vocabulary[1][1])
    return DebertaV2Tokenizer(vocab=vocabulary)


def _qwen() -> Any:
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return Qwen2Tokenizer(**_pairs(bytes_, ["<|endoftext|>"], 300))


def _roberta() -> Any:
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    return RobertaTokenizer(**_pairs(bytes_, special, 300))


def _llama() -> Any:
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    marks = pre_tokenizers.Metaspace()
    return LlamaTokenizer(
        **_pairs(marks, special, 420, byte_fallback=True, unk_token="<unk>"), add_bos_token=True
    )


FAMILIES: Mapping[str, tuple[Callable[[], Any], Any, dict[str, Any]]] = {
    "bert": (_word_pieces, BertConfig, {"max_position_embeddings": _POSITIONS}),
    "bert-uncased": (_uncased, BertConfig, {"max_position_embeddings": _POSITIONS}),
    "xlm-roberta": (
        _xlm,
        XLMRobertaConfig,
        {"pad_token_id": 1, "max_position_embeddings": _POSITIONS},
    ),
    "deberta-v3": (
        _deberta,
        DebertaV2Config,
        {
            "max_position_embeddings": _POSITIONS,
            "relative_attention": True,
            "position_buckets": 16,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
            "type_vocab_size": 0,
        },
    ),
    "roberta": (
        _roberta,
        RobertaConfig,
        {"pad_token_id": 1, "max_position_embeddings": _POSITIONS},
    ),
    "qwen3": (_qwen, Qwen3Config, {"num_key_value_heads": 2, "head_dim": 8}),
    "llama": (_llama, LlamaConfig, {"num_key_value_heads": 2}),
}
"""A tokenizer, the class of the model's config, and what that says besides the shape."""
_RARE: Mapping[str, tuple[Callable[[], Any], Any, dict[str, Any]]] = {
    "privacy-filter": (
        _qwen,
        OpenAIPrivacyFilterConfig,
        {
            "head_dim": 8,
            "num_experts_per_tok": 2,
            "num_key_value_heads": 2,
            "num_local_experts": 4,
            "sliding_window": 16,
        },
    ),
}
"""Families of which one test is enough: what they share with the others is tried there."""


def write_family(
    folder: Path, family: str, names: Sequence[str], *, kind: Any, seed: int = 5, **changes: Any
) -> Any:
    """Save a random model of a family, with its tokenizer. Gives the model."""
    tokenizer_of, config_of, own = {**FAMILIES, **_RARE}[family]
    tokenizer = tokenizer_of()
    tokenizer.model_max_length = 1_000_000
    tokenizer.save_pretrained(folder)
    config: PreTrainedConfig = config_of(**{**_SHAPE, **own, **changes}, vocab_size=len(tokenizer))
    config.id2label = dict(enumerate(names))
    config.label2id = {name: place for place, name in enumerate(names)}
    torch.manual_seed(seed)
    model = kind.from_config(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(6)
    model.save_pretrained(folder)
    return model


def write_classifier(
    folder: Path, family: str, names: Sequence[str], *, seed: int = 5, **changes: Any
) -> Any:
    """Save a random classifier of tokens. Gives the model."""
    return write_family(
        folder, family, names, kind=AutoModelForTokenClassification, seed=seed, **changes
    )


def fit(
    folder: Path,
    family: str,
    names: Sequence[str],
    sentences: Sequence[Sentence],
    tag: Callable[[str, int, int], str],
) -> None:
    """Fit a classifier to sentences, and save it.

    `tag(kind, place, count)` names the label of a token: the entity's kind, the token's place among
    the tokens of the entity, and their number.
    """
    model = write_classifier(folder, family, names, num_hidden_layers=1, seed=2)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    wanted = [_labels(tokenizer, names, sentence, tag) for sentence in sentences]
    model.train()
    steps = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(400):
        steps.zero_grad()
        loss = torch.stack(
            [
                torch.nn.functional.cross_entropy(model(input_ids=ids[None]).logits[0], labels)
                for ids, labels in wanted
            ]
        ).sum()
        if loss.item() < 0.1:
            break
        loss.backward()
        steps.step()
    else:
        raise AssertionError(f"{family} was not fitted: {loss.item()}")
    model.eval().save_pretrained(folder)


def _labels(
    tokenizer: Any, names: Sequence[str], sentence: Sentence, tag: Callable[[str, int, int], str]
) -> tuple[torch.Tensor, torch.Tensor]:
    text, entities = sentence
    read = tokenizer(text, return_offsets_mapping=True)
    labels = ["O"] * len(read["input_ids"])
    place = 0
    for part, kind in entities:
        start = text.index(part, place)
        place = start + len(part)
        inside = [
            number
            for number, (first, last) in enumerate(read["offset_mapping"])
            if first < place and last > start and text[max(first, start) : last].strip()
        ]
        for at, number in enumerate(inside):
            labels[number] = tag(kind, at, len(inside))
    ids = torch.tensor(read["input_ids"])
    return ids, torch.tensor([names.index(label) for label in labels])
