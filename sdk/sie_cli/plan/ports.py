"""Ports on this machine: which are free, and whether one that was asked for is.

*shell.* Asks the system by binding. A free port is taken from below the range that outgoing
connections use. So it is still free when a process that died on it is started again. It holds no
port: a stranger may take one between the answer and its use.
"""

import random
import socket
from collections.abc import Collection, Iterator
from typing import Final

from sie_cli.plan.listeners import holder
from sie_schemas.errors import FixRequest

__all__ = ["check_free", "free_ports", "is_free"]

_RANGE: Final = (20_000, 32_000)
"""Linux takes ports of outgoing connections from 32768 on."""
_APART: Final = 4
"""Blocks begin so far apart that none overlaps another; the longest asked for is two."""
_PORT_MAX: Final = 65_535
"""The last port of TCP."""


def is_free(port: int) -> bool:
    """True if a process could listen on this loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As our servers do: else a port of connections that just ended (TIME_WAIT) looks taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def check_free(port: int, role: str) -> None:
    """Raise `FixRequest`, with the cure, for a port that cannot be listened on."""
    if not 0 < port <= _PORT_MAX:
        raise FixRequest(f"port {port} for {role} does not exist: give another with --port")
    if not is_free(port):
        by = holder(port)
        raise FixRequest(
            f"port {port}, where {role} would listen, is taken{by and f' by {by}'}: stop what "
            "holds it or give another with --port",
            code="ENTITY_CONFLICT",
        )


def free_ports(count: int, *, adjacent: int = 1, spoken_for: Collection[int] = ()) -> list[int]:
    """`count` distinct free ports, each with `adjacent - 1` free ones right after it.

    None of them is `spoken_for`: those are promised to processes that do not listen yet.
    """
    found: list[int] = []
    for port in _candidates():
        block = range(port, port + adjacent)
        if not {*block} & {*spoken_for} and all(map(is_free, block)):
            found.append(port)
        if len(found) == count:
            return found
    raise FixRequest("no free port was found on this machine: close some programs")


def _candidates() -> Iterator[int]:
    # Spread over the range, so that two clusters that start together seldom choose the same.
    ports = list(range(*_RANGE, _APART))
    random.SystemRandom().shuffle(ports)
    yield from ports
