"""The keys of a log that nobody has open: adopting an unsigned one, and changing the key.

*shell.* Both verify the log first and append one `key.put` under its lock, with who and why.
Promises that a crash at any moment leaves a log that can be written. Before the entry that is with
the old key, after it with the new one, which waits beside it.
"""

import asyncio
import time
from pathlib import Path

from sie_config.keys.key_file import begin_change, end_change, key_path, make_key, read_key
from sie_config.log.log_file import LogFile
from sie_config.offline.findings import Report
from sie_config.offline.log_reader import LogReader
from sie_config.offline.others import stream_after
from sie_config.offline.verification import Verified, verify_log
from sie_config.writer.draft import Draft, Tenure
from sie_config.writer.rules import Index
from sie_core.chain import position_of
from sie_runtime.broker.bus import BusSettings
from sie_runtime.signing import SigningKey
from sie_schemas.entry import put_key
from sie_schemas.errors import FixRequest, Untrusted

__all__ = ["adopt", "change_key"]


def adopt(
    log: Path, *, key_file: Path | None, bus: BusSettings | None, actor: str, reason: str
) -> Report:
    """Sign a log of a release before signatures, with the key beside it or a new one.

    What the broker's stream has beyond the file is unsigned as well, and would be lost: with `bus`
    such a log is refused. Raises `FixRequest`, `Untrusted`, `NotReadable`, `StoreLocked`.
    """
    path = key_file or key_path(log)
    verified = _sound(log)
    if verified.trust.public is not None:
        raise FixRequest(f"the log is signed already, by key {verified.trust.key_id}")
    _check_stream(log, verified, bus)
    key = read_key(path) or make_key(path)
    _append_key(log, verified, key, signer=key, actor=actor, reason=reason)
    verified.report.ok("adopt", f"signed from epoch {_head(verified) + 1} on by key {key.key_id}")
    return verified.report


def change_key(log: Path, *, key_file: Path | None, actor: str, reason: str) -> Report:
    """Have a new key sign what follows; the old one signs that. Raises as `adopt`."""
    path = key_file or key_path(log)
    verified = _sound(log)
    old = read_key(path)
    if old is None or old.key_id != verified.trust.key_id:
        raise FixRequest(
            f"the log is signed by key {verified.trust.key_id or 'nobody'}, which {path} does not "
            "hold: only the key of today can name the next"
        )
    key = begin_change(path)
    _append_key(log, verified, key, signer=old, actor=actor, reason=reason)
    # A crash before the next line leaves both keys; a start takes the one that the log names.
    end_change(path)
    verified.report.ok("key", f"{key.key_id} signs what follows; {old.key_id} signed that")
    return verified.report


def _sound(log: Path) -> Verified:
    verified = verify_log(log)
    bad = verified.report.first_bad
    if bad is not None or verified.last is None:
        raise Untrusted(f"the log is damaged: {bad.message if bad else 'it is empty'}")
    return verified


def _check_stream(log: Path, verified: Verified, bus: BusSettings | None) -> None:
    if bus is None or verified.last is None:
        return
    with LogReader.open(log) as reader:
        position = position_of(verified.last)
        claims, _ = asyncio.run(stream_after(bus, position, reader.hash_at))
    ahead = max((claim.epoch for claim in claims), default=0)
    if ahead > position.epoch:
        raise Untrusted(
            f"the stream goes up to epoch {ahead}, the log to {position}: start the release that "
            "wrote it once more, so that it takes back what it lacks, and stop it"
        )


def _append_key(
    log: Path, verified: Verified, key: SigningKey, *, signer: SigningKey, actor: str, reason: str
) -> None:
    last = verified.last
    assert last is not None
    tenure = Tenure(last.log_id, last.term, last.writer)
    # An empty index: a key touches no entity, and the rules of entities are not asked.
    draft = Draft(verified.registry, Index(), last, tenure, time.time_ns() // 1000)
    entry = signer.signed(draft.begin([put_key(key.document)], actor=actor, reason=reason))
    file = LogFile.open(log)
    try:
        # The triggers refuse it if somebody wrote meanwhile.
        file.append([entry])
    finally:
        file.close()
    verified.report.position = position_of(entry)


def _head(verified: Verified) -> int:
    assert verified.last is not None
    return verified.last.epoch
