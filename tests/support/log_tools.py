"""Log files for tests of `sie log`: made, tampered with past every guard, and the command run."""

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.config_writer import LOG_ID, begun_log, grown_log, new_file

from sie_schemas.entry import Entry, build_entry, put

__all__ = ["closed_log", "forged_log", "run_log", "start_log", "states", "tamper", "whats"]

_COMMAND = (sys.executable, "-m", "sie_cli.main", "log")


def closed_log(folder: Path, models: int) -> tuple[Path, list[Entry]]:
    """A data folder with a log that nobody has open, and its entries."""
    entries = grown_log(models)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "log.sqlite"
    new_file(path, entries).close()
    return path, entries


def forged_log() -> list[Entry]:
    """A log whose fourth entry states a digest that its fold does not have."""
    entries = list(begun_log().entries)
    forged = build_entry(
        log_id=LOG_ID,
        epoch=4,
        term=1,
        writer="w",
        ts="2026-01-01T00:00:00.000000Z",
        actor="a",
        reason="",
        request_id="",
        changes=[put("pool", "other", {"name": "other"})],
        prev_hash=entries[-1].hash,
        state_digest="0" * 64,
    )
    return [*entries, forged]


def tamper(path: Path, *statements: str) -> None:
    """Run SQL on a log as somebody would who knows its triggers: they are off meanwhile."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        triggers = connection.execute(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'"
        ).fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)
        for _, sql in triggers:
            connection.execute(sql)


def start_log(*arguments: str | Path) -> subprocess.Popen[str]:
    """Start `sie log …` as a process of its own."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SIE_")}
    return subprocess.Popen(
        [*_COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
    )


def run_log(*arguments: str | Path) -> tuple[int, Any]:
    """Run `sie log … -o json`; its exit status, and what it told or its words of refusal."""
    process = start_log(*arguments, "-o", "json")
    out, err = process.communicate(timeout=60)
    return process.returncode, json.loads(out) if out else err


def states(report: Any) -> dict[str, str]:
    """The things that were looked at, and the state of each."""
    return {finding["what"]: finding["state"] for finding in report["findings"]}


def whats(entries: Sequence[Any]) -> set[str]:
    """Names of findings that are bad."""
    return {finding.what for finding in entries if finding.state == "bad"}
