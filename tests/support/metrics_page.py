"""The table of docs/metrics.md, made from the metrics that the processes really have.

`python -m tests.support.metrics_page` writes it.
"""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from prometheus_client import Counter, Enum, Gauge, Histogram, Summary

__all__ = ["PAGE", "Metric", "declared", "table", "written_table"]

PAGE: Final = Path(__file__).resolve().parents[2] / "docs/metrics.md"
_PACKAGES: Final = ("sie_runtime", "sie_config", "sie_gateway", "sie_worker", "sie_server")
_TABLE: Final = re.compile(r"^\| Metric .*?(?=\n\n|\Z)", re.MULTILINE | re.DOTALL)

Metric = Counter | Gauge | Histogram | Enum | Summary


def declared() -> dict[str, Metric]:
    """Every metric by the name that Prometheus shows, in order of name."""
    found = {_name(metric): metric for metric in _metrics()}
    return dict(sorted(found.items()))


_INSTALLED_APART = {"gliclass", "gliner"}
"""Libraries of backends that declare no metric of their own."""


def table() -> str:
    """The table as it ought to be."""
    lines = ["| Metric | Type | Labels | What it is |", "|---|---|---|---|"]
    for name, metric in declared().items():
        labels = ", ".join(f"`{label}`" for label in metric._labelnames)
        meaning = metric._documentation.rstrip(".").replace("|", "\\|")
        lines.append(
            f"| `{name}` | {_type(metric)} | {labels} | {meaning[0].upper()}{meaning[1:]} |"
        )
    return "\n".join(lines)


def written_table() -> str:
    """The table as it stands in the page."""
    found = _TABLE.search(PAGE.read_text())
    return found[0].rstrip() if found is not None else ""


def _metrics() -> Iterator[Metric]:
    for package in _PACKAGES:
        root = importlib.import_module(package)
        for module in pkgutil.walk_packages(root.__path__, f"{package}."):
            if module.name.endswith("__main__"):
                continue
            try:
                values = vars(importlib.import_module(module.name)).values()
            except ModuleNotFoundError as error:
                if error.name not in _INSTALLED_APART:
                    raise
                continue
            yield from (value for value in values if isinstance(value, Metric))


def _name(metric: Metric) -> str:
    name = str(metric._name)
    return f"{name}_total" if isinstance(metric, Counter) else name


def _type(metric: Metric) -> str:
    return "gauge, one for each state" if isinstance(metric, Enum) else str(metric._type)


if __name__ == "__main__":
    PAGE.write_text(_TABLE.sub(lambda _: table(), PAGE.read_text()))
