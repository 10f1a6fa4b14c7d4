"""Looking: what is, what was, who made it so, and where the replicas are.

*shell* over the client of one command. Reads only. What a table leaves out is said on stderr.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from sie_cli.config.config_rows import (
    COLUMNS,
    audit_row,
    change_line,
    entity_row,
    entry_row,
    field_line,
    replica_row,
    shortened,
    trouble_lines,
    verified_lines,
)
from sie_cli.config.config_work import Work
from sie_cli.config.kinds import kind_named, kinds_named
from sie_cli.config.selecting import Selector
from sie_cli.show.exit_statuses import DIFFERS
from sie_cli.show.printing import Form, print_lines, print_rows, print_value, talk
from sie_core.nearest import nearest
from sie_schemas.api.past import AuditRow
from sie_schemas.errors import CODES, FixRequest
from sie_sdk.config.answers import Listing
from sie_sdk.config.calls import Kind

__all__ = [
    "audit",
    "blame",
    "describe",
    "get",
    "history",
    "replicas",
    "show",
    "verify",
    "watch",
]

_POLL_S: Final = 20.0
"""Below the 30 s after which proxies give a silent connection up."""
_SHOWN_DIGITS: Final = 12
"""As git shows a hash: enough to compare by eye."""
_PAGE: Final = 1000
"""The largest page that sie-config gives."""


def get(work: Work, kind_name: str, names: Sequence[str], selector: str, at: str) -> int:
    """Entities of a kind or of all, or those that are named."""
    kinds = kinds_named(kind_name)
    chosen = Selector(selector)
    moment = work.at(at)
    if names:
        kind = kind_named(kind_name)
        rows = [(kind, work.entity(kind, name, at=moment)) for name in names]
    else:
        rows = [(kind, row) for kind in kinds for row in work.client.entities(kind, at=moment)]
    if selector:
        chosen.check([row["document"] for _, row in rows])
        rows = [(kind, row) for kind, row in rows if chosen.takes(row["document"])]
    if work.form.is_whole:
        print_value(
            _whole(rows, work.form, is_one=len(names) == 1, named=len(kinds) > 1), work.form
        )
        return 0
    if not rows:
        # A heading alone looks as if something were still to come.
        sort = kinds[0] if len(kinds) == 1 else "entity"
        talk(f"no {sort} {'matches' if selector else 'is there'}{f' at {at}' if at else ''}")
    wanted = [kind for kind in kinds if any(each == kind for each, _ in rows)]
    for number, kind in enumerate(wanted):
        if number and work.form != Form.NAME:
            print_lines([""])
        _print_kind(work, kind, [row for each, row in rows if each == kind])
    return 0


def _whole(
    rows: Sequence[tuple[Kind, Mapping[str, Any]]], form: Form, *, is_one: bool, named: bool
) -> Any:
    if is_one:
        kind, row = rows[0]
        return {"kind": kind} | row["document"] if form == Form.YAML else row
    return [({"kind": kind} if named else {}) | dict(row) for kind, row in rows]


def _print_kind(work: Work, kind: Kind, rows: Sequence[Mapping[str, Any]]) -> None:
    shown = [entity_row(kind, row) for row in rows]
    names = [f"{kind}/{row['name']}" for row in shown]
    print_rows(shown, COLUMNS[kind], work.form, more=["source", "etag"], names=names)


def describe(work: Work, kind_name: str, name: str) -> int:
    """One entity, where its fields came from, and its history."""
    kind = kind_named(kind_name)
    found = work.entity(kind, name)
    fields, changes = work.client.blame(kind, name), work.client.history(kind, name)
    if work.form == Form.NAME:
        print_lines([f"{kind}/{name}"])
    elif work.form.is_whole:
        print_value({"kind": kind, **found, "fields": fields, "history": changes}, work.form)
    else:
        lines = [f"{kind} {name}, since epoch {found['modified_epoch']}", "fields"]
        lines += [f"  {field_line(row)}" for row in fields]
        print_lines([*lines, "history", *(f"  {change_line(row)}" for row in changes)])
    return 0


def history(work: Work, kind_name: str, name: str, number: int, at: str) -> int:
    """The newest changes up to a moment, oldest of them first."""
    if name:
        kind, until = kind_named(kind_name), work.at(at)
        with work.naming(kind, name, at=until):
            found = work.client.history(kind, name, at=until)
        rows: Sequence[Mapping[str, Any]] = found[-number:]
        count = len(found)
    else:
        moment = work.at(at)
        # For the epoch of a time: the difference of a moment to itself is empty, and names it.
        place = work.client.diff(moment, moment)["to"] if moment else work.client.head()
        count = place["epoch"]
        page = work.client.entries(after=max(0, count - number), limit=min(number, count))
        rows = [entry_row(envelope) for envelope in page]
    if count > len(rows):
        talk(f"the newest {len(rows)} of {count}; -n shows more")
    if not work.form.is_whole:
        rows = [shortened(row) for row in rows]
    columns = ["epoch", "ts", "actor", "kind" if name else "changes", "reason"]
    names = [str(row["epoch"]) for row in rows]
    print_rows(rows, columns, work.form, more=["request_id", "hash"], names=names)
    return 0


def blame(work: Work, kind_name: str, name: str, at: str) -> int:
    """Print the origin of each field."""
    kind, moment = kind_named(kind_name), work.at(at)
    with work.naming(kind, name, at=moment):
        rows = work.client.blame(kind, name, at=moment)
    columns = ["path", "value", "epoch", "ts", "actor", "reason"]
    print_rows(rows, columns, work.form, more=["hash"], names=[row["path"] for row in rows])
    return 0


def show(work: Work, moment: str) -> int:
    """The entry of a moment, and what it changed."""
    told = work.at(moment) or ""
    epoch = int(told) if told.isdecimal() else int(work.client.diff(told, told)["to"]["epoch"])
    found = work.client.entry(epoch)
    changed = work.client.diff(epoch - 1, epoch)["human"] if epoch > 1 else []
    if work.form == Form.NAME:
        print_lines([str(epoch)])
    else:
        print_value(entry_row(found) | {"changed": changed}, work.form)
    return 0


def watch(work: Work, start: int | None, count: int) -> int:
    """Entries as they come, until there were so many or somebody stops it."""
    try:
        return _watch(work, start, count)
    except KeyboardInterrupt:
        return 0


def _watch(work: Work, start: int | None, count: int) -> int:
    after = work.client.head()["epoch"] if start is None else start
    shown = 0
    while True:
        for envelope in work.client.entries(after=after, limit=_PAGE):
            row = entry_row(envelope)
            after = row["epoch"]
            if work.form.is_whole:
                print_value(row, work.form)
            else:
                named = work.form == Form.NAME
                print_lines([str(row["epoch"]) if named else change_line(row)])
            shown += 1
            if shown == count:
                return 0
        work.client.poll(after=after, wait_s=_POLL_S)


def replicas(work: Work) -> int:
    """Print the place of each replica; status 1 unless all live ones are at the head."""
    view = work.client.replicas()
    if work.form.is_whole:
        print_value(view, work.form)
    else:
        talk(f"head: epoch {view['epoch']}, digest {view['digest'][:_SHOWN_DIGITS]}")
        columns = ["role", "id", "epoch", "lag", "lag_s", "state", "live", "converged"]
        names = [f"{row['role']}/{row['id']}" for row in view["replicas"]]
        more = ["age_s", "digest", "life", "shares_name", "reason"]
        shown = [replica_row(row) for row in view["replicas"]]
        print_rows(shown, columns, work.form, more=more, names=names)
        for line in trouble_lines(view["replicas"]):
            talk(line)
    return 0 if view["converged"] else DIFFERS


def verify(work: Work) -> int:
    """A round of the self-check; status 1 where something is not as the log says."""
    found = work.client.verify()
    if work.form.is_whole:
        print_value(found, work.form)
    else:
        print_lines(verified_lines(found))
    return 0 if found["sound"] else DIFFERS


def audit(work: Work, filters: Mapping[str, str], number: int) -> int:
    """The newest rows of the audit, newest first."""
    told: dict[str, Any] = {name: text for name, text in filters.items() if text}
    told |= {name: work.at(told[name]) for name in ("since", "before") if name in told}
    if "kind" in told:
        told["kind"] = kind_named(told["kind"])
    _check_outcome(told.get("outcome", ""))
    rows, has_more = audited(work, told, number)
    if not rows:
        talk("nothing of the audit matches")
    if has_more:
        talk(f"the newest {len(rows)}; -n shows more")
    shown = [audit_row(row) for row in rows]
    if work.form.is_whole:
        print_value(rows, work.form)
    else:
        columns = ["ts", "actor", "outcome", "what", "count", "reason"]
        names = [row["ts"] for row in shown]
        print_rows(shown, columns, work.form, more=["message", "request_id"], names=names)
    return 0


def _check_outcome(outcome: str) -> None:
    """Raises `FixRequest`: a word that no row has would show an empty list, as if all were well."""
    words = ("accepted", "refused", *CODES)
    if outcome and outcome not in words:
        meant = nearest(outcome, words)
        raise FixRequest(
            f"--outcome knows no {outcome!r}: it is accepted, refused, or the code of a refusal, "
            f"like {meant or 'FORBIDDEN'}"
        )


def audited(work: Work, told: Mapping[str, Any], number: int) -> tuple[list[AuditRow], bool]:
    """The newest rows of the audit, and true where there are more."""
    asked = dict(told)
    found = Listing(
        "rows", str(asked.get("before") or ""), work.client.base_url, leads="next_before"
    )
    while True:
        left = number - len(found.rows)
        has_more = found.take(work.client.audit(**asked, limit=min(_PAGE, left)))
        if not has_more or len(found.rows) >= number:
            return cast(list[AuditRow], found.rows), has_more
        asked["before"] = found.after
