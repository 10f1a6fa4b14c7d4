"""A writer that starts: what it believes of its file, and what it lets itself be told."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from tests.support.config_writer import client_of, model, put, running, settings_for
from tests.support.polling import until

from sie_config.log.head_file import HeadFile
from sie_config.log.storage_faults import LogDamaged, StoreLocked
from sie_config.log.witnesses import Behind, Claim, Confirmed, Forked, judge
from sie_config.replicas.living import LiveReplicas
from sie_config.start.opened_log import LOG_FILE
from sie_config.writer.dark import Names
from sie_config.writer.gates import Gates, Step
from sie_config.writer.writer_state import Recovery, Serving
from sie_config.writer_process import ControlPlane
from sie_core.apply import SPEAKS
from sie_core.chain import Position
from sie_schemas.errors import SIEError, Untrusted
from sie_schemas.fleet import REPORT_DECODER
from sie_testing.contracts.memory_stream import MemoryStream

HEAD = Position("a" * 32, 5, "5" * 64, "d" * 64, 1)


def claim(epoch: int, hash_: str, log_id: str = "a" * 32) -> Claim:
    return Claim("gateway g", log_id, epoch, hash_)


@pytest.mark.parametrize(
    ("claims", "own", "verdict"),
    [
        ([], None, Confirmed(False)),
        ([], claim(5, "5" * 64), Confirmed(False)),
        ([claim(5, "5" * 64)], None, Confirmed(True)),
        ([claim(3, "3" * 64)], None, Confirmed(True)),
        ([claim(3, "")], None, Confirmed(False)),
        ([claim(9, "9" * 64, "b" * 32)], None, Confirmed(False)),
        ([claim(6, "6" * 64), claim(8, "8" * 64)], None, Behind(claim(8, "8" * 64))),
        ([], claim(6, "6" * 64), Behind(claim(6, "6" * 64))),
        ([claim(6, "6" * 64), claim(5, "e" * 64)], None, Forked(claim(5, "e" * 64))),
        ([claim(2, "e" * 64)], None, Forked(claim(2, "e" * 64))),
    ],
)
def test_a_file_is_judged_by_who_has_seen_more_or_other(claims, own, verdict):
    assert judge(HEAD, lambda epoch: str(epoch) * 64, claims, own) == verdict


def backup(folder: Path, name: str) -> Path:
    """Copies a closed log folder, as an operator with a file manager would."""
    target = folder.parent / name
    shutil.copytree(folder, target)
    return target


async def test_a_restart_opens_a_new_term_and_keeps_the_log(tmp_path):
    async with running(tmp_path) as plane:
        await put(plane, "m")
        log_id = plane.sequencer.position.log_id
    async with running(tmp_path) as plane:
        position = plane.sequencer.position
        assert (position.log_id, position.epoch, position.term) == (log_id, 5, 2)
        assert plane.sequencer.state == Serving(witnessed=False)
        await put(plane, "n")


async def test_a_restored_backup_takes_its_lost_entries_back_from_the_stream(tmp_path):
    stream, data = MemoryStream(), tmp_path / "data"
    async with running(data, stream) as plane:
        await put(plane, "before")
        await until(lambda: plane.broadcast.is_published(4))
    old = backup(data, "old")
    async with running(data, stream) as plane:
        for number in range(3):
            await put(plane, f"m{number}")
        lost = plane.sequencer.position
        await until(lambda: plane.broadcast.is_published(lost.epoch))
        registry = plane.sequencer.registry
    async with running(old, stream) as plane:
        assert plane.sequencer.state == Serving(witnessed=True)
        assert plane.sequencer.registry == registry
        assert plane.sequencer.position.epoch == lost.epoch + 1
        found = await plane.journal.entry(lost.epoch)
        assert found is not None
        assert found.hash == lost.hash


async def test_a_file_behind_its_stream_writes_nothing_while_entries_are_missing(tmp_path):
    stream, data = MemoryStream(), tmp_path / "data"
    async with running(data, stream) as plane:
        pass
    old = backup(data, "old")
    async with running(data, stream) as plane:
        await put(plane, "m")
        await until(lambda: plane.broadcast.is_published(5))
    del stream.messages[4]
    tip = dict(stream.messages)
    async with running(old, stream) as plane, client_of(plane) as client:
        assert isinstance(plane.sequencer.state, Recovery)
        assert "the stream has seen" in plane.sequencer.state.reason
        refused = await client.post("/v1/configs/models", json=model("n"))
        assert refused.json()["detail"]["code"] == "LOG_RECOVERY"
        assert (await client.get("/v1/configs/export")).status_code == 200
    assert stream.messages == tip


async def test_a_log_that_ends_before_its_head_file_is_in_recovery(tmp_path):
    data = tmp_path / "data"
    async with running(data):
        pass
    old = backup(data, "old")
    async with running(data) as plane:
        await put(plane, "m")
    shutil.copy(data / f"{LOG_FILE}.head", old / f"{LOG_FILE}.head")
    for _ in range(2):
        async with running(old) as plane:
            assert isinstance(plane.sequencer.state, Recovery), "a restart forgot the evidence"
            with pytest.raises(Untrusted):
                await put(plane, "n")


async def test_a_damaged_log_serves_its_verified_part_and_writes_nothing(tmp_path):
    async with running(tmp_path) as plane:
        for number in range(5):
            await put(plane, f"m{number}")
    path = tmp_path / LOG_FILE
    data = path.read_bytes()
    at = data.index(b'"key":"m3"') + 7
    path.write_bytes(data[:at] + b"x" + data[at + 1 :])
    async with running(tmp_path) as plane, client_of(plane) as client:
        assert isinstance(plane.sequencer.state, Recovery)
        assert "damaged at epoch 7" in plane.sequencer.state.reason
        assert plane.sequencer.position.epoch == 6
        assert (await client.get("/v1/configs/models/m2")).status_code == 200
        assert (await client.post("/v1/configs/models", json=model("n"))).status_code == 503
        assert (await client.get("/readyz")).status_code == 503


async def test_a_file_of_noise_does_not_start_and_is_not_touched(tmp_path):
    path = tmp_path / LOG_FILE
    path.write_bytes(b"noise" * 1000)
    with pytest.raises(LogDamaged):
        await ControlPlane.open(settings_for(tmp_path))
    assert path.read_bytes() == b"noise" * 1000


async def test_a_log_that_vanished_beside_its_head_file_does_not_begin_anew(tmp_path):
    async with running(tmp_path) as plane:
        first = plane.sequencer.position.log_id
    (tmp_path / LOG_FILE).unlink()
    with pytest.raises(Untrusted, match="--new-log"):
        await ControlPlane.open(settings_for(tmp_path))
    async with running(tmp_path, new_log=True) as plane:
        assert plane.sequencer.position.log_id != first


async def test_a_writer_that_starts_without_room_serves_reads_and_begins_when_there_is_some(
    tmp_path,
):
    async with running(tmp_path) as plane:
        await put(plane, "m", description="x" * 1900)
    # The bound is below what the file has, so that not one page can be added.
    for _ in range(40):
        async with running(tmp_path, store_bytes_max=4096) as plane:
            if not plane.sequencer.has_begun:
                break
    async with running(tmp_path, store_bytes_max=4096) as plane, client_of(plane) as client:
        assert not plane.sequencer.has_begun
        assert (await client.get("/v1/configs/models/m")).status_code == 200
        refused = await client.post("/v1/configs/models", json=model("n"))
        assert (refused.status_code, refused.json()["detail"]["code"]) == (507, "STORAGE_FULL")
        await plane.store.bound(0)
        await until(lambda: plane.sequencer.has_begun)
        assert (await client.post("/v1/configs/models", json=model("n"))).status_code == 201


async def test_a_second_writer_does_not_start(tmp_path):
    async with running(tmp_path):
        with pytest.raises(StoreLocked):
            await ControlPlane.open(settings_for(tmp_path))


async def test_a_writer_whose_lock_was_taken_away_stops_writing_and_goes_on_reading(tmp_path):
    async with running(tmp_path) as plane, client_of(plane) as client:
        (tmp_path / f"{LOG_FILE}.lock").unlink()
        refused = await client.post("/v1/configs/models", json=model("m"))
        assert refused.json()["detail"]["code"] == "LOG_RECOVERY"
        again = await client.post("/v1/configs/models", json=model("m"))
        assert again.json()["detail"]["code"] == "LOG_RECOVERY"
        assert (await client.get("/v1/configs/models")).json()["epoch"] == 3


def report(**changes: Any) -> bytes:
    fields = {
        "role": "gateway",
        "id": "g1",
        "log_id": "a" * 32,
        "epoch": 5,
        "hash": "5" * 64,
        "digest": "d" * 64,
        "received": 5,
        "state": "fresh",
        "speaks": ["model.put", "model.delete"],
    }
    return json.dumps(fields | changes).encode()


async def test_replicas_show_their_position_age_out_and_leave(tmp_path):
    async with running(tmp_path, report_ttl_s=10, report_forget_s=20) as plane:
        reports = plane.replicas.reports
        reports.receive(report(), 0)
        reports.receive(report(id="g2", epoch=4, digest="0" * 64), 5)
        view = reports.view(HEAD, 6)
        assert (view["live"], view["converged"], view["epoch_min"]) == (2, False, 4)
        assert [row["lag"] for row in view["replicas"]] == [0, 1]
        view = reports.view(HEAD, 12)
        assert [row["live"] for row in view["replicas"]] == [False, True]
        reports.receive(report(id="g2", leaving=True), 13)
        assert [row["id"] for row in reports.view(HEAD, 13)["replicas"]] == ["g1"]
        assert reports.view(HEAD, 40)["replicas"] == []
        reports.receive(b"not a report", 41)
        assert reports.malformed == 1


NEWER = "rollout.begin"
"""A kind of change that this release does not have."""


async def test_a_kind_that_a_live_replica_cannot_read_is_not_written(tmp_path):
    async with running(tmp_path) as plane:
        here, registry = plane.sequencer.position.log_id, plane.sequencer.registry
        gates = Gates(LiveReplicas(plane.replicas.reports, 30, time.monotonic))

        def check(*kinds: str) -> None:
            step = Step(here, kinds, (), registry, registry)
            gates.check(step, lambda: Names(frozenset(), {}), forced="", is_trial=False)

        plane.replicas.reports.receive(report(speaks=["pool.put"], log_id=here), time.monotonic())
        with pytest.raises(SIEError, match=r"gateway g1 cannot read .*rollout\.begin") as caught:
            check("model.put", NEWER)
        assert "`sie replica forget gateway g1`" in caught.value.message
        # One that is given up goes on reporting, and holds up nothing any more.
        assert plane.replicas.reports.forget("gateway", "g1")
        plane.replicas.reports.receive(report(speaks=["pool.put"], log_id=here), time.monotonic())
        check("model.put", NEWER)
        plane.replicas.reports.receive(
            report(id="g2", speaks=[NEWER], log_id=here), time.monotonic()
        )
        check("model.put", NEWER)


async def test_no_replica_can_say_that_it_lacks_what_every_release_reads(tmp_path):
    async with running(tmp_path) as plane:
        here = plane.sequencer.position.log_id
        plane.replicas.reports.receive(report(speaks=["nothing"], log_id=here), time.monotonic())
        assert plane.replicas.reports.lacking(SPEAKS, time.monotonic(), here) == []
        assert plane.replicas.reports.lacking([NEWER], time.monotonic(), here) == ["gateway g1"]
        # Of one that nobody knows it counts for nothing at all.
        stranger = REPORT_DECODER.decode(report(id="g2", speaks=["nothing"], log_id=here))
        plane.replicas.reports.take(stranger, time.monotonic(), size=1, is_known=False)
        assert plane.replicas.reports.lacking([NEWER], time.monotonic(), here) == ["gateway g1"]
        await put(plane, "m")


async def test_a_head_file_that_a_disk_refused_is_written_at_the_next_look(tmp_path):
    file = HeadFile(tmp_path / LOG_FILE)
    blocked = tmp_path / f"{LOG_FILE}.head.new"
    blocked.mkdir()
    for _ in range(2):
        with pytest.raises(OSError):
            await file.write(HEAD)
    assert file.read() is None
    blocked.rmdir()
    await file.write(HEAD)
    found = file.read()
    assert found is not None
    assert (found.log_id, found.epoch, found.hash) == (HEAD.log_id, HEAD.epoch, HEAD.hash)
