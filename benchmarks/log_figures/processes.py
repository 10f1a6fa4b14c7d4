"""The processes that are measured: our `sie-config`, and the peer's from PyPI.

*shell.* Starts each on a folder of its own and a free port of loopback, and ends it by its pid. The
one client speaks HTTP/1.1 over a socket that stays open, the same for both, so that no client
library is measured.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = [
    "Client",
    "Server",
    "exporting",
    "floor",
    "free_port",
    "make_peer",
    "our_body",
    "ours",
    "peer",
]

PEER_PACKAGE: Final = "sie-config==0.10.1"
_START_S: Final = 60.0
"""Many times a usual start: only a server that never answers ends the run."""
_REVISION: Final = "0" * 40


@dataclass(frozen=True, slots=True)
class Server:
    """A process that serves."""

    name: str
    port: int
    pid: int

    def body(self, model_id: str) -> bytes:
        """A new model as this server takes it; both say the same of it."""
        return our_body(model_id) if self.name == "ours" else peer_body(model_id)

    def processor_s(self) -> float:
        """Seconds of processor time that the process has used (Linux; elsewhere 0)."""
        stat = Path(f"/proc/{self.pid}/stat")
        if not stat.exists():
            return 0.0
        fields = stat.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Client:
    """One connection that stays open."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=120)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def request(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Send a request; gives status and body."""
        head = (
            f"{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        self._socket.sendall(head.encode() + body)
        answer = b""
        while (end := answer.find(b"\r\n\r\n")) < 0:
            answer += self._receive()
        wanted = end + 4 + _content_length(answer[:end])
        parts, size = [answer], len(answer)
        while size < wanted:
            parts.append(self._receive())
            size += len(parts[-1])
        return int(answer[9:12]), b"".join(parts)[end + 4 :]

    def create(self, server: Server, model_id: str) -> float:
        """Write one new model; seconds until its answer."""
        body = server.body(model_id)
        began = time.perf_counter()
        status, answer = self.request("POST", "/v1/configs/models", body)
        took = time.perf_counter() - began
        if status != 201:
            raise RuntimeError(f"{server.name} answered {status}: {answer[:300]!r}")
        return took

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _receive(self) -> bytes:
        data = self._socket.recv(1 << 18)
        if not data:
            raise ConnectionError("the server closed the connection")
        return data


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise ValueError("an answer without content-length")


def our_body(model_id: str) -> bytes:
    """A model for ours."""
    return json.dumps(
        {
            "model_id": model_id,
            "source": {"type": "hub", "id": model_id, "revision": _REVISION},
            "tasks": {"encode": {}},
            "profiles": {"default": {"backend": "transformer"}},
        }
    ).encode()


def peer_body(model_id: str) -> bytes:
    """The same for the peer, in YAML, which is what it stores."""
    return (
        f"sie_id: {model_id}\nhf_id: {model_id}\ninputs: {{text: true}}\n"
        "tasks: {encode: {dense: {dim: 384}}}\nprofiles:\n  default:\n"
        "    adapter_path: sie_server.adapters.sentence_transformer:Adapter\n"
        "    max_batch_tokens: 4096\n    compute_precision: float32\n"
    ).encode()


@contextlib.contextmanager
def ours(folder: Path, *flags: str, nats_url: str = "nats://127.0.0.1:1") -> Iterator[Server]:
    """Our sie-config on a folder; without a broker unless one is given."""
    port = free_port()
    command = [
        *(sys.executable, "-m", "sie_config.main", "--data-dir", str(folder)),
        *("--port", str(port), "--nats-url", nats_url, "--log-level", "error", *flags),
    ]
    with _running("ours", command, port, {}) as server:
        yield server


@contextlib.contextmanager
def floor(folder: Path) -> Iterator[Server]:
    """A server that only commits what it is sent; it takes what ours takes."""
    port = free_port()
    command = [sys.executable, str(Path(__file__).with_name("floor.py")), str(folder), str(port)]
    with _running("ours", command, port, {}) as server:
        yield server


@contextlib.contextmanager
def peer(venv: Path, folder: Path, models: int) -> Iterator[Server]:
    """The peer on a folder of its own that holds so many models, restored as it does at a start."""
    store, bundles, baked = folder / "store", folder / "bundles", folder / "baked"
    for each in (store / "models", bundles, baked):
        each.mkdir(parents=True, exist_ok=True)
    for number in range(models):
        body = peer_body(f"org/seed-{number}")
        (store / "models" / f"org__seed-{number}.yaml").write_bytes(body)
    (store / "epoch").write_text(str(models))
    (bundles / "default.yaml").write_text(
        "name: default\nengine: pytorch\npriority: 10\nadapters:\n"
        "  - sie_server.adapters.sentence_transformer\n"
    )
    port = free_port()
    environ = {
        "SIE_CONFIG_STORE_DIR": str(store),
        "SIE_CONFIG_RESTORE": "true",
        "SIE_BUNDLES_DIR": str(bundles),
        "SIE_MODELS_DIR": str(baked),
    }
    command = [str(venv / "bin" / "sie-config"), "serve", "-p", str(port), "-h", "127.0.0.1"]
    with _running("peer", command, port, environ) as server:
        yield server


@contextlib.contextmanager
def exporting(server: Server, clients: int) -> Iterator[None]:
    """So many clients that export in a loop, in a process of their own."""
    command = [sys.executable, "-m", "log_figures.exporters", str(server.port), str(clients)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            # It says when every client has had its first answer.
            child.stdout.readline()
            yield
        finally:
            child.kill()


def make_peer(venv: Path, python: str) -> None:
    """Make the peer's environment if it is not there."""
    if (venv / "bin" / "sie-config").exists():
        return
    subprocess.run([python, "-m", "venv", str(venv)], check=True)
    install = [str(venv / "bin" / "pip"), "install", "--quiet", PEER_PACKAGE]
    subprocess.run(install, check=True, stdout=subprocess.DEVNULL)


def free_port() -> int:
    """A port of loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _running(name: str, command: list[str], port: int, environ: dict[str, str]) -> Iterator[Server]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SIE_")}
    process = subprocess.Popen(
        command, env=clean | environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_ready(process, port)
        yield Server(name, port, process.pid)
    finally:
        process.terminate()
        process.wait()


def _wait_ready(process: subprocess.Popen[bytes], port: int) -> None:
    ends_at = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < ends_at:
        with contextlib.suppress(OSError):
            client = Client(port)
            try:
                if client.request("GET", "/readyz")[0] == 200:
                    return
            finally:
                client.close()
        time.sleep(0.005)
    raise RuntimeError(f"process {process.pid} did not get ready")
