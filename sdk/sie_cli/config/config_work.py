"""The work of the configuration sub-commands, on the config client.

*shell.* Owns the client of one command. Data goes to stdout, talk to stderr; what a command came to
is its exit status, and an error is one line.
"""

import getpass
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sie_cli.access.named_cluster import Target, target_of
from sie_cli.config.applying import operations_for, pruned_kinds
from sie_cli.config.config_rows import (
    COLUMNS,
    all_as_yaml,
    audit_row,
    change_line,
    entity_row,
    entry_row,
    failed_lines,
    field_line,
    name_of,
    shortened,
    trial_line,
    verified_lines,
)
from sie_cli.config.documents import KINDS, LocalDocument, kind_named, read_documents
from sie_cli.config.editing import edit, editor_of
from sie_cli.show.exit_statuses import DIFFERS, INTERRUPTED, LATE, WRONG, exit_status
from sie_cli.show.printing import (
    Form,
    json_text,
    print_difference,
    print_lines,
    print_rows,
    print_value,
    talk,
)
from sie_cli.texts.relative_moments import moment_of
from sie_schemas.errors import FixRequest, SIEError
from sie_sdk import SIEConfigClient, Terms
from sie_sdk.config.calls import Kind

__all__ = ["Ask", "Work", "run_work"]

_POLL_S: Final = 20.0
_SHOWN_DIGITS: Final = 12
_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Ask:
    """The terms on which a write was asked for."""

    reason: str = ""
    force: str = ""
    dry_run: bool = False
    wait: bool = False
    timeout_s: float = 60.0
    if_epoch: int | None = None

    def terms(self, *, if_epoch: int | None = None) -> Terms:
        """The same for the client."""
        return Terms(
            reason=self.reason,
            force=self.force,
            dry_run=self.dry_run,
            wait="converged" if self.wait and not self.dry_run else None,
            wait_timeout_s=self.timeout_s,
            if_epoch=self.if_epoch if self.if_epoch is not None else if_epoch,
        )


def run_work(
    url: str,
    output: str,
    command: Callable[["Work"], int],
    *,
    data: Path | None = None,
    context: str = "",
) -> int:
    """Do one command against a sie-config; gives the exit status.

    `url` names it, or `data`, the folder of a local cluster, or a `context`; else the environment,
    or the context in use.
    """
    try:
        work = Work(target_of(url, data, context), output)
        with work.client:
            return command(work)
    except SIEError as error:
        talk(f"sie: {error.message}")
        # A message tells the first problem already.
        if isinstance(error.details, list) and len(error.details) > 1:
            for problem in error.details[:50]:
                talk(f"  {problem['path'] or 'document'}: {problem['message']}")
        if error.code == "FORCE_REQUIRED":
            talk("sie: --force REASON passes it; the reason is kept in the log")
        return exit_status(error)
    except OSError as error:
        talk(f"sie: {error.filename or 'a file'}: {error.strerror or error}")
        return WRONG
    except KeyboardInterrupt:
        return INTERRUPTED


class Work:
    """One command: a client, and the form of its output."""

    def __init__(self, target: Target, output: str) -> None:
        """Raises `FixRequest` for what is no address."""
        self._target = target
        self.form = Form(output)
        try:
            self.client = SIEConfigClient(target.url, token=target.token, actor=_actor())
        except ValueError as error:
            raise FixRequest(f"{error}: mend --url or SIE_CONFIG_URL") from error

    def apply(self, source: str, ask: Ask, *, prune: bool) -> int:
        """One batch that makes the cluster hold what the files say."""
        documents = _read(source, prune=prune)
        if_epoch = self.client.head()["epoch"] if prune else None
        present = self._present(pruned_kinds(documents)) if prune else {}
        operations = operations_for(documents, present)
        terms = ask.terms(if_epoch=if_epoch)
        answer = self.client.batch(operations, terms, simultaneous=True)
        return self.told(answer)

    def diff_files(self, source: str, *, prune: bool) -> int:
        """Print what `apply` would change."""
        documents = _read(source, prune=prune)
        present = self._present(pruned_kinds(documents)) if prune else {}
        # A gate is for writing; a look at what differs is never refused by one.
        terms = Terms(dry_run=True, force="diff")
        operations = operations_for(documents, present)
        return self._difference(self.client.batch(operations, terms, simultaneous=True))

    def at(self, text: str) -> str | None:
        """The epoch or time that a text means; None where none is given. Raises `SIEError`."""
        if not text:
            return None
        now = datetime.now().astimezone()
        return moment_of(text, now=now, head=lambda: int(self.client.head()["epoch"]))

    def diff(self, start: str, end: str) -> int:
        """Print the difference between two moments."""
        return self._difference(self.client.diff(self.at(start) or start, self.at(end)))

    def get(self, kind_name: str, name: str, at: str) -> int:
        """Entities of a kind, or one."""
        kind = kind_named(kind_name)
        if name:
            rows = [self.client.get(kind, name, at=self.at(at))]
            if self.form == Form.YAML:
                print_value({"kind": kind} | rows[0]["document"], self.form)
                return 0
        else:
            rows = self.client.entities(kind, at=self.at(at))
        shown = [entity_row(kind, row) for row in rows]
        if self.form.is_whole:
            print_value(rows[0] if name else rows, self.form)
        else:
            names = [f"{kind}/{row['name']}" for row in shown]
            print_rows(shown, COLUMNS[kind], self.form, more=["source", "etag"], names=names)
        return 0

    def describe(self, kind_name: str, name: str) -> int:
        """One entity, where its fields came from, and its history."""
        kind = kind_named(kind_name)
        found = self.client.get(kind, name)
        fields, history = self.client.blame(kind, name), self.client.history(kind, name)
        if self.form == Form.NAME:
            print_lines([f"{kind}/{name}"])
        elif self.form.is_whole:
            whole = {"kind": kind, **found, "fields": fields, "history": history}
            print_value(whole, self.form)
        else:
            lines = [f"{kind} {name}, since epoch {found['modified_epoch']}", "fields"]
            lines += [f"  {field_line(row)}" for row in fields]
            print_lines([*lines, "history", *(f"  {change_line(row)}" for row in history)])
        return 0

    def edit(self, kind_name: str, name: str, ask: Ask) -> int:
        """Change an entity in an editor; what was typed is never lost."""
        answer = edit(self.client, kind_named(kind_name), name, ask.terms(), editor=editor_of())
        if answer is None:
            talk("nothing was changed")
            return 0
        return self.told(answer)

    def delete(self, kind_name: str, name: str, ask: Ask) -> int:
        """Remove an entity."""
        kind = kind_named(kind_name)
        answer = self.client.delete(kind, name, ask.terms())
        return self.told(answer | {"changes": [{"kind": kind, "key": name, "verb": "delete"}]})

    def revert(self, to: str, entities: Sequence[str], ask: Ask) -> int:
        """Bring back an older moment."""
        chosen = [_entity_named(text) for text in entities] or None
        return self.told(self.client.revert(self.at(to) or to, ask.terms(), entities=chosen))

    def history(self, kind_name: str, name: str, number: int, at: str) -> int:
        """The newest changes up to a moment, oldest of them first."""
        if name:
            rows = self.client.history(kind_named(kind_name), name, at=self.at(at))[-number:]
        else:
            moment = self.at(at)
            place = self.client.diff(moment, moment)["to"] if moment else self.client.head()
            last = place["epoch"]
            found = self.client.entries(after=max(0, last - number), limit=min(number, last))
            rows = [entry_row(envelope) for envelope in found]
            if last > number:
                talk(f"the newest {number} of {last}; -n shows more")
        if not self.form.is_whole:
            rows = [shortened(row) for row in rows]
        columns = ["epoch", "ts", "actor", "kind" if name else "changes", "reason"]
        names = [str(row["epoch"]) for row in rows]
        print_rows(rows, columns, self.form, more=["request_id", "hash"], names=names)
        return 0

    def blame(self, kind_name: str, name: str, at: str) -> int:
        """Print the origin of each field."""
        rows = self.client.blame(kind_named(kind_name), name, at=self.at(at))
        columns = ["path", "value", "epoch", "ts", "actor", "reason"]
        print_rows(rows, columns, self.form, more=["hash"], names=[row["path"] for row in rows])
        return 0

    def show(self, epoch: int) -> int:
        """One entry and what it changed."""
        found = self.client.entry(epoch)
        changed = self.client.diff(epoch - 1, epoch)["human"] if epoch > 1 else []
        print_value(entry_row(found) | {"changed": changed}, self.form)
        return 0

    def watch(self, start: int | None, count: int) -> int:
        """Entries as they come, until there were so many or somebody stops it."""
        try:
            return self._watch(start, count)
        except KeyboardInterrupt:
            return 0

    def _watch(self, start: int | None, count: int) -> int:
        after = self.client.head()["epoch"] if start is None else start
        shown = 0
        while True:
            for envelope in self.client.entries(after=after, limit=_PAGE):
                row = entry_row(envelope)
                after = row["epoch"]
                if self.form.is_whole:
                    print_value(row, self.form)
                else:
                    named = self.form == Form.NAME
                    print_lines([str(row["epoch"]) if named else change_line(row)])
                shown += 1
                if shown == count:
                    return 0
            self.client.poll(after=after, wait_s=_POLL_S)

    def replicas(self) -> int:
        """Print the place of each replica; status 1 unless all live ones are at the head."""
        view = self.client.replicas()
        if self.form.is_whole:
            print_value(view, self.form)
        else:
            talk(f"head: epoch {view['epoch']}, digest {view['digest'][:_SHOWN_DIGITS]}")
            columns = ["role", "id", "epoch", "lag", "lag_s", "state", "live", "converged"]
            names = [f"{row['role']}/{row['id']}" for row in view["replicas"]]
            more = ["age_s", "digest", "life", "shares_name", "reason"]
            print_rows(view["replicas"], columns, self.form, more=more, names=names)
            for line in failed_lines(view["replicas"]):
                talk(line)
        return 0 if view["converged"] else DIFFERS

    def resync(self, role: str, replica_id: str) -> int:
        """Have one replica take the writer's snapshot."""
        self.client.resync(role, replica_id)
        talk(f"{role}/{replica_id} takes the writer's snapshot; `sie replicas` tells when it has")
        return 0

    def forget(self, role: str, replica_id: str) -> int:
        """Stop counting one replica."""
        known = self.client.forget(role, replica_id)
        talk(f"{role}/{replica_id} " + ("is not counted any more" if known else "was not known"))
        return 0

    def verify(self) -> int:
        """A round of the self-check; status 1 where something is not as the log says."""
        found = self.client.verify()
        if self.form.is_whole:
            print_value(found, self.form)
        else:
            print_lines(verified_lines(found))
        return 0 if found["sound"] else DIFFERS

    def wait(self, told: Mapping[str, Any]) -> int:
        """Wait for replicas."""
        found = self.client.wait(**told)
        if self.form.is_whole:
            print_value(found, self.form)
        return self._convergence(found)

    def export(self, target: str, at: str) -> int:
        """Every document, in the form that `apply` reads."""
        rows = self.client.export(at=self.at(at))["entities"]
        documents = [{"kind": row["kind"]} | row["document"] for row in rows]
        documents.sort(key=lambda each: KINDS.index(each["kind"]))
        as_json = self.form == Form.JSON
        text = json_text(documents) if as_json else all_as_yaml(documents).rstrip()
        if target == "-":
            print_lines([text])
            return 0
        Path(target).write_text(text + "\n", encoding="utf-8")
        talk(f"{len(documents)} documents in {target}")
        return 0

    def audit(self, filters: Mapping[str, str], number: int) -> int:
        """The newest rows of the audit, newest first."""
        told: dict[str, Any] = {name: text for name, text in filters.items() if text}
        told |= {name: self.at(told[name]) for name in ("since", "before") if name in told}
        if "kind" in told:
            told["kind"] = kind_named(told["kind"])
        rows: list[dict[str, Any]] = []
        while len(rows) < number:
            page = self.client.audit(**told, limit=min(_PAGE, number - len(rows)))
            rows += page["rows"]
            if page["next_before"] is None:
                break
            told["before"] = page["next_before"]
        shown = [audit_row(row) for row in rows]
        if self.form.is_whole:
            print_value(rows, self.form)
        else:
            columns = ["ts", "actor", "outcome", "what", "count", "reason"]
            names = [row["ts"] for row in shown]
            print_rows(shown, columns, self.form, more=["message", "request_id"], names=names)
        return 0

    def _present(self, kinds: Sequence[Kind]) -> dict[Kind, list[str]]:
        return {kind: [name_of(kind, row) for row in self.client.entities(kind)] for kind in kinds}

    def _difference(self, answer: Mapping[str, Any]) -> int:
        if self.form.is_whole:
            print_value(answer, self.form)
        else:
            print_difference(answer["human"])
        return DIFFERS if answer["patch"] else 0

    def told(self, answer: Mapping[str, Any]) -> int:
        """Print the answer of a write; the exit status."""
        if self._target.context:
            # A write tells where it went: the name was not typed with it.
            talk(f"at {self._target.context}, {self._target.url}")
        if self.form.is_whole:
            print_value(answer, self.form)
        elif self.form == Form.NAME:
            print_lines([f"{row['kind']}/{row['key']}" for row in answer["changes"]])
        elif answer.get("dry_run"):
            print_difference(answer["human"] or ["nothing would change"])
            talk(trial_line(answer))
        elif not answer["changed"]:
            print_lines([f"nothing differs at epoch {answer['epoch']}"])
        else:
            lines = [f"{row['verb']} {row['kind']}/{row['key']}" for row in answer["changes"]]
            print_lines([*lines, f"epoch {answer['epoch']}"])
        return self._convergence(answer["convergence"]) if "convergence" in answer else 0

    def _convergence(self, found: Mapping[str, Any]) -> int:
        talk(f"{found['satisfied']} of {found['selected']} replicas are {found['until']}")
        for each in found["waiting_for"]:
            talk(f"  {each['role']} {each['id']}: {each['cause']}")
        return 0 if found["reached"] else LATE


def _read(source: str, *, prune: bool) -> Sequence[LocalDocument]:
    found = read_documents(source)
    if prune and found.left_out:
        talk(found.unread_line())
    return found.documents


def _actor() -> str:
    try:
        return os.environ.get("SIE_ACTOR") or getpass.getuser()
    except (KeyError, OSError):
        # A container may run as a user that its system has no name for.
        return f"uid {os.getuid()}"


def _entity_named(text: str) -> tuple[Kind, str]:
    kind, slash, key = text.partition("/")
    if not slash or not key:
        raise FixRequest(f"{text!r} is no KIND/NAME, like model/org/name")
    return kind_named(kind), key
