"""Heads that transformers puts on an encoder, and that nothing here runs.

*pure.* A head that is built in a way of its own would see only the first of several texts that run
together. A worker compares each with the model's own forward and refuses one that differs. These
are known to differ: they are refused before a weight is read.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

from sie_layouts.reader import Reader

__all__ = ["HEADS_NOT_DONE", "require_head"]

HEADS_NOT_DONE: Final[Mapping[str, frozenset[str]]] = {
    "classes": frozenset(
        {
            "bart", "big_bird", "bigbird_pegasus", "canine", "ctrl", "eurobert", "flaubert",
            "gpt-sw3", "gpt2", "gpt_bigcode", "longformer", "mbart", "modernbert-decoder", "mt5",
            "mvp", "openai-gpt", "plbart", "t5", "t5gemma", "t5gemma2", "umt5", "xlm", "xlnet",
        }
    ),
    "masked_language": frozenset({"albert", "convbert", "electra", "flaubert", "xlm"}),
    "tokens": frozenset({"gpt-sw3", "gpt2", "gpt_bigcode"}),
}  # fmt: skip
"""Types of transformers by what the head is for: pairs, words, tokens. One of pairs that stands
behind a decoder is run by none: a config.json need not say that it has one."""


def require_head(
    reader: Reader, name: str, head: Literal["classes", "masked_language", "tokens"]
) -> None:
    """Refuse a config.json of a type whose head nothing here runs."""
    config: Mapping[str, Any] = reader.table(name)
    kind = str(config.get("model_type"))
    if kind in HEADS_NOT_DONE[head]:
        reader.refuse(
            f"{name}: model_type",
            f"is {kind}, whose head is built in a way that is not known here",
            "use a model of another family, or a backend that registers for it",
        )
