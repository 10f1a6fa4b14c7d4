"""From a revision back to the change that made it.

*shell.* An answer names the revision that it was made under; the log holds every document that ever
was, so the revision can be found again. With the entity's key its own history is searched; without,
all puts are, newest first, a page at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from sie_config.timeline import Step, Timeline
from sie_schemas.entry import Entry
from sie_schemas.revisions import adapter_revision, model_revision

__all__ = ["Made", "find_revision"]

_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Made:
    """A revision, the document that it is of, and the entry that last made it so."""

    revision: str
    kind: str
    key: str
    profile: str
    document: bytes
    entry: Entry


async def find_revision(timeline: Timeline, revision: str, *, key: str, until: int) -> Made | None:
    """The newest change at or before `until` that made this revision (or this beginning of one)."""
    if key:
        for kind in ("model", "adapter"):
            found = await _find_in_history(timeline, revision, kind, key, until)
            if found is not None:
                return found
        return None
    before = until + 1
    while before > 1:
        steps = await timeline.steps_before(before, limit=_PAGE)
        found = next(_matches(iter(steps), revision), None)
        if found is not None or not steps:
            return found
        before = steps[-1].entry.epoch
    return None


async def _find_in_history(
    timeline: Timeline, revision: str, kind: str, key: str, until: int
) -> Made | None:
    while steps := await timeline.newest_steps(kind, key, until=until, limit=_PAGE):
        found = next(_matches(iter(steps), revision), None)
        if found is not None:
            return found
        until = steps[-1].entry.epoch - 1
    return None


def _matches(steps: Iterator[Step], revision: str) -> Iterator[Made]:
    for step in steps:
        if step.document is None:
            continue
        for found, profile in _revisions(step):
            if found.startswith(revision):
                kind, key = step.change.entity_kind, step.change.key
                yield Made(found, kind, key, profile, step.document, step.entry)


def _revisions(step: Step) -> Iterator[tuple[str, str]]:
    assert step.document is not None
    document = msgspec.json.decode(step.document)
    if step.change.entity_kind == "adapter":
        yield adapter_revision(document), ""
    elif step.change.entity_kind == "model":
        for profile in document["profiles"]:
            yield model_revision(document, profile), profile
