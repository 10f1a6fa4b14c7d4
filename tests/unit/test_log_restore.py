"""A restore tells of all that it could not keep: the range that is lost, and the key."""

import shutil

import pytest
from tests.support.config_writer import NOW_US, TENURE, new_file, put, running
from tests.support.log_tools import closed_log, states
from tests.unit.test_log_verify import head_file

from sie_config.keys.key_file import key_path, make_key
from sie_config.offline.backup import back_up
from sie_config.offline.restore import Discard, restore
from sie_config.offline.verification import verify_log
from sie_config.start.opened_log import LOG_FILE
from sie_config.writer.draft import Draft
from sie_config.writer.rules import Index
from sie_core.chain import begins_log
from sie_core.registry import Registry
from sie_schemas.entry import Change, ChangeKind


@pytest.mark.parametrize(
    ("seen", "is_ours", "lost"),
    [
        (1, True, (6, 8)),
        (3, True, (6, 8)),
        (3, False, (3, 8)),
        (6, False, (6, 8)),
        (8, True, (6, 8)),
        (10, False, (6, 10)),
    ],
)
def test_the_range_told_as_lost_is_of_entries_that_another_copy_has_and_the_new_log_lacks(
    tmp_path, seen, is_ours, lost
):
    path, entries = closed_log(tmp_path / "source", 5)
    name, _ = back_up(path, tmp_path)
    restored = tmp_path / "new" / LOG_FILE
    restored.parent.mkdir()
    head_file(restored, seen, entries[seen - 1].hash if is_ours else "a" * 64)
    restore(name, restored.parent, bus=None, discard=Discard(5, "ann", "a wrong batch"))
    last = verify_log(restored).last
    assert last is not None
    begin = begins_log(last)
    assert begin is not None
    assert begin.supersedes is not None
    assert begin.supersedes.lost == lost


@pytest.mark.parametrize("key", ["none", "its own", "another"])
@pytest.mark.parametrize("is_signed", [True, False])
async def test_of_a_key_is_warned_where_the_log_names_one_that_is_not_there(
    tmp_path, is_signed, key
):
    if is_signed:
        async with running(tmp_path / "source") as plane:
            await put(plane, "a")
    else:
        (tmp_path / "source").mkdir()
        keyless = Draft(Registry.EMPTY, Index(), None, TENURE, NOW_US)
        keyless.begin([Change(kind=ChangeKind.LOG_BEGIN)], actor="sie-config", reason="a new log")
        new_file(tmp_path / "source" / LOG_FILE, keyless.entries).close()
    source, restored = tmp_path / "source" / LOG_FILE, tmp_path / "new" / LOG_FILE
    restored.parent.mkdir()
    name, _ = back_up(source, tmp_path)
    if key == "another" or (key == "its own" and not is_signed):
        make_key(key_path(restored))
    elif key == "its own":
        shutil.copy(key_path(source), key_path(restored))
    report = restore(name, restored.parent, bus=None, discard=None)
    warned = states(report.to_builtins()).get("key") == "warn"
    assert warned is (is_signed and key != "its own")
