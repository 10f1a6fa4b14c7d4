"""The work of `sie dlq`: list, show, run again and drop the dead letters of a cluster.

*shell.* Speaks to the broker as the operator, or asks sie-config where nobody named the broker.
Promises that nothing here prints the contents of a request unless asked to.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

from sie_cli.access.named_cluster import Target
from sie_cli.access.operator_access import operator_bus
from sie_runtime.broker.bus import BusSettings
from sie_runtime.streams.dead_letters import DeadLetters
from sie_runtime.streams.letter_runs import contents_of, run_again, told_of
from sie_schemas.api.log import LetterRun, LetterShown
from sie_schemas.errors import FixRequest
from sie_sdk import SIEAsyncConfigClient

__all__ = ["drop_letters", "list_letters", "retry_letter", "show_letter"]

Place: TypeAlias = BusSettings | Target
"""The broker, or a cluster whose broker nobody named: sie-config reaches its letters."""


async def list_letters(place: Place) -> list[LetterShown]:
    """Every letter, oldest first, without its payload."""
    if isinstance(place, Target):
        async with SIEAsyncConfigClient(place.url, token=place.token) as client:
            return await client.letters()
    async with operator_bus(place) as bus:
        return [told_of(found) async for found in DeadLetters(bus).read()]


async def show_letter(place: Place, number: int, *, contents: bool) -> Mapping[str, Any]:
    """One letter; with `contents` also what the request held, where that was kept."""
    if isinstance(place, Target) and not contents:
        # sie-config tells all letters at once and has no route for one.
        found = [each for each in await list_letters(place) if each["number"] == number]
        if not found:
            raise FixRequest(
                f"there is no dead letter {number}: see `sie dlq ls`", code="NOT_FOUND"
            )
        return found[0]
    async with operator_bus(_broker(place)) as bus:
        letter = await DeadLetters(bus).get(number)
    told = told_of(letter)
    return {**told, "contents": contents_of(letter)} if contents else told


async def drop_letters(place: Place, numbers: list[int]) -> None:
    """Forget letters. Raises `FixRequest` NOT_FOUND at the end, with those that were not there."""
    if isinstance(place, Target):
        async with SIEAsyncConfigClient(place.url, token=place.token) as client:
            await client.drop_letters(numbers)
        return
    async with operator_bus(place) as bus:
        await DeadLetters(bus).drop_all(numbers)


async def retry_letter(place: Place, number: int, *, within_s: float) -> LetterRun:
    """Run a job again and drop its letter when it succeeds.

    Raises the error that the job failed with, or `TimeRanOut`: the letter then stays.
    """
    if isinstance(place, Target):
        async with SIEAsyncConfigClient(place.url, token=place.token) as client:
            return await client.retry_letter(number, within_s=within_s)
    async with operator_bus(place) as bus:
        return await run_again(bus, DeadLetters(bus), number, within_s=within_s)


def _broker(place: Place) -> BusSettings:
    if isinstance(place, Target):
        raise FixRequest(
            "what a request held is read at the broker, and none is named: give --nats-url URL, "
            "or have the context know it with `sie context add NAME --url URL --nats-url URL`"
        )
    return place
