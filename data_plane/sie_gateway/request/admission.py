"""Admission: how much a gateway takes on, and how a request is cut into jobs.

*pure.* Counts and does not queue: what does not fit is refused at the door. Promises:

- What is in flight stays within the caps. An idle gateway takes any request that passed the limits
  of a body.
- What was taken is given back exactly.
- A cut covers every item once, in order, within the caps of a job. Only an item that is alone may
  be above the bytes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from msgspec import Struct

from sie_schemas.errors import Later

__all__ = ["Caps", "InFlight", "Shares", "cut"]


@dataclass(frozen=True, slots=True)
class Caps:
    """The most that may be in flight at one gateway."""

    items_max: int
    bytes_max: int


class InFlight(Struct, frozen=True):
    """Items and bytes of the requests that have no answer yet."""

    items: int = 0
    bytes: int = 0

    def plus(self, *, items: int, size: int, caps: Caps, whose: str | None = None) -> "InFlight":
        """Take a request on. Raises `Later`: QUEUE_FULL, or RATE_LIMIT where the caps are those of
        somebody, such as `tenant 'a'`."""
        after = InFlight(self.items + items, self.bytes + size)
        # An idle gateway takes what is above its caps: refused, such a request could never run.
        if self.items and (after.items > caps.items_max or after.bytes > caps.bytes_max):
            if whose is not None:
                raise Later(
                    f"{self.items} items of {whose} wait for an answer; {items} more would pass "
                    "its cap: send the request again",
                    code="RATE_LIMIT",
                )
            raise Later(
                f"this gateway holds {self.items} items ({self.bytes} bytes) that wait for an "
                f"answer; {items} more would pass its cap: send the request again",
                code="QUEUE_FULL",
            )
        return after

    def minus(self, *, items: int, size: int) -> "InFlight":
        """Give back what `plus` took."""
        return InFlight(self.items - items, self.bytes - size)


class Shares:
    """The requests in flight of each that has caps of its own: tenants, and shares of leases."""

    def __init__(self) -> None:
        self._held: dict[str, InFlight] = {}

    def __len__(self) -> int:
        return len(self._held)

    @contextmanager
    def taken(self, whose: str, caps: Caps, *, items: int, size: int) -> Iterator[None]:
        """Take a request on within somebody's caps, and give back what it took. Raises `Later`."""
        held = self._held.get(whose, InFlight())
        self._held[whose] = held.plus(items=items, size=size, caps=caps, whose=whose)
        try:
            yield
        finally:
            left = self._held[whose].minus(items=items, size=size)
            if left.items:
                self._held[whose] = left
            else:
                # The name of a tenant may come from a header: what is idle is not remembered.
                del self._held[whose]


def cut(sizes: Sequence[int], *, items_max: int, bytes_max: int) -> list[range]:
    """Cut items of these sizes (bytes) into jobs, as ranges of their indices.

    The jobs of a request are about equal in items, so that workers finish together.
    """
    if not sizes:
        return []
    if len(sizes) <= items_max and sum(sizes) <= bytes_max:
        return [range(len(sizes))]
    jobs_wanted = -(-len(sizes) // items_max)
    items_each = -(-len(sizes) // jobs_wanted)
    ranges: list[range] = []
    start, held = 0, 0
    for index, size in enumerate(sizes):
        if index > start and (index - start == items_each or held + size > bytes_max):
            ranges.append(range(start, index))
            start, held = index, 0
        held += size
    ranges.append(range(start, len(sizes)))
    return ranges
