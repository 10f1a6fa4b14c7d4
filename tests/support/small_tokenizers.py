"""Small tokenizers of each family, as transformers itself makes them: a vocabulary of few words.

Each is a real tokenizer of its class: splitting, special tokens and files are the family's own.
"""

import json
import re
import string
from collections import Counter
from collections.abc import Iterable
from functools import cache
from itertools import product
from math import log
from typing import Any

import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

__all__ = [
    "WORDS",
    "byte_pairs",
    "parts_of",
    "pieces",
    "small_tokenizer",
    "weighed_pieces",
    "word_pieces",
]

WORDS = [
    "the", "a", "cat", "dog", "sat", "on", "mat", "river", "bank", "money", "query", "document",
    "house", "of", "red", "blue", "green", "word", "number", "one", "two", "three", "four",
    "five", "six", "seven", "eight", "nine", "ten", "is", "it", "was", "not", "and", "or", "but",
    "with", "very", "long", "short", "text", "about", "nothing", "much", "at", "all",
]  # fmt: skip
_BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


@cache
def word_pieces(*special: str) -> dict[str, int]:
    """A vocabulary of WordPiece: special tokens first, then words, letters and endings."""
    letters = list(string.ascii_lowercase)
    parts = [*(special or _BERT), *WORDS, *letters, *(f"##{letter}" for letter in letters)]
    return {part: place for place, part in enumerate(dict.fromkeys([*parts, *".,:!?", "##ing"]))}


@cache
def byte_pairs(*special: str) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A vocabulary of byte pairs and its merges."""
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=list(special or _ROBERTA),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    model = _trained(models.BPE(), pre_tokenizers.ByteLevel(add_prefix_space=False), trainer)
    return model["vocab"], [tuple(pair) for pair in model["merges"]]


_LONGEST = 6
"""Characters of the longest piece."""


def parts_of(words: Iterable[str], size: int) -> list[tuple[str, bool, int]]:
    """Pieces of words, whether each begins one, and how often it occurs: every character, and of
    the longer ones those that spare most. Counted and not trained: the trainers of WordPiece and
    Unigram give another vocabulary in each process."""
    counts: Counter[tuple[str, bool]] = Counter()
    for word in words:
        for start, length in product(range(len(word)), range(1, _LONGEST + 1)):
            if start + length <= len(word):
                counts[word[start : start + length], start == 0] += 1
    order = sorted(counts, key=lambda part: (len(part[0]) > 1, -counts[part] * len(part[0]), part))
    return [(text, begins, counts[text, begins]) for text, begins in order[:size]]


def weighed_pieces(words: Iterable[str], size: int) -> list[tuple[str, float]]:
    """The pieces of a unigram model: by how often each occurs where blanks are marked."""
    # As in large vocabularies no piece glues a word to the mark behind it, nor two words of a
    # script that has no blanks.
    split = (part for word in words for part in re.findall("▁?[A-Za-z]+|▁?[^▁]", f"▁{word}"))
    counts: Counter[str] = Counter()
    for text, _, count in parts_of(split, size):
        counts[text] += count
    total = log(sum(counts.values()))
    return [(text, log(count) - total) for text, count in counts.items()]


@cache
def pieces() -> list[tuple[str, float]]:
    """The pieces of a unigram model, without special tokens."""
    return weighed_pieces(WORDS, 120)


def _trained(model: Any, splitter: Any, trainer: Any) -> Any:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = splitter
    tokenizer.train_from_iterator([" ".join(WORDS)] * 3, trainer)
    return json.loads(tokenizer.to_str())["model"]


def small_tokenizer(family: str, **options: Any) -> Any:
    """A tokenizer of a family by the name of its transformers' class without `Tokenizer`."""
    kind = getattr(transformers, f"{family}Tokenizer")
    match family:
        case "Bert" | "DistilBert":
            return kind(vocab=word_pieces(), do_lower_case=True, **options)
        case "MPNet":
            return kind(
                vocab=word_pieces("<s>", "<pad>", "</s>", "<unk>", "[UNK]", "<mask>"), **options
            )
        case "Roberta":
            vocabulary, merges = byte_pairs()
            return kind(vocab=vocabulary, merges=merges, **options)
        case "Qwen2" | "Gemma" | "Llama":
            vocabulary, merges = byte_pairs("<pad>", "<eos>", "<bos>", "<unk>", "<|endoftext|>")
            return kind(vocab=vocabulary, merges=merges, **{"pad_token": "<pad>", **options})
        case _:
            return kind(vocab=_marked(family), **options, **_OPTIONS.get(family, {}))


_OPTIONS: dict[str, dict[str, Any]] = {"T5": {"extra_ids": 0}}
_MARKS = {
    "XLMRoberta": (["<s>", "<pad>", "</s>", "<unk>"], ["<mask>"]),
    "T5": (["<pad>", "</s>", "<unk>"], []),
    "Albert": (["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"], []),
    "DebertaV2": (["[PAD]", "[CLS]", "[SEP]", "[UNK]"], ["[MASK]"]),
}


def _marked(family: str) -> list[tuple[str, float]]:
    first, last = _MARKS[family]
    return [*((mark, 0.0) for mark in first), *pieces(), *((mark, 0.0) for mark in last)]
