"""Reverting: the commands that bring back an older state as a new entry.

*pure.* History only grows: nothing is taken out of the log. Only documents are compared, so an
entity that has them back is not touched again. Old documents return byte for byte: what was
admitted once is not judged by today's form, though today's rules on names and references hold.
"""

from collections.abc import Sequence

import msgspec

from sie_config.documents.differences import changes_between
from sie_config.writer.rules import Command, Delete, Put
from sie_core.registry import EntityId, Registry
from sie_schemas.errors import FixRequest

__all__ = ["revert_commands"]


def revert_commands(
    now: Registry, then: Registry, chosen: Sequence[EntityId] | None
) -> tuple[Command, ...]:
    """The commands that give `now` the documents of `then`, for the chosen entities or for all.

    Raises `FixRequest`, the kind's NOT_FOUND, for a chosen entity that is in neither. Its name has
    a slip, and the others would be reverted without it.
    """
    for index, (kind, key) in enumerate(chosen or ()):
        if now.get(kind, key) is None and then.get(kind, key) is None:
            raise FixRequest(
                f"there is no {kind} {key!r}, and was none at the moment to revert to",
                code=f"{kind.upper()}_NOT_FOUND",
                field=f"entities.{index}.key",
            )
    commands: list[Command] = []
    for change in changes_between(now, then, chosen):
        if change.after is None:
            commands.append(Delete(change.kind, change.key))
        else:
            body = change.after.document
            commands.append(Put(change.kind, change.key, msgspec.json.decode(body), body))
    return tuple(commands)
