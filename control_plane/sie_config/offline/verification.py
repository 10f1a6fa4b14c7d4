"""Verification: whether a log file is what its writer wrote, all of it.

*shell.* Reads one moment of a file and checks pages, schema, bytes, chain, density, and the digest
after every entry. It checks the rows of changes and idempotency keys, the low water and the head
file likewise. Stops at the first bad epoch and names it; promises that a file without findings is
the fold of one unbroken chain. A missing tail shows only against a witness: the head file, the
stream, a backup.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

from sie_config.log.head_file import HeadFile
from sie_config.log.log_rows import LISTED_KINDS, entry_of
from sie_config.log.replay import step
from sie_config.log.schema import newer_migrations, schema_damage
from sie_config.log.storage_faults import LogDamaged
from sie_config.log.witnesses import Claim, is_of_another_log
from sie_config.offline.findings import Report
from sie_config.offline.log_reader import LogReader
from sie_core.chain import (
    ChainBroken,
    Position,
    begins_log,
    check_successor,
    is_of_lineage,
    position_of,
)
from sie_core.counted import counted
from sie_core.registry import Registry
from sie_core.trust import Trust, keys_of
from sie_runtime.signing import first_trust, verify
from sie_schemas.entry import Entry, EntryCorrupt, Idempotency
from sie_schemas.errors import Untrusted

__all__ = ["Verified", "check_head_file", "read_claim", "verify_log"]

_RESTORE: Final = "stop sie-config, move the folder away, `sie log restore` the newest backup"


@dataclass(slots=True)
class Verified:
    """A log as far as it is sound."""

    report: Report = field(default_factory=Report)
    registry: Registry = Registry.EMPTY
    last: Entry | None = None
    lineage: list[Entry] = field(default_factory=list)
    keys: dict[tuple[str, str], tuple[int, Idempotency]] = field(default_factory=dict)
    unlisted: int | None = None
    """The first epoch whose changes are not listed as they are."""
    trust: Trust = field(default_factory=first_trust)
    """The trust of a reader that stands at `last`."""
    every_signature: bool = False


def verify_log(path: Path, *, until: int | None = None, every_signature: bool = False) -> Verified:
    """Verify a log file, or its epochs up to `until`. Raises `NotReadable`.

    The signature of the last position and those of the keys vouch for all of the log;
    `every_signature` checks each one, at about 90 µs.
    """
    found = Verified(every_signature=every_signature)
    # Before the log: read after it, the word of a writer that goes on would be ahead of what we
    # read.
    claim = read_claim(path, found.report)
    try:
        with LogReader.open(path) as reader:
            _check_pages(reader, found.report)
            _check_entries(reader, found, until)
            if until is None and found.report.sound:
                _check_signed(found)
                _check_changes(reader, found)
                _check_keys(reader, found)
                _check_low_water(reader, found)
    except LogDamaged as error:
        epoch = found.last.epoch + 1 if found.last is not None else 1
        found.report.bad("pages", error.message, cure=_RESTORE, epoch=epoch)
    if found.last is not None:
        found.report.position = position_of(found.last)
        if claim is not None and until is None:
            check_head_file(found.report, path, claim, found.lineage)
    return found


def _check_pages(reader: LogReader, report: Report) -> None:
    problems = reader.integrity()
    if problems:
        report.bad("pages", "; ".join(problems[:3]), cure=_RESTORE)
    else:
        report.ok("pages", "SQLite finds no damage")
    if newer := newer_migrations(reader.connection):
        report.bad("schema", f"of a newer release ({newer})", cure="use `sie` of that release")
    elif damage := schema_damage(reader.connection):
        report.bad("schema", f"not as it was made: {damage}", cure=_RESTORE)
    else:
        report.ok("schema", "every table and trigger is as it was made")


def _check_entries(reader: LogReader, found: Verified, until: int | None) -> None:
    last: Position | None = None
    listed = reader.changes()
    try:
        for row in reader.rows():
            if until is not None and row[0] > until:
                break
            entry = _checked(row, last)
            found.registry = step(found.registry, entry)
            found.last, last = entry, position_of(entry)
            _note(entry, found, listed)
    except (ChainBroken, EntryCorrupt, LogDamaged) as error:
        epoch = last.epoch + 1 if last is not None else 1
        found.report.bad("entries", str(error), cure=_RESTORE, epoch=epoch)
        return
    if found.last is None:
        found.report.bad("entries", "the log is empty", cure=_RESTORE, epoch=1)
        return
    if found.unlisted is None and next(listed, None) is not None and until is None:
        found.unlisted = found.last.epoch
    entries = counted(found.last.epoch, "entry", "entries")
    found.report.ok("entries", f"{entries}: bytes, chain and every digest, up to {last}")


def _note(entry: Entry, found: Verified, listed: Iterator[tuple[Any, ...]]) -> None:
    if is_of_lineage(entry):
        found.lineage.append(entry)
        _note_key(entry, found)
    elif found.every_signature and entry.signature and not found.trust.accepts(entry):
        raise EntryCorrupt(f"epoch {entry.epoch} has a signature that is not of the log's key")
    if found.unlisted is None and not _is_listed(entry, listed):
        found.unlisted = entry.epoch
    if entry.idempotency is not None:
        key = (entry.actor, entry.idempotency.key)
        found.keys[key] = (entry.epoch, entry.idempotency)


def _note_key(entry: Entry, found: Verified) -> None:
    """Take up the key that an entry brings: the one before signed it, or it begins a log."""
    met = keys_of((entry,))
    if not met:
        return
    found.trust = found.trust.after(entry)
    if found.trust.key_id in met:
        return
    [public] = met.values()
    if begins_log(entry) is None or not Trust(verify, public).accepts(entry):
        raise EntryCorrupt(f"epoch {entry.epoch} brings a key that the key before did not sign")
    # The older key was lost, and its log put an end to.
    found.trust = Trust(verify, public)


def _check_signed(found: Verified) -> None:
    assert found.last is not None
    if found.trust.public is None:
        cure = "`sie log adopt`, once every process checks signatures"
        found.report.warn("signatures", "the log is of a release that did not sign it", cure)
    elif found.trust.accepts(found.last):
        found.report.ok("signatures", f"key {found.trust.key_id} vouches for all of it")
    else:
        found.report.bad(
            "signatures",
            f"the last position is not signed by key {found.trust.key_id}",
            cure=_RESTORE,
            epoch=found.last.epoch,
        )


def _checked(row: tuple[Any, ...], last: Position | None) -> Entry:
    entry = entry_of(row[:7])
    if (entry.term, entry.ts, entry.actor) != row[7:]:
        raise EntryCorrupt(f"the row of epoch {entry.epoch} has other columns than its entry")
    check_successor(last, entry)
    return entry


def _check_changes(reader: LogReader, found: Verified) -> None:
    if found.unlisted is not None:
        found.report.bad("changes", "its changes are listed wrongly", epoch=found.unlisted)
    else:
        count = reader.connection.execute("SELECT count(*) FROM change").fetchone()[0]
        found.report.ok("changes", f"{counted(count, 'change')} listed under the entities")


def _is_listed(entry: Entry, listed: Iterator[tuple[Any, ...]]) -> bool:
    wanted = [
        (entry.epoch, ordinal, change.entity_kind, change.key, change.kind)
        for ordinal, change in enumerate(entry.changes)
        if change.entity_kind in LISTED_KINDS
    ]
    # Side by side with the entries, both in order of epoch: no log is too long for it.
    return list(islice(listed, len(wanted))) == wanted


def _check_keys(reader: LogReader, found: Verified) -> None:
    assert found.last is not None
    rows = list(reader.key_rows())
    pending = dict(found.keys)
    for row in rows:
        stated = pending.pop((row.actor, row.key), None)
        right = (row.epoch, Idempotency(row.key, row.fingerprint))
        # A write that changed nothing has a row and no entry.
        if stated != right if row.changed else (stated is not None or row.epoch > found.last.epoch):
            found.report.bad(
                "keys", f"the row of key {row.key!r} is not its entry's", epoch=row.epoch
            )
            return
    if pending:
        (_, key), (epoch, _) = next(iter(pending.items()))
        found.report.bad("keys", f"key {key!r} has no row: it could be used twice", epoch=epoch)
        return
    found.report.ok("keys", f"{len(rows)} idempotency keys stand for their entries")


def _check_low_water(reader: LogReader, found: Verified) -> None:
    assert found.last is not None
    low_water = reader.low_water()
    if 1 <= low_water <= found.last.epoch:
        found.report.ok("low water", f"deltas from epoch {low_water} on")
    else:
        found.report.bad("low water", f"{low_water}, but the head is {found.last.epoch}")


def read_claim(path: Path, report: Report) -> Claim | None:
    """The claim in the sibling head file. Read it before the log: it lags it."""
    try:
        return HeadFile(path).read()
    except Untrusted as error:
        report.bad("head file", error.message)
        return None


def check_head_file(report: Report, path: Path, claim: Claim, lineage: Sequence[Entry]) -> None:
    """Hold a head file's word against a log that was verified up to its end."""
    position = report.position
    assert position is not None
    if is_of_another_log(claim, lineage):
        report.bad(
            "head file",
            f"it is of log {claim.log_id[:8]}, which {position.log_id[:8]} does not continue",
            cure="restore a backup of that log; or, to keep this one, remove the head file",
        )
    elif claim.log_id != position.log_id:
        report.warn("head file", f"it is of log {claim.log_id[:8]}, which is not the newest here")
    elif claim.epoch > position.epoch:
        report.bad(
            "head file",
            f"it has seen epoch {claim.epoch}, but the log ends at {position.epoch}: its tail is "
            "lost",
            cure="start sie-config with the broker: it takes the tail back from replicas",
            epoch=position.epoch + 1,
        )
    elif report.sound and (found := _hash_at(path, claim.epoch)) != claim.hash:
        report.bad(
            "head file",
            f"it has seen another entry: {claim.hash[:16]}…, not {found[:16]}…",
            epoch=claim.epoch,
        )
    else:
        report.ok("head file", f"confirmed: {claim.epoch}")


def _hash_at(path: Path, epoch: int) -> str:
    with LogReader.open(path) as reader:
        return reader.hash_at(epoch)
