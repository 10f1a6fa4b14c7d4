"""Items and answers: the nouns of the public API.

*types.* An `Item` is one input; `encode`, `score` and `extract` answer with plain mappings whose
vectors are numpy arrays (see `arrays` for their wire form). Shared by SDK, gateway and worker.
"""

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta, Struct

__all__ = [
    "EncodeParams",
    "EncodeRequest",
    "ExtractParams",
    "ExtractRequest",
    "Item",
    "Media",
    "Operation",
    "OutputDtype",
    "OutputType",
    "ScoreRequest",
]

Operation: TypeAlias = Literal["encode", "score", "extract"]
OutputDtype: TypeAlias = Literal["float32", "float16", "int8", "uint8", "binary", "ubinary"]
OutputType: TypeAlias = Literal["dense", "sparse", "multivector"]


class Media(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Bytes and their format. In JSON `data` is base64."""

    data: bytes
    format: str = ""
    sample_rate: int | None = None


class Item(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One input. At least one of its contents is present; `id` comes back with the answer.

    `token_ids` stand for a text, in the words of the model's own tokenizer; `encode` takes them.
    """

    text: str | None = None
    id: str | None = None
    images: tuple[Media, ...] = ()
    audio: Media | None = None
    video: Media | None = None
    document: Media | None = None
    metadata: dict[str, Any] | None = None
    token_ids: tuple[Annotated[int, Meta(ge=0, le=2**31 - 1)], ...] = ()


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
