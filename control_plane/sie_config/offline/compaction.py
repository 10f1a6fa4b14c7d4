"""Compaction from outside: through a running writer, or on a file that nobody has open.

*shell.* Promises that history stays: it moves the low water, which only rises. A running writer is
asked over HTTP and trims the stream itself. A file that is not open is verified and then marked
here, and the next start trims the stream. A damaged one keeps its mark: what the stream has below
it may be what mends the file.
"""

from pathlib import Path
from typing import Any, Final

import httpx

from sie_config.http.upkeep_routes import low_water_for
from sie_config.log.log_file import LogFile
from sie_config.log.storage_faults import LogDamaged, StoreLocked
from sie_config.offline.access import asked, asked_json
from sie_config.offline.log_reader import LogReader, NotReadable
from sie_config.offline.verification import verify_log
from sie_schemas.errors import FixRequest, error_for

__all__ = ["compact", "compact_file", "compact_through", "writers_log_id"]

_TIMEOUT_S: Final = 30.0
"""Patience with a writer that deletes the rows of a long log."""


def compact_file(log: Path, *, keep: int | None, low_water: int | None) -> dict[str, Any]:
    """Move the mark of a file that is sound.

    Raises `StoreLocked` when a writer has it open, `FixRequest`, `LogDamaged`.
    """
    with LogReader.open(log):
        # Opening to write would make one where there is none.
        pass
    file = LogFile.open(log)
    try:
        # Verified once the lock is held: nobody writes between the check and the mark.
        head, before = _sound_head(log), file.low_water()
        file.move_low_water(low_water_for(head, keep=keep, low_water=low_water))
        after = file.low_water()
    finally:
        file.close()
    return {"low_water": after, "moved": after != before, "head": head, "trimmed": False}


def _sound_head(log: Path) -> int:
    report = verify_log(log).report
    bad = report.first_bad
    if bad is not None or report.position is None:
        epoch = report.first_bad_epoch
        what = bad.message if bad is not None else "it holds no entry"
        raise LogDamaged(
            f"{log} is damaged{'' if epoch is None else f' at epoch {epoch}'}: {what}. The low "
            "water stays where it is. `sie log verify` tells all of it and the cure",
            first_bad_epoch=epoch,
        )
    return report.position.epoch


def compact_through(url: str, *, keep: int | None, low_water: int | None) -> dict[str, Any]:
    """Ask a running sie-config. Raises `NotReadable` when none answers, else its error."""
    wanted = {"keep": keep, "low_water": low_water}
    body = {name: value for name, value in wanted.items() if value is not None}
    try:
        answer = asked("POST", f"{url}/v1/configs/compact", json=body, within_s=_TIMEOUT_S)
        found: dict[str, Any] = answer.json()
    except (httpx.HTTPError, ValueError, RecursionError) as error:
        raise NotReadable(f"no sie-config answers at {url}: {error}") from error
    if answer.is_error:
        detail = found.get("detail", {})
        raise error_for(
            str(detail.get("code", "")),
            str(detail.get("message", answer.text)),
            field=detail.get("field"),
        )
    return found


def compact(log: Path, url: str, *, keep: int | None, low_water: int | None) -> dict[str, Any]:
    """The file itself if nobody has it open, else through the one who has.

    `url` is empty where nobody said where that one answers. Raises `FixRequest` then, and where it
    answers for another log.
    """
    try:
        # Tried and not asked: between a question for the lock and the work a writer may start.
        return compact_file(log, keep=keep, low_water=low_water)
    except StoreLocked as locked:
        if not url:
            raise FixRequest(
                f"a writer has {log} open: give its address with --url or SIE_CONFIG_URL"
            ) from locked
        _require_writer_of(log, url)
        return compact_through(url, keep=keep, low_water=low_water)


def _require_writer_of(log: Path, url: str) -> None:
    """A mark that is moved in somebody else's log stays moved."""
    with LogReader.open(log) as reader:
        ours = reader.log_id()
    theirs = writers_log_id(url)
    if theirs is None:
        raise NotReadable(f"no sie-config answers at {url}")
    if theirs != ours:
        raise FixRequest(
            f"{url} writes log {theirs[:8]}, and {log} is of log {ours[:8]}: give the address of "
            "its own sie-config with --url"
        )


def writers_log_id(url: str, *, within_s: float = _TIMEOUT_S) -> str | None:
    """The log of whoever answers at an address; None where no sie-config does."""
    try:
        log_id = asked_json(f"{url}/v1/configs/epoch", within_s=within_s)["log_id"]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError, KeyError, TypeError):
        return None
    return log_id if isinstance(log_id, str) else None
