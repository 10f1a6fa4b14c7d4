"""`sie events`: what happened lately, and what happens now.

*shell* over the client of one command. The past is the audit's, the present the feed's. Promises
that a connection which ends is made again, and that what was missed meanwhile is shown.
"""

import time
from collections.abc import Container, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sie_cli.config.config_work import Work
from sie_cli.config.happenings import COLUMNS, Happening, ReplicaChanges, of_audit
from sie_cli.config.views import audited
from sie_cli.show.printing import Form, print_lines, print_rows, print_value, talk
from sie_schemas.errors import Later
from sie_sdk.config.feed import FeedEvent

__all__ = ["show_events"]

_AGAIN_S: Final = 1.0
"""Before a connection that ended is made again."""


def show_events(
    work: Work, number: int, since: str, *, follows: bool, again_s: float = _AGAIN_S
) -> int:
    """Print the newest rows, oldest first; then go on until somebody stops it."""
    told: dict[str, Any] = {"since": work.at(since)} if since else {}
    changes = ReplicaChanges()
    # The present first: what is written between the two looks is in both, and not in neither.
    last_id, amiss = _present(work, changes)
    rows, has_more = audited(work, told, number)
    if has_more:
        talk(f"the newest {len(rows)}; -n shows more")
    found = [*map(of_audit, reversed(rows)), *amiss]
    if not follows:
        names = [f"{row['ts']} {row['what']}" for row in found]
        print_rows(found, COLUMNS, work.form, names=names)
        return 0
    _print(work.form, found)
    shown = {row["epoch"] for row in rows if row["outcome"] == "accepted"}
    try:
        for each in _followed(work, changes, last_id, shown, again_s):
            _print(work.form, [each])
    except KeyboardInterrupt:
        return 0
    return 0


def _present(work: Work, changes: ReplicaChanges) -> tuple[str, list[Happening]]:
    """The place of the log now, and what is amiss with replicas."""
    last_id = ""
    for event in work.client.follow():
        last_id = event.id or last_id
        if event.name == "replicas":
            return last_id, [*changes.rows(event.data["replicas"], _time_of(event))]
    return last_id, []


def _followed(
    work: Work, changes: ReplicaChanges, last_id: str, shown: Container[int], again_s: float
) -> Iterator[Happening]:
    while True:
        try:
            for event in work.client.follow(last_id):
                if event.name == "entry" and event.data["epoch"] not in shown:
                    yield of_audit(event.data)
                elif event.name == "reset":
                    epoch = event.data["epoch"]
                    talk(f"entries were left out: `sie history` shows those up to {epoch}")
                elif event.name == "replicas":
                    yield from changes.rows(event.data["replicas"], _time_of(event))
                if event.name != "head":
                    last_id = event.id or last_id
        except Later as error:
            talk(f"sie: {error.message}; asking again")
        time.sleep(again_s)


def _time_of(event: FeedEvent) -> str:
    """By the clock that wrote the entries beside it; of a sie-config that tells none, by ours."""
    told = event.data.get("now")
    if isinstance(told, str):
        return told
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _print(form: Form, rows: Sequence[Happening]) -> None:
    for row in rows:
        if form.is_whole:
            print_value(row, form)
        elif form == Form.NAME:
            print_lines([f"{row['ts']} {row['what']}"])
        else:
            print_lines([f"{row['ts']}  {row['what']:<8} {row['who']}  {row['message']}"])
