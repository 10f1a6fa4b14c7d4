"""The ground of a simulated cluster: all that its processes need of their world.

*shell.* Owns the truth about the log, the writer's HTTP, and the ids and clocks that a seed
decides. Knows no process: the world above does, and says what a writer's beginnings mean for them.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from sie_schemas.entry import Entry
from sie_testing.simulation.http import Calls
from sie_testing.simulation.truth import Truth
from sie_testing.simulation.volume import Volume
from sie_testing.stage.broker import Broker
from sie_testing.stage.epoch import EPOCH_US
from sie_testing.stage.loop import SimulatedLoop
from sie_testing.stage.run import Stage
from sie_testing.stage.surroundings import Chance
from sie_testing.stage.trace import Trace

__all__ = ["Asked", "Ground", "Reach"]


@dataclass(frozen=True, slots=True)
class Reach:
    """The processes that a roll call reached, and how disturbed the world was by then."""

    disturbances: int
    linked: frozenset[tuple[str, int, int]]
    """(name, life, session) of each process that the broker reaches."""


@dataclass(slots=True)
class Asked:
    """The roll calls of one life of a writer."""

    reach: Reach | None = None
    """Of the newest; None before the first."""
    warned_of: set[str] = field(default_factory=set)
    """The entries that somebody had who was asked."""


class Ground(Stage):
    """See the module. One per seed."""

    def __init__(self, chance: Chance, *, history: Sequence[Entry]) -> None:
        loop = SimulatedLoop(chance("loop"))  # type: ignore[abstract]
        super().__init__(chance, loop, Trace(loop.time))
        self._id_rng: Final = chance("ids")
        self.truth: Final = Truth()
        self.truth.committed(history)
        self.broker = Broker(self.loop, self.network)
        self.calls: Final = Calls(self.loop, self.network)
        self.skew_us = 0
        self._lives = 0

    def now_us(self) -> int:
        """The wall clock of every host: the loop's time, and what a fault added."""
        return EPOCH_US + int(self.loop.time() * 1e6) + self.skew_us

    def new_id(self, size: int) -> str:
        """A random id, from the seed."""
        return self._id_rng.randbytes(size).hex()

    def new_life(self) -> str:
        """The random name of a replica's life; no draw, so that it moves nothing else."""
        self._lives += 1
        return f"life-{self._lives}"

    @property
    def disturbances(self) -> int:
        """The number of times that a link, the broker or a process was interfered with."""
        pauses = sum(process.pauses for process in self.processes)
        return self.network.changes + self.broker.changes + pauses

    @abstractmethod
    def has_one_writer(self) -> bool:
        """True if nothing has happened that lets two histories of one log come about."""

    @abstractmethod
    def opened(self, volume: Volume) -> None:
        """A writer has opened the file of a volume."""

    @abstractmethod
    def begins(self, writer: str, volume: Volume, asked: Asked, entry: Entry) -> None:
        """A writer begins a term, after it has asked. Breaks the run if it was warned."""
