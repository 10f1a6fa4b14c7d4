"""The whole path on one machine: every process that a request passes, and the load on it.

*shell.* Real processes: the broker with a file store, sie-config, one gateway, one sidecar, and
model execution with the backend `echo`. Each is started here and ended by its pid.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from log_figures.processes import Client, free_port, ours

from edge_figures.load import DIMS
from sie_cli.plan.broker import threads_on

__all__ = ["Contender", "bare", "whole_path"]

_MODEL = "load/echo"
_PATH = f"/v1/encode/{_MODEL}"
_START_S = 120.0
"""Many times a usual start: only a process that never answers ends the run."""
_SCRIPTS = Path(sys.executable).parent


@dataclass(frozen=True, slots=True)
class Contender:
    """One server on `port` under one load. `pids` are the processes that a request passes."""

    load: "subprocess.Popen[str]"
    pids: Mapping[str, int]
    port: int

    def window(self, clients: int, seconds: float) -> dict[str, Any]:
        """One window of load; `cpu_us` is processor time for each request, by process.

        `others_cores` is how many cores did something else meanwhile: a figure taken while
        neighbours were busy says less.
        """
        before = {role: _processor_s(pid) for role, pid in self.pids.items()}
        began, busy_before = time.perf_counter(), _busy_s()
        assert self.load.stdin is not None and self.load.stdout is not None
        self.load.stdin.write(f"{clients} {seconds}\n")
        self.load.stdin.flush()
        line = self.load.stdout.readline()
        if not line:
            raise RuntimeError("the load ended; its last words are above")
        told: dict[str, Any] = json.loads(line)
        used = {role: _processor_s(pid) - before[role] for role, pid in self.pids.items()}
        others_s = _busy_s() - busy_before - sum(used.values())
        told["others_cores"] = max(0.0, others_s / (time.perf_counter() - began))
        told["cpu_us"] = {role: each / told["requests"] * 1e6 for role, each in used.items()}
        return told


@contextlib.contextmanager
def bare() -> Iterator[Contender]:
    """uvicorn with a plain ASGI application."""
    port = free_port()
    with _process("bare", [sys.executable, "-m", "edge_figures.bare", str(port)]) as pid:
        _wait(lambda: _connects(port), "the bare echo")
        with _load(port) as load:
            yield Contender(load, {"bare": pid, "load": load.pid}, port)


@contextlib.contextmanager
def whole_path(folder: Path, *, traced: float | None = None) -> Iterator[Contender]:
    """Broker, sie-config, gateway, sidecar, model execution. `traced` is the share of requests
    whose spans go to a collector; None, traces are off."""
    with contextlib.ExitStack() as stack:
        more = stack.enter_context(_collected(traced)) if traced is not None else {}

        def start(name: str, *command: str) -> int:
            return stack.enter_context(_process(name, list(command), more))

        socket, gateway = folder / "execution.sock", free_port()
        execution = start("execution", *_role("server"), "--socket", str(socket))
        broker, nats_url = stack.enter_context(_broker(folder / "nats"))
        config = stack.enter_context(ours(folder / "config", nats_url=nats_url))
        _register(config.port)
        bus = ("--nats-url", nats_url, "--config-url", f"http://127.0.0.1:{config.port}")
        sidecar = start(
            "sidecar",
            *_role("worker"),
            *("--socket-path", str(socket), "--bundle", "echo", "--worker-id", "one"),
            *("--replica-dir", str(folder / "sidecar"), *bus),
        )
        edge = start(
            "gateway",
            *_role("gateway"),
            *("--port", str(gateway), "--replica-dir", str(folder / "gateway"), *bus),
        )
        _wait(lambda: _answers(gateway), "the whole path")
        load = stack.enter_context(_load(gateway))
        pids = {"gateway": edge, "broker": broker, "sidecar": sidecar, "execution": execution}
        yield Contender(load, {**pids, "load": load.pid}, gateway)


@contextlib.contextmanager
def _collected(share: float) -> Iterator[dict[str, str]]:
    """A collector, and the variables of processes that send to it."""
    port = free_port()
    with _process("sink", [sys.executable, "-m", "edge_figures.sink", str(port)]):
        _wait(lambda: _connects(port), "the collector")
        yield {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": str(share),
        }


def _register(port: int) -> None:
    client = Client(port)
    model = {
        "model_id": _MODEL,
        # Nothing is read of it: this backend has no weights.
        "source": {
            "type": "package",
            "package": "sie_server",
            "distribution": "sie-cluster",
            "version": version("sie-cluster"),
        },
        "tasks": {"encode": {}},
        "profiles": {"default": {"backend": "echo", "options": {"dims": DIMS}}},
    }
    bundle = {"name": "echo", "backends": ["echo"]}
    for method, path, document in (
        ("PUT", "/v1/configs/bundles/echo", bundle),
        ("POST", "/v1/configs/models", model),
    ):
        status, answer = client.request(method, path, json.dumps(document).encode())
        if status not in {200, 201}:
            raise RuntimeError(f"sie-config answered {status}: {answer!r}")
    client.close()


def _answers(port: int) -> bool:
    if not _connects(port):
        return False
    client = Client(port)
    try:
        body = json.dumps({"items": [{"text": "ready?"}]}).encode()
        return client.request("POST", _PATH, body)[0] == 200
    finally:
        client.close()


def _connects(port: int) -> bool:
    try:
        Client(port).close()
    except OSError:
        return False
    return True


def _wait(look: Callable[[], bool], what: str) -> None:
    ends_at = time.monotonic() + _START_S
    while not look():
        if time.monotonic() > ends_at:
            raise RuntimeError(f"{what} does not answer")
        time.sleep(0.02)


def _role(name: str) -> tuple[str, ...]:
    return str(_SCRIPTS / f"sie-{name}"), "--log-level", "warning"


@contextlib.contextmanager
def _broker(folder: Path) -> Iterator[tuple[int, str]]:
    """As `sie up` sets it: what is stored in the log's name is on the disk, and its threads."""
    folder.mkdir(parents=True)
    config = folder / "nats.conf"
    config.write_text(
        f"jetstream {{ store_dir: {json.dumps(str(folder / 'store'))}, sync_interval: always }}\n"
    )
    command = [
        str(_SCRIPTS / "nats-server"),
        *("--addr", "127.0.0.1", "--port", "-1", "--ports_file_dir", str(folder)),
        *("--config", str(config), "--log", str(folder / "log")),
    ]
    threads = str(threads_on(len(os.sched_getaffinity(0))))
    with _process("broker", command, {"GOMAXPROCS": threads}) as pid:
        ports = folder / f"nats-server_{pid}.ports"
        _wait(lambda: ports.exists() and bool(ports.read_text()), "the broker")
        yield pid, str(json.loads(ports.read_text())["nats"][0])


@contextlib.contextmanager
def _load(port: int) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "edge_figures.load", str(port), _PATH]
    process = subprocess.Popen(
        command, cwd=_home(), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def _process(name: str, command: list[str], more: Mapping[str, str] | None = None) -> Iterator[int]:
    own = ("SIE_", "OTEL_")
    clean = {key: value for key, value in os.environ.items() if not key.startswith(own)}
    process = subprocess.Popen(command, cwd=_home(), env={**clean, **(more or {})})
    try:
        yield process.pid
        if process.poll() is not None:
            raise RuntimeError(f"{name} ended with {process.returncode}")
    finally:
        process.terminate()
        process.wait()


def _home() -> Path:
    return Path(__file__).parents[1]


def _busy_s() -> float:
    """Seconds that the cores of this machine were busy, all together (Linux; elsewhere 0)."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0
    user, nice, system, _, _, irq, softirq, *_ = map(
        int, stat.read_text().split("\n")[0].split()[1:]
    )
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def _processor_s(pid: int) -> float:
    """Seconds of processor time that a process has used (Linux; elsewhere 0)."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return 0.0
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
