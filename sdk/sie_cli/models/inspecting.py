"""The inspector: a process that examines one repository of the hub for sie-config, and ends.

*main.* `python -m sie_cli.models.inspecting`. One line of JSON on stdin names the repository, and
has the models of the log that are known to be wanted. One line on stdout tells the facts, what
stands in the way, and the document that would be written. Else it is an error, or names the model
of the log that is wanted too. It ends when its stdin does, so that it never outlives who asked. A
folder of this machine is never looked at, whatever the name.
"""

import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from sie_cli.models.bases import judged
from sie_cli.models.examining import REPOSITORY, Wanted, document_of, examined_repository
from sie_schemas.errors import FixRequest, SIEError

__all__ = ["Question", "inspected", "main"]


@dataclass(frozen=True, slots=True)
class Question:
    """The words of one inspection, and what the log says of some models."""

    wanted: Wanted
    log: Mapping[str, dict[str, Any] | None] = field(default_factory=dict)
    """Documents of models by their ids; None for one that the log has not."""

    def registered(self, model_id: str) -> Mapping[str, Any] | None:
        """The document of a model. Raises `_NotTold`."""
        if model_id not in self.log:
            raise _NotTold(model_id)
        return self.log[model_id]


class _NotTold(Exception):
    """A model of the log that the question does not have."""


def inspected(question: Question) -> dict[str, Any]:
    """All that is found; `document` is null where none can be made. Raises `SIEError`.

    Where another model of the log is wanted, its id alone, as `wants`.
    """
    wanted = question.wanted
    if not REPOSITORY.fullmatch(wanted.target) or ".." in wanted.target:
        raise FixRequest(
            f"{wanted.target[:100]!r} is no ORG/NAME of the hub; a folder is added where it lies: "
            "sie inspect FOLDER --document",
            field="target",
        )
    with examined_repository(wanted) as alone:
        try:
            found = judged(alone, wanted, question.registered, opens_folders=False)
        except _NotTold as missing:
            return {"wants": str(missing)}
        proposal = found.proposal
        told: dict[str, Any] = {
            "kind": proposal.kind,
            "base": proposal.base,
            "facts": [
                {"what": fact.name, "value": fact.value, "from": fact.source}
                for fact in proposal.facts
            ],
            "refusals": [str(each) for each in proposal.refusals],
            "document": None,
        }
        if not proposal.refusals:
            _, _, told["document"] = document_of(wanted, found)
        return told


def _end_with_stdin() -> None:
    sys.stdin.buffer.read(1)
    # sys.exit would end this thread alone, and the examination would go on for nobody.
    os._exit(1)


def main() -> None:
    """Examine what stdin asks for."""
    question = msgspec.json.decode(sys.stdin.buffer.readline(), type=Question)
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    try:
        told = inspected(question)
    except SIEError as error:
        told = {"error": {"code": error.code, "message": error.message}}
    sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
    sys.stdout.buffer.flush()
    # Without the ceremony of an end, in which the thread above would be in the way.
    os._exit(0)


if __name__ == "__main__":
    main()
