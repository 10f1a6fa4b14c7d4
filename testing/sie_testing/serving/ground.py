"""The ground of a simulated cluster that serves: all that its processes need of their world.

*shell.* Owns the history of models, the leases, the clocks and the chance of devices. Knows no
process: the world above does.
"""

from abc import abstractmethod
from typing import Final

from sie_testing.serving.execution import ServingLoop
from sie_testing.serving.laws import Laws
from sie_testing.serving.lease_table import LeaseBoard
from sie_testing.serving.models import LEASABLE, History
from sie_testing.serving.queue_broker import QueueBroker
from sie_testing.stage.epoch import EPOCH_US
from sie_testing.stage.run import Stage
from sie_testing.stage.surroundings import Chance
from sie_testing.stage.trace import Trace

__all__ = ["EPOCH_S", "ServingGround"]

EPOCH_S: Final = EPOCH_US / 1e6
"""The same moment in seconds."""
_LOGGERS: Final = ("sie_gateway", "sie_worker", "sie_runtime")


class ServingGround(Stage):
    """See the module. One per seed."""

    loop: ServingLoop
    broker: QueueBroker
    laws: Laws
    """Made by the subclass, which knows the workers."""

    def __init__(self, chance: Chance) -> None:
        loop = ServingLoop(chance("loop"))  # type: ignore[abstract]
        super().__init__(chance, loop, Trace(loop.time, loggers=_LOGGERS))
        self.device_rng: Final = chance("devices")
        self.history: Final = History()
        self.leases: Final = LeaseBoard(self.loop.time, LEASABLE, self._note_grant)
        self.lives: dict[int, str] = {}
        """The lives of processes, by the number of their connection."""
        self._skewed: dict[str, None] = {}

    def wall(self) -> float:
        """Unix seconds, by a clock that is right."""
        return EPOCH_S + self.loop.time()

    def skewed(self, name: str) -> None:
        """A host has looked at a clock that was set."""
        if name not in self._skewed:
            self._skewed[name] = None
            self.took_effect("clocks-apart")

    @abstractmethod
    def runs(self, text: str, revision: str, adapter: str, execution: str) -> None:
        """A device was handed a text."""

    def _note_grant(self) -> None:
        self.laws.checks["leases take no more than their pool has"] += 1
