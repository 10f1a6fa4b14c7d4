"""Turns: deficit round-robin among the tenants that have work waiting (Shreedhar and Varghese,
1995).

*pure.* Promises for two tenants that both have work waiting all the time, whatever each has queued.
Neither is served more than two quanta and two inputs ahead of the other. Between lanes it is two
batches, since a batch is of one lane. A tenant that had nothing waiting has saved up nothing. A
tenant alone owes nothing and waits for nobody.
"""

from collections import deque
from collections.abc import Mapping
from typing import Final

__all__ = ["Senders", "Turns"]

_LATELY_S: Final = 10.0
"""A tenant that asked nothing for so long starts even with the others."""


class Senders:
    """The tenants that sent something lately."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}
        """The time at which each sent last, the latest last."""

    def sent(self, tenant: str, now: float) -> None:
        """A tenant sends something."""
        self._last.pop(tenant, None)
        self._last[tenant] = now

    def several(self, now: float) -> bool:
        """True if more than one sent in the last ten seconds."""
        while self._last and now - self._last[first := next(iter(self._last))] > _LATELY_S:
            del self._last[first]
        return len(self._last) > 1


class Turns:
    """Whose input is next. Costs are in the unit of the batches. Owned by the scheduler."""

    def __init__(self, *, quantum: int) -> None:
        if quantum < 1:
            raise ValueError("the quantum is at least 1")
        self._quantum = quantum
        self._ring: deque[str] = deque()
        """Tenants with work waiting, whose turn is first in front."""
        self._deficits: dict[str, int] = {}
        self._inputs: dict[str, int] = {}

    def joined(self, tenant: str, inputs: int) -> None:
        """So many inputs of a tenant began to wait."""
        if tenant not in self._inputs:
            self._ring.append(tenant)
            self._deficits[tenant] = self._inputs[tenant] = 0
        self._inputs[tenant] += inputs

    def left(self, tenant: str, inputs: int) -> None:
        """So many inputs of a tenant wait no more."""
        self._inputs[tenant] -= inputs
        if not self._inputs[tenant]:
            self._ring.remove(tenant)
            del self._inputs[tenant], self._deficits[tenant]

    def pick(self, heads: Mapping[str, int]) -> str:
        """The tenant whose next input goes, of those that could: the cost of that input by tenant.

        A tenant that could not keeps its place and its deficit.
        """
        if len(heads) == 1:
            return next(iter(heads))
        while True:
            # A copy: the ring turns meanwhile.
            for tenant in [each for each in self._ring if each in heads]:
                if self._deficits[tenant] >= heads[tenant]:
                    return tenant
                self._deficits[tenant] += self._quantum
                self._ring.remove(tenant)
                self._ring.append(tenant)

    def served(self, tenant: str, cost: int) -> None:
        """An input of a tenant went. Alone it may take what it wants, and owes nothing for it."""
        self._deficits[tenant] = self._deficits[tenant] - cost if len(self._ring) > 1 else 0
