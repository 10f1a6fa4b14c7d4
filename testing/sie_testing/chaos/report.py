"""The work of `sie soak --chaos`: the faults that were asked for, a table, and a verdict.

*shell.* Prints each row as it comes. With a folder, writes `chaos.json` and `chaos.md` into it.
Exit status: 0 when every bound holds, 1 when one is broken.
"""

import json
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import typer

from sie_gateway.settings import GatewaySettings
from sie_schemas.errors import FixRequest
from sie_testing.chaos.observe import IN_TIME_S
from sie_testing.chaos.run import ASKERS, FAULTS, REPLICAS, Chaos, run_chaos
from sie_testing.chaos.scene import RESTART_S, Fault
from sie_testing.chaos.table import Row, broken, to_json, to_markdown
from sie_testing.processes.cluster import PROGRAMS
from sie_testing.processes.programs import program_path

__all__ = ["chosen", "judged", "run_table"]

_CPU_INFO: Final = Path("/proc/cpuinfo")


def run_table(faults: str, *, minutes: float | None, folder: Path | None) -> int:
    """Run and tell; the exit status. Raises `FixRequest`."""
    for name in PROGRAMS:
        program_path(name)
    picked = chosen(faults)
    until = time.monotonic() + (minutes or 0.0) * 60
    rows = run_chaos(Chaos(faults=picked, until=until, say=typer.echo))
    verdicts = judged(rows, picked)
    if folder is not None:
        _write(folder, to_json(rows, _about()), picked)
    for verdict in verdicts:
        typer.secho(verdict, fg="red")
    typer.echo(f"{len(rows)} faults, {len(verdicts)} bounds broken")
    return 1 if verdicts else 0


def _write(folder: Path, table: dict[str, Any], faults: Sequence[Fault]) -> None:
    """Both forms of the table; what a person reads is made of what a program reads."""
    rows = [Row(**row) for row in table["rows"]]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "chaos.json").write_text(json.dumps(table, indent=2) + "\n")
    (folder / "chaos.md").write_text(to_markdown(rows, table["about"], judged(rows, faults)))


def chosen(names: str) -> list[Fault]:
    """The faults of a list by comma; `all` is every one. Raises `FixRequest`."""
    if names == "all":
        return list(FAULTS)
    known = {fault.name: fault for fault in FAULTS}
    wanted = [name.strip() for name in names.split(",")]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise FixRequest(f"{', '.join(unknown)}: no such fault; there are {', '.join(known)}")
    return [known[name] for name in wanted]


def judged(rows: Sequence[Row], faults: Sequence[Fault]) -> list[str]:
    """Every bound that is broken, with the fault that broke it."""
    allowed = {fault.name: fault.serves_s for fault in faults}
    return [
        f"{row.fault}: {verdict}"
        for row in rows
        for verdict in broken(row, serves_s=allowed[row.fault])
    ]


def _about() -> dict[str, Any]:
    gateways = REPLICAS - REPLICAS // 2
    return {
        "machine": f"{_processor()}, {os.cpu_count()} cores, {_memory()}, {platform.system()}, "
        f"Python {platform.python_version()}",
        "load": f"two clients that write, {ASKERS} for each of {gateways} gateways that ask",
        "restart_s": RESTART_S,
        "limit_s": GatewaySettings.request_timeout_s,
        "in_time_s": IN_TIME_S,
    }


def _processor() -> str:
    if _CPU_INFO.exists():
        for line in _CPU_INFO.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory() -> str:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{total / 2**30:.0f} GiB"
