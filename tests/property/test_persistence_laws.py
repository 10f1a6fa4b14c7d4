"""Laws of files that must outlive a crash: on disk before they have their name, whole or absent.

The calls of a writer are watched as it makes them. A disk with little room is a real one, whose
limit is the system's for this process.
"""

import contextlib
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sie_cli.access.private_files import write_private
from sie_config.keys.key_file import begin_change, end_change, make_key, read_key
from sie_config.log.head_file import HeadFile
from sie_config.offline.backup import replace_file
from sie_core.chain import position_of
from sie_schemas.errors import FixRequest
from sie_testing.written_log import WrittenLog

NAMES = {"link": "name", "replace": "name", "rename": "name", "fsync": "sync"}
HEAD = position_of(WrittenLog().entries[-1])


def calls_of(act: Callable[[], object]) -> list[str]:
    """The writes, syncs and namings that an act makes, in order."""
    found: list[str] = []

    def watch(frame: FrameType, event: str, called: Any) -> None:
        if event != "c_call":
            return
        if getattr(called, "__module__", None) == "posix" and called.__name__ in NAMES:
            found.append(NAMES[called.__name__])
        elif called.__name__ in {"write", "writelines"}:
            found.append("write")

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        act()
    finally:
        sys.setprofile(before)
    return found


def changed(path: Path) -> None:
    make_key(path)
    begin_change(path)
    end_change(path)


DOORS = {
    "a new key": (make_key, ["write", "sync", "name", "sync"]),
    "a change of keys": (changed, [*["write", "sync", "name", "sync"] * 2, "name", "sync"]),
    "the head file": (lambda path: HeadFile(path).replace(HEAD), ["write", "sync", "name"]),
    "a file of a backup": (
        lambda path: replace_file(path, [b"a", b"b"]),
        ["write", "sync", "name", "sync"],
    ),
    "a file of the owner": (lambda path: write_private(path, b"a"), ["write", "sync", "name"]),
}
"""Each is of the old or of the new after the power went. Where a name may be lost with it,
nobody relies on the new one yet."""


@pytest.mark.parametrize(("act", "wanted"), DOORS.values(), ids=DOORS)
def test_what_gets_its_name_is_on_disk_before(tmp_path, act, wanted):
    assert calls_of(lambda: act(tmp_path / "file")) == wanted


@contextlib.contextmanager
def room_for(size: int) -> Iterator[None]:
    """Files of this process may grow to `size` bytes, as on a disk that is full then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@given(room=st.integers(0, 100), waits=st.booleans())
def test_a_key_that_the_disk_has_no_room_for_is_made_once_there_is(room, waits):
    # A part of one stayed, and sie-config started no more: the file was no key.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "key")
        if waits:
            make_key(path)
        act = begin_change if waits else make_key
        with room_for(room), pytest.raises(FixRequest, match="no key can be made"):
            act(path)
        assert len(list(Path(folder).iterdir())) == waits
        made = act(path)
        kept = read_key(path.with_name("key.next") if waits else path)
    assert kept is not None
    assert kept.key_id == made.key_id
