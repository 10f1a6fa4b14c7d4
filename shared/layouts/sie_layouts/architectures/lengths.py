"""Families whose config.json names no greatest length: one has to come from elsewhere.

*pure.* Data and one question. A worker refuses a model of which nothing limits the length: one text
could take all of its memory. A test holds the list to transformers' own configs.
"""

from collections.abc import Mapping
from typing import Any, Final

from sie_layouts.reader import Reader, joined

__all__ = ["UNLIMITED", "require_length"]

UNLIMITED: Final = frozenset(
    {
        "bloom", "cpmant", "falcon_mamba", "funnel", "led", "longt5", "mamba", "mamba2", "mpt",
        "mt5", "recurrent_gemma", "switch_transformers", "t5", "t5gemma", "t5gemma2", "udop",
        "umt5", "xlnet", "xlstm",
    }
)  # fmt: skip
"""Types of transformers that read texts, and have no `max_position_embeddings`."""
_POSITIONS: Final = "max_position_embeddings"


def require_length(
    reader: Reader, folder: str, limit: int | None, changed: Mapping[str, Any]
) -> None:
    """Refuse a transformer in `folder` whose texts nothing limits; `limit` is the tokenizer's.

    `changed` are values that stand for those of its config.json.
    """
    name = joined(folder, "config.json")
    config = {**reader.table(name), **changed}
    named, kind = config.get(_POSITIONS), str(config.get("model_type"))
    if limit or kind not in UNLIMITED or (isinstance(named, int) and named > 0):
        return
    reader.refuse(
        f"{name}: {_POSITIONS}",
        "is not there, and no other file limits the length of a text",
        "set model_max_length in tokenizer_config.json, or write the document with sie apply and "
        "max_sequence_length in its profile",
    )
