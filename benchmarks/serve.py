"""The whole cluster over HTTP against the servers that one could run instead. MiniLM.

*main.* `python benchmarks/serve.py [--peers DIR] [--quick] [--json] [--only WORKLOAD]`. Every
contender answers the same requests on OpenAI's embeddings route, in short windows in turn, while
all of them run; in float32 and, where this CPU multiplies it, in bfloat16. Beside each figure stand
the greatest cosine distance to the model in float64, processor time for an item, and memory. Ratios
are of items a second, over the best peer at that workload in the same type, within the bound on the
distance. Each window has texts that nobody was asked before.

With `--peers DIR` the peers' environments are made in that folder on first use; without it the
cluster stands alone. `--start FILE` starts the servers, writes where they are, and waits to be
interrupted; `--servers FILE` measures those, so that one start serves many measurements.
"""

import argparse
import contextlib
import json
import os
import signal
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from measuring import arguments_parser, machine, report
from minilm import SOURCE, exact_vectors, tokenizer
from serving import ours
from serving.load import Window, drive
from serving.peers import PEERS, Peer, install
from serving.plot import draw
from serving.running import Running, started
from serving.workloads import (
    CHECKED,
    WORKLOADS,
    Workload,
    greatest_distance,
    requests,
    texts_of,
)

from sie_cli.plan.ports import free_ports
from sie_server.packed.prepacked import multiplies_bfloat16
from sie_server.weights.sources import resolve

_DISTANCE_MAX: Final = 1e-3
_FP32_DISTANCE_MAX: Final = 1e-7
"""bfloat16 has three digits: its vectors are never this near to those of float64."""
_OURS: Final = "sie-cluster"
_DTYPES: Final = ("fp32", "bf16") if multiplies_bfloat16() else ("fp32",)
_ROUNDS: Final = 3
"""The median of three turns leaves out one that a neighbour disturbed."""
_WARM_S: Final = 0.5
"""Requests before the window: a contender's first batches are slower, and nobody's count."""


@dataclass(frozen=True, slots=True)
class _Contender:
    """A server, asked in one type."""

    name: str
    dtype: str
    server: Running
    body: Mapping[str, Any]

    @property
    def label(self) -> str:
        return f"{self.name} {self.dtype}"


@dataclass(slots=True)
class _Taken:
    """The windows of one contender at one workload."""

    windows: list[Window] = field(default_factory=list)
    processor_s: list[float] = field(default_factory=list)
    """Of the server for one request, in each window with what was before and after it."""


def main() -> None:
    """Measure and report."""
    chosen = _options()
    # Both end the servers; a shell starts what is in its background with SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="sie-serve-") as name:
        if chosen.start is not None:
            with _servers(chosen, Path(name)) as running:
                told = [(dtype, each.told()) for dtype, each in running]
                chosen.start.write_text(json.dumps(told), encoding="utf-8")
                sys.stderr.write(f"running; measure with --servers {chosen.start}\n")
                with contextlib.suppress(KeyboardInterrupt):
                    signal.pause()
            return
        with _servers(chosen, Path(name)) as running:
            result = _measure(chosen, [_contender(*each) for each in running])
    if chosen.plot is not None:
        draw(result, chosen.plot)
    report(result, _table(result), as_json=chosen.json)


def _options() -> argparse.Namespace:
    parser = arguments_parser(__doc__ or "")
    parser.add_argument("--peers", type=Path, help="folder of the peers' environments")
    parser.add_argument("--python", default="python3.11", help="makes those of Infinity and vLLM")
    parser.add_argument("--sie-python", default="python3.12", help="makes that of sie-server")
    parser.add_argument("--pip-option", action="append", default=[], help="for pip install")
    parser.add_argument("--against", action="append", help="only this peer; may be repeated")
    parser.add_argument("--only", action="append", help="only this workload; may be repeated")
    parser.add_argument("--rounds", type=int, default=0, help="windows of each contender")
    parser.add_argument(
        "--devices",
        type=int,
        default=0,
        help="execution processes of the cluster; 0: its own choice",
    )
    parser.add_argument("--start", type=Path, help="start the servers, write where they are, wait")
    parser.add_argument("--servers", type=Path, help="measure the servers of this file")
    parser.add_argument(
        "--out", type=Path, help="keep the result here, with the workloads that are in it already"
    )
    parser.add_argument("--plot", type=Path, help="draw into this file (needs matplotlib)")
    chosen = parser.parse_args()
    if chosen.plot is not None and find_spec("matplotlib") is None:
        parser.error("--plot needs matplotlib: pip install matplotlib")
    known = {workload.name for workload in WORKLOADS}
    if unknown := set(chosen.only or ()) - known:
        parser.error(f"--only {', '.join(unknown)}: the workloads are {', '.join(sorted(known))}")
    if unknown := set(chosen.against or ()) - {peer.name for peer in PEERS}:
        parser.error(f"--against {', '.join(unknown)}: no such peer")
    return chosen


# -- servers --


@contextlib.contextmanager
def _servers(chosen: argparse.Namespace, scratch: Path) -> Iterator[list[tuple[str, Running]]]:
    """Each (dtype, server); the cluster answers in both types."""
    if chosen.servers is not None:
        told = json.loads(chosen.servers.read_text(encoding="utf-8"))
        yield [(dtype, Running(**each)) for dtype, each in told]
        return
    with contextlib.ExitStack() as stack:
        port = free_ports(1, adjacent=2)[0]
        flags = ("--devices", str(chosen.devices))
        cluster = stack.enter_context(
            started(_OURS, ours.launch(scratch / "cluster", port, *flags), scratch / "cluster.log")
        )
        ours.register(cluster, [ours.MODEL], _DTYPES)
        running = [(dtype, cluster) for dtype in _DTYPES]
        for peer, dtype in _wanted(chosen):
            venv = _environment(chosen, peer)
            launch = peer.launch(venv, resolve(SOURCE).folder, dtype, free_ports(1)[0], scratch)
            log = scratch / f"{peer.name}-{dtype}.log"
            running.append((dtype, stack.enter_context(started(peer.name, launch, log))))
        yield running


def _wanted(chosen: argparse.Namespace) -> list[tuple[Peer, str]]:
    """With `--quick`, one peer in one type: others take longer to start than that may last."""
    if chosen.peers is None:
        return []
    wanted = [peer for peer in PEERS if not chosen.against or peer.name in chosen.against]
    if chosen.quick:
        return [(wanted[0], "fp32")]
    return [(peer, dtype) for peer in wanted for dtype in _DTYPES]


def _environment(chosen: argparse.Namespace, peer: Peer) -> Path:
    python = chosen.sie_python if peer.python == "3.12" else chosen.python
    return install(peer, chosen.peers.absolute(), python, chosen.pip_option)


def _contender(dtype: str, server: Running) -> _Contender:
    bodies = {peer.name: peer.body for peer in PEERS}
    body = bodies.get(server.name, {"model": ours.spec(ours.MODEL, dtype)})
    return _Contender(server.name, dtype, server, body)


# -- measuring --


def _measure(chosen: argparse.Namespace, contenders: Sequence[_Contender]) -> dict[str, Any]:
    folder = resolve(SOURCE).folder
    cutting = tokenizer(folder)
    quick = {"single-8", "lists-mixed"} if chosen.quick else {each.name for each in WORKLOADS}
    wanted = set(chosen.only) if chosen.only else quick
    rounds = chosen.rounds or (1 if chosen.quick else _ROUNDS)
    result = {
        "benchmark": "serve",
        "quick": chosen.quick,
        "machine": machine(),
        "devices": chosen.devices,
        "dtypes": _DTYPES,
        "versions": {peer.name: peer.version for peer in PEERS},
        "workloads": _measured_before(chosen.out),
    }
    for workload in WORKLOADS:
        if workload.name not in wanted:
            continue
        turns = [texts_of(workload, cutting, turn) for turn in range(rounds)]
        reference = exact_vectors(folder, turns[0][: CHECKED // 4 if chosen.quick else CHECKED])
        taken = _take_turns(workload, contenders, turns)
        rows = {each.label: _row(workload, taken[each.label], reference) for each in contenders}
        result["workloads"][workload.name] = {
            "load_of_machine": os.getloadavg()[0],
            "rounds": rounds,
            "concurrency": workload.concurrency,
            "texts_in_request": workload.size,
            "lengths": "8 to 256 tokens, lognormal" if workload.mixed else "8 to 12 words",
            "contenders": rows,
            "ratios": _ratios(rows),
        }
        result["peak_memory_mib"] = _memory(contenders)
        if chosen.out is not None:
            chosen.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def _measured_before(out: Path | None) -> dict[str, Any]:
    """The workloads that stand in the result's file: each call may measure some of them."""
    if out is None or not out.exists():
        return {}
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))["workloads"]
    return found


def _take_turns(
    workload: Workload, contenders: Sequence[_Contender], turns: Sequence[Sequence[str]]
) -> dict[str, _Taken]:
    taken = {each.label: _Taken() for each in contenders}
    for texts in turns:
        for each in contenders:
            asked = requests(workload, texts, each.server.path, each.body)
            before = each.server.processor_s()
            window = drive(
                each.server.port,
                asked,
                concurrency=workload.concurrency,
                warm_s=_WARM_S,
                seconds=workload.seconds,
            )
            taken[each.label].windows.append(window)
            taken[each.label].processor_s.append(
                (each.server.processor_s() - before) / window.answered
            )
    return taken


def _row(workload: Workload, taken: _Taken, reference: Any) -> dict[str, Any]:
    windows = taken.windows
    rates = [window.requests * workload.size / window.seconds for window in windows]
    latencies = np.array([latency for window in windows for latency in window.latencies])
    return {
        "items_per_s": round(statistics.median(rates), 1),
        "items_per_s_of_rounds": [round(rate, 1) for rate in rates],
        "p50_ms": round(float(np.percentile(latencies, 50)) * 1000, 2),
        "p99_ms": round(float(np.percentile(latencies, 99)) * 1000, 2),
        "answers": len(latencies),
        "processor_ms_per_item": round(
            statistics.median(taken.processor_s) / workload.size * 1000, 2
        ),
        "load_generator_cores": round(
            statistics.median(window.processor_s / window.seconds for window in windows), 3
        ),
        "cosine_distance": greatest_distance(workload, windows[0].bodies, reference),
    }


def _ratios(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Ours over the best peer in the same type within the bound; nothing without a peer.

    A peer named bf16 whose distance is that of float32 ran float32, and counts as float32.
    """
    ratios: dict[str, Any] = {}
    for dtype in _DTYPES:
        peers = {
            label: row
            for label, row in rows.items()
            if not label.startswith(_OURS)
            and _dtype_told(row) == dtype
            and row["cosine_distance"] <= _DISTANCE_MAX
        }
        if not peers:
            continue
        row = rows[f"{_OURS} {dtype}"]
        best = max(peers, key=lambda label: peers[label]["items_per_s"])
        quickest = min(each["p50_ms"] for each in peers.values())
        ratios[dtype] = {
            "best_peer": best,
            "items": round(row["items_per_s"] / peers[best]["items_per_s"], 2),
            "p50": round(row["p50_ms"] / quickest, 2),
        }
    return ratios


def _dtype_told(row: Mapping[str, Any]) -> str:
    """The type that the answers themselves show."""
    return "fp32" if row["cosine_distance"] < _FP32_DISTANCE_MAX else "bf16"


def _memory(contenders: Sequence[_Contender]) -> dict[str, Any]:
    """The most that each process has had; a page that two share counts twice."""
    told: dict[str, Any] = {}
    for each in contenders:
        label = each.name if each.name == _OURS else each.label
        peaks = {name: round(size / 2**20) for name, size in each.server.peak_bytes().items()}
        told[label] = {"total": sum(peaks.values()), "processes": peaks}
    return told


def _table(result: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    for name, workload in result["workloads"].items():
        lines.append(
            f"\n{name:20} items/s   p50 ms   p99 ms  CPU ms/item  cosine distance to float64"
        )
        lines += [
            f"{label:20}{row['items_per_s']:8}{row['p50_ms']:9}{row['p99_ms']:9}"
            f"{row['processor_ms_per_item']:13}  {row['cosine_distance']:.1e}"
            for label, row in workload["contenders"].items()
        ]
        if workload["ratios"]:
            lines += [
                f"{dtype} over {told['best_peer']}: items {told['items']}, p50 {told['p50']}"
                for dtype, told in workload["ratios"].items()
            ]
    lines.append("\npeak memory, MiB")
    lines += [
        f"{label:20}{told['total']:8}  {told['processes']}"
        for label, told in result["peak_memory_mib"].items()
    ]
    lines.append(f"\n{result['machine']}, load 1 min {os.getloadavg()[0]:.1f}")
    return lines


if __name__ == "__main__":
    main()
