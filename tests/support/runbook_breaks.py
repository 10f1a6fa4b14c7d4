"""The faults behind the runbooks' walks, each as a person or a disk would make it.

*shell.* A fault takes the world and leaves it broken; its cure is an act of the walk.
"""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import sqlite3
import tempfile
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

from tests.support.live_cluster import MODEL
from tests.support.polling import until_told
from tests.support.runbook_walk import Act
from tests.support.runbook_world import World

from sie_runtime.broker.bus import Bus, BusSettings, connected_bus
from sie_runtime.streams.log_stream import log_streams, stream_name

__all__ = [
    "BROKEN",
    "an_older_history",
    "as_config",
    "edited_by",
    "made_until",
    "model_that_does_not_load",
    "nobody_of_that_kind",
    "pauses_in_commits",
    "rights_given",
    "rights_taken",
    "slow_answers",
    "the_file_is_damaged",
    "the_file_is_restored",
    "two_models_in_turns",
]

BROKEN: Final = "org/broken"
_JOBS: Final = 9
_ADMIN_S: Final = 5.0
_HEARD_S: Final = 5.0
"""A few scrapes and evaluations of Prometheus."""
_BURSTS_S: Final = 240.0
_IN_ITS_PAGE: Final = 400
"""Bytes of a row that SQLite keeps together, of pages of 4,096 bytes."""


async def model_that_does_not_load(world: World) -> None:
    """A model that works is changed to a version of its package that is not installed."""
    document = await world.document(f"models/{MODEL}")
    document |= {"model_id": BROKEN, "aliases": []}
    url = f"{world.config}/v1/configs/models/{BROKEN}"
    answer = await world.http.put(url, json=document)
    assert answer.status_code in {200, 201}, answer.text
    world.kept["before"] = str(answer.json()["epoch"])

    async def works() -> bool:
        return (await world.ask(model=BROKEN)).status_code == 200

    await until_told(works)
    document["source"] = document["source"] | {"version": "0.0.1"}
    answer = await world.http.put(url, json=document)
    assert answer.status_code == 200, answer.text

    async def fails() -> bool:
        # Of a series that is born with its first failure Prometheus sees no growth: ask again.
        failed = "MODEL_LOAD_FAILED" in (await world.ask(model=BROKEN)).text
        return failed and await world.alerting("SieErrorsBurnSlowly")

    await until_told(fails)


def made_until(alert: str, burst: Act) -> Act:
    """A fault that may miss, or drown in the good requests and writes of other walks: made again
    until its alert fires."""

    async def fires(world: World) -> bool:
        await burst(world)
        with contextlib.suppress(AssertionError):
            await until_told(lambda: world.alerting(alert), within_s=_HEARD_S)
            return True
        return False

    async def made(world: World) -> None:
        await until_told(lambda: fires(world), within_s=_BURSTS_S)

    return made


async def slow_answers(world: World) -> None:
    """Model execution stands for longer than a second, while requests wait for it."""
    world.freeze("server-0")
    asking = asyncio.create_task(world.asked(_JOBS - 1))
    await until_told(lambda: _in_flight(world, 1))
    await asyncio.sleep(1.5)
    world.thaw()
    assert set(await asking) == {200}


async def _in_flight(world: World, count: int) -> bool:
    rows = await world.server.query("sum(sie_worker_items_in_hand)")
    return bool(rows) and float(rows[0]["value"][1]) >= count


async def nobody_of_that_kind(world: World) -> None:
    """A pool may have a kind of worker that nobody starts, and it is asked for."""
    assert await world.write("default", machine_profiles=["cpu", "far"]) in {200, 201}

    more = {"X-SIE-MACHINE-PROFILE": "far", "X-SIE-SDK-Version": "1"}

    async def is_known() -> bool:
        return (await world.ask(**more)).status_code != 400

    async def is_cold() -> bool:
        answer = await world.ask(**more)
        assert answer.status_code in {202, 404, 503}, answer.text
        return await world.alerting("SieCapacityDoesNotCome")

    await until_told(is_known)
    await until_told(is_cold)


async def two_models_in_turns(world: World) -> None:
    """Two models where one has room, each asked for after the other."""
    document = await world.document(f"models/{MODEL}")
    document |= {"model_id": "org/second", "aliases": []}
    await world.http.put(f"{world.config}/v1/configs/models/org/second", json=document)
    for number in range(30):
        await world.ask(model=(MODEL, "org/second")[number % 2])


async def the_file_is_damaged(world: World) -> None:
    """A byte of an entry in the middle of the log goes over while its writer is down."""
    backup = world.folder / "backup.sqlite"
    await world.typed(["sie", "log", "backup", str(backup), str(world.log_file.parent)])
    with world.held_down("config"):
        entry = await asyncio.to_thread(_middle_entry, world.log_file)
        _flip(world.log_file, world.log_file.read_bytes().index(entry[:_IN_ITS_PAGE]))


async def the_file_is_restored(world: World) -> None:
    """As `recover.md` says of a file that is damaged: a backup in its place."""
    folder = world.log_file.parent
    with world.held_down("config"):
        _taken_away(folder, ".key", ".head")
        backup = str(world.folder / "backup.sqlite")
        await world.typed(["sie", "log", "restore", backup, str(folder)])


def _taken_away(folder: Path, *but: str) -> None:
    """The log of a folder, all that belongs to it but files that end so."""
    for path in folder.glob("log.sqlite*"):
        if not path.name.endswith(but):
            path.unlink()


def _middle_entry(file: Path) -> bytes:
    """Have all that is in the write-ahead log in the file; gives the body of an entry."""
    with contextlib.closing(sqlite3.connect(file)) as opened:
        opened.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        (body,) = opened.execute(
            "SELECT body FROM log WHERE epoch > (SELECT max(epoch) / 2 FROM log) LIMIT 1"
        ).fetchone()
        return bytes(body)


def _flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 0xFF]))


async def an_older_history(world: World) -> None:
    """A backup is put back while nobody who knows better is heard, and is written on."""
    folder = world.log_file.parent
    older = Path(tempfile.mkdtemp(dir=world.folder)) / "log.sqlite"
    await asyncio.to_thread(_copied, world.log_file, older)
    for number in range(3):
        assert await world.write(f"ours-{number}", description=older.parent.name) in {200, 201}
    world.freeze("gateway", "worker-0")
    with world.held_down("config"):
        async with as_config(world) as bus:
            for log_id in await log_streams(bus):
                subject = f"$JS.API.STREAM.DELETE.{stream_name(log_id)}"
                await bus.request(subject, b"", timeout_s=_ADMIN_S)
        _taken_away(folder, ".key")
        shutil.copy2(older, folder / "log.sqlite")

    async def is_written() -> bool:
        with contextlib.suppress(Exception):
            return await world.write("theirs", description=older.parent.name) in {200, 201}
        return False

    await until_told(is_written)
    for number in range(4):
        assert await world.write(f"theirs-{number}", description=older.parent.name) in {200, 201}
    world.thaw()


def _copied(source: Path, target: Path) -> None:
    with sqlite3.connect(source) as there, sqlite3.connect(target) as here:
        there.backup(here)


def as_config(world: World) -> AbstractAsyncContextManager[Bus]:
    """A connection with the writer's own password."""
    text = (world.data / "nats.conf").read_text()
    found = re.search(r'user: "config", password: "([^"]+)"', text)
    port = re.search(r"^port: (\d+)", text, re.MULTILINE)
    assert found is not None
    assert port is not None
    settings = BusSettings(
        nats_url=f"nats://127.0.0.1:{port[1]}", nats_user="config", nats_password=found[1]
    )
    return connected_bus(settings, role="config", process_id="x", within_s=_ADMIN_S)


async def pauses_in_commits(world: World) -> None:
    """The writer stands for more than a second, again and again, while it commits."""

    async def some(name: str) -> None:
        for _ in range(4):
            # Another document each time: what changes nothing is no commit.
            await world.write(name, description=str(time.monotonic_ns()))

    for turn in range(6):
        writes = [asyncio.create_task(some(f"slow-{turn}-{n}")) for n in range(4)]
        # Some are answered, so that others are under way: a process that is busy may start late.
        await asyncio.wait([asyncio.create_task(world.write(f"first-{turn}"))])
        world.freeze("config")
        await asyncio.sleep(1.5)
        world.thaw()
        await asyncio.gather(*writes)


async def rights_taken(world: World) -> None:
    """The broker's file comes to give the gateway less than it needs."""
    path = world.data / "nats.conf"
    world.kept["users"] = path.read_text()
    lines = [
        re.sub(r"sie\.work\.[^\"]*", "sie.elsewhere.>", line) if '"gateway"' in line else line
        for line in world.kept["users"].splitlines()
    ]
    path.write_text("\n".join(lines) + "\n")
    assert path.read_text() != world.kept["users"], "the gateway queues jobs by a right"
    os.kill(world.pid("nats"), signal.SIGHUP)
    await asyncio.sleep(1)
    await asyncio.wait([asyncio.create_task(world.ask("may not"))], timeout=10)


async def rights_given(world: World) -> None:
    """The file as it ought to be."""
    (world.data / "nats.conf").write_text(world.kept.pop("users"))
    os.kill(world.pid("nats"), signal.SIGHUP)


def edited_by(world: World) -> dict[str, str]:
    """An editor that takes the machine profile `far` out of what it is given."""
    script = world.folder / "editor.py"
    script.write_text(
        "import sys, pathlib, re\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "path.write_text(re.sub(r'\\n\\s*- far', '', path.read_text()))\n"
    )
    return {"EDITOR": f"{shutil.which('python3')} {script}"}
