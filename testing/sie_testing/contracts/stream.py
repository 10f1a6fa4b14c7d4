"""The contract of each config stream: sequence and epoch are one number, or the append is refused.

*pure.* Each promise is a coroutine over one fresh stream. Holds for `MemoryStream`, for the broker
in memory and for JetStream alike, and for any stream of your own that a publisher is to use.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from sie_config.stream.stream_witness import Stream
from sie_runtime.streams.log_stream import WrongLastSequence
from sie_schemas.entry import to_envelope
from sie_testing.written_log import WrittenLog

__all__ = ["STREAM_CONTRACT", "StreamUnderTest"]


@dataclass(frozen=True, slots=True)
class StreamUnderTest:
    """A stream that nobody has used, and the log that is to be put on it."""

    stream: Stream
    log: WrittenLog


Promise = Callable[[StreamUnderTest], Awaitable[None]]
_ORIGIN: Final = {"log_id": "x"}


async def _filled(under_test: StreamUnderTest, *, first: int = 1, entries: int = 4) -> None:
    log = under_test.log
    while log.epoch < first + entries - 1:
        log.put("model", f"m{log.epoch}", {"n": log.epoch})
    await under_test.stream.ensure(first_epoch=first, metadata=_ORIGIN)
    for entry in log.entries[first - 1 :]:
        await under_test.stream.append(entry.epoch, to_envelope(entry))


async def _tip_of(stream: Stream) -> tuple[int, int]:
    tip = await stream.tip()
    assert tip is not None, "the stream is gone"
    return tip.first, tip.last


async def absent(under_test: StreamUnderTest) -> None:
    """A stream that nobody made has no tip."""
    assert await under_test.stream.tip() is None


async def ensured(under_test: StreamUnderTest) -> None:
    """Made twice is made once; what the first one said stays."""
    stream = under_test.stream
    await stream.ensure(first_epoch=5, metadata=_ORIGIN)
    await stream.ensure(first_epoch=9, metadata={"log_id": "y"})
    tip = await stream.tip()
    assert tip is not None
    assert (tip.last, tip.metadata["log_id"]) == (4, "x")


async def in_order(under_test: StreamUnderTest) -> None:
    """Each epoch goes in once, in order; a refusal names the last sequence."""
    await _filled(under_test)
    for epoch in (1, 4, 6, 99):
        try:
            await under_test.stream.append(epoch, b"x")
        except WrongLastSequence as error:
            assert error.last_sequence == 4
        else:
            raise AssertionError(f"epoch {epoch} was taken after epoch 4")
    assert await _tip_of(under_test.stream) == (1, 4)


async def read_back(under_test: StreamUnderTest) -> None:
    """Check that what was stored is read back byte for byte; what was not is None."""
    await _filled(under_test)
    for entry in under_test.log.entries:
        assert await under_test.stream.read(entry.epoch) == to_envelope(entry)
    assert await under_test.stream.read(5) is None


async def continued(under_test: StreamUnderTest) -> None:
    """A stream may begin in the middle of a log, and refuses what is before."""
    await _filled(under_test, first=3, entries=2)
    assert await _tip_of(under_test.stream) == (3, 4)
    assert await under_test.stream.read(2) is None


async def trimmed(under_test: StreamUnderTest) -> None:
    """Trimming drops the oldest and keeps the newest, and appends go on."""
    await _filled(under_test)
    await under_test.stream.trim(3)
    assert await _tip_of(under_test.stream) == (3, 4)
    assert await under_test.stream.read(2) is None
    assert await under_test.stream.read(3) is not None
    await under_test.stream.append(5, b"x")
    assert await _tip_of(under_test.stream) == (3, 5)


async def recreated(under_test: StreamUnderTest) -> None:
    """Made anew it is empty, and takes its first epoch again."""
    await _filled(under_test)
    await under_test.stream.recreate(first_epoch=1, metadata=_ORIGIN)
    assert await under_test.stream.read(1) is None
    await under_test.stream.append(1, b"x")
    assert await _tip_of(under_test.stream) == (1, 1)


STREAM_CONTRACT: Final[Mapping[str, Promise]] = {
    "a stream that nobody made has no tip": absent,
    "a stream is made once": ensured,
    "each epoch goes in once and in order": in_order,
    "what was stored is read back": read_back,
    "a stream may begin in the middle": continued,
    "trimming keeps the newest": trimmed,
    "a stream that is made anew is empty": recreated,
}
