"""The broker in memory: subjects, requests, and streams with an expected last sequence.

*shell.* Owns what the broker stores and who is connected. Keeps what JetStream keeps as far as the
cluster relies on it. That is order for each connection, no answer where nobody listens, and a
stream's sequence refused unless it follows. What was stored is said again and read directly. Core
messages are delivered at most once and forgotten. `sie_testing.contracts` holds it and a real
server to the same promises.
"""

import asyncio
import contextvars
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from sie_testing.stage.loop import Host
from sie_testing.stage.network import Network

__all__ = ["BROKER", "Arrival", "Broker", "Connection", "StoredStream"]

BROKER: Final = "broker"
"""The broker's name on the network."""
_WRONG_LAST_SEQUENCE: Final = 10071
"""JetStream's own code: the real clients read it."""
_STREAM_NOT_FOUND: Final = 10059
"""JetStream's own code: the real clients read it."""
_NO_RESPONDERS: Final = {"Status": "503"}


class Arrival(NamedTuple):
    """A message as a client gets it."""

    subject: str
    data: bytes
    reply: str = ""
    headers: dict[str, str] | None = None


class Connection(Protocol):
    """A client as its broker sees it: `sie_testing.stage.broker_client`."""

    host: Host
    linked: bool
    session: int

    def offer(self, arrival: Arrival) -> int:
        """A message for it: 1 if somebody there wants it."""

    def listens(self, subject: str) -> bool:
        """True if anything there hears this subject."""

    def unlink(self) -> None:
        """The link breaks."""


@dataclass(eq=False, slots=True)
class StoredStream:
    """One stream. `last` of an empty one is `first - 1`."""

    name: str
    subject: str
    first: int
    metadata: dict[str, str]
    last: int = 0
    messages_max: int = -1
    messages: dict[int, bytes] = field(default_factory=dict)
    headers: dict[int, dict[str, str]] = field(default_factory=dict)
    republish: dict[str, str] = field(default_factory=dict)

    def info(self) -> dict[str, Any]:
        """As the broker's API tells it."""
        return {
            "config": {
                "name": self.name,
                "subjects": [self.subject],
                "metadata": self.metadata,
                "storage": "file",
                "max_msgs": self.messages_max,
                "retention": "limits",
                "deny_delete": True,
                "deny_purge": True,
                "allow_direct": True,
                "republish": self.republish,
            },
            "state": {
                "first_seq": self.first,
                "last_seq": self.last,
                "messages": len(self.messages),
            },
        }


class Broker:
    """See the module. `deliver_twice`, `corrupt` and `lose_acks` are faults that a world sets."""

    def __init__(self, loop: asyncio.AbstractEventLoop, network: Network) -> None:
        self.loop: Final = loop
        self.network: Final = network
        self.up = True
        self.streams: dict[str, StoredStream] = {}
        self.clients: list[Connection] = []
        self.connections = 0
        """Clients that there ever were: each one's inboxes are its own."""
        self.lives = 1
        """Its starts."""
        self.changes = 0
        """The number of times that somebody laid a hand on it."""
        self.acks_to_lose = 0
        self.spoil: Callable[[bytes], list[bytes]] = lambda data: [data]
        """The fate of a delivery of a stream's message: nothing, one, several, other bytes."""
        self.on_delete: Callable[[list[bytes]], None] = lambda messages: None
        """Called with the messages of a stream that a client deletes."""
        self.on_message: Callable[[Connection, str, bytes], None] = lambda sender, subject, data: (
            None
        )
        """Called with each message that comes in, and who sent it."""
        self.on_effect: Callable[[str], None] = lambda kind: None
        """Called when a fault of this kind takes effect."""
        self.context: Final = contextvars.copy_context()
        network.on_change.append(self._links_changed)

    # -- the world's hand --

    def stop(self) -> None:
        """The broker goes away; what it stored stays."""
        self.up = False
        self.changes += 1
        self._links_changed()

    def start(self) -> None:
        """The broker is back."""
        self.up = True
        self.lives += 1
        self.changes += 1

    def wipe(self, name: str) -> None:
        """Delete a stream."""
        self.changes += 1
        self.streams.pop(name, None)

    def trim(self, name: str, first: int) -> None:
        """Drop messages before `first`."""
        stream = self.streams[name]
        stream.first = max(stream.first, min(first, stream.last + 1))
        for sequence in [each for each in stream.messages if each < stream.first]:
            del stream.messages[sequence]

    def lose_tail(self, name: str, last: int) -> None:
        """Forget what came after `last`: an unsynced tail, after a power cut."""
        stream = self.streams[name]
        self.changes += 1
        for sequence in [each for each in stream.messages if each > last]:
            del stream.messages[sequence]
        stream.last = max(last, stream.first - 1)

    # -- connections --

    def reaches(self, client: Connection) -> bool:
        """True if a connection of this client would hold now."""
        return self.up and client.host.alive and self.network.joins(client.host.name, BROKER)

    def drop(self, client: Connection) -> None:
        """A process died, and its connection with it."""
        client.linked = False
        if client in self.clients:
            self.clients.remove(client)

    def _links_changed(self) -> None:
        for client in self.clients:
            if client.linked and not self.reaches(client):
                client.unlink()

    # -- messages --

    def take(
        self, sender: Connection, subject: str, data: bytes, reply: str, headers: dict[str, str]
    ) -> None:
        """A message came in over a connection."""
        self.on_message(sender, subject, data)
        if subject.startswith("$JS.API."):
            call = subject.removeprefix("$JS.API.")
            if call.startswith("DIRECT.GET."):
                self._give(
                    sender, call.removeprefix("DIRECT.GET."), msgspec.json.decode(data), reply
                )
            else:
                self._answer(reply, self._api(call, data))
            return
        for stream in self.streams.values():
            if stream.subject == subject:
                self._store(stream, data, reply, headers)
                return
        heard = 0
        for client in self.clients:
            if client.linked:
                heard += client.offer(Arrival(subject, data, reply, headers or None))
        if not heard and reply:
            sender.offer(Arrival(reply, b"", "", dict(_NO_RESPONDERS)))

    def _answer(self, reply: str, answer: dict[str, Any] | bytes) -> None:
        data = answer if isinstance(answer, bytes) else msgspec.json.encode(answer)
        for client in self.clients:
            if reply and client.linked and client.offer(Arrival(reply, data)):
                return

    # -- streams --

    def add_stream(
        self,
        name: str,
        subject: str,
        first: int,
        metadata: dict[str, str],
        republish: dict[str, str],
    ) -> None:
        """Make a stream, unless there is one of that name."""
        if name not in self.streams:
            self.streams[name] = StoredStream(
                name, subject, first, metadata, last=first - 1, republish=republish
            )

    def _store(
        self, stream: StoredStream, data: bytes, reply: str, headers: dict[str, str]
    ) -> None:
        expected = headers.get("Nats-Expected-Last-Sequence")
        if expected is not None and int(expected) != stream.last:
            description = f"wrong last sequence: {stream.last}"
            problem = {"code": 400, "err_code": _WRONG_LAST_SEQUENCE, "description": description}
            self._answer(reply, {"error": problem})
            return
        stream.last += 1
        stream.messages[stream.last] = data
        stream.headers[stream.last] = headers
        if self.acks_to_lose:
            self.acks_to_lose -= 1
            self.on_effect("acks-lost")
        else:
            self._answer(reply, {"stream": stream.name, "seq": stream.last})
        if stream.republish:
            self._say_again(stream, stream.last)

    def _say_again(self, stream: StoredStream, sequence: int) -> None:
        arrival = self._arrival(stream, sequence, stream.republish["dest"])
        for client in self.clients:
            if client.linked:
                for data in self.spoil(arrival.data):
                    client.offer(Arrival(arrival.subject, data, "", arrival.headers))

    def _give(self, sender: Connection, name: str, wanted: dict[str, Any], reply: str) -> None:
        """A direct read: a batch from a sequence on, then the word that it ends."""
        stream = self.streams.get(name)
        if stream is None:
            sender.offer(Arrival(reply, b"", "", dict(_NO_RESPONDERS)))
            return
        found = [each for each in sorted(stream.messages) if each >= wanted["seq"]]
        for sequence in found[: wanted["batch"]]:
            sender.offer(self._arrival(stream, sequence, reply))
        sender.offer(Arrival(reply, b"", "", {"Status": "204" if found else "404"}))

    def _arrival(self, stream: StoredStream, sequence: int, subject: str) -> Arrival:
        told = {
            "Nats-Stream": stream.name,
            "Nats-Subject": stream.subject,
            "Nats-Sequence": str(sequence),
        }
        kept = stream.headers.get(sequence, {})
        return Arrival(subject, stream.messages[sequence], "", kept | told)

    def _api(self, call: str, data: bytes) -> dict[str, Any] | bytes:
        verb, _, name = call.partition(".")[2].partition(".")
        if verb in ("LIST", "NAMES"):
            told = [each.info() if verb == "LIST" else each.name for each in self.streams.values()]
            return {"total": len(told), "offset": 0, "streams": told}
        stream = self.streams.get(name)
        if stream is None:
            return {"error": {"code": 404, "err_code": _STREAM_NOT_FOUND, "description": "none"}}
        match verb:
            case "INFO":
                return stream.info()
            case "UPDATE":
                wanted = msgspec.json.decode(data)
                bound = int(wanted.get("max_msgs", -1))
                stream.messages_max, stream.republish = bound, wanted["republish"]
                if bound > 0:
                    self.trim(name, stream.last - bound + 1)
                return stream.info()
            case "DELETE":
                if name in self.streams:
                    self.on_delete(list(self.streams[name].messages.values()))
                self.wipe(name)
                return {"success": True}
            case _:
                raise AssertionError(f"the broker in memory does not know {call}: {data!r}")
