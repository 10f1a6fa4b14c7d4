"""Reports: where every replica is, and what it made of each model.

*shell.* Owns the last report of each replica, kept for a bounded time and number. Time is given.
A process that starts takes the place of the one that had its name; one that speaks again after that
lives too, and both are counted, so that neither hides behind the other's word. A report is a
replica's word: it shows convergence, it never changes what the log says, and it bears witness only
if somebody vouches for its sender (the broker, which knows its users) or it comes with the entry
that it speaks of.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Final

import msgspec
from msgspec import UNSET
from prometheus_client import Counter, Gauge

from sie_config.witnesses import Claim
from sie_core.chain import Position
from sie_schemas.entry import Entry, EntryCorrupt, parse_envelope
from sie_schemas.fleet import REPORT_DECODER, ReplicaReport
from sie_schemas.malformed import MALFORMED

__all__ = ["Reports", "Sighting"]

_LOG: Final = logging.getLogger(__name__)
_REFUSED = Counter(
    "sie_config_reports_refused_total", "Reports that were not taken, by reason.", ["reason"]
)
_SHARED = Counter(
    "sie_config_replica_names_shared_total", "Times that a second process spoke under one name."
)
_TRAFFIC_S: Final = 3600.0
_LIVES_MAX: Final = 8
_REPLICAS = Gauge("sie_config_replicas", "Replicas whose last report is kept.")


@dataclass(frozen=True, slots=True)
class Sighting:
    """The last report of a replica, and when it came."""

    report: ReplicaReport
    at: float
    is_witness: bool
    replaced: bool = False
    """A later life of the name has spoken, and this one not since."""


class Reports:
    """The last report of each replica, by role, id and life."""

    def __init__(
        self, *, ttl_s: float, forget_s: float, replicas_max: int, report_bytes_max: int = 262_144
    ) -> None:
        self._ttl_s = ttl_s
        self._forget_s = forget_s
        self._replicas_max = replicas_max
        self._report_bytes_max = report_bytes_max
        self._forgot_at = float("-inf")
        self._seen: dict[tuple[str, str], dict[str, Sighting]] = {}
        self.malformed = 0

    def receive(
        self, data: bytes, now: float, *, subject: str = "", vouched: bool = True
    ) -> Claim | None:
        """Take a report; gives what it bears witness to. A malformed one is counted.

        `subject` is where it came from on the bus; empty over HTTP. `vouched` says that whoever
        delivered it knows its sender.
        """
        report = self._read(data, subject)
        if report is None:
            return None
        is_witness = vouched or _proves(report)
        self._forget(now)
        self._keep(msgspec.structs.replace(report, entry=UNSET), now, is_witness)
        if report.epoch < 1 or not is_witness:
            return None
        return _claim(report)

    def _read(self, data: bytes, subject: str) -> ReplicaReport | None:
        if len(data) > self._report_bytes_max:
            self._refuse("too large")
            return None
        try:
            report = REPORT_DECODER.decode(data)
        except MALFORMED:
            self._refuse("malformed")
            return None
        if subject and subject != f"sie.config.report.{report.role}.{report.id}":
            self._refuse("another's name")
            return None
        return report

    def _refuse(self, reason: str) -> None:
        self.malformed += 1
        _REFUSED.labels(reason).inc()

    def _keep(self, report: ReplicaReport, now: float, is_witness: bool) -> None:
        name = (report.role, report.id)
        if report.leaving:
            self._drop(name, report.life)
        elif name in self._seen or len(self._seen) < self._replicas_max:
            lives = self._seen.setdefault(name, {})
            self._take_turns(lives, report)
            lives[report.life] = Sighting(report, now, is_witness)
        else:
            _REFUSED.labels("too many replicas").inc()
        _REPLICAS.set(len(self._seen))

    def _take_turns(self, lives: dict[str, Sighting], report: ReplicaReport) -> None:
        """What a report says of the other lives of its name."""
        known = lives.get(report.life)
        if known is None:
            for life, seen in lives.items():
                lives[life] = replace(seen, replaced=True)
            if len(lives) >= _LIVES_MAX:
                del lives[min(lives, key=lambda life: lives[life].at)]
        elif known.replaced:
            _SHARED.inc()
            _LOG.warning(
                "two processes report as %s %s: give each an id of its own",
                report.role,
                report.id,
            )

    def _drop(self, name: tuple[str, str], life: str) -> None:
        lives = self._seen.get(name, {})
        lives.pop(life, None)
        if not lives:
            self._seen.pop(name, None)

    def claims(self) -> list[Claim]:
        """What all known replicas bear witness to."""
        return [
            _claim(seen.report)
            for seen in chain.from_iterable(lives.values() for lives in self._seen.values())
            if seen.report.epoch > 0 and seen.is_witness
        ]

    def holders(self, log_id: str, after: int) -> list[tuple[str, str]]:
        """Role and id of every replica that is further than `after`, the farthest first."""
        ahead = [
            seen.report
            for seen in self._counted()
            if seen.report.log_id == log_id and seen.report.epoch > after
        ]
        ahead.sort(key=lambda report: (-report.epoch, report.role, report.id))
        return [(report.role, report.id) for report in ahead]

    def sightings(self) -> list[Sighting]:
        """The last report of every known replica, by role, id and life."""
        return sorted(
            self._counted(), key=lambda seen: (seen.report.role, seen.report.id, seen.report.life)
        )

    def _counted(self) -> Iterator[Sighting]:
        """Every life but those whose place another one took."""
        for lives in self._seen.values():
            for seen in lives.values():
                if not seen.replaced:
                    yield seen

    def living(self, now: float) -> list[tuple[str, str]]:
        """Role and id of every replica that was heard of lately."""
        return [
            (seen.report.role, seen.report.id)
            for seen in self.sightings()
            if now - seen.at <= self._ttl_s
        ]

    def shared_names(self) -> list[tuple[str, str]]:
        """Role and id that more than one process goes by."""
        return [
            name
            for name, lives in self._seen.items()
            if sum(not seen.replaced for seen in lives.values()) > 1
        ]

    def forget(self, role: str, replica_id: str) -> bool:
        """Stop counting a replica that will not come back; whether it was known."""
        return self._seen.pop((role, replica_id), None) is not None

    def holders_of(self, model_ids: Sequence[str], now: float) -> list[dict[str, Any]]:
        """Every live replica, and which of these models it tells of: whom a change meets."""
        wanted = set(model_ids)
        return [
            {
                "role": seen.report.role,
                "id": seen.report.id,
                "models": sorted(wanted & seen.report.models.keys()),
            }
            for seen in self.sightings()
            if now - seen.at <= self._ttl_s
        ]

    def users_of(self, model_ids: Sequence[str], now: float) -> dict[str, list[str]]:
        """Who uses one of these models, by model: live replicas that have it loaded, and gateways
        that were asked for it within the hour, also if they fell silent since."""
        users: dict[str, list[str]] = {}
        for seen in self.sightings() if model_ids else ():
            who, age_s = f"{seen.report.role} {seen.report.id}", now - seen.at
            for model_id in model_ids:
                held, ago_s = seen.report.models.get(model_id), seen.report.traffic.get(model_id)
                if held is not None and held.state == "loaded" and age_s <= self._ttl_s:
                    users.setdefault(model_id, []).append(f"{who} has it loaded")
                if ago_s is not None and age_s + ago_s <= _TRAFFIC_S:
                    told = f"{who} was asked for it {age_s + ago_s:.0f} s ago"
                    users.setdefault(model_id, []).append(told)
        return users

    def lacking(self, kinds: Sequence[str], now: float) -> list[str]:
        """Live replicas that cannot read one of these kinds of change."""
        return sorted(
            f"{seen.report.role} {seen.report.id}"
            for seen in self._counted()
            if now - seen.at <= self._ttl_s
            and seen.report.speaks
            and not set(kinds) <= set(seen.report.speaks)
        )

    def view(self, head: Position, now: float) -> dict[str, Any]:
        """The convergence of the cluster: every replica against the head."""
        self._forget(now)
        shared = frozenset(self.shared_names())
        rows = [self._row(seen, head, now, shared) for seen in self.sightings()]
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

    def _row(
        self, seen: Sighting, head: Position, now: float, shared: frozenset[tuple[str, str]]
    ) -> dict[str, Any]:
        report = seen.report
        at_head = (report.log_id, report.epoch, report.digest) == (
            head.log_id,
            head.epoch,
            head.digest,
        )
        row: dict[str, Any] = msgspec.to_builtins(report)
        return row | {
            "life": report.life,
            "reason": report.reason,
            "models": msgspec.to_builtins(report.models),
            "traffic": report.traffic,
            "shares_name": (report.role, report.id) in shared,
            "age_s": round(now - seen.at, 3),
            "live": now - seen.at <= self._ttl_s,
            "lag": head.epoch - report.epoch if report.log_id == head.log_id else None,
            "converged": at_head and report.state == "fresh",
        }

    def _forget(self, now: float) -> None:
        # Not at each report: with thousands of replicas that would be the most of the work.
        if now - self._forgot_at < min(1.0, self._ttl_s):
            return
        self._forgot_at = now
        gone = [
            (name, life)
            for name, lives in self._seen.items()
            for life, seen in lives.items()
            if now - seen.at > self._forget_s
        ]
        for name, life in gone:
            self._drop(name, life)
        _REPLICAS.set(len(self._seen))


def _claim(report: ReplicaReport) -> Claim:
    return Claim(f"{report.role} {report.id}", report.log_id, report.epoch, report.hash)


def _proves(report: ReplicaReport) -> bool:
    """Whether the report comes with the very entry that it claims to have applied."""
    if report.entry is UNSET:
        return False
    try:
        entry = parse_envelope(report.entry)
    except EntryCorrupt:
        return False
    found = (entry.log_id, entry.epoch, entry.hash, entry.state_digest)
    return isinstance(entry, Entry) and found == (
        report.log_id,
        report.epoch,
        report.hash,
        report.digest,
    )
