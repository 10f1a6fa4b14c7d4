"""nats-py's client without the detours of its hot path.

*shell.* The library gives each message to a queue and from there to a task of its subscription. It
waits for each answer in `asyncio.wait_for`, and awaits each publish. That takes more processor time
than all else that a request costs the gateway. Here:

- a message may be handed over where it was read, and is cut out of the bytes by `direct_parser`;
- an answer costs one future and one timer;
- `send` returns at once, and a flush proves that what was sent before it has arrived.

Connecting and reconnecting stay the library's own. It reaches into the library's client, whose
version is bounded for that reason; the contract of the broker's clients is tested on a real one.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import count
from typing import Any, Final, TypeAlias

from nats.aio.client import PING_PROTO, Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.aio.transport import TcpTransport
from nats.errors import (
    BadSubjectError,
    ConnectionClosedError,
    ConnectionDrainingError,
    MaxPayloadError,
    NoRespondersError,
    OutboundBufferLimitError,
)
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeoutError

from sie_runtime.broker.direct_parser import DirectParser, headers_of

__all__ = ["DirectClient", "Taker"]

Taker: TypeAlias = Callable[[bytes, bytes, bytes, bytes], None]
"""Takes subject, reply, data and headers of one message as they came, and does not wait."""

_SUBJECT_BYTES_MAX: Final = 4000
"""Of a subject and its place for an answer. The broker ends a connection with a line of more than
4,096 bytes, in which the verb and two sizes stand, too."""
_CANCEL_AGAIN_S: Final = 0.05
"""The client library swallows a cancellation here and there: it is told again."""
_AT_ONCE_BYTES: Final = 16 * 1024
"""More at once is the reading task's, which lets others run and has the socket wait."""


def _too_long(subject: str) -> bool:
    # A character has at most four bytes: few subjects are encoded for this.
    return len(subject) > _SUBJECT_BYTES_MAX // 4 and len(subject.encode()) > _SUBJECT_BYTES_MAX


class DirectClient(Client):
    """Owner: the bus."""

    server_id: str = ""
    """The name that the broker gave itself at its start; empty before the first connection."""

    def __init__(self, answers: str) -> None:
        """Processes answer below the subject `answers`; the broker in an inbox."""
        super().__init__()
        self._process_prefix = f"{answers}.{secrets.token_hex(11)}."
        self._hears_processes = False
        self._takers: dict[int, Taker] = {}
        """By the number of the subscription."""
        self._answers: dict[str, asyncio.Future[Msg]] = {}
        """Of the requests in flight, by the subject that the answer comes to."""
        self._answer_prefix = ""
        self._numbers = count(1)
        self._is_flushing = False
        """True if `_flush_now` will be called in this turn of the loop."""
        self._parser = self._ps = DirectParser(self, self._taken)
        self._failing: set[asyncio.Future[None]] = set()
        self._runs_in: asyncio.AbstractEventLoop | None = None

    def hand_over(self, subscription: Subscription, taker: Taker) -> None:
        """From now on call `taker` where a message is read, and not the callback.

        The library counts none of these messages, so that no subscription of this kind may end by
        itself after so many.
        """
        self._takers[subscription._id] = taker

    def send(self, subject: str, payload: bytes, *, reply: str = "", headers: bytes = b"") -> None:
        """Publish without waiting, with `headers` in their bytes (`NATS/1.0` and all).

        What it raises is a `nats.errors.Error`. The caller bounds how much it has under way.
        """
        whole = subject + reply
        if not subject or _too_long(whole) or whole.split() != [whole]:
            # It would end its line, and what follows would be commands in our name; one that is too
            # long would end the connection.
            raise BadSubjectError
        size = len(payload)
        if headers:
            head = f"HPUB {subject} {reply} {len(headers)} {len(headers) + size}\r\n"
            command = b"".join((head.encode(), headers, payload, b"\r\n"))
        else:
            command = b"".join((f"PUB {subject} {reply} {size}\r\n".encode(), payload, b"\r\n"))
        self._send(command, size)

    def send_to_all(self, subjects: Iterable[bytes], payload: bytes) -> None:
        """Publish the same to many subjects, as `send` does."""
        subjects = list(subjects)
        if any(len(each) > _SUBJECT_BYTES_MAX or each.split() != [each] for each in subjects):
            raise BadSubjectError
        rest = b" %d\r\n%b\r\n" % (len(payload), payload)
        self._send(b"".join([b"PUB " + subject + rest for subject in subjects]), len(payload))

    def _send(self, commands: bytes, size: int) -> None:
        """Send commands at the end of this turn of the loop; no payload is longer than `size`."""
        if self._status != Client.CONNECTED:
            self._check_sending()
        if size > self._max_payload:
            raise MaxPayloadError
        self._push(commands)

    def _push(self, commands: bytes) -> None:
        self._pending.append(commands)
        self._pending_data_size += len(commands)
        # One write for all that a turn of the loop sends: at 64 clients some 30 jobs.
        if not self._is_flushing:
            self._is_flushing = True
            self._running_loop().call_soon(self._flush_now)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        """The loop of its owner. Asked for once: up to Python 3.11 that is a call into the
        system."""
        if self._runs_in is None:
            self._runs_in = asyncio.get_running_loop()
        return self._runs_in

    def _check_sending(self) -> None:
        if self.is_closed:
            raise ConnectionClosedError
        if self.is_draining_pubs:
            raise ConnectionDrainingError
        if not self.is_connected:
            raise OutboundBufferLimitError

    def _flush_now(self) -> None:
        self._is_flushing = False
        # What waits while there is no connection is the library's to send, over the next one.
        if not self._pending or not self.is_connected or self._transport is None:
            return
        commands, self._pending = self._pending, []
        self._pending_data_size = 0
        # On a connection that broke just now this raises; its reader hears of that and says so.
        with suppress(OSError, RuntimeError):
            self._transport.writelines(commands)

    async def publish(
        self,
        subject: str,
        payload: bytes = b"",
        reply: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        """As the library's. What it can send at once goes without waking its flusher."""
        if headers or not self.is_connected:
            await super().publish(subject, payload, reply, headers)
        else:
            self.send(subject, payload, reply=reply)

    async def request(
        self,
        subject: str,
        payload: bytes = b"",
        timeout: float = 0.5,  # noqa: ASYNC109 - the library's signature
        old_style: bool = False,
        headers: dict[str, Any] | None = None,
    ) -> Msg:
        """As the library's."""
        if old_style or self.is_draining_pubs:
            return await super().request(subject, payload, timeout, old_style, headers)
        if not self._answer_prefix:
            # The subscription is in front of every request on the wire, whoever asks meanwhile.
            self._answer_prefix = f"{self.new_inbox()}."
            await self._listen_for_answers(self._answer_prefix)
        inbox = f"{self._answer_prefix}{next(self._numbers)}"
        return await self._asked(subject, payload, inbox, timeout, headers)

    async def ask(self, subject: str, payload: bytes, *, timeout: float) -> Msg:  # noqa: ASYNC109
        """As `request`, of another process: on a subject that it may answer on, and that who was
        asked before cannot guess."""
        if not self._hears_processes:
            self._hears_processes = True
            await self._listen_for_answers(self._process_prefix)
        # A process that answered before knows the prefix: with a number in its place it could
        # answer the next question too, in the name of whoever is asked then.
        inbox = f"{self._process_prefix}{secrets.token_hex(8)}"
        return await self._asked(subject, payload, inbox, timeout, None)

    async def _asked(
        self,
        subject: str,
        payload: bytes,
        inbox: str,
        timeout: float,  # noqa: ASYNC109
        headers: dict[str, Any] | None,
    ) -> Msg:
        loop = self._running_loop()
        future: asyncio.Future[Msg] = loop.create_future()
        self._answers[inbox] = future
        # In place of `asyncio.wait_for`, which makes a task for each: with queue and task of each
        # message that was more than the rest of the gateway's path.
        timer = loop.call_later(timeout, _time_out, future)
        try:
            if headers or not self.is_connected:
                await self.publish(subject, payload, reply=inbox, headers=headers)
            else:
                self.send(subject, payload, reply=inbox)
            answer = await future
        finally:
            timer.cancel()
            del self._answers[inbox]
        if answer.headers and answer.headers.get("Status") == "503":
            raise NoRespondersError
        return answer

    async def close(self) -> None:
        """As the library's, which may go on connecting: see `Bus.close`."""
        await super().close()
        task = self._reconnection_task
        while task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=_CANCEL_AGAIN_S)

    async def _process_info(self, info: Any, initial_connection: bool = False) -> None:
        """As the library's, which would send its password to a broker that offers no TLS."""
        server = self._current_server
        if server is not None and server.uri.scheme == "tls" and not info.get("tls_required"):
            where = f"{server.uri.hostname}:{server.uri.port}"
            raise NatsError(f"{where} offers no TLS, and its address asks for it")
        self.server_id = str(info.get("server_id", ""))
        await super()._process_info(info, initial_connection)

    async def _process_connect_init(self) -> None:
        try:
            await super()._process_connect_init()
        except BaseException:
            # The library waits for the end of a connection whose handshake has failed, of which
            # nobody tells it any more: it would never try again.
            transport, self._transport = self._transport, None
            if isinstance(transport, TcpTransport) and transport._bare_io_writer is not None:
                transport._bare_io_writer.transport.abort()
            raise
        writer = self._transport._io_writer if isinstance(self._transport, TcpTransport) else None
        if writer is not None and writer.get_extra_info("ssl_object") is not None:
            # Else asyncio warns at the end of each connection that it was no plain one.
            writer.transport.get_protocol()._over_ssl = True  # type: ignore[attr-defined]

    async def _read_loop(self) -> None:
        if isinstance(self._transport, TcpTransport) and self._transport._io_reader is not None:
            self._take_at_once(self._transport._io_reader)
        await super()._read_loop()

    def _take_at_once(self, reader: asyncio.StreamReader) -> None:
        """Messages that the loop has read are taken there, without waking the reading task.

        It gets the rest, and all while it has something: nothing is overtaken. It also gets what is
        much at once, since it lets others run and has the socket wait.
        """
        parser, keep = self._parser, reader.feed_data

        def feed(data: bytes) -> None:
            kept = reader._buffer  # type: ignore[attr-defined]
            held = kept or not parser.idle or not self.is_connected
            if not held and len(data) <= _AT_ONCE_BYTES:
                data = data[parser.take(data) :]
            if data:
                keep(data)

        reader.feed_data = feed  # type: ignore[method-assign, assignment]

    async def _send_subscribe(self, sub: Subscription) -> None:
        # The library waits here where much is on its way, swallows that whoever subscribes is told
        # to leave, and gives messages that come meanwhile to nobody's taker.
        self._push(f"SUB {sub._subject} {sub._queue or ''} {sub._id}\r\n".encode())

    async def _send_ping(self, future: asyncio.Future[Any] | None = None) -> None:
        # The library writes a ping past what waits to be sent. Its answer then says nothing of an
        # interest that was just ended, and messages that still come for it are dropped.
        self._pongs.append(future or asyncio.get_running_loop().create_future())
        await self._send_command(PING_PROTO)
        await self._flush_pending()

    async def _listen_for_answers(self, prefix: str) -> None:
        subscription = await self.subscribe(f"{prefix}*", cb=self._answered)
        self.hand_over(
            subscription,
            lambda subject, reply, data, headers: self._settle(
                self.msg_class(
                    subject=subject.decode(),
                    reply=reply.decode(),
                    data=data,
                    headers=headers_of(headers) if headers else {},
                    _client=self,
                )
            ),
        )

    async def _answered(self, message: Msg) -> None:
        self._settle(message)

    def _settle(self, message: Msg) -> None:
        waiting = self._answers.get(message.subject)
        if waiting is not None and not waiting.done():
            waiting.set_result(message)

    def _taken(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> bool:
        taker = self._takers.get(sid)
        if taker is None:
            return False
        try:
            taker(subject, reply, data, headers)
        except Exception as error:
            # As the library does with a callback: the connection goes on being read.
            failing = asyncio.ensure_future(self._error_cb(error))
            self._failing.add(failing)
            failing.add_done_callback(self._failing.discard)
        return True

    def _remove_sub(self, sid: int, max_msgs: int = 0) -> None:
        self._takers.pop(sid, None)
        super()._remove_sub(sid, max_msgs)


def _time_out(future: "asyncio.Future[Msg]") -> None:
    if not future.done():
        future.set_exception(NatsTimeoutError())
