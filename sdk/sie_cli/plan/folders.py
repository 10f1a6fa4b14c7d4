"""The data folder of a local cluster: made, and its broker's file written.

*shell.* Owns the folder's layout on disk. Sockets live in it too, unless its path is too long for a
socket's address. Then they live in a private folder of the temporary one, or of `/tmp`. What it
makes is for its own user.
"""

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Final

from sie_cli.access.private_files import write_private
from sie_cli.plan import broker
from sie_cli.plan.plans import Layout
from sie_schemas.errors import FixRequest

__all__ = ["prepare", "write_broker_config"]

_SOCKET_PATH_MAX: Final = 100
"""Bytes that every system takes for a Unix socket's path (Linux: 107, macOS: 103)."""
_OURS: Final = 0o700
"""A cluster's folder holds passwords of the broker and a key: its owner's alone."""
_LONGEST_NAME: Final = "/server-999.sock"


def prepare(data: Path) -> Layout:
    """Make the folder and what it holds. Raises `FixRequest` when it cannot be made."""
    layout = Layout(data=data, sockets=_sockets_folder(data))
    try:
        data.mkdir(mode=_OURS, parents=True, exist_ok=True)
        for folder in (layout.logs, data / "nats", data / "config"):
            folder.mkdir(exist_ok=True)
            # Also where an older release made it. The data folder itself may be the operator's.
            folder.chmod(_OURS)
        layout.sockets.mkdir(mode=_OURS, exist_ok=True)
    except OSError as error:
        raise FixRequest(
            f"the data folder {data} cannot be made ({error.strerror}): give another with --data"
        ) from error
    if layout.sockets.stat().st_uid != os.getuid():
        raise FixRequest(f"{layout.sockets} belongs to someone else: give a shorter --data")
    return layout


def write_broker_config(layout: Layout, plan: broker.BrokerPlan) -> None:
    """Write the broker's file, which nobody else may read: it holds the passwords."""
    write_private(layout.broker_config, broker.render(plan).encode())


def _sockets_folder(data: Path) -> Path:
    name = f"sie-{os.getuid()}-{hashlib.sha256(os.fsencode(data)).hexdigest()[:16]}"
    # The last one is short enough always; the temporary folder may be as deep as the data folder.
    places = (data / "run", Path(tempfile.gettempdir()) / name, Path("/tmp") / name)
    return next(place for place in places if _may_hold_sockets(place))


def _may_hold_sockets(folder: Path) -> bool:
    # A comma stands between sockets where a worker has several.
    return len(os.fsencode(f"{folder}{_LONGEST_NAME}")) <= _SOCKET_PATH_MAX and "," not in str(
        folder
    )
