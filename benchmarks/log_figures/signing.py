"""The cost of signed positions: the writer once a commit, a reader once a range.

Interleaved in one run, so that a busy machine slows both alike.
"""

import time
from collections.abc import Callable, Sequence

from log_figures.figures import Figure, percentile
from sie_schemas.entry import Entry
from sie_testing.signing import PINNED, WRITER_KEY

__all__ = ["signing"]

_ROUNDS = 200
"""The median of so many is steady to a microsecond; each takes entries of its own."""
_RANGE = 1000
"""The farthest that a replica catches up by entries, and so the longest range it checks at once."""


def signing(entries: Sequence[Entry]) -> list[Figure]:
    """Microseconds of one signature, of one check, and of a range that has one at its end.

    Each round has positions of its own: a process remembers what it has checked.
    """
    took: dict[str, list[float]] = {"sign": [], "check": [], "range": []}
    for turn in range(_ROUNDS):
        entry = entries[turn]
        took["sign"].append(_timed(lambda entry=entry: WRITER_KEY.signed(entry)))
        one = WRITER_KEY.signed(entry)
        took["check"].append(_timed(lambda one=one: PINNED.accepts(one)))
        run = list(entries[turn + 1 : turn + 1 + _RANGE])
        run[-1] = WRITER_KEY.signed(run[-1])
        took["range"].append(_timed(lambda run=run: PINNED.covered(run)))
    middle = {name: percentile(values, 0.5) * 1e6 for name, values in took.items()}
    return [
        Figure("signing a position, once a commit", middle["sign"], "µs", 100, "below"),
        Figure("checking a position", middle["check"], "µs", 200, "below"),
        Figure(
            f"checking a range of {_RANGE} entries",
            middle["range"],
            "µs",
            1500,
            "below",
            note="one check for its key, one for its end",
        ),
    ]


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
