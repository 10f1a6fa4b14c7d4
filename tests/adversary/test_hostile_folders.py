"""Folders of weights with what is no file in them: nothing waits for it, nothing reads it."""

import hashlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.certificates import Authority
from tests.support.tokens import tokens_file

from sie_layouts.folder import FolderFiles
from sie_runtime.access.access import Access, AccessSettings
from sie_runtime.follower.replica_files import ReplicaFiles
from sie_runtime.tls import TlsSettings, connecting_context
from sie_schemas.documents import PathSource
from sie_schemas.errors import FixRequest, SIEError
from sie_server.weights.sources import resolve


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def _pipe_elsewhere(path: Path) -> None:
    os.mkfifo(path.parent.parent / "pipe")
    path.symlink_to(path.parent.parent / "pipe")


def _folder_elsewhere(path: Path) -> None:
    elsewhere = path.parent.parent / "elsewhere"
    elsewhere.mkdir()
    os.mkfifo(elsewhere / "pipe")
    path.symlink_to(elsewhere)


KINDS: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a socket": _socket,
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to a pipe": _pipe_elsewhere,
    "a link to a folder with a pipe": _folder_elsewhere,
}


def source_of(folder: Path) -> PathSource:
    weights = folder / "model.safetensors"
    weights.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    return PathSource(type="path", path=str(folder), manifest={"model.safetensors": digest})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["config.json", "1_Pooling/config.json"])
def test_what_is_no_plain_file_is_refused_before_it_is_read(
    tmp_path: Path, kind: str, place: str
) -> None:
    folder = tmp_path / "model"
    (folder / place).parent.mkdir(parents=True)
    source = source_of(folder)
    assert resolve(source).pinned == frozenset({"model.safetensors"})
    KINDS[kind](folder / place)
    with pytest.raises(SIEError, match="is no plain file") as refused:
        resolve(source)
    assert refused.value.code == "MODEL_LOAD_FAILED"
    assert FolderFiles(folder).read(place) is None


def test_a_link_that_leads_to_itself_is_refused_by_name_and_a_circle_of_folders_is_not(
    tmp_path: Path,
) -> None:
    source = source_of(tmp_path)
    (tmp_path / "again").symlink_to(tmp_path)
    assert resolve(source).folder == tmp_path
    (tmp_path / "config.json").symlink_to("config.json")
    with pytest.raises(SIEError, match=r"config\.json cannot be looked at \(Too many levels"):
        resolve(source)


def test_a_replica_begins_without_what_its_disk_does_not_give_back(tmp_path: Path) -> None:
    """A folder, a pipe or a broken block in the place of a file costs what was in it."""
    (tmp_path / "tail-7.ndjson").mkdir()
    (tmp_path / "snapshot-9.json").mkdir()
    (tmp_path / "snapshot-²².json").write_bytes(b"{}")
    (tmp_path / "tail-.ndjson").write_bytes(b"{}")
    files = ReplicaFiles(tmp_path, tail_entries_min=10)
    assert files.load() == (None, ())


@pytest.mark.parametrize("kind", ["a pipe", "a link to a device", "a link to a pipe"])
def test_tokens_and_certificates_are_read_from_plain_files_alone(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    now, tokens = [0.0], tokens_file(folder / "tokens.json", boss=("admin",))
    access = Access(AccessSettings(auth_file=tokens, auth_reload_s=1.0), clock=lambda: now[0])
    tokens.unlink()
    KINDS[kind](tokens)
    now[0] = 2.0
    # The last good file stays in force, and whoever asks is answered.
    assert access.check({b"authorization": b"Bearer boss"}, "admin").name == "boss"
    with pytest.raises(FixRequest, match="is no plain file"):
        Access(AccessSettings(auth_file=tokens))
    signed = Authority(tmp_path / "ca").signed("localhost")
    for made in (
        TlsSettings(tls_ca_file=tokens),
        TlsSettings(tls_cert_file=signed.cert, tls_key_file=tokens),
        TlsSettings(tls_cert_file=tokens, tls_key_file=signed.key),
    ):
        with pytest.raises(FixRequest, match="is no plain file"):
            connecting_context(made)
