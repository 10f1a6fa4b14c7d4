"""Contexts: clusters by names of the user's own, and the one in use.

*shell.* Owns one file, `sie/contexts.json` in the user's configuration folder, for its owner only.
It holds addresses and the paths of token files, never a token. Promises that nothing is chosen by
itself: a context is in use because somebody said so.
"""

import os
import re
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from sie_cli.access.private_files import write_private
from sie_schemas.errors import FixRequest
from sie_schemas.malformed import MALFORMED

__all__ = ["Context", "Contexts", "contexts_file", "read_contexts", "token_of", "write_contexts"]

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")


class Context(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One cluster: the address of its sie-config, and the file that holds the token for it.

    `nats_url` is the broker's, for those who may go there.
    """

    url: str
    token_file: str = ""
    nats_url: str = ""


class Contexts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The file."""

    contexts: dict[str, Context] = {}
    in_use: str = ""

    def named(self, name: str) -> Context:
        """One of them. Raises `FixRequest`."""
        found = self.contexts.get(name)
        if found is None:
            names = ", ".join(sorted(self.contexts))
            there = f"; there are: {names}" if names else ", and none at all"
            raise FixRequest(
                f"there is no context {name!r}{there}. `sie context add` makes one",
                code="NOT_FOUND",
            )
        return found

    def with_one(self, name: str, context: Context) -> "Contexts":
        """The same with one more, or with one replaced. Raises `FixRequest`."""
        if not _NAME.fullmatch(name):
            raise FixRequest(f"{name!r} is no name: letters, digits and `. _ @ -`, up to 63")
        return msgspec.structs.replace(self, contexts=self.contexts | {name: context})


def contexts_file() -> Path | None:
    """The place of the file, whether or not it is there; None for a user without a home."""
    folder = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return None if folder.startswith("~") else Path(folder) / "sie" / "contexts.json"


def read_contexts() -> Contexts:
    """The contexts of the file; none where there is no file. Raises `FixRequest`."""
    path = contexts_file()
    if path is None:
        return Contexts()
    try:
        return msgspec.json.decode(path.read_bytes(), type=Contexts)
    except FileNotFoundError:
        return Contexts()
    except OSError as error:
        raise FixRequest(f"{path} cannot be read ({error.strerror})") from error
    except MALFORMED as error:
        raise FixRequest(f"{path} is no file of contexts: {error}; mend or remove it") from error


def write_contexts(contexts: Contexts) -> None:
    """Replace the file. Raises `FixRequest`."""
    path = contexts_file()
    if path is None:
        raise FixRequest("this user has no home folder: set HOME or XDG_CONFIG_HOME to one")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(path, msgspec.json.format(msgspec.json.encode(contexts), indent=2) + b"\n")
    except OSError as error:
        raise FixRequest(f"{path} cannot be written ({error.strerror})") from error


def token_of(context: Context) -> str | None:
    """The token of a context; None where it names no file. Raises `FixRequest`."""
    if not context.token_file:
        return None
    try:
        place = Path(os.path.expanduser(context.token_file))
        return place.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise FixRequest(f"the token file {context.token_file} cannot be read: {why}") from error
