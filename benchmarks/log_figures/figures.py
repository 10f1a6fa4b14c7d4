"""A figure: what was measured beside what was expected.

*types.* And how a run is told: as one JSON object, or as a table.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Figure", "as_json", "as_table", "percentile"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One number. `expected` is a bound; None where the number only stands beside another."""

    name: str
    value: float
    unit: str
    expected: float | None = None
    bound: Literal["at least", "below"] = "at least"
    note: str = ""

    @property
    def met(self) -> bool | None:
        """True if the bound holds; None without one."""
        if self.expected is None:
            return None
        if self.bound == "below":
            return self.value < self.expected
        return self.value >= self.expected


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which this share of the others is."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def as_json(figures: Sequence[Figure]) -> list[dict[str, Any]]:
    """The figures with their verdicts."""
    return [asdict(figure) | {"met": figure.met} for figure in figures]


def as_table(figures: Sequence[Figure]) -> str:
    """A table in Markdown."""
    lines = ["| Figure | Measured | Expected | |", "|---|---|---|---|"]
    for figure in figures:
        wanted = f"{figure.bound} {figure.expected:g}" if figure.expected is not None else ""
        verdict = {True: "met", False: "**not met**", None: ""}[figure.met]
        note = f" ({figure.note})" if figure.note else ""
        measured = f"{_shown(figure.value)} {figure.unit}".strip()
        lines.append(f"| {figure.name}{note} | {measured} | {wanted} | {verdict} |")
    return "\n".join(lines)


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
