"""Restoring: a backup becomes the log of a data folder that has none.

*shell.* Holds the folder's lock meanwhile. Promises that nothing which the head file or the stream
has seen is given up silently, nor the head file of another log. Missing entries are taken back from
the stream if they hang on the backup's chain, else the restore is refused. The operator may name
the epoch after which entries are discarded. Then a new log begins there, which says what it
supersedes and which range is lost. The log appears in one step; a crash before it leaves a partial
file that the next restore removes.
"""

import asyncio
import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from sie_config.keys.key_file import key_path, make_key, read_key
from sie_config.log.head_file import HeadFile
from sie_config.log.key_rows import key_rows_of
from sie_config.log.log_file import LogFile
from sie_config.log.replay import step
from sie_config.log.witnesses import Behind, Claim, Confirmed, Forked, is_of_another_log, judge
from sie_config.log.writer_lock import take_lock
from sie_config.offline.backup import copy_log, read_manifest
from sie_config.offline.findings import Report
from sie_config.offline.log_reader import LOG_NAME, LogReader
from sie_config.offline.others import stream_after
from sie_config.offline.verification import Verified, verify_log
from sie_config.writer.draft import Draft, Tenure
from sie_config.writer.rules import Index
from sie_core.chain import ChainBroken, check_successor, position_of
from sie_core.counted import counted
from sie_core.registry import Registry
from sie_core.trust import Trust, keys_of, vouched_for
from sie_runtime.broker.bus import BusSettings
from sie_runtime.signing import SigningKey, verify
from sie_schemas.entry import Change, ChangeKind, Entry, Supersedes, log_id8, put_key
from sie_schemas.errors import FixRequest, SIEError, Untrusted

__all__ = ["Discard", "restore"]

_PAGE: Final = 500
"""Entries sent at a time; a page of the longest ones stays below the largest body."""


@dataclass(frozen=True, slots=True)
class Discard:
    """The operator gives up every entry after `after`; who and why goes into the log."""

    after: int
    actor: str
    reason: str


def restore(
    backup: Path,
    folder: Path,
    *,
    bus: BusSettings | None,
    discard: Discard | None,
    incomplete: bool = False,
) -> Report:
    """Restore a backup into a folder.

    `incomplete` puts a log in place that lacks entries which somebody has seen. The writer then
    starts in recovery, and takes them back from replicas that have them. Raises `FixRequest`,
    `NotReadable`, `StoreLocked`, and `Untrusted` for a refusal.
    """
    manifest = read_manifest(backup)
    path = folder / LOG_NAME
    lock = take_lock(path.with_name(path.name + ".lock"))
    partial = path.with_name(path.name + ".restoring")
    try:
        _remove(partial)
        if path.exists():
            raise FixRequest(f"{path} is there already; move that folder away, or name another")
        copy_log(backup, partial)
        verified = _verified(partial, manifest.hash)
        # The head file of the log that was here outlives it, and knows how far that one went.
        own = HeadFile(path).read()
        foreign = own if own and is_of_another_log(own, verified.lineage) else None
        if foreign is not None:
            _check_given_up(foreign, verified, discard)
        claims = _complete(partial, verified, bus)
        claims += [own] if own is not None else []
        if discard is None:
            _check_complete(partial, verified, claims, incomplete=incomplete)
        else:
            _discard(partial, verified, claims, discard, key_path(path))
        if foreign is not None:
            # Before the log is there: a crash never leaves it beside another's head.
            HeadFile(path).remove()
        _put_in_place(partial, path, own, verified)
        _tell_of_key(key_path(path), verified)
        return verified.report
    finally:
        _remove(partial)
        os.close(lock)


def _check_given_up(own: Claim, verified: Verified, discard: Discard | None) -> None:
    assert verified.last is not None
    told = (
        f"{own}, but the backup is of log {log_id8(verified.last.log_id)}, which does not continue "
        "that one"
    )
    if discard is None:
        raise Untrusted(
            f"{told}. Restore a backup of log {log_id8(own.log_id)}; or restore into another "
            "folder; or give that log up: move its head file away, or --discard-after "
            f"{verified.last.epoch} begins a new log"
        )
    verified.report.warn("head file", f"{told}: what it has seen is given up")


def _tell_of_key(path: Path, verified: Verified) -> None:
    """A backup has no private key in it: say so before the writer does."""
    named = verified.trust.key_id
    key = read_key(path)
    if named and (key is None or key.key_id != named):
        verified.report.warn(
            "key",
            f"the log is signed by key {named}, and {path} is not that one",
            "put the key of the old folder there before you start sie-config",
        )


def _verified(partial: Path, expected: str) -> Verified:
    verified = verify_log(partial)
    bad = verified.report.first_bad
    if bad is not None:
        raise Untrusted(f"the backup is damaged: {bad.what}: {bad.message}")
    if verified.last is None or verified.last.hash != expected:
        raise Untrusted("the backup ends with another entry than its manifest says")
    return verified


def _complete(partial: Path, verified: Verified, bus: BusSettings | None) -> list[Claim]:
    """Take back what the stream has; gives what it has seen."""
    if bus is None:
        return []
    assert verified.last is not None
    with LogReader.open(partial) as reader:
        reading = stream_after(bus, position_of(verified.last), reader.hash_at)
        claims, offered = asyncio.run(reading)
    # A forged claim would refuse a good backup; entries are judged each by itself.
    claims = [claim for claim in claims if _is_vouched_for(claim, verified)]
    taken = _successors(verified, offered)
    if taken:
        verified.registry, verified.last = _append(partial, verified.registry, taken), taken[-1]
        for entry in taken:
            verified.trust = verified.trust.after(entry)
        verified.report.position = position_of(taken[-1])
        verified.report.ok(
            "stream", f"{counted(len(taken), 'entry', 'entries')} after the backup taken back"
        )
    return claims


def _append(partial: Path, registry: Registry, taken: Sequence[Entry]) -> Registry:
    """Add entries and the rows of their keys to a file; the registry after them."""
    file = LogFile.open(partial)
    try:
        for start in range(0, len(taken), _PAGE):
            page = taken[start : start + _PAGE]
            file.append(page, key_rows_of(page, registry))
            for entry in page:
                registry = step(registry, entry)
    finally:
        file.close()
    return registry


def _is_vouched_for(claim: Claim, verified: Verified) -> bool:
    """True if a key of the log signed what the stream has; a log without keys is believed."""
    keys = keys_of(verified.lineage)
    return not keys or vouched_for(claim.proof, keys, verify)


def _successors(verified: Verified, offered: Sequence[Entry]) -> list[Entry]:
    assert verified.last is not None
    registry, position = verified.registry, position_of(verified.last)
    taken: list[Entry] = []
    for entry in verified.trust.proven(offered):
        try:
            check_successor(position, entry)
            registry = step(registry, entry)
        except (ChainBroken, SIEError) as error:
            verified.report.warn("stream", f"epoch {entry.epoch} on it is refused: {error}")
            break
        position = position_of(entry)
        taken.append(entry)
    return taken


def _check_complete(
    partial: Path, verified: Verified, claims: Sequence[Claim], *, incomplete: bool
) -> None:
    assert verified.last is not None
    head = position_of(verified.last)
    hashes = _hashes(partial, {claim.epoch for claim in claims})
    match judge(head, hashes.get, claims):
        case Confirmed():
            verified.report.ok("restore", f"the log is whole up to {head}, as far as was seen")
        case Behind(claim) if incomplete:
            verified.report.warn(
                "restore",
                f"{claim}, but the log ends at {head}",
                "start sie-config: it takes the missing entries back from replicas, or says that "
                "nobody has them",
            )
        case Behind(claim):
            raise Untrusted(
                f"{claim}, but what can be restored ends at {head}: epochs {head.epoch + 1} to "
                f"{claim.epoch} would be lost. Give --nats-url to take them back from the stream; "
                "--incomplete to let sie-config ask the replicas; or --discard-after "
                f"{head.epoch} to give them up"
            )
        case Forked(claim):
            raise Untrusted(
                f"{claim} with another hash than the backup has at that epoch. Restore an older "
                f"backup to keep theirs; --discard-after {head.epoch} keeps this one's, and "
                f"{claim.epoch - 1} neither; both begin a new log"
            )


def _discard(
    partial: Path, verified: Verified, claims: Sequence[Claim], discard: Discard, key_file: Path
) -> None:
    """Replace the copy by a new log that goes on after `discard.after`."""
    assert verified.last is not None
    if not 1 <= discard.after <= verified.last.epoch:
        raise FixRequest(
            f"--discard-after takes an epoch of the log, 1 to {verified.last.epoch}, not "
            f"{discard.after}"
        )
    lost = _lost(partial, verified.last, claims, discard.after)
    prefix = verify_log(partial, until=discard.after)
    assert prefix.last is not None
    last = prefix.last
    supersedes = Supersedes(last.log_id, last.epoch, last.hash, lost)
    tenure = Tenure(secrets.token_hex(16), last.term + 1, secrets.token_hex(8))
    draft = Draft(prefix.registry, Index(), last, tenure, time.time_ns() // 1000)
    changes = [Change(kind=ChangeKind.LOG_BEGIN, supersedes=supersedes)]
    key = read_key(key_file) or make_key(key_file)
    if key.key_id != prefix.trust.key_id:
        _check_new_key(key, key_file, prefix)
        changes.append(put_key(key.document))
        verified.report.warn(
            "key",
            f"the new log is signed by key {key.key_id}, which the old log does not name",
            "gateways and workers follow it once each was told to: `sie replica resync`",
        )
    entry = key.signed(draft.begin(changes, actor=discard.actor, reason=discard.reason))
    fresh = partial.with_name(partial.name + ".anew")
    _remove(fresh)
    try:
        _copy_prefix(partial, fresh, last.epoch, entry)
        _remove(partial)
        fresh.replace(partial)
    finally:
        _remove(fresh)
    verified.last, verified.registry = entry, draft.registry
    verified.trust = Trust(verify, key.public)
    verified.report.position = position_of(entry)
    given_up = f"epochs {lost[0]} to {lost[1]} of {last.log_id[:8]} are given up" if lost else ""
    verified.report.warn(
        "restore", f"log {entry.log_id[:8]} begins at epoch {entry.epoch}; {given_up or 'no loss'}"
    )


def _check_new_key(key: SigningKey, key_file: Path, prefix: Verified) -> None:
    if key.key_id in keys_of(prefix.lineage):
        raise FixRequest(
            f"{key_file} is a key that this log has changed for another: no replica believes "
            f"it again. Put key {prefix.trust.key_id} there; or move the file away, and a new "
            "key is made"
        )


def _lost(
    partial: Path, last: Entry, claims: Sequence[Claim], after: int
) -> tuple[int, int] | None:
    """The epochs of the old log of which an entry is given up: of the file, or of another copy."""
    hashes = _hashes(partial, {claim.epoch for claim in claims})
    others = [c.epoch for c in claims if c.log_id == last.log_id and hashes.get(c.epoch) != c.hash]
    first, until = min([after + 1, *others]), max([last.epoch, *others])
    return (first, until) if first <= until else None


def _copy_prefix(source: Path, target: Path, until: int, begin: Entry) -> None:
    # Appended anew: the triggers of the copy let nobody delete the rows after it.
    file = LogFile.open(target)
    try:
        with LogReader.open(source) as reader:
            rows = islice(reader.entries(), until)
            while page := list(islice(rows, _PAGE)):
                file.append(page)
            keys = [row for row in reader.key_rows() if row.epoch <= until]
            low_water = min(reader.low_water(), begin.epoch)
        file.append([begin], keys)
        file.move_low_water(low_water)
    finally:
        file.close()


def _put_in_place(partial: Path, path: Path, own: Claim | None, verified: Verified) -> None:
    assert verified.last is not None
    head = position_of(verified.last)
    # In one file before it gets its name: a copy in WAL mode, nothing beside it.
    LogFile.open(partial).close()
    # A head that goes further stays: by it the writer knows that it has to recover.
    evidence = own is not None and own.log_id == head.log_id and own.epoch > head.epoch
    # A crash before the next line leaves no log. After it: the log, and a head file that lags it.
    partial.replace(path)
    if not evidence:
        HeadFile(path).replace(head)


def _hashes(path: Path, epochs: set[int]) -> dict[int, str]:
    with LogReader.open(path) as reader:
        found = (reader.hash_at(epoch) for epoch in epochs)
        return {epoch: hash_ for epoch, hash_ in zip(epochs, found, strict=True) if hash_}


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal", ".lock"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
