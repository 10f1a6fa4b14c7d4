"""A request of a simulated client, and its end.

*types.*
"""

from dataclasses import dataclass
from typing import Final

__all__ = ["Asking"]

_LONG: Final = 1000
"""Characters: texts of the load have some thirty, or eighteen hundred."""


@dataclass(slots=True)
class Asking:
    """A request, and its end. Times are the world's seconds."""

    number: int
    tenant: str
    model: str
    adapter: str
    texts: tuple[str, ...]
    gateway: str
    epoch: int
    begun_at: float
    lease: str = ""
    """The lease that it is sent under."""
    end: str = ""
    ended_at: float = 0.0

    @property
    def request_id(self) -> str:
        """As the gateway calls it."""
        return f"r{self.number}"

    @property
    def is_long(self) -> bool:
        """True if a text of it is worth fifty of the short ones."""
        return max(map(len, self.texts)) > _LONG

    def has(self, word: str) -> bool:
        """True if a text of it begins so."""
        return any(text.startswith(word) for text in self.texts)

    def __str__(self) -> str:
        what = f"{self.model}+{self.adapter}" if self.adapter else self.model
        return f"{self.request_id} ({what}, {len(self.texts)} texts, tenant {self.tenant})"
