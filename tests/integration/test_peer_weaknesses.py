"""The known weaknesses of config planes of this kind: one test for each, on the real parts."""

import asyncio
import json

import pytest
from tests.support.config_writer import (
    client_of,
    model,
    new_file,
    put,
    running,
    settings_for,
    write,
)
from tests.support.log_world import connected, follower, metric, nowhere, same, writer
from tests.support.nats import nats_server
from tests.support.polling import until

from sie_config.log.storage_faults import LogDamaged, StoreLocked
from sie_config.start.opened_log import LOG_FILE
from sie_config.writer.rules import Delete
from sie_config.writer_process import ControlPlane
from sie_core.registry import Entity, Registry
from sie_core.replica.events import EntryArrived, Fetch, RangeArrived, SnapshotArrived
from sie_core.replica.replica import Replica
from sie_schemas import snapshot as snapshots
from sie_schemas.entry import build_entry, to_envelope
from sie_schemas.entry import put as put_change
from sie_schemas.errors import SIEError, Untrusted
from sie_testing.contracts.memory_stream import MemoryStream
from sie_testing.signing import PINNED, STRANGER
from sie_testing.written_log import WrittenLog

pytestmark = pytest.mark.integration


def documents(plane: ControlPlane) -> dict[str, bytes]:
    return {entity.key: entity.document for entity in plane.sequencer.registry.of_kind("model")}


def snapshots_taken() -> float:
    return metric("sie_replica_fetches_total", outcome="SnapshotArrived")


def cut_at(tokens: int) -> dict[str, dict[str, object]]:
    """Profiles that differ in a field which no routing looks at."""
    return {"default": {"backend": "transformer", "max_sequence_length": tokens}}


async def test_w1_what_cannot_be_read_is_never_epoch_zero(tmp_path):
    async with running(tmp_path) as plane:
        await put(plane, "m")
        head = plane.sequencer.position
    head_file, log = tmp_path / f"{LOG_FILE}.head", tmp_path / LOG_FILE
    good_head, good_log = head_file.read_bytes(), log.read_bytes()

    head_file.write_bytes(b"garbage")
    with pytest.raises(Untrusted, match="cannot be read"):
        await ControlPlane.open(settings_for(tmp_path))
    head_file.write_bytes(good_head)
    for damaged in (good_log[:2000], b"garbage" * 1000):
        log.write_bytes(damaged)
        with pytest.raises(LogDamaged):
            await ControlPlane.open(settings_for(tmp_path))
        assert log.read_bytes() == damaged, "a damaged file was written to"
    log.write_bytes(b"")
    with pytest.raises(Untrusted, match="--new-log"):
        await ControlPlane.open(settings_for(tmp_path))
    log.write_bytes(good_log)
    async with running(tmp_path) as plane:
        assert plane.sequencer.position.log_id == head.log_id
        assert plane.sequencer.position.epoch == head.epoch + 1


async def test_w2_two_processes_on_one_store_cannot_be_and_no_epoch_is_lost_to_a_race(tmp_path):
    async with running(tmp_path) as plane, client_of(plane) as client:
        with pytest.raises(StoreLocked):
            new_file(tmp_path / LOG_FILE)
        before = plane.sequencer.position.epoch
        answers = await asyncio.gather(
            *(client.post("/v1/configs/models", json=model(f"m{n}")) for n in range(200))
        )
        assert {answer.status_code for answer in answers} == {201}
        assert plane.sequencer.position.epoch == before + 200
        exported = snapshots.decode((await client.get("/v1/configs/export")).content)
        assert sum(row.kind == "model" for row in exported.entities) == 200


async def test_w3_a_read_that_fails_never_makes_a_write_overwrite_what_was_not_read(tmp_path):
    # A round of the self-check would rightly end on a journal that is closed.
    async with running(tmp_path, self_check_s=0.0) as plane:
        profiles = {"default": {"backend": "transformer"}, "fast": {"backend": "transformer"}}
        await put(plane, "m", profiles=profiles)
        await put(plane, "other")
        before = documents(plane)
        # Nothing can be read back from the store any more.
        await plane.journal.close()
        plane.journal.forget()

        await put(plane, "new")

        assert {key: documents(plane)[key] for key in before} == before
    async with running(tmp_path) as plane:
        assert {key: documents(plane)[key] for key in before} == before
        assert set(json.loads(documents(plane)["m"])["profiles"]) == {"default", "fast"}


async def test_w4_what_is_exported_is_what_was_hashed(tmp_path):
    async with running(tmp_path) as plane, client_of(plane) as client:
        await put(plane, "m")
        await put(
            plane,
            "m",
            profiles={"default": {"backend": "transformer"}, "fast": {"backend": "transformer"}},
        )
        export = snapshots.decode((await client.get("/v1/configs/export")).content)
        rebuilt = Registry.of(
            Entity(row.kind, row.key, row.modified_epoch, bytes(row.document))
            for row in export.entities
        )
        assert rebuilt.digest == export.entry.state_digest == plane.head.digest
        shown = (await client.get("/v1/configs/models/m")).json()["document"]
        [row] = [row for row in export.entities if (row.kind, row.key) == ("model", "m")]
        assert json.loads(bytes(row.document)) == shown
        assert set(shown["profiles"]) == {"default", "fast"}


async def test_w5_a_restart_gives_back_exactly_what_was_there(tmp_path):
    async with running(tmp_path) as plane:
        await put(plane, "m", profiles=cut_at(100))
        await put(plane, "m", profiles=cut_at(777))
        before = plane.sequencer.registry
    async with running(tmp_path) as plane, client_of(plane) as client:
        assert plane.sequencer.registry == before
        assert plane.sequencer.registry.digest == before.digest
        shown = (await client.get("/v1/configs/models/m")).json()["document"]
        assert shown["profiles"]["default"]["max_sequence_length"] == 777
        export = snapshots.decode((await client.get("/v1/configs/export")).content)
        assert export.entry.state_digest == before.digest


async def test_w6_nothing_has_to_be_switched_on_for_a_restart_to_keep_everything(tmp_path):
    # No setting but the folder and what makes the test quick.
    async with running(tmp_path) as plane:
        await put(plane, "m")
        epoch = plane.sequencer.position.epoch
    async with running(tmp_path) as plane:
        assert "m" in documents(plane)
        assert plane.sequencer.position.epoch == epoch + 1


async def test_w7_a_change_moves_the_epoch_with_it_or_not_at_all_whatever_field_it_is_in(tmp_path):
    stream = MemoryStream()
    async with running(tmp_path, stream) as plane, client_of(plane) as client:
        await put(plane, "m", profiles=cut_at(100))
        stream.connected = False
        known = plane.sequencer.position
        query: dict[str, str | int] = {
            "log_id": known.log_id,
            "after": known.epoch,
            "digest": known.digest,
            "wait": 30,
        }
        poll = asyncio.ensure_future(client.get("/v1/configs/epoch", params=query))
        await until(lambda: len(plane.waits) == 1)
        # A field that no routing looks at; and the process goes before anybody was told.
        await put(plane, "m", profiles=cut_at(200))
        head = (await poll).json()
        assert (head["epoch"], head["digest"] != known.digest) == (known.epoch + 1, True)
    async with running(tmp_path, stream) as plane:
        assert plane.sequencer.position.epoch == known.epoch + 2
        assert (
            json.loads(documents(plane)["m"])["profiles"]["default"]["max_sequence_length"] == 200
        )
        # A commit that fails, by contrast, leaves neither.
        before = plane.sequencer.position, documents(plane)
        await plane.store.bound(1)
        with pytest.raises(SIEError):
            for number in range(200):
                await put(plane, f"n{number}", description="x" * 1900)
                before = plane.sequencer.position, documents(plane)
        assert (plane.sequencer.position, documents(plane)) == before


def test_w8_a_lost_delta_followed_by_another_is_seen_as_a_gap_and_fetched():
    log = WrittenLog()
    lost, next_one = log.put("model", "m1", {}), log.put("model", "m2", {})
    replica = Replica(PINNED)
    replica.receive(SnapshotArrived(0, log.snapshot(1)))

    [fetch] = replica.receive(EntryArrived(next_one))

    assert isinstance(fetch, Fetch)
    assert (fetch.after, replica.position) == (1, log.position_at(1)), "it went past the gap"
    replica.receive(RangeArrived(fetch.id, (lost, next_one)))
    assert replica.position == log.position_at(3)
    assert {entity.key for entity in replica.registry.of_kind("model")} == {"m1", "m2"}


async def test_w9_and_w11_a_changed_profile_and_a_delete_travel_as_deltas_to_everybody_at_once(
    tmp_path,
):
    async with (
        nats_server(tmp_path / "nats") as url,
        # What arrives, arrives as a delta: from the stream, or as a range.
        writer(tmp_path / "data", url, bookmark_s=600) as one,
        follower(url, one.url, replica_poll_s=600, replica_bus_silent_s=1e9) as gateway,
        follower(
            url,
            one.url,
            role="worker",
            name="w1",
            replica_poll_s=600,
            replica_bus_silent_s=1e9,
        ) as worker,
    ):
        await one.put("m", "gone")
        for replica in (gateway, worker):
            await replica.at(one.plane.sequencer.position.epoch)
        taken = snapshots_taken()

        await put(one.plane, "m", profiles={"default": {"backend": "transformer", "options": {}}})
        await put(one.plane, "m", profiles={"default": {"backend": "onnx-cross-encoder"}})
        head = (await put_away(one.plane, "gone")).epoch

        for replica in (gateway, worker):
            await replica.at(head)
            resolver = replica.follower.resolver
            model_m = resolver.registry.get("model", "m")
            assert model_m is not None
            profile = json.loads(model_m.document)["profiles"]["default"]
            assert profile["backend"] == "onnx-cross-encoder"
            assert "gone" not in resolver.models
            assert resolver.registry == one.plane.sequencer.registry
        assert snapshots_taken() == taken, "a snapshot was needed for a change or a delete"


async def put_away(plane: ControlPlane, model_id: str):
    outcome, _ = await plane.write(write(Delete("model", model_id)))
    return outcome.entry


async def test_w12_exports_read_nothing_from_the_store_and_no_write_waits_behind_them(tmp_path):
    async with writer(tmp_path, nowhere()) as one:
        await one.burst(300)
        reads, made = one.plane.journal.reads, one.plane.exports.rendered
        over = asyncio.Event()
        answered = 0

        async def export_on() -> None:
            nonlocal answered
            while not over.is_set():
                assert (await one.http.get("/v1/configs/export")).status_code == 200
                answered += 1

        async with asyncio.TaskGroup() as tasks:
            for _ in range(8):
                tasks.create_task(export_on())
            await until(lambda: answered >= 8)
            # Exports never pause: a write that waited until there is none would never end.
            for number in range(20):
                await put(one.plane, f"during-{number}")
            over.set()
        assert one.plane.journal.reads == reads
        assert one.plane.exports.rendered - made <= 22


async def test_w15_a_forged_delta_moves_nobody_whatever_name_it_gives_itself(tmp_path):
    async with (
        nats_server(tmp_path / "nats") as url,
        writer(tmp_path / "data", url) as one,
        follower(url, one.url) as replica,
        connected(url, "config") as intruder,
    ):
        await one.put("m")
        await same(one, replica)
        assert await intruder.wait_connected(5)
        head = one.plane.sequencer.position
        before = replica.follower.resolver.registry
        forged = build_entry(
            log_id=head.log_id,
            epoch=head.epoch + 1,
            term=head.term,
            writer="sie-config",
            ts="2030-01-01T00:00:00.000000Z",
            actor="sie-config",
            reason="",
            request_id="",
            changes=[put_change("model", "evil", model("evil"))],
            prev_hash=head.hash,
            state_digest=head.digest,
        )
        # Where only a subscription would be believed: not even looked at.
        for subject in (f"sie.config.log.{head.log_id}.x", "sie.config.log.delta"):
            await intruder.publish(subject, to_envelope(forged))
        announced = json.dumps(
            {
                "log_id": head.log_id,
                "epoch": 10**9,
                "hash": "f" * 64,
                "digest": "f" * 64,
                "term": 99,
                "producer": "sie-config",
            }
        )
        await intruder.publish(f"sie.config.head.{head.log_id}", announced.encode())
        # And on the stream itself, signed by somebody.
        refused = metric("sie_replica_forged_total")
        forged = STRANGER.signed(forged)
        await intruder.publish(f"sie.config.log.{head.log_id}.e", to_envelope(forged))
        await until(lambda: metric("sie_replica_forged_total") > refused)
        assert replica.follower.resolver.registry == before
        assert replica.follower.position == head
        assert "evil" not in documents(one.plane)
