"""Laws of what is read for a manifest: only what was allowed, whatever it is called there."""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sie_config.documents.manifest_reader import Ask, Refused, manifest_of
from sie_runtime.process.plain_paths import is_below, is_plain_path

SEGMENTS = st.sampled_from(["a", "b", "weights", "weights2", "data", ".", "..", "", " ", "ä"])
PATHS = st.lists(SEGMENTS, max_size=6).map("/".join)


@given(PATHS.map(lambda path: f"/{path}"), PATHS.map(lambda path: f"/{path}"))
def test_a_path_below_a_folder_leads_nowhere_else_whatever_is_on_the_disk(path, folder):
    allowed = (folder,) if is_plain_path(folder) else ("/weights",)
    if is_below(path, allowed):
        assert os.path.normpath(path) == path
        assert os.path.commonpath([path, *allowed]) == allowed[0]
    else:
        assert not is_plain_path(path) or os.path.commonpath([path, *allowed]) != allowed[0]


PLAIN, SECRET = b"plain", b"secret"
FOLDERS = ("weights", "weights/sub", "weights/sub/deep", "data", "data/inner", "outside")
"""`weights` is allowed, and `data`, which holds what is private, may be put below it."""
ENTRIES = st.tuples(
    st.sampled_from(["plain", "link", "hard link", "fifo", "link to a folder"]),
    st.sampled_from(FOLDERS[:3]),
    st.sampled_from(["x", "y", ".z"]),
    st.sampled_from(["data/own", "data/inner/own", "outside/own", "weights/x", "absent"]),
)


def made(root: Path, entries: list[tuple[str, str, str, str]], *, nested: bool) -> Path:
    """A tree; the private folder."""
    data = root / ("weights/data" if nested else "data")
    for folder in FOLDERS:
        (root / folder).mkdir(exist_ok=True)
    for folder in ("data", "data/inner", "outside"):
        (root / folder / "own").write_bytes(SECRET)
    if nested:
        (root / "data").rename(data)
    for kind, folder, name, target in entries:
        place = root / folder / name
        if not os.path.lexists(place):
            put(kind, place, Path(f"{root}/{target.replace('data', str(data.relative_to(root)))}"))
    return data


def put(kind: str, place: Path, aim: Path) -> None:
    if kind == "fifo":
        os.mkfifo(place)
    elif kind == "hard link" and aim.is_file() and "outside" not in aim.parts:
        os.link(aim, place)
    elif kind.startswith("link"):
        place.symlink_to(aim if kind == "link" else aim.parent)
    else:
        # Nobody links what is outside to here without the right to write it.
        place.write_bytes(PLAIN)


@given(st.lists(ENTRIES, max_size=6), st.booleans(), st.sampled_from(FOLDERS[:5]))
def test_a_manifest_never_has_what_is_private_or_outside(entries, nested, asked):
    root = Path(os.path.realpath(tempfile.mkdtemp()))
    try:
        data = made(root, entries, nested=nested)
        ask = Ask(
            path=str(root / asked),
            allowed=[str(root / "weights")],
            private=[str(data)],
            files_max=100,
            entries_max=100,
            depth_max=8,
            bytes_max=1000,
            time_s=10,
        )
        try:
            manifest, size = manifest_of(ask)
        except (Refused, FileNotFoundError):
            return
        assert set(manifest.values()) == {hashlib.sha256(PLAIN).hexdigest()}
        assert size == len(PLAIN) * len(manifest)
        assert not any(part.startswith(".") for name in manifest for part in name.split("/"))
        assert not nested or asked != "weights"
    finally:
        shutil.rmtree(root)


@pytest.mark.parametrize("bound", ["files_max", "entries_max", "bytes_max"])
def test_each_bound_is_the_last_that_fits(tmp_path, bound):
    for number in range(4):
        (tmp_path / f"f{number}").write_bytes(b"x")
    bounds: dict[str, Any] = {"files_max": 4, "entries_max": 4, "bytes_max": 4, "depth_max": 0}
    ask: dict[str, Any] = {
        "path": str(tmp_path),
        "allowed": [str(tmp_path)],
        "private": [],
        "time_s": 10.0,
    }
    assert len(manifest_of(Ask(**ask, **bounds))[0]) == 4
    with pytest.raises(Refused, match="more than 3"):
        manifest_of(Ask(**ask, **(bounds | {bound: 3})))
