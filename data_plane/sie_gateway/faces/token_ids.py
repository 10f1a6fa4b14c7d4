"""Texts and token ids in one field, as OpenAI and Text Embeddings Inference take them.

*pure.* A text is one input, and so is a list of numbers; a list of either is several.
"""

from typing import TypeAlias

from sie_gateway.faces.vocabulary import Vocabulary
from sie_schemas.errors import FixRequest
from sie_schemas.items import Item

__all__ = ["Texts", "inputs_of"]

Texts: TypeAlias = str | list[str | int | list[int]]


def inputs_of(given: Texts, vocabulary: Vocabulary | None, field: str) -> str | list[str | Item]:
    """The inputs that `field` has. Raises `FixRequest`, which names the one at fault."""
    if isinstance(given, str):
        return given
    ids = [one for one in given if isinstance(one, int)]
    if ids and len(ids) == len(given):
        return [_tokens(ids, field, vocabulary)]
    items: list[str | Item] = []
    for index, one in enumerate(given):
        where = f"{field}[{index}]"
        if isinstance(one, int):
            raise FixRequest(f"{where}: a number stands between texts", field=where)
        items.append(one if isinstance(one, str) else _tokens(one, where, vocabulary))
    return items


def _tokens(ids: list[int], where: str, vocabulary: Vocabulary | None) -> Item:
    if not ids or min(ids) < 0 or max(ids) >= 2**31:
        raise FixRequest(f"{where}: token ids are whole numbers, and at least one", field=where)
    if vocabulary is not None:
        return Item(text=vocabulary.text_of(ids, where))
    return Item(token_ids=tuple(ids))
