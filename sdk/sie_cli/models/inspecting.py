"""The inspector: a process that examines one repository of the hub for sie-config, and ends.

*main.* `python -m sie_cli.models.inspecting`. One line of JSON on stdin names the repository. One
line on stdout tells the facts, what stands in the way, and the document that would be written, or
an error. It ends when its stdin does, so that it never outlives who asked. A folder of this machine
is never looked at, whatever the name.
"""

import os
import sys
import threading
from typing import Any

import msgspec

from sie_cli.models.examining import REPOSITORY, Wanted, document_of, examined_repository
from sie_schemas.errors import FixRequest, SIEError

__all__ = ["inspected", "main"]


def inspected(wanted: Wanted) -> dict[str, Any]:
    """All that is found; `document` is null where none can be made. Raises `SIEError`."""
    if not REPOSITORY.fullmatch(wanted.target) or ".." in wanted.target:
        raise FixRequest(
            f"{wanted.target[:100]!r} is no ORG/NAME of the hub; a folder is added where it lies: "
            "sie inspect FOLDER --document",
            field="target",
        )
    with examined_repository(wanted) as found:
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
        is_whole = proposal.kind == "model" or wanted.adapter_of or proposal.base
        if is_whole and not proposal.refusals:
            _, _, told["document"] = document_of(wanted, found, proposal.base)
        return told


def _end_with_stdin() -> None:
    sys.stdin.buffer.read(1)
    # sys.exit would end this thread alone, and the examination would go on for nobody.
    os._exit(1)


def main() -> None:
    """Examine what stdin asks for."""
    wanted = msgspec.json.decode(sys.stdin.buffer.readline(), type=Wanted)
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    try:
        told = inspected(wanted)
    except SIEError as error:
        told = {"error": {"code": error.code, "message": error.message}}
    sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
    sys.stdout.buffer.flush()
    # Without the ceremony of an end, in which the thread above would be in the way.
    os._exit(0)


if __name__ == "__main__":
    main()
