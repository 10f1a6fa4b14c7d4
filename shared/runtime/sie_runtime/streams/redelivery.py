"""Redelivery: jobs that were handed to a worker which is gone, before their time is over.

*shell.* Speaks to the broker of one consumer: how far it has handed jobs out, and that it shall
hand some of them out again. Promises that a job which is not out just now is left as it is: never
handed out, handed back already, or acknowledged. Nothing counts as a delivery that was none.
"""

import json
from collections.abc import Iterable
from typing import Any, Final

from sie_runtime.broker.bus import Bus, BusUnavailable, NoResponders
from sie_schemas.fleet import HandedOut
from sie_schemas.jobs import stream_name

__all__ = ["Redelivery", "sequence_of"]

_NOT_FOUND: Final = 404
"""JetStream's status of a stream or consumer that is not there."""


def sequence_of(word: bytes) -> int:
    """The sequence at which the broker stored a job, by its word."""
    return int(json.loads(word)["seq"])


class Redelivery:
    """One for each process that may ask for it."""

    def __init__(self, bus: Bus, *, timeout_s: float) -> None:
        self._bus = bus
        self._timeout_s = timeout_s

    async def handed_out(self, pool: str, consumer: str) -> HandedOut | None:
        """None where there is no such consumer, so that nobody was handed anything.

        Raises `BusUnavailable`, `TimeRanOut`.
        """
        name = f"$JS.API.CONSUMER.INFO.{stream_name(pool)}.{consumer}"
        try:
            answer = await self._bus.request(name, b"", timeout_s=self._timeout_s)
        except NoResponders as error:
            raise BusUnavailable(error.message) from error
        told: dict[str, Any] = json.loads(answer)
        if "error" in told:
            if told["error"].get("code") == _NOT_FOUND:
                return None
            raise BusUnavailable(f"consumer {consumer!r} is not told of: {told['error']}")
        delivered = told["delivered"]
        return HandedOut(
            int(delivered["stream_seq"]), int(delivered["consumer_seq"]), told["num_ack_pending"]
        )

    def hand_out_again(
        self, pool: str, consumer: str, sequences: Iterable[int], out: HandedOut
    ) -> None:
        """To whoever pulls next. Raises `BusUnavailable`.

        The broker takes such a word of any delivery in the consumer's window, and `out` ends it.
        """
        told = f"$JS.ACK.{stream_name(pool)}.{consumer}.1"
        words = [f"{told}.{sequence}.{out.deliveries}.0.0".encode() for sequence in sequences]
        self._bus.send_to_all(words, b"-NAK")
