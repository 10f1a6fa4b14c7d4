"""The ground of every simulated world: chance, a loop, a network, a story and its counts.

*shell.* Chance is split into streams by name, so that one more draw in the load moves nothing on
the network.
"""

import contextvars
import random
from collections.abc import Callable
from typing import Final

from sie_testing.stage.broken import Broken
from sie_testing.stage.broker import Broker
from sie_testing.stage.loop import SimulatedLoop
from sie_testing.stage.network import Network
from sie_testing.stage.trace import Trace

__all__ = ["Chance", "Surroundings", "chance_of"]

Chance = Callable[[str], random.Random]
"""A stream of chance by its name."""


def chance_of(seed: str) -> Chance:
    """The streams of a seed."""
    return lambda name: random.Random(f"{seed}/{name}")


class Surroundings:
    """The part of a world that its processes and its faults need. One per seed."""

    loop: SimulatedLoop
    broker: Broker
    """Made by the subclass."""

    def __init__(self, chance: Chance, loop: SimulatedLoop, trace: Trace) -> None:
        self.rng: Final = chance("world")
        self.fault_rng: Final = chance("faults")
        self.load_rng: Final = chance("load")
        self.network_rng: Final = chance("network")
        self.loop = loop
        self.context: Final = contextvars.copy_context()
        self.trace: Final = trace
        self.network: Final = Network(self.network_rng)
        self.counts: dict[str, int] = {}
        self.ended = False
        """Judged: what comes now is only the unwinding."""

    def count(self, what: str) -> None:
        """Note that something happened, for the coverage of a run."""
        self.counts[what] = self.counts.get(what, 0) + 1

    def took_effect(self, kind: str) -> None:
        """A fault has had its effect."""
        self.count(f"fault: {kind}")

    def later(self, delay_s: float, callback: Callable[[], object]) -> None:
        """Do something in a while, by the world's hand."""
        self.loop.call_later(delay_s, callback, context=self.context)

    def breaks(self, error: Broken) -> None:
        """A property does not hold: the run ends here, and its story with it."""
        if not self.ended:
            self.ended = True
            self.loop.broken = error
