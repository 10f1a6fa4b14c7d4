"""The manifest of a folder: the hashes of its files, and a word to whoever waits."""

import hashlib
from pathlib import Path

import pytest

from sie_cli.models import manifests
from sie_cli.models.manifests import manifest_of
from sie_schemas.errors import FixRequest


def test_each_file_has_its_hash_and_a_small_folder_no_word(tmp_path: Path, capsys):
    contents = {"a.json": b"{}", "1_Pooling/config.json": b"[]", "model.safetensors": b"x" * 9000}
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    found = manifest_of(tmp_path, list(contents))
    assert found == {
        name: hashlib.sha256(content).hexdigest() for name, content in contents.items()
    }
    assert capsys.readouterr().err == ""


def test_whoever_waits_is_told(tmp_path: Path, capsys):
    """A sparse file is large and costs no disk."""
    file = tmp_path / "model.safetensors"
    with file.open("wb") as stream:
        stream.truncate(manifests._TOLD_FROM_BYTES)
    manifest_of(tmp_path, [file.name])
    assert "hashing 1 file of 0.3 GB" in capsys.readouterr().err


def test_a_file_that_does_not_read_is_named(tmp_path: Path):
    with pytest.raises(FixRequest, match=r"gone\.bin: No such file"):
        manifest_of(tmp_path, ["gone.bin"])
