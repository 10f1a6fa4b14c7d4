"""Laws of `sie events`: what was written is shown once, whenever it was written."""

import io
import json
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from sie_cli.config.config_work import Work
from sie_cli.config.events import show_events
from sie_cli.config.views import audited
from sie_cli.show.printing import Form
from sie_schemas.errors import Later
from sie_sdk.config.feed import FeedEvent

GROWTHS = st.lists(st.integers(0, 3), min_size=3, max_size=12)


class Growing:
    """A sie-config whose log grows between the looks of a command.

    Each feed ends after one view of the replicas, or breaks off after so many events, and after the
    last growth somebody stops the command.
    """

    base_url = "http://config"

    def __init__(self, growths: list[int], breaks: list[int | None], missed_max: int) -> None:
        self._growths = growths
        self._breaks = [None, *breaks]
        self._missed_max = missed_max
        self.head = 1
        self.left_out: set[int] = set()

    def _grow(self) -> None:
        if not self._growths:
            raise KeyboardInterrupt
        self.head += self._growths.pop(0)

    def audit(self, *, limit: int) -> dict[str, Any]:
        """The newest entries."""
        self._grow()
        epochs = range(self.head, max(0, self.head - limit), -1)
        return {"rows": [entry(epoch) for epoch in epochs], "next_before": None}

    def follow(self, last_id: str = "") -> Iterator[FeedEvent]:
        """The head, what was missed, and one view, as far as the connection holds."""
        self._grow()
        whole = self._breaks.pop(0) if self._breaks else None
        for number, event in enumerate(self._events(last_id)):
            if number == whole:
                raise Later("the connection broke")
            yield event

    def _events(self, last_id: str) -> Iterator[FeedEvent]:
        after = int(last_id.partition(".")[2]) if last_id else self.head
        yield FeedEvent(name="head", id=f"log.{self.head}", data={})
        if self.head - after > self._missed_max:
            self.left_out |= {*range(after + 1, self.head + 1)}
            yield FeedEvent(name="reset", data={"epoch": self.head})
            after = self.head
        for epoch in range(after + 1, self.head + 1):
            yield FeedEvent(name="entry", id=f"log.{epoch}", data=entry(epoch))
        yield FeedEvent(name="replicas", data={"replicas": []})


def entry(epoch: int) -> dict[str, Any]:
    changes = [{"kind": "log.begin", "key": "", "verb": "begin"}]
    told = {"ts": f"t{epoch}", "actor": "eve", "outcome": "accepted", "epoch": epoch}
    return told | {"reason": "", "changes": changes}


def shown(there: Growing, *, follows: bool) -> tuple[list[int], str]:
    """The epochs that the command prints, and what it says beside."""
    work = cast("Work", SimpleNamespace(client=there, form=Form.TABLE, at=str))
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as aside:
        assert show_events(work, 1000, "", follows=follows, again_s=0) == 0
    lines = [line for line in out.getvalue().splitlines() if "epoch " in line]
    return [int(line.partition("epoch ")[2].partition(":")[0]) for line in lines], aside.getvalue()


@given(growths=GROWTHS, breaks=st.lists(st.none() | st.integers(1, 3), max_size=6))
def test_every_entry_is_shown_once_and_in_order_whenever_it_was_written(growths, breaks):
    there = Growing(growths, breaks, missed_max=1000)
    found, _ = shown(there, follows=True)
    # The feed after the last growth may break off.
    assert found == [*range(1, len(found) + 1)]
    assert len(found) == there.head or any(breaks)


@given(growths=GROWTHS)
def test_what_was_too_much_to_show_is_said_with_its_end(growths):
    there = Growing(growths, breaks=[], missed_max=1)
    found, aside = shown(there, follows=True)
    # What the audit has shown already was in truth not left out.
    assert {*range(1, there.head + 1)} <= {*found} | there.left_out
    assert len(found) == len(set(found))
    said = f"shows those up to {max(there.left_out, default=0)}\n"
    assert (said in aside) is bool(there.left_out)


@given(total=st.integers(0, 12), number=st.integers(1, 14), page_max=st.integers(1, 5))
def test_the_newest_rows_of_an_audit_are_as_many_as_were_asked_for(total, number, page_max):
    # A place in the audit is a text, as sie-config gives it.
    def audit(*, limit: int, before: str = str(total + 1)) -> dict[str, Any]:
        first = max(1, int(before) - min(limit, page_max))
        rows = [entry(epoch) for epoch in range(int(before) - 1, first - 1, -1)]
        return {"rows": rows, "next_before": str(first) if first > 1 else None}

    work = cast(
        "Work", SimpleNamespace(client=SimpleNamespace(audit=audit, base_url="http://config"))
    )
    rows, has_more = audited(work, {}, number)
    assert [row["epoch"] for row in rows] == [*range(total, 0, -1)][:number]
    assert has_more is (total > number)


@given(growths=GROWTHS)
def test_without_following_the_past_is_all(growths):
    there = Growing(growths, breaks=[], missed_max=1000)
    found, _ = shown(there, follows=False)
    assert found == [*range(1, there.head + 1)]


def test_what_replicas_met_is_told_by_the_clock_that_wrote_the_entries():
    class Watched(Growing):
        def _events(self, last_id: str) -> Iterator[FeedEvent]:
            row = {"role": "worker", "id": "w1", "reason": "", "live": True, "state": "fresh"}
            data = {
                "now": "2023-11-14T22:13:20.000000Z",
                "replicas": [row | {"failed": {"m": "no"}}],
            }
            yield FeedEvent(name="replicas", data=data)

    work = cast("Work", SimpleNamespace(client=Watched([1, 0], [], 9), form=Form.JSON, at=str))
    with redirect_stdout(io.StringIO()) as out:
        assert show_events(work, 1000, "", follows=False) == 0
    failed = [row for row in json.loads(out.getvalue()) if row["what"] == "failed"]
    assert [row["ts"] for row in failed] == ["2023-11-14T22:13:20.000000Z"]
