"""The frame of a run: faults that come, a story that ends, and what is told of it.

*shell.* The same for every simulated world. `run_world` plays a story to its end and gives its
outcome; a failure is a value with the story in it, never an exception. `inject` does faults from a
world's chance. One that waits for its occasion counts when it finds it, by `took_effect`.
"""

import asyncio
import contextlib
import gc
import random
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from sie_testing.stage.broken import Broken
from sie_testing.stage.loop import HOST, SimulationStuck
from sie_testing.stage.process import Process, leaves_of
from sie_testing.stage.surroundings import Surroundings

__all__ = ["Faults", "Result", "Stage", "inject", "run_world"]

_TROUBLES_MAX: Final = 3
"""Later troubles follow from the first; the trace has them all."""
_UNWIND_S: Final = 10.0
"""Simulated seconds, longer than any drain of a process."""


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of a run. `failure` is empty when every property held."""

    seed: int
    failure: str
    trace: str
    counts: dict[str, int]
    virtual_s: float
    steps: int


class Stage(Surroundings, ABC):
    """A world that is run."""

    @property
    @abstractmethod
    def checks(self) -> Mapping[str, int]:
        """The times that each property was put to the test."""

    @property
    @abstractmethod
    def processes(self) -> Sequence[Process[Any]]:
        """Every process that there is."""


W = TypeVar("W", bound=Stage)
Faults = Mapping[str, Callable[[W, random.Random], str]]
"""Kind of fault -> what it does; it gives words for the trace, none when it could not happen."""


async def inject(
    world: W,
    faults: Faults[W],
    kinds: Sequence[str],
    count: int,
    *,
    between_s: float,
    later: frozenset[str],
) -> None:
    """Do `count` faults of these kinds, one after the other, some while others last.

    Those of `later` wait for an occasion, and count when they find one.
    """
    rng = world.fault_rng
    for _ in range(count):
        await asyncio.sleep(rng.expovariate(1 / between_s))
        kind = rng.choice(list(kinds))
        done = faults[kind](world, rng)
        if done:
            if kind not in later:
                world.took_effect(kind)
            world.trace.say("fault", f"{kind}: {done}")


def run_world(world: Stage, seed: int, story: Coroutine[Any, Any, None]) -> Result:
    """Play a story to its end, and judge what nobody else did."""
    collecting = gc.isenabled()
    # A collection would run finalizers at a moment that no seed decides. They write into the story:
    # it is read before one may come.
    gc.disable()
    try:
        return _played(world, seed, story)
    finally:
        if collecting:
            gc.enable()


def _played(world: Stage, seed: int, story: Coroutine[Any, Any, None]) -> Result:
    failure = ""
    with world.trace.listening():
        try:
            world.loop.run_until_complete(story)
        except Exception as error:
            # The outermost frame of a run: whatever it was, it comes with its seed and trace.
            failure = "; ".join(_told(leaf) for leaf in leaves_of(error))
        world.ended = True
        _end(world)
    if world.loop.troubles:
        failure = "nobody handled: " + "; ".join(world.loop.troubles[:_TROUBLES_MAX])
    if failure:
        world.trace.say("judge", failure)
    for check, count in world.checks.items():
        world.counts[f"check: {check}"] = count
    return Result(
        seed, failure, world.trace.text(), world.counts, world.loop.time(), world.loop.steps
    )


def _told(error: Exception) -> str:
    if isinstance(error, Broken | SimulationStuck):
        return str(error)
    return "".join(traceback.format_exception(error))


def _end(world: Stage) -> None:
    """Let every task unwind, so that nothing is left for the collector to trip over."""
    for process in world.processes:
        process.held_down = True
        if process.host is not None:
            world.loop.kill(process.host)

    async def unwind() -> None:
        await asyncio.sleep(_UNWIND_S)

    HOST.set(None)
    with contextlib.suppress(SimulationStuck):
        world.loop.run_until_complete(unwind())
    world.loop.close()
