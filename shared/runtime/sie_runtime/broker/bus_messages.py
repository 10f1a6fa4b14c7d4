"""The things that a bus hands over: messages, the subscriptions that bring them, and refusals.

*types.* Promises:

- An answer goes only to where processes answer each other: nobody who asks chooses what the
  answering role publishes to.
- What the broker was made to send is told from what a process sent. Whoever may pull from a stream
  or read it chooses where that is delivered.
"""

import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from msgspec import Struct
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import SlowConsumerError
from nats.js.errors import APIError
from prometheus_client import Counter, Gauge

from sie_runtime.broker.direct_client import DirectClient, Taker
from sie_runtime.dated_counts import DatedCount
from sie_schemas.errors import without_password

__all__ = [
    "ANSWERS",
    "ERRORS",
    "Callback",
    "Message",
    "Subscription",
    "direct",
    "is_of_broker",
    "kind_of",
    "reason_of",
    "turned_down",
]

_LOG: Final = logging.getLogger(__name__)
_ERRORS: Final = Counter(
    "sie_bus_errors_total", "What the broker or its client complained of, by kind.", ["kind"]
)
_LAST_ERROR: Final = Gauge(
    "sie_bus_errors_last_timestamp_seconds",
    "When it last complained of that, in Unix time.",
    ["kind"],
)
ERRORS: Final = DatedCount(
    _ERRORS, _LAST_ERROR, ("permission", "broker_speaks_for_another", "slow_consumer", "other")
)
ANSWERS: Final = "sie.answer"
"""The subject below which processes answer each other. Inboxes are the broker's: no role may
publish to one."""


class Message(Struct, frozen=True):
    """A message as it came. `reply` is empty when no answer is wanted."""

    subject: str
    data: bytes
    reply: str
    headers: Mapping[str, str]
    _client: Client

    def is_asked_by(self, role: str) -> bool:
        """True if an answer goes to a process of this role.

        Who may ask on a subject is the broker's matter. What the broker is tricked into saying
        there never has such a subject for an answer.
        """
        return self.reply.startswith(f"{ANSWERS}.{role}.")

    async def respond(self, data: bytes) -> None:
        """Answer the sender of a request."""
        if self._is_asked:
            await self._client.publish(self.reply, data)

    def answer(self, data: bytes) -> None:
        """Answer without waiting; a connection that is lost meanwhile loses the answer."""
        if self._is_asked:
            with contextlib.suppress(NatsError):
                direct(self._client).send(self.reply, data)

    @property
    def _is_asked(self) -> bool:
        # Nowhere else: whoever asks would choose what this role publishes to.
        return self.reply.startswith(f"{ANSWERS}.")


Callback = Callable[[Message], Awaitable[None] | None]


class Subscription:
    """Interest in a subject, until `unsubscribe`. Made by `Bus.subscribe`."""

    def __init__(
        self,
        subject: str,
        callback: Callback,
        forget: Callable[["Subscription"], None],
        taker: Taker | None,
        *,
        by_broker: bool = False,
    ) -> None:
        self.subject: Final = subject
        self.callback: Final = callback
        self.by_broker: Final = by_broker
        self.taker: Final = taker
        self.active: Any = None
        self._forget: Callable[[Subscription], None] | None = forget

    async def unsubscribe(self) -> None:
        """End the interest. Does nothing the second time."""
        await self._end(lambda active: active.unsubscribe())

    async def drain(self) -> None:
        """The same, when what was sent until then has come: that is still delivered."""
        await self._end(lambda active: active.drain())

    async def _end(self, how: Callable[[Any], Awaitable[None]]) -> None:
        forget, self._forget = self._forget, None
        if forget is not None:
            forget(self)
        active, self.active = self.active, None
        if active is not None:
            try:
                await how(active)
            except (NatsError, TimeoutError):
                # The connection is gone, and the interest with it.
                _LOG.debug("unsubscribed after the connection was closed")


def direct(client: Client) -> DirectClient:
    """The client with its short cuts."""
    assert isinstance(client, DirectClient), "a stand-in for the library's client cannot do this"
    return client


def is_of_broker(message: Message) -> bool:
    """True if the broker made this message, or gives out one that it stores. Counts those."""
    told = message.headers
    if not message.reply.startswith("$JS.") and not ("Status" in told or "Nats-Stream" in told):
        return False
    ERRORS.inc("broker_speaks_for_another")
    _LOG.warning("dropped what the broker was made to send on %s", message.subject)
    return True


def kind_of(error: Exception) -> str:
    """The kind of an error of the client, as `ERRORS` counts it."""
    if isinstance(error, SlowConsumerError):
        return "slow_consumer"
    return "permission" if "permissions violation" in str(error).lower() else "other"


def reason_of(error: BaseException) -> str:
    """An error of the client in words: a timeout has none of its own."""
    if isinstance(error, APIError):
        return error.description or type(error).__name__
    return str(error) or type(error).__name__


def turned_down(
    url: str,
    refusal: str,
    names: tuple[str, str] = ("tls_ca_file and tls_cert_file", "nats_user and nats_password"),
) -> str:
    """Words for a broker that lets nobody in. `names` are those of the files and of the user."""
    at = without_password(url)
    if "INFO" in refusal:
        return f"what listens at {at} is no NATS broker"
    if "offers no TLS" in refusal:
        return f"{refusal}: give {at.replace('tls://', 'nats://')}, or TLS to the broker"
    cure = names[0] if refusal.startswith("no TLS") else names[1]
    return f"the broker at {at} does not let us in: {refusal}. See {cure}"
