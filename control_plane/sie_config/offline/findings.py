"""Findings: what a look at a log came to, line by line.

*types.* A finding is `ok`, `warn` or `bad`; a report is sound while nothing in it is bad. The exit
status of every `sie log` command follows from it: 0 sound, 1 damaged or different.
"""

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from msgspec import structs

from sie_core.chain import Position

__all__ = ["Finding", "Report", "State"]


class State(StrEnum):
    """The gravity of a finding."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `cure` says what to do; `epoch` is the first bad one."""

    what: str
    state: State
    message: str
    cure: str = ""
    epoch: int | None = None


@dataclass(slots=True)
class Report:
    """Findings in the order in which they were made, and the position that was reached."""

    findings: list[Finding] = field(default_factory=list)
    position: Position | None = None

    def ok(self, what: str, message: str) -> None:
        """Note something sound."""
        self.findings.append(Finding(what, State.OK, message))

    def warn(self, what: str, message: str, cure: str = "") -> None:
        """Note something that needs a look and proves no damage."""
        self.findings.append(Finding(what, State.WARN, message, cure))

    def bad(self, what: str, message: str, *, cure: str = "", epoch: int | None = None) -> None:
        """Note damage or a difference."""
        self.findings.append(Finding(what, State.BAD, message, cure, epoch))

    @property
    def sound(self) -> bool:
        """True if nothing is bad."""
        return self.first_bad is None

    @property
    def first_bad(self) -> Finding | None:
        """The bad finding that was made first."""
        return next((each for each in self.findings if each.state is State.BAD), None)

    @property
    def first_bad_epoch(self) -> int | None:
        """The lowest epoch that a finding names."""
        return min((f.epoch for f in self.findings if f.epoch is not None), default=None)

    def to_builtins(self) -> dict[str, Any]:
        """The report as JSON and YAML tell it."""
        return {
            "sound": self.sound,
            "position": structs.asdict(self.position) if self.position is not None else None,
            "first_bad_epoch": self.first_bad_epoch,
            "findings": [
                asdict(finding) | {"state": finding.state.value} for finding in self.findings
            ],
        }
