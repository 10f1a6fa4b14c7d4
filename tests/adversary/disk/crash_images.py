"""Crash images: what a disk may hold after the power went, given what was asked of it.

*pure.* A model of a disk that keeps only what was synced, and of everything else any part: an
un-synced write may be gone, there, or there in some of its sectors, whatever was written after it.
Promises that each image is one that an honest disk may leave; randomness is an argument. Does not
know what the files mean. Two things are assumed of the disk: a sector is written whole or not at
all, and what was synced stays.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Final, assert_never

__all__ = ["SECTOR_BYTES", "Deleted", "Disk", "Loss", "Operation", "Synced", "Truncated", "Wrote"]

SECTOR_BYTES: Final = 512


@dataclass(frozen=True, slots=True)
class Wrote:
    """Bytes at an offset; the file comes into being or grows where it must."""

    file: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncated:
    """The file now ends here."""

    file: str
    size: int


@dataclass(frozen=True, slots=True)
class Synced:
    """Everything that was done to the file is on the medium.

    With `folder`, so is what its folder lists: files that were deleted do not come back.
    """

    file: str
    folder: bool = False


@dataclass(frozen=True, slots=True)
class Deleted:
    """The file is gone; `synced` if its folder was synced too."""

    file: str
    synced: bool


Operation = Wrote | Truncated | Synced | Deleted
_Pending = Wrote | Truncated | Deleted


class Loss(StrEnum):
    """The fate of the un-synced operations."""

    NONE = "all of them reached the medium"
    ALL = "none of them did"
    TAIL = "those after some moment did not"
    SOME = "any of them did, as if reordered"
    TORN = "any sectors of any of them did"


@dataclass(slots=True)
class _File:
    durable: bytes | None = None
    """None: there is no such file."""
    pending: list[_Pending] = field(default_factory=list)


class Disk:
    """A disk after the operations that it was given. Owned by whoever replays them.

    `honours_sync` False is a disk that lies: it answers a sync and keeps nothing.
    """

    def __init__(self) -> None:
        self.honours_sync = True
        self._files: dict[str, _File] = {}

    def do(self, operation: Operation) -> None:
        """Carry one operation out."""
        file = self._files.setdefault(operation.file, _File())
        match operation:
            case Synced(_, folder):
                if self.honours_sync:
                    file.durable = _content(file.durable, file.pending)
                    file.pending.clear()
                    if folder:
                        self._sync_folder()
            case Deleted(_, synced):
                file.pending.append(operation)
                if synced and self.honours_sync:
                    file.durable = None
                    file.pending.clear()
            case Wrote() | Truncated():
                file.pending.append(operation)
            case _:
                assert_never(operation)

    def _sync_folder(self) -> None:
        for file in self._files.values():
            deletions = [n for n, op in enumerate(file.pending) if isinstance(op, Deleted)]
            if deletions:
                file.durable = None
                del file.pending[: deletions[-1] + 1]

    def image(self, loss: Loss, random: Random) -> dict[str, bytes]:
        """The files that are found after a power cut now."""
        found: dict[str, bytes] = {}
        for name, file in self._files.items():
            content = _content(file.durable, _survivors(file.pending, loss, random))
            if content is not None:
                found[name] = content
        return found


def _survivors(pending: list[_Pending], loss: Loss, random: Random) -> list[_Pending]:
    match loss:
        case Loss.NONE:
            return pending
        case Loss.ALL:
            return []
        case Loss.TAIL:
            return pending[: random.randint(0, len(pending))]
        case Loss.SOME:
            return [operation for operation in pending if random.random() < 0.5]
        case Loss.TORN:
            parts = [part for operation in pending for part in _sectors(operation)]
            return [part for part in parts if random.random() < 0.5]
        case _:
            assert_never(loss)


def _sectors(operation: _Pending) -> list[_Pending]:
    if not isinstance(operation, Wrote):
        return [operation]
    parts: list[_Pending] = []
    at, end = operation.offset, operation.offset + len(operation.data)
    while at < end:
        until = min(end, (at // SECTOR_BYTES + 1) * SECTOR_BYTES)
        data = operation.data[at - operation.offset : until - operation.offset]
        parts.append(Wrote(operation.file, at, data))
        at = until
    return parts


def _content(durable: bytes | None, operations: list[_Pending]) -> bytes | None:
    if not operations:
        return durable
    content = bytearray(durable or b"")
    exists = durable is not None
    for operation in operations:
        exists = not isinstance(operation, Deleted)
        match operation:
            case Wrote(_, offset, data):
                content.extend(bytes(max(0, offset - len(content))))
                content[offset : offset + len(data)] = data
            case Truncated(_, size):
                # Without the writes before it the file may be shorter still; then it grows.
                content.extend(bytes(max(0, size - len(content))))
                del content[size:]
            case Deleted():
                content.clear()
            case _:
                assert_never(operation)
    return bytes(content) if exists else None
