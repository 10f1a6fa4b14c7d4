"""Origins: blame over histories of any length, each read once.

*shell.* Reads an entity's changes oldest first, a page at a time, and keeps what it found at the
end of each whole page. The next blame, at whatever epoch, begins at the page before it. Promises
that its memory is bounded, by entities, by pages and by the bytes of documents.
"""

from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from msgspec import Struct

from sie_config.past.blame import Traced, trace
from sie_config.past.timeline import Timeline
from sie_core.registry import EntityId
from sie_schemas.entry import Entry

__all__ = ["Origin", "Origins"]

_PAGE: Final = 500
"""Changes of one entity read at a time; a model changed 5,000 times is blamed in 27 ms."""
_ENTITIES_MAX: Final = 64
"""Entities whose fields are known: those that people look at in one incident."""
_PAGES_MAX: Final = 256
"""Of one entity; a longer history is read from the last of them on."""
_BYTES_MAX: Final = 16 * 1024 * 1024
"""Of documents that are kept; an entity that alone has more is not remembered."""


class Origin(Struct, frozen=True):
    """An entry's author and reason, without its body, which may be large."""

    epoch: int
    ts: str
    actor: str
    reason: str
    forced: str
    request_id: str
    hash: str

    @classmethod
    def of(cls, entry: Entry) -> "Origin":
        """The origin that an entry is."""
        return cls(
            entry.epoch,
            entry.ts,
            entry.actor,
            entry.reason,
            entry.forced,
            entry.request_id,
            entry.hash,
        )


_State: TypeAlias = Traced[Origin] | None


@dataclass(slots=True)
class _Pages:
    epochs: list[int] = field(default_factory=list)
    states: list[_State] = field(default_factory=list)
    size: int = 0

    def before(self, epoch: int) -> tuple[int, _State]:
        place = bisect_right(self.epochs, epoch)
        return (self.epochs[place - 1], self.states[place - 1]) if place else (0, None)

    def add(self, epoch: int, state: _State) -> None:
        if len(self.epochs) < _PAGES_MAX and (not self.epochs or self.epochs[-1] < epoch):
            self.epochs.append(epoch)
            self.states.append(state)
            self.size += len(state.body) if state is not None else 0


class Origins:
    """The pages found of the entities that were asked for last. Owner: the routes of one log."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._known: OrderedDict[EntityId, _Pages] = OrderedDict()

    async def at(self, kind: str, key: str, epoch: int) -> Traced[Origin] | None:
        """An entity as it was at an epoch, traced; None where it was absent.

        Raises `LogDamaged`.
        """
        pages = self._known.get((kind, key), _Pages())
        if (kind, key) in self._known:
            # Also where no page is new: else the entity that is looked at most leaves first.
            self._known.move_to_end((kind, key))
        after, state = pages.before(epoch)
        while steps := await self._timeline.steps(kind, key, after=after, until=epoch, limit=_PAGE):
            for step in steps:
                state = trace(state, step.document, Origin.of(step.entry))
            after = steps[-1].entry.epoch
            if len(steps) < _PAGE:
                break
            pages.add(after, state)
            self._remember((kind, key), pages)
        return state

    def _remember(self, entity_id: EntityId, pages: _Pages) -> None:
        self._known[entity_id] = pages
        size = sum(each.size for each in self._known.values())
        while len(self._known) > _ENTITIES_MAX or size > _BYTES_MAX:
            _, gone = self._known.popitem(last=False)
            size -= gone.size
