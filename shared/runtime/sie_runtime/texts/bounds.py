"""The bounds of a text of configuration: beyond them it is refused.

*pure.* The bounds hold for everything that one command reads together: it becomes one write, and
sie-config takes no larger one.
"""

from dataclasses import dataclass
from typing import Final

from sie_schemas.errors import FixRequest

__all__ = ["BOUNDS", "Bounds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The most that is read."""

    bytes_max: int = 16 * 1024 * 1024
    """Of all files of one command: what sie-config takes as one batch unless told otherwise."""
    values_max: int = 500_000
    """Of one text, with what aliases repeat: twenty thousand models of the usual size."""
    depth_max: int = 64
    """Of one value: a document has less than ten levels."""

    def check_values(self, count: int) -> None:
        """Raises `FixRequest` where there are too many."""
        if count > self.values_max:
            raise FixRequest(f"it holds more than {self.values_max} values: cut it into several")

    def check_depth(self, depth: int) -> None:
        """Raises `FixRequest` where there are too many levels."""
        if depth > self.depth_max:
            raise FixRequest(f"it is nested too deep: more than {self.depth_max} levels")


BOUNDS: Final = Bounds()
