"""Pickled weights of a hub's revision, and the safetensors that stand for them.

*shell* over the folder of one revision. Promises that a pickle is read once, in a process of its
own (`unpickling`), and only if nothing else holds those weights. What was made of it is known by
the hash of the original and of itself. It is made anew where it is not what it was. An original
leaves once it is converted in each revision that has it.
"""

import glob
import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from sie_layouts.architectures.tensors.pickled import made_name, pickles_wanted
from sie_schemas.malformed import MALFORMED
from sie_server.bounded_child import Bounds, NotAnswered, answered
from sie_server.failures import load_failed
from sie_server.weights.file_hashes import sha256, sha256_as_of

__all__ = ["convert_pickles", "pickles_at", "still_whole"]

_LOG: Final = logging.getLogger(__name__)

_INDEX: Final = "pytorch_model.bin.index.json"
_RECORD: Final = ".sie-pickles.json"
"""Beside the weights."""
_PROGRAM: Final = Path(__file__).with_name("unpickling.py")
_TIME_S: Final = 3600.0
"""Patience for the largest file on a slow disk; processor time has a bound of its own."""
_MEMORY_SPARE: Final = 512 * 1024**2
"""Torch's allocator and the interpreter, beside the tensors."""
_TIMES_THE_FILE: Final = 3
"""The file itself, the tensors, and the bytes on their way out."""
_CPU_S: Final = 60
"""For what takes as long with any file, on a processor of any speed."""
_BYTES_PER_CPU_S: Final = 32 * 1024**2
"""Far below what an unpickler reads, so that only one that loops runs out."""
_DISK_SPARE: Final = 16 * 1024**2
"""Headers of safetensors, and the tensors' alignment."""


class _Converted(msgspec.Struct, frozen=True):
    """One pickle: its hash, the file that was made of it, and that file's hash."""

    original: str
    made: str
    sha256: str


def still_whole(folder: Path, names: Iterable[str]) -> bool:
    """True if what was made of these pickles is there, and is what it was."""
    record = _record(folder)
    return all(name in record and _is_made(folder, record[name]) for name in names)


def pickles_at(folder: Path) -> tuple[str, ...]:
    """The same of a folder that the hub does not speak of: those converted before, and others."""
    there = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return tuple(dict.fromkeys((*_record(folder), *pickles_wanted(there))))


def convert_pickles(folder: Path, names: Iterable[str], what: str) -> None:
    """Make safetensors of each of these files. Raises MODEL_LOAD_FAILED with the reason.

    The caller holds the folder's lock and has verified the files.
    """
    record: dict[str, _Converted] = {}
    for name in names:
        made = made_name(name)
        if not (folder / name).is_file():
            raise load_failed(
                f"{name} of {what} was converted here, the result is damaged, and the original is "
                "gone: let this worker reach the hub, which fetches it anew"
            )
        _LOG.info("%s of %s is a pickle: its tensors are read in a process apart", name, what)
        original = sha256(folder / name)
        _convert(folder / name, folder / made, f"{name} of {what}")
        record[name] = _Converted(original, made, sha256(folder / made))
    _write_index(folder)
    # A link of that name would lead into the hub's files.
    (folder / _RECORD).unlink(missing_ok=True)
    (folder / _RECORD).write_bytes(msgspec.json.encode(record))
    for name in record:
        _remove(folder / name)


def _remove(pickled: Path) -> None:
    """Remove a name, and the bytes behind it where no other revision has them, too."""
    blob = pickled.resolve()
    is_link = pickled.is_symlink()
    pickled.unlink()
    if is_link and blob not in _linked(blob.parent.with_name("snapshots")):
        blob.unlink(missing_ok=True)


def _linked(folder: Path) -> set[Path]:
    return {path.resolve() for path in folder.rglob("*") if path.is_symlink()}


def _convert(pickled: Path, made: Path, what: str) -> None:
    # Of a conversion that was killed.
    for left in made.parent.glob(f".{glob.escape(made.name)}.*.new"):
        left.unlink()
    fresh = made.with_name(f".{made.name}.{os.getpid()}.new")
    try:
        reason = _refusal(pickled, fresh)
        if reason or not fresh.is_file():
            raise load_failed(
                f"{what} is a pickle that is not taken: {reason or 'nothing came of it'}; choose "
                "a revision with safetensors"
            )
        fresh.replace(made)
    finally:
        fresh.unlink(missing_ok=True)


def _refusal(pickled: Path, made: Path) -> str:
    """Empty where the tensors are in `made`."""
    size = pickled.stat().st_size
    bounds = Bounds(
        memory_bytes=_TIMES_THE_FILE * size + _MEMORY_SPARE,
        cpu_s=_CPU_S + size // _BYTES_PER_CPU_S,
        written_bytes=_TIMES_THE_FILE * size + _DISK_SPARE,
        time_s=_TIME_S,
    )
    question = json.dumps([str(pickled.resolve()), str(made)]).encode()
    try:
        return answered(_PROGRAM, question, bounds).decode()
    except NotAnswered as error:
        return str(error)


def _write_index(folder: Path) -> None:
    """The index of weights in several files, with their new names."""
    path = folder / _INDEX
    if not path.is_file():
        return
    index = json.loads(path.read_bytes())
    index["weight_map"] = {key: made_name(name) for key, name in index["weight_map"].items()}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def _record(folder: Path) -> dict[str, _Converted]:
    path = folder / _RECORD
    # A link leads into the hub's files: a repository may have one of this name.
    if path.is_symlink() or not path.is_file():
        return {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, _Converted])
    except (OSError, *MALFORMED):
        return {}


def _is_made(folder: Path, converted: _Converted) -> bool:
    try:
        return sha256_as_of(folder / converted.made) == converted.sha256
    except OSError:
        return False
