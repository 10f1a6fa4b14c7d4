"""The files of a replica: what is read back, also after a crash in the middle."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sie_core.apply import apply
from sie_core.registry import Registry
from sie_runtime.follower.replica_files import ReplicaFiles
from sie_schemas.entry import to_envelope
from sie_testing.written_log import WrittenLog


def log_of(entries: int, *, of: str = "ours") -> WrittenLog:
    log = WrittenLog()
    for number in range(entries - 1):
        log.put("model", f"m{number % 3}", {"n": number, "of": of})
    return log


def kept(folder: Path, log: WrittenLog, *, snapshot: int, last: int, least: int = 1000) -> None:
    """A life of a replica that began with a snapshot and applied entries up to `last`."""
    files = ReplicaFiles(folder, tail_entries_min=least)
    if snapshot:
        files.took_snapshot(log.snapshot(snapshot), log.registries[snapshot])
    for entry in log.entries[snapshot:last]:
        files.took_entries((entry,), log.registries[entry.epoch])
    files.close()


def read(folder: Path) -> tuple[int, list[int]]:
    snapshot, entries = ReplicaFiles(folder, tail_entries_min=1000).load()
    return snapshot.entry.epoch if snapshot else 0, [entry.epoch for entry in entries]


@pytest.mark.parametrize("snapshot", [0, 3])
def test_what_was_taken_is_read_back(tmp_path, snapshot):
    kept(tmp_path, log_of(8), snapshot=snapshot, last=8)

    assert read(tmp_path) == (snapshot, list(range(snapshot + 1, 9)))


def test_a_boot_that_crashes_at_any_step_loses_nothing_that_was_kept(tmp_path):
    log = log_of(9)
    kept(tmp_path, log, snapshot=3, last=8)
    before = read(tmp_path)
    for crash_after in range(6):
        files = ReplicaFiles(tmp_path, tail_entries_min=1000)
        snapshot, entries = files.load()
        assert snapshot is not None
        if crash_after > 0:
            files.took_snapshot(snapshot, log.registries[3])
        for entry in entries[: crash_after - 1]:
            files.took_entries((entry,), log.registries[entry.epoch])
        # The process ends here, without a word.
        assert read(tmp_path) == before, f"a crash after step {crash_after} lost entries"


def test_after_a_boot_new_entries_follow_the_verified_ones_and_a_torn_end_is_dropped(tmp_path):
    log = log_of(9)
    kept(tmp_path, log, snapshot=3, last=7)
    with (tmp_path / "tail-3.ndjson").open("ab") as tail:
        tail.write(to_envelope(log.entries[7])[:40])
    files = ReplicaFiles(tmp_path, tail_entries_min=1000)
    snapshot, entries = files.load()
    assert snapshot is not None
    files.took_snapshot(snapshot, log.registries[3])
    files.took_entries(entries, log.registries[7])

    files.took_entries(tuple(log.entries[7:9]), log.registries[9])
    files.close()

    assert read(tmp_path) == (3, [4, 5, 6, 7, 8, 9])


def test_entries_that_did_not_verify_at_boot_are_left_behind(tmp_path):
    log, other = log_of(9), log_of(5)
    other.put("model", "other", {})
    kept(tmp_path, other, snapshot=3, last=6)
    files = ReplicaFiles(tmp_path, tail_entries_min=1000)
    snapshot, _ = files.load()
    assert snapshot is not None
    files.took_snapshot(snapshot, log.registries[3])
    files.took_entries(tuple(log.entries[3:5]), log.registries[5])

    # The file's sixth entry was refused; the writer's came instead.
    files.took_entries(tuple(log.entries[5:9]), log.registries[9])

    files.close()
    _, found = ReplicaFiles(tmp_path, tail_entries_min=1000).load()
    assert [entry.hash for entry in found] == [entry.hash for entry in log.entries[3:9]]


@pytest.mark.parametrize("damaged", [0, 2, 4])
def test_entries_behind_a_damaged_line_are_given_back_and_outlive_the_next_boot(tmp_path, damaged):
    log = log_of(9)
    kept(tmp_path, log, snapshot=3, last=9)
    tail = tmp_path / "tail-3.ndjson"
    lines = tail.read_bytes().splitlines(keepends=True)
    middle = len(lines[damaged]) // 2
    lines[damaged] = lines[damaged][:middle] + b"\0" + lines[damaged][middle + 1 :]
    tail.write_bytes(b"".join(lines))
    bad = 4 + damaged
    files = ReplicaFiles(tmp_path, tail_entries_min=1000)
    snapshot, entries = files.load()
    assert snapshot is not None
    assert [entry.epoch for entry in entries] == list(range(4, bad))
    assert [entry.epoch for entry in files.entries(bad, 9)] == list(range(bad + 1, 10))

    # The writer gives back the damaged one and nothing else: it has lost what followed.
    files.took_snapshot(snapshot, log.registries[3])
    if entries:
        files.took_entries(entries, log.registries[bad - 1])
    files.took_entries((log.entries[bad - 1],), log.registries[bad])
    assert [entry.epoch for entry in files.entries(bad, 9)] == list(range(bad + 1, 10))
    files.close()

    _, found = ReplicaFiles(tmp_path, tail_entries_min=1000).load()
    assert [entry.hash for entry in found] == [entry.hash for entry in log.entries[3:9]]


def test_what_lies_behind_a_damaged_line_is_not_read_on_from_another_history(tmp_path):
    log = log_of(9)
    kept(tmp_path, log, snapshot=3, last=9)
    tail = tmp_path / "tail-3.ndjson"
    lines = tail.read_bytes().splitlines(keepends=True)
    tail.write_bytes(b"".join([*lines[:1], b"{}\n", *lines[2:]]))
    files = ReplicaFiles(tmp_path, tail_entries_min=1000)
    snapshot, entries = files.load()
    assert snapshot is not None
    files.took_snapshot(snapshot, log.registries[3])
    files.took_entries(entries, log.registries[4])
    other = WrittenLog()
    for number in range(3):
        other.put("model", f"m{number % 3}", {"n": number})
    other.put("model", "other", {})

    files.took_entries((other.entries[4],), other.registries[5])
    files.close()

    _, found = ReplicaFiles(tmp_path, tail_entries_min=1000).load()
    assert log.entries[5].hash not in [entry.hash for entry in found]


def test_at_least_the_newest_entries_can_be_given_back_across_generations(tmp_path):
    log = log_of(40)
    kept(tmp_path, log, snapshot=0, last=40, least=10)
    files = ReplicaFiles(tmp_path, tail_entries_min=10)

    assert [entry.epoch for entry in files.entries(30, 40)] == list(range(31, 41))
    assert files.entries(2, 40) == [], "a range with a hole was given out"
    snapshot, entries = files.load()
    assert snapshot is not None
    registry = Registry.of(log.registries[snapshot.entry.epoch])
    for entry in entries:
        registry = apply(registry, entry)
    assert registry == log.registries[40]


def test_a_newest_snapshot_that_cannot_be_read_costs_no_entry(tmp_path):
    log = log_of(40)
    kept(tmp_path, log, snapshot=0, last=37, least=10)
    newest, older = sorted(int(path.stem[9:]) for path in tmp_path.glob("snapshot-*"))[::-1]
    (tmp_path / f"snapshot-{newest}.json").write_bytes(b"{")

    epoch, entries = read(tmp_path)

    assert epoch == older
    assert entries == list(range(older + 1, 38))
    # A life that begins with them goes on behind them.
    files = ReplicaFiles(tmp_path, tail_entries_min=1000)
    snapshot, found = files.load()
    assert snapshot is not None
    files.took_snapshot(snapshot, log.registries[older])
    files.took_entries(found, log.registries[37])
    files.took_entries(tuple(log.entries[37:40]), log.registries[40])
    files.close()
    assert read(tmp_path) == (older, list(range(older + 1, 41)))


@pytest.mark.parametrize("taken", [3, 5, 8])
def test_entries_whose_snapshot_was_damaged_are_kept_after_the_next_one(tmp_path, taken):
    log = log_of(9)
    kept(tmp_path, log, snapshot=3, last=8)
    (tmp_path / "snapshot-3.json").write_bytes(b"{")
    files = ReplicaFiles(tmp_path, tail_entries_min=1000)
    assert files.load() == (None, ())

    left = files.took_snapshot(log.snapshot(taken), log.registries[taken])

    assert [entry.epoch for entry in left] == list(range(taken + 1, 9))
    # The process may end here: what only this replica has is there all the same.
    assert read(tmp_path) == (taken, list(range(taken + 1, 9)))
    for entry in left:
        files.took_entries((entry,), log.registries[entry.epoch])
    files.took_entries((log.entries[8],), log.registries[9])
    files.close()
    assert read(tmp_path) == (taken, list(range(taken + 1, 10)))


def test_entries_whose_snapshot_was_damaged_are_left_behind_where_they_lead_on_from_another(
    tmp_path,
):
    log, other = log_of(9), log_of(4)
    other.put("model", "other", {})
    other.put("model", "other", {"n": 1})
    kept(tmp_path, other, snapshot=3, last=6)
    (tmp_path / "snapshot-3.json").write_bytes(b"{")
    files = ReplicaFiles(tmp_path, tail_entries_min=1000)
    files.load()

    assert files.took_snapshot(log.snapshot(5), log.registries[5]) == ()

    files.close()
    assert read(tmp_path) == (5, [])


def test_a_snapshot_that_is_asked_for_later_brings_no_older_entries_back(tmp_path):
    log = log_of(9)
    kept(tmp_path, log, snapshot=3, last=8)
    files = ReplicaFiles(tmp_path, tail_entries_min=1000)
    snapshot, entries = files.load()
    assert snapshot is not None
    files.took_snapshot(snapshot, log.registries[3])
    files.took_entries(entries, log.registries[8])

    # `sie replica resync`: the operator gives up what this replica has of its own.
    assert files.took_snapshot(log.snapshot(5), log.registries[5]) == ()

    files.close()
    assert read(tmp_path) == (5, [])


@given(
    given_up=st.integers(3, 8),
    from_epoch=st.integers(2, 6),
    last=st.integers(6, 9),
    after=st.integers(2, 8),
)
@settings(max_examples=40, deadline=None)
def test_after_its_newest_snapshot_a_replica_gives_back_what_it_applied_since(
    given_up, from_epoch, last, after
):
    """Of a log that was left for another one there may be entries of the same epochs."""
    ours, other = log_of(9), log_of(9, of="other")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kept(folder, other, snapshot=1, last=given_up)
        kept(folder, ours, snapshot=from_epoch, last=last)
        found = ReplicaFiles(folder, tail_entries_min=1000).entries(max(after, from_epoch), 9)
        wanted = [each.hash for each in ours.entries[max(after, from_epoch) : last]]
        assert [each.hash for each in found][: len(wanted)] == wanted
        snapshot, entries = ReplicaFiles(folder, tail_entries_min=1000).load()
        assert snapshot is not None and snapshot.entry.hash == ours.entries[from_epoch - 1].hash
        assert [each.hash for each in entries] == [e.hash for e in ours.entries[from_epoch:last]]
