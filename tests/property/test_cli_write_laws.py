"""Laws of the writing commands: what was asked for on the command line is what the writer hears."""

import json
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from sie_cli.config.config_work import Ask, Work
from sie_cli.config.kinds import KINDS
from sie_cli.config.writes import Prune, apply, diff, diff_files, export, import_, revert
from sie_cli.show.exit_statuses import LATE
from sie_cli.show.printing import Form
from sie_sdk import Terms

ASKS = st.builds(
    Ask,
    reason=st.sampled_from(["", "because"]),
    force=st.sampled_from(["", "it must be"]),
    dry_run=st.booleans(),
    if_epoch=st.none() | st.integers(0, 3),
)
NAMED = st.tuples(st.sampled_from(KINDS), st.sampled_from("abc"))


class Heard:
    """A sie-config that keeps what it is told. `there` is by kind and key."""

    def __init__(self, there: list[tuple[str, str]], answer: dict[str, Any]) -> None:
        self._there = there
        self._answer = answer
        self.calls: list[tuple[str, Any]] = []

    def head(self) -> dict[str, int]:
        """The head."""
        return {"epoch": 2}

    def entry(self, epoch: int) -> dict[str, Any]:
        """All was written by sie-config."""
        return {"body": {"actor": "sie-config"}}

    def entities(self, kind: str) -> list[dict[str, Any]]:
        """Every entity of a kind."""
        return [
            {"name": key, "model_id": key, "modified_epoch": 1}
            for each, key in self._there
            if each == kind
        ]

    def batch(self, operations: list[dict[str, Any]], terms: Terms, **told: Any) -> dict[str, Any]:
        """A batch."""
        self.calls.append(("batch", (operations, terms, told)))
        return self._answer

    def export(self, *, at: str | None) -> dict[str, Any]:
        """The state of a moment."""
        self.calls.append(("export", at))
        return {
            "entities": [
                {"kind": kind, "key": key, "document": {"name": key}} for kind, key in self._there
            ]
        }

    def diff(self, start: str, end: str | None) -> dict[str, Any]:
        """The difference."""
        self.calls.append(("diff", (start, end)))
        return self._answer

    def revert(self, to: str, terms: Terms, *, entities: Any) -> dict[str, Any]:
        """An older state."""
        self.calls.append(("revert", (to, terms, entities)))
        return self._answer


def work_of(heard: Heard, form: Form = Form.TABLE) -> Work:
    told = SimpleNamespace(
        client=heard, form=form, told=lambda answer, ask: 0, at=lambda text: text or None
    )
    return cast("Work", told)


def file_of(folder: Any, documents: list[tuple[str, str]]) -> str:
    path = folder / "all.json"
    rows = [{"kind": kind, "name": key, "model_id": key} for kind, key in documents]
    path.write_text(json.dumps(rows))
    return str(path)


def quietly(done: Any) -> Any:
    with redirect_stderr(StringIO()), redirect_stdout(StringIO()):
        return done()


@given(ask=ASKS, other=st.none() | st.integers(0, 3))
def test_the_terms_of_a_write_are_those_that_were_asked_for(ask, other):
    terms = ask.terms(if_epoch=other)
    assert (terms.reason, terms.force, terms.dry_run) == (ask.reason, ask.force, ask.dry_run)
    assert terms.if_epoch == (other if ask.if_epoch is None else ask.if_epoch)


@given(
    files=st.lists(NAMED, min_size=1, max_size=5, unique=True),
    there=st.lists(NAMED, max_size=5, unique=True),
    ask=ASKS,
)
def test_an_import_leaves_nothing_beside_the_file_and_an_apply_all_of_it(
    tmp_path_factory, files, there, ask
):
    source = file_of(tmp_path_factory.mktemp("files"), files)
    deleted = []
    for command in (import_, lambda work, source, ask: apply(work, source, ask, None)):
        heard = Heard(there, {})
        if command is import_ and ask.if_epoch not in (None, 2):
            continue
        quietly(lambda command=command, heard=heard: command(work_of(heard), source, ask))
        [(_, (operations, terms, told))] = heard.calls
        assert told == {"simultaneous": True}
        assert {(each["kind"], each["key"].split("/")[0]) for each in operations} >= set(files)
        deleted.append({(each["kind"], each["key"]) for each in operations if each["op"] != "put"})
        wanted_epoch = 2 if command is import_ else ask.if_epoch
        assert (terms.if_epoch, terms.dry_run, terms.force) == (
            wanted_epoch,
            ask.dry_run,
            ask.force,
        )
    if len(deleted) == 2:
        gone = {each for each in there if each not in files}
        assert {(kind, key.split("/")[0]) for kind, key in deleted[0]} == gone
    assert deleted[-1] == set() or ask.if_epoch not in (None, 2)


@given(differs=st.booleans(), says=st.booleans())
def test_a_difference_is_looked_at_without_a_gate_and_its_status_is_that_of_the_patch(
    tmp_path_factory, differs, says
):
    answer = {"patch": [{"op": "add"}] if differs else [], "human": ["nothing"] if says else []}
    heard = Heard([("pool", "b")], answer)
    source = file_of(tmp_path_factory.mktemp("files"), [("pool", "a")])

    status = quietly(lambda: diff_files(work_of(heard), source, Prune()))

    [(_, (operations, terms, _))] = heard.calls
    assert status == int(differs)
    assert terms.dry_run
    assert terms.force
    assert [each["op"] for each in operations] == ["put", "delete"]
    assert quietly(lambda: diff(work_of(heard), "1", "")) == int(differs)
    assert heard.calls[-1] == ("diff", ("1", None))


@given(there=st.lists(NAMED, max_size=8, unique=True), at=st.sampled_from(["", "7"]))
def test_an_export_is_of_the_moment_and_in_an_order_in_which_it_can_be_applied(
    tmp_path_factory, there, at
):
    path = tmp_path_factory.mktemp("files") / "all.json"
    heard = Heard(there, {})

    assert quietly(lambda: export(work_of(heard, Form.JSON), str(path), at)) == 0

    assert heard.calls == [("export", at or None)]
    written = [(each["kind"], each["name"]) for each in json.loads(path.read_text())]
    assert sorted(written) == sorted(there)
    places = [KINDS.index(kind) for kind, _ in written]
    assert places == sorted(places)


@given(entities=st.lists(NAMED, max_size=3), ask=ASKS)
def test_a_revert_is_of_the_entities_that_are_named_or_of_all(entities, ask):
    heard = Heard([], {})
    named = [f"{kind}/{key}" for kind, key in entities]

    quietly(lambda: revert(work_of(heard), "5", named, ask))

    assert heard.calls == [("revert", ("5", ask.terms(), entities or None))]


class Waiting:
    """A sie-config whose replicas come after so many looks."""

    def __init__(self, looks: int) -> None:
        self._looks = looks
        self.asked: list[float] = []

    def wait(self, *, epoch: int, timeout_s: float) -> dict[str, Any]:
        """One look."""
        self.asked.append(timeout_s)
        reached = len(self.asked) > self._looks
        return {
            "reached": reached,
            "satisfied": 2 if reached else 1,
            "selected": 2,
            "until": "at epoch 1",
            "waiting_for": [],
        }


@given(looks=st.integers(0, 3), timeout_s=st.sampled_from([0.0, 0.4, 60.0]))
def test_a_wait_ends_when_all_are_there_or_its_time_is_over_and_the_status_says_which(
    looks, timeout_s
):
    client = Waiting(looks)
    work = cast("Work", SimpleNamespace(client=client))

    found = quietly(lambda: Work.waited(work, {"epoch": 1, "timeout_s": timeout_s}))

    assert all(0 <= asked <= min(timeout_s, 1.0) for asked in client.asked)
    assert len(client.asked) == (looks + 1 if timeout_s > 1 else 1)
    assert quietly(lambda: Work.convergence(work, found)) == (0 if found["reached"] else LATE)


@given(waits=st.booleans(), dry_run=st.booleans())
def test_nothing_is_waited_for_after_a_trial(waits, dry_run):
    client = Waiting(0)
    work = cast(Any, SimpleNamespace(client=client, form=Form.JSON))
    work._target = SimpleNamespace(context="")
    work.waited = lambda goal: Work.waited(work, goal)
    work.convergence = lambda found: Work.convergence(work, found)

    quietly(lambda: Work.told(work, {"epoch": 1}, Ask(wait=waits, dry_run=dry_run)))

    assert len(client.asked) == int(waits and not dry_run)
