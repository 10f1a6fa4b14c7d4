"""From a revision back to the change that made it.

*shell.* An answer names the revision that it was made under. The log holds every document that ever
was, so the revision can be found again. The lookup tells where, the entry is the proof.
"""

from dataclasses import dataclass

from msgspec import UNSET

from sie_config.log.storage_faults import LogDamaged
from sie_config.past.lookup import Lookup, revisions_of
from sie_config.past.timeline import Timeline
from sie_schemas.entry import Entry

__all__ = ["Made", "find_revision"]


@dataclass(frozen=True, slots=True)
class Made:
    """A revision, the document that it is of, and the entry that last made it so."""

    revision: str
    kind: str
    key: str
    profile: str
    document: bytes
    entry: Entry


async def find_revision(
    timeline: Timeline, lookup: Lookup, revision: str, *, key: str, until: int
) -> Made | None:
    """The newest change at or before `until` that made this revision (or this beginning of one).

    Raises `LogDamaged` where the entry is not what the lookup says of it.
    """
    found = await lookup.made(revision, key=key, until=until)
    if found is None:
        return None
    epoch, ordinal, profile = found
    entry = await timeline.entry(epoch)
    change = entry.changes[ordinal]
    for whole, named in revisions_of(change):
        if named == profile and whole.startswith(revision):
            assert change.document is not UNSET
            kind = change.entity_kind
            return Made(whole, kind, change.key, profile, bytes(change.document), entry)
    raise LogDamaged(
        f"epoch {epoch} did not make {revision}, though lookup.sqlite says so: remove that file",
        first_bad_epoch=None,
    )
