"""Compaction: the mark rises, the stream is trimmed after it, and the history stays."""

import os
import random
from pathlib import Path

import pytest
import yaml
from tests.support.config_writer import client_of, put, running
from tests.support.log_tools import closed_log, run_log, states, tamper
from tests.support.polling import until
from tests.support.served import served_config
from typer.testing import CliRunner, Result

from sie_cli.admin.log_commands import app
from sie_config.log.log_file import LogFile
from sie_config.offline.compaction import compact, compact_file, compact_through
from sie_config.offline.doctor import examine
from sie_config.offline.log_reader import LogReader, NotReadable
from sie_config.offline.verification import verify_log
from sie_config.start.opened_log import LOG_FILE
from sie_config.writer_process import ControlPlane
from sie_schemas.entry import GENESIS_HASH, parse_envelope
from sie_schemas.errors import FixRequest
from sie_testing.contracts.memory_stream import MemoryStream
from sie_testing.history import read_history

COMPACT = "/v1/configs/compact"
NOWHERE = "http://127.0.0.1:1"


async def grown(plane: ControlPlane, models: int) -> int:
    for number in range(models):
        await put(plane, f"m{number}")
    return plane.sequencer.position.epoch


async def test_below_the_mark_deltas_are_gone_and_history_is_not(tmp_path):
    async with running(tmp_path) as plane, client_of(plane) as client:
        head = await grown(plane, 9)
        answer = (await client.post(COMPACT, json={"keep": 4})).json()
        assert answer == {"low_water": 9, "moved": True, "head": head, "trimmed": False}
        gone = await client.get("/v1/configs/log", params={"after": 7})
        assert (gone.status_code, gone.json()["detail"]["code"]) == (410, "GONE")
        served = await client.get("/v1/configs/log", params={"after": 8})
        assert [e["body"]["epoch"] for e in served.json()["entries"]] == [9, 10, 11, 12]
        assert (await client.get("/v1/configs/entries/2")).status_code == 200
        history = (await client.get("/v1/configs/models/m0/history")).json()
        assert history["history"][0]["epoch"] == 4
        again = (await client.post(COMPACT, json={"low_water": 5})).json()
        assert (again["low_water"], again["moved"]) == (9, False)
    async with running(tmp_path) as plane:
        assert plane.low_water == 9
    assert verify_log(tmp_path / LOG_FILE).report.sound


async def test_the_stream_is_trimmed_after_the_mark_and_goes_on(tmp_path):
    stream = MemoryStream()
    async with running(tmp_path, stream) as plane, client_of(plane) as client:
        head = await grown(plane, 9)
        await until(lambda: plane.broadcast.is_published(head))
        answer = (await client.post(COMPACT, json={"low_water": 6})).json()
        assert answer["trimmed"] is True
        assert min(stream.messages) == 6
        await put(plane, "after")
        await until(lambda: plane.broadcast.is_published(head + 1))
        assert sorted(stream.messages) == list(range(6, head + 2))


async def test_a_crash_between_mark_and_trim_is_made_good_by_the_next_start(tmp_path):
    stream = MemoryStream()
    async with running(tmp_path, stream) as plane:
        head = await grown(plane, 9)
        await until(lambda: plane.broadcast.is_published(head))
    file = LogFile.open(tmp_path / LOG_FILE)
    file.move_low_water(7)
    file.close()
    assert min(stream.messages) == 1
    async with running(tmp_path, stream):
        await until(lambda: min(stream.messages) == 7)


@pytest.mark.parametrize(
    ("wanted", "status"),
    [
        ({}, 400),
        ({"keep": 1, "low_water": 1}, 400),
        ({"keep": 0}, 400),
        ({"low_water": 0}, 400),
        ({"low_water": 99}, 400),
        ({"a": 1}, 422),
    ],
)
async def test_a_mark_that_makes_no_sense_moves_nothing(tmp_path, wanted, status):
    async with running(tmp_path) as plane, client_of(plane) as client:
        refused = await client.post(COMPACT, json=wanted)
        assert refused.status_code == status
        assert plane.low_water == 1


async def test_a_writer_in_recovery_moves_no_mark(tmp_path):
    async with running(tmp_path) as plane, client_of(plane) as client:
        (tmp_path / f"{LOG_FILE}.lock").unlink()
        refused = await client.post(COMPACT, json={"keep": 1})
        assert (refused.status_code, refused.json()["detail"]["code"]) == (503, "LOG_RECOVERY")


def test_a_file_that_nobody_has_open_is_marked_directly(tmp_path):
    path, entries = closed_log(tmp_path, 9)
    found = compact(path, NOWHERE, keep=2, low_water=None)
    assert (found["low_water"], found["head"]) == (len(entries) - 1, len(entries))
    assert not compact_file(path, keep=None, low_water=3)["moved"]
    with pytest.raises(FixRequest):
        compact_file(path, keep=None, low_water=99)
    with pytest.raises(NotReadable):
        compact_through(NOWHERE, keep=1, low_water=None)
    file = LogFile.open(path)
    with pytest.raises(NotReadable, match="no sie-config answers"):
        compact(path, NOWHERE, keep=1, low_water=None)
    file.close()
    status, told = run_log("compact", tmp_path, "--keep", "1")
    assert (status, told["low_water"]) == (0, len(entries))
    assert run_log("compact", tmp_path)[0] == 2


def test_through_a_writer_the_mark_moves_in_its_own_log_alone(tmp_path):
    path, _ = closed_log(tmp_path, 9)
    theirs = tmp_path / "theirs"
    with served_config(theirs) as url:
        file = LogFile.open(path)
        with pytest.raises(FixRequest, match="give the address of its own sie-config"):
            compact(path, url, keep=1, low_water=None)
        file.close()
        for log in (path, theirs / LOG_FILE):
            with LogReader.open(log) as reader:
                assert reader.low_water() == 1, "a mark that is moved stays moved"
        moved = compact(theirs / LOG_FILE, url, keep=1, low_water=None)
        assert moved["low_water"] == moved["head"]


DAMAGE = (
    "UPDATE log SET body = CAST(replace(CAST(body AS TEXT), 'model-4', 'model-x') AS BLOB)"
    " WHERE epoch = 8"
)


def sie_log(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_damaged_file_keeps_its_mark_and_the_first_bad_epoch_is_named(tmp_path):
    path, _ = closed_log(tmp_path, 9)
    tamper(path, DAMAGE)
    refused = sie_log("compact", tmp_path, "--keep", "1")
    assert refused.exit_code == 1
    assert "damaged at epoch 8" in refused.output
    with LogReader.open(path) as reader:
        assert reader.low_water() == 1


def test_the_whole_history_is_written_out_whatever_the_mark(tmp_path):
    path, log = closed_log(tmp_path, 9)
    compact_file(path, keep=2, low_water=None)
    target = tmp_path / "log.ndjson"
    assert sie_log("entries", target, tmp_path).exit_code == 0
    # As a simulation reads it, from its first epoch.
    assert read_history(target) == tuple(log)
    whole = target.read_bytes()
    tamper(path, DAMAGE)
    damaged = sie_log("entries", target, tmp_path)
    assert damaged.exit_code == 1
    assert "the first bad epoch is 8" in damaged.output
    told = yaml.safe_load(sie_log("entries", target, tmp_path, "-o", "yaml").output)
    assert (told["sound"], told["first_bad_epoch"]) == (False, 8)
    assert target.read_bytes() == whole
    assert [each.name for each in tmp_path.glob("*.ndjson*")] == ["log.ndjson"]


def test_entries_go_into_a_pipe_through_a_link_and_never_in_the_place_of_a_device(tmp_path):
    closed_log(tmp_path, 3)
    target, link = tmp_path / "log.ndjson", tmp_path / "link"
    link.symlink_to(target)
    assert sie_log("entries", link, tmp_path).exit_code == 0
    assert link.is_symlink()
    piped = sie_log("entries", "-", tmp_path)
    assert (piped.exit_code, piped.stdout) == (0, target.read_text())
    assert "holds every entry" in piped.stderr
    device = tmp_path / "device"
    os.mkfifo(device)
    refused = sie_log("entries", device, tmp_path)
    assert (refused.exit_code, device.is_fifo()) == (2, True)
    assert "no plain file" in refused.output


def test_the_doctor_tells_what_is_well_and_what_it_could_not_see(tmp_path):
    path, _ = closed_log(tmp_path, 3)
    found = states(examine(path, url=NOWHERE, bus=None).to_builtins())
    assert found | {"disk": "ok"} == {
        "pages": "ok",
        "schema": "ok",
        "entries": "ok",
        "signatures": "ok",
        "changes": "ok",
        "keys": "ok",
        "low water": "ok",
        "lock": "ok",
        "wal": "ok",
        "checkpoint": "ok",
        "disk": "ok",
        "writer": "warn",
        "stream": "warn",
    }


def test_the_doctor_sees_a_writer_whose_write_ahead_log_was_removed(tmp_path):
    path, _ = closed_log(tmp_path, 3)
    file = LogFile.open(path)
    report = examine(path, url=NOWHERE, bus=None)
    lock = next(f for f in report.findings if f.what == "lock")
    assert str(os.getpid()) in lock.message
    Path(f"{path}-wal").unlink()
    report = examine(path, url=NOWHERE, bus=None)
    assert next(f for f in report.findings if f.what == "wal").state == "bad"
    file.close()
    assert run_log("doctor", tmp_path / "nowhere")[0] == 3


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_whatever_befalls_a_stream_it_is_the_log_from_its_mark_on_and_says_what_is_before(
    tmp_path, seed
):
    chance, stream = random.Random(seed), MemoryStream()
    async with running(tmp_path, stream) as plane, client_of(plane) as client:
        await grown(plane, 5)
        mark = first = 1
        publisher = plane.broadcast.publisher
        assert publisher is not None

        def is_filled() -> bool:
            return sorted(stream.messages)[-1:] == [head] and publisher.published == head

        for _ in range(8):
            head = plane.sequencer.position.epoch
            match chance.choice(["write", "mark", "wipe", "lose"]):
                case "write":
                    head = await grown(plane, chance.randint(1, 2))
                case "mark":
                    wanted = chance.choice([1, mark, chance.randint(mark, head), head])
                    answer = (await client.post(COMPACT, json={"low_water": wanted})).json()
                    mark = max(mark, wanted)
                    first = max(first, mark)
                    assert (answer["low_water"], answer["trimmed"]) == (mark, True)
                    assert min(stream.messages) == first, "it was said that it is trimmed"
                case "wipe":
                    stream.wipe()
                    first = mark
                case "lose":
                    stream.lose_tail(chance.randint(first, head))
            publisher.distrust()
            plane.sequencer.wake_followers()
            await until(is_filled)
            assert sorted(stream.messages) == list(range(first, head + 1))
            for epoch, data in stream.messages.items():
                ours = await plane.journal.entry(epoch)
                assert ours is not None
                assert parse_envelope(data).hash == ours.hash
            made_from = int(stream._metadata["base_epoch"])
            base = await plane.journal.entry(made_from) if made_from else None
            assert stream._metadata["base_hash"] == (base.hash if base else GENESIS_HASH)
            assert made_from < first
            tip = await stream.tip()
            assert tip is not None
            assert publisher.first == tip.first
        assert stream.recreated == 0, "nothing of another log was ever there"
