"""Reports: where every replica is, and what it made of each model.

*shell.* Owns the last report of each replica, kept for a bounded time and number. Time is given.
A report is a replica's word: it shows convergence and it bears witness, and it never changes what
the log says.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from sie_config.witnesses import Claim
from sie_core.chain import Position
from sie_schemas.fleet import REPORT_DECODER, ReplicaReport

__all__ = ["Reports"]


@dataclass(slots=True)
class _Seen:
    report: ReplicaReport
    at: float


class Reports:
    """The last report of each replica, by role and id."""

    def __init__(self, *, ttl_s: float, forget_s: float, replicas_max: int) -> None:
        self._ttl_s = ttl_s
        self._forget_s = forget_s
        self._replicas_max = replicas_max
        self._seen: dict[tuple[str, str], _Seen] = {}
        self.malformed = 0

    def receive(self, data: bytes, now: float) -> Claim | None:
        """Take a report; gives what it bears witness to. A malformed one is counted."""
        try:
            report = REPORT_DECODER.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self.malformed += 1
            return None
        self._forget(now)
        name = (report.role, report.id)
        if report.leaving:
            self._seen.pop(name, None)
        elif name in self._seen or len(self._seen) < self._replicas_max:
            self._seen[name] = _Seen(report, now)
        if report.epoch < 1:
            return None
        return Claim(f"{report.role} {report.id}", report.log_id, report.epoch, report.hash)

    def claims(self) -> list[Claim]:
        """What all known replicas bear witness to."""
        return [
            Claim(
                f"{seen.report.role} {seen.report.id}",
                seen.report.log_id,
                seen.report.epoch,
                seen.report.hash,
            )
            for seen in self._seen.values()
            if seen.report.epoch > 0
        ]

    def names(self) -> list[tuple[str, str]]:
        """Role and id of every known replica."""
        return sorted(self._seen)

    def lacking(self, kinds: Sequence[str], now: float) -> list[str]:
        """Live replicas that cannot read one of these kinds of change."""
        return sorted(
            f"{seen.report.role} {seen.report.id}"
            for seen in self._seen.values()
            if now - seen.at <= self._ttl_s
            and seen.report.speaks
            and not set(kinds) <= set(seen.report.speaks)
        )

    def view(self, head: Position, now: float) -> dict[str, Any]:
        """The convergence of the cluster: every replica against the head."""
        self._forget(now)
        rows = [self._row(seen, head, now) for _, seen in sorted(self._seen.items())]
        live = [row for row in rows if row["live"]]
        return {
            "log_id": head.log_id,
            "epoch": head.epoch,
            "hash": head.hash,
            "digest": head.digest,
            "live": len(live),
            "converged": bool(live) and all(row["converged"] for row in live),
            "epoch_min": min((row["epoch"] for row in live), default=None),
            "replicas": rows,
        }

    def _row(self, seen: _Seen, head: Position, now: float) -> dict[str, Any]:
        report = seen.report
        at_head = (report.log_id, report.epoch, report.digest) == (
            head.log_id,
            head.epoch,
            head.digest,
        )
        row: dict[str, Any] = msgspec.to_builtins(report)
        return row | {
            "reason": report.reason,
            "models": msgspec.to_builtins(report.models),
            "age_s": round(now - seen.at, 3),
            "live": now - seen.at <= self._ttl_s,
            "lag": head.epoch - report.epoch if report.log_id == head.log_id else None,
            "converged": at_head and report.state == "fresh",
        }

    def _forget(self, now: float) -> None:
        gone = [name for name, seen in self._seen.items() if now - seen.at > self._forget_s]
        for name in gone:
            del self._seen[name]
