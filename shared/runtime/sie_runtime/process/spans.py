"""The words of tracing: a span, its parent, and whoever collects spans.

*types.* Held by `tracing`, which decides, and by `collected_spans`, which brings a library: neither
is imported here, so that both may be without the other.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, TypeAlias

__all__ = ["Attribute", "Collector", "Kind", "Parent", "Span"]

Kind: TypeAlias = Literal["server", "consumer", "internal"]
Attribute: TypeAlias = str | int | float | bool
Parent: TypeAlias = tuple[str, str, str]
"""Trace, span and flags, in hex."""


class Span(Protocol):
    """A span that has begun. `traceparent` names it to whoever goes on with the request."""

    @property
    def trace_id(self) -> str:
        """The trace that it is of, in hex."""
        ...

    @property
    def traceparent(self) -> str:
        """Its name on the wire."""
        ...

    def tell(self, name: str, value: Attribute) -> None:
        """Note what is known of it."""
        ...

    def rename(self, name: str) -> None:
        """Give it another name, which was not known when it began."""
        ...

    def end(self, failed: str = "") -> None:
        """It is over; `failed` says with which error."""
        ...


class Collector(Protocol):
    """The way of spans out of this process."""

    def begin(
        self,
        name: str,
        kind: Kind,
        parent: Parent | None,
        links: Sequence[Parent],
        attributes: Mapping[str, Attribute],
    ) -> Span:
        """Begin a span; one without a parent begins a trace."""
        ...

    def end(self) -> None:
        """Send what is left."""
        ...
