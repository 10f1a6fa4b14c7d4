"""Broker usage: what the broker keeps for the cluster, and how much room there is for it.

*shell* over JetStream's own figures; only sie-config may ask for them. Raises `BusUnavailable` and
`TimeRanOut` as every question to the broker does.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sie_runtime.broker.bus import Bus, BusUnavailable
from sie_runtime.streams import dead_letters
from sie_schemas.jobs import stream_name

__all__ = ["BrokerUsage", "QueueUsage", "read_usage"]

_TIMEOUT_S: Final = 5.0
"""A broker answers in milliseconds, and within seconds while it elects a leader."""
_PAGES_MAX: Final = 1000
"""Ends a broker that pages for ever."""
_WORK: Final = stream_name("x").removesuffix("x")


@dataclass(frozen=True, slots=True)
class QueueUsage:
    """The queue of one pool. `oldest_at` is Unix time; None where it is empty."""

    jobs: int
    jobs_max: int
    """More are refused."""
    bytes: int
    oldest_at: float | None


@dataclass(frozen=True, slots=True)
class BrokerUsage:
    """Bytes and counts of this moment. `bytes_max` is the account's bound; None where it has
    none."""

    queues: dict[str, QueueUsage]
    """By pool."""
    bytes: int
    bytes_max: int | None
    dead_letters: int


async def read_usage(bus: Bus) -> BrokerUsage:
    """Ask the broker."""
    account = await _asked(bus, "$JS.API.INFO", {})
    bytes_max = int(account.get("limits", {}).get("max_storage", -1))
    queues: dict[str, QueueUsage] = {}
    letters = 0
    offset = 0
    for _ in range(_PAGES_MAX):
        page = await _asked(bus, "$JS.API.STREAM.LIST", {"offset": offset})
        streams = page.get("streams") or []
        for stream in streams:
            name, state = stream["config"]["name"], stream["state"]
            if name.startswith(_WORK):
                queues[name.removeprefix(_WORK)] = _queue(state, int(stream["config"]["max_msgs"]))
            elif name == dead_letters.STREAM:
                letters = int(state["messages"])
        offset += len(streams)
        if not streams or offset >= page.get("total", 0):
            break
    return BrokerUsage(
        queues=queues,
        bytes=int(account.get("storage", 0)),
        bytes_max=bytes_max if bytes_max > 0 else None,
        dead_letters=letters,
    )


def _queue(state: dict[str, Any], jobs_max: int) -> QueueUsage:
    jobs = int(state["messages"])
    # Nanoseconds, which Python does not read, and `Z`: seconds are enough for an age.
    first = datetime.fromisoformat(state["first_ts"][:19] + "+00:00") if jobs else None
    oldest_at = first.timestamp() if first is not None else None
    return QueueUsage(jobs, jobs_max, int(state["bytes"]), oldest_at)


async def _asked(bus: Bus, subject: str, question: dict[str, Any]) -> dict[str, Any]:
    answer = await bus.request(subject, json.dumps(question).encode(), timeout_s=_TIMEOUT_S)
    found: dict[str, Any] = json.loads(answer)
    if "error" in found:
        raise BusUnavailable(f"the broker does not tell its usage: {found['error']}")
    return found
