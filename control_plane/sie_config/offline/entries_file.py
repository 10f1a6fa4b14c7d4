"""The entries file: a whole log as the NDJSON of `GET /v1/configs/log`, one entry a line.

*shell.* Reads a log file from epoch 1, whatever its low water: that bounds deltas, not history.
Promises that a file which is there was written whole, from entries whose bytes and links were
checked. Damage leaves no file, or the one that was there before. What goes to a pipe ends before
the first bad entry.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from sie_config.log.storage_faults import LogDamaged
from sie_config.offline.backup import replace_file
from sie_config.offline.findings import Report
from sie_config.offline.log_reader import LogReader
from sie_core.chain import ChainBroken, check_successor, position_of
from sie_schemas.entry import EntryCorrupt, to_envelope

__all__ = ["write_entries"]


def write_entries(log: Path, target: Path | BinaryIO) -> Report:
    """Write every entry to a file or a pipe. Raises `NotReadable`, `FixRequest`, `OSError`."""
    report = Report()
    name = target if isinstance(target, Path) else "the pipe"
    try:
        with LogReader.open(log) as reader:
            lines = _lines(reader, report)
            if isinstance(target, Path):
                replace_file(target, lines)
            else:
                target.writelines(lines)
                target.flush()
    except (ChainBroken, EntryCorrupt, LogDamaged) as error:
        bad = report.position.epoch + 1 if report.position is not None else 1
        report.bad("entries", f"epoch {bad}: {error}; {name} does not have it", epoch=bad)
    else:
        report.ok("entries", f"{name} holds every entry up to {report.position}")
    return report


def _lines(reader: LogReader, report: Report) -> Iterator[bytes]:
    for entry in reader.entries():
        check_successor(report.position, entry)
        report.position = position_of(entry)
        yield to_envelope(entry) + b"\n"
