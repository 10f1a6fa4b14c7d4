"""Media of an item: bytes, a file, an image in memory, a data URL, or a mapping of `data`.

*shell.* Reads the files that it is given. Bytes are sent as they are; an image that is only in
memory is sent as PNG, which loses nothing. The format is what is said, else what the bytes begin
with, else the ending of the file.
"""

from collections.abc import Mapping
from importlib import import_module
from io import BytesIO
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final

from sie_schemas.items import REMOTE, Media, image_of_text

__all__ = ["media_of"]

_FIELDS: Final = frozenset({"data", "format", "sample_rate"})
_BEGINNINGS: Final = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
)
_ENDINGS: Final = {"jpg": "jpeg", "tif": "tiff"}


def media_of(value: Any, where: str, *, is_image: bool = False) -> Media:
    """One medium. Raises `TypeError` for what is none, `OSError` for a file that cannot be read."""
    if isinstance(value, Media):
        return value
    if isinstance(value, Mapping):
        return _declared(value, where, is_image=is_image)
    if isinstance(value, bytes | bytearray | memoryview):
        data = bytes(value)
        return Media(data, _format_of(data) if is_image else "")
    if is_image and isinstance(value, str) and _is_no_path(value):
        return _written(value, where)
    if isinstance(value, str | PathLike):
        path = Path(fspath(value))
        data = path.read_bytes()
        return Media(data, (is_image and _format_of(data)) or _ending(path))
    if is_image and (hasattr(value, "save") or hasattr(value, "__array_interface__")):
        return Media(_png(value, where), "png")
    raise TypeError(f"{where} is of type {type(value).__name__}: give bytes, a path or a mapping")


def _is_no_path(value: str) -> bool:
    return value[:5].lower() == "data:" or REMOTE.match(value) is not None


def _written(value: str, where: str) -> Media:
    try:
        found = image_of_text(value)
    except ValueError as error:
        raise TypeError(f"{where}: {error}") from error
    return found if found.format else Media(found.data, _format_of(found.data))


def _declared(value: Mapping[str, Any], where: str, *, is_image: bool) -> Media:
    unknown = value.keys() - _FIELDS
    if unknown or "data" not in value:
        told = f"{min(map(str, unknown))!r}" if unknown else "no 'data'"
        raise TypeError(f"{where} has {told}; it has data, format and sample_rate")
    held = media_of(value["data"], f"{where}['data']", is_image=is_image)
    return Media(held.data, value.get("format") or held.format, value.get("sample_rate"))


def _format_of(data: bytes) -> str:
    """Empty where the bytes tell nothing."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return next((name for begin, name in _BEGINNINGS if data.startswith(begin)), "")


def _ending(path: Path) -> str:
    ending = path.suffix.removeprefix(".").lower()
    return _ENDINGS.get(ending, ending)


def _png(image: Any, where: str) -> bytes:
    """A Pillow image, or an array, which Pillow reads."""
    if not hasattr(image, "save"):
        try:
            image = import_module("PIL.Image").fromarray(image)
        except ImportError:
            raise TypeError(f"{where} is an array, which wants `pip install pillow`") from None
    held = BytesIO()
    image.save(held, format="PNG")
    return held.getvalue()
