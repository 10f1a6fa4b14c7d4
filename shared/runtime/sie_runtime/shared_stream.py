"""A stream that many processes share and that whoever comes first makes.

*shell.* Dead letters, leases and large jobs are such streams. Promises that a stream is made once,
and again after the broker lost it, and that what the client raises comes out as ours, with a word
of what the stream holds.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.js.api import StreamConfig
from nats.js.errors import APIError

from sie_runtime.bus import Bus, BusUnavailable, reason_of

__all__ = ["SharedStream", "StreamRefusal", "make_stream"]

_EXISTS: Final = frozenset({10058, 10148})
"""JetStream's codes for a stream that is there already, with another config."""


class StreamRefusal(Exception):
    """The broker does not store a message; `code` is JetStream's, 0 where it names none."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class SharedStream:
    """One process's way to it. `holds` names its contents in the plural, for messages."""

    def __init__(self, bus: Bus, config: StreamConfig, *, holds: str, timeout_s: float) -> None:
        self._bus = bus
        self._config = config
        self._holds = holds
        self._timeout_s = timeout_s
        self._is_made = False

    async def ensure(self) -> None:
        """Make the stream if it is not there. Raises `BusUnavailable`."""
        if not self._is_made:
            await make_stream(self._bus, self._config, holds=self._holds, timeout_s=self._timeout_s)
            self._is_made = True

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
        async with self.asking():
            answer = await self._bus.client.request(
                f"$JS.API.DIRECT.GET.{self._config.name}",
                json.dumps(wanted).encode(),
                timeout=self._timeout_s,
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
            # The broker lost it, or was never asked to make it: the next `ensure` does.
            self._is_made = False
            raise BusUnavailable(
                f"the stream of {self._holds} is not there, or has no leader"
            ) from error
        except (NatsError, TimeoutError) as error:
            raise BusUnavailable(
                f"the broker did not answer on {self._holds}: {reason_of(error)}"
            ) from error


async def make_stream(bus: Bus, config: StreamConfig, *, holds: str, timeout_s: float) -> None:
    """Make a stream; one that is there already stays as it is. Raises `BusUnavailable`."""
    bus.require_connected()
    try:
        await bus.client.jetstream(timeout=timeout_s).add_stream(config)
    except (APIError, NatsError, TimeoutError) as error:
        if isinstance(error, APIError) and error.err_code in _EXISTS:
            return
        raise BusUnavailable(f"the stream of {holds} cannot be made: {reason_of(error)}") from error
