"""Happenings as rows: changes, refusals, and what replicas met.

*pure.* From rows of the audit and from views of the replicas. Promises that a view which is like
the one before gives no row, and that what a replica cannot load is told once.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from sie_cli.config.config_rows import state_of

__all__ = ["COLUMNS", "Happening", "ReplicaChanges", "of_audit"]

COLUMNS: Final = ("ts", "what", "who", "message")
_CHANGES_SHOWN: Final = 4
"""Changes in one line of a table."""
_WELL: Final = frozenset({"fresh", "gone"})

Happening: TypeAlias = dict[str, Any]
"""`ts`, `what` (changed, refused, replica, failed), `who`, `message`."""


def of_audit(row: Mapping[str, Any]) -> Happening:
    """A row of the audit, or an entry of the feed."""
    told: Happening = {"ts": row["ts"], "who": row["actor"]}
    if row["outcome"] != "accepted":
        often = f" ({row['count']} times)" if row.get("count", 1) > 1 else ""
        why = f"{row['method']} {row['path']}: {row['outcome']}{often}"
        message = row.get("message") or ""
        return told | {"what": "refused", "message": f"{why}: {message}" if message else why}
    changes = row["changes"]
    shown = [_change(each) for each in changes[:_CHANGES_SHOWN]]
    more = row.get("changed", len(changes)) - len(shown)
    text = f"epoch {row['epoch']}: {', '.join(shown)}" + (f" and {more} more" if more > 0 else "")
    reason = f" ({row['reason']})" if row["reason"] else ""
    return told | {"what": "changed", "message": text + reason}


class ReplicaChanges:
    """The differences from one view of the replicas to the next."""

    def __init__(self) -> None:
        self._seen: dict[str, str] | None = None
        self._failed: dict[tuple[str, str], str] = {}

    def rows(self, replicas: Sequence[Mapping[str, Any]], ts: str) -> Iterator[Happening]:
        """The rows of a view. Of the first one only what is amiss."""
        seen = {f"{row['role']} {row['id']}": state_of(row) for row in replicas}
        reasons = {f"{row['role']} {row['id']}": row["reason"] for row in replicas}
        for who, move in _moves(self._seen, seen):
            why = f": {reasons[who]}" if reasons.get(who) else ""
            yield {"ts": ts, "what": "replica", "who": who, "message": move + why}
        self._seen = seen
        yield from self._failures(replicas, ts)

    def _failures(self, replicas: Sequence[Mapping[str, Any]], ts: str) -> Iterator[Happening]:
        failed = {
            (f"{row['role']} {row['id']}", model): reason
            for row in replicas
            if row["live"]
            for model, reason in row["failed"].items()
        }
        for (who, model), reason in failed.items():
            if self._failed.get((who, model)) != reason:
                message = f"cannot load {model}: {reason}"
                yield {"ts": ts, "what": "failed", "who": who, "message": message}
        self._failed = failed


def _moves(before: Mapping[str, str] | None, now: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Each replica whose state is another one, with words for that."""
    if before is None:
        yield from ((who, f"is {state}") for who, state in now.items() if state not in _WELL)
        return
    for who, state in now.items():
        if who not in before:
            yield who, f"is new and {state}"
        elif before[who] != state:
            yield who, f"was {before[who]} and is {state}"
    yield from ((who, "is not counted any more") for who in sorted(before.keys() - now.keys()))


def _change(row: Mapping[str, Any]) -> str:
    return f"{row['verb']} {row['kind']}/{row['key']}" if row["key"] else str(row["kind"])
