"""The publisher against a stream that does everything a broker may do to it."""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.config_writer import client_of, model, running
from tests.support.config_writer import put as put_model_into
from tests.support.polling import until

from sie_config.stream.publisher import Publisher
from sie_config.writer.writer_state import Recovery, Serving
from sie_config.writer_process import ControlPlane
from sie_runtime.broker.bus import BusUnavailable
from sie_runtime.streams.log_stream import StreamTip
from sie_schemas.entry import (
    GENESIS_HASH,
    Entry,
    Stub,
    build_entry,
    parse_envelope,
    put,
    to_envelope,
)
from sie_schemas.errors import SIEError
from sie_testing.contracts.memory_stream import MemoryStream


def contents(stream: MemoryStream) -> list[str]:
    return [parse_envelope(stream.messages[epoch]).hash for epoch in sorted(stream.messages)]


async def log_hashes(plane: ControlPlane) -> list[str]:
    head = plane.sequencer.position.epoch
    return [entry.hash for entry in await plane.journal.page(0, head, head)]


def publisher_of(plane: ControlPlane) -> Publisher:
    assert plane.broadcast.publisher is not None
    return plane.broadcast.publisher


async def settled(plane: ControlPlane) -> None:
    await until(lambda: plane.broadcast.is_published(plane.sequencer.position.epoch))


async def test_every_entry_reaches_the_stream_at_its_epoch_and_the_tenure_before_any_write(
    tmp_path,
):
    stream = MemoryStream()
    async with running(tmp_path, stream) as plane:
        assert publisher_of(plane).published == 3, "the tenure was not on the stream at the start"
        for number in range(5):
            await put_model_into(plane, f"m{number}")
        await settled(plane)
        assert sorted(stream.messages) == list(range(1, 9))
        assert contents(stream) == await log_hashes(plane)


async def test_with_the_bus_down_writes_commit_and_say_that_they_are_not_published(tmp_path):
    stream = MemoryStream()
    async with running(tmp_path, stream, ack_wait_s=0.5) as plane, client_of(plane) as client:
        stream.connected = False
        answer = await client.post("/v1/configs/models", json=model("m"))
        assert (answer.status_code, answer.json()["published"]) == (201, False)
        pending = await client.post("/v1/configs/models?ack=stream", json=model("n"))
        assert pending.json()["outcome_pending"] is True
        same = await client.put("/v1/configs/models/m?ack=stream", json=model("m"))
        # What it rests on is not on the stream, though it changed nothing itself.
        assert (same.json()["changed"], same.json().get("outcome_pending")) == (False, True)
        stream.connected = True
        await settled(plane)
        acked = await client.post("/v1/configs/models?ack=stream", json=model("o"))
        assert (acked.json()["published"], "outcome_pending" in acked.json()) == (True, False)
        assert contents(stream) == await log_hashes(plane)


async def test_a_lost_acknowledgement_is_found_out_and_nothing_is_doubled(tmp_path):
    stream = MemoryStream()
    async with running(tmp_path, stream) as plane:
        stream.lose_acknowledgements(3)
        for number in range(4):
            await put_model_into(plane, f"m{number}")
        await settled(plane)
        assert contents(stream) == await log_hashes(plane)
        assert stream.recreated == 0


async def test_a_stream_that_lost_its_tail_is_filled_again(tmp_path):
    stream = MemoryStream()
    async with running(tmp_path, stream) as plane:
        for number in range(4):
            await put_model_into(plane, f"m{number}")
        await settled(plane)
        stream.lose_tail(2)
        await put_model_into(plane, "after")
        await settled(plane)
        assert contents(stream) == await log_hashes(plane)
        assert stream.recreated == 0


@pytest.mark.parametrize("keep_connected", [True, False])
async def test_a_wiped_stream_is_filled_again_without_a_write(tmp_path, keep_connected):
    stream = MemoryStream()
    async with running(tmp_path, stream) as plane:
        await put_model_into(plane, "m")
        await settled(plane)
        stream.connected = keep_connected
        stream.wipe()
        stream.connected = True
        await until(lambda: len(stream.messages) == 4)
        assert contents(stream) == await log_hashes(plane)


async def test_an_acknowledgement_that_was_stored_counts_when_the_append_is_refused(tmp_path):
    stream = MemoryStream()
    async with running(tmp_path, stream) as plane:
        outcome = await put_model_into(plane, "m")
        await settled(plane)
        # Somebody mirrored the very entry that is about to be appended.
        publisher_of(plane)._set_published(outcome.entry.epoch - 1)
        assert await publisher_of(plane).catch_up()
        assert publisher_of(plane).published == outcome.entry.epoch
        assert stream.recreated == 0


def successor_of(
    plane: ControlPlane, *, term: int, log_id: str | None = None, prev_hash: str | None = None
) -> Entry:
    head = plane.sequencer.position
    entry = build_entry(
        log_id=log_id or head.log_id,
        epoch=head.epoch + 1,
        term=term,
        writer="other",
        ts="2026-01-01T00:00:00.000000Z",
        actor="another writer",
        reason="",
        request_id="",
        changes=[put("pool", "other", {"name": "other"})],
        prev_hash=prev_hash or head.hash,
        state_digest="0" * 64,
    )
    return plane.sequencer.log_keys.own.signed(entry)


@pytest.mark.parametrize("newer", [0, 1])
@pytest.mark.parametrize("with_write", [True, False])
async def test_another_writer_s_valid_successor_fences_this_one(tmp_path, newer, with_write):
    stream = MemoryStream()
    async with running(tmp_path, stream) as plane, client_of(plane) as client:
        await settled(plane)
        foreign = successor_of(plane, term=plane.sequencer.term + newer)
        stream.put(foreign.epoch, to_envelope(foreign))
        if with_write:
            await put_model_into(plane, "m")
        await until(lambda: isinstance(plane.sequencer.state, Recovery))
        assert stream.messages[foreign.epoch] == to_envelope(foreign), "it was overwritten"
        refused = await client.post("/v1/configs/models", json=model("n"))
        assert refused.status_code == 503
        assert refused.json()["detail"]["code"] == "LOG_RECOVERY"
        assert (await client.get("/v1/configs/models")).status_code == 200
        assert (await client.get("/readyz")).status_code == 503


@pytest.mark.parametrize(
    "foreign",
    [
        lambda plane: to_envelope(successor_of(plane, term=9, log_id="f" * 32)),
        lambda plane: to_envelope(successor_of(plane, term=9, prev_hash=GENESIS_HASH)),
        lambda plane: b"not an entry",
    ],
    ids=["another log", "another chain", "garbage"],
)
async def test_what_is_no_successor_is_replaced_by_the_log(tmp_path, foreign):
    stream = MemoryStream()
    async with running(tmp_path, stream) as plane:
        await settled(plane)
        stream.put(plane.sequencer.position.epoch + 1, foreign(plane))
        await put_model_into(plane, "m")
        await until(lambda: stream.recreated == 1)
        await settled(plane)
        assert contents(stream) == await log_hashes(plane)
        assert isinstance(plane.sequencer.state, Serving)


async def test_a_zombie_of_an_older_term_is_overwritten_and_does_not_fence(tmp_path):
    stream = MemoryStream()
    async with running(tmp_path, stream):
        pass
    async with running(tmp_path, stream) as plane:
        assert plane.sequencer.term == 2
        zombie = successor_of(plane, term=1)
        stream.put(zombie.epoch, to_envelope(zombie))
        await put_model_into(plane, "m")
        await settled(plane)
        assert stream.recreated == 1
        assert contents(stream) == await log_hashes(plane)


async def test_an_oversized_entry_travels_as_a_stub_with_the_same_hash(tmp_path):
    stream = MemoryStream()
    async with running(tmp_path, stream, body_bytes_max=4_000_000) as plane:
        manifest = {f"{'d' * 90}/{'f' * 90}{n}": "a" * 64 for n in range(1000)}
        source = {"type": "path", "path": "/weights", "manifest": manifest}
        profile = {"backend": "transformer", "options": {f"o{n}": "x" * 4096 for n in range(64)}}
        profiles = {"default": profile, "other": profile}
        outcome = await put_model_into(plane, "big", source=source, profiles=profiles)
        await settled(plane)
        found = parse_envelope(stream.messages[outcome.entry.epoch])
        assert isinstance(found, Stub)
        assert found.hash == outcome.entry.hash
        assert len(json.dumps(found.hash)) == 66


async def test_a_writer_that_restarts_goes_on_from_what_the_stream_has(tmp_path):
    stream = MemoryStream()
    async with running(tmp_path, stream) as plane:
        await settled(plane)
        stream.connected = False
        for number in range(3):
            await put_model_into(plane, f"m{number}")
    stream.connected = True
    async with running(tmp_path, stream) as plane:
        assert publisher_of(plane).published == 7
        assert contents(stream) == await log_hashes(plane)
        assert plane.sequencer.state == Serving(witnessed=True)


async def test_a_write_that_is_refused_puts_nothing_on_the_stream(tmp_path):
    stream = MemoryStream()
    async with running(tmp_path, stream) as plane:
        with pytest.raises(SIEError):
            await put_model_into(plane, "m", pool="nowhere")
        assert len(stream.messages) == 3


class Weighed(MemoryStream):
    """A stream that notes at each append how far it was said to be published already."""

    def __init__(self) -> None:
        super().__init__()
        self.said: Callable[[], int] = lambda: 0
        self.too_far: list[tuple[int, int]] = []
        self.refuses = 0

    async def append(self, epoch: int, data: bytes) -> None:
        if self.said() >= epoch:
            self.too_far.append((epoch, self.said()))
        if self.refuses:
            self.refuses -= 1
            raise BusUnavailable("not now")
        await super().append(epoch, data)


@pytest.mark.parametrize("refuses", [0, 1, 3])
async def test_an_entry_counts_as_published_by_the_brokers_word_alone(tmp_path, refuses):
    stream = Weighed()
    async with running(tmp_path, stream, publish_retry_s=0.01) as plane:
        stream.said = lambda: plane.broadcast.published_epoch
        stream.refuses = refuses
        for number in range(4):
            await put_model_into(plane, f"m{number}")
        await settled(plane)

    assert stream.too_far == []
    assert sorted(stream.messages) == list(range(1, 8))


async def test_a_stream_that_is_made_anew_names_the_entry_before_its_first(tmp_path):
    stream = MemoryStream()
    async with running(tmp_path, stream) as plane:
        for number in range(5):
            await put_model_into(plane, f"m{number}")
        await settled(plane)
        await plane.compact(6)
        stream.wipe()
        await until(lambda: sorted(stream.messages) == [*range(6, 9)])
        tip = await stream.tip()
        assert tip is not None
        hashes = await log_hashes(plane)
        base = (tip.metadata["base_epoch"], tip.metadata["base_hash"])
        assert (tip.first, base) == (6, ("5", hashes[4]))


class CutShort(MemoryStream):
    """A stream whose next trims are cut off: before them, or when its bound is not lifted yet."""

    def __init__(self, cuts: Iterable[str]) -> None:
        super().__init__()
        self.cuts = list(cuts)
        self.messages_max = -1

    async def trim(self, first_epoch: int) -> StreamTip:
        cut = self.cuts.pop(0) if self.cuts else ""
        if cut == "before":
            raise BusUnavailable("not now")
        tip = self._tip()
        if first_epoch > tip.first:
            self.messages_max = max(1, tip.last - first_epoch + 1)
        await super().trim(first_epoch)
        if cut == "bounded":
            raise BusUnavailable("not now")
        self.messages_max = -1
        return self._tip()

    def put(self, epoch: int, data: bytes) -> None:
        super().put(epoch, data)
        if self.messages_max > 0:
            self._first = max(self._first, self._last - self.messages_max + 1)
            self.messages = {e: data for e, data in self.messages.items() if e >= self._first}

    def _tip(self) -> StreamTip:
        return replace(super()._tip(), bounded=self.messages_max > 0)


@given(
    cuts=st.lists(st.sampled_from(["before", "bounded"]), max_size=3),
    keep=st.integers(1, 4),
    restarts=st.booleans(),
)
@settings(max_examples=15, deadline=None)
async def test_a_trim_that_was_cut_off_is_ended_before_another_entry_follows(
    tmp_path_factory, cuts, keep, restarts
):
    """A bound that stays takes away an entry with each that comes, and followers miss them."""
    folder, stream = tmp_path_factory.mktemp("log"), CutShort(cuts)
    async with running(folder, stream) as plane:
        for number in range(4):
            await put_model_into(plane, f"m{number}")
        await settled(plane)
        low_water = plane.sequencer.position.epoch - keep + 1
        await plane.compact(low_water)
        if not restarts:
            assert await publisher_of(plane).wait_trimmed(timeout_s=60)
    async with running(folder, stream) as plane:
        await settled(plane)
        for number in range(3):
            await put_model_into(plane, f"n{number}")
        await settled(plane)
        assert sorted(stream.messages) == [*range(low_water, plane.sequencer.position.epoch + 1)]
        assert (stream.messages_max, stream.cuts) == (-1, [])


async def test_a_trim_is_ended_though_the_entries_above_the_mark_are_not_published_yet(tmp_path):
    """The newest message stays, so that there is nothing more to trim."""
    stream = Weighed()
    async with running(tmp_path, stream, publish_retry_s=0.01) as plane:
        await settled(plane)
        stream.refuses = 10**9
        for number in range(3):
            await put_model_into(plane, f"m{number}")
        await plane.compact(plane.sequencer.position.epoch)
        assert await publisher_of(plane).wait_trimmed(timeout_s=10)
        assert sorted(stream.messages) == [3]
        stream.refuses = 0
        await settled(plane)
