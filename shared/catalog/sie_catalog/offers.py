"""Offers: the documents that a release offers of the models it knows.

*pure* over the rows of `published`. Promises that each document is admitted by the rules of the log
as it stands. A document says nothing that the model's own files say: they are read when it is
loaded. A model without a commit, or of a family that nothing here runs, is never offered, and
`reason_not` says why.
"""

import importlib.metadata
from collections.abc import Iterable, Iterator
from typing import Any, Final, Literal, TypeAlias

from sie_catalog.families import FAMILIES
from sie_catalog.published import Published, published

__all__ = [
    "REASON",
    "Choice",
    "Verified",
    "document_of",
    "entry_reason",
    "offered",
    "reason_not",
    "verified",
]

Choice: TypeAlias = Literal["none", "small", "all"]
Verified: TypeAlias = Literal["none", "layout", "weights"]

REASON: Final = "the catalog of release "
"""The reason of every entry that brings models of the catalog begins so: by it they are known."""
_AT_HAND: Final = frozenset({"sentence-transformers/all-MiniLM-L6-v2"})
"""Models whose own files, at the commit of their row, answer as the reference in a test. No test
fetches weights: these come with a package, byte for byte as their repository has them."""


def offered(choice: Choice, rows: Iterable[Published] | None = None) -> Iterator[dict[str, Any]]:
    """The documents of models, as `POST /v1/configs/models` takes them."""
    for row in published() if rows is None else rows:
        if choice != "none" and (row.small or choice == "all") and not reason_not(row):
            yield document_of(row)


def entry_reason(what: str) -> str:
    """The reason of an entry that brings models of this release."""
    return f"{REASON}{importlib.metadata.version('sie-cluster')}: {what}"


def reason_not(row: Published) -> str:
    """The reason why a model is not offered; empty where it is."""
    refused = FAMILIES[row.family].refused
    if refused:
        return f"not run here: {refused}"
    return "" if row.commit else f"not pinned: `sie add {row.repository}` finds its commit"


def verified(row: Published) -> Verified:
    """The evidence that our answers are the reference's: of its weights, of its layout, or none."""
    if row.id in _AT_HAND:
        return "weights"
    return "layout" if FAMILIES[row.family].proven and not reason_not(row) else "none"


def document_of(row: Published) -> dict[str, Any]:
    """The document of a model that is offered."""
    return {
        "model_id": row.id,
        "source": {"type": "hub", "id": row.repository, "revision": row.commit},
        "tasks": _tasks(row),
        "profiles": {"default": _profile(row)},
        "description": described(row),
    }


def described(row: Published) -> str:
    """One line on a model: its answers and the longest text."""
    parts = [f"{output} of {size} numbers" for output, size in row.outputs.items()]
    parts += [task for task in row.tasks if task != "encode"]
    length = f"; up to {row.tokens} tokens" if row.tokens else ""
    return f"{', '.join(parts)}{length}. {FAMILIES[row.family].words}."


def _tasks(row: Published) -> dict[str, Any]:
    backend = FAMILIES[row.family].backend
    if backend == "cross-encoder":
        return {"score": {}}
    if "extract" in row.tasks:
        return {"extract": {}}
    tasks: dict[str, Any] = {"encode": {"outputs": list(row.outputs)}}
    # A score of late interaction is made of the vectors of tokens.
    return tasks | {"score": {}} if "multivector" in row.outputs else tasks


def _profile(row: Published) -> dict[str, Any]:
    family = FAMILIES[row.family]
    options = {**family.options, **_wording(row)}
    if row.threshold is not None:
        options["threshold"] = row.threshold
    profile: dict[str, Any] = {"backend": family.backend}
    if not family.states_vectors:
        profile["max_sequence_length"] = row.tokens
        options |= {"pooling": row.pooling, "normalize": bool(row.normalize)}
    if options:
        profile["options"] = options
    return profile


def _wording(row: Published) -> dict[str, str]:
    """The words that authors want around a text: their files often say them to people alone."""
    said = {"query_template": row.query, "doc_template": row.document}
    judges = "pair_template" in FAMILIES[row.family].options
    if judges or ("encode" in row.tasks and "{instruction}" in row.query + row.document):
        said["default_instruction"] = row.instruction
    return {name: text for name, text in said.items() if text}
