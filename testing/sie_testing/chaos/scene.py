"""The scene of a fault: a cluster under load, and somebody who starts again what has ended.

*shell.* Owns the supervisor and the clients of strangers. A fault holds a program down by its name,
says when it strikes, and uses the operator's ways of the cluster itself.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx

from sie_testing.chaos.observe import STEADY_S, not_steady
from sie_testing.chaos.table import SERVES_S
from sie_testing.processes.cluster import Cluster
from sie_testing.processes.judge import Judge
from sie_testing.processes.load import Load
from sie_testing.processes.programs import Program

__all__ = ["GUEST", "RESTART_S", "TOKENS", "Fault", "NotHere", "Scene"]

RESTART_S: Final = 1.0
"""After which a supervisor starts a program again that has ended."""
GUEST: Final = "token-of-a-guest-which-is-long-enough"
TOKENS: Final = ("token-of-the-load-which-is-long-enough", GUEST)
"""Of those whom the gateways let in; a fault takes the guest's back."""
_LOOK_S: Final = 0.1
"""A tenth of `RESTART_S`: a program is down about as long as its supervisor says."""
_IN_HAND: Final = 6
"""The execution holds a batch, and the worker what waits behind it: both are to have some."""
_IN_HAND_S: Final = 0.3
"""A sound request has ended by then: what is older waits for the execution that is stopped."""
_ASK_S: Final = 5.0
"""A process that is well answers in milliseconds; one that is stopped must not stop the fault."""


class NotHere(Exception):
    """A fault that this machine does not let anybody inject; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault: what is done, and what ends it where it lasts."""

    name: str
    done: str
    strike: "Callable[[Scene], Awaitable[None]]"
    mend: "Callable[[Scene], Awaitable[None]] | None" = None
    """Ends it; the time until all serves again is counted from here."""
    lasts_s: float = 4.0
    worker_dies: bool = False
    small_disk: str = ""
    """The program whose folder has to be a disk of its own that can be filled; empty for none."""
    moves_clocks: bool = False
    """True if the wall clocks of our programs have to be ones that can be moved."""
    serves_s: float = SERVES_S


class Scene:
    """See the module. Owner: one run."""

    def __init__(self, cluster: Cluster, load: Load, judge: Judge) -> None:
        self.cluster = cluster
        self.load = load
        self.judge = judge
        self.held: set[str] = set()
        """Programs that a fault keeps down."""
        self.struck_at = 0.0
        self.http = httpx.AsyncClient(timeout=_ASK_S, headers=cluster.headers)
        self.own: contextlib.AsyncExitStack = contextlib.AsyncExitStack()
        """The things that a fault has open, and its mend or the end of the row closes."""
        self.kept: dict[str, Any] = {}
        """The things that a fault remembers for its mend."""

    async def close(self) -> None:
        """Close what strangers and faults have open."""
        await self.own.aclose()
        await self.http.aclose()

    @property
    def everybody(self) -> list[str]:
        """Whom clients speak to."""
        return ["config", *(gateway.name for gateway in self.cluster.gateways)]

    async def supervise(self) -> None:
        """Start again whatever has ended and is not held down; never ends."""
        ended: dict[str, float] = {}
        while True:
            now = time.monotonic()
            for name, program in self.cluster.programs.items():
                if program.running or name in self.held:
                    ended.pop(name, None)
                elif now - ended.setdefault(name, now) >= RESTART_S:
                    await program.start()
            await asyncio.sleep(_LOOK_S)

    def strikes(self) -> None:
        """Now: what follows is the fault's doing."""
        self.struck_at = time.monotonic()

    async def kill(self, *names: str, hold: bool = False) -> None:
        """End programs at once; `hold` keeps them down."""
        if hold:
            self.held.update(names)
        self.strikes()
        for name in names:
            await self.cluster.programs[name].kill()

    def runs(self, tasks: Sequence["asyncio.Task[Any]"]) -> None:
        """The tasks of a fault, cancelled and awaited when it is let go."""

        async def stop() -> None:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self.own.push_async_callback(stop)

    async def let_go(self) -> None:
        """Nothing is held down, stopped, cut or open any more."""
        await self.own.aclose()
        self.own = contextlib.AsyncExitStack()
        self.held.clear()
        self.kept.clear()
        self.cluster.heal()

    async def until(self, ask: Callable[[], bool | Awaitable[bool]], within_s: float) -> bool:
        """Wait for something; true if it came true in time."""
        ends_at = time.monotonic() + within_s
        while True:
            told = ask()
            if told if isinstance(told, bool) else await told:
                return True
            if time.monotonic() > ends_at:
                return False
            await asyncio.sleep(_LOOK_S)

    async def steady(self, within_s: float) -> str:
        """Wait until all are served in time, and follow to where the writer is; else why not.

        Gives an empty text when they are.
        """
        why = ""
        target: tuple[str, int] | None = None

        async def served() -> bool:
            nonlocal why, target
            now = time.monotonic()
            calls = [call for call in self.load.calls[-4000:] if call.ended > now - STEADY_S]
            why = not_steady(calls, self.load.open.values(), self.everybody, now)
            if why:
                return False
            target = target or await self.judge.head()
            why = await self.judge.following(target) if target else "the writer tells no head"
            return not why

        return "" if await self.until(served, within_s) else why

    async def in_hand(self, worker: str) -> None:
        """Stop a worker's execution until it holds requests."""
        execution: Program = self.cluster.programs[worker.replace("worker", "execution")]
        execution.pause()

        def waiting() -> bool:
            now = time.monotonic()
            old = [began for _, began in self.load.open.values() if now - began > _IN_HAND_S]
            return len(old) >= _IN_HAND

        if not await self.until(waiting, _ASK_S):
            raise RuntimeError(f"{worker} holds no request after {_ASK_S:g} s: nothing is tried")

    async def writes(self) -> bool:
        """True if sie-config takes writes."""
        return (await self.judge.writer()).get("status") == "ready"

    async def config(self, method: str, path: str, **sent: Any) -> httpx.Response | None:
        """One request of a person to sie-config; nothing where it does not answer."""
        try:
            return await self.http.request(
                method, f"{self.cluster.url('config')}/v1/configs/{path}", **sent
            )
        except httpx.TransportError:
            return None

    async def written(self, method: str, path: str, **sent: Any) -> None:
        """A write of a person that has to go through."""
        response = await self.config(method, path, **sent)
        if response is None or response.status_code >= 300:
            told = "nobody answers" if response is None else response.text[:200]
            raise RuntimeError(f"{method} {path}: {told}")
