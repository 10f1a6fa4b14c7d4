"""The manifest of a folder: the SHA-256 of each file that a worker reads, by its name.

*shell* over the files of one folder. A person who waits sees how far it is, on stderr.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from sie_cli.show.printing import talk
from sie_schemas.errors import FixRequest

__all__ = ["manifest_of"]

_PIECE_BYTES: Final = 4 * 1024**2
_TOLD_FROM_BYTES: Final = 256 * 1024**2
"""Below it nobody waits long enough to ask."""


def manifest_of(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Hash the files. Raises `FixRequest` for one that does not read."""
    try:
        total = sum((folder / name).stat().st_size for name in names)
        return _hashed(folder, names, total)
    except OSError as error:
        raise FixRequest(f"{error.filename}: {error.strerror}: let this user read it") from error


def _hashed(folder: Path, names: Sequence[str], total: int) -> dict[str, str]:
    console = Console(stderr=True)
    is_told = total >= _TOLD_FROM_BYTES
    if is_told and not console.is_terminal:
        talk(f"hashing {len(names)} files of {total / 1e9:.1f} GB")
    columns = (
        TextColumn("hashing {task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    shown = is_told and console.is_terminal
    found: dict[str, str] = {}
    with Progress(*columns, console=console, transient=True, disable=not shown) as progress:
        task = progress.add_task("", total=total)
        for name in names:
            progress.update(task, description=name)
            digest = hashlib.sha256()
            with (folder / name).open("rb") as stream:
                while piece := stream.read(_PIECE_BYTES):
                    digest.update(piece)
                    progress.update(task, advance=len(piece))
            found[name] = digest.hexdigest()
    return found
