"""A property that does not hold: the word of every judge.

*types.*
"""

__all__ = ["Broken"]


class Broken(AssertionError):
    """A property does not hold."""
