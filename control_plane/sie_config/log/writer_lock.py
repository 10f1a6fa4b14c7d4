"""The lock of a log's one writer.

*shell.* A lock of the operating system on a file beside the log, so that it ends with its process
however that ends. The file names the process that holds it.
"""

import fcntl
import os
from pathlib import Path

from sie_config.log.storage_faults import StorageFailed, StoreLocked

__all__ = ["take_lock"]


def take_lock(path: Path) -> int:
    """Take the lock of a log's writer, in a folder that is made if it is not there; closing it
    gives it up. Raises `StoreLocked`, or `StorageFailed` for a folder that cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageFailed(
            f"{error.filename}: {error.strerror}; a log needs a folder that may be written to"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise StoreLocked(
            f"{path} is held by another sie-config (process {holder or 'unknown'}): one log has "
            "one writer. Stop that process, or use another data folder"
        ) from error
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
    except OSError as error:
        os.close(descriptor)
        raise StorageFailed(f"{path} cannot be written: {error.strerror}") from error
    return descriptor
