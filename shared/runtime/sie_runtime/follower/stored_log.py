"""The stored log: the config stream as a replica reads it, without a consumer of its own.

*shell.* The broker says again on one subject what it has stored, and no role may publish there.
What was stored before, or was missed, is read directly. Promises that a feed brings each message
once and in order, or ends and says that it is lost. Nothing of it is believed here: entries are
checked by whoever applies them.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Final

from sie_runtime.broker.bus import Bus, BusUnavailable, Message
from sie_runtime.streams.log_stream import entry_subject, stored_subject, stream_name
from sie_runtime.streams.stored import StoredMessage, read_stored
from sie_schemas.errors import SIEError

__all__ = ["StoredLog", "follow", "stored_logs"]

_AT_ONCE: Final = 256
"""Entries of one read; with long documents the answer stays below a few MiB."""
_LOOKS_MAX: Final = 20
"""A stream whose end runs away is left to the next poll."""
_LOOK_S: Final = 0.02
"""A copy that lags has what the leader said again a moment later."""
_TIMEOUT_S: Final = 5.0
"""A broker that is there answers in milliseconds; a group that elects a leader, in two seconds."""


async def stored_logs(bus: Bus) -> list[str]:
    """The ids of the logs that the broker has streams of. Raises `BusUnavailable`, `TimeRanOut`."""
    request = json.dumps({"subject": entry_subject("*")}).encode()
    answer = json.loads(await bus.request("$JS.API.STREAM.NAMES", request, timeout_s=_TIMEOUT_S))
    if "error" in answer:
        raise BusUnavailable(f"the broker lists no streams: {answer['error'].get('description')}")
    names = [str(name) for name in answer.get("streams") or []]
    return [name.removeprefix("CFG_") for name in names if name.startswith("CFG_")]


class StoredLog:
    """The stream of one log, read only. Many may share it."""

    def __init__(self, bus: Bus, log_id: str) -> None:
        self._bus = bus
        self._log_id = log_id

    async def read_from(self, epoch: int, at_most: int = _AT_ONCE) -> list[StoredMessage]:
        """Messages from a sequence on, some of them; empty past the end. Raises `BusUnavailable`.

        Where the stream begins later, the first is a later one.
        """
        found = await read_stored(
            self._bus,
            stream_name(self._log_id),
            {"seq": max(1, epoch), "batch": at_most},
            holds=f"log {self._log_id[:8]}",
            timeout_s=_TIMEOUT_S,
        )
        return found.messages

    async def read(self, epoch: int) -> bytes | None:
        """The message at a sequence; None if there is none. Raises `BusUnavailable`."""
        found = await self.read_range(epoch - 1, epoch)
        return found[0] if found else None

    async def read_range(self, after: int, until: int) -> list[bytes]:
        """Messages after `after` up to `until`, as far as they are there without a gap."""
        found: list[bytes] = []
        while after < until:
            messages = await self.read_from(after + 1, min(until - after, _AT_ONCE))
            for message in messages:
                if message.sequence != after + 1 or after == until:
                    return found
                found.append(message.data)
                after += 1
            if not messages:
                break
        return found


async def follow(
    bus: Bus,
    log_id: str,
    *,
    start_epoch: int,
    on_message: Callable[[int, bytes], bool],
    stop: asyncio.Event,
    on_trace: Callable[[int, str], None] | None = None,
) -> str:
    """Deliver the messages of a log from `start_epoch` on, until something is amiss.

    `on_message` is called where a message is read, and tells whether it had room for it. Returns
    why it ended: the caller starts again from what it has applied. `lost` says that a message found
    no room or was dropped on the way, `reconnected` that some may have been. A dropped *last*
    message shows with the next one, or by the writer's bookmark. Raises `BusUnavailable` when it
    cannot begin. `on_trace` is told the trace that a message was written in, before it comes.
    """
    bus.require_connected()
    feed = _Feed(log_id, start_epoch, on_message, stop, on_trace)
    # Before anything is read: what is stored between the read and the subscription would be missed.
    subscription = await bus.subscribe(stored_subject(log_id), feed.hear, by_broker=True)
    forget = bus.on_reconnect(feed.reconnected)
    try:
        return await feed.run(StoredLog(bus, log_id))
    except SIEError as error:
        raise BusUnavailable(
            f"the stream of {log_id[:8]} cannot be followed: {error.message}"
        ) from error
    finally:
        forget()
        await subscription.unsubscribe()


class _Feed:
    """The entries that one replica was given, and those that it is to be given next."""

    def __init__(
        self,
        log_id: str,
        start_epoch: int,
        on_message: Callable[[int, bytes], bool],
        stop: asyncio.Event,
        on_trace: Callable[[int, str], None] | None,
    ) -> None:
        self._on_trace = on_trace
        self._stream = stream_name(log_id)
        self._next = max(1, start_epoch)
        self._on_message = on_message
        self._stop = stop
        self._newest = 0
        """The newest sequence that was said again."""
        self._caught_up = False
        self._begun = False
        self._why = ""
        self._ended = asyncio.Event()

    def reconnected(self) -> None:
        """The connection is another one. Called at once for the one that is there."""
        if self._begun:
            self._end("reconnected")
        self._begun = True

    def hear(self, message: Message) -> None:
        """The broker says that it has stored a message."""
        sequence = message.headers.get("Nats-Sequence", "")
        # Who may read a stream can have something else delivered here.
        if message.headers.get("Nats-Stream") == self._stream and sequence.isdigit():
            self._newest = max(self._newest, int(sequence))
            if self._on_trace is not None and (trace := message.headers.get("traceparent")):
                self._on_trace(int(sequence), trace)
            if self._caught_up:
                self._take(int(sequence), message.data)

    async def run(self, log: StoredLog) -> str:
        """Give what is stored, then what comes."""
        looks = 0
        while not self._why and not self._stop.is_set():
            messages = await log.read_from(self._next)
            for message in messages:
                self._next = max(self._next, message.sequence)
                self._take(message.sequence, message.data)
            if messages:
                continue
            if self._newest < self._next:
                # Nothing may happen between this look and the first message that is given at once.
                self._caught_up = True
                break
            looks += 1
            if looks >= _LOOKS_MAX:
                return "lost"
            await asyncio.sleep(_LOOK_S)
        await _either(self._stop, self._ended)
        return self._why or "stopped"

    def _take(self, sequence: int, data: bytes) -> None:
        if self._why or sequence < self._next:
            return
        if sequence > self._next or not self._on_message(sequence, data):
            self._end("lost")
            return
        self._next = sequence + 1

    def _end(self, why: str) -> None:
        self._why = self._why or why
        self._ended.set()


async def _either(first: asyncio.Event, second: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(first.wait()), asyncio.ensure_future(second.wait())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
