"""The revisions that a worker may still be asked for, beside those of the resolver.

*pure.* Time is an argument. A job names the revision that was current when it was published, and
finishes on it. So the resolver that knew it is kept until the last deadline that can name it has
passed. Owned by the pulling loop. Nothing here loads.
"""

from collections import deque
from collections.abc import Iterator, Sequence

from sie_core.resolver import ResolvedAdapter, ResolvedModel, Resolver
from sie_schemas.errors import SIEError
from sie_schemas.jobs import AdapterPin

__all__ = ["KnownRevisions"]


class KnownRevisions:
    """The current resolver and those before it that a job may still name."""

    def __init__(self, *, keep_s: float, resolvers_max: int) -> None:
        self._keep_s = keep_s
        self._current: Resolver | None = None
        self._previous: deque[tuple[float, Resolver]] = deque(maxlen=resolvers_max)
        """(when it was replaced, resolver), oldest first."""

    @property
    def current(self) -> Resolver | None:
        """The newest resolver, None before the first."""
        return self._current

    def pinned(self, pool: str) -> Sequence[str]:
        """The models that a pool's document says no other model may make leave."""
        return self._current.pinned(pool) if self._current is not None else ()

    def advance(self, resolver: Resolver, now: float) -> None:
        """Take a new resolver; the one before it is kept for a while."""
        if self._current is not None:
            self._previous.append((now, self._current))
        self._current = resolver
        self.forget(now)

    def forget(self, now: float) -> None:
        """Let go of the resolvers that no live job can name."""
        while self._previous and now - self._previous[0][0] >= self._keep_s:
            self._previous.popleft()

    def model(self, model_id: str, profile: str, revision: str) -> ResolvedModel | None:
        """The model at exactly that revision, if it is known."""
        for resolver in self._newest_first():
            try:
                found = resolver.resolve(f"{model_id}:{profile}")
            except SIEError:
                continue
            if found.revision == revision and found.model_id == model_id:
                return found
        return None

    def is_current(self, name: str, revision: str) -> bool:
        """True if the newest resolver has this revision under a name as reports have it:
        `<model id>[:<profile>]`, or that with `+<adapter>`."""
        if self._current is None:
            return False
        try:
            if self._current.resolve(name).revision == revision:
                return True
        except SIEError:
            pass
        model, plus, adapter = name.rpartition("+")
        try:
            found = self._current.adapter(model.partition(":")[0], adapter) if plus else None
        except SIEError:
            return False
        return found is not None and found.revision == revision

    def adapter(self, model_id: str, pin: AdapterPin) -> ResolvedAdapter | None:
        """The adapter at exactly that revision, if it is known."""
        for resolver in self._newest_first():
            try:
                found = resolver.adapter(model_id, pin.name)
            except SIEError:
                continue
            if found.revision == pin.revision:
                return found
        return None

    def _newest_first(self) -> Iterator[Resolver]:
        if self._current is not None:
            yield self._current
        for _, resolver in reversed(self._previous):
            yield resolver
