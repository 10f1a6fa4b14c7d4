"""A thousand replicas that return at once, on real sockets, and a writer that goes on writing."""

import asyncio
import json
import resource

import pytest
from tests.support.config_writer import put
from tests.support.log_world import Writer, metric, nowhere, writer
from tests.support.polling import until

from sie_core.registry import Entity, Registry
from sie_schemas import snapshot as snapshots
from sie_schemas.entry import parse_envelope

pytestmark = pytest.mark.integration

REPLICAS = 1000
CROWDS = 3
WRITES = 3
"""Of a few that go on beside a crowd; 20 to 30 on two idle cores."""


@pytest.fixture(autouse=True)
def open_files():
    """Both ends of every connection are in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def get(one: Writer, path: str, accept: str = "*/*") -> tuple[int, bytes]:
    """One GET on a connection of its own."""
    host, _, port = one.url.removeprefix("http://").partition(":")
    reader, out = await asyncio.open_connection(host, int(port))
    try:
        out.write(
            f"GET {path} HTTP/1.1\r\nhost: {host}\r\naccept: {accept}\r\n"
            "connection: close\r\n\r\n".encode()
        )
        head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
        return int(head.split(b" ", 2)[1]), body
    finally:
        out.close()


async def test_a_thousand_snapshots_asked_for_at_once_are_made_a_few_times_while_writes_go_on(
    tmp_path,
):
    async with writer(tmp_path, nowhere()) as one:
        await one.burst(100)
        first = one.plane.sequencer.position.epoch
        rendered = one.plane.exports.rendered
        written, answers = 0, []

        # A disk that stands still holds up a write, and no export. It does so once, where a crowd
        # that is served before all writes does so each time.
        for _ in range(CROWDS):
            before = written
            async with asyncio.timeout(60):
                asked = [get(one, "/v1/configs/export") for _ in range(REPLICAS)]
                crowd = [asyncio.ensure_future(each) for each in asked]
                while not all(client.done() for client in crowd):
                    await put(one.plane, f"during-{written}")
                    written += 1
                answers = await asyncio.gather(*crowd)
            if written - before >= WRITES:
                break

        assert {status for status, _ in answers} == {200}
        assert written - before >= WRITES, "no write got through while the crowd was served"
        # Never twice for one position, and far fewer than those who asked.
        made = one.plane.exports.rendered - rendered
        assert made <= min(written + 1, REPLICAS // 10)
        different = set(answers)
        assert len(different) <= made
        for _, body in different:
            read = snapshots.decode(body)
            registry = Registry.of(
                Entity(row.kind, row.key, row.modified_epoch, bytes(row.document))
                for row in read.entities
            )
            assert registry.digest == read.entry.state_digest
            assert read.entry.epoch >= first, "older than the request"


async def test_a_thousand_long_polls_end_with_one_write_and_the_writer_answers_meanwhile(tmp_path):
    async with writer(tmp_path, nowhere()) as one:
        here = one.plane.sequencer.position
        path = f"/v1/configs/epoch?log_id={here.log_id}&after={here.epoch}&wait=60"
        async with asyncio.timeout(60):
            crowd = [asyncio.ensure_future(get(one, path)) for _ in range(REPLICAS)]
            await until(lambda: len(one.plane.waits) == REPLICAS)

            await put(one.plane, "one")
            await put(one.plane, "two")

            # Both were committed before half of the crowd had its answer.
            assert sum(client.done() for client in crowd) < REPLICAS // 2
            answers = await asyncio.gather(*crowd)
        assert {status for status, _ in answers} == {200}
        assert {json.loads(body)["epoch"] for _, body in answers} <= {
            here.epoch + 1,
            here.epoch + 2,
        }
        assert len(one.plane.waits) == 0


async def test_a_thousand_deltas_near_the_head_cost_no_disk(tmp_path):
    async with writer(tmp_path, nowhere()) as one:
        before = one.plane.sequencer.position
        await one.burst(50)
        path = f"/v1/configs/log?log_id={before.log_id}&after={before.epoch}&limit=1000"
        reads = one.plane.journal.reads

        async with asyncio.timeout(60):
            answers = await asyncio.gather(
                *(get(one, path, "application/x-ndjson") for _ in range(REPLICAS))
            )

        assert one.plane.journal.reads == reads
        assert len(set(answers)) == 1
        entries = [parse_envelope(line) for line in answers[0][1].splitlines()]
        assert [entry.epoch for entry in entries] == list(
            range(before.epoch + 1, before.epoch + 51)
        )


async def test_a_range_with_a_limit_ends_early_where_it_gets_too_large(tmp_path):
    async with writer(tmp_path, nowhere(), page_bytes_max=2000) as one:
        await one.burst(300)
        lines = {"accept": "application/x-ndjson"}
        answer = await one.http.get(
            "/v1/configs/log", params={"after": 0, "limit": 300}, headers=lines
        )
        found = [parse_envelope(line) for line in answer.content.splitlines()]
        assert 0 < len(found) < 300
        assert [entry.epoch for entry in found] == list(range(1, len(found) + 1))
        whole = await one.http.get("/v1/configs/log", headers=lines)
        assert len(whole.content.splitlines()) == 303


async def test_what_was_asked_for_by_those_who_left_is_made_once_and_kept(tmp_path):
    async with writer(tmp_path, nowhere()) as one:
        await one.put("a")
        made = metric("sie_config_exports_rendered_total")
        for _ in range(5):
            asked = asyncio.ensure_future(one.plane.exports.newest(one.plane.sequencer))
            await asyncio.sleep(0)
            asked.cancel()
            await asyncio.wait([asked])
        await until(lambda: metric("sie_config_exports_rendered_total") == made + 1)
        export = await one.plane.exports.newest(one.plane.sequencer)
        assert export.epoch == one.plane.sequencer.position.epoch
        assert metric("sie_config_exports_rendered_total") == made + 1
