"""Runs the supervisor in this process, or leaves one in the background.

*shell.* In the foreground, the first SIGINT, SIGTERM or SIGHUP drains and the second kills. In the
background, the same command runs in a session of its own with its output in a log file, and this
process returns when the cluster is ready.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import typer

from sie_cli import state
from sie_cli.child import StartFailed, tail
from sie_cli.cluster import run_cluster
from sie_cli.first_answer import curl_line
from sie_cli.folders import prepare
from sie_cli.private_files import open_to_append
from sie_cli.settings import ClusterOptions, ClusterSettings
from sie_cli.state import ClusterState

__all__ = ["run_detached", "run_foreground"]


def run_foreground(options: ClusterOptions, settings: ClusterSettings) -> None:
    """Run a cluster until a signal ends it."""
    asyncio.run(_foreground(options, settings))


def run_detached(options: ClusterOptions, settings: ClusterSettings) -> None:
    """Leave a supervisor in the background; returns when its cluster is ready."""
    log = prepare(options.data).log("supervisor")
    with os.fdopen(open_to_append(log), "ab") as output:
        before = output.tell()
        supervisor = subprocess.Popen(
            [
                *(sys.executable, "-m", "sie_cli.main", "up"),
                *("--data", str(options.data), "--port", str(options.port)),
                *("--workers", str(options.workers), "--devices", str(options.devices)),
                *("--gateways", str(options.gateways)),
                *(("--scale-to-zero",) if options.scale_to_zero else ()),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        record = _wait_ready(supervisor, options.data, settings)
    except KeyboardInterrupt:
        supervisor.terminate()
        raise
    if record is None:
        raise StartFailed(_last_words(tail(log, sys.maxsize, since=before)))
    _show(options.data, record)
    typer.echo(f"stop it with: ./sie down --data {options.data}")


def _wait_ready(
    supervisor: "subprocess.Popen[bytes]", data: Path, settings: ClusterSettings
) -> ClusterState | None:
    deadline = time.monotonic() + settings.detach_s
    while supervisor.poll() is None:
        record = state.load(data)
        if record is not None and record.ready and record.supervisor.pid == supervisor.pid:
            return record
        if time.monotonic() > deadline:
            supervisor.terminate()
            supervisor.wait()
        time.sleep(settings.poll_s)
    return None


def _last_words(lines: list[str]) -> str:
    """What a supervisor said last, which is why it ended; all lines when it came to say nothing."""
    starts = [number for number, line in enumerate(lines) if line.startswith("sie: ")]
    return "\n".join(lines[starts[-1] if starts else 0 :]).removeprefix("sie: ")


async def _foreground(options: ClusterOptions, settings: ClusterSettings) -> None:
    stop, kill = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            kill.set()
        else:
            typer.echo("stopping (once more: at once)")
            stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, on_signal)
    await run_cluster(
        options,
        settings,
        stop=stop,
        kill=kill,
        say=_say,
        on_ready=lambda record: _show(options.data, record),
    )
    typer.echo("stopped")


def _say(line: str) -> None:
    typer.echo(f"{time.strftime('%H:%M:%S')} {line}")


def _show(data: Path, record: ClusterState) -> None:
    typer.echo(
        f"\n  gateway     {record.gateway_url}"
        f"\n  sie-config  {record.config_url}"
        f"\n  data        {data}{os.sep} (logs in {data / 'logs'})"
        f"\n\nTry:\n  {curl_line(record.gateway_url)}\n"
    )
