"""The figures of the configuration log, each measured beside what is expected of it.

*main.* `python benchmarks/log.py [--quick] [--json] [--plot FILE] [--peer-venv DIR]`. Needs an
environment with the cluster in it. Without `--peer-venv` the peer is left out; with it, the peer's
environment is made in that folder, on the Python that `--peer-python` names. `--quick` takes less
than a minute: a fifth of the log, a tenth of the models, so that its figures say less.
"""

import argparse
import json
import os
import platform
import sqlite3
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from log_figures.figures import Figure, as_json, as_table
from log_figures.following import following
from log_figures.growth import grow, make_entries, make_log
from log_figures.processes import make_peer
from log_figures.signing import signing
from log_figures.writing import exports, group_commits, sequential_writes


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Figures of the configuration log.")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, under a minute")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--plot", type=Path, help="draw growth into this file (needs matplotlib)")
    parser.add_argument("--peer-venv", type=Path, help="folder of the peer's environment")
    parser.add_argument("--peer-python", default="python3.12", help="makes that environment")
    parser.add_argument("--only", help="writes, exports, growth or following")
    return parser.parse_args()


def _measure(
    options: argparse.Namespace, folder: Path
) -> tuple[list[Figure], list[dict[str, float]]]:
    quick, venv, only = options.quick, options.peer_venv, options.only
    figures: list[Figure] = []
    points: list[dict[str, float]] = []
    if only in (None, "writes"):
        figures += _writes(folder, venv, quick)
    if only in (None, "exports"):
        models, many = (300, 1000) if quick else (3000, 10_000)
        figures += exports(folder, venv, models=models, many=many)
    if only in (None, "growth"):
        sizes = (2000, 20_000) if quick else (10_000, 30_000, 100_000)
        grown, points = grow(folder, sizes)
        figures += grown
    if only in (None, "following"):
        figures += following(folder / "following", seconds=3 if quick else 20)
    return figures, points


def _writes(folder: Path, venv: Path | None, quick: bool) -> list[Figure]:
    entries, models = (20_000, 1000) if quick else (100_000, 10_000)
    logs = [
        ("100 entries", make_log(folder / "small", 100, 100).parent),
        (f"{entries} entries, {models} models", make_log(folder / "large", entries, models).parent),
    ]
    figures = sequential_writes(folder, venv, logs, writes=300 if quick else 2000)
    size = 2000 if quick else 10_000
    grouped = make_entries(size)
    return figures + group_commits(folder, grouped, writes=size) + signing(grouped)


def _draw(points: Sequence[dict[str, float]], target: Path) -> None:
    from matplotlib import pyplot  # noqa: PLC0415 - only who wants a plot needs it

    figure, (time_axes, memory_axes) = pyplot.subplots(1, 2, figsize=(10, 4))
    entries = [point["entries"] for point in points]
    for name in ("links_s", "chain_s", "fold_s", "restart_s"):
        time_axes.plot(entries, [point[name] for point in points], "o-", label=name[:-2])
    time_axes.set(xlabel="entries", ylabel="seconds", title="time")
    time_axes.legend()
    for name in ("memory_mib", "file_mib"):
        memory_axes.plot(entries, [point[name] for point in points], "o-", label=name[:-4])
    memory_axes.set(xlabel="entries", ylabel="MiB", title="memory and file")
    memory_axes.legend()
    figure.tight_layout()
    figure.savefig(target)


def _machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "cores": os.cpu_count(),
        "load_1m": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
    }


def main() -> None:
    """Measure, and tell."""
    options = _options()
    machine = _machine()
    if options.peer_venv is not None:
        make_peer(options.peer_venv, options.peer_python)
    with tempfile.TemporaryDirectory(prefix="sie-log-figures-") as folder:
        figures, points = _measure(options, Path(folder))
    if options.plot is not None and points:
        _draw(points, options.plot)
    machine["load_1m_after"] = round(os.getloadavg()[0], 2)
    if options.json:
        told = {"machine": machine, "figures": as_json(figures), "growth": points}
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
    else:
        sys.stdout.write(f"{machine}\n\n{as_table(figures)}\n")
    if any(figure.met is False for figure in figures):
        sys.exit(1)


if __name__ == "__main__":
    main()
