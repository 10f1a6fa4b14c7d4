"""What a replica's feeds make of a bookmark, and what waits for the replica."""

import asyncio
import random

import msgspec
import pytest
from tests.support.polling import until

from sie_config.announcer import head_at
from sie_core.chain import position_of
from sie_core.replica_events import (
    EntryArrived,
    Event,
    FetchFailed,
    HeadAnnounced,
    RangeArrived,
    Ticked,
)
from sie_runtime.bus import Bus, BusSettings, Message
from sie_runtime.log_source import LogSource
from sie_runtime.replica_feeds import FeedSettings, ReplicaFeeds
from sie_runtime.replica_queue import ReplicaQueue
from sie_testing.written_log import WrittenLog


@pytest.mark.parametrize(("epoch", "waits"), [(1, False), (2, False), (3, True)])
async def test_a_bookmark_waits_for_entries_that_may_still_come_by_themselves(epoch, waits):
    log = WrittenLog()
    for number in range(3):
        log.put("model", f"m{number}", {"number": number})
    here, head = position_of(log.entries[1]), head_at(position_of(log.entries[epoch - 1]), 1)
    events: list[Event] = []

    def take(event: Event) -> bool:
        events.append(event)
        return True

    bus = Bus(BusSettings(), role="gateway", process_id="g")
    source = LogSource("http://127.0.0.1:1", bus, timeout_s=1, page_entries=10)
    feeds = ReplicaFeeds(
        FeedSettings(replica_grace_s=0.01),
        bus=bus,
        source=source,
        put=take,
        position=lambda: here,
        following=lambda: True,
        clock=lambda: 0.0,
        rng=random.Random(1),
    )

    subject = f"sie.config.head.{head.log_id}"
    feeds.hear_bookmarks(Message(subject, msgspec.json.encode(head), "", {}, bus.client))

    assert events == ([] if waits else [HeadAnnounced(head)])
    await until(lambda: events == [HeadAnnounced(head)])
    await source.close()


async def test_a_queue_takes_what_fits_and_gives_entries_that_came_together_as_one_range():
    log = WrittenLog()
    for number in range(3):
        log.put("model", f"m{number}", {})
    queue, (one, two, three, four) = ReplicaQueue(4), log.entries
    events: list[Event] = [EntryArrived(one), EntryArrived(two), Ticked(1.0), EntryArrived(three)]

    assert [queue.offer(event) for event in [*events, EntryArrived(four)]] == [True] * 4 + [False]
    queue.put(FetchFailed(1, "its answer is never refused"))

    assert await queue.take() == [
        RangeArrived(0, (one, two)),
        Ticked(1.0),
        RangeArrived(0, (three,)),
        FetchFailed(1, "its answer is never refused"),
    ]


async def test_who_waits_at_an_empty_queue_is_woken_once_and_by_the_first():
    queue = ReplicaQueue(4)
    taking = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.put(Ticked(1.0))
    queue.put(Ticked(2.0))

    assert await taking == [Ticked(1.0), Ticked(2.0)]
