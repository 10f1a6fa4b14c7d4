"""Whoever may try a change names files of sie-config's machine, its own log among them.

A process that opens and closes an SQLite file by other means drops the locks which SQLite holds on
it there. Then the next reader to leave removes the write-ahead log under the writer, and what was
acknowledged since is gone with the process.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.config_process import config_process
from tests.support.config_writer import client_of, model, running
from tests.support.log_world import nowhere
from tests.support.polling import until, until_told

from sie_config.writer_process import ControlPlane

pytestmark = pytest.mark.integration

MODELS = "/v1/configs/models"
DRY = f"{MODELS}?dry_run=true"
SPARSE = 60 * 1024**3


def path_model(path: object, name: str = "attacker") -> dict[str, Any]:
    return model(name, source={"type": "path", "path": str(path)})


def come_and_go(log: Path) -> None:
    """Do what any program does that has a look at the log: `sqlite3 log.sqlite .tables`."""
    with contextlib.closing(sqlite3.connect(log)) as reader:
        assert reader.execute("SELECT count(*) FROM log").fetchone()


async def test_dry_runs_over_the_data_folder_lose_no_acknowledged_write(tmp_path):
    data, acknowledged = tmp_path / "data", {}
    allowed = ("--weights-folders", str(tmp_path))
    async with config_process(data, nowhere(), *allowed) as (process, client):
        for number in range(10):
            for path in (data, tmp_path):
                named = await client.post(DRY, json=path_model(path))
                assert named.status_code == 422, named.text
            come_and_go(data / "log.sqlite")
            answer = await client.post(MODELS, json=model(f"m{number}"))
            assert answer.status_code == 201, answer.text
            acknowledged[f"m{number}"] = answer.json()
        process.kill()
        await process.wait()
    async with config_process(data, nowhere()) as (_, client):
        for name, written in acknowledged.items():
            assert (await client.get(f"{MODELS}/{name}")).status_code == 200, name
            entry = (await client.get(f"/v1/configs/entries/{written['epoch']}")).json()
            assert entry["hash"] == written["hash"]


@contextlib.asynccontextmanager
async def allowing(
    folder: Path, **settings: Any
) -> AsyncIterator[tuple[ControlPlane, httpx.AsyncClient]]:
    """A writer whose data folder lies in a folder that it may read weights below."""
    (folder / "weights").mkdir(exist_ok=True)
    (folder / "weights/model.bin").write_bytes(b"weights")
    settings = {"weights_folders": (str(folder),)} | settings
    async with running(folder / "data", **settings) as plane, client_of(plane) as client:
        yield plane, client


async def manifest_at(client: httpx.AsyncClient, path: object) -> dict[str, str]:
    answer = await client.post(DRY, json=path_model(path))
    assert answer.status_code == 200, answer.text
    [put] = answer.json()["patch"]
    found: dict[str, str] = put["value"]["source"]["manifest"]
    return found


async def is_pinned(client: httpx.AsyncClient, path: object) -> bool:
    return (await client.post(DRY, json=path_model(path))).status_code == 200


async def refused(client: httpx.AsyncClient, path: object) -> str:
    answer = await client.post(DRY, json=path_model(path))
    assert (answer.status_code, answer.json()["detail"]["code"]) == (422, "VALIDATION_ERROR"), path
    return str(answer.json()["detail"]["message"])


def spellings(root: Path) -> Iterator[object]:
    """Ways to name the data folder, or something in it, or a folder that holds it."""
    data, weights = root / "data", root / "weights"
    yield from (
        data,
        root,
        data / "log.sqlite",
        data / "inner",
        f"{data}/",
        f"/{data}",
        f"{data}/.",
    )
    yield from (f"{weights}/../data", f"{root}//data", f"{root}/./data", os.path.relpath(data))
    yield from (f"/proc/self/root{data}", f"/proc/{os.getpid()}/root{data}", "/proc/self/cwd")
    named = root / "links"
    named.mkdir()
    (named / "folder").symlink_to(data)
    yield named / "folder"
    for name in ("log.sqlite", "log.sqlite-wal", "log.sqlite.lock", "inner/deep"):
        own = root / f"of-{name.replace('/', '-')}"
        (own / "sub").mkdir(parents=True)
        os.link(data / name, own / "sub/model.bin")
        yield own
        link = root / f"to-{name.replace('/', '-')}"
        link.mkdir()
        (link / "model.bin").symlink_to(data / name)
        yield link
    inside = root / "inside"
    inside.mkdir()
    (inside / "sub").symlink_to(data / "inner")
    yield inside
    roundabout = root / "roundabout"
    roundabout.mkdir()
    (roundabout / "model.bin").symlink_to(f"/proc/self/root{data}/log.sqlite")
    yield roundabout


async def test_no_spelling_of_the_data_folder_is_read(tmp_path):
    async with allowing(tmp_path) as (_, client):
        (tmp_path / "data/inner").mkdir()
        (tmp_path / "data/inner/deep").write_bytes(b"deep")
        for path in spellings(tmp_path):
            assert "SHA-256" in await refused(client, path) or not str(path).startswith("/")
        digest = hashlib.sha256(b"weights").hexdigest()
        assert await manifest_at(client, tmp_path / "weights") == {"model.bin": digest}


_MOUNTED = """
set -e
mount --bind "$1/data" "$1/whole"
mount --bind "$1/data/inner" "$1/part"
mount --bind "$1/data/log.sqlite" "$1/file/model.bin"
mount --bind "$1" "$1/above/all"
mount -t proc proc "$1/kernel"
exec "$2" -c "$3" "$4" "$1"
"""
_ASKS = """
import json, sys
from sie_config.documents.manifest_reader import Ask, Refused, manifest_of
words, root = json.loads(sys.argv[1]), sys.argv[2]
for name in ("whole", "part", "file", "above", "kernel", "weights"):
    try:
        print(json.dumps(manifest_of(Ask(path=f"{root}/{name}", **words))))
    except Refused as refused:
        print(json.dumps(str(refused)))
"""


@pytest.mark.tool("unshare")
def test_no_mount_shows_the_data_folder_or_the_kernels_files(tmp_path):
    for name in ("data/inner", "whole", "part", "file", "above/all", "kernel", "weights"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("data/log.sqlite", "data/inner/deep", "file/model.bin", "weights/model.bin"):
        (tmp_path / name).write_bytes(b"bytes")
    bounds = dict.fromkeys(("files_max", "entries_max", "depth_max", "bytes_max"), 10_000)
    asked = {"allowed": [str(tmp_path)], "private": [f"{tmp_path}/data"], "time_s": 10, **bounds}
    ran = subprocess.run(
        [
            *("unshare", "--map-root-user", "--mount", "--pid", "--fork"),
            *("sh", "-c", _MOUNTED, "sh"),
            *(str(tmp_path), sys.executable, _ASKS, json.dumps(asked)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if "mount" in ran.stderr or "unshare" in ran.stderr:
        pytest.skip(f"nothing can be mounted here: {ran.stderr}")
    *refusals, kernel, read = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len(refusals) == 4
    assert all("sie-config's own" in refusal for refusal in refusals)
    assert "is no plain file" in kernel
    assert read == [{"model.bin": hashlib.sha256(b"bytes").hexdigest()}, len(b"bytes")]


async def test_a_folder_that_is_not_allowed_is_told_like_one_that_is_not_there(tmp_path):
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "key").write_text("x")
    weights = tmp_path / "weights"
    (tmp_path / "weights2").mkdir()
    async with allowing(tmp_path, weights_folders=(str(weights),)) as (_, client):
        hidden = ["/proc", "/proc/self", "/etc", "/", "/dev", "/sys/kernel", str(secrets)]
        hidden += [str(tmp_path), f"{weights}2", f"{weights}/../secrets", "/not/there"]
        told = {(await refused(client, path)).replace(path, "…") for path in hidden}
        assert len(told) == 1
        (weights / "here").symlink_to(secrets)
        (weights / "nowhere").symlink_to(tmp_path / "absent")
        links = [await refused(client, weights / name) for name in ("here", "nowhere")]
        assert links[0] == links[1].replace("nowhere", "here")
        for target in ("/proc/version", "/etc/passwd", str(secrets / "key"), str(secrets / "no")):
            (weights / "here").unlink()
            (weights / "here").symlink_to(target)
            assert "here leads out of the folders" in await refused(client, weights)


async def test_nothing_is_read_where_no_folder_is_allowed(tmp_path):
    async with allowing(tmp_path, weights_folders=()) as (_, client):
        assert "weights_folders" in await refused(client, tmp_path / "weights")


@pytest.mark.parametrize("kind", ["fifo", "socket", "link to a device", "link to a folder"])
async def test_what_is_no_plain_file_is_not_opened(tmp_path, kind):
    weights = tmp_path / "weights"
    async with allowing(tmp_path) as (_, client):
        odd = weights / "odd"
        with socket.socket(socket.AF_UNIX) as listener:
            if kind == "fifo":
                os.mkfifo(odd)
            elif kind == "socket":
                os.chdir(weights)
                listener.bind("odd")
            else:
                odd.symlink_to("/dev/zero" if kind == "link to a device" else weights)
            # A reader of the fifo would wait for ever.
            message = await asyncio.wait_for(refused(client, weights), 60)
        assert "odd" in message
        if kind in {"fifo", "socket"}:
            assert "is no plain file" in await refused(client, odd)


async def test_a_reading_is_bounded_in_bytes_files_entries_depth_and_time(tmp_path):
    weights = tmp_path / "weights"
    bounds = {"manifest_bytes_max": 1000, "manifest_s": 20.0}
    async with allowing(tmp_path, **bounds) as (_, client):
        with (weights / "sparse").open("wb") as file:
            file.truncate(SPARSE)
        assert "more than 1000 bytes" in await refused(client, weights)
        (weights / "sparse").unlink()
        deep = weights.joinpath(*(["d"] * 20))
        deep.mkdir(parents=True)
        assert "folders deep" in await refused(client, weights)
        (weights / "d").rename(tmp_path / "deep")
        for number in range(1001):
            (weights / f"f{number}").touch()
        assert "more than 1000 files" in await refused(client, weights)
        # One request has one allowance, however many folders it names.
        two = [tmp_path / "one", tmp_path / "two"]
        for folder in two:
            folder.mkdir()
            (folder / "model.bin").write_bytes(b"x" * 600)
        puts = [
            {"op": "put", "kind": "model", "document": path_model(folder, folder.name)}
            for folder in two
        ]
        answer = await client.post("/v1/configs/batch", json={"operations": puts})
        assert answer.status_code == 422
        assert [each["path"] for each in answer.json()["detail"]["details"]] == [
            "operations.1.source.manifest"
        ]


async def test_a_reading_that_takes_too_long_is_given_up(tmp_path):
    async with allowing(tmp_path, manifest_s=0.3) as (_, client):
        with (tmp_path / "weights/sparse").open("wb") as file:
            file.truncate(SPARSE)
        assert "takes longer than 0.3 s" in await refused(client, tmp_path / "weights")
        assert readers() == []


def readers() -> list[int]:
    """The processes of this one that read weights."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            words = status.parent.joinpath("cmdline").read_bytes()
            parent = f"PPid:\t{os.getpid()}\n"
            if b"manifest_reader" in words and parent in status.read_text():
                found.append(int(status.parent.name))
    return found


async def test_a_reading_ends_with_its_client_and_a_busy_writer_says_so(tmp_path):
    async with allowing(tmp_path, manifest_readers_max=1) as (plane, client):
        sparse = tmp_path / "sparse"
        sparse.mkdir()
        with (sparse / "model.bin").open("wb") as file:
            file.truncate(SPARSE)
        slow = asyncio.create_task(client.post(DRY, json=path_model(sparse)))
        await until(lambda: readers() != [])
        busy = await client.post(DRY, json=path_model(tmp_path / "weights"))
        assert (busy.status_code, busy.json()["detail"]["code"]) == (503, "RESOURCE_EXHAUSTED")
        assert float(busy.headers["retry-after"]) > 0
        assert (await client.post(MODELS, json=model("beside"))).status_code == 201
        slow.cancel()
        await until_told(partial(is_pinned, client, tmp_path / "weights"))
        last = asyncio.create_task(client.post(DRY, json=path_model(sparse)))
        await until(lambda: readers() != [])
        plane.manifests.close()
        assert (await last).json()["detail"]["code"] == "NOT_READY"
        assert readers() == []
