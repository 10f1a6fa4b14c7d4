"""The announcer: a bookmark of the head on the bus, after its entries.

*shell.* A follower that hears a bookmark knows that it missed nothing, so it need not poll.
Promises that a bookmark names only entries that are on the stream already, and is signed.
"""

import asyncio
import contextlib
from typing import Final

import msgspec

from sie_config.log.journal import Journal
from sie_config.stream.publisher import Publisher
from sie_config.writer.sequencer import Sequencer
from sie_runtime.broker.bus import Bus, BusUnavailable
from sie_runtime.process.waiting import first_of
from sie_schemas.entry import Entry
from sie_schemas.fleet import Head

__all__ = ["announce", "head_at"]

_TOLD_TWICE: Final = 2
"""Once may be lost between two connections of the broker; a poll finds what twice missed."""


def head_at(entry: Entry, low_water: int) -> Head:
    """The position after an entry, as it is announced."""
    return Head(
        log_id=entry.log_id,
        epoch=entry.epoch,
        hash=entry.hash,
        digest=entry.state_digest,
        term=entry.term,
        low_water=low_water,
        signature=entry.signature,
    )


async def announce(
    bus: Bus,
    publisher: Publisher,
    sequencer: Sequencer,
    journal: Journal,
    *,
    every_s: float,
    stop: asyncio.Event,
) -> None:
    """Announce the newest published position until `stop`.

    A new one comes within `every_s` of the last announcement, and once more after `every_s`: one
    may be lost. Then it is said again at half that pace.
    """
    told, times = 0, 0
    while not stop.is_set():
        entry = await _published(publisher, sequencer, journal)
        if entry is not None:
            head = head_at(sequencer.log_keys.signed(entry), publisher.low_water)
            with contextlib.suppress(BusUnavailable):
                await bus.publish(f"sie.config.head.{head.log_id}", msgspec.json.encode(head))
            times = times + 1 if head.epoch == told else 1
            told = head.epoch
        await first_of(stop.wait(), timeout_s=every_s)
        # Each announcement wakes the broker and every process, all night. A publication ends this
        # second wait, so that silence makes no head late.
        if times >= _TOLD_TWICE and publisher.published == told:
            await first_of(stop.wait(), publisher.moved(), timeout_s=every_s)


async def _published(publisher: Publisher, sequencer: Sequencer, journal: Journal) -> Entry | None:
    if publisher.published < 1:
        return None
    if publisher.published >= sequencer.position.epoch:
        return sequencer.last
    return await journal.entry(publisher.published)
