"""Files of a cluster, for their owner only: replaced whole, or added to.

*shell.* Promises that nobody else can read one that was replaced at any moment, whatever stood
there before. A reader never sees half of it: a crash leaves the old file. One that is added to is
closed to others before a byte is.
"""

import os
from pathlib import Path

__all__ = ["open_to_append", "write_private"]


def write_private(path: Path, data: bytes) -> None:
    """Replace a file. Raises `OSError`."""
    fresh = path.with_name(path.name + ".new")
    # Made anew, and by O_EXCL: what stood there may be a link, or open to others.
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def open_to_append(path: Path) -> int:
    """A descriptor that adds to a file, made if it is not there. Raises `OSError`."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        # The mode above is for a file that is made; one that was there keeps its own.
        os.fchmod(descriptor, 0o600)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
