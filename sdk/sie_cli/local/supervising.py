"""Runs the supervisor in this process, or leaves one in the background.

*shell.* In the foreground, the first SIGINT, SIGTERM or SIGHUP drains and the second kills. In the
background, the same command runs in a session of its own with its output in a log file. This
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

from sie_cli.access import state
from sie_cli.access.private_files import open_to_append
from sie_cli.access.state import ClusterState
from sie_cli.plan.folders import prepare
from sie_cli.plan.settings import ClusterOptions, ClusterSettings
from sie_cli.show.progress import Told, progress
from sie_cli.supervisor.child import StartFailed, tail
from sie_cli.supervisor.first_answer import curl_line, writer_line

__all__ = ["run_detached", "run_foreground"]


def run_foreground(
    options: ClusterOptions, settings: ClusterSettings, *, scripts: Path | None = None
) -> None:
    """Run a cluster until a signal ends it. `scripts`: see `run_cluster`."""
    asyncio.run(_foreground(options, settings, scripts))


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
                *("--gateways", str(options.gateways), "--catalog", options.catalog),
                *(("--scale-to-zero",) if options.scale_to_zero else ()),
                *(word for name in options.bundles for word in ("--bundle", name)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # The Ctrl-C of this terminal is for who waits in front of it.
            start_new_session=True,
        )
    try:
        record = _wait_ready(supervisor, options.data, settings)
    except BaseException:
        # It is not left behind half started, whatever ends the one who waits.
        supervisor.terminate()
        supervisor.wait()
        raise
    if record is None:
        raise StartFailed(_last_words(supervisor.returncode, log, before, settings))
    _show(options.data, record, asyncio.run(writer_line(record.config_url)))
    typer.echo(f"stop it with: ./sie down --data {options.data}")


def _wait_ready(
    supervisor: "subprocess.Popen[bytes]", data: Path, settings: ClusterSettings
) -> ClusterState | None:
    """The record once it is ready; None when its supervisor has ended before."""
    deadline = time.monotonic() + settings.detach_s
    with progress("starting") as told:
        return _ready(supervisor, data, settings, deadline, told)


def _ready(
    supervisor: "subprocess.Popen[bytes]",
    data: Path,
    settings: ClusterSettings,
    deadline: float,
    told: Told,
) -> ClusterState | None:
    while supervisor.poll() is None:
        record = state.load(data)
        if record is not None:
            told(len(record.processes), 0, "starting; processes that run:")
        # By its pid: the record of the cluster that ran here before may still say that it is
        # ready.
        if record is not None and record.ready and record.supervisor.pid == supervisor.pid:
            return record
        if time.monotonic() > deadline:
            raise StartFailed(
                f"the cluster was not ready within {settings.detach_s:g} s "
                "(SIE_CLUSTER_DETACH_S) and is stopped again: `sie logs` shows why"
            )
        time.sleep(settings.poll_s)
    return None


def _last_words(status: int, log: Path, since: int, settings: ClusterSettings) -> str:
    """A supervisor's last words, which say why it ended; its status when it did not say it."""
    lines = tail(log, sys.maxsize, since=since)
    starts = [number for number, line in enumerate(lines) if line.startswith("sie: ")]
    if starts:
        return "\n".join(lines[starts[-1] :]).removeprefix("sie: ")
    shown = "\n".join(f"    {line}" for line in lines[-settings.log_tail_lines :])
    how = f"the supervisor ended with status {status} before the cluster was ready"
    return f"{how}. The end of {log}:\n{shown or '    (nothing was written)'}"


async def _foreground(
    options: ClusterOptions, settings: ClusterSettings, scripts: Path | None
) -> None:
    # The one that only waits in front of a terminal needs none of it.
    from sie_cli.supervisor.cluster import run_cluster  # noqa: PLC0415

    stop, kill = asyncio.Event(), asyncio.Event()

    async def on_ready(record: ClusterState) -> None:
        _show(options.data, record, await writer_line(record.config_url))

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
        on_ready=on_ready,
        scripts=scripts,
    )
    typer.echo("stopped")


def _say(line: str) -> None:
    typer.echo(f"{time.strftime('%H:%M:%S')} {line}")


def _show(data: Path, record: ClusterState, trouble: str) -> None:
    typer.echo(
        f"\n  gateway     {record.gateway_url}"
        f"\n  sie-config  {record.config_url}"
        f"\n  data        {data}{os.sep} (logs in {data / 'logs'})"
        f"\n\nTry:\n  {curl_line(record.gateway_url)}\n"
    )
    if trouble:
        typer.echo(f"{trouble}\n`sie doctor` says what to do\n")
