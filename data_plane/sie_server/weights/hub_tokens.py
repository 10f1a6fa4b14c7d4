"""Tokens of the hub, one for each source that names one: `secret:NAME`, as a document refers to it.

*shell.* A secret is a variable of this process: `SIE_SECRET_NAME` holds it, or
`SIE_SECRET_NAME_FILE` names the file that does. The file is read at each fetch, so a token changes
without a restart. Promises that no message, and so no log line and no answer, holds a secret.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sie_schemas.documents import HubSource
from sie_server.failures import load_failed

__all__ = ["token_of", "token_place"]

_BYTES_MAX: Final = 4096
"""A token has some 40 characters; another file is not read into memory."""
_TOKEN: Final = re.compile(r"[!-~]+")
"""The characters that a header takes: HTTP's library would quote a value of others in its error."""


def token_place(source: HubSource) -> str:
    """The place of a source's token, as an operator is told of it."""
    return "HF_TOKEN" if source.token is None else source.token


def token_of(source: HubSource, environ: Mapping[str, str] = os.environ) -> str | None:
    """The token that a source names; None where it names none.

    Raises MODEL_LOAD_FAILED, with the secret's name, where this process has it not.
    """
    if source.token is None:
        return None
    variable = f"SIE_SECRET_{source.token.removeprefix('secret:').upper().replace('-', '_')}"
    held, file = environ.get(variable), environ.get(f"{variable}_FILE")
    what = f"{source.token}, which {source.id} is fetched with,"
    if held and file:
        raise load_failed(f"{what} is in {variable} and in {variable}_FILE: leave one of them")
    if not held and not file:
        raise load_failed(
            f"{what} is not on this worker: give its sie-server {variable}, or {variable}_FILE "
            "with the path of a file that holds it"
        )
    token = (_read(what, f"{variable}_FILE", Path(file)) if file else held or "").strip()
    if not _TOKEN.fullmatch(token):
        raise load_failed(
            f"{what} is no token: {variable}{'_FILE' * bool(file)} gives nothing, or more than one "
            "word"
        )
    return token


def _read(what: str, variable: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_BYTES_MAX).decode("ascii", errors="replace")
    except OSError as error:
        raise load_failed(
            f"{what} cannot be read: {variable} names {path} ({error.strerror})"
        ) from error
