"""Adding a model or an adapter by the name of its repository, or by its folder.

*shell.* Reads small files of the hub or of a folder. Of a folder that is to be added it reads every
file once more, for its hash. Promises that nothing is written of which a file says that it is not
done here. What is registered already is not replaced unasked, and all of it is one entry.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from sie_cli.access.named_cluster import target_of
from sie_cli.config.config_work import Ask, Work
from sie_cli.models.bases import Registered, judged
from sie_cli.models.examining import (
    CARD,
    REPOSITORY,
    Found,
    Wanted,
    document_of,
    examined_repository,
)
from sie_cli.models.manifests import manifest_of
from sie_cli.models.proposal import propose, weight_files
from sie_cli.show.exit_statuses import WRONG
from sie_cli.show.printing import Form, print_rows, print_value, talk
from sie_layouts.facts import Fact, Refusal
from sie_layouts.folder import FolderFiles
from sie_schemas.api.past import EntityShown
from sie_schemas.errors import FixRequest, SIEError
from sie_sdk.config.calls import Kind

__all__ = [
    "ABSENT",
    "Wanted",
    "adapter_operation",
    "add",
    "asked_work",
    "inspect",
    "print_document",
]

ABSENT: Final = frozenset({"ADAPTER_NOT_FOUND", "MODEL_NOT_FOUND"})
"""The codes by which sie-config says that it holds no such entity."""

_LICENSE: Final = re.compile(r"\A---\n.*?^license:\s*([^\n]+)$.*?^---$", re.DOTALL | re.MULTILINE)
_CARD_BYTES: Final = 64 * 1024
"""The facts of a model card stand at its head."""


def inspect(wanted: Wanted, output: str, asked: Callable[[], Work | None]) -> int:
    """Print what a repository or folder holds; status 2 where it is not run here.

    An adapter is judged over its model, by the log that `asked` leads to, where it leads to one.
    """
    with _examined(wanted) as alone:
        work = asked() if alone.proposal.kind == "adapter" else None
        with nullcontext() if work is None else work.client:
            found = judged(alone, wanted, None if work is None else _registered(work))
        _show(found, Form(output))
    return WRONG if found.proposal.refusals else 0


def asked_work(url: str, data: Path | None, context: str) -> Work | None:
    """The cluster that is named, or runs here; None where there is neither, and that is told."""
    try:
        return Work(target_of(url, data, context), Form.TABLE.name)
    except SIEError as error:
        if url or data is not None or context:
            raise
        talk(f"judged by its own files alone: {error.message}")
        return None


def print_document(wanted: Wanted, output: str) -> int:
    """Print the document of a repository or folder as `sie apply` takes it, without any cluster.

    Where the folder lies at the workers alone, this is what runs there.
    """
    with _examined(wanted) as alone:
        found = judged(alone, wanted, None)
        if found.proposal.refusals:
            _show(found, Form.TABLE)
            return WRONG
        kind, _, document = _document(wanted, found)
    print_value({"kind": kind} | document, Form.JSON if output == "json" else Form.YAML)
    return 0


def add(work: Work, ask: Ask, wanted: Wanted) -> int:
    """Register a repository or folder as one entry, or say why not."""
    with _examined(wanted) as alone:
        found = judged(alone, wanted, _registered(work))
        if work.form in {Form.TABLE, Form.WIDE} or found.proposal.refusals:
            _show(found, Form.TABLE)
        if found.proposal.refusals:
            return WRONG
        kind, key, document = _document(wanted, found)
    operation = {"op": "put", "kind": kind, "key": key, "document": document}
    operation |= _condition(work, kind, key, document, replaces=wanted.replaces)
    terms = ask.terms()
    terms = replace(terms, reason=terms.reason or f"sie add {wanted.target}")
    answer = work.client.batch([operation], terms)
    if ask.dry_run and work.form.is_whole:
        print_value({"kind": kind} | document, work.form)
        return 0
    return work.told(answer, ask)


def adapter_operation(work: Work, repository: str, model_id: str) -> dict[str, Any] | None:
    """The operation that registers an adapter of a model; None where its name is registered.

    Raises `SIEError` where the hub does not give it, or its files are not done here.
    """
    wanted = Wanted(repository, adapter_of=model_id)
    with _examined(wanted) as alone:
        if alone.proposal.kind != "adapter":
            raise FixRequest(f"{repository} is no adapter any more")
        found = judged(alone, wanted, _registered(work))
        if found.proposal.refusals:
            raise FixRequest("; ".join(map(str, found.proposal.refusals)))
        kind, key, document = _document(wanted, found)
    # Only now: its name is that of the repository at the hub, which may have renamed it.
    if _entity(work, kind, key) is not None:
        return None
    put = {"op": "put", "kind": kind, "key": key, "document": document}
    return put | {"if_none_match": "*"}


@contextmanager
def _examined(wanted: Wanted) -> Iterator[Found]:
    # A folder first: `models/mine` is an `org/name` too, and who has it here means it.
    folder = Path(os.path.expanduser(wanted.target))
    if folder.is_dir():
        yield _of_folder(folder.resolve(), wanted)
        return
    pasted = re.search(r"://[^/]+/([\w.-]+/[\w.-]+)", wanted.target)
    if pasted:
        raise FixRequest(f"{wanted.target} is an address: give the repository alone, {pasted[1]}")
    if not REPOSITORY.fullmatch(wanted.target):
        raise FixRequest(
            f"{wanted.target} is no folder here, and no `org/name` of the hub: `sie models search "
            f"{wanted.target}` looks among those that are known. Of a folder that the workers "
            f"alone have, run there: sie inspect {wanted.target} --document; and here, with what "
            "it prints: sie apply -f -"
        )
    with examined_repository(wanted) as found:
        yield found


def _of_folder(folder: Path, wanted: Wanted) -> Found:
    for name, given in (("revision", wanted.revision), ("token", wanted.token)):
        if given:
            raise FixRequest(f"a folder has no {name}: leave --{name} out", field=name)
    files = FolderFiles(folder)
    proposal = propose(
        # Of a folder no worker converts a pickle: nothing writes where an operator keeps files.
        files,
        takes_pickles=False,
        name=folder.name,
        task=wanted.task,
        template=wanted.template,
    )
    absent = tuple(
        Refusal("the folder", f"lacks the tokenizer or config of {name}", "save them into it")
        for name in proposal.beside
    )
    proposal = replace(proposal, refusals=(*proposal.refusals, *absent))
    card = (files.read(CARD) or b"")[:_CARD_BYTES].decode(errors="replace")
    said = _LICENSE.search(card)
    facts = (Fact("license", said[1].strip(), f"{CARD}: license"),) if said else ()
    source = {"type": "path", "path": str(folder)}
    names = tuple(weight_files(files.names()))
    told = replace(proposal, facts=(*facts, *proposal.facts))
    return Found(told, source, folder.name, names, files)


def _document(wanted: Wanted, found: Found) -> tuple[Kind, str, dict[str, Any]]:
    """As `document_of`, with the hashes that pin a folder."""
    if found.source["type"] == "path":
        manifest = manifest_of(Path(found.source["path"]), found.files)
        found = replace(found, source={**found.source, "manifest": manifest})
    return document_of(wanted, found)


def _registered(work: Work) -> Registered:
    """The log of a cluster, as far as adapters are judged by it."""

    def document(model_id: str) -> Mapping[str, Any] | None:
        there = _entity(work, "model", model_id)
        return None if there is None else there["document"]

    return document


def _condition(
    work: Work, kind: Kind, key: str, document: Mapping[str, Any], *, replaces: bool
) -> dict[str, str]:
    """The state that the write rests on. Raises `FixRequest` for an entity that is there."""
    there = _entity(work, kind, key)
    if there is None:
        return {"if_none_match": "*"}
    if not replaces and there["document"]["source"] != document["source"]:
        raise FixRequest(
            f"{kind} {key} is registered already, from {_place(there['document']['source'])}: ask "
            "for it by its name, give this one another with --name, or say --replace"
        )
    # What somebody changed since it was read is a conflict.
    return {"if_match": there["etag"]}


def _entity(work: Work, kind: Kind, key: str) -> EntityShown | None:
    try:
        return work.client.get(kind, key)
    except FixRequest as error:
        if error.code not in ABSENT:
            raise
        return None


def _place(source: Mapping[str, Any]) -> str:
    if source["type"] == "hub":
        return f"{source['id']} at {source['revision'][:12]}"
    return str(source.get("path") or source.get("package"))


def _show(found: Found, form: Form) -> None:
    """Each fact with its file; on stderr what stands in the way."""
    rows = [
        {"what": fact.name, "value": fact.value, "from": fact.source}
        for fact in found.proposal.facts
    ]
    if form.is_whole:
        refusals = [str(each) for each in found.proposal.refusals]
        print_value({"source": dict(found.source), "facts": rows, "refusals": refusals}, form)
    else:
        print_rows(rows, ["what", "value", "from"], form, names=[row["what"] for row in rows])
    for refusal in found.proposal.refusals:
        talk(f"not run here: {refusal}")
