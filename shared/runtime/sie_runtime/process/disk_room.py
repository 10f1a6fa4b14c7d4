"""Disk room: the bytes that are left on the disk of a folder.

*shell* over the file system. Never raises: a gauge that cannot be read is NaN.
"""

import shutil
from math import nan
from pathlib import Path

__all__ = ["free_bytes", "total_bytes"]


def free_bytes(folder: Path) -> float:
    """The bytes that an ordinary user can still write there."""
    try:
        return float(shutil.disk_usage(_existing(folder)).free)
    except OSError:
        return nan


def total_bytes(folder: Path) -> float:
    """The bytes that the disk has."""
    try:
        return float(shutil.disk_usage(_existing(folder)).total)
    except OSError:
        return nan


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that there is: one may be made with its first file."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
