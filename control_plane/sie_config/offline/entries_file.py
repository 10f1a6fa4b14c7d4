"""The entries file: a whole log as the NDJSON of `GET /v1/configs/log`, one entry a line.

*shell.* Reads a log file from epoch 1, whatever its low water: that bounds deltas, not history.
Promises that a file which is there was written whole, from entries whose bytes and links were
checked; damage leaves no file, or the one that was there before.
"""

from collections.abc import Iterator
from pathlib import Path

from sie_config.log_file import LogDamaged
from sie_config.offline.backup import replace_file
from sie_config.offline.findings import Report
from sie_config.offline.log_reader import LogReader
from sie_core.chain import ChainBroken, check_successor, position_of
from sie_schemas.entry import EntryCorrupt, to_envelope

__all__ = ["write_entries"]


def write_entries(log: Path, target: Path) -> Report:
    """Write every entry to `target`. Raises `NotReadable`, `OSError`."""
    report = Report()
    try:
        with LogReader.open(log) as reader:
            replace_file(target, _lines(reader, report))
    except (ChainBroken, EntryCorrupt, LogDamaged) as error:
        bad = report.position.epoch + 1 if report.position is not None else 1
        report.bad("entries", f"epoch {bad}: {error}; nothing was written", epoch=bad)
    else:
        report.ok("entries", f"{target} holds every entry up to {report.position}")
    return report


def _lines(reader: LogReader, report: Report) -> Iterator[bytes]:
    for entry in reader.entries():
        check_successor(report.position, entry)
        report.position = position_of(entry)
        yield to_envelope(entry) + b"\n"
