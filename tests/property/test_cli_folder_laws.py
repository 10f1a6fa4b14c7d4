"""A law of folders: what is pruned is named by no file that somebody could have meant."""

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sie_cli.config.applying import operations_for
from sie_cli.config.documents import LocalDocument, read_documents
from sie_cli.config.kinds import KINDS
from sie_schemas.errors import FixRequest

SUFFIXES = st.sampled_from(["yaml", "yml", "json"]).flatmap(
    lambda name: st.sampled_from([name, name.upper(), name.title()])
)
DAMAGES = ("empty", "not UTF-8", "pipe", "gone", "ring", "cut")


@dataclass(frozen=True)
class Planted:
    """A file of one document, where it is, how it is reached, and what is wrong with it."""

    folder: tuple[str, ...]
    stem: str
    suffix: str
    reached: str
    damage: str

    def plant(self, root: Path, outside: Path, key: str) -> None:
        """Put it below `root`; what a link leads to is `outside`."""
        place = root.joinpath(*self.folder)
        place.mkdir(parents=True, exist_ok=True)
        # The key makes names differ: two files of one name would be one file.
        path = place / f"{self.stem}{key}.{self.suffix}"
        true_path = path if self.reached == "itself" else outside / key / path.name
        true_path.parent.mkdir(exist_ok=True)
        self._make(true_path, json.dumps({"kind": "pool", "name": key}))
        match self.reached:
            case "link":
                path.symlink_to(true_path)
            case "linked folder":
                (place / f"folder{key}").symlink_to(true_path.parent)

    def _make(self, path: Path, text: str) -> None:
        match self.damage:
            case "empty":
                path.touch()
            case "not UTF-8":
                path.write_bytes(b"\xff\xfe" + text.encode("utf-16-le"))
            case "pipe":
                os.mkfifo(path)
            case "gone":
                path.symlink_to(path.parent / "nowhere")
            case "ring":
                path.symlink_to(path)
            case "cut":
                path.write_text(text[:-3])
            case _:
                path.write_text(text)


FOLDERS = st.lists(st.sampled_from(["a", "b", ".hidden", "c.yaml"]), max_size=3).map(tuple)
PLANTED = st.builds(
    Planted,
    folder=FOLDERS,
    stem=st.sampled_from(["m", ".m", "m.json.", "ü"]),
    suffix=SUFFIXES,
    reached=st.sampled_from(["itself", "link", "linked folder"]),
    damage=st.sampled_from(["", "", "", "", *DAMAGES]),
)


@given(st.lists(PLANTED, min_size=1, max_size=6))
def test_nothing_is_pruned_that_a_file_names_and_a_file_that_cannot_be_read_stops_it(files):
    with tempfile.TemporaryDirectory() as name:
        root, outside = Path(name, "root"), Path(name, "outside")
        root.mkdir()
        outside.mkdir()
        keys = [f"k{number}" for number in range(len(files))]
        for file, key in zip(files, keys, strict=True):
            file.plant(root, outside, key)
        if any(file.damage for file in files):
            with pytest.raises(FixRequest):
                read_documents(str(root))
            return
        found = read_documents(str(root))
        operations = operations_for(found.documents, {"pool": [*keys, "named nowhere"]})
        assert [each["key"] for each in operations if each["op"] == "delete"] == ["named nowhere"]
        assert found.left_out == ()


NAMED = st.sets(st.tuples(st.sampled_from(KINDS), st.sampled_from("abc")))


@given(files=NAMED, there=NAMED)
def test_pruning_removes_what_the_files_left_out_of_every_kind(files, there):
    documents = [LocalDocument(kind, key, {"of": key}, "here") for kind, key in sorted(files)]
    present = {kind: {key for other, key in there if other == kind} for kind in KINDS}

    operations = operations_for(documents, present)

    puts = [(each["kind"], each["key"]) for each in operations if each["op"] == "put"]
    gone = [(each["kind"], each["key"]) for each in operations if each["op"] == "delete"]
    assert puts == sorted(files)
    assert sorted(gone) == sorted(there - files)
    assert len(operations) == len(puts) + len(gone)
