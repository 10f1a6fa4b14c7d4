"""The moment at which every simulated world begins.

*types.*
"""

from typing import Final

__all__ = ["EPOCH_US"]

EPOCH_US: Final = 1_700_000_000_000_000
"""In November 2023: a stamp of as many digits as today's, and no clock's."""
