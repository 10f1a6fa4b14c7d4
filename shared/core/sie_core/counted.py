"""A number and its noun, as a person says it: `1 worker`, `2 workers`, `0 entries`.

*pure.*
"""

__all__ = ["counted"]


def counted(number: int, one: str, many: str = "") -> str:
    """The number with the noun that fits; `many` is else `one` and an s."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"
