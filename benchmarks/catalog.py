"""The price of the whole catalog in the log: a start, a replica's memory, an encode.

Local clusters in turns, `--catalog none` and `all`. Processor time, not seconds on a wall: the
answers stand on a busy machine too. Run with `python benchmarks/catalog.py --turns 4`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from sie_cli.plan.ports import free_ports

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
_SIE = str(Path(sys.executable).parent / "sie")
_TICKS = os.sysconf("SC_CLK_TCK")


def _seconds(pid: int) -> float:
    """Processor time of a process and of those that it waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return sum(int(number) for number in fields[11:15]) / _TICKS


def _resident(pid: int) -> float:
    """MiB of a process's memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def _turn(catalog: str, encodes: int) -> dict[str, float]:
    """One cluster of a catalog, from its start to its end."""
    with tempfile.TemporaryDirectory() as data:
        port = free_ports(2)[0]
        command = [_SIE, "up", "--detach", "--data", data, "--port", str(port)]
        before = os.times()
        started = time.perf_counter()
        subprocess.run([*command, "--catalog", catalog], check=True, capture_output=True)
        took = time.perf_counter() - started
        after = os.times()
        own = after.children_user + after.children_system
        own -= before.children_user + before.children_system
        try:
            told: dict[str, Any] = json.loads(
                subprocess.run(
                    [_SIE, "status", "--data", data, "-o", "json"], check=True, capture_output=True
                ).stdout
            )
            pids: dict[str, int] = {each["role"]: each["pid"] for each in told["processes"]}
            found = {"up, s": took, "up, processor s of the command": own}
            found |= {f"up, processor s of {role}": _seconds(pid) for role, pid in pids.items()}
            found |= {f"memory of {role}, MiB": _resident(pid) for role, pid in pids.items()}
            found["encode, processor ms"] = _encode(port, pids, encodes)
        finally:
            subprocess.run([_SIE, "down", "--data", data], check=True, capture_output=True)
        return found


def _encode(port: int, pids: dict[str, int], encodes: int) -> float:
    url = f"http://127.0.0.1:{port}/v1/encode/{MODEL}"
    with httpx.Client(timeout=60) as client:
        for number in range(50):
            client.post(url, json={"items": [{"text": f"warm {number}"}]}).raise_for_status()
        before = sum(map(_seconds, pids.values()))
        for number in range(encodes):
            client.post(url, json={"items": [{"text": f"a text {number}"}]}).raise_for_status()
        return (sum(map(_seconds, pids.values())) - before) / encodes * 1000


def main() -> None:
    """Print each figure of both, and their difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--encodes", type=int, default=500)
    asked = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {"none": [], "all": []}
    for number in range(asked.turns):
        # In turns, and every second one the other way about.
        for catalog in ("none", "all") if number % 2 == 0 else ("all", "none"):
            found[catalog].append(_turn(catalog, asked.encodes))
    for name in found["none"][0]:
        none, every = (
            statistics.median(turn[name] for turn in found[catalog]) for catalog in ("none", "all")
        )
        line = f"{name:>34}  none {none:8.2f}  all {every:8.2f}  {every - none:+7.2f}\n"
        sys.stdout.write(line)


if __name__ == "__main__":
    main()
