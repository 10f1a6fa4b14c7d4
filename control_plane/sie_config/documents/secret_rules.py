"""Secrets that must not enter the log, where they would stay for ever.

*pure.* A field whose name speaks of a secret may hold a reference (`secret:NAME`) and nothing else.
A text anywhere, of a name too, that has the shape of a known token is refused. The lists below are
the whole rule.
The refusal names the path and never repeats the value.
"""

import functools
import re
from dataclasses import dataclass
from typing import Any, Final

from sie_schemas.errors import FixRequest

__all__ = ["refuse_secrets", "secrets_in", "without_secrets"]

_REFERENCE: Final = re.compile(r"secret:[A-Za-z0-9][A-Za-z0-9._/-]{0,200}")
_WORDS: Final = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
_SECRET_WORDS: Final = frozenset(
    {
        "apikey",
        "authorization",
        "credential",
        "passcode",
        "passphrase",
        "passwd",
        "password",
        "pwd",
        "secret",
    }
)
"""Each in the plural too, and with a number behind it."""
_KEY_OWNERS: Final = frozenset({"access", "api", "auth", "private", "secret"})
_TOKEN_OWNERS: Final = _KEY_OWNERS | {"bearer", "github", "gitlab", "hf", "hub", "session"}
"""`hub_token` is a secret, `pad_token` is a word of a tokenizer."""

_BY_REFERENCE: Final = "a secret is given by reference only: secret:NAME"


@dataclass(frozen=True, slots=True)
class _Shape:
    """One kind of secret text. Each such text has one of `marks`, which are quickly found."""

    what: str
    marks: tuple[str, ...]
    pattern: re.Pattern[str]


def _shape(what: str, marks: str, pattern: str) -> _Shape:
    return _Shape(what, tuple(marks.split()), re.compile(pattern))


# Each pattern begins where a word of its letters begins, and so reads a text once: a header of
# 31 kB that said `eyJ-` over and over held the writer's loop for five seconds.
_SHAPES: Final = (
    _shape("a private key", "-----BEGIN", r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*"),
    _shape("a hub token", "hf_", r"\bhf_[A-Za-z0-9]{20,}"),
    _shape(
        "an API key",
        "sk- rk- pk- nvapi- pplx- gsk-",
        r"\b(sk|rk|pk|nvapi|pplx|gsk)-[A-Za-z0-9_-]{20,}",
    ),
    _shape(
        "a GitHub token",
        "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_",
        r"\b(gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})",
    ),
    _shape("a GitLab token", "glpat-", r"\bglpat-[A-Za-z0-9_-]{16,}"),
    _shape("a cloud access key", "AKIA ASIA", r"\b(AKIA|ASIA)[0-9A-Z]{16}\b"),
    _shape("a cloud API key", "AIza", r"\bAIza[0-9A-Za-z_-]{30,}"),
    _shape("a chat token", "xox", r"\bxox[abprs]-[A-Za-z0-9-]{10,}"),
    _shape(
        "a signed web token",
        "eyJ",
        r"(?<![\w-])(?=[\w-]*?\beyJ[\w-]{8})[\w-]+\.eyJ[\w-]{8,}\.[\w-]*",
    ),
    _shape(
        "a token of a cluster",
        "sie_",
        r"\bsie_(?=[\w-]{0,42}[A-Z])[A-Za-z0-9_-]{43}(?![\w-])",
    ),
    _shape(
        "a credential of a header",
        "earer EARER uthorization UTHORIZATION",
        r"(?i)\bbearer\s+(?=\S*\d)[a-z0-9._~+/=-]{16,}"
        r"|\bauthorization\s*[:=]\s*(basic|bearer|digest|token|apikey)\s+\S{6,}",
    ),
    _shape(
        "a password in a URL",
        "://",
        # With a slash in it too, where what follows the colon is no port. Long ones are cut off, so
        # that many beginnings cost no square of the text.
        r"(?i)(?<![a-z0-9+.-])[a-z0-9+.-]+://[^/\s:@\[]*:"
        r"(?:[^/\s@]+@|(?!\d{1,5}(?:[/?#\s,;)'\]}|]|$))(?:(?!://)[^\s\"<>@]){1,256}@)"
        r"(?:[^/?#\s\"<>@]*@)*",
    ),
    # `ssh://git@host` names a user. Nobody names one to a web server but for the token in it.
    _shape("a token in a URL", "://", r"(?i)\bhttps?://[^/?#\s@]+@"),
)
_MARKS: Final = re.compile("|".join(re.escape(mark) for each in _SHAPES for mark in each.marks))


def refuse_secrets(document: Any) -> None:
    """Raise `FixRequest` that lists every path at which a secret stands."""
    problems = [{"path": path, "message": message} for path, message in secrets_in(document)]
    if problems:
        raise FixRequest(
            f"{problems[0]['path']}: {problems[0]['message']}",
            code="VALIDATION_ERROR",
            field=problems[0]["path"],
            details=problems,
        )


def without_secrets(text: str) -> str:
    """The same text, with a word for each secret that stands in it."""
    if not _MARKS.search(text):
        return text
    for shape in _SHAPES:
        text = shape.pattern.sub(f"({shape.what})", text)
    return text


def secrets_in(document: Any) -> list[tuple[str, str]]:
    """Path and reason of everything in a JSON value that looks like a secret."""
    found: list[tuple[str, str]] = []
    _look(document, "", False, found)
    return found


def _look(value: Any, path: str, named_secret: bool, found: list[tuple[str, str]]) -> None:
    if isinstance(value, str):
        reason = _reason(value, named_secret)
        if reason:
            found.append((path, reason))
    elif isinstance(value, dict):
        for name, part in value.items():
            _look_at_field(name, part, path, named_secret, found)
    elif isinstance(value, list):
        for index, part in enumerate(value):
            _look(part, f"{path}.{index}", named_secret, found)
    elif named_secret and isinstance(value, int | float) and not isinstance(value, bool):
        found.append((path, _BY_REFERENCE))


def _look_at_field(
    name: str, value: Any, path: str, named_secret: bool, found: list[tuple[str, str]]
) -> None:
    # A name may be a pasted secret itself, and the path is told.
    shown = without_secrets(name)
    inner = f"{path}.{shown}" if path else shown
    if shown != name:
        found.append((inner, _reason(name, False)))
    _look(value, inner, named_secret or _speaks_of_secret(name), found)


def _reason(text: str, named_secret: bool) -> str:
    """The reason why this text looks like a secret; empty if it does not."""
    if _REFERENCE.fullmatch(text):
        return ""
    if _MARKS.search(text):
        for shape in _SHAPES:
            if shape.pattern.search(text):
                return (
                    f"this holds {shape.what}; the log keeps everything: refer to it by secret:NAME"
                )
    return _BY_REFERENCE if named_secret and text else ""


@functools.lru_cache(maxsize=1024)
def _speaks_of_secret(name: str) -> bool:
    words = [word.lower() for word in _WORDS.findall(name)]
    if not words:
        return False
    owner, said = ["", *words][-2:]
    last = said.rstrip("0123456789").removesuffix("s")
    # `tokens` alone are a number of them.
    owns_token = owner in _TOKEN_OWNERS or (not owner and said == last)
    return (
        last in _SECRET_WORDS
        or (last in {"key", "header"} and owner in _KEY_OWNERS)
        or (last == "token" and owns_token)
    )
