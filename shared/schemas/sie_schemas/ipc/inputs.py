"""Inputs of a batch: one for each text, image, document or pair of an item.

*types.* Arrays travel as raw little-endian bytes: msgpack would write each number apart.
"""

from typing import TypeAlias

from msgspec import Struct

__all__ = [
    "DocumentInput",
    "ImageInput",
    "Input",
    "LateInput",
    "PairInput",
    "PixelsInput",
    "TextInput",
    "TokensInput",
]


class TokensInput(Struct, frozen=True, tag="tokens", omit_defaults=True):
    """Token ids, special tokens included, as little-endian int32; `type_ids` likewise for pairs.

    `skip` leading tokens are the prompt's (`skips_prompts`); `query` says that it is one
    (`query_form`, `texts`), `task` its task (`tasks`). The others see `attended` tokens, 0: all.
    """

    ids: bytes
    type_ids: bytes = b""
    skip: int = 0
    query: bool = False
    attended: int = 0
    task: str = ""


class TextInput(Struct, frozen=True, tag="text"):
    """A text, for a backend that tokenizes by itself."""

    text: str


class PairInput(Struct, frozen=True, tag="pair"):
    """A query and a text, for a backend that tokenizes by itself."""

    query: str
    text: str


class ImageInput(Struct, frozen=True, tag="image"):
    """An encoded image, for a backend that decodes by itself."""

    data: bytes
    format: str


class PixelsInput(Struct, frozen=True, tag="pixels"):
    """A decoded image: rows of red, green and blue bytes, from the top."""

    height: int
    width: int
    data: bytes


class DocumentInput(Struct, frozen=True, tag="document"):
    """A document's bytes."""

    data: bytes
    format: str


class LateInput(Struct, frozen=True, tag="late"):
    """A query and a document, each with a vector for each token: scored where they meet."""

    query: TokensInput
    document: TokensInput


Input: TypeAlias = (
    TokensInput | LateInput | TextInput | PairInput | ImageInput | PixelsInput | DocumentInput
)
