"""Secrets that must not enter the log, where they would stay for ever.

*pure.* A field whose name speaks of a secret may hold a reference (`secret:NAME`) and nothing else;
a text anywhere that has the shape of a known token is refused. The lists below are the whole rule.
The refusal names the path and never repeats the value.
"""

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from sie_schemas.errors import FixRequest

__all__ = ["refuse_secrets", "secrets_in"]

_REFERENCE: Final = re.compile(r"secret:[A-Za-z0-9][A-Za-z0-9._/-]{0,200}")
_WORDS: Final = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
_SECRET_WORDS: Final = frozenset(
    {
        "apikey",
        "credential",
        "credentials",
        "passphrase",
        "passwd",
        "password",
        "pwd",
        "secret",
    }
)
_KEY_OWNERS: Final = frozenset({"access", "api", "auth", "private", "secret"})
_TOKEN_OWNERS: Final = _KEY_OWNERS | {"bearer", "github", "gitlab", "hf", "hub", "session"}
"""`hub_token` is a secret, `pad_token` is a word of a tokenizer."""
_SHAPES: Final[Mapping[str, re.Pattern[str]]] = {
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a hub token": re.compile(r"\bhf_[A-Za-z0-9]{20,}"),
    "an API key": re.compile(r"\b(sk|rk|pk|nvapi|pplx|gsk)-[A-Za-z0-9_-]{20,}"),
    "a GitHub token": re.compile(r"\b(gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})"),
    "a GitLab token": re.compile(r"\bglpat-[A-Za-z0-9_-]{16,}"),
    "a cloud access key": re.compile(r"\b(AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a cloud API key": re.compile(r"\bAIza[0-9A-Za-z_-]{30,}"),
    "a chat token": re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}"),
    "a signed web token": re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\."),
    "a password in a URL": re.compile(r"\b[a-z][a-z0-9+.-]*://[^/\s:@]+:[^/\s@]+@"),
}

_ANY_SHAPE: Final = re.compile("|".join(shape.pattern for shape in _SHAPES.values()))


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


def secrets_in(
    value: Any, path: str = "", *, named_secret: bool = False
) -> Iterator[tuple[str, str]]:
    """Path and reason of everything that looks like a secret."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            inner = f"{path}.{name}" if path else str(name)
            yield from secrets_in(part, inner, named_secret=_speaks_of_secret(str(name)))
    elif isinstance(value, str):
        yield from _in_text(value, path, named_secret=named_secret)
    elif isinstance(value, Sequence):
        for index, part in enumerate(value):
            yield from secrets_in(part, f"{path}.{index}", named_secret=named_secret)


def _in_text(text: str, path: str, *, named_secret: bool) -> Iterator[tuple[str, str]]:
    if _REFERENCE.fullmatch(text):
        return
    if _ANY_SHAPE.search(text):
        what = next(what for what, shape in _SHAPES.items() if shape.search(text))
        yield path, f"this holds {what}; the log keeps everything: refer to it by secret:NAME"
        return
    if named_secret and text:
        yield path, "a secret is given by reference only: secret:NAME"


@functools.lru_cache(maxsize=1024)
def _speaks_of_secret(name: str) -> bool:
    words = [word.lower() for word in _WORDS.findall(name)]
    if not words:
        return False
    owner, last = ["", *words][-2:]
    return (
        last in _SECRET_WORDS
        or (last == "key" and owner in _KEY_OWNERS)
        or (last == "token" and (not owner or owner in _TOKEN_OWNERS))
    )
