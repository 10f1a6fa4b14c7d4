"""Somebody writes into files of weights while they are read, and while their model answers."""

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.support.encoder_models import (
    ADAPTERS,
    MINILM,
    dense,
    fresh_device,
    load_folder,
    random_tokens,
    write_tiny,
)
from torch import nn
from transformers import BertConfig

from sie_schemas import ipc
from sie_schemas.documents import EncodeTask, PackageSource, PathSource, ProfileDocument, Tasks
from sie_schemas.errors import SIEError
from sie_schemas.jobs import AdapterPin
from sie_server.adapters.adapter_shelf import AdapterShelf
from sie_server.backends.backend import ModelSpec
from sie_server.backends.encode import transformer
from sie_server.execution.execution import Execution
from sie_server.weights.own_tensors import own_model
from sie_server.weights.sources import Weights, resolve

CONFIG = BertConfig(
    vocab_size=60,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=64,
    max_position_embeddings=64,
)


def overwritten(path: Path) -> None:
    """Other numbers in the same file, which keeps its length and its time of writing."""
    before, told = path.read_bytes(), path.stat()
    head = 8 + int.from_bytes(before[:8], "little")
    with path.open("r+b") as file:
        file.seek(head)
        file.write(bytes(len(before) - head))
    os.utime(path, ns=(told.st_atime_ns, told.st_mtime_ns))


def pinned(folder: Path, *names: str) -> PathSource:
    hashes = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    return PathSource(type="path", path=str(folder), manifest=hashes)


def ticked(folder: Path) -> None:
    """Return once the clock of change times has moved: on older kernels it has steps of 10 ms."""
    probe = folder / "probe"
    probe.touch()
    first = probe.stat().st_ctime_ns
    while probe.stat().st_ctime_ns == first:
        probe.touch()


@pytest.mark.parametrize("again", [False, True], ids=["first", "skeleton"])
def test_a_model_that_answers_is_not_changed_by_what_is_written_into_its_file(
    tmp_path: Path, again: bool
) -> None:
    write_tiny(tmp_path, CONFIG)
    backend = load_folder(tmp_path)
    if again:
        backend = load_folder(tmp_path)
    texts = random_tokens((5, 9), vocabulary=60)
    before = dense(backend, texts)
    overwritten(tmp_path / "model.safetensors")
    assert np.array_equal(dense(backend, texts), before)


def distributed(folder: Path, package: Path, *, recorded: bool = True) -> PackageSource:
    """A distribution in `folder` that says it gives a package named as the folder `package` is."""
    name = package.name
    told = folder / f"{name}-1.dist-info"
    told.mkdir(parents=True)
    (package / "__init__.py").touch()
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    if recorded:
        files = sorted(each.name for each in package.iterdir())
        (told / "RECORD").write_text("".join(f"{name}/{file},,\n" for file in files))
    return PackageSource(type="package", package=name, distribution=name, version="1")


def maps(file: Path) -> bool:
    """True if memory of this process is the file's."""
    return str(file) in Path("/proc/self/maps").read_text(encoding="utf-8")


@pytest.mark.parametrize("way", ["installed", "editable", "unrecorded", "copied", "linked"])
def test_a_package_that_is_put_anew_or_is_somebodys_own_folder_changes_no_model_that_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    site = tmp_path / "site"
    package = (tmp_path / "own" if way == "editable" else site) / f"weights_{way}"
    write_tiny(package, CONFIG)
    source = distributed(site, package, recorded=way != "unrecorded")
    # As the file of an editable installation does it.
    for path in dict.fromkeys((site, package.parent)):
        monkeypatch.syspath_prepend(path)
    weights = package / "model.safetensors"
    if way == "copied":
        (package / "own.safetensors").touch()
    if way == "linked":
        weights.rename(tmp_path / "own")
        weights.symlink_to(tmp_path / "own")
    backend = load_folder(package, weights=resolve(source))
    texts = random_tokens((5, 9), vocabulary=60)
    before = dense(backend, texts)
    # Only what an installer put there is shared with other execution processes.
    assert maps(weights.resolve()) == (way == "installed")
    if way == "installed":
        # As pip and uv do.
        new = package / "new"
        shutil.copy(weights, new)
        overwritten(new)
        new.replace(weights)
    else:
        overwritten(weights)
    assert np.array_equal(dense(backend, texts), before)


@pytest.mark.parametrize("layer", [nn.Linear(3, 3), nn.BatchNorm1d(3)], ids=["weights", "buffers"])
def test_what_a_library_took_from_a_file_as_it_lies_there_is_the_models_own(
    layer: nn.Module, tmp_path: Path
) -> None:
    """A mean that a layer keeps is no parameter of it, and is as much in its file."""
    path = tmp_path / "model.safetensors"
    save_file(layer.state_dict(), path)
    layer.load_state_dict(load_file(path), assign=True)
    own_model(layer, Weights(tmp_path, None))
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    with path.open("r+b") as file:
        file.write(b"\xff" * path.stat().st_size)
    assert all(torch.equal(before[name], one) for name, one in layer.state_dict().items())


@pytest.mark.parametrize("kind", ["path", "link", "package"])
def test_what_is_written_between_the_hash_and_the_end_of_the_load_is_told(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source: PathSource | PackageSource
    if kind == "package":
        package = tmp_path / "weights_pinned"
        write_tiny(package, CONFIG)
        manifest = pinned(package, "model.safetensors", "config.json").manifest
        source = distributed(tmp_path, package).model_copy(update={"manifest": manifest})
        monkeypatch.syspath_prepend(tmp_path)
        for version in ("0", "2", "1.0"):
            with pytest.raises(SIEError, match="pinned is another"):
                resolve(source.model_copy(update={"version": version}))
    else:
        write_tiny(tmp_path, CONFIG)
        if kind == "link":
            # As in a hub's cache: what is written changes nothing of the name that leads to it.
            (tmp_path / "model.safetensors").rename(tmp_path / "blob")
            (tmp_path / "model.safetensors").symlink_to(tmp_path / "blob")
        source = pinned(tmp_path, "model.safetensors", "config.json")
    found = resolve(source)
    weights = found.folder / "model.safetensors"
    found.check_unchanged()
    ticked(tmp_path)
    overwritten(weights)
    with pytest.raises(SIEError, match=r"was changed while it was read") as refused:
        found.check_unchanged()
    assert refused.value.code == "MODEL_LOAD_FAILED"
    weights.unlink()
    with pytest.raises(SIEError, match=r"was changed while it was read"):
        found.check_unchanged()


def test_a_link_that_led_elsewhere_meanwhile_is_told_and_one_above_is_not_asked_again(
    tmp_path: Path,
) -> None:
    kept, folder, link = tmp_path / "kept", tmp_path / "model", tmp_path / "link"
    folder.mkdir()
    kept.write_bytes(b"as pinned")
    (tmp_path / "other").write_bytes(b"another")
    weights = folder / "weights.bin"
    weights.symlink_to(kept)
    link.symlink_to(folder)
    found = resolve(pinned(link, weights.name))
    assert found.folder == folder.resolve()
    found.check_unchanged()
    ticked(tmp_path)
    aside = folder / "aside"
    weights.rename(aside)
    weights.symlink_to(tmp_path / "other")
    weights.unlink()
    aside.rename(weights)
    assert weights.read_bytes() == b"as pinned"
    with pytest.raises(SIEError, match=r"was changed while it was read"):
        found.check_unchanged()


def test_a_link_to_a_folder_inside_that_led_elsewhere_meanwhile_is_told(tmp_path: Path) -> None:
    kept, inner = tmp_path / "kept", tmp_path / "model" / "inner"
    for folder in (kept, inner.parent):
        folder.mkdir()
    (kept / "weights.bin").write_bytes(b"as pinned")
    inner.symlink_to(kept)
    found = resolve(pinned(inner.parent, "inner/weights.bin"))
    found.check_unchanged()
    ticked(tmp_path)
    inner.unlink()
    inner.symlink_to(kept)
    for each in (found, found.inside("inner")):
        with pytest.raises(SIEError, match=r"was changed while it was read"):
            each.check_unchanged()


def test_a_model_whose_file_is_written_while_it_is_loaded_is_not_loaded(tmp_path: Path) -> None:
    write_tiny(tmp_path, CONFIG)
    execution = Execution(fresh_device(), memory_bytes_max=0)
    config = {
        "model_id": "test/model",
        "source": pinned(tmp_path, "model.safetensors").model_dump(),
        "tasks": {"encode": {}},
        "profile": {"backend": "transformer", "options": {"pooling": "mean"}},
    }
    request = ipc.Load(id=1, revision="r1", config=config)
    spec = execution.prepare(request)
    assert isinstance(spec, ModelSpec)
    overwritten(tmp_path / "model.safetensors")
    told = execution.build(request, spec)
    assert isinstance(told, ipc.Failed)
    assert told.code == "MODEL_LOAD_FAILED"
    assert "was changed while it was read" in told.message


@pytest.mark.parametrize("has_manifest", [False, True])
def test_an_adapter_that_comes_back_is_the_one_that_was_verified(
    has_manifest: bool, tmp_path: Path
) -> None:
    shutil.copytree(ADAPTERS / "legal", tmp_path / "legal")
    device = replace(fresh_device(), adapters=AdapterShelf(1))
    profile = ProfileDocument(backend="transformer")
    spec = ModelSpec("m", "r1", resolve(MINILM), Tasks(encode=EncodeTask()), profile)
    backend = transformer.load(spec, device)
    folders = {"legal": tmp_path / "legal", "medical": ADAPTERS / "medical"}
    for name, folder in folders.items():
        # The shelf has room for one: the first leaves, and is read again when it is asked for.
        files = [path.name for path in folder.iterdir()]
        weights = resolve(pinned(folder, *files)) if has_manifest else Weights(folder, None)
        backend.load_adapter(AdapterPin(name, "1"), weights)
    texts = random_tokens((5,))
    first = dense(backend, texts, "legal")
    dense(backend, texts, "medical")
    file = tmp_path / "legal" / "adapter_model.safetensors"
    # A backup by links, or other rights: the bytes are the same.
    file.chmod(0o600)
    os.link(file, tmp_path / "linked")
    assert np.array_equal(dense(backend, texts, "legal"), first)
    dense(backend, texts, "medical")
    overwritten(tmp_path / "legal" / "adapter_model.safetensors")
    with pytest.raises(SIEError, match="was changed") as refused:
        dense(backend, texts, "legal")
    # A code that fails this adapter's texts alone, and not what is in one batch with them.
    assert refused.value.code == "ADAPTER_LOAD_FAILED"
