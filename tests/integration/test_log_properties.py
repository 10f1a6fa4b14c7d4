"""The promises of the log, one test for each promise, each on the real parts.

Laws over many more cases stand behind them: `tests/property`, and the simulation.
"""

import asyncio
import contextlib
import random
import shutil
import sqlite3
from functools import partial

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.config_process import config_process
from tests.support.config_writer import model, put, put_model, running, write
from tests.support.log_world import connected, follower, free_port, metric, nowhere, same, writer
from tests.support.nats import nats_server
from tests.support.polling import until

from sie_config.start.opened_log import LOG_FILE
from sie_config.writer.writer_state import Recovery, Serving
from sie_config.writer_process import ControlPlane
from sie_core.apply import apply
from sie_core.chain import check_successor, position_of
from sie_core.registry import Entity, Registry
from sie_core.replica.events import EntryArrived, SnapshotArrived
from sie_core.replica.replica import Replica
from sie_schemas import snapshot as snapshots
from sie_schemas.entry import GENESIS_HASH, Entry, EntryCorrupt, parse_envelope, to_envelope
from sie_schemas.fleet import HEAD_DECODER, Head
from sie_schemas.snapshot import Snapshot, SnapshotCorrupt
from sie_testing.contracts.memory_stream import MemoryStream
from sie_testing.signing import PINNED
from sie_testing.written_log import WrittenLog

pytestmark = pytest.mark.integration


LOG = WrittenLog()
for _number in range(6):
    LOG.put("model", f"m{_number % 3}", {"n": _number, "text": "some words"})


def registry_of(snapshot: Snapshot) -> Registry:
    return Registry.of(
        Entity(row.kind, row.key, row.modified_epoch, bytes(row.document))
        for row in snapshot.entities
    )


async def test_property_01_durable_ack_a_killed_writer_comes_back_with_every_answered_write(
    tmp_path,
):
    nats = nowhere()
    answered: dict[int, str] = {}
    async with config_process(tmp_path, nats) as (process, client):

        async def write_on(name: str) -> None:
            number = 0
            with contextlib.suppress(httpx.TransportError):
                while True:
                    answer = await client.post("/v1/configs/models", json=model(f"{name}{number}"))
                    answered[answer.json()["epoch"]] = answer.json()["hash"]
                    number += 1

        async with asyncio.TaskGroup() as tasks:
            for name in "abcd":
                tasks.create_task(write_on(name))
            await until(lambda: len(answered) >= 60)
            process.kill()
    async with config_process(tmp_path, nats) as (_, client):
        for epoch, hash_ in answered.items():
            entry = (await client.get(f"/v1/configs/entries/{epoch}")).json()
            assert entry["hash"] == hash_
        assert (await client.post("/v1/configs/models", json=model("z"))).status_code == 201


async def test_property_02_dense_append_only_total_order_under_concurrent_writers(tmp_path):
    async with running(tmp_path) as plane:
        before = await plane.journal.page(0, 10_000, 10_000)
        outcomes = await asyncio.gather(*(put(plane, f"m{n}") for n in range(200)))
        first = await put(plane, "first")
        second = await put(plane, "second")
        after = await plane.journal.page(0, 10_000, 10_000)

    assert [entry.epoch for entry in after] == list(range(1, len(after) + 1))
    assert [entry.hash for entry in after[: len(before)]] == [entry.hash for entry in before]
    assert len({outcome.entry.epoch for outcome in outcomes}) == 200
    assert first.entry.epoch < second.entry.epoch
    last = None
    for entry in after:
        check_successor(last, entry)
        last = position_of(entry)
    # And nobody can change that with SQL, whatever he has open.
    with contextlib.closing(sqlite3.connect(tmp_path / LOG_FILE)) as connection:
        again = "INSERT INTO log SELECT {}, hash, {}, log_id, term, ts, actor, body FROM log"
        head, genesis = len(after), f"'{GENESIS_HASH}'"
        for statement in (
            "UPDATE log SET actor = 'x' WHERE epoch = 2",
            "DELETE FROM log WHERE epoch = 2",
            # Each wrong in one way: it skips epochs, or hangs on no entry, or on another one.
            again.format(head + 5, genesis) + " WHERE epoch = 2",
            again.format(head + 1, genesis) + " WHERE epoch = 2",
            again.format(head + 1, "prev_hash") + " WHERE epoch = 2",
        ):
            with pytest.raises(sqlite3.IntegrityError):
                connection.execute(statement)


async def test_property_03_replica_state_is_a_prefix_fold_whatever_was_lost_on_the_way(tmp_path):
    async with (
        nats_server(tmp_path / "nats") as url,
        writer(tmp_path / "data", url) as one,
        follower(
            url,
            one.url,
            tmp_path / "r",
            replica_queue_max=4,
            replica_page_entries=7,
        ) as replica,
    ):
        for round_ in range(6):
            await one.burst(50, prefix=f"r{round_}-")
            await put(one.plane, "changed", description=f"{round_}")
        await same(one, replica)
        entries = await one.plane.journal.page(0, 10_000, 10_000)
        fold, folds = Registry.EMPTY, {}
        for entry in entries:
            fold = apply(fold, entry)
            folds[entry.epoch] = fold
        assert len(replica.seen) > 3
        for resolver in replica.seen:
            here = resolver.position
            assert here is not None
            assert here == position_of(entries[here.epoch - 1])
            assert resolver.registry == folds[here.epoch]
            assert resolver.registry.digest == here.digest


async def test_property_04_no_time_travel_through_restarts_and_a_writer_that_went_back(tmp_path):
    nats, port = nowhere(), free_port()
    async with writer(tmp_path / "data", nats, port=port) as one:
        await one.put("a")
        base_url = one.url
    shutil.copytree(tmp_path / "data", tmp_path / "older")
    seen: list[int] = []
    async with writer(tmp_path / "data", nats, port=port) as one:
        await one.put("b", "c", "d")
        async with follower(nats, base_url, tmp_path / "r") as replica:
            await same(one, replica)
            seen += [resolver.position.epoch for resolver in replica.seen if resolver.position]
            head = replica.epoch
    async with writer(tmp_path / "older", nats, port=port) as old:
        # The same address now serves an older file: its head, its deltas and its snapshot.
        assert old.plane.sequencer.position.epoch < head
        async with follower(nats, base_url, tmp_path / "r") as replica:
            await until(lambda: old.plane.replicas_view()["replicas"])
            await until(lambda: isinstance(old.plane.sequencer.state, Recovery))
            assert replica.epoch == head
            assert "d" in replica.follower.resolver.models
            seen += [resolver.position.epoch for resolver in replica.seen if resolver.position]
    assert seen == sorted(seen), "a reader went back"


def test_property_04_no_time_travel_an_older_snapshot_of_a_cache_is_ignored():
    for older in (1, 3, 4):
        replica = Replica(PINNED)
        replica.receive(SnapshotArrived(0, LOG.snapshot(5)))
        replica.receive(SnapshotArrived(0, LOG.snapshot(older)))
        assert replica.position == LOG.position_at(5)
        assert replica.registry == LOG.registries[5]


def parsed(line: bytes) -> Entry:
    entry = parse_envelope(line)
    assert isinstance(entry, Entry)
    return entry


def leads_to_all(marks: dict[int, bytes], low: int, entries: list[Entry]) -> None:
    """The snapshot at `low` and the entries after it are every later snapshot."""
    start = snapshots.decode(marks[low])
    registry, last = registry_of(start), position_of(start.entry)
    assert registry.digest == start.entry.state_digest
    for entry in entries[low:]:
        check_successor(last, entry)
        registry, last = apply(registry, entry), position_of(entry)
        if entry.epoch in marks:
            assert registry == registry_of(snapshots.decode(marks[entry.epoch]))


async def test_property_06_snapshot_algebra_a_snapshot_and_its_deltas_are_the_later_snapshot(
    tmp_path,
):
    async with writer(tmp_path, nowhere()) as one:
        marks: dict[int, bytes] = {}

        async def mark() -> None:
            data = (await one.http.get("/v1/configs/export")).content
            again = (await one.http.get("/v1/configs/export")).content
            epoch = snapshots.decode(data).entry.epoch
            if snapshots.decode(again).entry.epoch == epoch:
                assert again == data, "equal positions gave other bytes"
            marks[epoch] = data

        async with asyncio.TaskGroup() as tasks:
            for number in range(12):
                tasks.create_task(one.put(f"m{number}"))
                tasks.create_task(put(one.plane, "changing", description=f"{number}"))
                tasks.create_task(mark())
        for number in range(3):
            await put(one.plane, "changing", description=f"again {number}")
            await mark()
        lines = await one.http.get("/v1/configs/log", headers={"accept": "application/x-ndjson"})
        entries = [parsed(line) for line in lines.content.splitlines()]
        assert len(marks) >= 4
        for low in marks:
            leads_to_all(marks, low, entries)
        await one.plane.store.move_low_water(9)
        one.plane.low_water = 9
        for after, status in ((0, 410), (7, 410), (8, 200), (10_000, 409)):
            answer = await one.http.get("/v1/configs/log", params={"after": after})
            assert answer.status_code == status


async def test_property_08_single_lineage_a_second_hash_for_an_epoch_is_a_fork_and_never_applied(
    tmp_path,
):
    nats = nowhere()
    async with writer(tmp_path / "one", nats) as one:
        await one.put("shared")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    async with (
        writer(tmp_path / "one", nats) as one,
        writer(tmp_path / "two", nats) as two,
        follower(nats, one.url, tmp_path / "r1", name="r1") as first,
        follower(nats, two.url, tmp_path / "r2", name="r2") as second,
    ):
        await one.put("left")
        await two.put("right")
        await same(one, first)
        await same(two, second)
        here, there = one.plane.sequencer.position, two.plane.sequencer.position
        assert (here.epoch, here.log_id) == (there.epoch, there.log_id)
        assert here.hash != there.hash
    async with (
        writer(tmp_path / "one", nats) as one,
        follower(nats, one.url, tmp_path / "r2", name="r2") as moved,
    ):
        forks = metric("sie_config_forks_total")
        await one.put("more")
        await moved.state("forked")
        assert "left" not in moved.follower.resolver.models
        assert "right" in moved.follower.resolver.models
        # The writer is told of it under its own key. Nobody had confirmed it at its start, so this
        # is its first witness: it stops, and says what somebody else has.
        await until(lambda: isinstance(one.plane.sequencer.state, Recovery))
        assert metric("sie_config_forks_total") > forks
        assert f"gateway r2 has seen {there}" in one.reason
        await until(lambda: one.plane.replicas_view()["replicas"][0]["state"] == "forked")
        [row] = one.plane.replicas_view()["replicas"]
        assert (row["id"], row["converged"]) == ("r2", False)


@pytest.mark.parametrize("seed", range(4))
async def test_property_09_outbox_completeness_the_stream_is_a_run_of_the_log_and_reaches_its_head(
    tmp_path, seed
):
    rng = random.Random(seed)
    stream = MemoryStream()

    async def holds(plane: ControlPlane) -> None:
        stored = dict(stream.messages)
        if not stored:
            return
        assert sorted(stored) == list(range(min(stored), max(stored) + 1))
        assert max(stored) <= plane.sequencer.position.epoch
        for epoch, data in stored.items():
            entry = await plane.journal.entry(epoch)
            assert entry is not None
            assert data == to_envelope(entry)

    def is_whole(plane: ControlPlane) -> bool:
        return sorted(stream.messages) == list(range(1, plane.sequencer.position.epoch + 1))

    written = 0
    for _ in range(3):
        # Each life ends with entries that were committed and perhaps not published.
        async with running(tmp_path, stream) as plane:
            for number in range(12):
                rng.choice(
                    [
                        lambda: stream.lose_acknowledgements(rng.randint(1, 2)),
                        lambda: stream.lose_tail(max(1, max(stream.messages, default=1) - 1)),
                        stream.wipe,
                        lambda: setattr(stream, "connected", not stream.connected),
                        lambda: None,
                    ]
                )()
                await put(plane, f"m{written}")
                written += 1
                await holds(plane)
                if number == 6:
                    # All is well for a while: this very process makes the stream whole, and needs
                    # no write to look at it.
                    stream.connected = True
                    stream.wipe()
                    await until(partial(is_whole, plane))
                    await holds(plane)
    stream.connected = True
    async with running(tmp_path, stream) as plane:
        await until(partial(is_whole, plane))
        await holds(plane)
        assert isinstance(plane.sequencer.state, Serving)


async def test_property_13_bookmark_a_head_is_announced_only_after_its_entries_are_on_the_stream(
    tmp_path,
):
    stream = MemoryStream()
    heard: list[tuple[Head, int]] = []
    async with (
        nats_server(tmp_path / "nats") as url,
        connected(url, "gateway") as bus,
        writer(tmp_path / "data", url, stream=stream, bookmark_s=0.01) as one,
    ):
        await bus.subscribe(
            "sie.config.head.*",
            lambda message: heard.append(
                (HEAD_DECODER.decode(message.data), max(stream.messages, default=0))
            ),
        )
        assert await bus.wait_connected(5)
        published = one.plane.sequencer.position.epoch
        stream.connected = False
        await one.put("a", "b")
        count = len(heard)
        await until(lambda: len(heard) >= count + 5)
        assert heard[-1][0].epoch == published, "entries were announced that nobody can read"
        stream.connected = True
        await until(lambda: heard[-1][0].epoch == published + 2)
    assert all(head.epoch <= last for head, last in heard)
    position = one.plane.sequencer.position
    assert (heard[-1][0].hash, heard[-1][0].digest) == (position.hash, position.digest)


def flipped(data: bytes, bit: int) -> bytes:
    byte, shift = divmod(bit, 8)
    return data[:byte] + bytes([data[byte] ^ (1 << shift)]) + data[byte + 1 :]


@given(st.data())
def test_property_14_tamper_no_bit_of_a_message_can_change_what_is_served(data):
    entry = LOG.entries[3]
    message = to_envelope(entry)
    replica = Replica(PINNED)
    replica.receive(SnapshotArrived(0, LOG.snapshot(3)))
    with contextlib.suppress(EntryCorrupt):
        changed = parsed(flipped(message, data.draw(st.integers(0, 8 * len(message) - 1))))
        replica.receive(EntryArrived(changed))
    assert replica.registry in (LOG.registries[3], LOG.registries[4])


def test_property_14_tamper_every_bit_of_a_snapshot_is_noticed_or_changes_nothing():
    whole = LOG.snapshot_bytes(5)
    taken = 0
    for bit in range(8 * len(whole)):
        fresh = Replica(PINNED)
        with contextlib.suppress(SnapshotCorrupt):
            fresh.receive(SnapshotArrived(0, snapshots.decode(flipped(whole, bit))))
            taken += 1
        assert fresh.position is None or fresh.registry == LOG.registries[5]
    assert taken, "nothing but the form of a snapshot was looked at"


async def test_property_14_tamper_a_changed_bit_in_the_file_is_damage_and_is_not_served(tmp_path):
    async with running(tmp_path) as plane:
        for number in range(6):
            await plane.write(write(put_model(f"m{number}", description=f"text-{number}")))
        whole = plane.sequencer.registry
    path = tmp_path / LOG_FILE
    data = path.read_bytes()
    at = data.rindex(b"text-4")
    for bit in (0, 3, 6):
        path.write_bytes(flipped(data, 8 * at + bit))
        async with running(tmp_path) as plane:
            assert isinstance(plane.sequencer.state, Recovery)
            assert "damaged at epoch 8" in plane.sequencer.state.reason
            assert plane.sequencer.registry.get("model", "m4") is None
    path.write_bytes(data)
    async with running(tmp_path) as plane:
        assert plane.sequencer.registry == whole
