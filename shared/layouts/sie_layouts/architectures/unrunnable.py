"""Values of a config.json with which transformers' own class fails, or answers in two ways.

*pure.* Asked when a model is added, and again before it loads: files change.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sie_layouts.architectures.configs import untaken
from sie_layouts.architectures.published import published_form
from sie_layouts.architectures.without_texts import MORE_THAN_TEXTS, WITHOUT_TEXTS
from sie_layouts.facts import Refusal

__all__ = ["CAUSAL_WHERE_UNPADDED", "CHUNKED", "unnamed_labels", "unrunnable"]

CAUSAL_WHERE_UNPADDED: Final = frozenset({
    "albert", "bert", "bert-generation", "camembert", "data2vec-text", "distilbert", "electra",
    "ernie", "esm", "esmc", "eurobert", "gte", "jina_embeddings_v3", "mobilebert", "modernbert",
    "mt5", "nomic_bert", "roberta", "roberta-prelayernorm", "roc_bert", "t5", "ultrabert",
    "xlm-roberta", "xlm-roberta-xl", "xmod",
})  # fmt: skip
"""Types that look back for `is_causal: true` where no text is padded, and both ways where one is.
"""
CHUNKED: Final = frozenset({
    "albert", "bert", "bert-generation", "big_bird", "camembert", "canine", "convbert",
    "data2vec-text", "distilbert", "electra", "ernie", "flaubert", "fnet", "git", "layoutlm",
    "layoutlmv3", "lilt", "luke", "markuplm", "megatron-bert", "mra",
    "nystromformer", "reformer", "rembert", "roberta", "roberta-prelayernorm", "roc_bert",
    "roformer", "splinter", "tapas", "visual_bert", "xlm", "xlm-roberta", "xlm-roberta-xl",
    "xlnet", "xmod", "yoso",
})  # fmt: skip
"""Types whose feed-forward layers read a text in parts, of a size that config.json says."""
_WHOLE: Final = re.compile(r"\s*[+-]?\d{1,9}\s*")
"""The form of a key that is read as a whole number. No model has a milliard of labels, and Python
reads no number of thousands of digits."""
_WINDOW: Final = 512
"""The window of a Longformer whose config says none."""
_RESTORE: Final = "restore the file"


def unrunnable(name: str, config: Mapping[str, Any]) -> Iterator[Refusal]:
    """A refusal for each value of the config `name` that no folder is run with."""
    kind = str(config.get("model_type"))
    if kind in WITHOUT_TEXTS | MORE_THAN_TEXTS:
        said = "takes no texts" if kind in WITHOUT_TEXTS else "takes more than texts, or gives less"
        cure = "choose the model of texts, where the repository has one"
        yield Refusal(f"{name}: model_type", f"is {kind}, which in transformers {said}", cure)
    yield from _chunks(name, kind, config)
    yield from _direction(name, kind, config.get("is_causal"))
    yield from _labels(name, config)
    yield from _positions(name, config.get("max_position_embeddings"))
    # Code of a model's own has a config class of its own, where an operator allows it.
    if published_form(config) is None and not _has_own_config(config):
        yield from untaken(name, kind, config)


def _has_own_config(config: Mapping[str, Any]) -> bool:
    code = config.get("auto_map")
    return isinstance(code, Mapping) and "AutoConfig" in code


def _positions(name: str, value: object) -> Iterator[Refusal]:
    """Of 0 a reference makes no limit at all, or fails."""
    if value == 0 and not isinstance(value, bool):
        said = "is 0, by which transformers fails, or cuts no text at whatever length"
        yield Refusal(
            f"{name}: max_position_embeddings", said, "say the tokens of its longest text"
        )


def _chunks(name: str, kind: str, config: Mapping[str, Any]) -> Iterator[Refusal]:
    chunk = config.get("chunk_size_feed_forward")
    if not isinstance(chunk, int) or chunk <= 1:
        return
    said = ""
    if kind in CHUNKED:
        said = "transformers fails at each text whose length is no multiple of it"
    elif kind == "longformer" and _window(config) % chunk:
        said = f"transformers reads {_window(config)} tokens at a time, which is no multiple of it"
    if said:
        cure = "set it to 0, which changes no vector"
        yield Refusal(f"{name}: chunk_size_feed_forward", f"is {chunk}: {said}", cure)


def _window(config: Mapping[str, Any]) -> int:
    """The tokens to a multiple of which a Longformer fills a text up."""
    given = config.get("attention_window", _WINDOW)
    every = given if isinstance(given, list) else [given]
    return max((each for each in every if isinstance(each, int)), default=_WINDOW)


def _direction(name: str, kind: str, value: object) -> Iterator[Refusal]:
    if value is not None and not isinstance(value, bool):
        yield Refusal(f"{name}: is_causal", f"is {value!r}, and true or false is wanted", _RESTORE)
    elif value and kind in CAUSAL_WHERE_UNPADDED:
        said = (
            f"is true of a {kind}, which in transformers then looks back at a text alone, and both "
            "ways where texts are padded"
        )
        yield Refusal(f"{name}: is_causal", said, "remove the key, or say false: both ways")


def _labels(name: str, config: Mapping[str, Any]) -> Iterator[Refusal]:
    names = config.get("id2label")
    if names is not None and not isinstance(names, Mapping):
        said = f"is {str(names)[:60]!r}, and an object from numbers to names is wanted"
        yield Refusal(f"{name}: id2label", said, _RESTORE)
    elif names and not all(_WHOLE.fullmatch(str(key)) for key in names):
        odd = next(str(key) for key in names if not _WHOLE.fullmatch(str(key)))
        yield Refusal(
            f"{name}: id2label", f"has the key {odd[:60]!r}, which is no number", _RESTORE
        )
    count = config.get("num_labels", 0)
    if isinstance(count, bool) or not isinstance(count, int):
        said = f"is {str(count)[:60]!r}, and a whole number is wanted"
        yield Refusal(f"{name}: num_labels", said, _RESTORE)


def unnamed_labels(name: str, config: Mapping[str, Any]) -> Iterator[Refusal]:
    """The same where each label is told by its name: one has none, or two have the same place."""
    names = config.get("id2label")
    if not isinstance(names, Mapping) or any(unrunnable(name, config)):
        return
    places = sorted(int(key) for key in names)
    if places != list(range(len(places))):
        said = f"has the keys {places[:5]}, and labels are numbered from 0 without a gap"
        yield Refusal(f"{name}: id2label", said, _RESTORE)
