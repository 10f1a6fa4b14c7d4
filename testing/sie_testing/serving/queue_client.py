"""The broker's client of a process that serves: the simulated one, with the short cuts of ours.

*shell.* Adds what `sie_runtime.broker.direct_client` adds to the library's: messages that are taken
where they are read, and words that are sent without waiting. The processes of the data plane ask
for that class by name.
"""

from collections.abc import Iterable, Mapping

from nats.errors import OutboundBufferLimitError

from sie_runtime.broker.direct_client import DirectClient, Taker
from sie_runtime.broker.direct_parser import headers_of
from sie_testing.stage.broker import Arrival
from sie_testing.stage.broker_client import BrokerClient, Interest

__all__ = ["QueueClient"]


class QueueClient(BrokerClient, DirectClient):  # type: ignore[misc]
    """One connection. Nothing of the library's own client is ever begun."""

    is_connected = False
    is_closed = False

    def _link(self) -> None:
        super()._link()
        self.server_id = str(self._broker.lives)

    def hand_over(self, subscription: Interest, taker: Taker) -> None:  # type: ignore[override]
        """From now on call `taker` where a message is read."""
        self._interested[subscription] = taker

    @property
    def _interested(self) -> dict[Interest, Taker]:
        found: dict[Interest, Taker] = self.__dict__.setdefault("_taken_at_once", {})
        return found

    def send(self, subject: str, payload: bytes, *, reply: str = "", headers: bytes = b"") -> None:
        """Publish without waiting. Raises `nats.errors.Error` while there is no connection."""
        if not self.is_connected:
            raise OutboundBufferLimitError
        self._send(subject, payload, reply, headers_of(headers) if headers else {})

    def send_to_all(self, subjects: Iterable[bytes], payload: bytes) -> None:
        """Publish the same to many subjects, as `send` does."""
        for subject in subjects:
            self.send(subject.decode(), payload)

    def offer(self, arrival: Arrival) -> int:
        """The broker has a message: 1 if somebody here wants it. Every inbox is unique."""
        if arrival.subject in self._replies:
            self._arrive(None, arrival)
            return 1
        wanted = self.wanting(arrival.subject)
        for interest in wanted:
            self._arrive(interest, arrival)
        return 1 if wanted else 0

    def _heard(self, arrival: Arrival, interest: Interest) -> None:
        taker = self._interested.get(interest)
        if taker is None:
            super()._heard(arrival, interest)
        elif interest in self.interests:
            told = _raw(arrival.headers or {})
            taker(arrival.subject.encode(), arrival.reply.encode(), arrival.data, told)


def _raw(headers: Mapping[str, str]) -> bytes:
    """Headers in their bytes, a status first."""
    if not headers:
        return b""
    status = headers.get("Status")
    lines = [f"NATS/1.0 {status}" if status else "NATS/1.0"]
    lines += [f"{name}: {value}" for name, value in headers.items() if name != "Status"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
