"""The meaning of a plain scalar of YAML: the core schema of YAML 1.2, and nothing that is guessed.

*pure.* Promises:

- A text that YAML 1.1 takes for a switch, or for another number than YAML 1.2 does, is never read
  as either. It is refused: `no`, `010`, `1_000`, `12:30`.
- A date stays the text that was written.
- A number is finite.
"""

import math
import re
from typing import Final, TypeAlias

import yaml

__all__ = ["Scalar", "is_surely_text", "meaning_of", "no_form", "shown", "tagged_meaning"]

Scalar: TypeAlias = str | int | float | bool | None

_TAG: Final = "tag:yaml.org,2002:"
_WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_DECIMAL: Final = re.compile(r"[-+]?[0-9]+")
_LEADING_ZERO: Final = re.compile(r"[-+]?0[0-9]+")
_WHOLE_NUMBERS: Final = (
    (_DECIMAL, 0, 10),
    (re.compile(r"0o[0-7]+"), 2, 8),
    (re.compile(r"0x[0-9a-fA-F]+"), 2, 16),
)
_DIGITS_MAX: Final = 400
"""A float has up to 309 before its point; Python itself would refuse 4,301 of them."""
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NO_NUMBER: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_MAY_NOT_BE_TEXT: Final = frozenset("~nNtTfFyYoO+-.0123456789=<")
"""Characters that something else than a text may begin with, to either version."""
_SHOWN_MAX: Final = 40
"""A stranger's text in a message of ours."""
_OLDER: Final = yaml.resolver.Resolver()
_TO_THE_OLDER_A_VALUE: Final = frozenset(f"{_TAG}{kind}" for kind in ("bool", "int", "float"))


def meaning_of(text: str) -> Scalar:
    """The value of a scalar without quotes and without a tag. Raises `ValueError`."""
    if text and text[0] not in _MAY_NOT_BE_TEXT:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _LEADING_ZERO.fullmatch(text):
        raise ValueError(_two_meanings(text))
    value = _number_of(text)
    if value is None:
        if _older_tag(text) in _TO_THE_OLDER_A_VALUE:
            raise ValueError(_two_meanings(text))
        return text
    return value


def tagged_meaning(tag: str, text: str) -> Scalar:
    """The value of a scalar with a tag, like `!!int 3`. Raises `ValueError`."""
    kind = tag.removeprefix(_TAG)
    if kind == "str":
        return text
    if kind not in {"null", "bool", "int", "float"}:
        raise ValueError(no_form(kind))
    value = meaning_of(text)
    if kind == "float" and type(value) is int:
        value = float(value)
    if type(value).__name__ != {"null": "NoneType"}.get(kind, kind):
        raise ValueError(f"{shown(text)} is no {kind}")
    return value


def is_surely_text(text: str) -> bool:
    """True if a text that stands without quotes is a text to every reader of either version."""
    try:
        return isinstance(meaning_of(text), str) and _older_tag(text) == f"{_TAG}str"
    except ValueError:
        return False


def _number_of(text: str) -> int | float | None:
    for pattern, start, base in _WHOLE_NUMBERS:
        if pattern.fullmatch(text):
            if len(text) > _DIGITS_MAX:
                raise ValueError(f"{shown(text)} is a number of more than {_DIGITS_MAX} digits")
            return int(text[start:], base)
    if _NO_NUMBER.fullmatch(text):
        raise ValueError("a number is finite")
    if not _FLOAT.fullmatch(text):
        return None
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"a number is finite: quote {shown(text)} if it is a text")
    return number


def _older_tag(text: str) -> str:
    return str(_OLDER.resolve(yaml.ScalarNode, text, (True, False)))


def no_form(kind: str) -> str:
    """The message on a value of a type that JSON does not have."""
    return f"a value of type {shown(kind)} has no form in JSON"


def shown(text: str) -> str:
    """A text in a message: not all of it where it is long."""
    return repr(text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}…")


def _two_meanings(text: str) -> str:
    return (
        f"{shown(text)} is one thing to YAML 1.1 and another to YAML 1.2: quote it if it is a "
        "text, else write true, false or a plain decimal number"
    )
