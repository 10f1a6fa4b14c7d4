"""The broker's client in memory: what `sie_runtime` uses of the NATS client, and nothing more.

*shell.* Owns one connection of one host: its subscriptions, its requests, its link. Raises the
library's own errors, so that everything above it is the code that runs in production. A link that
breaks is noticed late, as it is in life: until then publishes vanish and requests run out of time.
"""

import asyncio
import contextlib
import inspect
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeoutError

from sie_testing.stage.broker import Arrival, Broker
from sie_testing.stage.jet_stream import JetStream
from sie_testing.stage.loop import Host

__all__ = ["BrokerClient"]

_NOTICED_S: Final = 2.0
"""Longest time until a broken link is noticed."""
_RECONNECT_S: Final = 0.5
_BURST_S: Final = 0.001
"""The seconds within which what arrives is read at once."""


@dataclass(eq=False, slots=True)
class Interest:
    """One subscription: its messages wait here and are handed over one after the other."""

    client: "BrokerClient"
    subject: str
    tokens: tuple[str, ...]  # Of a subject with wildcards; else none.
    callback: Callable[[Any], Awaitable[None]]
    waiting_max: int
    waiting: deque[Arrival] = field(default_factory=deque)
    pumping: bool = False
    ended: bool = False
    """True if the broker sends it nothing more."""

    async def unsubscribe(self) -> None:
        """End the interest."""
        self.client.interests.pop(self, None)
        self.client.matching.clear()
        self.waiting.clear()

    async def drain(self) -> None:
        """End the interest: the broker first, and here when what is on its way has come."""
        ended = asyncio.get_running_loop().create_future()
        self.client.tell_broker(lambda: self._end_there(ended))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_NOTICED_S):
                await ended
        await asyncio.sleep(0)
        await self.unsubscribe()

    def _end_there(self, ended: "asyncio.Future[None]") -> None:
        self.ended = True
        self.client.matching.clear()
        self.client.tell_here(lambda: None if ended.done() else ended.set_result(None))

    def wants(self, subject: str, tokens: list[str]) -> bool:
        """True if this subject, of these tokens, matches, wildcards and all."""
        mine = self.tokens
        if self.ended or not mine:
            return subject == self.subject and not self.ended
        if mine[-1] == ">" and len(tokens) >= len(mine):
            mine = mine[:-1]
        elif len(tokens) != len(mine):
            return False
        return all(want in ("*", token) for want, token in zip(mine, tokens, strict=False))


class BrokerClient:
    """See the module. `waiting_max` bounds what waits in each subscription made from now on."""

    def __init__(self, broker: Broker, host: Host, rng: random.Random) -> None:
        self.host = host
        self.interests: dict[Interest, None] = {}
        self.matching: dict[str, list[Interest]] = {}
        """Those that want a subject, as long as none comes or goes."""
        self.linked = False
        """True if the connection truly holds."""
        self.session = 0
        self.waiting_max = 1000
        self.dropped = 0
        self.is_connected = False
        self.is_closed = False
        self._broker = broker
        self._rng = rng
        self._inboxes = 0
        self._replies: dict[str, asyncio.Future[Arrival]] = {}
        self._sent_at = 0.0
        self._arrives_at = 0.0
        self._incoming: deque[tuple[float, int, Interest | None, Arrival]] = deque()
        self._first_link: asyncio.Future[None] | None = None
        self._disconnected: Callable[[], Awaitable[None]] | None = None
        self._reconnected: Callable[[], Awaitable[None]] | None = None
        broker.clients.append(self)
        broker.connections += 1
        self._role = ""
        self._number = broker.connections
        self._inbox = f"_INBOX.{broker.connections}."

    # -- the library's surface --

    async def connect(
        self,
        *,
        error_cb: Callable[[Exception], Awaitable[None]],
        disconnected_cb: Callable[[], Awaitable[None]],
        reconnected_cb: Callable[[], Awaitable[None]],
        name: str,
        **_options: object,
    ) -> None:
        """Connect; waits for as long as it takes. `name` begins with the role."""
        self._role = name.partition("/")[0]
        self._disconnected, self._reconnected = disconnected_cb, reconnected_cb
        await asyncio.sleep(self._broker.network.delay_s())
        if self._broker.reaches(self):
            self._link()
            return
        if not self._broker.up:
            # A cut network, by contrast, refuses nothing.
            await error_cb(ConnectionRefusedError("nobody listens there"))
        await self._linked_at_last()

    async def _linked_at_last(self) -> None:
        linked = asyncio.get_running_loop().create_future()
        self._first_link = linked
        self._later(_RECONNECT_S, self._reconnect)
        await linked

    async def publish(
        self,
        subject: str,
        data: bytes = b"",
        reply: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        """Send, and forget."""
        self._send(subject, data, reply, headers or {})

    async def request(
        self,
        subject: str,
        data: bytes = b"",
        timeout: float = 0.5,  # noqa: ASYNC109
        headers: dict[str, str] | None = None,
    ) -> Arrival:
        """Send, and await one answer. Raises the library's `NoRespondersError`, `TimeoutError`."""
        return await self._asked(subject, data, self.new_inbox(), timeout, headers or {})

    async def _asked(
        self,
        subject: str,
        data: bytes,
        inbox: str,
        timeout: float,  # noqa: ASYNC109
        headers: dict[str, str],
    ) -> Arrival:
        future = asyncio.get_running_loop().create_future()
        self._replies[inbox] = future
        self._send(subject, data, inbox, headers)
        try:
            async with asyncio.timeout(timeout):
                answer: Arrival = await future
        except TimeoutError as error:
            raise NatsTimeoutError from error
        finally:
            del self._replies[inbox]
        if answer.headers is not None and answer.headers.get("Status") == "503":
            raise NoRespondersError
        return answer

    async def ask(self, subject: str, data: bytes, *, timeout: float) -> Arrival:  # noqa: ASYNC109
        """As `request`, of another process, which answers where processes do."""
        return await self._asked(subject, data, self._of_processes(), timeout, {})

    async def subscribe(
        self,
        subject: str,
        cb: Callable[[Any], Awaitable[None]],
        pending_msgs_limit: int = 524_288,
    ) -> Interest:
        """Hear what is said on a subject; at most so many messages wait to be handed over."""
        limit = min(pending_msgs_limit, self.waiting_max)
        tokens = tuple(subject.split(".")) if subject[-1] == ">" or "*" in subject else ()
        interest = Interest(self, subject, tokens, cb, limit)
        self.interests[interest] = None
        self.matching.clear()
        return interest

    def new_inbox(self) -> str:
        """A subject that nobody else has."""
        self._inboxes += 1
        return f"{self._inbox}{self._inboxes}"

    def _of_processes(self) -> str:
        self._inboxes += 1
        return f"sie.answer.{self._role}.{self._number}.{self._inboxes}"

    def jetstream(self, timeout: float = 5.0) -> JetStream:
        """The part that speaks of streams."""
        return JetStream(self, self._broker, timeout)

    async def flush(self, timeout: float = 1.0) -> None:  # noqa: ASYNC109
        """Let what was sent go out."""
        await asyncio.sleep(min(timeout, self._broker.network.delay_s()))

    async def close(self) -> None:
        """Close the connection."""
        self.is_closed, self.is_connected, self.linked = True, False, False
        self.session += 1
        if self in self._broker.clients:
            self._broker.clients.remove(self)

    # -- the link --

    def _link(self) -> None:
        self.linked = self.is_connected = True
        self.session += 1

    def unlink(self) -> None:
        """The link breaks; the client learns of it later."""
        self.linked = False
        self._later(self._rng.random() * _NOTICED_S, self._notice)

    def _notice(self) -> None:
        if self.is_closed:
            return
        self.is_connected = False
        self._call(self._disconnected)
        self._later(_RECONNECT_S * (0.2 + self._rng.random()), self._reconnect)

    def _reconnect(self) -> None:
        if self.is_closed:
            return
        if not self._broker.reaches(self):
            self._later(_RECONNECT_S, self._reconnect)
            return
        self._link()
        if self._first_link is None:
            self._call(self._reconnected)
            return
        if not self._first_link.done():
            self._first_link.set_result(None)
        self._first_link = None

    def _call(self, callback: Callable[[], Awaitable[None]] | None) -> None:
        if callback is not None and self.host.alive:
            coroutine = callback()
            assert inspect.iscoroutine(coroutine)
            self._broker.loop.create_task(coroutine, name="link", context=self.host.context)

    # -- messages out and in --

    def _send(self, subject: str, data: bytes, reply: str, headers: dict[str, str]) -> None:
        self.tell_broker(lambda: self._broker.take(self, subject, data, reply, headers))

    def tell_broker(self, arrived: Callable[[], None]) -> None:
        """Something goes to the broker, in order; `arrived` is what it does there."""
        if not self.linked or not self.host.alive:
            return
        broker, session = self._broker, self.session
        self._sent_at = max(self._sent_at + 1e-7, broker.loop.time() + broker.network.delay_s())

        def take() -> None:
            if self.linked and self.session == session:
                arrived()

        broker.loop.call_at(self._sent_at, take, context=broker.context)

    def tell_here(self, arrived: Callable[[], None]) -> None:
        """A word of the broker that is no message, behind what it has sent before."""
        at = max(self._arrives_at + 1e-7, self._broker.loop.time() + self._broker.network.delay_s())
        self._broker.loop.call_at(at, arrived, context=self.host.context)

    def listens(self, subject: str) -> bool:
        """True if anything here hears this subject."""
        return bool(self.wanting(subject))

    def wanting(self, subject: str) -> list[Interest]:
        """The subscriptions that hear a subject."""
        found = self.matching.get(subject)
        if found is None:
            tokens = subject.split(".")
            found = [each for each in self.interests if each.wants(subject, tokens)]
            self.matching[subject] = found
        return found

    def offer(self, arrival: Arrival) -> int:
        """The broker has a message: 1 if somebody here wants it."""
        if arrival.subject in self._replies:
            self._arrive(None, arrival)
            return 1
        if arrival.subject.startswith("_INBOX.") and not arrival.subject.startswith(self._inbox):
            return 0
        wanted = self.wanting(arrival.subject)
        for interest in wanted:
            self._arrive(interest, arrival)
        return 1 if wanted else 0

    def _arrive(self, interest: Interest | None, arrival: Arrival) -> None:
        loop = self._broker.loop
        # In order, as one connection delivers: nothing overtakes what was sent before it.
        arrives_at = max(self._arrives_at, loop.time() + self._broker.network.delay_s())
        self._arrives_at = arrives_at
        self._incoming.append((arrives_at, self.session, interest, arrival))
        if len(self._incoming) == 1:
            loop.call_at(arrives_at, self._read, context=self.host.context)

    def _read(self) -> None:
        """Take in one burst: all that has arrived, as one read of a socket gives it."""
        loop, incoming = self._broker.loop, self._incoming
        until = loop.time() + _BURST_S
        while incoming and incoming[0][0] <= until:
            _, session, interest, arrival = incoming.popleft()
            if not self.linked or self.session != session or not self.host.alive:
                continue
            if interest is None:
                self._answered(arrival)
            else:
                self._heard(arrival, interest)
        if incoming:
            loop.call_at(incoming[0][0], self._read, context=self.host.context)

    def _answered(self, arrival: Arrival) -> None:
        future = self._replies.get(arrival.subject)
        if future is not None and not future.done():
            future.set_result(arrival)

    def _heard(self, arrival: Arrival, interest: Interest) -> None:
        if interest not in self.interests:
            return
        if len(interest.waiting) >= interest.waiting_max:
            # A slow consumer: the client library drops it, and says so on the side.
            self.dropped += 1
            self._broker.on_effect("slow-consumer")
            return
        interest.waiting.append(arrival)
        if not interest.pumping:
            interest.pumping = True
            asyncio.get_running_loop().create_task(self._pump(interest), name="deliver")

    async def _pump(self, interest: Interest) -> None:
        try:
            while interest.waiting:
                await interest.callback(interest.waiting.popleft())
        finally:
            interest.pumping = False

    def _later(self, delay_s: float, callback: Callable[[], None]) -> None:
        self._broker.loop.call_later(delay_s, callback, context=self.host.context)
