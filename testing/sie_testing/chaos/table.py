"""The words of the chaos table on a fault, and what breaks it.

*pure.* A row is what was measured; its bounds are the promise. `broken` is the judgement, and it
takes a row from anywhere, so that a test can hand it one that must fail.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

__all__ = [
    "LONGER_S",
    "REDELIVERY_S",
    "SERVES_S",
    "Row",
    "broken",
    "to_json",
    "to_markdown",
    "worst",
]

REDELIVERY_S: Final = 5.0
"""Longest that a request may wait for another worker after the death of the one that had it."""
SERVES_S: Final = 30.0
"""Until everything serves again; a fault whose end needs more says so."""
LONGER_S: Final = 65.0
"""For those: an operator's cure takes time, and a lost job has the gateway's own limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One fault, as it went. Seconds are absent where it never came to that."""

    fault: str
    done: str
    """The fault's action, in words."""
    acknowledged: int = 0
    lost: int = 0
    answered: int = 0
    refused: int = 0
    """Exchanges that were not served: errors, 202, no connection."""
    wrong: int = 0
    hung: int = 0
    requests_again_s: float | None = 0.0
    writes_again_s: float | None = 0.0
    longest_wait_s: float = 0.0
    """Of any request that was under way or begun under the fault."""
    redelivery_s: float | None = None
    """Of a request that a worker held when it died; absent where none died."""
    trouble: str = ""
    """The first thing that was wrong, or why the fault could not be injected here."""
    skipped: bool = False


def broken(
    row: Row, *, serves_s: float = SERVES_S, redelivery_s: float = REDELIVERY_S
) -> list[str]:
    """Every bound that a row breaks, in words."""
    if row.skipped:
        return []
    found = [
        f"{count} {what}"
        for count, what in (
            (row.lost, "acknowledged writes are lost"),
            (row.wrong, "answers are wrong"),
            (row.hung, "requests hung"),
        )
        if count
    ]
    for what, seconds in (("requests", row.requests_again_s), ("writes", row.writes_again_s)):
        if seconds is None:
            found.append(f"{what} were never served again")
        elif seconds > serves_s:
            found.append(
                f"{what} were served again after {seconds:.1f} s, {serves_s:g} s are allowed"
            )
    if row.redelivery_s is not None and row.redelivery_s > redelivery_s:
        found.append(f"a request waited {row.redelivery_s:.1f} s, {redelivery_s:g} s are allowed")
    if row.trouble:
        found.append(row.trouble)
    return found


def worst(rows: Sequence[Row]) -> Row:
    """Several runs of one fault as one row: all that was counted, and the worst of each time."""
    return replace(
        rows[-1],
        acknowledged=sum(row.acknowledged for row in rows),
        lost=sum(row.lost for row in rows),
        answered=sum(row.answered for row in rows),
        refused=sum(row.refused for row in rows),
        wrong=sum(row.wrong for row in rows),
        hung=sum(row.hung for row in rows),
        requests_again_s=_latest([row.requests_again_s for row in rows]),
        writes_again_s=_latest([row.writes_again_s for row in rows]),
        longest_wait_s=max(row.longest_wait_s for row in rows),
        redelivery_s=_longest([row.redelivery_s for row in rows]),
        trouble=next((row.trouble for row in rows if row.trouble), ""),
    )


def _latest(seconds: Sequence[float | None]) -> float | None:
    told = [each for each in seconds if each is not None]
    return max(told) if len(told) == len(seconds) else None


def _longest(seconds: Sequence[float | None]) -> float | None:
    return max((each for each in seconds if each is not None), default=None)


def to_json(rows: Sequence[Row], about: dict[str, Any]) -> dict[str, Any]:
    """The table as a program reads it."""
    return {"about": about, "rows": [_rounded(asdict(row)) for row in rows]}


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {
        key: round(value, 2) if isinstance(value, float) else value for key, value in row.items()
    }


_COLUMNS: Final = (
    "Acknowledged",
    "Lost",
    "Answered",
    "Refused",
    "Wrong",
    "Hung",
    "Requests again, s",
    "Writes again, s",
    "Longest, s",
    "Redelivery, s",
)
_ABOUT: Final = """\
# Chaos table

Written by `sie soak --chaos --write docs`; edits are lost. The words are in the
[glossary](glossary.md).
Measured on {machine}.

Each row is a fault of running processes: a broker, sie-config, two gateways, two workers and their
execution (a stand-in that hashes), with the time constants that they are shipped with, under load
all the while: {load}.
What ends is started again after {restart_s:g} s, as a supervisor does.

- *Lost*: acknowledged writes that the log does not have in the end.
- *Wrong*: vectors of another model, adapter or text; answers of a revision that the log does not
  have at the position that they name; errors that no fault excuses.
- *Refused*: requests and writes that got an error, a 202 or no connection; clients send them again.
- *Hung*: requests that outlived the gateway's own limit of {limit_s:g} s.
- *Again*: seconds from the fault, or from its end where it lasts, until the last request or write
  was over that was refused or took more than {in_time_s:g} s.
- *Longest*: what the slowest request took. *Redelivery*: what the requests that a dying worker
  held waited for another one.

"""
_BOUNDS: Final = """
Bounds: nothing lost, wrong or hung; redelivery within {redelivery_s:g} s; everything serves again
within {serves_s:g} s, or {longer_s:g} s where a disk or a queue was lost or a message was forged.
The command's exit status is 1 when a row breaks one. {verdict}

## What was done

"""


def to_markdown(rows: Sequence[Row], about: dict[str, Any], verdicts: Sequence[str]) -> str:
    """The table as a person reads it. `verdicts` are the bounds that are broken."""
    told = "**Broken:** " + "; ".join(verdicts) + "." if verdicts else "No bound is broken."
    lines = [_ABOUT.format(**about), f"| Fault | {' | '.join(_COLUMNS)} |\n"]
    lines += [f"|---|{'--:|' * len(_COLUMNS)}\n", *(_line(row) for row in rows)]
    lines.append(
        _BOUNDS.format(
            redelivery_s=REDELIVERY_S, serves_s=SERVES_S, longer_s=LONGER_S, verdict=told
        )
    )
    lines += [f"- **{row.fault}**: {row.done}.\n" for row in rows]
    return "".join(lines)


def _line(row: Row) -> str:
    if row.skipped:
        return f"| {row.fault} | not injected: {row.trouble} |{' |' * (len(_COLUMNS) - 1)}\n"
    cells = [row.fault, row.acknowledged, row.lost, row.answered, row.refused]
    cells += [row.wrong, row.hung]
    times = [row.requests_again_s, row.writes_again_s, row.longest_wait_s]
    told = [str(cell) for cell in cells] + ["never" if t is None else f"{t:.1f}" for t in times]
    told.append("" if row.redelivery_s is None else f"{row.redelivery_s:.1f}")
    return "| " + " | ".join(told) + " |\n"
