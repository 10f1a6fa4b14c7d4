"""Waiting for what cannot be awaited: a condition, with a deadline."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

__all__ = ["WITHIN_S", "until", "until_told"]

WITHIN_S = 60.0
"""Ends a hang and judges nothing: a machine that stood still for many seconds fails no test."""


async def until(condition: Callable[[], object], *, within_s: float = WITHIN_S) -> None:
    """Return as soon as the condition holds; fail the test when it does not in time."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + within_s
    while not condition():
        if loop.time() > ends_at:
            raise AssertionError(f"not within {within_s:g} s: {_where(condition)}")
        await asyncio.sleep(0.005)


async def until_told(ask: Callable[[], Awaitable[object]], *, within_s: float = WITHIN_S) -> None:
    """Like `until`, for a condition that has to be asked for."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + within_s
    while not await ask():
        if loop.time() > ends_at:
            raise AssertionError(f"not within {within_s:g} s: {ask!r}")
        await asyncio.sleep(0.02)


def _where(condition: Callable[[], object]) -> str:
    code = getattr(condition, "__code__", None)
    if code is None:
        return repr(condition)
    return f"the condition at {Path(code.co_filename).name}:{code.co_firstlineno}"
