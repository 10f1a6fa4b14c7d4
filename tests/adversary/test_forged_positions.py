"""Nobody is moved by one who can hash and publish as well as the writer, and has not its key.

A credential of the broker was enough once: an entry with a right link and a right digest was
applied, stopped the writer, and was taken into the log when it started again.
"""

import asyncio
import contextlib
import shutil
from pathlib import Path

import msgspec
import pytest
from tests.support.log_world import Writer, admin, connected, follower, metric, same, writer
from tests.support.nats import nats_server
from tests.support.polling import until
from tests.support.reports import report_at, witness_of

from sie_config.keys.key_file import key_path
from sie_config.offline.backup import back_up
from sie_config.offline.keys import change_key
from sie_config.offline.restore import Discard, restore
from sie_config.offline.verification import verify_log
from sie_config.writer.writer_state import Recovery, Serving
from sie_core.apply import preview
from sie_runtime.broker.bus import BusSettings
from sie_runtime.streams.log_stream import entry_subject
from sie_schemas.entry import Entry, build_entry, put, to_envelope
from sie_schemas.fleet import Head
from sie_testing.signing import STRANGER

pytestmark = pytest.mark.integration

LOG = "log.sqlite"
WAYS = ["unsigned", "another's key", "an old signature"]


@pytest.fixture
async def url(tmp_path):
    async with nats_server(tmp_path / "nats") as url:
        yield url


def next_entry(one: Writer, way: str) -> Entry:
    """The entry after the head as an attacker builds it: all is right but the key."""
    last, registry = one.plane.sequencer.last, one.plane.sequencer.registry
    assert last is not None
    changes = [put("pool", "theirs", {"name": "theirs"})]
    entry = build_entry(
        log_id=last.log_id,
        epoch=last.epoch + 1,
        term=last.term,
        writer=last.writer,
        ts=last.ts,
        actor="admin",
        reason="",
        request_id="",
        changes=changes,
        prev_hash=last.hash,
        state_digest=preview(registry, changes, last.epoch + 1).digest,
    )
    signed = {
        "unsigned": entry,
        "another's key": STRANGER.signed(entry),
        "an old signature": msgspec.structs.replace(entry, signature=last.signature),
    }
    return signed[way]


def read(folder: Path) -> dict[str, bytes]:
    """Every file of a replica."""
    return {path.name: path.read_bytes() for path in folder.glob("*") if path.is_file()}


def serves(one: Writer) -> bool:
    return isinstance(one.plane.sequencer.state, Serving)


@pytest.mark.parametrize("way", WAYS)
async def test_an_entry_that_the_writer_did_not_sign_is_applied_by_nobody(tmp_path, url, way):
    data = tmp_path / "data"
    async with (
        writer(data, url) as one,
        follower(url, one.url) as replica,
        admin(url) as jetstream,
    ):
        await one.put("a")
        await same(one, replica)
        await one.published()
        forged = next_entry(one, way)
        subject = entry_subject(forged.log_id)
        await jetstream.publish(subject, to_envelope(forged))
        # The writer finds it, makes the stream anew, and goes on as if nobody had been there.
        await until(lambda: one.plane.broadcast.publisher is not None and serves(one))
        await one.put("b")
        await same(one, replica)
        await one.published()
        assert all(resolver.registry.get("pool", "theirs") is None for resolver in replica.seen)
        # And once more, for the writer's next start to find.
        forged = next_entry(one, way)
    async with admin(url) as jetstream:
        await jetstream.publish(entry_subject(forged.log_id), to_envelope(forged))
    async with writer(data, url) as again, follower(url, again.url) as replica:
        await until(lambda: serves(again))
        await again.put("c")
        await same(again, replica)
        assert again.plane.sequencer.registry.get("pool", "theirs") is None
        hashes = {
            entry.hash
            for entry in await again.plane.journal.page(0, again.plane.sequencer.position.epoch, 99)
        }
        assert forged.hash not in hashes


@pytest.mark.parametrize("way", WAYS)
async def test_a_writer_that_lost_its_tail_takes_back_what_it_signed_and_nothing_else(
    tmp_path, url, way
):
    data, old = tmp_path / "data", tmp_path / "old"
    async with writer(data, url) as one:
        await one.put("a")
        await one.published()
    shutil.copytree(data, old)
    async with writer(data, url) as one:
        await one.put("b")
        await one.published()
        lost, forged = one.plane.sequencer.position, next_entry(one, way)
    async with admin(url) as jetstream:
        await jetstream.publish(entry_subject(forged.log_id), to_envelope(forged))
    async with writer(old, url) as again:
        await until(lambda: serves(again))
        entry = await again.plane.journal.entry(lost.epoch)
        assert entry is not None
        assert entry.hash == lost.hash
        assert again.plane.sequencer.registry.get("pool", "theirs") is None


async def test_what_stands_in_the_place_of_a_lost_entry_is_not_taken_for_it(tmp_path, url):
    """The stream has a forgery at the lost epoch, and a replica the entry itself."""
    data, old, files = tmp_path / "data", tmp_path / "old", tmp_path / "replica"
    async with writer(data, url) as one, follower(url, one.url, files) as replica:
        await one.put("a")
        await same(one, replica)
        forged, name = next_entry(one, "unsigned"), one.stream
    shutil.copytree(data, old)
    async with writer(data, url) as one, follower(url, one.url, files) as replica:
        await one.put("b")
        await same(one, replica)
        lost = one.plane.sequencer.position
    (old / f"{LOG}.head").unlink()
    async with admin(url) as jetstream:
        config = (await jetstream.stream_info(name)).config
        await jetstream.delete_stream(name)
        config.first_seq = forged.epoch
        await jetstream.add_stream(config)
        await jetstream.publish(entry_subject(forged.log_id), to_envelope(forged))
    async with follower(url, "http://127.0.0.1:1", files), writer(old, url) as again:
        await until(lambda: serves(again))
        entry = await again.plane.journal.entry(lost.epoch)
        assert entry is not None
        assert entry.hash == lost.hash
        assert again.plane.sequencer.registry.get("pool", "theirs") is None


async def test_heads_that_nobody_signed_neither_stop_a_replica_nor_keep_it_fresh(tmp_path, url):
    async with (
        writer(tmp_path / "data", url, bookmark_s=0.0) as one,
        follower(url, one.url, replica_poll_s=60.0, replica_stale_after_s=0.4) as replica,
        connected(url, "config") as bus,
    ):
        await one.put("a")
        await same(one, replica)
        head = one.plane.head
        subject = f"sie.config.head.{head.log_id}"
        other = msgspec.structs.replace(head, hash="f" * 64)
        ahead = msgspec.structs.replace(head, epoch=head.epoch + 10**6)
        forged = metric("sie_replica_forged_total")
        for one_head in (other, ahead, _signed(other), _signed(ahead)):
            await bus.publish(subject, msgspec.json.encode(one_head))
        await until(lambda: metric("sie_replica_forged_total") >= forged + 4)
        assert replica.follower.position == one.plane.sequencer.position
        assert replica.follower.state in ("fresh", "stale")
        await one.put("b")
        await same(one, replica)


def _signed(head: Head) -> Head:
    signature = STRANGER.sign(head.log_id, head.epoch, head.hash, head.digest)
    return msgspec.structs.replace(head, signature=signature)


async def test_a_claim_without_the_writers_signature_stops_no_writer(tmp_path, url):
    async with writer(tmp_path / "data", url) as one, connected(url, "gateway") as bus:
        assert await bus.wait_connected(10)
        await one.put("a")
        head = one.plane.head
        other = msgspec.structs.replace(head, hash="f" * 64)
        ahead = msgspec.structs.replace(head, epoch=head.epoch + 7, hash="e" * 64)
        for claimed in (other, ahead):
            for report in (report_at(claimed), witness_of(claimed, STRANGER)):
                await bus.publish("sie.config.report.gateway.g1", report)
                await one.http.post(
                    "/v1/configs/replicas",
                    content=report,
                    headers={"content-type": "application/json"},
                )
        await until(lambda: metric("sie_config_claims_forged_total") >= 8)
        assert serves(one)
        # With the writer's own signature it is evidence, whoever brings it.
        key = one.plane.sequencer.log_keys.own
        await bus.publish("sie.config.report.gateway.g1", witness_of(ahead, key))
        await until(lambda: isinstance(one.plane.sequencer.state, Recovery))
        assert f".{ahead.epoch}" in one.reason


async def test_a_changed_key_is_followed_by_who_was_there_who_slept_and_who_is_new(tmp_path, url):
    data = tmp_path / "data"
    async with contextlib.AsyncExitStack() as stack:
        async with writer(data, url) as one:
            await one.put("a")
            async with follower(url, one.url, tmp_path / "slept", name="slept") as slept:
                await same(one, slept)
            port = int(one.url.rpartition(":")[2])
            awake = await stack.enter_async_context(follower(url, one.url, name="awake"))
            await same(one, awake)
            pinned = one.plane.sequencer.log_keys.own.public.hex()
        for _ in range(2):
            changed = change_key(data / LOG, key_file=None, actor="ann", reason="yearly")
            assert changed.sound
        assert verify_log(data / LOG, every_signature=True).report.sound
        async with writer(data, url, port=port) as one:
            await one.put("b")
            await same(one, awake)
            for key in ("", pinned):
                async with follower(url, one.url, name="new", config_public_key=key) as new:
                    await same(one, new)
            async with follower(url, one.url, tmp_path / "slept", name="slept") as slept:
                await same(one, slept)


async def test_a_stranger_who_stands_in_for_the_writer_is_not_followed(tmp_path, url):
    """The same log from somebody with another key: over HTTP too, and to a pinned newcomer."""
    data, theirs = tmp_path / "data", tmp_path / "theirs"
    async with writer(data, url) as one:
        await one.put("a")
        kept = tmp_path / "replica"
        async with follower(url, one.url, kept) as replica:
            await same(one, replica)
        position = one.plane.sequencer.position
        before, empty = read(kept), tmp_path / "empty"
        pinned = one.plane.sequencer.log_keys.own.public.hex()
        back_up(data / LOG, tmp_path / "copy.sqlite")
    restore(
        tmp_path / "copy.sqlite",
        theirs,
        bus=None,
        discard=Discard(position.epoch, "mallory", "mine now"),
    )
    async with nats_server(tmp_path / "their-nats") as their_url, writer(theirs, their_url) as it:
        await it.put("theirs")
        async with (
            follower(their_url, it.url, kept) as replica,
            follower(their_url, it.url, empty, name="new", config_public_key=pinned) as new,
        ):
            await replica.state("quarantined")
            assert "did not sign it" in replica.follower.reason
            assert replica.follower.position == position
            await until(lambda: "not signed by the trusted key" in new.follower.reason)
            assert new.follower.position is None
            # What is not believed is not kept either: the next start finds what was verified.
            assert (read(kept), read(empty)) == (before, {})
            # On purpose, it is an operator's word: the key of the writer at that URL is taken.
            await it.plane.replicas.requests.resync("gateway", "g1")
            await same(it, replica)


@pytest.mark.parametrize("way", ["unsigned", "another's key"])
async def test_a_forged_end_of_the_stream_has_no_good_backup_refused(tmp_path, url, way):
    data, new = tmp_path / "data", tmp_path / "new"
    async with writer(data, url) as one:
        await one.put("a")
        await one.published()
        forged, position = next_entry(one, way), one.plane.sequencer.position
    back_up(data / LOG, tmp_path / "copy.sqlite")
    async with admin(url) as jetstream:
        await jetstream.publish(entry_subject(forged.log_id), to_envelope(forged))
    bus = BusSettings(nats_url=url)
    report = await asyncio.to_thread(restore, tmp_path / "copy.sqlite", new, bus=bus, discard=None)
    assert (report.sound, report.position) == (True, position)


async def test_a_writer_without_its_key_says_so_and_writes_nothing(tmp_path, url):
    data = tmp_path / "data"
    async with writer(data, url) as one:
        await one.put("a")
        named = one.plane.sequencer.log_keys.own.key_id
    key = key_path(data / LOG)
    assert key.stat().st_mode & 0o077 == 0
    kept = key.read_bytes()
    key.unlink()
    async with writer(data, url) as one:
        assert named in one.reason
        answer = await one.http.get("/v1/configs/models/a")
        assert answer.status_code == 200
    assert not key.exists(), "a key was made for a log that has one"
    key.write_bytes(kept)
    key.chmod(0o600)
    async with writer(data, url) as one:
        await until(lambda: serves(one))


async def test_a_stream_that_lost_its_entries_bears_witness_by_where_it_begins(tmp_path, url):
    """Behind such a stream a restored file was written on, at an epoch that had been lost."""
    data, old = tmp_path / "data", tmp_path / "old"
    async with writer(data, url) as one:
        await one.put("a")
        await one.published()
    shutil.copytree(data, old)
    async with writer(data, url) as one:
        await one.put("b", "c")
        await one.published()
        head, name = one.plane.sequencer.position, one.stream
    (old / f"{LOG}.head").unlink()
    async with admin(url) as jetstream:
        config = (await jetstream.stream_info(name)).config
        config.first_seq, config.metadata = head.epoch + 1, {}
        await jetstream.delete_stream(name)
        await jetstream.add_stream(config)
        async with writer(old, url) as again:
            await until(lambda: isinstance(again.plane.sequencer.state, Recovery))
            assert f"the stream has seen {head}" in again.reason
            state = (await jetstream.stream_info(name)).state
            assert (state.first_seq, state.messages) == (head.epoch + 1, 0), "evidence is gone"
