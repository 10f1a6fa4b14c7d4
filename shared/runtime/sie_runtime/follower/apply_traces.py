"""Spans of what a replica applies: from the moment that it hears an entry until it serves it.

*shell.* The stream brings the trace of the write beside the entry, where somebody collects. What
comes over HTTP has none. Bounded: beyond that no span is begun.
"""

from typing import Final

from sie_core.resolver import Resolver
from sie_runtime.process.spans import Span
from sie_runtime.process.tracing import begin_span

__all__ = ["ApplyTraces"]

_MOST: Final = 1_000
"""Changes that are traced and not applied yet: one more goes untraced, nothing else."""


class ApplyTraces:
    """The open spans, by epoch. Owner: a follower's feeds."""

    def __init__(self) -> None:
        self._open: dict[int, Span] = {}

    def heard(self, epoch: int, traceparent: str) -> None:
        """An entry is heard that was written in this trace."""
        if epoch in self._open or len(self._open) >= _MOST:
            return
        span = begin_span("apply", "internal", parent=traceparent, attributes={"sie.epoch": epoch})
        if span is not None:
            self._open[epoch] = span

    def served(self, resolver: Resolver) -> None:
        """End the spans of all that is served now: every entry up to its position."""
        if not self._open or resolver.position is None:
            return
        for epoch in [each for each in self._open if each <= resolver.position.epoch]:
            self._open.pop(epoch).end()
