"""A repository of the hub, examined: what its files say, and the document that would be written.

*shell.* Reads small files of the hub. Writes nothing, and needs neither a terminal nor the packages
of a command line: sie-config has it done for the console (`inspecting`).
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from sie_cli.models.hub import open_revision
from sie_cli.models.proposal import Proposal, propose
from sie_cli.models.purpose import Task
from sie_layouts.facts import Fact, Files
from sie_sdk.config.calls import Kind

__all__ = ["CARD", "REPOSITORY", "Found", "Wanted", "document_of", "examined_repository"]

REPOSITORY: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
CARD: Final = "README.md"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The words of one command."""

    target: str
    revision: str = ""
    adapter_of: str = ""
    name: str = ""
    task: Task | None = None
    template: str = ""
    replaces: bool = False
    token: str = ""
    """The secret of the workers that they fetch it with: `secret:NAME`."""


@dataclass(frozen=True, slots=True)
class Found:
    """A repository or folder, examined."""

    proposal: Proposal
    source: Mapping[str, Any]
    """As a document has it; of a folder, without its manifest."""
    own_name: str
    files: tuple[str, ...] = ()
    """Of a folder: the files that a manifest pins."""
    opened: Files | None = None
    """Its files, as long as it is examined."""


@contextmanager
def examined_repository(wanted: Wanted) -> Iterator[Found]:
    """A repository at a revision; its connection lasts as long. Raises `SIEError`."""
    revision = open_revision(wanted.target, wanted.revision)
    try:
        proposal = propose(
            revision,
            takes_pickles=True,
            name=revision.repository,
            commit=revision.commit,
            task=wanted.task,
            template=wanted.template,
        )
        facts = [Fact("commit", revision.commit, "the hub")]
        if revision.repository != wanted.target:
            facts.append(Fact("renamed", f"{wanted.target} is {revision.repository} now", "hub"))
        if revision.license:
            facts.append(Fact("license", revision.license, f"{CARD}: license"))
        source: dict[str, Any] = {
            "type": "hub",
            "id": revision.repository,
            "revision": revision.commit,
        }
        if wanted.token:
            source["token"] = wanted.token
        if proposal.beside:
            source["beside"] = dict(_newest(name) for name in proposal.beside)
        told = replace(proposal, facts=(*facts, *proposal.facts))
        yield Found(told, source, revision.repository, opened=revision)
    finally:
        revision.close()


def document_of(wanted: Wanted, found: Found) -> tuple[Kind, str, dict[str, Any]]:
    """The kind, key and document of what was judged (`bases`) and not refused."""
    source = dict(found.source)
    if found.proposal.kind == "adapter":
        model = wanted.adapter_of or found.proposal.base
        last = found.own_name.rsplit("/", 1)[-1].lower()
        name = wanted.name or re.sub(r"[^a-z0-9._-]+", "-", last).strip("._-")
        return "adapter", f"{model}/{name}", {"model_id": model, "name": name, "source": source}
    model_id = wanted.name or found.own_name
    profile: dict[str, Any] = {"backend": found.proposal.backend}
    if found.proposal.options:
        profile["options"] = dict(found.proposal.options)
    document = {
        "model_id": model_id,
        "source": source,
        "tasks": dict(found.proposal.tasks),
        "profiles": {"default": profile},
    }
    return "model", model_id, document


def _newest(repository: str) -> tuple[str, str]:
    """A repository and the commit of its newest revision."""
    revision = open_revision(repository)
    revision.close()
    return repository, revision.commit
