"""Applying files: the one batch that makes the cluster hold what they say.

*pure.* Promises that all of it is one entry, and that what does not differ is not written. What is
refused is named by its file and line.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from sie_cli.config.documents import LocalDocument
from sie_schemas.errors import FixRequest
from sie_sdk.config.calls import Kind

__all__ = ["operations_for", "placed"]

_OPERATION: Final = re.compile(r"operations\.([0-9]{1,9})(?:\.|$)")


def operations_for(
    documents: Sequence[LocalDocument], present: Mapping[Kind, Iterable[str]]
) -> list[dict[str, Any]]:
    """Puts of all documents, and deletes of what is `present` in a kind and not among them."""
    operations: list[dict[str, Any]] = [
        {"op": "put", "kind": each.kind, "key": each.key, "document": dict(each.document)}
        for each in documents
    ]
    wanted = {(each.kind, each.key) for each in documents}
    for kind, keys in present.items():
        operations += [
            {"op": "delete", "kind": kind, "key": key}
            for key in sorted(keys)
            if (kind, key) not in wanted
        ]
    return operations


@contextmanager
def placed(documents: Sequence[LocalDocument]) -> Iterator[None]:
    """Around a batch whose first operations are these documents: a refusal names the file and line
    of what is at fault."""
    try:
        yield
    except FixRequest as error:
        place, path = _place(documents, error.field or "")
        if not place:
            # Refusals of the whole state name a field and no operation.
            place = _place_of_value(documents, error)
        if not place:
            raise
        details = error.details
        if isinstance(details, list):
            details = [_told(documents, each) for each in details]
        raise FixRequest(
            f"{place}: {error.message}", code=error.code, field=path or None, details=details
        ) from error


def _told(documents: Sequence[LocalDocument], problem: Mapping[str, Any]) -> dict[str, Any]:
    place, path = _place(documents, str(problem.get("path") or ""))
    return {**problem, "path": f"{place}: {path}" if place else problem.get("path")}


def _place(documents: Sequence[LocalDocument], where: str) -> tuple[str, str]:
    """From a field of the batch to a place in a file, and the field there."""
    found = _OPERATION.match(where)
    if found is None and len(documents) == 1 and where:
        # Of a batch of one its number is left out.
        return documents[0].place_of(where.split(".")), where
    if found is None or int(found[1]) >= len(documents):
        return "", where
    path = where[found.end() :].removeprefix("document").strip(".")
    steps = [step for step in path.split(".") if step]
    return documents[int(found[1])].place_of(steps), path


def _place_of_value(documents: Sequence[LocalDocument], error: FixRequest) -> str:
    """The place of the one document whose field holds what a refusal speaks of, if it is one."""
    field = error.field or ""
    found = [
        each for each in documents if field and repr(each.document.get(field)) in error.message
    ]
    return found[0].place_of([field]) if len(found) == 1 else ""
