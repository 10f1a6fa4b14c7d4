"""The follower on a real broker and a real writer: bursts, losses, restarts, stops, no broker."""

import asyncio
import contextlib
import shutil
import sys
import threading

import pytest
from tests.support.config_writer import put_model, write
from tests.support.log_world import Replica, follower, free_port, metric, nowhere, same, writer
from tests.support.nats import nats_server
from tests.support.polling import until
from tests.support.reports import report_at

from sie_schemas.errors import Untrusted

pytestmark = pytest.mark.integration


@pytest.fixture
async def url(tmp_path):
    async with nats_server(tmp_path / "nats") as url:
        yield url


async def test_without_a_broker_from_the_start_all_converge_and_are_seen_over_http(tmp_path):
    nats = nowhere()
    async with writer(tmp_path / "data", nats) as one:
        async with (
            follower(nats, one.url) as gateway,
            follower(nats, one.url, role="worker", name="w1") as worker,
        ):
            for number in range(5):
                await one.put(f"m{number}")
            await same(one, gateway, worker)

            def shown() -> list[tuple[str, bool]]:
                view = one.plane.replicas_view()
                return [(row["id"], row["converged"]) for row in view["replicas"]]

            await until(lambda: shown() == [("g1", True), ("w1", True)])
            view = (await one.http.get("/v1/configs/replicas")).json()
            assert (view["live"], view["converged"]) == (2, True)
            before = len(one.plane.waits)
            await until(lambda: len(one.plane.waits) == 2)
            await one.put("one-more")
            await same(one, gateway, worker)
            assert before <= 2
        await until(lambda: one.plane.replicas_view()["live"] == 0)


def dropped() -> float:
    return metric("sie_bus_errors_total", kind="slow_consumer") + metric(
        "sie_replica_events_dropped_total"
    )


def served(replica: Replica) -> list[int]:
    """The epochs that readers saw, one after the other."""
    return [resolver.position.epoch for resolver in replica.seen if resolver.position]


async def test_a_burst_of_ten_thousand_entries_is_neither_lost_nor_doubled(tmp_path, url):
    async with (
        writer(tmp_path / "data", url, bookmark_s=1) as one,
        follower(url, one.url, tmp_path / "r") as quick,
        follower(url, one.url, name="small", replica_queue_max=8) as small,
    ):
        await same(one, quick, small)

        await one.burst(10_000)

        await same(one, quick, small)
        for replica in (quick, small):
            assert served(replica) == sorted(set(served(replica)))


async def test_what_a_slow_consumer_drops_is_noticed_and_fetched(tmp_path, url):
    async with writer(tmp_path / "data", url) as one:
        async with follower(url, one.url, tmp_path / "r") as replica:
            await same(one, replica)
        await one.burst(800)
        await one.published()
        before, lost = dropped(), metric("sie_replica_feed_ends_total", why="lost")

        # All of it comes at once from the broker; only the stream can be asked for the rest.
        async with follower(
            url,
            "http://127.0.0.1:1",
            tmp_path / "r",
            replica_queue_max=8,
        ) as starved:
            await same(one, starved)

            assert dropped() > before
            assert metric("sie_replica_feed_ends_total", why="lost") > lost
            assert served(starved) == sorted(set(served(starved)))
            assert starved.follower.resolver.registry == one.plane.sequencer.registry


async def test_a_reader_never_sees_half_of_an_entry_with_two_changes(tmp_path, url):
    async with (
        writer(tmp_path / "data", url) as one,
        follower(url, one.url, tmp_path / "r") as replica,
    ):
        torn: list[tuple[bytes, bytes]] = []
        over = threading.Event()
        pairs: set[bytes] = set()

        def read() -> None:
            while not over.is_set():
                resolver = replica.follower.resolver
                left = resolver.registry.get("model", "left")
                right = resolver.registry.get("model", "right")
                left_text = left.document.replace(b"left", b"") if left else b""
                right_text = right.document.replace(b"right", b"") if right else b""
                pairs.add(left_text)
                if left_text != right_text:
                    torn.append((left_text, right_text))

        reader = threading.Thread(target=read)
        reader.start()
        try:
            for number in range(60):
                words = f"version {number}"
                await one.plane.write(
                    write(
                        put_model("left", description=words), put_model("right", description=words)
                    )
                )
            await same(one, replica)
        finally:
            over.set()
            await asyncio.to_thread(reader.join)
        assert not torn
        assert len(pairs) > 1


async def test_it_boots_from_its_files_without_broker_and_writer_and_is_stale(tmp_path, url):
    async with (
        writer(tmp_path / "data", url) as one,
        follower(url, one.url, tmp_path / "r", replica_tail_entries=4) as replica,
    ):
        await one.put(*(f"m{n}" for n in range(7)))
        await same(one, replica)
        left = replica.follower.resolver
        assert left.position is not None

    async with follower(nowhere(), "http://127.0.0.1:1", tmp_path / "r") as replica:
        # The snapshot is served before the entries since it.
        await replica.at(left.position.epoch)
        assert replica.follower.position == left.position
        assert replica.follower.resolver.registry == left.registry
        await replica.state("stale")
        assert replica.follower.ready, "a verified registry is served, however old"


async def test_an_untrimmed_stream_alone_is_enough_to_begin_and_to_follow(tmp_path, url):
    async with writer(tmp_path / "data", url) as one:
        await one.put("a")
        await one.published()
        # Whose log it is no stream can say: the key was given by hand.
        key = one.plane.sequencer.log_keys.own.public.hex()
        async with follower(url, "http://127.0.0.1:1", config_public_key=key) as replica:
            assert not replica.follower.ready
            await same(one, replica)
            await one.put("b")
            await same(one, replica)


async def test_a_forked_replica_serves_on_and_stops_being_ready_after_a_while(tmp_path):
    nats = nowhere()
    async with writer(tmp_path / "one", nats):
        pass
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    async with (
        writer(tmp_path / "one", nats) as one,
        follower(nats, one.url, tmp_path / "r") as replica,
    ):
        await one.put("a")
        await same(one, replica)
    async with (
        # Another writer of the same log wrote something else at the same epochs.
        writer(tmp_path / "two", nats) as two,
        follower(nats, two.url, tmp_path / "r", replica_stopped_ready_s=0.3) as replica,
    ):
        await two.put("b")
        await replica.state("forked")
        assert replica.follower.ready
        await until(lambda: not replica.follower.ready)
        assert "forked" in replica.follower.not_ready
        assert "a" in replica.follower.resolver.models
        assert "b" not in replica.follower.resolver.models
        await until(
            lambda: [row["state"] for row in two.plane.replicas_view()["replicas"]] == ["forked"]
        )


async def sie_replica(*arguments: str) -> tuple[int | None, str]:
    """The command line itself; its exit status, and what it said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sie_cli.main", "replica", *arguments),
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(40):
        _, words = await process.communicate()
    return process.returncode, words.decode()


async def test_an_operator_has_a_forked_replica_take_the_writers_history(tmp_path, url):
    async with writer(tmp_path / "one", url):
        pass
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    async with (
        writer(tmp_path / "one", nowhere()) as one,
        follower(nowhere(), one.url, tmp_path / "r") as replica,
    ):
        await one.put("a")
        await same(one, replica)
    async with contextlib.AsyncExitStack() as stack:
        two = await stack.enter_async_context(writer(tmp_path / "two", url))
        await two.put("b", "c")
        replica = await stack.enter_async_context(follower(url, two.url, tmp_path / "r"))
        await replica.state("forked")
        status, words = await sie_replica("resync", "gateway", "g1", "--url", two.url)
        assert status == 0, words
        assert "gateway/g1 takes the writer's snapshot" in words
        await same(two, replica)
        assert "a" not in replica.follower.resolver.models
        # The fork stopped the writer: only the operator knows that nothing of worth is given up.
        with pytest.raises(Untrusted, match="in recovery"):
            await two.put("d")
        forget = ("forget", "gateway", "g1", "--url", two.url)
        assert await sie_replica(*forget) == (0, "gateway/g1 is not counted any more\n")

    # Now that nobody contradicts it, it goes on when it is started again.
    async with (
        writer(tmp_path / "two", url) as two,
        follower(url, two.url, tmp_path / "r") as replica,
    ):
        await two.put("d")
        await same(two, replica)


async def test_a_resync_of_a_replica_that_is_not_there_says_which_kind_of_absence_it_is(
    tmp_path, url
):
    async with writer(tmp_path / "data", url) as one:
        nobody = {"role": "worker", "id": "w9"}
        answer = await one.http.post("/v1/configs/replicas/resync", json=nobody)
        assert (answer.status_code, answer.json()["detail"]["code"]) == (404, "NOT_FOUND")
        status, words = await sie_replica("resync", "worker", "w9", "--url", one.url)
        assert (status, "no worker 'w9' reports here" in words) == (2, True)
        behind = {"epoch": 1, "hash": "0" * 64, "digest": "0" * 64, "received": 1, "state": "stale"}
        gone = report_at(one.plane.sequencer.position, role="worker", id="w9", **behind)
        await one.http.post(
            "/v1/configs/replicas", content=gone, headers={"content-type": "application/json"}
        )
        answer = await one.http.post("/v1/configs/replicas/resync", json=nobody)
        assert answer.status_code == 503
        assert "worker w9 was not reached" in answer.json()["detail"]["message"]


async def test_a_disk_that_fails_costs_the_files_only_and_they_come_back(tmp_path, url):
    files = tmp_path / "r"
    async with (
        writer(tmp_path / "data", url) as one,
        follower(url, one.url, files, replica_tail_entries=2) as replica,
    ):
        await same(one, replica)
        failures = metric("sie_replica_file_failures_total")
        assert metric("sie_replica_files_refused") == 0
        # In one step: its thread may be writing there, and makes no folder anew.
        files.rename(tmp_path / "lost")
        await asyncio.to_thread(files.write_bytes, b"in the way")
        await one.put("a", "b", "c")
        await same(one, replica)
        await until(lambda: metric("sie_replica_file_failures_total") > failures)
        assert metric("sie_replica_files_refused") == 1, "until it is tried again"
        await asyncio.to_thread(files.unlink)
        await asyncio.to_thread(files.mkdir)
        await one.put("d")
        await same(one, replica)
        await until(lambda: metric("sie_replica_files_refused") == 0)
        head = replica.epoch
    async with follower(nowhere(), "http://127.0.0.1:1", files) as replica:
        await replica.at(head)


async def test_a_writer_that_moves_to_another_log_takes_its_followers_stream_along(tmp_path, url):
    async with writer(tmp_path / "data", url) as one:
        async with follower(url, one.url, tmp_path / "r") as replica:
            await one.put("a")
            await same(one, replica)
        first = one.plane.sequencer.position.log_id
    port = free_port()
    async with (
        writer(tmp_path / "other", url, port=port, new_log=True) as two,
        follower(url, two.url, tmp_path / "r") as replica,
    ):
        await two.put("b")
        # It does not supersede: this replica stays with what it verified.
        await replica.state("quarantined")
        here = replica.follower.position
        assert here is not None
        assert here.log_id == first
        async with follower(url, two.url, name="g2") as fresh:
            await same(two, fresh)
