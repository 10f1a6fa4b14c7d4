"""Convergence: which replicas are asked, and which of them have got there.

*pure.* A replica counts only by its own word, given after the commit. It is alive, follows this
log, and is not failing. It stands at the epoch or beyond with the very hash and digest that the log
has there. A dead, stale, quarantined or failing one never counts. `effective` means that it can be
used: what nobody serves is waited for, however well everybody agrees. Time is an argument.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from sie_config.replicas.sightings import Sighting
from sie_config.writer.dark import Dark
from sie_core.chain import Position
from sie_schemas.api.writes import WaitedFor
from sie_schemas.fleet import ReplicaReport

__all__ = ["Convergence", "Goal", "Selector", "Until", "assess", "select"]

Until: TypeAlias = Literal["converged", "effective"]
_CAUSES_SHOWN: Final = 100
"""An answer stays small at 1,000 replicas; the count tells how many there are."""


@dataclass(frozen=True, slots=True)
class Selector:
    """The replicas that are asked; empty is all."""

    roles: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()

    def takes(self, report: ReplicaReport) -> bool:
        """True if a replica is selected."""
        return (not self.roles or report.role in self.roles) and (
            not self.ids or report.id in self.ids
        )


@dataclass(frozen=True, slots=True)
class Goal:
    """The goal of a wait. `models` maps a model that the entry changed to its valid revisions."""

    log_id: str
    epoch: int
    committed_at: float
    until: Until = "converged"
    models: Mapping[str, frozenset[str]] | None = None
    quorum: int | None = None
    """The number of replicas that is enough; None is all that are selected."""
    replicas_min: int = 1
    """Fewer selected than this is not converged: silence is no agreement."""


@dataclass(frozen=True, slots=True)
class Convergence:
    """The number of selected replicas that are there, and the ones that are waited for."""

    reached: bool
    selected: int
    satisfied: int
    waiting_for: tuple[WaitedFor, ...]


def select(
    sightings: Iterable[Sighting], selector: Selector, goal: Goal, ttl_s: float
) -> list[Sighting]:
    """Every chosen replica that was alive when the entry was committed, or came later."""
    return [
        seen
        for seen in sightings
        # One that fell silent since the commit blocks a wait: it may be the one that is behind.
        if selector.takes(seen.report) and seen.at >= goal.committed_at - ttl_s
    ]


def assess(
    selected: Sequence[Sighting],
    goal: Goal,
    positions: Mapping[int, Position],
    *,
    now: float,
    ttl_s: float,
    unserved: Sequence[Dark] = (),
) -> Convergence:
    """Judge the selected replicas. `positions` are those of the log at the reported epochs,
    `unserved` is what the entry is about and no live worker serves."""
    waiting: list[WaitedFor] = [
        {"role": "worker", "id": "", "cause": f"{dark.name}: {dark.needs}"} for dark in unserved
    ]
    behind = 0
    for seen in selected:
        cause = _cause(seen, goal, positions, now=now, ttl_s=ttl_s)
        if cause:
            behind += 1
            waiting.append({"role": seen.report.role, "id": seen.report.id, "cause": cause})
    satisfied = len(selected) - behind
    enough = len(selected) if goal.quorum is None else goal.quorum
    # What nobody serves is waited for: `effective` was reached once where nobody had failed, for
    # nobody was there.
    reached = len(selected) >= goal.replicas_min and satisfied >= enough and not unserved
    return Convergence(reached, len(selected), satisfied, tuple(waiting[:_CAUSES_SHOWN]))


def _cause(
    seen: Sighting, goal: Goal, positions: Mapping[int, Position], *, now: float, ttl_s: float
) -> str:
    """The reason why a replica does not count; empty when it does."""
    report = seen.report
    if now - seen.at > ttl_s:
        return f"silent for {now - seen.at:.1f} s"
    if report.log_id != goal.log_id:
        return "follows another log"
    if report.state != "fresh":
        return f"is {report.state}" + (f": {report.reason}" if report.reason else "")
    if report.epoch < goal.epoch:
        return f"at epoch {report.epoch}"
    position = positions.get(report.epoch)
    if position is None or (report.hash, report.digest) != (position.hash, position.digest):
        return f"holds another state at epoch {report.epoch}"
    return _ineffective(report, goal.models or {}) if goal.until == "effective" else ""


def _ineffective(report: ReplicaReport, models: Mapping[str, frozenset[str]]) -> str:
    for model_id, revisions in models.items():
        held = report.models.get(model_id)
        if held is None:
            continue
        if held.state == "failed":
            return f"cannot load {model_id}: {held.reason}"
        if held.state == "loaded" and held.revision and held.revision not in revisions:
            return f"serves another revision of {model_id}"
    return ""
