"""A process of a simulated world, and its supervisor: a name that lives again after each death.

*shell.* What a life does is the subclass's. Promises that a life which was killed does nothing any
more, and that its successor begins a little later.
"""

import asyncio
import traceback
from abc import ABC, abstractmethod
from typing import Final, Generic, TypeVar, cast

from nats.aio.client import Client

from sie_runtime.broker.bus import Bus, BusSettings
from sie_schemas.errors import SIEError
from sie_testing.stage.broker_client import BrokerClient
from sie_testing.stage.loop import Host
from sie_testing.stage.surroundings import Surroundings

__all__ = ["Process", "leaves_of"]


W = TypeVar("W", bound=Surroundings)


class Process(ABC, Generic[W]):
    """A process and its supervisor. Owner: the world."""

    def __init__(self, world: W, name: str) -> None:
        self.world: Final = world
        self.name: Final = name
        self.lives = 0
        self.host: Host | None = None
        self.client: BrokerClient | None = None
        self.stop = asyncio.Event()
        self.pauses = 0
        self.held_down = False
        """Nobody starts it again until somebody says so."""

    def start(self) -> None:
        """Begin a life, unless it lives or is held down."""
        if self.held_down or (self.host is not None and self.host.alive):
            return
        self.lives += 1
        self.stop = asyncio.Event()
        self.host = Host(self.name, self.lives)
        self.world.loop.create_task(
            self._life(self.host), name=self.name, context=self.host.context
        )

    def end(self) -> bool:
        """Ask it to end; whether anybody was there to ask."""
        self.stop.set()
        return self.host is not None and self.host.alive

    def kill(self) -> bool:
        """End the life at once, as SIGKILL does; whether there was one."""
        host = self.host
        if host is None or not host.alive:
            return False
        self.world.trace.say(self.name, "is killed")
        self.world.loop.kill(host)
        self._died()
        return True

    def pause(self) -> bool:
        """Stop it in its tracks; whether it ran."""
        if self.host is None or not self.host.alive or self.host.paused:
            return False
        self.pauses += 1
        self.world.loop.pause(self.host)
        return True

    def resume(self) -> None:
        """Let it go on."""
        if self.host is not None and self.host.paused:
            self.pauses += 1
            self.world.loop.resume(self.host)

    @abstractmethod
    async def main(self, host: Host) -> None:
        """One life. Raises `SIEError` when only a fresh life may go on."""

    @abstractmethod
    def bury(self) -> None:
        """Take away what the dead life held."""

    async def _life(self, host: Host) -> None:
        self.world.trace.say(self.name, f"starts, life {host.life}")
        try:
            await self.main(host)
            self.world.trace.say(self.name, "ends")
        except Exception as error:
            # The outermost loop of a process: it ends, and its supervisor starts it again.
            self._ended(error)
        if host.alive:
            self.world.loop.call_soon(self.world.loop.kill, host, context=self.world.context)
            self.world.loop.call_soon(self._died, context=self.world.context)

    def _ended(self, error: Exception) -> None:
        leaves = leaves_of(error)
        self.world.trace.say(self.name, f"ends: {'; '.join(str(leaf) for leaf in leaves)}")
        defects = [leaf for leaf in leaves if not isinstance(leaf, SIEError)]
        if defects and self.host is not None and self.host.alive:
            story = "".join(traceback.format_exception(defects[0]))
            self.world.loop.troubles.append(f"{self.name}: {story}")

    def _died(self) -> None:
        if self.client is not None:
            self.world.broker.drop(self.client)
            self.client = None
        self.bury()
        self.world.later(0.1 + self.world.rng.random(), self.start)

    def _new_client(self, host: Host) -> BrokerClient:
        return BrokerClient(self.world.broker, host, self.world.network_rng)

    async def _bus(self, host: Host, role: str) -> Bus:
        self.client = self._new_client(host)
        return await Bus.connect(
            BusSettings(), role=role, process_id=self.name, client=cast(Client, self.client)
        )


def leaves_of(error: Exception) -> list[Exception]:
    """An error, or the errors that a group of tasks ended with."""
    if not isinstance(error, ExceptionGroup):
        return [error]
    return [leaf for part in error.exceptions for leaf in leaves_of(part)]
