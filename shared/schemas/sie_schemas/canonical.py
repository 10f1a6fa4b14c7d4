"""Canonical JSON: the one byte form of a value that is hashed or compared.

*pure.* Promises that equal values have equal bytes (RFC 8785, JCS). `loads` refuses every JSON text
whose meaning depends on the reader: NaN and infinities, integers beyond 2^53, duplicate keys, lone
surrogates. Does not know what the values mean.
"""

import json
import math
import re
from collections.abc import Iterable
from typing import Any, Final, NoReturn

import msgspec
import rfc8785
from msgspec import Raw

__all__ = ["INTEGER_MAX", "NotCanonical", "dumps", "loads"]

INTEGER_MAX: Final = 2**53 - 1
"""The largest integer that every JSON reader holds exactly (RFC 8785, I-JSON)."""

_EXPONENT_FORM_MIN: Final = 1e21
"""From here on the canonical form of a number has an exponent (ECMAScript, RFC 8785 §3.2.2.3)."""

_PLAIN_MIN: Final = 1e-4
_PLAIN_MAX: Final = 1e15
"""Between these, Python writes a fraction as ECMAScript does."""

_ENCODER: Final = msgspec.json.Encoder(order="sorted")
"""Sorts keys by code point, which among ASCII keys is the canonical order."""


_MAYBE_LONE: Final = re.compile(r"\\u[dD][89a-fA-F]")
"""A surrogate can only come from such an escape (UTF-8 itself has none). Most texts have none."""


class NotCanonical(ValueError):
    """A value or a text has no canonical form; the message says what and where."""


def dumps(value: Any) -> bytes:
    """Canonical bytes of a JSON value.

    A `Raw` in it stands for canonical bytes already. Raises `NotCanonical` for NaN, infinities,
    integers beyond 2^53-1 and lone surrogates. Costs a few microseconds; a law holds every byte to
    the reference, `rfc8785`.
    """
    try:
        return _ENCODER.encode(_plain(value))
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        raise NotCanonical(f"this value has no canonical JSON form: {error}") from error


def _plain(value: Any) -> Any:
    """The same value of parts that the encoder writes canonically.

    Canonical JSON is compositional: what is not plain is left to the reference, part by part.
    """
    kind = type(value)
    if kind is dict and _are_plain(value):
        return {key: part if type(part) is str else _plain(part) for key, part in value.items()}
    if kind is list:
        return [part if type(part) is str else _plain(part) for part in value]
    if kind is int or kind is float:
        return _number(value)
    if kind is str or kind is bool or kind is Raw or value is None:
        return value
    return Raw(rfc8785.dumps(value))


def _are_plain(keys: Iterable[Any]) -> bool:
    try:
        # Beyond ASCII the canonical order of keys is by UTF-16, and the encoder's by code points.
        return "".join(keys).isascii()
    except TypeError:
        return False


def _number(value: int | float) -> int | Raw:
    if -INTEGER_MAX <= value <= INTEGER_MAX and value == int(value):
        return int(value)
    if type(value) is float and _PLAIN_MIN <= abs(value) <= _PLAIN_MAX:
        return Raw(repr(value).encode())
    return Raw(rfc8785.dumps(value))


def loads(text: bytes | str) -> Any:
    """Parse JSON strictly: what this returns, `dumps` accepts.

    Raises `NotCanonical`, whose message names the offending key, number or position.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        if text.startswith("\ufeff"):
            raise NotCanonical("the text begins with a byte order mark; JSON has none")
        value = _DECODER.decode(text)
    except UnicodeDecodeError as error:
        raise NotCanonical(f"the text is not UTF-8: byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise NotCanonical(
            f"malformed JSON at line {error.lineno}, column {error.colno}: {error.msg}"
        ) from error
    except RecursionError as error:
        raise NotCanonical("the JSON is nested too deeply") from error
    if _MAYBE_LONE.search(text) is not None:
        _refuse_surrogates(value)
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise NotCanonical(f"the key {key!r} appears twice in one object")
            seen.add(key)
    return mapping


def _bounded_integer(digits: str) -> int:
    # The length is checked first: converting a megabyte of digits is quadratic.
    if len(digits) > 17 or abs(int(digits)) > INTEGER_MAX:
        raise NotCanonical(f"the integer {digits[:24]} is beyond 2^53-1")
    return int(digits)


def _finite_float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise NotCanonical(f"the number {digits[:24]} is not finite")
    if INTEGER_MAX < abs(number) < _EXPONENT_FORM_MIN:
        # Its canonical form would be an integer that no reader may take.
        raise NotCanonical(f"the number {digits[:24]} is an integer beyond 2^53-1")
    return number


def _no_constant(name: str) -> NoReturn:
    raise NotCanonical(f"{name} is not JSON")


def _refuse_surrogates(value: Any) -> None:
    for each in _strings(value):
        try:
            each.encode("utf-8")
        except UnicodeEncodeError as error:
            raise NotCanonical(f"a string holds a lone surrogate: {each[:40]!r}") from error


def _strings(value: Any) -> list[str]:
    found: list[str] = []
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            found.append(item)
        elif isinstance(item, list):
            pending.extend(item)
        elif isinstance(item, dict):
            found.extend(item)
            pending.extend(item.values())
    return found


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_unique_keys,
    parse_int=_bounded_integer,
    parse_float=_finite_float,
    parse_constant=_no_constant,
)
