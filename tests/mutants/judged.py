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
_PLACEMENT = "data_plane/sie_worker/intake/placement.py"
_DRAW = "return -weight / math.log(((draw >> 11) + 0.5) / 2**53)"
_ONE_DRAW = "another score for two draws of 2**53 alone; no test finds a name that is hashed to one"
_PACING = "data_plane/sie_worker/scheduling/pacing.py"

_BATCHING = "data_plane/sie_worker/scheduling/batching.py"
_LONGEST = "longest, total, oldest = 0, 0, inf"

JUDGED: tuple[Judged, ...] = (
    Judged(
        "shared/core/sie_core/registry.py",
        "if self._joined is not None and len(self._changed) + len(changed) < _FAN_OUT:",
        "if self._joined is not None and len(self._changed) + len(changed) <= _FAN_OUT:",
        "equivalent but for time: with as many places as children all are gathered either way",
    ),
    Judged(
        "shared/core/sie_core/registry.py",
        "@functools.lru_cache(maxsize=4096)",
        "@functools.lru_cache(maxsize= 4097)",
        "equivalent but for time: what is not remembered is hashed again",
    ),
    Judged(
        _BATCHING,
        "self._sequence += 1",
        "self._sequence += 2",
        "equivalent: only the order of the numbers means anything",
    ),
    Judged(
        _BATCHING,
        _LONGEST,
        "longest, total, oldest = -1, 0, inf",
        "equivalent: an input costs something",
    ),
    Judged(
        _BATCHING,
        _LONGEST,
        "longest, total, oldest = 1, 0, inf",
        "equivalent: an input costs 1 at least",
    ),
    Judged(
        "shared/core/sie_core/registry.py",
        "if self._joined is not None and len(self._changed) + len(changed) < _FAN_OUT:",
        "if not self._joined is not None and len(self._changed) + len(changed) < _FAN_OUT:",
        "equivalent but for time: what is not taken over is gathered anew",
    ),
    Judged(
        _PACING,
        "price_s = self.price_s or 0.0",
        "price_s = self.price_s or -1.0",
        "equivalent: it is the lower of two bounds, of which the other is never below zero",
    ),
    Judged(
        _PLACEMENT,
        "weights = told or dict.fromkeys(rooms, 1.0)",
        "weights = told or dict.fromkeys(rooms, 2.0)",
        "equivalent: where all weigh alike, it does not matter how much",
    ),
    *(
        Judged(_PLACEMENT, _DRAW, _DRAW.replace("+ 0.5", other), _ONE_DRAW)
        for other in ("+ 1.5", "+ -0.5", "- 0.5")
    ),
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
