"""Manifests: the hashes that pin a folder of weights.

*shell.* Reads files of the machine that `sie-config` runs on, off the loop. Fills in the manifest
of a path source that has none, so that what is admitted is pinned; where it cannot, says what to
send.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sie_schemas.errors import FixRequest

__all__ = ["with_manifest"]

_FILES_MAX: Final = 1000
_FIELD: Final = "source.manifest"


async def with_manifest(document: Any) -> Any:
    """The document, its path source pinned. Raises `FixRequest` naming `source.manifest`."""
    source = document.get("source") if isinstance(document, Mapping) else None
    if not isinstance(source, Mapping) or source.get("type") != "path" or "manifest" in source:
        return document
    path = source.get("path")
    if not isinstance(path, str) or not path.startswith("/"):
        # The document's own rules say what is wrong with it.
        return document
    manifest = await asyncio.to_thread(_manifest_of, Path(path))
    return {**document, "source": {**source, "manifest": manifest}}


def _manifest_of(folder: Path) -> dict[str, str]:
    try:
        files = sorted(
            file for file in folder.rglob("*") if file.is_file() and _counts(file, folder)
        )
        if not files:
            raise _refused(f"{folder} is no folder with files on the machine of sie-config")
        if len(files) > _FILES_MAX:
            raise _refused(f"{folder} has more than {_FILES_MAX} files")
        return {str(file.relative_to(folder)): _hash_of(file) for file in files}
    except OSError as error:
        raise _refused(f"{folder} cannot be read by sie-config: {error.strerror}") from error


def _counts(file: Path, folder: Path) -> bool:
    return not any(part.startswith(".") for part in file.relative_to(folder).parts)


def _hash_of(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _refused(problem: str) -> FixRequest:
    message = f"{problem}; send the manifest: a mapping of each file to its SHA-256"
    return FixRequest(
        message,
        code="VALIDATION_ERROR",
        field=_FIELD,
        details=[{"path": _FIELD, "message": message}],
    )
