"""The start of a whole local cluster on a folder that exists: what it waits for, and what it costs.

*main.* `python benchmarks/start.py [--quick] [--json]`. Starts a cluster in the background, stops
it, and starts it again: that second start is measured. A row is what a process said, in seconds
since the command, and its processor time by then. Afterwards the worker and one execution process
are killed in turn, until the cluster answers again. Seconds hold on an idle machine alone;
processor time moves by some tenths under load. Linux.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from measuring import arguments, machine, report
from serving.running import ask

from sie_cli.plan.ports import free_ports
from sie_cli.supervisor.seeding import ADAPTED_MODEL

_SIE: Final = str(Path(sys.executable).parent / "sie")
_WANTED: Final = {"up_s": 6.0, "worker-0_s": 3.0, "server-0_s": 3.0}
"""Seconds: `sie up` to its end, a killed process to the next answer."""
_PATIENCE_S: Final = 120.0
"""Many times what is wanted: a slow start is to be measured, not to end the run."""
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure and report."""
    chosen = arguments("The start of a local cluster, and of a process that was killed.")
    environ = {name: each for name, each in os.environ.items() if not name.startswith("SIE_")}
    environ["SIE_CLUSTER_READY_S"] = str(_PATIENCE_S)
    environ.pop("PYTHONDONTWRITEBYTECODE", None)  # as `./sie` starts it
    with tempfile.TemporaryDirectory(prefix="sie-start-") as name:
        data, port = Path(name) / "data", free_ports(1, adjacent=2)[0]
        _up(data, port, environ)
        _down(data, environ)
        began = time.time()
        found: dict[str, Any] = _up(data, port, environ)
        try:
            timeline = _timeline(data, began)
            processes = _processes(data)
            found["processor_s"] = {role: _processor_s(pid) for role, pid in processes.items()}
            for role in () if chosen.quick else ("worker-0", "server-0"):
                found[f"{role}_s"] = _killed(processes[role], port)
        finally:
            _down(data, environ)
    result = {"machine": machine(), **found, "timeline": timeline, "wanted": _WANTED}
    lines = [f"{at:7.2f} s  {role:12}{said}" for at, role, said in timeline]
    lines += [
        f"{role:12}{spent:8.2f} s of a processor" for role, spent in result["processor_s"].items()
    ]
    lines += [
        f"{name.removesuffix('_s'):12}{found[name]:8.2f} s, wanted {wanted:g}"
        for name, wanted in _WANTED.items()
        if name in found
    ]
    report(result, lines, as_json=chosen.json)


def _up(data: Path, port: int, environ: dict[str, str]) -> dict[str, Any]:
    """Start it, and wait until the command returns: the first answer is there."""
    began, before = time.perf_counter(), os.times()
    subprocess.run(
        [_SIE, "up", "--detach", "--data", str(data), "--port", str(port)],
        check=True,
        capture_output=True,
        env=environ,
    )
    after = os.times()
    spent = after.children_user + after.children_system
    spent -= before.children_user + before.children_system
    return {"up_s": round(time.perf_counter() - began, 2), "command_processor_s": round(spent, 2)}


def _down(data: Path, environ: dict[str, str]) -> None:
    subprocess.run(
        [_SIE, "down", "--data", str(data)], check=False, capture_output=True, env=environ
    )


def _processes(data: Path) -> dict[str, int]:
    told = json.loads((data / "cluster.json").read_text(encoding="utf-8"))
    found = {each["role"]: each["pid"] for each in (told["supervisor"], *told["processes"])}
    # It is no process of the record: what it made are.
    found["spawner"] = int(_fields(found["server-0"])[1])
    return found


def _timeline(data: Path, began: float) -> list[tuple[float, str, str]]:
    """The lines of all logs since the start, by time."""
    rows = []
    for log in (data / "logs").glob("*.log"):
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError, KeyError):
                told = json.loads(line)
                at = datetime.fromisoformat(told["ts"]).timestamp() - began
                if at >= 0:
                    rows.append((round(at, 2), log.stem, told["msg"][:90]))
    return sorted(rows)


def _processor_s(pid: int) -> float:
    return round(sum(map(int, _fields(pid)[11:15])) / _TICKS, 2)


def _fields(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()


def _killed(pid: int, port: int) -> float:
    """Kill a process; seconds until a request that follows is answered."""
    os.kill(pid, signal.SIGKILL)
    began = time.perf_counter()
    while time.perf_counter() - began < _PATIENCE_S:
        with contextlib.suppress(OSError):
            if ask(
                f"http://127.0.0.1:{port}/v1/encode/{ADAPTED_MODEL}", {"items": [{"text": "a"}]}
            ):
                break
        time.sleep(0.02)
    return round(time.perf_counter() - began, 2)


if __name__ == "__main__":
    main()
