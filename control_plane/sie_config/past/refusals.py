"""Refused attempts: who tried what and was turned away, in a file of its own.

*shell.* Owns `refused.sqlite` beside the log. Attempts of one actor that fail alike in one minute
are one row with a count. Nobody can fill the writer's disk by failing. A minute takes a bounded
number of rows, the file a bounded number in all, and the oldest leave first. The file is no part of
the log. Rows that cannot be written are kept for the next flush, within the same bound, and nothing
else happens. Accepted changes are not here: they are the log.
"""

import asyncio
import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

import aiosqlite
from prometheus_client import Gauge

from sie_config.documents.moments import format_ts
from sie_config.log.storage_faults import StorageFailed
from sie_runtime.process.waiting import first_of
from sie_schemas.api.past import AuditRow

__all__ = ["Refusal", "Refusals"]

_LOG: Final = logging.getLogger(__name__)
_UNWRITTEN: Final = Gauge(
    "sie_config_refusals_unwritten", "refused attempts that the last flush left unrecorded"
)
_MINUTE_US: Final = 60_000_000
"""A minute."""
_TEXT_MAX: Final = 300
"""Strangers write these texts: longer ones would fill the disk with rows that nobody reads."""
_OTHERS: Final = "(others)"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS refused (
  first_us INTEGER PRIMARY KEY,
  last_us INTEGER NOT NULL,
  actor TEXT NOT NULL,
  outcome TEXT NOT NULL,
  status INTEGER NOT NULL,
  method TEXT NOT NULL,
  path TEXT NOT NULL,
  kind TEXT NOT NULL,
  key TEXT NOT NULL,
  reason TEXT NOT NULL,
  message TEXT NOT NULL,
  request_id TEXT NOT NULL,
  count INTEGER NOT NULL
) STRICT
"""
_COLUMNS: Final = (
    "first_us, last_us, actor, outcome, status, method, path, kind, key, reason, message,"
    " request_id, count"
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Attempts that failed alike. `first_us` is unique: it is the row's name."""

    first_us: int
    last_us: int
    actor: str
    outcome: str
    status: int
    method: str
    path: str
    kind: str
    key: str
    reason: str
    message: str
    request_id: str
    count: int = 1

    def row(self) -> AuditRow:
        """As the audit shows it."""
        return {
            "ts": format_ts(self.first_us),
            "last_ts": format_ts(self.last_us),
            "actor": self.actor,
            "outcome": self.outcome,
            "status": self.status,
            "method": self.method,
            "path": self.path,
            "kind": self.kind,
            "key": self.key,
            "reason": self.reason,
            "message": self.message,
            "request_id": self.request_id,
            "count": self.count,
        }


class Refusals:
    """The refused attempts of one writer. Notes are kept in memory until the next flush."""

    def __init__(
        self,
        path: Path,
        *,
        now_us: Callable[[], int],
        rows_max: int,
        rows_per_minute: int,
    ) -> None:
        self._path = path
        self._now_us = now_us
        self._rows_max = rows_max
        self._rows_per_minute = rows_per_minute
        self._opening: asyncio.Future[aiosqlite.Connection] | None = None
        self._writing = asyncio.Lock()
        self._connection: aiosqlite.Connection | None = None
        self._minute = 0
        self._last_us = 0
        self._rows: dict[tuple[str, ...], Refusal] = {}
        self._unwritten: Counter[tuple[str, ...]] = Counter()
        """The attempts of each row that are not on disk."""
        self._noted = asyncio.Event()
        self._is_failing = False

    @property
    def unwritten(self) -> int:
        """The attempts that are noted and not on disk yet."""
        return self._unwritten.total()

    def note(
        self,
        *,
        actor: str,
        outcome: str,
        status: int,
        method: str,
        path: str,
        kind: str,
        key: str,
        reason: str,
        message: str,
        request_id: str,
    ) -> None:
        """Note an attempt. Never fails and never waits."""
        now = max(self._now_us(), self._last_us + 1)
        self._last_us = now
        self._turn_minute(now // _MINUTE_US)
        texts = [text[:_TEXT_MAX] for text in (actor, outcome, method, path)]
        name = tuple(texts)
        if name not in self._rows and len(self._rows) >= self._rows_per_minute:
            name = (_OTHERS, outcome, "", "")
        known = self._rows.get(name)
        if known is not None:
            self._rows[name] = replace(known, last_us=now, count=known.count + 1)
        else:
            who, _, how, where = name
            full = who != _OTHERS
            self._rows[name] = Refusal(
                first_us=now,
                last_us=now,
                actor=who,
                outcome=outcome,
                status=status,
                method=how,
                path=where,
                kind=kind if full else "",
                key=key[:_TEXT_MAX] if full else "",
                reason=reason[:_TEXT_MAX] if full else "",
                message=message[:_TEXT_MAX] if full else "",
                request_id=request_id[:_TEXT_MAX] if full else "",
            )
        self._unwritten[name] += 1
        self._noted.set()

    async def flush(self) -> None:
        """Write what was noted before. What cannot be written is left to the next flush."""
        # One at a time: a reader's flush must not return while another has taken its rows and not
        # yet written them, and two would begin a transaction inside a transaction.
        async with self._writing:
            if not self._unwritten:
                return
            try:
                connection = await self._connected()
                taken = self._unwritten.copy()
                await self._write(connection, [self._rows[name] for name in taken])
                # Not before: a row that failed, or was left in the middle, is written again, by its
                # name and with its whole count.
                self._unwritten -= taken
                self._is_failing = False
            except (sqlite3.Error, OSError) as error:
                if not self._is_failing:
                    _LOG.warning(
                        "refused attempts are not recorded yet",
                        extra={"reason": str(error), "attempts": self.unwritten},
                    )
                self._is_failing = True
                # Also if nobody else is refused: a disk is mended without a word.
                self._noted.set()
            _UNWRITTEN.set(self.unwritten)

    async def run(self, stop: asyncio.Event, *, every_s: float) -> None:
        """Flush what was noted after `every_s`, and at the end."""
        while not stop.is_set():
            await first_of(stop.wait(), self._noted.wait())
            self._noted.clear()
            await first_of(stop.wait(), timeout_s=every_s)
            await self.flush()

    async def newest_first(
        self, where: str, parameters: Sequence[Any], *, before_us: int, limit: int
    ) -> list[Refusal]:
        """Rows that first came before a moment and that a condition picks, newest first.

        Raises `StorageFailed`.
        """
        await self.flush()
        if self._connection is None and not self._path.exists():
            return []
        try:
            connection = await self._connected()
            rows = await connection.execute_fetchall(
                f"SELECT {_COLUMNS} FROM refused WHERE first_us < ? AND {where}"
                " ORDER BY first_us DESC LIMIT ?",
                (before_us, *parameters, limit),
            )
            found = [_refusal(tuple(row)) for row in rows]
        except (sqlite3.Error, UnicodeDecodeError, ValueError) as error:
            raise StorageFailed(
                f"refused attempts could not be read: {error}. Stop sie-config and remove "
                f"{self._path}: nothing of the log is lost with it"
            ) from error
        return found

    async def close(self) -> None:
        """Flush and close."""
        await self.flush()
        if self._opening is not None:
            await asyncio.gather(self._opening, return_exceptions=True)
        if self._connection is not None:
            await self._connection.close()

    def _turn_minute(self, minute: int) -> None:
        if minute == self._minute:
            return
        # What is not on disk yet stays known until it is.
        self._rows = {name: self._rows[name] for name in self._unwritten}
        self._minute = minute

    def _go_on_after(self, newest_us: int) -> None:
        """Name what was noted before the file was read: a clock may have gone back since."""
        first_us = min((row.first_us for row in self._rows.values()), default=newest_us + 1)
        later = max(0, newest_us + 1 - first_us)
        self._rows = {
            name: replace(row, first_us=row.first_us + later, last_us=row.last_us + later)
            for name, row in self._rows.items()
        }
        self._last_us = max(self._last_us + later, newest_us)

    async def _write(self, connection: aiosqlite.Connection, pending: Sequence[Refusal]) -> None:
        try:
            await connection.execute("BEGIN IMMEDIATE")
            await connection.executemany(
                f"INSERT INTO refused ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)"
                " ON CONFLICT (first_us) DO UPDATE"
                " SET last_us = excluded.last_us, count = excluded.count",
                [_values(row) for row in pending],
            )
            await connection.execute(
                "DELETE FROM refused WHERE first_us <= coalesce((SELECT first_us FROM refused"
                " ORDER BY first_us DESC LIMIT 1 OFFSET ?), -1)",
                (self._rows_max,),
            )
            await connection.execute("COMMIT")
        except BaseException:
            # Also for whoever left in the middle: no later flush could begin a transaction in it.
            await connection.rollback()
            raise

    async def _connected(self) -> aiosqlite.Connection:
        opening = self._opening
        if opening is not None:
            # Begun for somebody else, who may have left: that it failed says nothing of the disk
            # by now.
            await asyncio.wait([opening])
        if self._opening is opening and (opening is None or opening.exception() is not None):
            self._opening = asyncio.ensure_future(self._open())
        assert self._opening is not None
        # Whoever leaves meanwhile leaves it to the next: a connection has a thread, which nobody
        # would end.
        return await asyncio.shield(self._opening)

    async def _open(self) -> aiosqlite.Connection:
        connection = await aiosqlite.connect(self._path, isolation_level=None)
        try:
            self._go_on_after(await _newest_us(connection))
        except sqlite3.Error:
            # Every flush tries again.
            await connection.close()
            raise
        self._connection = connection
        return connection


async def _newest_us(connection: aiosqlite.Connection) -> int:
    """Make the table where there is none; gives the name of the newest row."""
    # Its row is fetched: a statement that is not at its end holds the file's lock.
    await connection.execute_fetchall("PRAGMA journal_mode = WAL")
    await connection.execute("PRAGMA synchronous = NORMAL")
    await connection.execute(_SCHEMA)
    rows = await connection.execute_fetchall("SELECT max(first_us) FROM refused")
    return next(iter(rows))[0] or 0


def _refusal(row: tuple[Any, ...]) -> Refusal:
    """A row as it was written. Raises `ValueError`: a damaged page can give a value of any type."""
    for field, value in zip(fields(Refusal), row, strict=True):
        if not isinstance(value, int if field.type is int else str):
            raise ValueError(f"{field.name} of a row is {type(value).__name__}")
    return Refusal(*row)


def _values(row: Refusal) -> tuple[Any, ...]:
    return (
        row.first_us,
        row.last_us,
        row.actor,
        row.outcome,
        row.status,
        row.method,
        row.path,
        row.kind,
        row.key,
        row.reason,
        row.message,
        row.request_id,
        row.count,
    )
