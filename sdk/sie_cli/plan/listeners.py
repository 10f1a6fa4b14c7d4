"""The processes that listen at ports of this machine, by the system's own tables.

*shell.* Reads /proc and changes nothing. Nothing is known where there is no /proc, or of processes
that are hidden from this user. That is said, and nobody is taken for somebody else.
"""

import os
import pwd
import re
from pathlib import Path
from typing import Final

__all__ = ["holder", "listens"]

_TABLES: Final = ("tcp", "tcp6")
_LISTEN: Final = "0A"
"""The state of a socket that listens, as the kernel writes it."""
_LOCAL, _STATE, _USER, _INODE = 1, 3, 7, 9
"""Fields of a line in /proc/net/tcp."""
_SOCKET: Final = re.compile(r"socket:\[(\d+)\]")


def listens(pid: int, port: int) -> bool | None:
    """True if this very process listens at the port, False if it is known that another one does;
    None where the system does not tell."""
    try:
        if not _inodes(port).keys().isdisjoint(_sockets(pid)):
            return True
    except OSError:
        # It has ended, or is hidden: only somebody who is seen is somebody else.
        pass
    return False if holder(port) else None


def holder(port: int) -> str:
    """The process that listens at the port, in words; empty where none does or is told."""
    inodes = _inodes(port)
    for folder in Path("/proc").glob("[0-9]*") if inodes else ():
        try:
            if not inodes.keys().isdisjoint(_sockets(int(folder.name))):
                return f"pid {folder.name} ({(folder / 'comm').read_text().strip()})"
        except OSError:
            # It has ended meanwhile, or is somebody else's.
            continue
    others = (user for user in inodes.values() if user != os.getuid())
    return next((f"a process of {_name(user)}" for user in others), "")


def _inodes(port: int) -> dict[str, int]:
    """The sockets that listen at a port -> the users who made them."""
    found = {}
    for table in _TABLES:
        path = Path(f"/proc/net/{table}")
        for line in path.read_text().splitlines()[1:] if path.exists() else ():
            words = line.split()
            if words[_STATE] == _LISTEN and int(words[_LOCAL].rpartition(":")[2], 16) == port:
                found[words[_INODE]] = int(words[_USER])
    return found


def _sockets(pid: int) -> set[str]:
    found = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            match = _SOCKET.fullmatch(os.readlink(f"/proc/{pid}/fd/{name}"))
        except FileNotFoundError:
            # Closed since.
            continue
        if match is not None:
            found.add(match[1])
    return found


def _name(user: int) -> str:
    try:
        return f"the user {pwd.getpwuid(user).pw_name}"
    except KeyError:
        return f"the user {user}"
