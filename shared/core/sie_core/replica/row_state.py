"""The state of a replica in one word, as a row of `/v1/configs/replicas` tells it.

*pure.* A field that is absent says nothing.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

__all__ = ["Row", "Tone", "replica_state"]

Tone: TypeAlias = Literal["ok", "warn", "bad"]
Row: TypeAlias = Mapping[str, Any]

SILENT_S: Final = 5.0
"""Twice the pace of reports."""


def replica_state(row: Row) -> tuple[Tone, str]:
    """The state of a replica, as a row of `/v1/configs/replicas` tells it, in a tone and a word."""
    state, lag = row.get("state", "fresh"), row.get("lag", 0)
    if row.get("gone"):
        return "bad", "gone"
    if not row.get("live", True):
        return "bad", "lost"
    if state in {"forked", "halted", "quarantined"}:
        return "bad", state
    if row.get("age_s", 0.0) > SILENT_S:
        return "warn", "silent"
    if lag is None:
        return "bad", "other log"
    if lag > 0:
        return "warn", f"{lag} behind"
    return ("ok", "at the head") if state == "fresh" else ("warn", state)
