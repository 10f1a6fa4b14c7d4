"""Direct reads: what a stream holds, many messages in one answer.

*shell.* Asks any copy of a stream, without a consumer, so that a role can be let read one stream
and make nothing. Promises that an answer is whole: it ends with the broker's word that it does, or
it is an error. A copy that lags gives less, never something else.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from nats.errors import Error as NatsError

from sie_runtime.broker.bus import Bus, BusUnavailable, Message, reason_of

__all__ = ["Stored", "StoredMessage", "read_stored"]

_END: Final = "204"
_NONE: Final = "404"
_NO_STREAM: Final = "503"


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """One message as the stream holds it."""

    subject: str
    sequence: int
    data: bytes
    headers: Mapping[str, str]


@dataclass(slots=True)
class Stored:
    """The result of one read, in the order of the stream."""

    messages: list[StoredMessage] = field(default_factory=list)
    up_to: int | None = None
    """The sequence that this is as of; None where the broker names none."""


async def read_stored(
    bus: Bus, stream: str, wanted: Mapping[str, Any], *, holds: str, timeout_s: float
) -> Stored:
    """Read by what JetStream's direct get takes, `batch` among it. Raises `BusUnavailable`."""
    bus.require_connected()
    found = Stored()
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def take(message: Message) -> None:
        status = message.headers.get("Status")
        if status is None:
            found.messages.append(_stored(message))
        elif not ended.done():
            if status == _END:
                found.up_to = int(message.headers.get("Nats-UpTo-Sequence", 0)) or None
            ended.set_result(status)

    inbox = bus.new_inbox()
    subscription = await bus.subscribe(inbox, take, by_broker=True)
    try:
        request = json.dumps(wanted).encode()
        await bus.client.publish(f"$JS.API.DIRECT.GET.{stream}", request, reply=inbox)
        async with asyncio.timeout(timeout_s):
            status = await ended
    except (NatsError, TimeoutError) as error:
        raise BusUnavailable(f"the broker did not answer on {holds}: {reason_of(error)}") from error
    finally:
        await subscription.unsubscribe()
    if status not in (_END, _NONE):
        raise BusUnavailable(_refusal(holds, status))
    return found


def _stored(message: Message) -> StoredMessage:
    told = message.headers
    return StoredMessage(
        told.get("Nats-Subject", ""), int(told.get("Nats-Sequence", 0)), message.data, told
    )


def _refusal(holds: str, status: str) -> str:
    if status == _NO_STREAM:
        return f"the stream of {holds} is not there, or has no leader: sie-config makes it"
    return f"the broker does not give {holds}: status {status}"
