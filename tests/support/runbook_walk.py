"""A walk of a runbook: how its alert comes about, and what a person does then.

*types.* The walks are in `runbook_walks` and `runbook_disks`.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from tests.support.runbook_world import World

__all__ = ["Act", "Walk", "nothing"]

Act = Callable[[World], Awaitable[None]]


async def nothing(world: World) -> None:
    """The page says it, and there is nothing to do."""


@dataclass(frozen=True)
class Walk:
    """One alert: how it comes about, and what is done."""

    breaks: Act
    acts: Mapping[str, Act] = field(default_factory=dict)
    """By words of a sentence of **Do**."""
    elsewhere: tuple[str, ...] = ()
    """Words of sentences of **Do** that are for another cause, or for clusters of many machines."""
    words: Callable[[World], Mapping[str, str]] = lambda world: {}
    """The words that the capitals in the page's commands stand for."""
    shows: tuple[str, ...] = ()
    """Words that what the page looks at has to show."""
    variables: Callable[[World], Mapping[str, str]] = lambda world: {}
    """Of the commands: an editor."""
    silent: tuple[str, ...] = ()
    """Queries to a process that stands still: it is not scraped, and the page says so."""
    ends: bool = True
    """False where the expression looks back a quarter of an hour, or six hours."""
    fresh: bool = True
    """False where the walk before it leaves the same behind, in the long window of a slow burn."""
    doctor: str = ""
    """Words that `sie doctor` says while it is so; empty where nobody asks it."""
    world: str = "plain"
