"""Frames out of bytes: a 4-byte big-endian length, and so many bytes.

*pure.* Promises the same bodies in the same order however the bytes were cut. A frame costs no more
than one copy of it.
"""

from typing import Final

from sie_schemas.ipc.messages import FRAME_BYTES_MAX, FRAME_HEADER

__all__ = ["FrameTooLong", "Frames"]

_HEADER: Final = FRAME_HEADER.size


class FrameTooLong(ValueError):
    """A frame is longer than is read: the peer speaks another protocol, or far too much."""


class Frames:
    """The bytes of one stream that have come and are no whole frame yet."""

    def __init__(self, *, bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._parts: list[bytes] = []
        self._held = 0
        """Bytes in the parts."""
        self._wanted = _HEADER
        """The number of bytes that are needed before it is worth looking again."""

    @property
    def partial(self) -> bool:
        """True if a frame has begun to come."""
        return self._held > 0

    def feed(self, data: bytes) -> list[bytes]:
        """The bodies that are whole with these bytes. Raises `FrameTooLong`."""
        self._parts.append(data)
        self._held += len(data)
        # A frame of megabytes comes in hundreds of pieces, and is joined once.
        if self._held < self._wanted:
            return []
        if len(self._parts) > 1:
            data = b"".join(self._parts)
        bodies: list[bytes] = []
        at, self._wanted = 0, _HEADER
        while at + _HEADER <= len(data):
            (size,) = FRAME_HEADER.unpack_from(data, at)
            # At the length and not at the end: nothing is gathered for a frame that is refused.
            if size > self._bytes_max:
                raise FrameTooLong(f"{size} bytes long; at most {self._bytes_max} are read")
            end = at + _HEADER + size
            if end > len(data):
                self._wanted = end - at
                break
            bodies.append(data[at + _HEADER : end])
            at = end
        rest = data[at:]
        self._parts = [rest] if rest else []
        self._held = len(rest)
        return bodies
