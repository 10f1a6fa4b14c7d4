"""The work of `sie dlq`: list, show, run again and drop the dead letters of a cluster.

*shell.* Speaks to the broker as the operator. Promises that nothing here prints the contents of a
request unless asked to.
"""

from typing import Any

from sie_cli.access.operator_access import operator_bus
from sie_runtime.broker.bus import BusSettings
from sie_runtime.streams.dead_letters import DeadLetters
from sie_runtime.streams.letter_runs import contents_of, run_again, told_of

__all__ = ["drop_letters", "list_letters", "retry_letter", "show_letter"]


async def list_letters(access: BusSettings) -> list[dict[str, Any]]:
    """Every letter, oldest first, without its payload."""
    async with operator_bus(access) as bus:
        return [told_of(found) async for found in DeadLetters(bus).read()]


async def show_letter(access: BusSettings, number: int, *, contents: bool) -> dict[str, Any]:
    """One letter; with `contents` also what the request held, where that was kept."""
    async with operator_bus(access) as bus:
        found = await DeadLetters(bus).get(number)
    told = told_of(found)
    if contents:
        told["contents"] = contents_of(found)
    return told


async def drop_letters(access: BusSettings, numbers: list[int]) -> None:
    """Forget letters. Raises `FixRequest` NOT_FOUND for the first that is not there."""
    async with operator_bus(access) as bus:
        letters = DeadLetters(bus)
        for number in numbers:
            await letters.drop(number)


async def retry_letter(access: BusSettings, number: int, *, within_s: float) -> dict[str, Any]:
    """Run a job again and drop its letter when it succeeds.

    Raises the error that the job failed with, or `TimeRanOut`: the letter then stays.
    """
    async with operator_bus(access) as bus:
        return await run_again(bus, number, within_s=within_s)
