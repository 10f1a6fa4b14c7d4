"""The dead letters of the cluster: a file-backed stream that keeps the newest.

*shell.* Owns the stream `DEAD_LETTERS`. Promises that a job has one letter, however often it is
written within two minutes, and that reading takes nothing away. A letter is found by its number,
its sequence in the stream. Only an operator may drop one.
"""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from nats.js.api import DiscardPolicy, StorageType, StreamConfig

from sie_runtime.bus import Bus, BusUnavailable
from sie_runtime.settings import setting
from sie_runtime.shared_stream import SharedStream
from sie_schemas.dead_letters import DEAD_LETTER_DECODER, DEAD_LETTER_ENCODER, DeadLetter
from sie_schemas.errors import FixRequest
from sie_schemas.jobs import token

__all__ = ["DeadLetterSettings", "DeadLetters", "NumberedLetter"]

_STREAM: Final = "DEAD_LETTERS"
_SUBJECTS: Final = "sie.dead"


@dataclass(frozen=True, kw_only=True)
class DeadLetterSettings:
    """Bounds of the dead letters. All processes of one cluster use the same."""

    dead_letter_payloads: bool = setting(
        False,
        help="keep the contents of failed requests with their dead letters, so that they can be "
        "run again; off, because they are your users' texts",
    )
    dead_letters_max: int = setting(10_000, help="newest dead letters that are kept")
    dead_letter_age_max_s: float = setting(
        14 * 86400.0, help="seconds after which a dead letter is forgotten"
    )
    dead_letter_timeout_s: float = setting(
        5.0, help="seconds that the broker may take to store or to give a dead letter"
    )


@dataclass(frozen=True, slots=True)
class NumberedLetter:
    """A letter and its number."""

    number: int
    letter: DeadLetter


class DeadLetters:
    """Written by workers and sweepers, read by operators. One for each process."""

    def __init__(self, bus: Bus, settings: DeadLetterSettings | None = None) -> None:
        self._bus = bus
        self.settings: Final = settings or DeadLetterSettings()
        timeout_s = self.settings.dead_letter_timeout_s
        self._jetstream = bus.client.jetstream(timeout=timeout_s)
        self._stream = SharedStream(
            bus, _config(self.settings, bus), holds="dead letters", timeout_s=timeout_s
        )

    async def write(self, letter: DeadLetter) -> None:
        """Store a letter. Raises `BusUnavailable`."""
        await self._stream.ensure()
        async with self._stream.asking():
            answer = await self._bus.client.request(
                f"{_SUBJECTS}.{token(letter.pool)}",
                DEAD_LETTER_ENCODER.encode(letter),
                timeout=self.settings.dead_letter_timeout_s,
                headers={"Nats-Msg-Id": letter.job_id},
            )
        outcome = json.loads(answer.data)
        if "error" in outcome:
            raise BusUnavailable(f"a dead letter is not taken: {outcome['error']}")

    async def read(self) -> AsyncIterator[NumberedLetter]:
        """Every letter, oldest first. Raises `BusUnavailable`."""
        number = 0
        while True:
            found = await self._next({"seq": number + 1, "next_by_subj": f"{_SUBJECTS}.>"})
            if found is None:
                return
            number = found.number
            yield found

    async def get(self, number: int) -> NumberedLetter:
        """One letter. Raises `FixRequest` NOT_FOUND, `BusUnavailable`."""
        found = await self._next({"seq": number})
        if found is None:
            raise FixRequest(f"there is no dead letter {number}", code="NOT_FOUND")
        return found

    async def drop(self, number: int) -> None:
        """Forget a letter. Raises `FixRequest` NOT_FOUND, `BusUnavailable`."""
        await self.get(number)
        async with self._stream.asking():
            await self._jetstream.delete_msg(_STREAM, number)

    async def _next(self, wanted: dict[str, Any]) -> NumberedLetter | None:
        await self._stream.ensure()
        async with self._stream.asking():
            answer = await self._bus.client.request(
                f"$JS.API.DIRECT.GET.{_STREAM}",
                json.dumps(wanted).encode(),
                timeout=self.settings.dead_letter_timeout_s,
            )
        headers = answer.headers or {}
        if "Nats-Sequence" not in headers:
            return None
        return NumberedLetter(
            int(headers["Nats-Sequence"]), DEAD_LETTER_DECODER.decode(answer.data)
        )


def _config(settings: DeadLetterSettings, bus: Bus) -> StreamConfig:
    return StreamConfig(
        name=_STREAM,
        subjects=[f"{_SUBJECTS}.>"],
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
        max_msgs=settings.dead_letters_max,
        max_age=settings.dead_letter_age_max_s,
        allow_direct=True,
        duplicate_window=120,
        num_replicas=bus.stream_replicas,
    )
