"""An adapter judged over the model that it is for, by the files of both.

*shell.* Reads a registered model's small files and the header of its weights. `sie add`, `sie
inspect` and the console ask here, and so they say the same. Promises that an adapter of another
model is refused before it is written, or that it is told why nobody can say.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeAlias

from sie_cli.models.examining import REPOSITORY, Found, Wanted
from sie_cli.models.hub import open_revision
from sie_core.backend_options import without_adapters
from sie_layouts.adapter import refusals_over
from sie_layouts.facts import Fact, Files, Refusal
from sie_layouts.folder import FolderFiles
from sie_schemas.errors import SIEError

__all__ = ["Registered", "judged"]

Registered: TypeAlias = Callable[[str], Mapping[str, Any] | None]
"""The document of a model by its id; None where the log holds none."""
_SAY_IT: Final = "say its model with --adapter-of MODEL"


def judged(
    found: Found, wanted: Wanted, registered: Registered | None, *, opens_folders: bool = True
) -> Found:
    """A thing found, with each reason for which it is no adapter of its model.

    `registered` is None where no log can be asked: what it would say is told as open then.
    `opens_folders` says that a model's folder on this machine may be read.
    """
    proposal = found.proposal
    if proposal.refusals:
        return found
    if proposal.kind == "model":
        what = f"is for an adapter, and {wanted.target} is a model"
        return _refused(found, "--adapter-of", what, "leave it out") if wanted.adapter_of else found
    # Many a config names a folder of the machine that trained it.
    named = wanted.adapter_of or (proposal.base if REPOSITORY.fullmatch(proposal.base) else "")
    if not named:
        return _refused(found, "this is an adapter", "whose config names no model", _SAY_IT)
    if registered is None:
        return _open(found, named, "no log is at hand")
    document = registered(named)
    if document is None and wanted.adapter_of:
        what = "is for this adapter, and the log has no model of that id"
        return _refused(found, f"--adapter-of {named}", what, "register the model first")
    if document is None:
        what = f"and its config names {named}, which is not registered"
        return _refused(found, "this is an adapter", what, _SAY_IT)
    found = replace(found, proposal=replace(proposal, base=named))
    return _over(found, named, document, opens_folders=opens_folders)


def _over(found: Found, named: str, document: Mapping[str, Any], *, opens_folders: bool) -> Found:
    """An adapter over one model, by that model's document."""
    backends = without_adapters(profile["backend"] for profile in document["profiles"].values())
    if backends:
        what = f"runs on the backend {backends}, which takes no adapters"
        return _refused(found, named, what, "merge it into its base, and register that as a model")
    if found.opened is None:
        return found
    try:
        with _files(document["source"], opens_folders=opens_folders) as files:
            pools = document["tasks"].get("encode") is None
            return _with(found, *refusals_over(found.opened, files, pools=pools))
    except (OSError, SIEError) as error:
        return _open(found, named, getattr(error, "message", str(error)))


def _refused(found: Found, source: str, what: str, cure: str) -> Found:
    return _with(found, Refusal(source, what, cure))


def _with(found: Found, *refusals: Refusal) -> Found:
    return replace(found, proposal=replace(found.proposal, refusals=refusals))


def _open(found: Found, named: str, why: str) -> Found:
    fact = Fact("its model's layers", f"judged when a worker loads it: {why}", named)
    proposal = found.proposal
    return replace(found, proposal=replace(proposal, facts=(*proposal.facts, fact)))


@contextmanager
def _files(source: Mapping[str, Any], *, opens_folders: bool) -> Iterator[Files]:
    """The files of a source. Raises `OSError` or `SIEError` where they cannot be read here."""
    if source["type"] == "hub":
        with closing(open_revision(source["id"], source["revision"])) as revision:
            yield revision
        return
    # The path of a package is one inside it, and may be a folder of the same name here.
    if source["type"] != "path" or not opens_folders or not Path(source["path"]).is_dir():
        raise FileNotFoundError("the files of its model are not on this machine")
    yield FolderFiles(Path(source["path"]))
