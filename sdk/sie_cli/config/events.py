"""`sie events`: what happened lately, and what happens now.

*shell* over the client of one command. The past is the audit's, the present the feed's. Promises
that a connection which ends is made again, and that what was missed meanwhile is shown.
"""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sie_cli.config.config_work import Work
from sie_cli.config.happenings import COLUMNS, Happening, ReplicaChanges, of_audit
from sie_cli.config.views import audited
from sie_cli.show.printing import Form, print_lines, print_rows, print_value, talk
from sie_schemas.errors import Later

__all__ = ["show_events"]

_AGAIN_S: Final = 1.0
"""Before a connection that ended is made again."""


def show_events(work: Work, number: int, since: str, *, follows: bool) -> int:
    """Print the newest rows, oldest first; then go on until somebody stops it."""
    told: dict[str, Any] = {"since": work.at(since)} if since else {}
    rows, has_more = audited(work, told, number)
    if has_more:
        talk(f"the newest {len(rows)}; -n shows more")
    changes = ReplicaChanges()
    last_id = ""
    found = [of_audit(row) for row in reversed(rows)]
    for event in work.client.follow():
        last_id = event.id or last_id
        if event.name == "replicas":
            found += changes.rows(event.data["replicas"], _now())
            break
    if not follows:
        names = [f"{row['ts']} {row['what']}" for row in found]
        print_rows(found, COLUMNS, work.form, names=names)
        return 0
    _print(work.form, found)
    try:
        for each in _followed(work, changes, last_id):
            _print(work.form, [each])
    except KeyboardInterrupt:
        return 0
    return 0


def _followed(work: Work, changes: ReplicaChanges, last_id: str) -> Iterator[Happening]:
    while True:
        try:
            for event in work.client.follow(last_id):
                if event.name == "entry":
                    yield of_audit(event.data)
                elif event.name == "reset":
                    talk(f"entries were left out: `sie history` shows those up to {event.data}")
                elif event.name == "replicas":
                    yield from changes.rows(event.data["replicas"], _now())
                if event.name != "head":
                    last_id = event.id or last_id
        except Later as error:
            talk(f"sie: {error.message}; asking again")
        time.sleep(_AGAIN_S)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _print(form: Form, rows: Sequence[Happening]) -> None:
    for row in rows:
        if form.is_whole:
            print_value(row, form)
        elif form == Form.NAME:
            print_lines([f"{row['ts']} {row['what']}"])
        else:
            print_lines([f"{row['ts']}  {row['what']:<8} {row['who']}  {row['message']}"])
