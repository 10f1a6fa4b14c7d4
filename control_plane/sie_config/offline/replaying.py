"""Replaying: the registry that a log had at an epoch.

*shell.* Reads a log file; writes, if asked to, the snapshot of that epoch. Promises that the
entries up to it were checked byte for byte and link by link, and the digest at the end. Every
digest on the way is checked where that is asked for.
"""

from collections.abc import Callable
from itertools import takewhile
from math import inf
from pathlib import Path
from typing import Final

from sie_config.log.storage_faults import LogDamaged
from sie_config.offline.backup import replace_file
from sie_config.offline.findings import Report
from sie_config.offline.log_reader import LogReader
from sie_core.apply import ChangeRefused, apply
from sie_core.chain import ChainBroken, Position, check_successor, is_of_lineage, position_of
from sie_core.registry import Registry
from sie_schemas import snapshot as snapshots
from sie_schemas.entry import Entry, EntryCorrupt
from sie_schemas.errors import FixRequest

__all__ = ["replay_to"]

_TOLD_EACH: Final = 1000
"""Entries folded in some 50 ms: the bar moves, and the terminal is not the work."""


def replay_to(
    log: Path,
    epoch: int | None,
    *,
    verify: bool,
    out: Path | None,
    told: Callable[[int], object] = lambda _epoch: None,
) -> Report:
    """Replay a log to an epoch, or to its end; `told` hears how far it is, now and then.

    Raises `NotReadable`, `FixRequest`.
    """
    report, registry = Report(), Registry.EMPTY
    lineage: list[Entry] = []
    last: Position | None = None
    final: Entry | None = None
    try:
        with LogReader.open(log) as reader:
            until = inf if epoch is None else epoch
            # Up to it and no further: what is damaged behind it is not asked for.
            for entry in takewhile(lambda each: each.epoch <= until, reader.entries()):
                check_successor(last, entry)
                registry, last, final = _folded(registry, entry, verify), position_of(entry), entry
                if is_of_lineage(entry):
                    lineage.append(entry)
                if entry.epoch % _TOLD_EACH == 0:
                    told(entry.epoch)
    except (ChainBroken, ChangeRefused, EntryCorrupt, LogDamaged) as error:
        bad = last.epoch + 1 if last is not None else 1
        report.bad("entries", f"epoch {bad}: {error}", epoch=bad)
    report.position = last
    if report.sound:
        _conclude(report, registry, last, epoch)
    if report.sound and out is not None and final is not None:
        rows = (snapshots.encode_row(e.kind, e.key, e.modified_epoch, e.document) for e in registry)
        replace_file(out, (snapshots.encode(lineage, final, rows),))
        report.ok("snapshot", f"{out} holds it")
    return report


def _folded(registry: Registry, entry: Entry, verify: bool) -> Registry:
    after = apply(registry, entry)
    if verify and after.digest != entry.state_digest:
        raise ChangeRefused(f"it folds to digest {after.digest[:16]}…, its writer had another")
    return after


def _conclude(report: Report, registry: Registry, last: Position | None, epoch: int | None) -> None:
    if last is None or (epoch is not None and last.epoch < epoch):
        raise FixRequest(f"the log ends at {last or 'nothing'}; there is no epoch {epoch}")
    if registry.digest != last.digest:
        report.bad(
            "digest",
            f"the registry at {last} has digest {registry.digest[:16]}…, its writer had "
            f"{last.digest[:16]}…. --verify names the first epoch that differs",
        )
    else:
        report.ok("registry", f"{len(registry)} entities at {last}, digest {last.digest}")
