"""The dead letters of the cluster: a file-backed stream that keeps the newest.

*shell.* Reads and writes the stream `DEAD_LETTERS`. Promises that a job has one letter, however
often it is written within two minutes, and that reading takes nothing away. A letter is found by
its number, its sequence in the stream. Only an operator may drop one.
"""

import hashlib
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from sie_core.counted import counted
from sie_runtime.broker.bus import Bus, BusUnavailable
from sie_runtime.settings import constant, setting
from sie_runtime.streams.shared_stream import SharedStream, StreamRefusal
from sie_schemas.dead_letters import DEAD_LETTER_DECODER, DEAD_LETTER_ENCODER, DeadLetter
from sie_schemas.errors import FixRequest, OurFault
from sie_schemas.jobs import token
from sie_schemas.malformed import MALFORMED

__all__ = ["STREAM", "SUBJECTS", "DeadLetterSettings", "DeadLetters", "NumberedLetter"]

_LOG: Final = logging.getLogger(__name__)
STREAM: Final = "DEAD_LETTERS"
SUBJECTS: Final = "sie.dead"
_SHOWN_MAX: Final = 20
"""Numbers in the line of an error: more are not read."""


@dataclass(frozen=True, kw_only=True)
class DeadLetterSettings:
    """The settings of this process for dead letters."""

    dead_letter_payloads: bool = setting(
        False,
        help="keep the contents of failed requests with their dead letters, so that they can be "
        "run again; off, because they are your users' texts",
    )
    dead_letter_timeout_s: float = constant(
        5.0, help="seconds that the broker may take to store or to give a dead letter"
    )


@dataclass(frozen=True, slots=True)
class NumberedLetter:
    """A letter and its number."""

    number: int
    letter: DeadLetter


class DeadLetters:
    """Written by workers and sweepers, read by operators. One for each process.

    `direct` false is the way of sie-config, which asks the stream's leader alone.
    """

    def __init__(
        self, bus: Bus, settings: DeadLetterSettings | None = None, *, direct: bool = True
    ) -> None:
        self.settings: Final = settings or DeadLetterSettings()
        timeout_s = self.settings.dead_letter_timeout_s
        self._direct = direct
        self._jetstream = bus.client.jetstream(timeout=timeout_s)
        self._stream = SharedStream(bus, STREAM, holds="dead letters", timeout_s=timeout_s)

    async def write(self, letter: DeadLetter, *, reply_to: str) -> None:
        """Store a letter; `reply_to` is its job's. Raises `BusUnavailable`."""
        subject = f"{SUBJECTS}.{token(letter.pool)}"
        # The users of other pools may write letters too, and hear the ids of jobs: one of theirs
        # under such an id would keep this one out. The inbox is told to this job's pool alone.
        name = hashlib.sha256(f"{reply_to} {letter.job_id}".encode()).hexdigest()
        once = {"Nats-Msg-Id": name}
        try:
            await self._stream.publish(subject, DEAD_LETTER_ENCODER.encode(letter), once)
        except StreamRefusal as error:
            raise BusUnavailable(f"a dead letter is not taken: {error}") from error

    async def read(self, *, after: int = 0) -> AsyncIterator[NumberedLetter]:
        """Every letter after a number, oldest first; one that cannot be read is told in the log.

        Raises `BusUnavailable`.
        """
        number = after
        while True:
            found = await self._next(number)
            if found is None:
                return
            number, data = found
            try:
                letter = DEAD_LETTER_DECODER.decode(data)
            except MALFORMED as error:
                _LOG.warning("dead letter %d cannot be read: %s; drop it", number, error)
                continue
            yield NumberedLetter(number, letter)

    async def get(self, number: int) -> NumberedLetter:
        """One letter. Raises `FixRequest` NOT_FOUND, `OurFault`, `BusUnavailable`."""
        data = await self._message(number)
        try:
            return NumberedLetter(number, DEAD_LETTER_DECODER.decode(data))
        except MALFORMED as error:
            raise OurFault(f"dead letter {number} cannot be read: {error}; drop it") from error

    async def drop(self, number: int) -> None:
        """Forget a letter. Raises `FixRequest` NOT_FOUND, `BusUnavailable`."""
        await self._message(number)
        async with self._stream.asking():
            await self._jetstream.delete_msg(STREAM, number)

    async def drop_all(self, numbers: Sequence[int]) -> None:
        """Forget letters: each that is there, whatever stands before it.

        Raises `FixRequest` NOT_FOUND that names the others, when all is done, and `BusUnavailable`.
        """
        missing: list[int] = []
        for number in dict.fromkeys(numbers):
            try:
                await self.drop(number)
            except FixRequest:
                missing.append(number)
        if missing:
            gone = len(set(numbers)) - len(missing)
            more = f"; {counted(gone, 'other')} dropped" if gone else ""
            shown = ", ".join(map(str, missing[:_SHOWN_MAX]))
            raise FixRequest(
                f"there is no dead letter {shown}{' …' if len(missing) > _SHOWN_MAX else ''}{more}",
                code="NOT_FOUND",
            )

    async def _message(self, number: int) -> bytes:
        found = await self._next(number - 1)
        if found is None or found[0] != number:
            raise FixRequest(f"there is no dead letter {number}", code="NOT_FOUND")
        return found[1]

    async def _next(self, after: int) -> tuple[int, bytes] | None:
        """The first message after a number, whatever it holds."""
        subject = f"{SUBJECTS}.>"
        if not self._direct:
            return await self._stream.next_of(subject, after=after)
        found = await self._stream.get({"seq": after + 1, "next_by_subj": subject})
        return None if found is None else (found[0], found[1].data)
