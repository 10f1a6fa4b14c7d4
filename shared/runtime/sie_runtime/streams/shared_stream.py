"""A stream that many processes share and that sie-config makes.

*shell.* Dead letters, leases and large jobs are such streams. Promises that what the client raises
comes out as ours, with a word of what the stream holds. Making one leaves what it holds.
"""

import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.js.api import StreamConfig
from nats.js.errors import APIError, NotFoundError

from sie_runtime.broker.bus import Bus, BusUnavailable, reason_of

__all__ = ["SharedStream", "StreamRefusal", "make_stream"]

_LOG: Final = logging.getLogger(__name__)
_NO_MESSAGE: Final = 10037
"""JetStream's code for a message that is not there."""
_EXISTS: Final = frozenset({10058, 10148})
"""JetStream's codes for a stream that is there already, with another config."""


class StreamRefusal(Exception):
    """The broker does not store a message; `code` is JetStream's, 0 where it names none."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class SharedStream:
    """One process's way to it. `holds` names its contents in the plural, for messages."""

    def __init__(self, bus: Bus, name: str, *, holds: str, timeout_s: float) -> None:
        self._bus = bus
        self._name = name
        self._holds = holds
        self._timeout_s = timeout_s

    async def publish(self, subject: str, data: bytes, headers: Mapping[str, str]) -> None:
        """Store a message. Raises `StreamRefusal`, `BusUnavailable`."""
        async with self.asking():
            answer = await self._bus.client.request(
                subject, data, timeout=self._timeout_s, headers=dict(headers)
            )
        error = json.loads(answer.data).get("error")
        if error is not None:
            raise StreamRefusal(error.get("err_code", 0), error.get("description", "unknown"))

    async def get(self, wanted: Mapping[str, Any]) -> tuple[int, Msg] | None:
        """A message and its sequence, by what JetStream's direct get takes; None where there is
        none. Raises `BusUnavailable`."""
        return await self._got(self._name, json.dumps(wanted).encode())

    async def next_of(self, subject: str, *, after: int) -> tuple[int, bytes] | None:
        """The first message of a subject after a sequence, through the stream's leader: the way of
        sie-config, which may read no stream directly. Raises `BusUnavailable`."""
        async with self.asking():
            try:
                found = await self._bus.client.jetstream(timeout=self._timeout_s).get_msg(
                    self._name, seq=after + 1, subject=subject, next=True
                )
            except NotFoundError as error:
                if error.err_code != _NO_MESSAGE:
                    raise
                return None
        return (found.seq or 0, found.data or b"")

    async def last_of(self, subject: str) -> tuple[int, Msg] | None:
        """The last message of a subject, which is all that whoever asks need be let read."""
        return await self._got(f"{self._name}.{subject}", b"")

    async def _got(self, what: str, wanted: bytes) -> tuple[int, Msg] | None:
        async with self.asking():
            answer = await self._bus.client.request(
                f"$JS.API.DIRECT.GET.{what}", wanted, timeout=self._timeout_s
            )
        sequence = (answer.headers or {}).get("Nats-Sequence")
        return None if sequence is None else (int(sequence), answer)

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        """While it lasts, what the client raises becomes `BusUnavailable`."""
        self._bus.require_connected()
        try:
            yield
        except NoRespondersError as error:
            raise BusUnavailable(
                f"the stream of {self._holds} is not there, or has no leader: sie-config makes it"
            ) from error
        except (NatsError, TimeoutError) as error:
            raise BusUnavailable(
                f"the broker did not answer on {self._holds}: {reason_of(error)}"
            ) from error


async def make_stream(
    bus: Bus, config: StreamConfig, *, holds: str, timeout_s: float, mend: bool = False
) -> None:
    """Make a stream. One that is there already stays as it is, or with `mend` becomes this, as far
    as the broker changes it. Raises `BusUnavailable`."""
    bus.require_connected()
    jetstream = bus.client.jetstream(timeout=timeout_s)
    try:
        await jetstream.add_stream(config)
    except (APIError, NatsError, TimeoutError) as error:
        if not isinstance(error, APIError) or error.err_code not in _EXISTS:
            raise BusUnavailable(
                f"the stream of {holds} cannot be made: {reason_of(error)}"
            ) from error
        if mend:
            await _mend(jetstream, config, holds)


async def _mend(jetstream: Any, config: StreamConfig, holds: str) -> None:
    try:
        there = await jetstream.stream_info(config.name)
        # Chosen for good when a stream is made; a change of it alone would keep all others out.
        config.persist_mode = there.config.persist_mode
        await jetstream.update_stream(config)
    except APIError as error:
        # What cannot be changed in place: its messages matter more than its settings.
        _LOG.warning("the stream of %s keeps its settings: %s", holds, error.description)
    except (NatsError, TimeoutError) as error:
        raise BusUnavailable(
            f"the stream of {holds} cannot be mended: {reason_of(error)}"
        ) from error
