"""The feeds of the console: events that resume, and the newest entries first."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.support.config_writer import client_of, put, running
from tests.support.reports import report_at

from sie_config.http.console.feed import Feed
from sie_core.troubles import Signals
from sie_schemas.entry import log_id8
from sie_schemas.errors import Later


def parsed(event: bytes) -> tuple[str, str, Any]:
    """The name, the id and the data of an event."""
    fields = dict(line.split(": ", 1) for line in event.decode().strip().split("\n"))
    return fields["event"], fields.get("id", ""), json.loads(fields["data"])


async def read(events: AsyncIterator[bytes], name: str) -> tuple[str, Any]:
    """The next event of a name: its id and its data."""
    async with asyncio.timeout(60):
        async for event in events:
            found, event_id, data = parsed(event)
            if found == name:
                return event_id, data
    raise AssertionError("the events ended")


async def test_each_entry_is_an_event_once_and_in_order_and_a_client_resumes(tmp_path):
    async with running(tmp_path) as plane:
        feed = Feed(plane, beat_s=0.01)
        events = feed.events("")
        _, head = await read(events, "head")
        for number in range(3):
            await put(plane, f"org/m{number}")
        seen = [await read(events, "entry") for _ in range(3)]
        await events.aclose()
        assert [told["epoch"] for _, told in seen] == [head["epoch"] + n for n in (1, 2, 3)]
        assert [told["changes"][0]["key"] for _, told in seen] == ["org/m0", "org/m1", "org/m2"]
        again = feed.events(seen[0][0])
        assert [(await read(again, "entry"))[0] for _ in range(2)] == [seen[1][0], seen[2][0]]
        await again.aclose()


@pytest.mark.parametrize("missed", [0, 1, 3, 5])
async def test_a_client_that_is_cut_off_behind_any_event_misses_nothing(
    tmp_path, monkeypatch, missed
):
    """As a browser's EventSource does it: an event with an id is where it goes on."""
    monkeypatch.setattr("sie_config.http.console.feed._MISSED_MAX", 3)
    async with running(tmp_path) as plane:
        feed = Feed(plane, beat_s=0.01)
        begun = plane.sequencer.position.epoch
        for number in range(missed):
            await put(plane, f"org/m{number}")
        head = plane.sequencer.position.epoch
        for cut in range(1, missed + 3):
            last, known = f"{log_id8(plane.sequencer.position.log_id)}.{begun}", begun
            for events_read in (cut, missed + 3):
                events = feed.events(last)
                for _ in range(events_read):
                    name, event_id, told = parsed(await anext(events))
                    last = event_id or last
                    if name == "entry":
                        assert told["epoch"] == known + 1, f"cut off behind {cut} events"
                    known = told["epoch"] if name in {"entry", "reset"} else known
                await events.aclose()
            assert known == head, f"cut off behind {cut} events"


@pytest.mark.parametrize("last", ["00000000.1", "{log}.999999", "{log}.-1", "{log}.x", "junk", "."])
async def test_an_id_that_cannot_be_resumed_from_is_said_and_not_guessed_about(tmp_path, last):
    async with running(tmp_path) as plane:
        position = plane.sequencer.position
        events = Feed(plane, beat_s=0.01).events(last.format(log=log_id8(position.log_id)))
        assert parsed(await anext(events))[:2] == ("head", ""), "nothing to go on from"
        assert (await read(events, "reset"))[1] == {"epoch": position.epoch}
        await put(plane, "org/m")
        assert (await read(events, "entry"))[1]["epoch"] == position.epoch + 1
        await events.aclose()


@pytest.mark.parametrize(("missed", "answer"), [(1, "entry"), (2, "entry"), (3, "reset")])
async def test_a_client_that_missed_too_much_is_told_to_look_anew(
    tmp_path, monkeypatch, missed, answer
):
    monkeypatch.setattr("sie_config.http.console.feed._MISSED_MAX", 2)
    async with running(tmp_path) as plane:
        first = plane.sequencer.position
        for number in range(missed):
            await put(plane, f"org/m{number}")
        events = Feed(plane, beat_s=0.01).events(f"{log_id8(first.log_id)}.{first.epoch}")
        _, head_id, _ = parsed(await anext(events))
        name, _, told = parsed(await anext(events))
        assert name == answer
        if answer == "reset":
            assert (head_id, told) == ("", {"epoch": plane.sequencer.position.epoch})
        else:
            assert told["epoch"] == first.epoch + 1
        await events.aclose()


async def test_entries_of_another_log_do_not_follow_those_of_the_one_that_was_shown(tmp_path):
    """As when a log that supersedes it was taken back: its epochs go on, past those shown."""
    async with running(tmp_path / "a") as plane, running(tmp_path / "b") as other:
        for number in range(3):
            await put(other, f"org/m{number}")
        events = Feed(plane, beat_s=0.01).events("")
        await read(events, "replicas")
        ours = plane.sequencer, plane.journal
        plane.sequencer, plane.journal = other.sequencer, other.journal
        try:
            name, event_id, told = parsed(await anext(events))
            head = other.sequencer.position
            assert (name, told) == ("reset", {"epoch": head.epoch})
            assert event_id == f"{log_id8(head.log_id)}.{head.epoch}"
            await events.aclose()
        finally:
            plane.sequencer, plane.journal = ours


async def test_clients_are_bounded_and_one_that_leaves_makes_room(tmp_path):
    async with running(tmp_path) as plane:
        feed = Feed(plane, beat_s=0.01, clients_max=2)
        here = [feed.events("") for _ in range(2)]
        for each in here:
            feed.check_room()
            await anext(each)
        with pytest.raises(Later, match="2 clients"):
            feed.check_room()
        await here[0].aclose()
        feed.check_room()
        await here[1].aclose()


async def test_the_feed_ends_with_the_process(tmp_path):
    async with running(tmp_path) as plane:
        events = Feed(plane, beat_s=60.0).events("")
        await read(events, "replicas")
        ended = asyncio.create_task(read(events, "entry"))
        await asyncio.sleep(0)
        plane.stopping = True
        plane.sequencer.wake_followers()
        with pytest.raises(AssertionError, match="ended"):
            await ended


async def test_replicas_are_told_with_the_worst_first(tmp_path):
    async with running(tmp_path) as plane:
        head = plane.sequencer.position
        for name, epoch in (("a", head.epoch), ("b", 1), ("c", head.epoch)):
            subject = f"sie.config.report.gateway.{name}"
            told = report_at(head, id=name, epoch=epoch)
            plane.replicas.reports.receive(told, plane.now(), subject=subject)
        plane.replicas.reports.kept.note_gone("gateway", "c", asked_at=plane.now() + 1)
        events = Feed(plane, beat_s=0.01).events("")
        rows = (await read(events, "replicas"))[1]["replicas"]
        assert [(row["id"], row["gone"]) for row in rows] == [
            ("b", False),
            ("c", True),
            ("a", False),
        ]
        await events.aclose()


async def test_what_is_wrong_with_broker_queues_and_disk_is_told_beside_the_replicas(tmp_path):
    async with running(tmp_path) as plane:
        events = Feed(plane, beat_s=0.01).events("")
        calm = {each["id"] for each in (await read(events, "replicas"))[1]["troubles"]}
        plane.take_signals(Signals(dead_letters=2, queues={"default": (9, 10, 1.0)}))
        _, told = await read(events, "replicas")
        while {each["id"] for each in told["troubles"]} == calm:
            _, told = await read(events, "replicas")
        first, *rest = told["troubles"]
        assert (first["id"], first["tone"]) == ("queue default", "bad"), "what is bad comes first"
        [letters] = [each for each in rest if each["id"] == "letters"]
        assert letters["what"] == "2 jobs failed for good"
        await events.aclose()


async def test_the_newest_entries_are_paged_through_without_a_gap(tmp_path):
    async with running(tmp_path) as plane, client_of(plane) as client:
        for number in range(12):
            await put(plane, f"org/m{number % 3}", description=str(number))
        head = plane.sequencer.position.epoch
        for query, wanted in (
            ({}, range(head, 0, -1)),
            ({"at": head - 3}, range(head - 3, 0, -1)),
            ({"kind": "model", "key": "org/m1"}, range(head - 1, head - 12, -3)),
            ({"actor": "tester"}, range(head, head - 12, -1)),
            ({"actor": "nobody"}, ()),
        ):
            seen: list[int] = []
            asked: dict[str, Any] = {**query, "limit": 5}
            while True:
                page = (await client.get("/v1/configs/entries", params=asked)).json()
                seen += [row["epoch"] for row in page["entries"]]
                if page["next_before"] is None:
                    break
                asked["before"] = page["next_before"]
            assert seen == list(wanted), query


@pytest.mark.parametrize("leaver", [0, 1])
async def test_a_client_that_leaves_takes_the_view_from_nobody(tmp_path, leaver):
    """One view is made for all who look: whoever asked for it first may be gone by then."""
    async with running(tmp_path) as plane:
        feed = Feed(plane, beat_s=0.01)
        clients = [feed.events("") for _ in range(2)]
        for each in clients:
            assert parsed(await anext(each))[0] == "head"
        looking = [asyncio.ensure_future(anext(each)) for each in clients]
        await asyncio.sleep(0)
        looking[leaver].cancel()
        assert parsed(await looking[1 - leaver])[0] == "replicas"
        for each in clients:
            await each.aclose()
