"""A stream that many processes share and that whoever comes first makes.

*shell.* Dead letters, leases and large jobs are such streams. Promises that a stream is made once,
and again after the broker lost it, and that what the client raises comes out as ours, with a word
of what the stream holds.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.js.api import StreamConfig
from nats.js.errors import APIError

from sie_runtime.bus import Bus, BusUnavailable, reason_of

__all__ = ["SharedStream", "make_stream"]

_EXISTS: Final = frozenset({10058, 10148})
"""JetStream's codes for a stream that is there already, with another config."""


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
