"""Decoding a body: bytes in, the struct that it stands for out, or an error that names the field.

*pure.* Promises that a field or a word that nobody knows is told the nearest right one, or all that
may stand there. A key that stands twice in one object of JSON is refused. JSON is read as other
languages write it: a null for what is absent, and 8.0 for 8.
"""

import codecs
import re
from typing import Any, Final, TypeAlias

import msgspec

from sie_runtime.texts.fault_advice import fault_advice
from sie_runtime.texts.many_values import LEAVES_BESIDE, VALUES_MAX, has_too_many
from sie_runtime.texts.repeated_keys import repeated_key
from sie_schemas.errors import FixRequest
from sie_schemas.malformed import MALFORMED, problem_of

__all__ = ["Decoder", "decode_body"]

Decoder: TypeAlias = msgspec.json.Decoder[Any] | msgspec.msgpack.Decoder[Any]

_PLAIN: Final[dict[str, Decoder]] = {
    "JSON": msgspec.json.Decoder(),
    "MessagePack": msgspec.msgpack.Decoder(),
}
_SPELLED: Final = {
    "JSON": re.compile(rb"null|\d\.0|\d[eE]"),
    "MessagePack": re.compile(rb"[\xc0\xca\xcb]"),
}
"""A body without these bytes has no null, and no whole number that is written as another."""
_OPAQUE: Final = frozenset({"options", "metadata", "output_schema", "documents"})
"""The names of what a client gives for itself or for a backend: nothing in it is changed."""
_WHOLE_MAX: Final = 2**53
"""Beyond it a float does not tell one whole number from the next."""
_IDS_MAX: Final = 1_000_000
"""As many as a request may have by itself (`request_chars_max`)."""
_CHANGED: Final = frozenset({dict, list, float})
"""The types of what a second reading may change, or changes something in."""
_LONE: Final = re.compile(
    rb"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD])[c-fC-F][0-9a-fA-F]{2})"
)
"""Half of a pair of surrogates, which is no character."""
_HOMES: Final = {"lora": "options"}
"""Every model that has adapters takes it. What else is an option, only a model says."""


def decode_body(decoder: Decoder, body: bytes, *, form: str, ids_max: int = _IDS_MAX) -> Any:
    """Decode a body, in which a field that is null is absent and 8.0 is 8. Raises `FixRequest`,
    which names the field. `ids_max` are the most token ids that it may have."""
    if form == "JSON" and body.startswith(codecs.BOM_UTF8):
        # Some writers of files put it there, and a reader may pass over it (RFC 8259).
        body = body.removeprefix(codecs.BOM_UTF8)
    try:
        decoded = _decoded(decoder, body, form, ids_max + LEAVES_BESIDE)
        twice = repeated_key(body) if form == "JSON" else None
    except msgspec.ValidationError as error:
        where, message = problem_of(error)
        told = f"{where}: {message}{fault_advice(decoder.type, where, message, _HOMES)}"
        raise FixRequest(told, field=where) from error
    except MALFORMED as error:
        if not body:
            raise FixRequest(f"the body is empty: {form} is wanted", field="$") from error
        told = (_problem_of_json(body) if form == "JSON" else "") or str(error)
        raise FixRequest(f"the body is not {form} that can be read: {told}", field="$") from error
    if twice is not None:
        raise FixRequest(f"{twice}: the key stands twice; leave one out", field=twice)
    return decoded


def _problem_of_json(body: bytes) -> str:
    """The fault in a body that the decoder tells badly, or by its place in a string; else empty."""
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "it is UTF-16, and JSON is sent as UTF-8"
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return f"byte {error.start} ({body[error.start]:#04x}) is no UTF-8, which JSON is sent as"
    if (lone := _LONE.search(body)) is None:
        return ""
    half = lone.group().decode()
    return f"{half} (byte {lone.start()}) is half of a surrogate pair, and no character"


def _decoded(decoder: Decoder, body: bytes, form: str, leaves_max: int) -> Any:
    if has_too_many(body, is_msgpack=form == "MessagePack", leaves_max=leaves_max):
        raise FixRequest(
            f"the body has over {VALUES_MAX} lists, maps and names, or over {leaves_max} texts and "
            "numbers: send fewer at a time",
            field="$",
        )
    try:
        return decoder.decode(body)
    except msgspec.ValidationError:
        if _SPELLED[form].search(body) is None:
            raise
        return msgspec.convert(_plainly(_PLAIN[form].decode(body)), decoder.type)


def _plainly(value: Any) -> Any:
    """The decoded body without its fields that are null, and with whole numbers as such: JSON has
    one kind of numbers. A null of a list stays, for a place in a list means something."""
    if isinstance(value, dict):
        return {
            name: inner if name in _OPAQUE else _plainly(inner)
            for name, inner in value.items()
            if inner is not None
        }
    if isinstance(value, list):
        # Millions of nulls or texts of a byte or three each are not gone through one by one.
        if _CHANGED.isdisjoint(map(type, value)):
            return value
        return [_plainly(inner) for inner in value]
    if isinstance(value, float) and value.is_integer() and abs(value) <= _WHOLE_MAX:
        return int(value)
    return value
