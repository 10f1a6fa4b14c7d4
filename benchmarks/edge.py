"""The cost of the edge: gateway, queue and sidecar, beside a bare uvicorn echo.

*main.* `python benchmarks/edge.py [--quick] [--json]`. Needs an environment with the cluster in it.
Single items in msgpack, closed loop, every answer checked. The contenders take turns, window by
window, on the same cores, with their load; one of them is the path with 1 % of its requests traced.
The exit status is 1 when a figure is not met. `--quick` takes about a minute, with one short window
each, so that its figures say less. `--hold SECONDS` keeps the whole path under 64 clients and
prints its pids, for a profiler.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from edge_figures.path import Contender, bare, whole_path
from log_figures.figures import Figure, as_json, as_table
from measuring import machine

_CLIENTS: Final = (1, 8, 64, 256, 1000)
_MEDIANS: Final = ("requests_per_s", "p50_ms", "p99_ms", "max_ms", "others_cores")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What the edge costs.")
    parser.add_argument("--quick", action="store_true", help="less of everything: under a minute")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--hold", type=float, help="seconds of load on the whole path, no figures")
    parser.add_argument("--clients", type=int, default=64, help="clients while it is held")
    return parser.parse_args()


def _measure(
    contenders: dict[str, Contender], *, rounds: int, seconds: float
) -> list[dict[str, Any]]:
    """A row for each contender and number of clients: medians over the rounds."""
    taken: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for contender in contenders.values():
        contender.window(_CLIENTS[-1], 0.5)
    for _ in range(rounds):
        for clients in _CLIENTS:
            for name, contender in contenders.items():
                window = contender.window(clients, seconds)
                taken.setdefault((name, clients), []).append(window)
    return [_row(name, clients, windows) for (name, clients), windows in taken.items()]


def _row(name: str, clients: int, windows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    row: dict[str, Any] = {"contender": name, "clients": clients}
    for key in _MEDIANS:
        row[key] = statistics.median(window[key] for window in windows)
    row["cpu_us"] = {
        role: statistics.median(window["cpu_us"][role] for window in windows)
        for role in windows[0]["cpu_us"]
    }
    return row


def _figures(rows: Sequence[dict[str, Any]]) -> list[Figure]:
    found = {(row["contender"], row["clients"]): row for row in rows}
    path = {clients: found["path", clients] for clients in _CLIENTS}
    alone = {clients: found["bare", clients] for clients in _CLIENTS}
    share = path[64]["requests_per_s"] / alone[64]["requests_per_s"]
    # In a closed loop latency grows as the clients do; above that somebody waits for others.
    growth = (path[1000]["p99_ms"] / path[64]["p99_ms"]) / (1000 / 64)
    traced = found["traced", 64]
    return [
        Figure("added at p50, 1 client", path[1]["p50_ms"] - alone[1]["p50_ms"], "ms", 1, "below"),
        Figure("requests over those of the bare echo, 64 clients", share * 100, "%", 35),
        Figure("requests, 64 clients", path[64]["requests_per_s"], "/s"),
        Figure("p99 at 1,000 clients over 64, per client", growth, "times", 2, "below"),
        # Processor time, because two paths on one machine disturb each other's latency.
        Figure(
            "processor time that 1 % of traces add, 64 clients",
            (_processor_us(traced) / _processor_us(path[64]) - 1) * 100,
            "%",
            3,
            "below",
        ),
    ]


def _processor_us(row: dict[str, Any]) -> float:
    """Of every process of the path, for each request; the load is not of the path."""
    return sum(used for role, used in row["cpu_us"].items() if role != "load")


def _table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        "| | Clients | Requests/s | p50 ms | p99 ms | longest ms | processor µs per request "
        "| cores of others |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cpu = ", ".join(f"{role} {used:.0f}" for role, used in row["cpu_us"].items())
        lines.append(
            f"| {row['contender']} | {row['clients']} | {row['requests_per_s']:,.0f} "
            f"| {row['p50_ms']:.2f} | {row['p99_ms']:.2f} | {row['max_ms']:.1f} | {cpu} "
            f"| {row['others_cores']:.1f} |"
        )
    return "\n".join(lines)


def _hold(seconds: float, clients: int) -> None:
    with tempfile.TemporaryDirectory(prefix="sie-edge-") as folder, whole_path(Path(folder)) as one:
        one.window(clients, 0.5)
        sys.stdout.write(json.dumps(dict(one.pids)) + "\n")
        sys.stdout.flush()
        sys.stdout.write(json.dumps(one.window(clients, seconds)) + "\n")


def main() -> None:
    """Measure, and tell."""
    options = _options()
    if options.hold:
        _hold(options.hold, options.clients)
        return
    about = machine()
    with (
        tempfile.TemporaryDirectory(prefix="sie-edge-") as folder,
        bare() as alone,
        whole_path(Path(folder) / "path") as path,
        whole_path(Path(folder) / "traced", traced=0.01) as traced,
    ):
        rounds, seconds = (1, 1.0) if options.quick else (3, 2.0)
        contenders = {"bare": alone, "path": path, "traced": traced}
        rows = _measure(contenders, rounds=rounds, seconds=seconds)
    figures = _figures(rows)
    if options.json:
        told = {"machine": about, "rows": rows, "figures": as_json(figures)}
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
    else:
        sys.stdout.write(f"{about}\n\n{_table(rows)}\n\n{as_table(figures)}\n")
    if any(figure.met is False for figure in figures):
        sys.exit(1)


if __name__ == "__main__":
    main()
