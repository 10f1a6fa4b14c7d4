"""The cost of a whole local cluster while nobody asks: wake-ups, processor time and memory.

*main.* `python benchmarks/idle.py [--quick] [--json]`. Starts a cluster as `serve.py` does, has
MiniLM answer once, waits until the start is over, then looks at each process twice. A wake-up is a
voluntary switch of a thread, processor time is the scheduler's own count. Memory is the
proportional share (Pss), and beside it what is a process's alone: what would be free without it.
All of it holds under load too, which moves it by some tenths. Linux.
"""

import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from measuring import arguments, machine, report
from serving import ours
from serving.running import Running, started

from sie_cli.plan.ports import free_ports

_SETTLE_S: Final = 15.0
"""After it no process loads, compiles or fetches: what is left is what an idle one does."""
_WANTED: Final = {"wake_ups_per_s": 50.0, "processor_ms_per_s": 10.0, "pss_mib": 1024.0}
_OWN: Final = "own_mib"


def main() -> None:
    """Measure and report."""
    chosen = arguments("What an idle cluster costs.")
    with tempfile.TemporaryDirectory(prefix="sie-idle-") as name:
        folder = Path(name)
        launch = ours.launch(folder / "data", free_ports(1, adjacent=2)[0])
        with started("sie-cluster", launch, folder / "log") as cluster:
            ours.register(cluster, (ours.MODEL,), ("fp32",))
            time.sleep(_SETTLE_S)
            rows = _looked(cluster, seconds=10.0 if chosen.quick else 60.0)
    total = {key: round(sum(row[key] for row in rows.values()), 2) for key in (*_WANTED, _OWN)}
    result = {"machine": machine(), "processes": rows, "total": total, "wanted": _WANTED}
    lines = [_line(name, row) for name, row in [*rows.items(), ("all", total), ("wanted", _WANTED)]]
    report(result, lines, as_json=chosen.json)


def _line(name: str, row: dict[str, float]) -> str:
    wake_ups, processor, pss = (row[key] for key in _WANTED)
    own = f", its own {row[_OWN]:.0f}" if _OWN in row else ""
    return f"{name:28}{wake_ups:8.1f} wake-ups/s{processor:8.2f} ms/s{pss:8.0f} MiB{own}"


def _looked(cluster: Running, *, seconds: float) -> dict[str, dict[str, float]]:
    before, began = {name: _used(pid) for name, pid in cluster.processes()}, time.perf_counter()
    time.sleep(seconds)
    took = time.perf_counter() - began
    rows: dict[str, Any] = {}
    for name, pid in cluster.processes():
        wake_ups, processor_s = _used(pid)
        wake_ups_before, processor_s_before = before.get(name, (0, 0.0))
        rows[name] = {
            "wake_ups_per_s": round((wake_ups - wake_ups_before) / took, 2),
            "processor_ms_per_s": round((processor_s - processor_s_before) / took * 1000, 2),
            "pss_mib": _mib(pid, "Pss:"),
            _OWN: _mib(pid, "Private_Dirty:") + _mib(pid, "Private_Clean:"),
        }
    return rows


def _used(pid: int) -> tuple[int, float]:
    """Wake-ups and seconds of all threads of a process."""
    wake_ups, processor_s = 0, 0.0
    for task in Path(f"/proc/{pid}/task").glob("*"):
        with contextlib.suppress(OSError):
            wake_ups += _field(task / "status", "voluntary_ctxt_switches:")
            processor_s += int((task / "schedstat").read_text().split()[0]) / 1e9
    return wake_ups, processor_s


def _mib(pid: int, name: str) -> float:
    with contextlib.suppress(OSError):
        return round(_field(Path(f"/proc/{pid}/smaps_rollup"), name) / 1024, 1)
    return 0.0


def _field(file: Path, name: str) -> int:
    return next(_numbers(file, name), 0)


def _numbers(file: Path, name: str) -> Iterator[int]:
    for line in file.read_text().splitlines():
        if line.startswith(name):
            yield int(line.split()[1])


if __name__ == "__main__":
    main()
