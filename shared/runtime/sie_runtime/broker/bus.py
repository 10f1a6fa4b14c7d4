"""The bus: core NATS as the cluster uses it.

*shell.* Owns one connection. Connecting never fails: it goes on in the background, for ever, and
`connected` tells. Promises that a publish while disconnected is an error at once and not a message
that surfaces later, and that subscriptions survive reconnects. Keeps nothing: what was published
while a subscriber was away is lost, by design; durable things are in `work_queue` and `log_stream`.
"""

import asyncio
import contextlib
import inspect
import logging
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeoutError

from sie_runtime.broker.bus_messages import (
    ANSWERS,
    ERRORS,
    Callback,
    Message,
    Subscription,
    direct,
    is_of_broker,
    kind_of,
    reason_of,
    turned_down,
)
from sie_runtime.broker.direct_client import DirectClient, Taker
from sie_runtime.broker.direct_parser import headers_of
from sie_runtime.reach import Reach, why_unreached
from sie_runtime.settings import constant, setting
from sie_runtime.tls import TlsSettings, connecting_context, tls_words
from sie_schemas.errors import Later, SIEError, TimeRanOut, without_password

__all__ = [
    "Bus",
    "BusSettings",
    "BusUnavailable",
    "Message",
    "NoResponders",
    "Subscription",
    "connected_bus",
    "reason_of",
]

_LOG: Final = logging.getLogger(__name__)
_CANCEL_AGAIN_S: Final = 0.05
"""A cancellation that is lost is told again."""
_TOKEN: Final = re.compile(r"[^A-Za-z0-9_-]")
_OF_COMMANDS: Final = (
    "SIE_CA_FILE, SIE_CLIENT_CERT_FILE and SIE_CLIENT_KEY_FILE",
    "SIE_NATS_USER and SIE_NATS_PASSWORD",
)
_CUT: Final = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError)


class BusUnavailable(Later):
    """The broker cannot be reached now; nothing was sent."""

    code = "QUEUE_UNAVAILABLE"


class NoResponders(SIEError):
    """Nobody listens on the subject of a request."""


@dataclass(frozen=True, kw_only=True)
class BusSettings(TlsSettings):
    """The settings by which a process reaches the broker."""

    nats_url: str = setting(
        "nats://127.0.0.1:4222",
        help="URL of the broker, or several, by comma; tls:// speaks to no broker without TLS",
    )
    nats_user: str | None = setting(None, help="user of this role; absent without authentication")
    nats_password: str | None = setting(None, help="its password; give it by environment")
    nats_reconnect_wait_s: float = constant(0.2, help="seconds between attempts to connect")
    nats_replicas: int = setting(
        1, help="copies of each stream among the brokers: 3 on a cluster of three or more"
    )


class Bus:
    """One connection to the broker. Owner: the process's main task."""

    def __init__(
        self, settings: BusSettings, *, role: str, process_id: str, client: Client | None = None
    ) -> None:
        self._settings = settings
        self._name = f"{role}/{process_id}"
        user = _TOKEN.sub("-", settings.nats_user or role)
        self._inbox_prefix = f"_INBOX.{user}"
        self.client: Final = client or DirectClient(answers=f"{ANSWERS}.{role}.{user}")
        self._subscriptions: list[Subscription] = []
        self._on_reconnect: list[Callable[[], None]] = []
        self._first_connected = asyncio.Event()
        self._found_nobody = 0
        self.reach: Final = Reach("the broker", "nats_url")
        self.refusal = ""
        """The broker's reason to turn the last attempt to connect down; empty if it did not."""
        self._connecting: asyncio.Task[None] | None = None
        context = connecting_context(settings)
        self._tls: dict[str, Any] = {} if context is None else {"tls": context}

    @classmethod
    async def connect(
        cls, settings: BusSettings, *, role: str, process_id: str, client: Client | None = None
    ) -> "Bus":
        """A bus that is connecting. Never raises for an absent broker.

        `client` stands in for the library's own, in a simulation.
        """
        bus = cls(settings, role=role, process_id=process_id, client=client)
        bus._connecting = asyncio.create_task(bus._connect(), name="bus-connect")
        return bus

    @property
    def connected(self) -> bool:
        """True if a publish would be sent now."""
        return self._first_connected.is_set() and bool(self.client.is_connected)

    @property
    def absent(self) -> bool:
        """True if each address was tried in turn and nobody was there, now or before.

        False while that is not known: a broker that hangs, or a network that swallows what is sent
        to it, refuses nothing. One that spoke in the life of this process comes back.
        """
        never = not self._first_connected.is_set()
        return never and self._found_nobody >= len(self._addresses)

    @property
    def server_id(self) -> str:
        """The life of the broker that speaks here: each start of it has a name of its own."""
        return direct(self.client).server_id

    @property
    def stream_replicas(self) -> int:
        """Copies of a stream that is made over this connection."""
        return self._settings.nats_replicas

    async def wait_connected(self, timeout_s: float) -> bool:
        """Wait for the first connection."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._first_connected.wait()
        except TimeoutError:
            return False
        return True

    def on_reconnect(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back after the first connection and after every reconnection.

        Returns what ends it.
        """
        self._on_reconnect.append(callback)
        if self._first_connected.is_set():
            callback()
        return lambda: self._on_reconnect.remove(callback)

    async def publish(self, subject: str, data: bytes) -> None:
        """Publish. Raises `BusUnavailable` when disconnected."""
        # The library keeps such a message and sends it after the reconnection, when the caller has
        # long given up and tried again: the outcome would be unknown.
        self.require_connected()
        try:
            await self.client.publish(subject, data)
        except NatsError as error:
            raise BusUnavailable(f"the broker does not take messages: {error}") from error

    def send(self, subject: str, data: bytes, *, reply: str = "", headers: bytes = b"") -> None:
        """Publish without waiting, with headers in their bytes. Raises `BusUnavailable`.

        The caller bounds how much it has under way.
        """
        self.require_connected()
        try:
            direct(self.client).send(subject, data, reply=reply, headers=headers)
        except NatsError as error:
            raise BusUnavailable(f"the broker does not take messages: {error}") from error

    def send_to_all(self, subjects: Iterable[bytes], data: bytes) -> None:
        """Publish the same to many subjects, as `send` does. Raises `BusUnavailable`."""
        self.require_connected()
        try:
            direct(self.client).send_to_all(subjects, data)
        except NatsError as error:
            raise BusUnavailable(f"the broker does not take messages: {error}") from error

    def new_inbox(self) -> str:
        """A subject that only this role hears and only the broker answers on."""
        if isinstance(self.client, DirectClient):
            return f"{self._inbox_prefix}.{secrets.token_hex(11)}"
        return self.client.new_inbox()

    async def request(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        """Publish and await one answer. Raises `NoResponders`, `TimeRanOut`, `BusUnavailable`.

        Of the broker (`$JS.API.…`), or of a process: its answer comes by a way of its own.
        """
        self.require_connected()
        client: Any = self.client
        # Two ways, since no role may publish to the broker's inboxes: who could would forge its
        # word on an append or a job.
        ask = client.request if subject.startswith("$JS.") else client.ask
        try:
            answer = await ask(subject, data, timeout=timeout_s)
        except NoRespondersError as error:
            raise NoResponders(f"nobody listens on {subject}") from error
        except (NatsTimeoutError, TimeoutError) as error:
            raise TimeRanOut(f"no answer on {subject} within {timeout_s:g} s") from error
        except NatsError as error:
            raise BusUnavailable(f"the broker does not take requests: {error}") from error
        return bytes(answer.data)

    async def subscribe(
        self, subject: str, callback: Callback, *, by_broker: bool = False
    ) -> Subscription:
        """Call back for each message, one after the other. Survives reconnects.

        A callback that is no coroutine function is called where the message is read: it is brief.
        Where processes speak to each other, what the broker itself sends is dropped and counted;
        with `by_broker` it is what is wanted.
        """
        taker = None if inspect.iscoroutinefunction(callback) else self._taker(callback, by_broker)
        return await self._subscribe(
            Subscription(subject, callback, self._subscriptions.remove, taker, by_broker=by_broker)
        )

    async def take(self, subject: str, taker: Taker) -> Subscription:
        """As `subscribe`, with each message in its bytes: for what comes for every request."""
        direct(self.client)
        return await self._subscribe(
            Subscription(subject, _nothing, self._subscriptions.remove, taker)
        )

    async def _subscribe(self, subscription: Subscription) -> Subscription:
        if self._first_connected.is_set():
            await self._activate(subscription)
        self._subscriptions.append(subscription)
        return subscription

    def _taker(self, callback: Callback, by_broker: bool) -> Taker:
        client = self.client

        def take(subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
            told = headers_of(headers) if headers else {}
            message = Message(subject.decode(), data, reply.decode(), told, client)
            if by_broker or not is_of_broker(message):
                _finished(callback(message))

        return take

    def require_connected(self) -> None:
        """Raise `BusUnavailable` unless connected: nats-py would keep and send it later."""
        if not self.connected:
            raise BusUnavailable("the message broker is not connected")

    async def close(self) -> None:
        """Flush what was published and close."""
        connecting = self._connecting
        while connecting is not None and not connecting.done():
            # Again and again: a cancellation that meets a refused connection is lost on 3.11, and
            # the library would go on connecting for ever.
            connecting.cancel()
            await asyncio.wait([connecting], timeout=_CANCEL_AGAIN_S)
        if not self._first_connected.is_set():
            return
        try:
            if self.connected:
                await self.client.flush(timeout=1)
            await self.client.close()
        except (NatsError, TimeoutError, OSError):
            _LOG.info("the connection to the broker was gone at its close")

    # -- connecting --

    async def _connect(self) -> None:
        settings = self._settings
        await self.client.connect(
            servers=self._addresses,
            name=self._name,
            user=settings.nats_user,
            password=settings.nats_password,
            inbox_prefix=self._inbox_prefix.encode(),
            allow_reconnect=True,
            max_reconnect_attempts=-1,
            reconnect_time_wait=settings.nats_reconnect_wait_s,  # type: ignore[arg-type]
            connect_timeout=2,
            ping_interval=5,
            error_cb=self._failed,
            disconnected_cb=self._disconnected,
            reconnected_cb=self._reconnected,
            **self._tls,
        )
        # Whoever waits for the connection may rely on being heard: interest comes first.
        for subscription in list(self._subscriptions):
            await self._activate(subscription)
        self._first_connected.set()
        await self._reconnected()

    async def _activate(self, subscription: Subscription) -> None:
        """Tell the broker. It waits for nothing: nobody gives a subscription up meanwhile."""
        callback, client = subscription.callback, self.client
        by_broker = subscription.by_broker

        async def deliver(raw: Msg) -> None:
            message = Message(raw.subject, bytes(raw.data), raw.reply, raw.headers or {}, client)
            if by_broker or not is_of_broker(message):
                result = callback(message)
                if inspect.isawaitable(result):
                    await result

        subscription.active = await client.subscribe(subscription.subject, cb=deliver)
        if isinstance(client, DirectClient) and subscription.taker is not None:
            client.hand_over(subscription.active, subscription.taker)

    @property
    def _addresses(self) -> list[str]:
        return [url.strip() for url in self._settings.nats_url.split(",")]

    async def _failed(self, error: Exception) -> None:
        told = tls_words(error)
        unreached = isinstance(error, OSError) and not told
        nobody = unreached and not isinstance(error, (TimeoutError, *_CUT))
        self._found_nobody = self._found_nobody + 1 if nobody else 0
        ERRORS.inc(kind := kind_of(error))
        if kind == "permission":
            # The broker tells it to nobody else: the publish itself seemed to succeed.
            _LOG.error("the broker does not let this role do that: %s", error)
        elif self.client.is_connected:
            _LOG.warning("the broker reports: %s", told or reason_of(error))
        elif unreached and self.refusal and not nobody:
            pass  # A broker that turns us down cuts us off now and then, which is no news.
        elif unreached:
            self.reach.failed(why_unreached(error, self._settings.nats_url))
        else:
            self.refusal = told or reason_of(error)
            self.reach.failed(turned_down(self._settings.nats_url, self.refusal), is_refusal=True)

    async def _disconnected(self) -> None:
        if not self.client.is_closed:
            _LOG.warning("the connection to the broker is lost; reconnecting")

    async def _reconnected(self) -> None:
        self.refusal = ""
        self.reach.answered()
        _LOG.info("connected to the broker")
        for callback in list(self._on_reconnect):
            callback()


@contextlib.asynccontextmanager
async def connected_bus(
    settings: BusSettings, *, role: str, process_id: str, within_s: float = 5.0
) -> AsyncIterator[Bus]:
    """A connection for one command. Raises `BusUnavailable` where no broker answers in time."""
    bus = await Bus.connect(settings, role=role, process_id=process_id)
    try:
        if not await bus.wait_connected(within_s):
            if bus.refusal:
                raise BusUnavailable(turned_down(settings.nats_url, bus.refusal, _OF_COMMANDS))
            raise BusUnavailable(
                f"no broker answers at {without_password(settings.nats_url)} within {within_s:g} s"
            )
        yield bus
    finally:
        await bus.close()


def _nothing(message: Message) -> None:
    """Nothing to do: what is taken in bytes never comes as a message."""


def _finished(result: Awaitable[None] | None) -> None:
    if result is not None:
        raise TypeError("a callback that has to be awaited is given as a coroutine function")
