"""The audit: what was changed and what was refused, as one list, newest first.

*shell.* Accepted changes come from the log itself, so none can be missing and none can be made up;
refused attempts from their own file. Promises that a reader who follows `next_before` sees each row
once.
"""

from dataclasses import dataclass
from typing import Any, Final

from sie_config.documents.moments import format_ts, parse_ts
from sie_config.past.lookup import Lookup
from sie_config.past.refusals import Refusals
from sie_config.past.timeline import Timeline
from sie_config.writer.sequencer import Sequencer
from sie_schemas.api.past import AuditRow, EntryRow
from sie_schemas.entry import ENTITY_KINDS, Entry

__all__ = [
    "ACCEPTED",
    "REFUSED",
    "AuditPage",
    "AuditQuery",
    "accepted",
    "read_audit",
    "timeline_row",
]

ACCEPTED: Final = "accepted"
REFUSED: Final = "refused"
"""Any outcome but accepted; a code names one of them."""
_CHANGES_SHOWN: Final = 20
"""One entry may change 10,000 models; its own page lists them all."""


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """The entries asked for; None is anything. Times are microseconds: since <= t < before."""

    actor: str | None = None
    kind: str | None = None
    key: str | None = None
    outcome: str | None = None
    since_us: int = 0
    before_us: int = 250_000_000_000_000_000
    limit: int = 100


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Rows newest first; `next_before` is the `before` of the next page, None at the end."""

    rows: tuple[AuditRow, ...]
    next_before: str | None


async def read_audit(
    query: AuditQuery,
    timeline: Timeline,
    lookup: Lookup,
    refusals: Refusals,
    sequencer: Sequencer,
) -> AuditPage:
    """One page of the audit."""
    found: list[tuple[int, AuditRow]] = []
    if query.outcome in {None, ACCEPTED}:
        entries = await _accepted(query, timeline, lookup, sequencer.position.epoch)
        found += [(parse_ts(entry.ts), _entry_row(entry)) for entry in entries]
    if query.outcome != ACCEPTED:
        where, parameters = _refused_where(query)
        refused = await refusals.newest_first(
            where, parameters, before_us=query.before_us, limit=query.limit + 1
        )
        found += [(row.first_us, row.row()) for row in refused]
    found.sort(key=lambda pair: pair[0], reverse=True)
    # An entry and a refusal may share a moment; the page then holds both.
    last_us = found[query.limit - 1][0] if len(found) > query.limit else query.since_us
    page = tuple(row for at, row in found if at >= last_us)
    return AuditPage(page, format_ts(last_us) if len(page) < len(found) else None)


async def _accepted(
    query: AuditQuery, timeline: Timeline, lookup: Lookup, head: int
) -> list[Entry]:
    # A moment is a place in the log, which is found faster than times are compared.
    first = await timeline.last_at(format_ts(query.since_us - 1)) + 1 if query.since_us else 1
    last = min(head, await timeline.last_at(format_ts(query.before_us - 1)))
    return await accepted(query, timeline, lookup, first=first, last=last)


async def accepted(
    query: AuditQuery, timeline: Timeline, lookup: Lookup, *, first: int, last: int
) -> list[Entry]:
    """The newest entries in [first, last] that are asked for, and one more where there is one."""
    if query.actor is not None:
        epochs = await lookup.epochs_of(
            query.actor,
            kind=query.kind,
            key=query.key,
            first=first,
            last=last,
            limit=query.limit + 1,
        )
        entries = await timeline.entries(epochs)
        return [entries[epoch] for epoch in epochs]
    named = {"entity_kind": query.kind, "entity_key": query.key}
    columns = {column: value for column, value in named.items() if value is not None}
    where = " AND ".join(f"{column} = ?" for column in columns)
    return await timeline.newest_first(
        f"epoch IN (SELECT epoch FROM change WHERE {where})" if columns else "TRUE",
        [*columns.values()],
        first=first,
        last=last,
        limit=query.limit + 1,
    )


def _refused_where(query: AuditQuery) -> tuple[str, list[Any]]:
    conditions = ["first_us >= ?"]
    parameters: list[Any] = [query.since_us]
    for column, value in (
        ("actor", query.actor),
        ("kind", query.kind),
        ("key", query.key),
        ("outcome", query.outcome),
    ):
        if value is not None and value != REFUSED:
            conditions.append(f"{column} = ?")
            parameters.append(value)
    return " AND ".join(conditions), parameters


def timeline_row(entry: Entry) -> EntryRow:
    """The same of a timeline, with the first of its changes."""
    row = _entry_row(entry)
    changes = row["changes"]
    return {**row, "changed": len(changes), "changes": changes[:_CHANGES_SHOWN]}


def _entry_row(entry: Entry) -> AuditRow:
    """An entry as a row of the audit: who, when, why, and which entities."""
    return {
        "ts": entry.ts,
        "actor": entry.actor,
        "outcome": ACCEPTED,
        "epoch": entry.epoch,
        "hash": entry.hash,
        "reason": entry.reason,
        "forced": entry.forced,
        "request_id": entry.request_id,
        "changes": [
            {"kind": change.entity_kind, "key": change.key, "verb": change.verb}
            if change.entity_kind in ENTITY_KINDS
            else {"kind": change.kind, "key": "", "verb": change.verb}
            for change in entry.changes
        ],
        "count": 1,
    }
