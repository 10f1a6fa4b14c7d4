"""An event loop without a world: virtual time, and a seeded order of what is ready.

*shell.* Owns the queue of callbacks and the clock. Promises that a run depends on the seed alone.
Time moves only when nothing is ready, and ready callbacks run in an order that the seed draws. Work
for a thread runs on the loop. Everything that would touch a socket, a signal or a process is
refused, because asyncio's own base class refuses it.

A callback belongs to the host in whose context it was made. A host can be paused (its callbacks
wait) and killed (its tasks are cancelled, and whatever they still do reaches nothing).
"""

import asyncio
import contextvars
import heapq
import random
from asyncio import events
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar
from typing import Any, Final, TypeVar, TypeVarTuple, Unpack, cast

__all__ = ["HOST", "Host", "SimulatedLoop", "SimulationStuck", "host_here"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_THREAD_S: Final = 0.002
"""Longest time until a thread takes up what it was given, in virtual seconds."""
_TASKS_KEPT: Final = 32
"""A look through a host's tasks at every so many new ones costs each of them nearly nothing."""


class SimulationStuck(Exception):
    """Nothing is ready and no timer runs: whoever waits, waits for ever."""


class Host:
    """One life of one process. `context` is what its tasks run in."""

    def __init__(self, name: str, life: int = 1) -> None:
        self.name: Final = name
        self.life: Final = life
        self.alive = True
        self.paused = False
        self.held: list[asyncio.TimerHandle] = []
        self.context: Final = contextvars.copy_context()
        self.context.run(HOST.set, self)
        self._tasks: list[asyncio.Task[Any]] = []
        self._tasks_max = _TASKS_KEPT

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Note a task of this life. Those that are done are let go: each holds its frames."""
        if len(self._tasks) >= self._tasks_max:
            self._tasks = [each for each in self._tasks if not each.done()]
            self._tasks_max = 2 * len(self._tasks) + _TASKS_KEPT
        self._tasks.append(task)

    def given_up(self) -> list[asyncio.Task[Any]]:
        """Its tasks that are not done, in the order in which they began; it has none any more."""
        tasks, self._tasks = self._tasks, []
        return [task for task in tasks if not task.done()]

    def __str__(self) -> str:
        return self.name


HOST: Final[ContextVar[Host | None]] = ContextVar("host", default=None)


def host_here() -> Host:
    """The host whose code runs now."""
    host = HOST.get()
    assert host is not None, "this code runs on no host"
    return host


class _Task(asyncio.Task[T]):
    """A task whose place in a set depends on its number and not on its address."""

    def __init__(
        self,
        coro: Coroutine[Any, Any, T],
        *,
        number: int,
        loop: asyncio.AbstractEventLoop,
        name: str,
        context: Context | None,
    ) -> None:
        # First of all: the base class puts the task into a set.
        self.number = number
        super().__init__(coro, loop=loop, name=name, context=context)

    def __hash__(self) -> int:
        return self.number


class _Handle(asyncio.TimerHandle):
    """A callback, for now or for its time. It asks nothing: asyncio's own looks for debugging."""

    __slots__ = ()

    def __init__(
        self, callback: Callable[..., object], args: tuple[object, ...], context: Context | None
    ) -> None:
        self._callback = callback
        self._args = args
        self._context = contextvars.copy_context() if context is None else context
        self._cancelled = False

    def cancel(self) -> None:
        """Never call it; what it held is let go."""
        self._cancelled = True
        self._callback = self._args = None  # type: ignore[assignment]


class SimulatedLoop(asyncio.AbstractEventLoop):
    """See the module. One per simulation; `rng` draws the order of what is ready."""

    def __init__(self, rng: random.Random) -> None:
        self._random = rng.random
        self._now = 0.0
        self._ready: list[asyncio.TimerHandle] = []
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._is_due = False
        """True if a timer was set whose time has come."""
        self._numbers = 0
        self._threads: dict[int, tuple[object, float]] = {}
        self._running = False
        self._closed = False
        self.steps = 0
        self.broken: Exception | None = None
        """The end of the run, where somebody has seen one: raised before the next step."""
        self.troubles: list[str] = []
        """The errors that nobody handled, of tasks that were never looked at."""

    # -- time and callbacks --

    def time(self) -> float:
        """Virtual seconds since the beginning."""
        return self._now

    def call_soon(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        handle = _Handle(callback, args, context)
        self._ready.append(handle)
        return handle

    def call_soon_threadsafe(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        timer = _Handle(callback, args, context)
        self._numbers += 1
        # The number decides between equal times, and keeps handles from being compared.
        heapq.heappush(self._timers, (when, self._numbers, timer))
        self._is_due = self._is_due or when <= self._now
        return timer

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    # -- futures, tasks, threads --

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        # A name is always given: asyncio's own default counts for the whole process.
        self._numbers += 1
        task: _Task[T] = _Task(
            cast("Coroutine[Any, Any, T]", coro),
            number=self._numbers,
            loop=self,
            name=name or "task",
            context=context,
        )
        host = HOST.get() if context is None else context.get(HOST)
        if host is not None:
            if host.alive:
                host.keep(task)
            else:
                task.cancel()
        return task

    def run_in_executor(
        self, executor: object, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Run `func` a little later, on the loop; calls of one executor keep their order."""
        future: asyncio.Future[T] = self.create_future()
        host = HOST.get()
        lane = id(executor) if executor is not None else 0
        begins = self._now + self._random() * _THREAD_S
        if lane:
            begins = max(begins, self._threads.get(lane, (None, 0.0))[1])
            # The executor is kept, so that no other one gets its address.
            self._threads[lane] = executor, begins + 1e-6

        def work() -> None:
            if host is not None and not host.alive:
                return
            try:
                result = func(*args)
            except Exception as error:
                if not future.done():
                    future.set_exception(error)
            else:
                if not future.done():
                    future.set_result(result)

        self.call_at(begins, work)
        return future

    async def shutdown_default_executor(self) -> None:
        """There is none."""

    # -- hosts --

    def pause(self, host: Host) -> None:
        """Stop a host as SIGSTOP does: nothing of it runs until `resume`."""
        host.paused = True

    def resume(self, host: Host) -> None:
        """Let a host go on, with all that came due meanwhile."""
        host.paused = False
        held, host.held = host.held, []
        self._ready.extend(held)

    def kill(self, host: Host) -> None:
        """End a host. Its tasks unwind, but whatever they touch belongs to a dead host."""
        host.alive = False
        self.resume(host)
        for task in host.given_up():
            task.cancel()

    # -- running --

    def run_until_complete(  # type: ignore[override]
        self, future: Coroutine[Any, Any, T] | asyncio.Future[T]
    ) -> T:
        """Run until this is done. Raises `SimulationStuck` when it never will be."""
        before = events._get_running_loop()
        events._set_running_loop(self)
        self._running = True
        try:
            awaited = future if isinstance(future, asyncio.Future) else self.create_task(future)
            while not awaited.done():
                if self.broken is not None:
                    awaited.cancel()
                    broken, self.broken = self.broken, None
                    raise broken
                self._step()
            return awaited.result()
        finally:
            self._running = False
            events._set_running_loop(before)

    def _step(self) -> None:
        # Half of a simulation is here: what asyncio's handles do in calls of their own is inline.
        ready = self._ready
        if self._is_due or not ready:
            self._take_due()
        if not ready:
            return
        chosen = int(self._random() * len(ready))
        handle, ready[chosen] = ready[chosen], ready[-1]
        ready.pop()
        if handle._cancelled:
            return
        context: Context = handle._context  # type: ignore[attr-defined]
        host = context.get(HOST)
        if host is not None and host.paused:
            host.held.append(handle)
            return
        self.steps += 1
        try:
            context.run(handle._callback, *handle._args)  # type: ignore[attr-defined]
        except (Exception, asyncio.CancelledError) as error:
            # A defect of whoever asked for the call: a run with troubles has failed.
            self.call_exception_handler(
                {"message": f"exception in {handle._callback}", "exception": error}  # type: ignore[attr-defined]
            )

    def _take_due(self) -> None:
        """While something is ready, time stands: only a timer that was set late can be due."""
        timers, ready = self._timers, self._ready
        if not ready:
            while timers and timers[0][2]._cancelled:
                heapq.heappop(timers)
            if not timers:
                raise SimulationStuck(f"nothing more will happen after {self._now:.3f} s")
            self._now = max(self._now, timers[0][0])
        now = self._now
        while timers and timers[0][0] <= now:
            timer = heapq.heappop(timers)[2]
            if not timer._cancelled:
                ready.append(timer)
        self._is_due = False

    def is_running(self) -> bool:
        """True if `run_until_complete` is under way."""
        return self._running

    def is_closed(self) -> bool:
        """True if `close` was called."""
        return self._closed

    def close(self) -> None:
        """Forget what was to come."""
        self._closed = True
        self._ready.clear()
        self._timers.clear()

    get_debug = bool
    """Never: debugging looks at the real clock. Asked at each future, so it has no frame."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Note what nobody handled; a simulation with troubles has failed."""
        error = context.get("exception")
        host = HOST.get()
        self.troubles.append(f"{host or 'the world'}: {context.get('message')}: {error!r}")

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Asyncio tells of it; a cancelled timer is dropped when its time comes."""
