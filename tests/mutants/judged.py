"""The generated mutants that live and may: each with the reason why no test could see it.

*types.*
"""

from dataclasses import dataclass

__all__ = ["JUDGED", "Judged", "key_of"]


@dataclass(frozen=True, slots=True)
class Judged:
    """A change of one line of a module, and why it is none that anybody could notice."""

    module: str
    before: str
    after: str
    why: str


def key_of(judged: Judged) -> tuple[str, str, str]:
    """A change, without its judgement."""
    return judged.module, judged.before, judged.after


_ADMISSION = "data_plane/sie_gateway/request/admission.py"
_SHORT_CUT = "equivalent: a short cut; what one job holds the long way puts into one job, too"

JUDGED: tuple[Judged, ...] = (
    Judged(
        _ADMISSION,
        "if len(sizes) <= items_max and sum(sizes) <= bytes_max:",
        "if len(sizes) < items_max and sum(sizes) <= bytes_max:",
        _SHORT_CUT,
    ),
    Judged(
        _ADMISSION,
        "if len(sizes) <= items_max and sum(sizes) <= bytes_max:",
        "if len(sizes) <= items_max and sum(sizes) < bytes_max:",
        _SHORT_CUT,
    ),
)
