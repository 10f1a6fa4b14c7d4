"""Items and answers: the nouns of the public API.

*types.* An `Item` is one input; `encode`, `score` and `extract` answer with plain mappings whose
vectors are numpy arrays (see `arrays` for their wire form). Shared by SDK, gateway and worker.
"""

import base64
import binascii
import re
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Protocol, TypeAlias

from msgspec import Meta, Struct

__all__ = [
    "REMOTE",
    "EncodeParams",
    "EncodeRequest",
    "ExtractParams",
    "ExtractRequest",
    "Item",
    "Media",
    "Operation",
    "OutputDtype",
    "OutputType",
    "Picture",
    "ScoreRequest",
    "image_of_text",
]

Operation: TypeAlias = Literal["encode", "score", "extract"]
OutputDtype: TypeAlias = Literal["float32", "float16", "int8", "uint8", "binary", "ubinary"]
OutputType: TypeAlias = Literal["dense", "sparse", "multivector"]

REMOTE: Final = re.compile(r"(?:https?|ftp|file|s3|gs)://", re.IGNORECASE)
"""The beginning of an address, which nobody here fetches from."""
_DATA_URL: Final = re.compile(r"data:([^,;]*)((?:;[^,;]*)*),", re.IGNORECASE)
_TOLD: Final = 40
"""Characters of a wrong address that are repeated."""


class Media(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Bytes and their format. In JSON `data` is base64."""

    data: bytes
    format: str = ""
    sample_rate: int | None = None


if TYPE_CHECKING:
    from os import PathLike

    class _Savable(Protocol):
        """An image of Pillow."""

        def save(self, fp: Any, format: str | None = None) -> None: ...

    class _Array(Protocol):
        """An array of numpy, rows of pixels."""

        @property
        def __array_interface__(self) -> dict[str, Any]: ...

    Picture: TypeAlias = Media | str | bytes | PathLike[str] | _Savable | _Array
    """An image as callers of the SDK write it; a text is a path or a data URL."""
else:
    # The wire knows these two: the SDK makes a `Media` of all others before it sends.
    Picture = Media | str


class Item(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One input: a text or an image. `id` comes back with the answer.

    `image` is another way to write `images`, which holds one: its bytes, or a text (a data URL or
    base64). `token_ids` stand for a text, in the words of the model's own tokenizer; `encode` takes
    them. What it has may be read as of a mapping too, which the published client's item is.
    """

    text: str | None = None
    id: str | None = None
    image: Picture | None = None
    images: tuple[Media, ...] = ()
    audio: Media | None = None
    video: Media | None = None
    document: Media | None = None
    metadata: dict[str, Any] | None = None
    token_ids: tuple[Annotated[int, Meta(ge=0, le=2**31 - 1)], ...] = ()

    def keys(self) -> list[str]:
        """The fields that it has."""
        return [name for name in self.__struct_fields__ if getattr(self, name) not in (None, ())]

    def __contains__(self, name: object) -> bool:
        return name in self.keys()

    def __getitem__(self, name: str) -> Any:
        if name not in self.keys():
            raise KeyError(name)
        return getattr(self, name)

    def get(self, name: str, default: Any = None) -> Any:
        """A field, or what is given in its place."""
        return self[name] if name in self.keys() else default


class EncodeParams(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Parameters of `encode`. `options` may hold `lora`, `is_query` and the backend's own.

    `dimensions` is how many numbers of each vector are kept: it is cut, and then normalised.
    """

    output_types: tuple[OutputType, ...] = ()
    instruction: str | None = None
    output_dtype: OutputDtype = "float32"
    dimensions: int | None = None
    options: dict[str, Any] = {}


class EncodeRequest(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Body of `POST /v1/encode/{model}`."""

    items: tuple[Item, ...]
    params: EncodeParams = EncodeParams()


class ScoreRequest(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Body of `POST /v1/score/{model}`: each item is scored against the query."""

    query: Item
    items: tuple[Item, ...]
    instruction: str | None = None
    options: dict[str, Any] = {}


class ExtractParams(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Parameters of `extract`. Empty `labels` mean the model's own."""

    labels: tuple[str, ...] = ()
    output_schema: dict[str, Any] | None = None
    instruction: str | None = None
    options: dict[str, Any] = {}


class ExtractRequest(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Body of `POST /v1/extract/{model}`."""

    items: tuple[Item, ...]
    params: ExtractParams = ExtractParams()


def image_of_text(text: str) -> Media:
    """The image that a data URL, or plain base64, stands for. Raises `ValueError`.

    Nothing is fetched: an address of another machine is refused by name.
    """
    if REMOTE.match(text):
        raise ValueError(
            f"{text[:_TOLD]!r} is an address, and none is fetched: send the image's bytes, or a "
            "data URL"
        )
    found = _DATA_URL.match(text)
    if found is None:
        if text[:5].lower() == "data:":
            raise ValueError("a data URL is data:image/<format>;base64,<bytes>")
        return Media(_bytes(text))
    if ";base64" not in found.group(2).lower():
        raise ValueError("the data URL is not base64: data:image/<format>;base64,<bytes> is wanted")
    return Media(_bytes(text[found.end() :]), found.group(1).lower().removeprefix("image/"))


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"the base64 does not read: {error}") from error
