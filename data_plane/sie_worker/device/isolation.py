"""Isolation: a poisonous input fails alone, and its batch-mates succeed.

*shell* around one way to run inputs. A part that fails by an error that one input may have caused
is halved, until the input that cannot run is alone. After `passes_max` runs beyond the first, many
are bad: what has no outcome by then is left, in the parts that it was cut to. Its turn comes again
(`batching`), for others wait too. So no input has the error of another, and each is run alone once
at most. Any other error is not an input's fault and is raised.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from sie_schemas.errors import SIEError
from sie_worker import metrics

__all__ = ["run_isolated"]

_OF_AN_INPUT: Final = frozenset(
    # An adapter is an input's own: its batch-mates may run under another.
    {"ADAPTER_LOAD_FAILED", "INFERENCE_ERROR", "INPUT_TOO_LONG", "INVALID_REQUEST"}
)
_Input = TypeVar("_Input")
_Answer = TypeVar("_Answer")


async def run_isolated(
    run: Callable[[Sequence[_Input]], Awaitable[Sequence[_Answer | SIEError]]],
    inputs: Sequence[_Input],
    *,
    passes_max: int,
) -> tuple[list[_Answer | SIEError], list[Sequence[_Input]]]:
    """The outcomes of the first inputs, in order, and the parts of all behind them that are left.

    `run` gives one answer for each of its inputs. A part that is left is smaller than `inputs`.
    """
    outcomes: list[_Answer | SIEError] = []
    # A stack of parts, the leftmost on top: outcomes come out in the order of the inputs.
    parts, passes_left = [inputs], passes_max + 1
    while parts and passes_left > 0:
        part = parts.pop()
        passes_left -= 1
        try:
            outcomes += await run(part)
        except SIEError as failure:
            if failure.code not in _OF_AN_INPUT:
                raise
            if len(part) == 1:
                outcomes.append(failure)
            else:
                metrics.SPLITS.inc()
                middle = len(part) // 2
                parts += [part[middle:], part[:middle]]
    return outcomes, parts[::-1]
