"""Decoding a body: bytes in, the struct that it stands for out, or an error that names the field.

*pure.* Promises that a field or a word that nobody knows is told the nearest right one, or all that
may stand there. A key that stands twice in one object of JSON is refused. JSON is read as other
languages write it: a null for what is absent, and 8.0 for 8.
"""

import codecs
import re
import types
from collections.abc import Collection, Iterator
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args, get_origin, get_type_hints

import msgspec

from sie_core.nearest import advice
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
_UNKNOWN_FIELD: Final = re.compile(r"unknown field `([^`]+)`")
_UNKNOWN_WORD: Final = re.compile(r"^Invalid enum value '([^']*)'")
_ADAPTER: Final = "lora"
"""Every model that has adapters takes it. What else is an option, only a model says."""
_OPTIONS: Final = "options"
_STEP: Final = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)")


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
        told = f"{where}: {message}{_advice(decoder.type, where, message)}"
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


def _advice(body: Any, where: str, message: str) -> str:
    if (unknown := _UNKNOWN_FIELD.search(message)) is not None:
        parent = where.removesuffix(f".{unknown.group(1)}")
        structs = [each for each in _at(body, parent) if _is_struct(each)]
        fields = {name for each in structs for name in each.__struct_encode_fields__}
        if place := _place_of(unknown.group(1), body, parent, fields):
            return f"; it stands in `{place}`"
        return f"; {advice(unknown.group(1), fields)}" if fields else ""
    if (word := _UNKNOWN_WORD.search(message)) is not None:
        words = [each for each in _at(body, where) if get_origin(each) is Literal]
        allowed = {str(each) for choice in words for each in get_args(choice)}
        return f"; {_choice(word.group(1), allowed)}" if allowed else ""
    return ""


def _place_of(name: str, body: Any, parent: str, fields: Collection[str]) -> str:
    """The field beside a name in which that name stands; empty where there is none."""
    if name == _ADAPTER and _OPTIONS in fields:
        return _OPTIONS
    for field in sorted(fields):
        inside = [each for each in _at(body, f"{parent}.{field}") if _is_struct(each)]
        below = {each for struct in inside for each in struct.__struct_encode_fields__}
        if name in below:
            return field
        if name == _ADAPTER and _OPTIONS in below:
            return f"{field}.{_OPTIONS}"
    return ""


def _choice(word: str, allowed: Collection[str]) -> str:
    meant = advice(word, allowed)
    listed = ", ".join(sorted(allowed))
    return meant if meant.startswith("it takes") else f"{meant} It is one of {listed}"


def _at(kind: Any, path: str) -> list[Any]:
    """The types that may stand at a path such as `$.items[0].text` of a type."""
    found = list(_inner(kind))
    for name in _STEP.findall(path):
        hints = [
            get_type_hints(each, include_extras=True).get(name)
            for each in found
            if _is_struct(each)
        ]
        found = [inner for hint in hints if hint is not None for inner in _inner(hint)]
    return found


def _inner(kind: Any) -> Iterator[Any]:
    """The types inside lists, alternatives and annotations; a type by itself."""
    origin = get_origin(kind)
    if origin is Annotated:
        yield from _inner(get_args(kind)[0])
    elif origin in (tuple, list, types.UnionType) or getattr(origin, "_name", "") == "Union":
        for part in get_args(kind):
            yield from _inner(part)
    else:
        yield kind


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


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
