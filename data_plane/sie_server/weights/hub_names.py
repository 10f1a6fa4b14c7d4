"""The names that a hub gives to its files' bytes, before its library makes paths of them.

*shell*: stands before two functions of the hub's library, for the whole process. The library puts a
file where the hub's `ETag` says, below a folder of the cache. A tag with `..` was a new file
anywhere that this user may write. A path was a file of the machine in a model's place. The hub's
word on a commit names folders too. Promises that what would be no plain name there is
refused before anything is written.

It reaches into the library, whose version is bounded for that reason.
"""

import errno
import re
from typing import Any, Final

from huggingface_hub import constants, file_download
from huggingface_hub.errors import RemoteEntryNotFoundError

__all__ = ["hold_to_plain_names"]

_NAME: Final = re.compile(r"[A-Za-z0-9_+=:~-][A-Za-z0-9_.+=:~-]{0,199}")
"""Hashes, and the tags of servers and mirrors. No slash, and no dot at its beginning."""

_their_metadata: Final = file_download._get_metadata_or_catch_error
_their_word_on: Final = file_download.get_hf_file_metadata


def hold_to_plain_names() -> None:
    """Have the hub's library raise `OSError` for any other name; once is enough."""
    file_download._get_metadata_or_catch_error = _metadata
    file_download.get_hf_file_metadata = _word_on


def _check(name: str, what: str) -> None:
    if _NAME.fullmatch(name) is None:
        told = f"the hub says {name[:80]!r} for {what}, which is no plain name: is this a hub?"
        raise OSError(errno.EINVAL, told)


def _metadata(**asked: Any) -> Any:
    found = _their_metadata(**asked)
    _, tag, commit, _, xet, _ = found
    if tag is not None:
        _check(tag, f"the tag of {asked['filename']}")
    if commit is not None:
        _check(commit, f"the commit of {asked['filename']}")
    if xet is not None:
        _check(xet.file_hash, f"the hash of {asked['filename']}")
    return found


def _word_on(*args: Any, **named: Any) -> Any:
    try:
        return _their_word_on(*args, **named)
    except RemoteEntryNotFoundError as error:
        # That there is no such file is remembered by an empty one, in a folder of this name.
        commit = error.response.headers.get(constants.HUGGINGFACE_HEADER_X_REPO_COMMIT)
        if commit is not None:
            _check(commit, "a commit")
        raise
