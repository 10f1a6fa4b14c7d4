"""Secrets that must not enter the log, where they would stay for ever.

*pure.* A field whose name speaks of a secret may hold a reference (`secret:NAME`) and nothing else.
A text anywhere, of a name too, that has the shape of a known token is refused. The lists below and
those shapes are the whole rule.
The refusal names the path and never repeats the value.
"""

import functools
import re
from typing import Any, Final

from sie_runtime.texts.secret_shapes import secret_in, without_secrets
from sie_schemas.errors import FixRequest

__all__ = ["refuse_secrets", "secrets_in"]

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
    kind = secret_in(text)
    if kind:
        return f"this holds {kind}; the log keeps everything: refer to it by secret:NAME"
    return _BY_REFERENCE if named_secret and text else ""


# 18 µs for a name, once: the fields of ten thousand models have a few dozen names between them.
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
