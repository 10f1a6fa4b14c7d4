"""The config stream: the epoch log as JetStream delivers it.

*shell.* One stream for each incarnation of the log, `CFG_<log_id>`, in which the stream's sequence
is the epoch; the broker refuses anything else. The stream is delivery, never truth: what is read
from it is checked like anything else. This is the writer's side; a replica's is `stored_log`.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.api import DiscardPolicy, RePublish, StorageType, StreamConfig
from nats.js.errors import APIError, NotFoundError

from sie_runtime.broker.bus import Bus, BusUnavailable, reason_of
from sie_runtime.streams.shared_stream import make_stream
from sie_schemas.errors import SIEError

__all__ = [
    "LogStream",
    "StreamTip",
    "WrongLastSequence",
    "entry_subject",
    "log_streams",
    "stored_subject",
    "stream_name",
]

_WRONG_LAST_SEQUENCE: Final = 10071
"""JetStream's code: another writer published here."""
_STREAM_NOT_FOUND: Final = 10059
"""JetStream's code."""
_READS_AT_ONCE: Final = 32
"""Requests in flight: enough to hide the broker's latency."""
_NO_MESSAGE: Final = 10037
"""JetStream's code: nothing has this sequence."""


class WrongLastSequence(SIEError):
    """The broker refused an append: its stream does not end where the writer thought.

    `last_sequence` is where it does end.
    """

    def __init__(self, last_sequence: int) -> None:
        super().__init__(f"the stream ends at sequence {last_sequence}")
        self.last_sequence = last_sequence


@dataclass(frozen=True, slots=True)
class StreamTip:
    """The ends of a stream. `last` of an empty stream is `first - 1`."""

    first: int
    last: int
    metadata: dict[str, str]
    sound: bool = True
    """True if its settings are those of a config stream: files, no expiry, no way to delete."""
    bounded: bool = False
    """True if a trim mends its settings. Either an earlier one was interrupted, and each append
    would now drop the oldest message. Or an older version made it, and replicas cannot read it."""


def stream_name(log_id: str) -> str:
    """The stream of a log."""
    return f"CFG_{log_id}"


def entry_subject(log_id: str) -> str:
    """The one subject of that stream."""
    return f"sie.config.log.{log_id}.e"


def stored_subject(log_id: str) -> str:
    """The subject of the broker's echo of what it stored: replicas hear nothing that it refused."""
    return f"sie.config.stored.{log_id}"


async def log_streams(bus: Bus, *, timeout_s: float = 5.0) -> dict[str, StreamTip]:
    """Every config stream of the broker, by log id. Raises `BusUnavailable`, `TimeRanOut`.

    Never fewer than there are: a broker that cannot tell of one of them is an error.
    """
    found: dict[str, StreamTip] = {}
    offset = 0
    while True:
        page = await _api(
            bus,
            "$JS.API.STREAM.LIST",
            {"offset": offset, "subject": "sie.config.log.>"},
            timeout_s=timeout_s,
        )
        _refuse(page)
        # A cluster names here those whose leader did not answer in time.
        silent = [name for name in page.get("missing") or [] if name.startswith("CFG_")]
        if silent:
            raise BusUnavailable(f"the broker cannot tell of its stream {', '.join(silent)}")
        streams = page.get("streams") or []
        for stream in streams:
            name = stream["config"]["name"]
            if name.startswith("CFG_"):
                found[name.removeprefix("CFG_")] = _tip(stream)
        offset += len(streams)
        if not streams or offset >= page.get("total", 0):
            return found


class LogStream:
    """The stream of one log. Owner: the writer's publisher; readers may share it."""

    def __init__(
        self,
        bus: Bus,
        log_id: str,
        *,
        timeout_s: float = 5.0,
        replicas: int = 1,
        trace: Callable[[], str] = str,
    ) -> None:
        """`trace` gives the traceparent of the write whose entry is stored; empty has none."""
        self._bus = bus
        self._trace = trace
        self._log_id = log_id
        self._timeout_s = timeout_s
        self._replicas = replicas

    async def ensure(self, *, first_epoch: int, metadata: dict[str, str]) -> StreamTip:
        """Make the stream if it is not there, from `first_epoch` on. Raises `BusUnavailable`."""
        tip = await self.tip()
        if tip is not None:
            return tip
        config = StreamConfig(
            name=stream_name(self._log_id),
            subjects=[entry_subject(self._log_id)],
            storage=StorageType.FILE,
            discard=DiscardPolicy.OLD,
            num_replicas=self._replicas,
            allow_direct=True,
            deny_delete=True,
            deny_purge=True,
            first_seq=first_epoch,
            metadata=metadata,
            # A core subscriber of the log's own subject also hears what the stream then refuses, as
            # an entry of a fenced writer. A consumer of each replica is no way out: whoever may
            # make one chooses where the broker delivers.
            republish=RePublish(src=entry_subject(self._log_id), dest=stored_subject(self._log_id)),
        )
        await make_stream(self._bus, config, holds="config entries", timeout_s=self._timeout_s)
        made = await self.tip()
        if made is None:
            raise BusUnavailable("the config stream vanished while it was made")
        return made

    async def tip(self) -> StreamTip | None:
        """The ends of the stream; None if there is none. Raises `BusUnavailable`."""
        answer = await _api(self._bus, f"$JS.API.STREAM.INFO.{stream_name(self._log_id)}", None)
        if answer.get("error", {}).get("err_code") == _STREAM_NOT_FOUND:
            return None
        _refuse(answer)
        return _tip(answer)

    async def append(self, epoch: int, data: bytes) -> None:
        """Store an entry at sequence `epoch`. Raises `WrongLastSequence` or `BusUnavailable`.

        After a timeout the entry may be stored or not: the next append finds out. No message id is
        sent: after a purge, de-duplication would answer for a message that is not there.
        """
        self._bus.require_connected()
        headers = {
            "Nats-Expected-Stream": stream_name(self._log_id),
            "Nats-Expected-Last-Sequence": str(epoch - 1),
        }
        if trace := self._trace():
            headers["traceparent"] = trace
        try:
            reply = await self._bus.client.request(
                entry_subject(self._log_id), data, timeout=self._timeout_s, headers=headers
            )
        except NoRespondersError as error:
            raise BusUnavailable("the config stream is not there, or has no leader") from error
        except (NatsError, NatsTimeoutError, TimeoutError) as error:
            raise BusUnavailable(
                f"the broker did not store epoch {epoch}: {reason_of(error)}"
            ) from error
        answer = json.loads(reply.data)
        problem = answer.get("error")
        if problem is not None and problem.get("err_code") == _WRONG_LAST_SEQUENCE:
            raise WrongLastSequence(_last_sequence(problem["description"], epoch))
        _refuse(answer)
        if answer.get("duplicate") or answer["seq"] != epoch:
            raise WrongLastSequence(int(answer["seq"]))

    async def read(self, epoch: int) -> bytes | None:
        """The message at a sequence; None if there is none. Raises `BusUnavailable`."""
        jetstream = self._bus.client.jetstream(timeout=self._timeout_s)
        self._bus.require_connected()
        try:
            # Asked of the leader: a direct read may come from a copy that lags, and a stream that
            # somebody else made may not allow it.
            message = await jetstream.get_msg(stream_name(self._log_id), seq=epoch)
        except NotFoundError:
            return None
        except APIError as error:
            if error.err_code == _NO_MESSAGE:
                return None
            raise BusUnavailable(f"epoch {epoch} cannot be read: {error}") from error
        except (NatsError, TimeoutError) as error:
            raise BusUnavailable(f"epoch {epoch} cannot be read: {reason_of(error)}") from error
        return bytes(message.data or b"")

    async def read_range(self, after: int, until: int) -> list[bytes]:
        """Messages after `after` up to `until`, as far as they are there without a gap."""
        found: list[bytes] = []
        for start in range(after + 1, until + 1, _READS_AT_ONCE):
            epochs = range(start, min(start + _READS_AT_ONCE, until + 1))
            for data in await asyncio.gather(*map(self.read, epochs)):
                if data is None:
                    return found
                found.append(data)
        return found

    async def trim(self, first_epoch: int) -> StreamTip:
        """Drop what is older than `first_epoch`; the newest message stays. Raises `BusUnavailable`.

        Nobody may append meanwhile: purging is denied, so a bound on the number of messages does
        it, and is lifted again. A crash in between leaves a `bounded` stream, to be trimmed again.
        The other settings become those of now.
        """
        info = await _api(self._bus, f"$JS.API.STREAM.INFO.{stream_name(self._log_id)}", None)
        _refuse(info)
        tip = _tip(info)
        if first_epoch > tip.first:
            keep = max(1, tip.last - first_epoch + 1)
            info = await self._bound(info["config"], keep)
        elif not tip.bounded:
            return tip
        return _tip(await self._bound(info["config"], -1))

    async def _bound(self, config: dict[str, Any], messages_max: int) -> dict[str, Any]:
        wanted = config | {
            "max_msgs": messages_max,
            "allow_direct": True,
            "republish": _said_again(self._log_id),
        }
        subject = f"$JS.API.STREAM.UPDATE.{stream_name(self._log_id)}"
        info = await _api(self._bus, subject, wanted)
        _refuse(info)
        return info

    async def recreate(self, *, first_epoch: int, metadata: dict[str, str]) -> StreamTip:
        """Delete the stream and make it anew: it held something that is not this log."""
        answer = await _api(self._bus, f"$JS.API.STREAM.DELETE.{stream_name(self._log_id)}", None)
        if answer.get("error", {}).get("err_code") not in (None, _STREAM_NOT_FOUND):
            _refuse(answer)
        return await self.ensure(first_epoch=first_epoch, metadata=metadata)


async def _api(
    bus: Bus, subject: str, body: dict[str, Any] | None, *, timeout_s: float = 5.0
) -> dict[str, Any]:
    data = await bus.request(
        subject, b"" if body is None else json.dumps(body).encode(), timeout_s=timeout_s
    )
    answer: dict[str, Any] = json.loads(data)
    return answer


def _refuse(answer: dict[str, Any]) -> None:
    if "error" in answer:
        raise BusUnavailable(f"the broker refuses: {answer['error'].get('description', 'unknown')}")


def _tip(info: dict[str, Any]) -> StreamTip:
    state, config = info["state"], info["config"]
    last = int(state["last_seq"])
    # An empty stream says 0 and 0, or where it will begin.
    first = int(state["first_seq"]) if state["messages"] else max(int(state["first_seq"]), last + 1)
    return StreamTip(
        first,
        last,
        config.get("metadata") or {},
        sound=_is_sound(config),
        bounded=config.get("max_msgs", -1) > 0 or not _is_readable(config),
    )


def _said_again(log_id: str) -> dict[str, str]:
    return {"src": entry_subject(log_id), "dest": stored_subject(log_id)}


def _is_readable(config: dict[str, Any]) -> bool:
    """True if replicas hear of what it stores, and may read it."""
    return bool(config.get("allow_direct")) and bool(config.get("republish"))


def _is_sound(config: dict[str, Any]) -> bool:
    """True if nobody but a trim can take an entry away, and nothing but a publish can add one."""
    log_id = str(config.get("name", "")).removeprefix("CFG_")
    return (
        config.get("subjects") == [entry_subject(log_id)]
        and config.get("storage") == "file"
        and config.get("retention") == "limits"
        and not config.get("max_age")
        and bool(config.get("deny_delete"))
        and bool(config.get("deny_purge"))
        and not (config.get("sources") or config.get("mirror") or config.get("sealed"))
        and not config.get("subject_transform")
        and (config.get("republish") or _said_again(log_id)) == _said_again(log_id)
    )


def _last_sequence(description: str, epoch: int) -> int:
    """The end of the stream, from the broker's words: `wrong last sequence: 7`."""
    text = description.rpartition(":")[2].strip()
    # Not in these words: the epoch itself is in doubt, and is read back.
    return int(text) if text.isdigit() else epoch
