"""Writing: files, single entities, older moments; and waiting until it has arrived.

*shell* over the client of one command. Promises that files become one entry or none, and that what
is refused is named by its file and line.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import typer

from sie_cli.config.applying import operations_for, placed
from sie_cli.config.config_rows import name_of
from sie_cli.config.config_work import Ask, Work
from sie_cli.config.documents import LocalDocument, read_documents
from sie_cli.config.editing import edit as edit_one
from sie_cli.config.editing import editor_of
from sie_cli.config.kinds import KINDS, kind_named
from sie_cli.show.exit_statuses import DIFFERS
from sie_cli.show.printing import Form, json_text, print_difference, print_lines, print_value, talk
from sie_cli.show.progress import progress
from sie_runtime.texts.plain_yaml import dump_yaml_all
from sie_schemas.errors import FixRequest
from sie_sdk import Terms
from sie_sdk.config.calls import Kind

__all__ = [
    "Prune",
    "apply",
    "delete",
    "diff",
    "diff_files",
    "edit",
    "export",
    "forget",
    "import_",
    "resync",
    "revert",
    "wait",
]

_SELF: Final = "sie-config"
"""The actor of what sie-config wrote itself: the first bundles and pool."""
_CHOSEN: Final = re.compile(r"entities\.([0-9]{1,9})\.key")
"""The field that a refusal of one chosen entity names."""


class Prune:
    """The kinds of which what the files leave out may go: each but those that are kept."""

    def __init__(self, kept: Sequence[str] = (), *, spares_own: bool = True) -> None:
        """`spares_own` keeps what sie-config wrote itself, of kinds that no file speaks of.

        Raises `FixRequest` for what is no kind.
        """
        self.kept: Final = {kind_named(each) for each in kept}
        self.spares_own: Final = spares_own


def apply(work: Work, source: str, ask: Ask, prune: Prune | None) -> int:
    """One batch that makes the cluster hold what the files say."""
    documents = _read(source, prunes=prune is not None)
    # Before the cluster is read: what somebody adds meanwhile is then a conflict, and not pruned.
    if_epoch = _begun_at(work, ask) if prune is not None else None
    operations = _operations(work, documents, prune)
    with progress(f"writing {len(operations)} documents"), placed(documents):
        answer = work.client.batch(operations, ask.terms(if_epoch=if_epoch), simultaneous=True)
    return work.told(answer, ask)


def _begun_at(work: Work, ask: Ask) -> int:
    """The head from which a pruning looks: what comes later is not in what it has read.

    Raises `FixRequest` where the command wants another one: only one can be asked for.
    """
    head: int = work.client.head()["epoch"]
    if ask.if_epoch not in {None, head}:
        raise FixRequest(
            f"the log is at epoch {head}, and --if-epoch asks for {ask.if_epoch}: look at "
            "`sie diff -f` again",
            code="PRECONDITION_FAILED",
        )
    return head


def import_(work: Work, source: str, ask: Ask) -> int:
    """The same, with nothing left beside it."""
    ask = replace(ask, reason=ask.reason or f"import {source}")
    return apply(work, source, ask, Prune(spares_own=False))


def diff_files(work: Work, source: str, prune: Prune | None) -> int:
    """Print what `apply` would change."""
    documents = _read(source, prunes=prune is not None)
    # A gate is for writing; a look at what differs is never refused by one.
    terms = Terms(dry_run=True, force="diff")
    operations = _operations(work, documents, prune)
    with placed(documents):
        answer = work.client.batch(operations, terms, simultaneous=True)
    return _difference(work, answer)


def diff(work: Work, start: str, end: str) -> int:
    """Print the difference between two moments."""
    return _difference(work, work.client.diff(work.at(start) or start, work.at(end)))


def edit(work: Work, kind_name: str, name: str, ask: Ask) -> int:
    """Change an entity in an editor; what was typed is never lost."""
    kind = kind_named(kind_name)
    with work.naming(kind, name):
        answer = edit_one(work.client, kind, name, ask.terms(), editor=editor_of())
    if answer is None:
        talk("nothing was changed")
        return 0
    return work.told(answer, ask)


def delete(work: Work, kind_name: str, name: str, ask: Ask) -> int:
    """Remove an entity."""
    kind = kind_named(kind_name)
    with work.naming(kind, name):
        answer = work.client.delete(kind, name, ask.terms())
    changes = [{"kind": kind, "key": name, "verb": "delete"}]
    return work.told({**answer, "changes": changes}, ask)


def revert(work: Work, to: str, entities: Sequence[str], ask: Ask) -> int:
    """Bring back an older moment."""
    chosen = [_entity_named(text) for text in entities]
    moment = work.at(to) or to
    try:
        answer = work.client.revert(moment, ask.terms(), entities=chosen or None)
    except FixRequest as error:
        index = _CHOSEN.fullmatch(error.field or "")
        if index is None or int(index[1]) >= len(chosen):
            raise
        # Who reverts may mean what is there, or what is gone since.
        raise work.meant(error, *chosen[int(index[1])], (None, moment)) from error
    return work.told(answer, ask)


def resync(work: Work, role: str, replica_id: str) -> int:
    """Have one replica take the writer's snapshot."""
    work.client.resync(role, replica_id)
    talk(f"{role}/{replica_id} takes the writer's snapshot; `sie replicas` tells when it has")
    return _replica_told(work, role, replica_id, {"asked": True})


def forget(work: Work, role: str, replica_id: str) -> int:
    """Stop counting one replica."""
    known = work.client.forget(role, replica_id)
    talk(f"{role}/{replica_id} " + ("is not counted any more" if known else "was not known"))
    return _replica_told(work, role, replica_id, {"forgotten": known})


def wait(work: Work, told: Mapping[str, Any]) -> int:
    """Wait for replicas."""
    found = work.waited(told)
    if work.form.is_whole:
        print_value(found, work.form)
    return work.convergence(found)


def export(work: Work, target: str, at: str) -> int:
    """Every document, in the form that `apply` reads."""
    with progress("fetching the snapshot") as told:
        rows = work.client.export(at=work.at(at))["entities"]
        told(len(rows), len(rows), "writing")
        documents = [{"kind": row["kind"]} | row["document"] for row in rows]
        # As they can be written one by one; the sort is stable, and each kind keeps its order.
        documents.sort(key=lambda each: KINDS.index(each["kind"]))
        text = json_text(documents) if work.form == Form.JSON else dump_yaml_all(documents).rstrip()
        if target != "-":
            Path(target).write_text(text + "\n", encoding="utf-8")
    if target != "-":
        talk(f"{len(documents)} documents in {target}")
    elif work.form == Form.NAME:
        print_lines([f"{row['kind']}/{row['key']}" for row in rows])
    elif work.form.is_whole and work.form not in {Form.JSON, Form.YAML}:
        print_value(documents, work.form)
    else:
        typer.echo(text)
    return 0


def _read(source: str, *, prunes: bool) -> Sequence[LocalDocument]:
    found = read_documents(source)
    if prunes and found.left_out:
        found.check_whole()
        talk(found.unread_line())
    return found.documents


def _operations(
    work: Work, documents: Sequence[LocalDocument], prune: Prune | None
) -> list[dict[str, Any]]:
    if prune is None:
        return operations_for(documents, {})
    spoken_of = {each.kind for each in documents}
    present: dict[Kind, list[str]] = {}
    for kind in KINDS:
        if kind in prune.kept:
            if kind in spoken_of:
                raise FixRequest(f"the files hold a {kind}: leave out --keep {kind}, or the file")
            continue
        rows: Sequence[Mapping[str, Any]] = work.client.entities(kind)
        if kind not in spoken_of and prune.spares_own:
            rows = _of_others(work, rows)
        present[kind] = [name_of(kind, row) for row in rows]
        if present[kind] and kind not in spoken_of:
            talk(
                f"no file holds a {kind}: {len(present[kind])} would go "
                f"(--keep {kind} where they are kept elsewhere)"
            )
    return operations_for(documents, present)


def _of_others(work: Work, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those that somebody else than sie-config wrote last: its own are nobody's file."""
    epochs = {row["modified_epoch"] for row in rows}
    own = {each for each in epochs if work.client.entry(each)["body"]["actor"] == _SELF}
    return [row for row in rows if row["modified_epoch"] not in own]


def _difference(work: Work, answer: Mapping[str, Any]) -> int:
    if work.form.is_whole:
        print_value(answer, work.form)
    elif work.form == Form.NAME:
        names = {f"{each['kind']}/{each['key']}": None for each in answer.get("changes", ())}
        print_lines(list(names))
    else:
        print_difference(answer["human"])
    return DIFFERS if answer["patch"] else 0


def _replica_told(work: Work, role: str, replica_id: str, told: Mapping[str, Any]) -> int:
    if work.form.is_whole:
        print_value({"role": role, "id": replica_id, **told}, work.form)
    elif work.form == Form.NAME:
        print_lines([f"{role}/{replica_id}"])
    return 0


def _entity_named(text: str) -> tuple[Kind, str]:
    kind, slash, key = text.partition("/")
    if not slash or not key:
        raise FixRequest(f"{text!r} is no KIND/NAME, like model/org/name")
    return kind_named(kind), key
