"""Texts and token ids in one field, as OpenAI and Text Embeddings Inference take them.

*pure.* A text is one input, and so is a list of numbers; a list of either is several. In a list a
text may be an object that says so, as Jina's clients and Xinference's write it.
"""

from typing import Final, TypeAlias

from msgspec import Struct

from sie_gateway.faces.vocabulary import Vocabulary
from sie_schemas.errors import FixRequest
from sie_schemas.items import Item

__all__ = ["Texts", "inputs_of"]


class _Text(Struct, frozen=True, forbid_unknown_fields=True):
    text: str


_IDS_END: Final = 2**31
"""The ids of a job are 32 bits with a sign."""
Texts: TypeAlias = str | list[str | int | list[int] | _Text]


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
        if isinstance(one, _Text):
            items.append(one.text)
        else:
            items.append(one if isinstance(one, str) else _tokens(one, where, vocabulary))
    return items


def _tokens(ids: list[int], where: str, vocabulary: Vocabulary | None) -> Item:
    if not ids:
        raise FixRequest(f"{where}: token ids are whole numbers, and at least one", field=where)
    for place, number in enumerate(ids) if min(ids) < 0 or max(ids) >= _IDS_END else ():
        if not 0 <= number < _IDS_END:
            field = f"{where}[{place}]"
            raise FixRequest(
                f"{field} is {number}: token ids are whole numbers from 0 to {_IDS_END - 1}, and "
                "below the size of the model's vocabulary",
                field=field,
            )
    if vocabulary is not None:
        return Item(text=vocabulary.text_of(ids, where))
    return Item(token_ids=tuple(ids))
