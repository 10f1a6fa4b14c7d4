"""Corners of the log at which a mutant once survived: each test is named for what must hold."""

import asyncio
import json
import time
from dataclasses import replace

import msgspec
import pytest
from prometheus_client import REGISTRY
from tests.support.config_writer import client_of, put, put_model, running, write
from tests.support.reports import bounded_reports
from tests.support.written_disk import ENTRIES, LOG_NAME

from sie_config.log.log_file import LogFile
from sie_config.log.storage_faults import LogDamaged
from sie_config.writer.rules import Expectation, etag
from sie_core.apply import apply
from sie_core.chain import ChainBroken, Position, check_successor, position_of
from sie_core.registry import Registry
from sie_core.replica.events import EntryArrived, Fetch, SnapshotArrived
from sie_core.replica.replica import Replica
from sie_runtime.follower.replica_files import ReplicaFiles
from sie_schemas import snapshot as snapshots
from sie_schemas.entry import (
    Change,
    ChangeKind,
    Idempotency,
    Supersedes,
    build_entry,
    to_envelope,
)
from sie_schemas.errors import SIEError
from sie_testing.signing import FIRST_CONTACT, PINNED
from sie_testing.written_log import WrittenLog


def test_a_gap_in_the_deltas_alone_makes_a_replica_fetch_what_is_missing():
    log = WrittenLog()
    for number in range(5):
        log.put("model", f"m{number}", {})
    replica = Replica(PINNED)
    replica.receive(SnapshotArrived(0, log.snapshot(2)))
    commands = replica.receive(EntryArrived(log.entries[4]))
    assert [(c.after, c.until) for c in commands if isinstance(c, Fetch)] == [(2, 5)]


def test_what_was_deleted_while_a_replica_was_away_is_gone_with_its_next_snapshot():
    log = WrittenLog()
    log.put("model", "m", {})
    log.put("model", "n", {})
    replica = Replica(PINNED)
    replica.receive(SnapshotArrived(0, log.snapshot(3)))
    log.delete("model", "m")
    log.put("model", "o", {})
    replica.receive(SnapshotArrived(0, log.snapshot(5)))
    assert [entity.key for entity in replica.registry] == ["n", "o"]


@pytest.mark.parametrize("older", [None, "another log", "another epoch", "another entry"])
def test_a_new_log_that_is_linked_to_ours_and_does_not_supersede_it_is_no_successor(older):
    last = ENTRIES[5]
    supersedes = {
        None: None,
        "another log": Supersedes("f" * 32, last.epoch, last.hash),
        "another epoch": Supersedes(last.log_id, last.epoch - 1, last.hash),
        "another entry": Supersedes(last.log_id, last.epoch, "f" * 64),
    }[older]
    begin = build_entry(
        log_id="b" * 32,
        epoch=last.epoch + 1,
        term=last.term,
        writer="w",
        ts="2026-01-01T00:00:00.000000Z",
        actor="a",
        reason="",
        request_id="",
        changes=[Change(kind=ChangeKind.LOG_BEGIN, supersedes=supersedes)],
        prev_hash=last.hash,
        state_digest=last.state_digest,
    )
    with pytest.raises(ChainBroken, match="does not supersede"):
        check_successor(position_of(last), begin)


def test_a_replica_gives_back_its_tail_up_to_the_first_hole_and_no_further(tmp_path):
    registry = Registry.EMPTY
    for entry in ENTRIES[:12]:
        registry = apply(registry, entry)
    files = ReplicaFiles(tmp_path, tail_entries_min=100)
    files.took_entries(tuple(ENTRIES[:6]), registry)
    files.close()
    # The tail of a later life begins behind what was lost in between.
    lines = b"".join(to_envelope(entry) + b"\n" for entry in ENTRIES[8:12])
    (tmp_path / "tail-8.ndjson").write_bytes(lines)
    assert [entry.epoch for entry in files.entries(3, 12)] == [4, 5, 6]


# ---- the writer ---------------------------------------------------------------------------------


async def test_of_two_writes_that_expect_the_same_version_in_one_group_one_is_refused(tmp_path):
    async with running(tmp_path) as plane:
        first = await put(plane, "m", description="one")
        seen = etag(first.entry.log_id, first.modified_epoch)
        commands = [
            replace(put_model("m", description=text), expects=Expectation(etags=(seen,)))
            for text in ("two", "three")
        ]
        commits = REGISTRY.get_sample_value("sie_config_commit_seconds_count") or 0.0
        answers = await asyncio.gather(
            *(plane.write(write(command)) for command in commands), return_exceptions=True
        )
        assert REGISTRY.get_sample_value("sie_config_commit_seconds_count") == commits + 1, (
            "they were not in one group"
        )
        refused = [answer for answer in answers if isinstance(answer, SIEError)]
        assert [error.code for error in refused] == ["PRECONDITION_FAILED"]
        assert plane.sequencer.position.epoch == first.entry.epoch + 1


async def test_a_refusal_that_rests_on_a_write_which_did_not_commit_is_not_given(tmp_path):
    async with running(tmp_path) as plane:
        options = {f"x{number}": "y" * 4000 for number in range(10)}
        large = {"default": {"backend": "transformer", "options": options}}
        await plane.store.bound(1)
        absent = replace(put_model("m"), expects=Expectation(absent=True))
        before = plane.sequencer.registry
        answers = await asyncio.gather(
            plane.write(write(put_model("m", profiles=large))),
            plane.write(write(absent)),
            return_exceptions=True,
        )
        codes = [answer.code for answer in answers if isinstance(answer, SIEError)]
        assert codes == ["STORAGE_FULL", "STORAGE_FULL"]
        assert plane.sequencer.registry == before
        await plane.store.bound(0)
        await plane.write(write(absent))


async def test_a_key_gives_its_first_answer_however_much_was_written_since(tmp_path):
    key = Idempotency("key-1", "fingerprint")
    async with running(tmp_path) as plane:
        keyed = msgspec.structs.replace(write(put_model("m")), idempotency=key)
        first, repeated = await plane.write(keyed)
        assert not repeated
        for number in range(6):
            await put(plane, f"n{number}")
        again, repeated = await plane.write(keyed)
        assert (again.entry.hash, repeated) == (first.entry.hash, True)


async def test_a_snapshot_made_while_entries_are_written_is_that_of_one_epoch(tmp_path):
    async with running(tmp_path) as plane, client_of(plane) as client:
        for number in range(8):
            await put(plane, f"m{number}")
        making = asyncio.create_task(client.get("/v1/configs/export"))
        for number in range(8):
            await put(plane, f"n{number}")
        snapshot = snapshots.decode((await making).content)
        replica = Replica(FIRST_CONTACT)
        replica.receive(SnapshotArrived(0, snapshot))
        assert replica.position == position_of(snapshot.entry), replica.reason


# ---- recovery -----------------------------------------------------------------------------------


def test_a_trigger_that_lost_a_letter_is_damage(tmp_path):
    path = tmp_path / LOG_NAME
    file = LogFile.open(path)
    file.append(ENTRIES[:3])
    file.close()
    data = path.read_bytes()
    assert data.count(b"append-only") >= 1
    # The trigger still parses, and refuses something else.
    path.write_bytes(data.replace(b"WHEN NEW.epoch != (SELECT", b"WHEN NEW.epoch <  (SELECT"))
    with pytest.raises(LogDamaged, match="log_is_dense"):
        LogFile.open(path)


# ---- convergence --------------------------------------------------------------------------------

HEAD = Position("a" * 32, 5, "5" * 64, "d" * 64, 1)


def report(**changes: object) -> bytes:
    fields = {
        "role": "gateway",
        "id": "g1",
        "log_id": HEAD.log_id,
        "epoch": HEAD.epoch,
        "hash": HEAD.hash,
        "digest": HEAD.digest,
        "received": 5,
        "state": "fresh",
        "speaks": ["model.put"],
    }
    return json.dumps(fields | changes).encode()


@pytest.mark.parametrize(
    ("heard", "converged"),
    [
        ([], False),
        ([report()], True),
        ([report(), report(id="g2", digest="0" * 64)], False),
        ([report(), report(id="g2", log_id="b" * 32)], False),
        ([report(), report(id="g2", state="quarantined")], False),
        ([report(), report(id="g2", epoch=4)], False),
    ],
)
def test_a_cluster_has_converged_only_if_somebody_is_there_and_everybody_proves_it(
    heard, converged
):
    reports = bounded_reports(ttl_s=60, forget_s=600, replicas_max=10)
    now = time.monotonic()
    for data in heard:
        reports.receive(data, now)
    assert reports.view(HEAD, now)["converged"] is converged


def test_whoever_is_known_is_asked_for_lost_entries_and_those_of_this_log_first():
    reports = bounded_reports(ttl_s=60, forget_s=600, replicas_max=10)
    nowhere = {"log_id": "", "epoch": 0, "hash": "", "digest": ""}
    for data in (
        report(id="nowhere", **nowhere),
        report(id="behind", epoch=2),
        report(id="of-another-log", log_id="b" * 32, epoch=9),
        report(id="ahead", epoch=7),
    ):
        reports.receive(data, 1.0)

    asked = [replica for _, replica in reports.holders(HEAD.log_id)]

    # What one serves is not all that its files hold.
    assert asked == ["ahead", "behind", "of-another-log", "nowhere"]
