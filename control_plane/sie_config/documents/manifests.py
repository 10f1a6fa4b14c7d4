"""Manifests: the hashes that pin a folder of weights.

*shell.* Fills in the manifest of a path source that has none, so that what is admitted is pinned.
Where it cannot, it says what to send. Opens nothing itself. A file that a request names may be the
log under another name. To open and close it would drop the locks that SQLite holds on it in this
process. A reader of its own does, a few at a time, each bounded and ended with its client. Whoever
asks learns of no folder but those that the operator allowed, not even that there is one.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from sie_config.documents import manifest_reader
from sie_config.documents.asked_process import answer_of, while_wanted
from sie_config.documents.manifest_reader import Ask
from sie_config.settings import ConfigSettings
from sie_runtime.process.plain_paths import is_below
from sie_schemas.errors import FixRequest, Later, invalid_field

__all__ = ["Manifests", "Pin", "Pinning", "unpinned"]

Pin: TypeAlias = Callable[[Any], Awaitable[Any]]
"""Gives a document with its path source pinned. Raises `SIEError`."""

_FILES_MAX: Final = 1000
"""As many as a manifest may have."""
_ENTRIES_MAX: Final = 20_000
"""Twenty times the files that a manifest may name: what else a folder holds is walked too."""
_DEPTH_MAX: Final = 16
"""Published models use three folders at most; the bound ends a folder that contains itself."""
_ANSWER_BYTES_MAX: Final = 8 * 1024 * 1024
"""The reader's lines for 1,000 files with long names, several times over."""
_INHERITED: Final = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""Variables that an interpreter may need to start."""


class _Found(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The answer of a reader."""

    manifest: dict[str, str] = {}
    size: int = 0
    refused: str = ""


class Manifests:
    """The readers of one sie-config. Made with its control plane, closed by it."""

    def __init__(self, settings: ConfigSettings) -> None:
        self._allowed = settings.weights_folders
        self._private = [
            # The reader has another folder of its own; where links lead is for it to say.
            str(value.absolute())
            for field in fields(settings)
            if isinstance(value := getattr(settings, field.name), Path)
        ]
        self._bytes_max = settings.manifest_bytes_max
        self._time_s = settings.manifest_s
        self._readers_max = settings.manifest_readers_max
        self._readers = 0
        self._closing = asyncio.Event()

    def pinning(self, left: Callable[[], Coroutine[Any, Any, object]]) -> "Pinning":
        """For one request; `left` ends when its client does."""
        return Pinning(self, left, size_left=self._bytes_max, ends_at=self._ends_at())

    def close(self) -> None:
        """End every reader, and begin none."""
        self._closing.set()

    def _ends_at(self) -> float:
        return time.monotonic() + self._time_s

    async def read(
        self,
        path: str,
        left: Callable[[], Coroutine[Any, Any, object]],
        *,
        size_left: int,
        ends_at: float,
    ) -> tuple[dict[str, str], int]:
        """The manifest of a folder, and its bytes. Raises `SIEError`."""
        if not is_below(path, self._allowed):
            raise _refused(
                "sie-config may read no folder of that name (its setting weights_folders allows "
                "some)"
            )
        if self._readers >= self._readers_max:
            raise Later(
                f"{self._readers} folders of weights are being read already; send the request "
                "again, or with the manifest",
                code="RESOURCE_EXHAUSTED",
            )
        time_s = ends_at - time.monotonic()
        ask = Ask(
            path=path,
            allowed=list(self._allowed),
            private=self._private,
            files_max=_FILES_MAX,
            entries_max=_ENTRIES_MAX,
            depth_max=_DEPTH_MAX,
            bytes_max=size_left,
            time_s=max(0.001, time_s),
        )
        self._readers += 1
        try:
            found = await while_wanted(
                _read(ask), left(), self._closing.wait(), what="the reading of the weights"
            )
        except TimeoutError as error:
            # The bound, and not what was left of it: that is what an operator can change.
            raise _refused(f"{path} takes longer than {self._time_s:g} s to read") from error
        finally:
            self._readers -= 1
        if found.refused:
            raise _refused(f"sie-config cannot pin {path}: {found.refused}")
        return found.manifest, found.size


class Pinning:
    """The path sources of one request: together within one bound, and each folder read once."""

    def __init__(
        self,
        manifests: Manifests,
        left: Callable[[], Coroutine[Any, Any, object]],
        *,
        size_left: int,
        ends_at: float,
    ) -> None:
        self._manifests = manifests
        self._left = left
        self._size_left = size_left
        self._ends_at = ends_at
        self._known: dict[str, dict[str, str]] = {}

    async def __call__(self, document: Any) -> Any:
        """The document, pinned. Raises `FixRequest` naming `source.manifest`, or `Later`."""
        path = _unpinned_path(document)
        if path is None:
            return document
        if path not in self._known:
            self._known[path], size = await self._manifests.read(
                path, self._left, size_left=self._size_left, ends_at=self._ends_at
            )
            self._size_left -= size
        return {**document, "source": {**document["source"], "manifest": self._known[path]}}


async def unpinned(document: Any) -> Any:
    """The document, if it needs no manifest. Raises `FixRequest`: here no folder is read."""
    if _unpinned_path(document) is not None:
        raise _refused("no folder is read here")
    return document


def _unpinned_path(document: Any) -> str | None:
    """The path of a source that wants a manifest; a document that has none is not for us."""
    source = document.get("source") if isinstance(document, Mapping) else None
    if not isinstance(source, Mapping) or source.get("type") != "path" or "manifest" in source:
        return None
    path = source.get("path")
    # Of another path the document's own rules say what is wrong with it.
    return path if isinstance(path, str) and path.startswith("/") else None


async def _read(ask: Ask) -> _Found:
    """Read a manifest in a process apart. Raises `OurFault`, `TimeoutError`."""
    return await answer_of(
        (sys.executable, "-I", "-S", "-B", str(Path(manifest_reader.__file__))),
        asdict(ask),
        _Found,
        within_s=ask.time_s,
        bytes_max=_ANSWER_BYTES_MAX,
        inherited=_INHERITED,
    )


def _refused(problem: str) -> FixRequest:
    return invalid_field(
        "source.manifest",
        f"{problem}; send the manifest: a mapping of each file to its SHA-256",
    )
