"""A local cluster of small programs: the real supervisor, with processes that start in an instant.

Each program listens where the plan tells it to and answers 200; a file in the folder `hold` named
after its role holds it back (503) until it is removed, so that a start can be stopped at any stage.
One named `config-unready` has sie-config answer as a writer in recovery does: `/readyz` and writes
are a 503, and it has nothing that is asked for.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from sie_cli.access import state
from sie_cli.access.state import ClusterState, ProcessRecord
from sie_cli.plan.ports import free_ports
from sie_cli.plan.settings import ClusterOptions, ClusterSettings
from sie_cli.supervisor.cluster import run_cluster

__all__ = ["QUICK", "ROLES", "ToyCluster", "toy_cluster", "toy_programs"]

ROLES = ("server-0", "nats", "config", "gateway", "worker-0")
"""In the order of their start."""
QUICK = ClusterSettings(ready_s=20, poll_s=0.01, restart_min_s=0.01, drain_s=5, first_answer_s=20)
_TOY = """#!{python} -S
import http.server, os, pathlib, re, sys
role = os.path.basename(sys.argv[0]).removeprefix("sie-").removesuffix("-server")
told = dict(zip(sys.argv[1::2], sys.argv[2::2]))
if role == "nats":
    text = pathlib.Path(told["-c"]).read_text()
    port = int(re.search(r'http: "127.0.0.1:(\\d+)"', text)[1])
else:
    port = int(told["--port"])
folder = pathlib.Path(os.environ["TOY_FOLDER"])
if (folder / "refuse" / role).exists():
    sys.exit("error: the setting of " + role + " cannot be")
class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        part = "-asked" if self.command == "POST" else ""
        status = 503 if (folder / "hold" / (role + part)).exists() else 200
        body = b"{{}}"
        if (folder / "hold" / (role + "-unready")).exists() and self.path != "/healthz":
            is_asked = self.command == "GET" and self.path != "/readyz"
            status, body = 404 if is_asked else 503, b'{{"detail": {{"code": "LOG_RECOVERY"}}}}'
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_PUT = do_GET
http.server.ThreadingHTTPServer.allow_reuse_address = True
http.server.ThreadingHTTPServer(("127.0.0.1", port), Answers).serve_forever()
"""


_TOY_SPAWNER = """#!{python}
import runpy, sys
from sie_runtime.process.spawning import Spawner
if Spawner().serve():
    runpy.run_path(sys.argv[0], run_name="__main__")
"""


def toy_programs(folder: Path) -> Path:
    """A folder with a program of each name that a cluster needs."""
    scripts = folder / "programs"
    scripts.mkdir(parents=True)
    for name in ("nats-server", "sie-config", "sie-gateway", "sie-server", "sie-worker"):
        (scripts / name).write_text(_TOY.format(python=sys.executable))
        (scripts / name).chmod(0o755)
    (scripts / "sie-server-spawner").write_text(_TOY_SPAWNER.format(python=sys.executable))
    (scripts / "sie-server-spawner").chmod(0o755)
    for name in ("hold", "refuse"):
        (folder / name).mkdir()
    return scripts


@dataclass
class ToyCluster:
    """A cluster that is started, and what its supervisor said."""

    folder: Path
    data: Path
    said: list[str]
    stop: asyncio.Event
    running: "asyncio.Task[None]"
    ready: asyncio.Event

    def record(self) -> ClusterState | None:
        """The record in the folder."""
        return state.load(self.data)

    def process(self, role: str) -> ProcessRecord | None:
        """The process of a role, if it runs."""
        record = self.record()
        found = [each for each in record.processes if each.role == role] if record else []
        return found[0] if found and found[0].alive else None

    def release(self, name: str) -> None:
        """Let a program go on."""
        (self.folder / "hold" / name).unlink()

    def kill(self, role: str) -> ProcessRecord:
        """End a process as a full memory would."""
        found = self.process(role)
        assert found is not None
        os.kill(found.pid, signal.SIGKILL)
        return found


@contextlib.asynccontextmanager
async def toy_cluster(
    folder: Path,
    *held: str,
    refused: tuple[str, ...] = (),
) -> AsyncIterator[ToyCluster]:
    """A cluster whose programs of the names `held` are not ready until they are released."""
    scripts = toy_programs(folder)
    for name in held:
        (folder / "hold" / name).touch()
    for name in refused:
        (folder / "refuse" / name).touch()
    stop, ready, said = asyncio.Event(), asyncio.Event(), list[str]()

    async def on_ready(_record: ClusterState) -> None:
        ready.set()

    os.environ["TOY_FOLDER"] = str(folder)
    running = asyncio.create_task(
        run_cluster(
            ClusterOptions(data=folder / "data", port=free_ports(1, adjacent=2)[0], workers=1),
            QUICK,
            stop=stop,
            kill=asyncio.Event(),
            say=said.append,
            on_ready=on_ready,
            scripts=scripts,
        )
    )
    try:
        yield ToyCluster(folder, folder / "data", said, stop, running, ready)
    finally:
        stop.set()
        with contextlib.suppress(Exception):
            await running
        del os.environ["TOY_FOLDER"]
