"""The difference of two moments: by the entries between them, by the index, and page by page."""

import asyncio
import gc
import random
from typing import Any

import aiosqlite
from tests.support.config_writer import client_of, model, running

from sie_config.past.timeline import _TOUCHED, Timeline
from sie_core.registry import Registry

NAMES = [f"org/m{number}" for number in range(12)]


async def test_entries_and_index_tell_the_same_entities_of_every_span(tmp_path):
    chance = random.Random(7)
    async with running(tmp_path) as plane, client_of(plane) as client:
        for number in range(60):
            name = chance.choice(NAMES)
            if chance.random() < 0.2:
                await client.delete(f"/v1/configs/models/{name}")
            else:
                document = model(name, description=str(number))
                await client.put(f"/v1/configs/models/{name}", json=document)
        head = plane.sequencer.position.epoch
        scanned = Timeline(
            plane.timeline._path, plane.sequencer, registries_max=1, now_us=lambda: 0, near_max=-1
        )
        try:
            for _ in range(40):
                first, last = sorted(chance.sample(range(1, head + 1), 2))
                after = ("model", chance.choice(NAMES)) if chance.random() < 0.5 else ("", "")
                limit = chance.choice((1, 3, 400))
                read = await plane.timeline.touched(first, last, after=after, limit=limit)
                assert read == await scanned.touched(first, last, after=after, limit=limit)
        finally:
            await scanned.close()


async def test_the_registries_that_were_looked_at_last_are_remembered_and_no_others(tmp_path):
    chance = random.Random(11)
    async with running(tmp_path) as plane, client_of(plane) as client:
        for name in NAMES:
            await client.put(f"/v1/configs/models/{name}", json=model(name))
        head, most = plane.sequencer.position.epoch, 3
        timeline = Timeline(
            plane.timeline._path, plane.sequencer, registries_max=most, now_us=lambda: 0
        )
        seen: dict[int, Registry] = {}
        last: list[int] = []
        try:
            for _ in range(80):
                epoch = head - chance.randint(1, 6)
                found = (await timeline.past(epoch)).registry
                assert (found is seen.get(epoch)) == (epoch in last), (epoch, last)
                last = [*(each for each in last if each != epoch), epoch][-most:]
                seen[epoch] = found
        finally:
            await timeline.close()


async def test_however_many_ask_first_they_share_one_connection(tmp_path):
    async with running(tmp_path) as plane:
        timeline = Timeline(
            plane.timeline._path, plane.sequencer, registries_max=1, now_us=lambda: 0
        )
        before = {id(each) for each in _connections()}
        await asyncio.gather(*(timeline.entry(1) for _ in range(8)))
        opened = [each for each in _connections() if id(each) not in before]
        await timeline.close()
        for left in opened:
            # One that nobody else closes has a thread, which outlives the test.
            await left.close()
        assert len(opened) == 1


def _connections() -> list[aiosqlite.Connection]:
    return [each for each in gc.get_objects() if type(each) is aiosqlite.Connection]


async def test_a_page_of_the_index_begins_where_the_page_before_it_ended(tmp_path):
    async with running(tmp_path) as plane:
        asked = ("model", "org/m5", 0, 9, 5)
        plan = await plane.timeline._rows(f"EXPLAIN QUERY PLAN {_TOUCHED}", asked)
    # By the kind alone each page would read all that comes before it in its kind.
    assert [told for *_, told in plan] == [
        "SEARCH change USING PRIMARY KEY ((entity_kind,entity_key)>(?,?))"
    ]


async def test_a_difference_is_read_page_by_page_and_each_page_is_bounded(tmp_path):
    async with running(tmp_path) as plane, client_of(plane) as client:
        before = plane.sequencer.position.epoch
        for name in NAMES:
            await client.put(f"/v1/configs/models/{name}", json=model(name))
        pool = {"name": "eu", "machine_profiles": ["cpu"]}
        await client.put("/v1/configs/pools/eu", json=pool)
        path = f"/v1/configs/diff?from={before}"
        whole = (await client.get(path)).json()
        assert "next_after" not in whole, "who asks for all of it gets what it got"
        found: list[Any] = []
        after: str | None = ""
        while after is not None:
            page = (await client.get(f"{path}&limit=5&after={after}")).json()
            assert len(page["changes"]) <= 5
            found += page["changes"]
            after = page["next_after"]
        assert found == whole["changes"]
        assert len(found) == 13
        for bad in ("limit=0", "limit=1000", "after=model"):
            assert (await client.get(f"{path}&{bad}")).status_code in {400, 422}
