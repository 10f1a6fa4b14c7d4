"""Servers as processes: started, awaited, measured and ended with everything that they started.

*shell.* A server is a tree of processes below the one that was started here, whose memory and
processor time are read from /proc. Promises that the whole tree is ended.
"""

import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from serving.peers import Launch

__all__ = ["Running", "ask", "started"]

_START_S: Final = 600.0
"""A peer may compile its kernels at its first start, which takes minutes."""
_END_S: Final = 40.0
"""More than the 35 seconds that a cluster gives its own processes, so that it ends them itself."""
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Running:
    """A server that runs: the root of its processes, and where it is asked."""

    name: str
    pid: int
    port: int
    path: str

    def told(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)

    def processor_s(self) -> float:
        """Processor time of all its processes that still run."""
        return sum(_processor_s(pid) for pid in _tree(self.pid))

    def peak_bytes(self) -> dict[str, int]:
        """The most memory that each of its processes has had, by name and pid."""
        return {name: _peak_bytes(pid) for name, pid in self.processes()}

    def processes(self) -> list[tuple[str, int]]:
        """Each of its processes, by name and pid."""
        return [(f"{_name(pid)} {pid}", pid) for pid in _tree(self.pid)]


@contextlib.contextmanager
def started(name: str, launch: Launch, log: Path) -> Iterator[Running]:
    """A server that is ready; its output goes to `log`. Ended with all that it started."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SIE_")}
    with log.open("ab") as output:
        process = subprocess.Popen(
            launch.command,
            env=clean | launch.environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        _wait_ready(process, launch, log)
        yield Running(name, process.pid, launch.port, launch.path)
    finally:
        _end(process)


def ask(url: str, body: Any = None, *, method: str | None = None) -> bytes:
    """One request of JSON, beside the measurement. Raises `OSError` for an error's status."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(url, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: bytes = answer.read()
        return found


def _wait_ready(process: "subprocess.Popen[bytes]", launch: Launch, log: Path) -> None:
    ends_at = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < ends_at:
        with contextlib.suppress(OSError):
            ask(f"http://127.0.0.1:{launch.port}{launch.ready_path}")
            return
        time.sleep(0.2)
    end = log.read_text(encoding="utf-8", errors="replace")[-2000:]
    raise RuntimeError(f"{launch.command[0]} did not get ready; the end of {log}:\n{end}")


def _end(process: "subprocess.Popen[bytes]") -> None:
    tree = _tree(process.pid)
    process.terminate()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in tree[1:]:
        # Most are gone with their parent by now.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _tree(root: int) -> list[int]:
    """A process and all below it."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    tree = [root]
    for pid in tree:
        tree += children.get(pid, [])
    return tree


def _processor_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _peak_bytes(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def _name(pid: int) -> str:
    """The last part of the program's name: of the script, where Python runs one."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return "?"
    named = [word for word in words if word and not word.startswith("-")]
    script = named[1] if len(named) > 1 and "python" in Path(named[0]).name else named[0]
    return Path(script).name
