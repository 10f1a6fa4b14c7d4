"""An adapter judged over the model that it is for, by the files of both.

*shell.* Reads a registered model's small files and the header of its weights. Promises that an
adapter of another model is refused before it is written, or that it is told why nobody can say.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from sie_cli.models.examining import Found
from sie_cli.models.hub import open_revision
from sie_layouts.adapter import refusals_over
from sie_layouts.facts import Fact, Files
from sie_layouts.folder import FolderFiles
from sie_schemas.errors import SIEError

__all__ = ["over_base"]


def over_base(found: Found, base: Mapping[str, Any]) -> Found:
    """An adapter with what it is not of a model, by the `source` of that model's document."""
    if found.opened is None or found.proposal.refusals:
        return found
    proposal = found.proposal
    try:
        with _files(base) as files:
            refusals = tuple(refusals_over(found.opened, files))
        return replace(found, proposal=replace(proposal, refusals=refusals))
    except (OSError, SIEError) as error:
        why = getattr(error, "message", str(error))
        fact = Fact("its model's layers", f"judged when a worker loads it: {why}", "the model")
        return replace(found, proposal=replace(proposal, facts=(*proposal.facts, fact)))


@contextmanager
def _files(source: Mapping[str, Any]) -> Iterator[Files]:
    """The files of a source. Raises `OSError` or `SIEError` where they cannot be read here."""
    if source["type"] == "hub":
        with closing(open_revision(source["id"], source["revision"])) as revision:
            yield revision
        return
    folder = Path(str(source.get("path") or ""))
    if not source.get("path") or not folder.is_dir():
        raise FileNotFoundError("the files of its model are not on this machine")
    yield FolderFiles(folder)
