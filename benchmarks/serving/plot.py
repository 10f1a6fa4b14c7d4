"""The figures of `benchmarks/serve.py` as bars.

*shell.* Needs matplotlib, which nothing else here does.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["draw"]


def draw(result: Mapping[str, Any], target: Path) -> None:
    """One panel for each workload: items a second of each contender."""
    from matplotlib import pyplot  # noqa: PLC0415 - only who wants a plot needs it

    workloads = result["workloads"]
    figure, panels = pyplot.subplots(
        1, len(workloads), figsize=(3.2 * len(workloads), 3.6), squeeze=False
    )
    for panel, (name, workload) in zip(panels[0], workloads.items(), strict=True):
        rows = workload["contenders"]
        heights = [row["items_per_s"] for row in rows.values()]
        colors = ["tab:blue" if label.startswith("sie-cluster") else "tab:gray" for label in rows]
        panel.bar(range(len(rows)), heights, color=colors)
        panel.set_xticks(range(len(rows)), list(rows), rotation=90, fontsize=7)
        panel.set_title(f"{name}, items/s", fontsize=9)
    figure.tight_layout()
    figure.savefig(target)
