"""The shapes of known secrets, and texts without them.

*pure.* Tokens, private keys and passwords of addresses are known by their shape, wherever somebody
pasted one. The list below is the whole rule. It promises to read a text once.
"""

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["secret_in", "without_secrets"]


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


def secret_in(text: str) -> str:
    """The kind of the first secret that a text holds; empty where it holds none."""
    if not _MARKS.search(text):
        return ""
    return next((shape.what for shape in _SHAPES if shape.pattern.search(text)), "")


def without_secrets(text: str) -> str:
    """The same text, with a word for each secret that stands in it."""
    if not _MARKS.search(text):
        return text
    for shape in _SHAPES:
        text = shape.pattern.sub(f"({shape.what})", text)
    return text
