"""A question to the broker that is asked until it is answered.

*shell.* A JetStream cluster drops what it is asked while it has no leader. Promises that a leader
which is chosen while somebody waits is heard at once, and that no question outlives the answer.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from sie_schemas.errors import SIEError, TimeRanOut

__all__ = ["answer_of"]

T = TypeVar("T")
_ASK_AGAIN_S: Final = 0.2
"""A leader that the broker's cluster chooses is asked this soon. Until then a broker has some
dozens of questions to drop."""


async def answer_of(
    ask: Callable[[], Coroutine[Any, Any, T]], *, wait_s: float, go_on: Callable[[], bool]
) -> T:
    """The first answer to `ask`, which is asked once, and again for `wait_s` seconds.

    Raises the `SIEError` of a question, or `TimeRanOut`, after that time, or once it is not worth
    it to `go_on`.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + wait_s
    asked: set[asyncio.Task[T]] = set()
    failed: SIEError = TimeRanOut(f"no answer within {wait_s:g} s")
    try:
        while True:
            # Beside the questions before, since a slow answer counts as well.
            asked.add(asyncio.create_task(ask()))
            answered, asked = await asyncio.wait(
                asked, timeout=_ASK_AGAIN_S, return_when=asyncio.FIRST_COMPLETED
            )
            # Each is looked at, also where several end in one turn: asyncio tells of an error that
            # nobody read.
            errors = [(each, each.exception()) for each in answered]
            for each, error in errors:
                if error is None:
                    return each.result()
                if not isinstance(error, SIEError):
                    raise error
                failed = error
            if not go_on() or loop.time() >= until:
                raise failed
            if answered:
                await asyncio.sleep(_ASK_AGAIN_S)
    finally:
        for each in asked:
            each.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
