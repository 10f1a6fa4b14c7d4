"""Reports: where every replica is, and what it made of each model.

*shell.* Takes reports in and answers questions about them; `sightings` keeps them. Time is given. A
report is a replica's word: it shows convergence, and never changes what the log says. What it
claims to have seen counts for as much as the writer's signature that it brings. What it cannot read
holds up writes only while it lives, follows this log, and somebody knows who it is.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Final

import msgspec
from prometheus_client import Counter

from sie_config.log.witnesses import Claim
from sie_config.replicas.report_door import check_report
from sie_config.replicas.sightings import Sighting, Sightings
from sie_core.apply import SPEAKS
from sie_core.chain import Position
from sie_schemas.api.log import ReplicaRow, Replicas
from sie_schemas.api.writes import AffectedReplica
from sie_schemas.entry import FIRST_KINDS
from sie_schemas.errors import FixRequest
from sie_schemas.fleet import REPORT_DECODER, Head, ReplicaReport
from sie_schemas.malformed import MALFORMED

__all__ = ["TRAFFIC_S", "Reports"]

_REFUSED = Counter(
    "sie_config_reports_refused_total", "Reports that were not taken, by reason.", ["reason"]
)
TRAFFIC_S: Final = 3600.0
"""So long a model counts as asked for; a gateway remembers no longer either."""


class Reports:
    """The last report of each replica, by role, id and life."""

    def __init__(
        self,
        *,
        ttl_s: float,
        forget_s: float,
        replicas_max: int,
        report_bytes_max: int,
        bytes_max: int,
    ) -> None:
        self._ttl_s = ttl_s
        self._report_bytes_max = report_bytes_max
        self.kept: Final = Sightings(
            ttl_s=ttl_s, forget_s=forget_s, replicas_max=replicas_max, bytes_max=bytes_max
        )
        self._overruled: set[tuple[str, str]] = set()
        """Those that an operator has given up: what they cannot read holds up nothing."""
        self.malformed = 0

    def receive(self, data: bytes, now: float, *, subject: str = "") -> Claim | None:
        """Take a report; gives what it claims to have seen. A malformed one is counted.

        `subject` is where it came from on the bus; empty over HTTP.
        """
        try:
            report = self.read(data)
        except FixRequest:
            return None
        if subject and subject != f"sie.config.report.{report.role}.{report.id}":
            self.refuse("another's name")
            return None
        return self.take(report, now, size=len(data), is_known=True, by_bus=bool(subject))

    def read(self, data: bytes) -> ReplicaReport:
        """A report of bounded size. Raises `FixRequest`, and counts what is none."""
        try:
            if len(data) > self._report_bytes_max:
                raise FixRequest(
                    f"the report is longer than {self._report_bytes_max} bytes",
                    code="PAYLOAD_TOO_LARGE",
                    field="body",
                )
            report = REPORT_DECODER.decode(data)
            check_report(report)
        except MALFORMED as error:
            self.refuse("malformed")
            raise FixRequest(
                f"the body is not a replica's report: {error}", field="body"
            ) from error
        except FixRequest as error:
            self.refuse("too large" if error.status == 413 else "malformed")
            raise
        return report

    def refuse(self, reason: str) -> None:
        """Count a report that is not taken."""
        self.malformed += 1
        _REFUSED.labels(reason).inc()

    def take(
        self,
        report: ReplicaReport,
        now: float,
        *,
        size: int,
        is_known: bool,
        by_bus: bool = False,
    ) -> Claim | None:
        """Keep a report; gives what it claims to have seen. `is_known` says that its sender is."""
        self.kept.forget_silent(now)
        # Until it reads everything: a replica that was given up reported again two seconds later,
        # and held up the writes once more.
        if self._overruled and set(SPEAKS) <= set(report.speaks):
            self._overruled.discard((report.role, report.id))
        seen = Sighting(report, now, is_known=is_known, size=size, by_bus=by_bus)
        if not self.kept.keep(seen):
            _REFUSED.labels("too many replicas").inc()
        return _claim(report) if report.epoch > 0 else None

    def claims(self) -> list[Claim]:
        """The positions that all known replicas claim to have seen."""
        return [_claim(seen.report) for seen in self.kept.every_life() if seen.report.epoch > 0]

    def holders(self, log_id: str) -> list[tuple[str, str]]:
        """Role and id of whoever may hold entries of this log, the farthest first.

        That is everybody: the files of one whose snapshot was damaged hold more than it serves.
        """
        known = [seen.report for seen in self.kept.counted()]
        known.sort(key=lambda each: (each.log_id != log_id, -each.epoch, each.role, each.id))
        return [(report.role, report.id) for report in known]

    def sightings(self) -> list[Sighting]:
        """The last report of every known replica, by role, id and life."""
        return sorted(
            self.kept.counted(),
            key=lambda seen: (seen.report.role, seen.report.id, seen.report.life),
        )

    def _live(self, now: float) -> Iterator[Sighting]:
        return (seen for seen in self.sightings() if now - seen.at <= self._ttl_s)

    def living(self, now: float) -> list[tuple[str, str]]:
        """Role and id of every replica that was heard of lately."""
        return [(seen.report.role, seen.report.id) for seen in self._live(now)]

    def farthest_behind(self, role: str, head: Position, now: float) -> int:
        """Epochs that the slowest live replica of a role lacks; one of another log lacks all."""
        behind = (
            head.epoch - (seen.report.epoch if seen.report.log_id == head.log_id else 0)
            for seen in self._live(now)
            if seen.report.role == role
        )
        return max(behind, default=0)

    def quiet(self, now: float, quiet_s: float) -> dict[tuple[str, str], float]:
        """Those that live on the bus, as far as known, and were quiet for so many seconds.

        By role and id, with the time of the last report.
        """
        return {
            (seen.report.role, seen.report.id): seen.at
            for seen in self._live(now)
            if seen.by_bus and not seen.gone and quiet_s <= now - seen.at
        }

    def forget(self, role: str, replica_id: str) -> bool:
        """Stop counting a replica that will not come back; whether it was known.

        If it speaks again all the same, what it cannot read holds up no write.
        """
        was_known = self.kept.drop_all(role, replica_id)
        if was_known:
            self._overruled.add((role, replica_id))
        return was_known

    def holders_of(self, model_ids: Sequence[str], now: float) -> list[AffectedReplica]:
        """Every live replica, and which of these models it tells of: whom a change meets."""
        wanted = set(model_ids)
        return [
            {
                "role": seen.report.role,
                "id": seen.report.id,
                "models": sorted(wanted & seen.report.models.keys()),
            }
            for seen in self._live(now)
        ]

    def users_of(self, model_ids: Sequence[str], now: float) -> dict[str, list[str]]:
        """The users of these models, by model. They are live replicas that have it loaded, and
        gateways that were asked for it within the hour, also if they fell silent since."""
        users: dict[str, list[str]] = {}
        for seen in self.sightings() if model_ids else ():
            who, age_s = f"{seen.report.role} {seen.report.id}", now - seen.at
            for model_id in model_ids:
                held, ago_s = seen.report.models.get(model_id), seen.report.traffic.get(model_id)
                if held is not None and held.state == "loaded" and age_s <= self._ttl_s:
                    users.setdefault(model_id, []).append(f"{who} has it loaded")
                if ago_s is not None and age_s + ago_s <= TRAFFIC_S:
                    told = f"{who} was asked for it {age_s + ago_s:.0f} s ago"
                    users.setdefault(model_id, []).append(told)
        return users

    def lacking(self, kinds: Collection[str], now: float, log_id: str) -> list[str]:
        """Role and id of live replicas of this log that cannot read one of these kinds of change.

        Whoever somebody knows, and no operator has given up. Nobody lacks the kinds that every
        release reads, whatever it says.
        """
        newer = set(kinds) - FIRST_KINDS
        if not newer:
            return []
        return sorted(
            f"{seen.report.role} {seen.report.id}"
            for seen in self.kept.counted()
            if now - seen.at <= self._ttl_s
            and seen.is_known
            and seen.report.log_id == log_id
            and (seen.report.role, seen.report.id) not in self._overruled
            and seen.report.speaks
            and not newer <= set(seen.report.speaks)
        )

    def view(self, head: Position, now: float) -> Replicas:
        """The convergence of the cluster: every replica against the head."""
        self.kept.forget_silent(now)
        shared = frozenset(self.kept.shared_names())
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
    ) -> ReplicaRow:
        report = seen.report
        # With the hash: two histories may lead to one state at one epoch, and are a fork.
        at_head = (report.log_id, report.epoch, report.hash, report.digest) == (
            head.log_id,
            head.epoch,
            head.hash,
            head.digest,
        )
        row: ReplicaRow = msgspec.to_builtins(report)
        return {
            **row,
            # What is empty is left out of an encoded report; the view shows it.
            "life": report.life,
            "reason": report.reason,
            "models": msgspec.to_builtins(report.models),
            "traffic": report.traffic,
            "adapters": report.adapters,
            "place": report.place,
            "shares_name": (report.role, report.id) in shared,
            "age_s": round(now - seen.at, 3),
            "live": now - seen.at <= self._ttl_s,
            "gone": seen.gone,
            "lag": head.epoch - report.epoch if report.log_id == head.log_id else None,
            "converged": at_head and report.state == "fresh",
        }


def _claim(report: ReplicaReport) -> Claim:
    seen = Head(
        log_id=report.log_id,
        epoch=report.epoch,
        hash=report.hash,
        digest=report.digest,
        term=0,
        signature=report.signature,
    )
    source = f"{report.role} {report.id}"
    return Claim(source, report.log_id, report.epoch, report.hash, proof=seen)
