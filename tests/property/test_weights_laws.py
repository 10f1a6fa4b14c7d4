"""Laws of a folder of weights: what is read of it is inside, and pinned where it pins."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import huggingface_hub
import pytest
from huggingface_hub import constants
from hypothesis import example, given
from hypothesis import strategies as st

from sie_schemas.documents import PathSource
from sie_schemas.errors import OurFault
from sie_server.weights.file_hashes import is_blob
from sie_server.weights.hub_cache import (
    FolderPin,
    _download_file,
    _last_used,
    _oldest,
    _pin_file,
    _remove,
)
from sie_server.weights.sources import Weights, resolve

FILES = ("w", "1/w", "1/1/w", "1/10/w", "10/w", "1_w")
NAMES = st.sampled_from(FILES)
FOLDERS = st.lists(st.sampled_from(["", "1", "1", "10", "1/1"]), max_size=2)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as made:
        for name in FILES:
            (Path(made) / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(made) / name).write_bytes(b"")
        yield Path(made)


@example(inside=["1"], name="10/w", pinned=frozenset({"10/w"}), code=False)
@example(inside=["1"], name="w", pinned=frozenset({"1/w"}), code=True)
@given(inside=FOLDERS, name=NAMES, pinned=st.none() | st.frozensets(NAMES), code=st.booleans())
def test_a_file_is_read_where_it_is_inside_and_pinned_however_deep_one_asks(
    folder, inside, name, pinned, code
):
    """A manifest that names no file pins none: it is not the lack of one."""
    weights = Weights(folder, pinned, may_run_code=code)
    for each in inside:
        weights = weights.inside(each)
    path = "/".join([*filter(None, inside), name])
    if path in FILES and (pinned is None or path in pinned):
        assert weights.file(name) == folder / path
    else:
        with pytest.raises(OurFault, match="is not in"):
            weights.file(name)
    for outside in (f"../{name}", f"/{name}", f"1/../{name}"):
        with pytest.raises(OurFault, match="is outside"):
            weights.file(outside)
    is_itself = not any(inside)
    assert weights.within == (None if is_itself else folder)
    assert weights.may_run_code == (code and is_itself), "code runs of the folder of a source alone"


@example(place=63)
@given(place=st.integers(0, 63))
def test_a_hash_that_differs_in_one_digit_is_another_files(folder, place):
    right = hashlib.sha256(b"").hexdigest()
    wrong = right[:place] + f"{int(right[place], 16) ^ 1:x}" + right[place + 1 :]
    for stated in (right, wrong):
        source = PathSource(type="path", path=str(folder), manifest={"w": stated})
        if stated == right:
            assert resolve(source).file("w") == folder / "w"
        else:
            with pytest.raises(OurFault, match="has SHA-256"):
                resolve(source)


@given(st.binary(max_size=40), st.booleans(), st.integers(0, 3))
def test_a_file_of_the_hub_has_the_bytes_that_its_name_states(content, is_small, changed):
    """Small files are named as git names them, large ones by their SHA-256."""
    named = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
    name = (named if is_small else hashlib.sha256(content)).hexdigest()
    found = (content + b"x", content[:-1], b"", content)[changed]
    with tempfile.TemporaryDirectory() as made:
        (Path(made) / name).write_bytes(found)
        assert is_blob(Path(made) / name) is (found == content)


@given(
    times=st.lists(st.integers(0, 9), min_size=1, max_size=5, unique=True),
    spared=st.sets(st.integers(0, 4)),
)
def test_the_revision_that_was_not_used_for_longest_leaves_the_cache(times, spared):
    """One that was never pinned counts from when it came. Data sets are others' business."""
    revisions = [
        SimpleNamespace(snapshot_path=Path(f"{n}"), commit_hash=f"none-{n}", last_modified=at)
        for n, at in enumerate(times)
    ]
    older = SimpleNamespace(snapshot_path=Path("d"), commit_hash="none-d", last_modified=-1)
    path = Path("models--never--there")
    model = SimpleNamespace(repo_type="model", repo_path=path, revisions=revisions)
    data = SimpleNamespace(repo_type="dataset", repo_path=path, revisions=[older])
    info = cast(Any, SimpleNamespace(repos=[data, model]))
    found = _oldest(info, {Path(f"{n}") for n in spared})
    left = [at for n, at in enumerate(times) if n not in spared]
    assert (found and found[1].last_modified) == (min(left) if left else None)


@pytest.mark.parametrize("name", ["models--org--m", "models--org--m-fork"])
@pytest.mark.parametrize("held", ["nothing", "the revision", "a download"])
def test_of_a_cache_what_nobody_uses_or_fetches_leaves_and_its_fork_stays(
    tmp_path, monkeypatch, held, name
):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    commit, names = "a" * 40, ("models--org--m", "models--org--m-fork")
    snapshots = {each: tmp_path / each / "snapshots" / commit for each in names}
    for snapshot in snapshots.values():
        (snapshot.parents[1] / "blobs").mkdir(parents=True)
        snapshot.mkdir(parents=True)
        (snapshot.parents[1] / "blobs" / "w").write_bytes(b"w")
        (snapshot / "w").symlink_to("../../blobs/w")
    info = huggingface_hub.scan_cache_dir(tmp_path)
    (repository,) = [each for each in info.repos if each.repo_path.name == name]
    (revision,) = repository.revisions
    uses = {"the revision": _pin_file(name, commit), "a download": _download_file(name)}
    pin = FolderPin(uses[held]) if held in uses else None
    _remove(info, repository, revision)
    # The library's scan is a set: of two with one commit either may come first.
    expected = {each: each != name or pin is not None for each in names}
    assert {each: snapshot.exists() for each, snapshot in snapshots.items()} == expected


def test_the_last_use_of_a_revision_is_the_end_of_its_last_pin(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    revision = cast(Any, SimpleNamespace(commit_hash="a" * 40))
    repository = cast(Any, SimpleNamespace(repo_path=tmp_path / "models--org--m"))
    pin = FolderPin(_pin_file("models--org--m", revision.commit_hash))
    os.utime(_pin_file("models--org--m", revision.commit_hash), (1, 1))
    assert _last_used(repository, revision) == 1
    del pin
    assert _last_used(repository, revision) > 1
