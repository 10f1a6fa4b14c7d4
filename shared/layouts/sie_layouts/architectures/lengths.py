"""Families whose config.json names no greatest length: one has to come from elsewhere.

*pure.* Data and one question. A worker refuses a model of which nothing limits the length: one text
could take all of its memory. A test holds the list to transformers' own configs.
"""

from collections.abc import Mapping
from typing import Any, Final

from sie_layouts.reader import Reader, joined

__all__ = ["UNLIMITED", "require_length", "require_room_for"]

UNLIMITED: Final = frozenset(
    {
        "bloom", "cpmant", "falcon_mamba", "funnel", "led", "longt5", "mamba", "mamba2", "mpt",
        "mt5", "recurrent_gemma", "switch_transformers", "t5", "t5gemma", "t5gemma2", "udop",
        "umt5", "xlnet", "xlstm",
    }
)  # fmt: skip
"""Types of transformers that read texts, and have no `max_position_embeddings`."""
_OLD_FORMS: Final = {"BertProcessing": (2, 3), "RobertaProcessing": (2, 4)}
"""Tokens that these put around one text, and around two."""
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


def require_room_for(reader: Reader, folder: str, limit: int | None, *, texts: int) -> None:
    """Refuse a length that the tokenizer's own tokens fill, for one text or a pair.

    Of a tokenizer without tokenizer.json a worker judges.
    """
    name = joined(folder, "tokenizer.json")
    if not limit or not reader.has(name):
        return
    form = reader.table(name).get("post_processor")
    own = _own_tokens(form, texts)
    if limit < own + texts:
        reader.refuse(
            f"{name}: post_processor",
            f"puts {own} tokens around it, and a length of {limit} leaves no room for text",
            f"set max_sequence_length to {own + texts} or more in a document for sie apply",
        )


def _own_tokens(form: Any, texts: int) -> int:
    table = form if isinstance(form, dict) else {}
    kind = table.get("type")
    if kind == "Sequence":
        parts = table.get("processors")
        return sum(_own_tokens(one, texts) for one in (parts if isinstance(parts, list) else ()))
    if kind == "TemplateProcessing":
        template = table.get("pair" if texts > 1 else "single")
        pieces = template if isinstance(template, list) else ()
        return sum(isinstance(one, dict) and "SpecialToken" in one for one in pieces)
    return _OLD_FORMS.get(str(kind), (0, 0))[texts - 1]
