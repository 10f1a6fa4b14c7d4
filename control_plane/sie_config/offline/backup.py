"""A backup: one whole file and the manifest that says what is in it.

*shell.* Copies through SQLite's own backup, beside a writer that goes on writing. Promises that a
file with the backup's name was verified after it was copied, entry by entry, and that its manifest
was there first. A crash at any moment leaves a partial file and no backup. A later backup into the
same folder removes partial files that nobody has written to for an hour.
"""

import contextlib
import hashlib
import os
import secrets
import sqlite3
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from sie_config.log.storage_faults import LogDamaged
from sie_config.offline.findings import Report
from sie_config.offline.log_reader import LogReader, NotReadable
from sie_config.offline.verification import verify_log
from sie_core.chain import Position
from sie_schemas.errors import FixRequest, Untrusted
from sie_schemas.malformed import MALFORMED

__all__ = ["Manifest", "back_up", "copy_log", "manifest_path", "read_manifest", "replace_file"]

_BLOCK_BYTES: Final = 1024 * 1024
"""Bytes hashed at a time: a backup of any size is read in 1 MiB."""
_PARTIAL: Final = ".partial-backup-"
_ABANDONED_S: Final = 3600.0
"""No copy of a log takes an hour; a younger one may be another backup that still runs."""
_VERSION: Final = 1
"""Of the manifest beside the copy."""


class Manifest(msgspec.Struct, frozen=True):
    """The contents of a backup. `size` in bytes and `sha256` are of the file."""

    log_id: str
    epoch: int
    hash: str
    digest: str
    size: int
    sha256: str
    v: int = _VERSION


def manifest_path(backup: Path) -> Path:
    """The path of a backup's manifest."""
    return backup.with_name(backup.name + ".manifest.json")


def back_up(log: Path, target: Path) -> tuple[Path, Report]:
    """Back up a log into a file, or into a folder under a name made of the position.

    Raises `NotReadable`, `FixRequest` for a name that is taken. Damage is in the report; then there
    is no backup.
    """
    folder = target if target.is_dir() else target.parent
    if not folder.is_dir():
        raise FixRequest(f"there is no folder {folder}")
    if folder != target:
        _check_free(target)
    _remove_abandoned(folder)
    with _partial_file(folder) as partial:
        try:
            copy_log(log, partial)
        except LogDamaged:
            return target, verify_log(log).report
        verified = verify_log(partial)
        position = verified.report.position
        if not verified.report.sound or position is None:
            return target, verified.report
        name = target if folder != target else folder / f"log-{position}.sqlite"
        # Once more after the copy: the rename would replace a file that came meanwhile.
        _check_free(name)
        _finish(partial, name, position)
    verified.report.ok("backup", f"{name} holds the log up to {position}")
    return name, verified.report


def _check_free(name: Path) -> None:
    if name.exists():
        raise FixRequest(f"{name} is there already; a backup replaces nothing")


@contextlib.contextmanager
def _partial_file(folder: Path) -> Iterator[Path]:
    """A name of its own for a copy that is being made; nothing is left of it at the end."""
    partial = folder / f"{_PARTIAL}{secrets.token_hex(4)}"
    try:
        yield partial
    finally:
        for leftover in folder.glob(f"{partial.name}*"):
            leftover.unlink(missing_ok=True)


def _remove_abandoned(folder: Path) -> None:
    # Told by its age: whose process it was cannot be asked on another machine or in a container.
    # One that another user left stays: it is no reason to make no backup.
    before = time.time() - _ABANDONED_S
    for partial in folder.glob(f"{_PARTIAL}*"):
        with contextlib.suppress(OSError):
            if partial.stat().st_mtime < before:
                partial.unlink()


def _finish(partial: Path, name: Path, position: Position) -> None:
    size, digest = _measured(partial)
    manifest = Manifest(
        position.log_id, position.epoch, position.hash, position.digest, size, digest
    )
    replace_file(manifest_path(name), (msgspec.json.format(msgspec.json.encode(manifest)), b"\n"))
    # A crash before this line leaves a manifest without a backup, which nobody takes for one.
    partial.replace(name)
    _sync_folder(name.parent)


def copy_log(source: Path, target: Path) -> None:
    """Copy a log, one moment of it, into a fresh file. Raises `NotReadable`."""
    with LogReader.open(source) as reader:
        try:
            with contextlib.closing(sqlite3.connect(target)) as copy:
                reader.connection.backup(copy)
                # One file without siblings, so that whoever copies it on copies all of it.
                copy.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.Error as error:
            raise NotReadable(f"{source} was not copied to {target}: {error}") from error


def read_manifest(backup: Path) -> Manifest:
    """The manifest of a backup whose bytes it matches. Raises `NotReadable`, `Untrusted`."""
    path = manifest_path(backup)
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
        size, digest = _measured(backup)
    except OSError as error:
        raise NotReadable(f"{error.filename}: {error.strerror}; it is no whole backup") from error
    except MALFORMED as error:
        raise Untrusted(f"{path} is no manifest: {error}") from error
    if manifest.v != _VERSION:
        raise Untrusted(f"{path} is of version {manifest.v}; this release reads {_VERSION}")
    if (manifest.size, manifest.sha256) != (size, digest):
        raise Untrusted(
            f"{backup} is not the file that its manifest describes: {size} bytes with SHA-256 "
            f"{digest[:16]}…, not {manifest.size} with {manifest.sha256[:16]}…"
        )
    return manifest


def replace_file(path: Path, parts: Iterable[bytes]) -> None:
    """Replace a file whole, and have it on disk at return. What `parts` raises leaves it as is.

    A link is followed. Raises `FixRequest` for what is no file: a device would be replaced by one.
    """
    if path.exists() and not path.is_file():
        raise FixRequest(f"{path} is no plain file; name one")
    path = path.resolve()
    fresh = path.with_name(path.name + ".new")
    try:
        with fresh.open("wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _measured(path: Path) -> tuple[int, str]:
    # Opened past SQLite: nobody has a connection to this file, so no lock is dropped by it.
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            size += len(block)
        os.fsync(file.fileno())
    return size, digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
