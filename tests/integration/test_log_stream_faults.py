"""The harm that a broker, or somebody at it, can do to the config stream, and what comes of it."""

import contextlib
import shutil

import pytest
from nats.js.api import StreamConfig, StreamSource
from nats.js.errors import APIError
from tests.support.config_writer import put
from tests.support.log_world import (
    Writer,
    admin,
    follower,
    free_port,
    metric,
    nowhere,
    same,
    writer,
)
from tests.support.nats import nats_server
from tests.support.polling import until, until_told

from sie_config.writer.writer_state import Recovery, Serving
from sie_runtime.streams.log_stream import entry_subject
from sie_schemas.entry import Stub, build_entry, parse_envelope, to_envelope
from sie_schemas.entry import put as put_change
from sie_testing.written_log import WrittenLog

pytestmark = pytest.mark.integration


@pytest.fixture
async def url(tmp_path):
    async with nats_server(tmp_path / "nats") as url:
        yield url


async def contents(jetstream, one: Writer) -> list[str]:
    """The hashes on the stream, in the order of its sequences, from 1."""
    state = (await jetstream.stream_info(one.stream)).state
    found = []
    for sequence in range(state.first_seq, state.last_seq + 1):
        message = await jetstream.get_msg(one.stream, seq=sequence)
        found.append(parse_envelope(message.data).hash)
    assert state.first_seq == 1 or not found
    return found


async def log_of(one: Writer) -> list[str]:
    head = one.plane.sequencer.position.epoch
    return [entry.hash for entry in await one.plane.journal.page(0, head, head)]


async def holds_the_log(jetstream, one: Writer) -> None:
    await one.published()
    assert await contents(jetstream, one) == await log_of(one)


def recreated() -> float:
    return metric("sie_config_stream_recreated_total")


def like_ours(one: Writer, **changes) -> StreamConfig:
    """A stream of our name, as somebody makes it who does not know our settings."""
    log_id = one.plane.sequencer.position.log_id
    return StreamConfig(name=one.stream, subjects=[entry_subject(log_id)], **changes)


async def test_a_wiped_stream_is_filled_again_without_a_follower_losing_anything(tmp_path, url):
    async with (
        writer(tmp_path / "data", url) as one,
        follower(url, one.url) as replica,
        admin(url) as jetstream,
    ):
        await one.put("a")
        await same(one, replica)
        await jetstream.delete_stream(one.stream)
        await one.put("b")

        await same(one, replica)
        await holds_the_log(jetstream, one)
        await one.put("c")
        await same(one, replica)


async def test_nothing_can_be_purged_or_deleted_from_the_stream(tmp_path, url):
    async with writer(tmp_path / "data", url) as one, admin(url) as jetstream:
        await one.put("a")
        await one.published()
        for attempt in (
            jetstream.purge_stream(one.stream),
            jetstream.delete_msg(one.stream, 2),
        ):
            with pytest.raises(APIError):
                await attempt
        await holds_the_log(jetstream, one)


async def test_a_stream_begins_at_the_low_water_and_says_which_log_it_is(tmp_path, url):
    async with writer(tmp_path / "data", url) as one, admin(url) as jetstream:
        await one.put("a", "b", "c")
        await one.published()
        await one.plane.compact(4)
        await jetstream.delete_stream(one.stream)
        await one.put("d")
        await one.published()
        info = await jetstream.stream_info(one.stream)
        base = await one.plane.journal.entry(3)
        assert base is not None
        told = {name: info.config.metadata[name] for name in ("log_id", "base_epoch", "base_hash")}
        assert told == {"log_id": base.log_id, "base_epoch": "3", "base_hash": base.hash}
        assert info.config.metadata["supersedes"] == ""
        assert (info.state.first_seq, info.state.last_seq) == (4, 7)
        headers = (await jetstream.get_msg(one.stream, seq=7)).headers or {}
        assert headers.get("Nats-Expected-Stream") == one.stream
        assert headers.get("Nats-Expected-Last-Sequence") == "6"
        # After a purge, de-duplication would answer for a message that is not there.
        assert "Nats-Msg-Id" not in headers


async def test_a_stream_that_was_trimmed_below_a_reader_sends_it_to_the_writer(tmp_path, url):
    async with writer(tmp_path / "data", url) as one, admin(url) as jetstream:
        async with follower(url, one.url, tmp_path / "r") as replica:
            await same(one, replica)
            left_at = replica.epoch
        await one.put(*(f"m{n}" for n in range(8)))
        await one.published()
        config = (await jetstream.stream_info(one.stream)).config
        config.max_msgs = 2
        await jetstream.update_stream(config)
        fetched = metric("sie_replica_fetches_total", outcome="RangeArrived")
        snapshots = metric("sie_replica_fetches_total", outcome="SnapshotArrived")

        async with follower(url, one.url, tmp_path / "r") as replica:
            await same(one, replica)

            # The delta was enough: nothing was skipped, and no snapshot was wanted.
            assert replica.seen[0].position is not None
            assert replica.seen[0].position.epoch == left_at
            assert metric("sie_replica_fetches_total", outcome="RangeArrived") > fetched
            assert metric("sie_replica_fetches_total", outcome="SnapshotArrived") == snapshots


def snapshots_below() -> float:
    """It learns of the mark from the head or, if its fetch comes first, from a refusal."""
    return metric("sie_replica_snapshots_total", reason="below") + metric(
        "sie_replica_snapshots_total", reason="gone"
    )


async def test_below_the_low_water_a_follower_is_told_so_and_takes_a_snapshot(tmp_path, url):
    async with writer(tmp_path / "data", url) as one:
        async with follower(url, one.url, tmp_path / "r") as replica:
            await same(one, replica)
        await one.put(*(f"m{n}" for n in range(8)))
        await one.plane.store.move_low_water(9)
        one.plane.low_water = 9
        await one.published()
        async with admin(url) as jetstream:
            config = (await jetstream.stream_info(one.stream)).config
            config.max_msgs = 3
            await jetstream.update_stream(config)
        snapshots = metric("sie_replica_fetches_total", outcome="SnapshotArrived")
        causes = snapshots_below()
        gone = await one.http.get("/v1/configs/log", params={"after": 4})
        assert (gone.status_code, gone.json()["detail"]["code"]) == (410, "GONE")

        async with follower(url, one.url, tmp_path / "r") as replica:
            await same(one, replica)
            assert metric("sie_replica_fetches_total", outcome="SnapshotArrived") > snapshots
            assert snapshots_below() > causes


async def test_a_stream_recreated_empty_by_somebody_is_made_again_as_it_must_be(tmp_path, url):
    async with (
        writer(tmp_path / "data", url) as one,
        follower(url, one.url) as replica,
        admin(url) as jetstream,
    ):
        await one.put("a")
        await one.published()
        await jetstream.delete_stream(one.stream)
        await jetstream.add_stream(like_ours(one, max_age=60))

        await until(lambda: one.plane.broadcast.published_epoch == 4)
        await one.put("b")
        await same(one, replica)
        await one.published()
        await until_sound(jetstream, one)
        await holds_the_log(jetstream, one)


async def until_sound(jetstream, one: Writer) -> None:
    """Wait until the stream has our settings again."""

    async def is_sound() -> bool:
        config = (await jetstream.stream_info(one.stream)).config
        return bool(config.deny_purge and config.deny_delete and not config.max_age)

    await until_told(is_sound)


@pytest.mark.parametrize("what", ["another log", "garbage", "our own entries, shifted"])
async def test_a_stream_recreated_with_something_else_is_made_anew_from_the_log(
    tmp_path, url, what
):
    async with (
        writer(tmp_path / "data", url, publish_verify_s=0.5) as one,
        follower(url, one.url) as replica,
        admin(url) as jetstream,
    ):
        await one.put("a", "b")
        await same(one, replica)
        await one.published()
        before = recreated()
        foreign = WrittenLog("another")
        for number in range(5):
            foreign.put("model", f"f{number}", {"n": number})
        ours = await one.plane.journal.page(0, 5, 5)
        messages = {
            "another log": [to_envelope(entry) for entry in foreign.entries],
            "garbage": [b"{", b"", b"[]", b'{"hash":"x","body":{}}'],
            "our own entries, shifted": [to_envelope(entry) for entry in ours[1:]],
        }[what]
        await jetstream.delete_stream(one.stream)
        await jetstream.add_stream(like_ours(one, deny_delete=True, deny_purge=True))
        for message in messages:
            await jetstream.publish(entry_subject(ours[0].log_id), message)

        await until(lambda: recreated() > before)
        await one.put("c")
        await same(one, replica)
        await holds_the_log(jetstream, one)
        assert isinstance(one.plane.sequencer.state, Serving)


@pytest.mark.parametrize("promoted", [False, True], ids=["lagging", "promoted"])
async def test_a_mirror_that_lags_in_the_place_of_the_stream_hides_nothing(tmp_path, url, promoted):
    async with (
        writer(tmp_path / "data", url, publish_verify_s=0.5) as one,
        follower(url, one.url) as replica,
        admin(url) as jetstream,
    ):
        await one.put("a", "b", "c")
        await same(one, replica)
        await one.published()
        before = recreated()
        behind = await one.plane.journal.page(0, 4, 4)
        await jetstream.add_stream(StreamConfig(name="REGION", subjects=["region.e"]))
        for entry in behind:
            await jetstream.publish("region.e", to_envelope(entry))
        await jetstream.delete_stream(one.stream)
        await jetstream.add_stream(
            StreamConfig(name=one.stream, mirror=StreamSource(name="REGION"))
            if not promoted
            else like_ours(one, sources=[StreamSource(name="REGION")])
        )

        # One that is new and reads the mirror, and one that has followed all along.
        async with follower(url, one.url) as late:
            await same(one, late)
            await until(lambda: recreated() > before)
            await one.put("d")
            await same(one, replica)
            await same(one, late)
        await holds_the_log(jetstream, one)
        assert isinstance(one.plane.sequencer.state, Serving)


async def test_garbage_behind_the_head_is_refused_by_followers_and_replaced_by_the_writer(
    tmp_path, url
):
    async with (
        writer(tmp_path / "data", url, publish_verify_s=60) as one,
        follower(url, one.url) as replica,
        admin(url) as jetstream,
    ):
        await one.put("a")
        await same(one, replica)
        await one.published()
        refused = metric("sie_replica_messages_refused_total", kind="garbage")
        misplaced = metric("sie_replica_messages_refused_total", kind="misplaced")
        last = one.plane.sequencer.last
        assert last is not None
        subject = entry_subject(last.log_id)

        await jetstream.publish(subject, b"not an entry")
        await jetstream.publish(subject, to_envelope(last))
        await until(lambda: metric("sie_replica_messages_refused_total", kind="garbage") > refused)
        await until(
            lambda: metric("sie_replica_messages_refused_total", kind="misplaced") > misplaced
        )
        assert replica.follower.position == one.plane.sequencer.position
        before = recreated()
        await one.put("b")

        await same(one, replica)
        assert recreated() == before + 1
        await holds_the_log(jetstream, one)


async def test_an_oversized_entry_travels_as_a_stub_and_its_body_comes_over_http(tmp_path, url):
    async with (
        writer(tmp_path / "data", url) as one,
        follower(url, one.url) as replica,
        admin(url) as jetstream,
    ):
        await same(one, replica)
        await put(one.plane, "big", **large_model())
        await same(one, replica)
        await one.published()

        stub = parse_envelope((await jetstream.get_msg(one.stream, seq=4)).data)
        assert isinstance(stub, Stub)
        assert stub.hash == one.plane.sequencer.position.hash


def large_model() -> dict[str, object]:
    manifest = {f"{'d' * 90}/{'f' * 90}{n}": "a" * 64 for n in range(1000)}
    profile = {"backend": "transformer", "options": {f"o{n}": "x" * 4096 for n in range(64)}}
    return {
        "source": {"type": "path", "path": "/weights", "manifest": manifest},
        "profiles": {"default": profile, "other": profile},
    }


async def test_a_stream_that_is_behind_the_file_at_start_is_brought_up(tmp_path, url):
    async with writer(tmp_path / "data", url) as one:
        await one.published()
    async with writer(tmp_path / "data", nowhere()) as one:
        await one.put("a", "b", "c")
        assert not one.plane.broadcast.is_published(one.plane.sequencer.position.epoch)
    async with writer(tmp_path / "data", url) as one, admin(url) as jetstream:
        assert one.plane.broadcast.is_published(one.plane.sequencer.position.epoch)
        await holds_the_log(jetstream, one)


async def test_a_second_writer_on_a_copy_of_the_file_fences_the_first_and_only_one_history_lives(
    tmp_path, url
):
    async with writer(tmp_path / "data", url) as one:
        await one.put("a")
        await one.published()
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    # The stream is looked at every minute: what stops the first is the broker's refusal (10071).
    async with (
        writer(tmp_path / "data", url, publish_verify_s=60) as one,
        writer(tmp_path / "copy", url) as two,
    ):
        assert two.plane.sequencer.position.term == one.plane.sequencer.position.term + 1
        await one.put("on-the-zombie")
        await until(lambda: isinstance(one.plane.sequencer.state, Recovery))
        assert "another writer" in one.reason
        await two.put("c")
        async with follower(url, two.url) as replica, admin(url) as jetstream:
            await same(two, replica)
            await holds_the_log(jetstream, two)
            assert "on-the-zombie" not in replica.follower.resolver.models


async def test_a_replica_that_follows_a_newer_writer_stops_a_zombie_before_it_writes(tmp_path, url):
    async with writer(tmp_path / "data", url) as one:
        await one.published()
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    async with (
        writer(tmp_path / "data", url, publish_verify_s=60) as one,
        follower(url, one.url) as replica,
        writer(tmp_path / "copy", url) as two,
    ):
        await until(lambda: isinstance(one.plane.sequencer.state, Recovery))
        assert "gateway g1 has seen" in one.reason
        await two.put("c")
        await replica.at(two.plane.sequencer.position.epoch)


async def test_another_writers_valid_successor_is_found_by_looking_and_puts_this_one_into_recovery(
    tmp_path, url
):
    async with writer(tmp_path / "data", url) as one, admin(url) as jetstream:
        await one.published()
        last = one.plane.sequencer.last
        assert last is not None
        foreign = build_entry(
            log_id=last.log_id,
            epoch=last.epoch + 1,
            term=last.term + 1,
            writer="other",
            ts="2026-01-01T00:00:00.000000Z",
            actor="another writer",
            reason="",
            request_id="",
            changes=[put_change("pool", "other", {"name": "other"})],
            prev_hash=last.hash,
            state_digest="0" * 64,
        )
        foreign = one.plane.sequencer.log_keys.own.signed(foreign)
        await jetstream.publish(entry_subject(last.log_id), to_envelope(foreign))
        await until(lambda: isinstance(one.plane.sequencer.state, Recovery))
        message = await jetstream.get_msg(one.stream, seq=foreign.epoch)
        assert message.data == to_envelope(foreign), "it was overwritten"


async def test_at_start_an_entry_of_somebody_else_on_the_stream_is_no_evidence_of_a_loss(
    tmp_path, url
):
    async with writer(tmp_path / "data", url) as one:
        await one.published()
        last = one.plane.sequencer.last
    assert last is not None
    intruder = WrittenLog("intruder")
    intruder.log_id = last.log_id
    for _ in range(last.epoch):
        intruder.begin_term()
    async with admin(url) as jetstream:
        await jetstream.publish(entry_subject(last.log_id), to_envelope(intruder.entries[3]))
        async with writer(tmp_path / "data", url) as one:
            assert one.plane.sequencer.state == Serving(witnessed=True)
            await holds_the_log(jetstream, one)


@pytest.mark.parametrize("kept", [True, False], ids=["store kept", "store lost"])
async def test_a_broker_that_was_killed_comes_back_and_nothing_is_lost_or_doubled(tmp_path, kept):
    port = free_port()
    url = f"nats://127.0.0.1:{port}"
    async with contextlib.AsyncExitStack() as stack:
        async with nats_server(tmp_path / "nats", port=port):
            one = await stack.enter_async_context(writer(tmp_path / "data", url))
            replica = await stack.enter_async_context(follower(url, one.url))
            await one.put("a")
            await same(one, replica)
            await one.published()
        await until(lambda: not replica.bus.connected)
        await one.put("while-away")
        await same(one, replica)
        async with (
            nats_server(tmp_path / ("nats" if kept else "empty"), port=port),
            admin(url) as jetstream,
        ):
            await one.put("b")
            await same(one, replica)
            await holds_the_log(jetstream, one)
            await until(lambda: replica.bus.connected)
            epochs = [resolver.position.epoch for resolver in replica.seen if resolver.position]
            assert epochs == sorted(set(epochs)), "a reader saw an epoch twice, or went back"
            # Its writer leaves before its broker.
            await stack.aclose()
