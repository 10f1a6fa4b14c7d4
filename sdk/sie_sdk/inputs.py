"""Items as callers write them: a string, a mapping or an `Item`, or an iterable of those.

*pure*, but for media that are given by their path. Promises that one item is never taken for a list
of its parts. A mapping is one item and not its keys, a string is one item and not its letters.
Everything else is a `TypeError` that says so, before anything is sent.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Final

from msgspec.structs import replace

from sie_schemas.items import Item, Media
from sie_sdk.media import media_of
from sie_sdk.types import ItemLike, Items

__all__ = ["item_of", "listed"]

_FIELDS: Final = Item.__struct_fields__
_MEDIA: Final = ("audio", "video", "document")
_WANTED: Final = (
    "an item is a string, a mapping such as {'text': ...} or an Item; several are an iterable of "
    "those"
)


def listed(items: ItemLike | Items) -> tuple[list[Item], bool]:
    """The items, and true where the caller gave one and no list. Raises `TypeError`."""
    if isinstance(items, Item | str | Mapping):
        return [item_of(items)], True
    if isinstance(items, bytes | bytearray | memoryview) or not isinstance(items, Iterable):
        raise TypeError(f"{_WANTED}, and not {type(items).__name__}")
    return [item_of(item, f"items[{index}]") for index, item in enumerate(items)], False


def item_of(item: ItemLike, where: str = "the item") -> Item:
    """One item. Raises `TypeError`."""
    if isinstance(item, Item):
        return item if item.image is None else _imaged(item, where)
    if isinstance(item, str):
        return Item(text=str(item))
    if isinstance(item, Mapping):
        return _read(item, where)
    raise TypeError(f"{where} is of type {type(item).__name__}: {_WANTED}")


def _read(given: Mapping[str, Any], where: str) -> Item:
    known: dict[str, Any] = {}
    for name, value in given.items():
        if name not in _FIELDS:
            raise TypeError(f"{where} has {name!r}, which no item has{_nearest(name)}")
        if value is not None:
            known[name] = _content(name, value, where)
    return _imaged(Item(**known), where) if "image" in known else Item(**known)


def _imaged(item: Item, where: str) -> Item:
    """The item with its image read, where the wire has it."""
    if item.images:
        raise TypeError(f"{where} has 'image' and 'images': give one of the two")
    image = media_of(item.image, f"{where}['image']", is_image=True)
    return replace(item, image=None, images=(image,))


def _nearest(name: object) -> str:
    near = get_close_matches(str(name), _FIELDS, 1)
    return f": is it {near[0]!r}?" if near else f"; it has {', '.join(_FIELDS)}"


def _content(name: str, value: Any, where: str) -> Any:
    if name == "image":
        return value
    if name == "images":
        return _images(value, where)
    if name == "token_ids":
        return tuple(map(int, value))
    if name in _MEDIA:
        return media_of(value, f"{where}[{name!r}]")
    if name == "metadata":
        if not isinstance(value, Mapping):
            raise TypeError(f"{where}['metadata'] is of type {type(value).__name__}, not a mapping")
        return dict(value)
    if not isinstance(value, str):
        raise TypeError(f"{where}[{name!r}] is of type {type(value).__name__}, not a string")
    # A subclass, such as numpy's, becomes what goes over the wire.
    return str(value)


def _images(value: Any, where: str) -> tuple[Media, ...]:
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise TypeError(f"{where}['images'] is of type {type(value).__name__}, not a list")
    return tuple(
        media_of(image, f"{where}['images'][{index}]", is_image=True)
        for index, image in enumerate(value)
    )
