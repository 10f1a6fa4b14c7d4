"""Writing and exporting: over HTTP against the peer, and at the store alone.

*shell.* Ours and the peer take turns, so that what else the machine does meets both. A floor stands
beside the sequential writes, measured in the same minutes: a server that only commits what it is
sent, and commits of the same bytes to a bare table without a server.
"""

import asyncio
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from log_figures.figures import Figure, percentile
from log_figures.floor import bare_table
from log_figures.growth import command_of, make_log
from log_figures.processes import Client, Server, exporting, floor, ours, peer
from sie_config.log.log_file import LogFile
from sie_config.settings import ConfigSettings
from sie_config.writer.draft import Write
from sie_config.writer_process import ControlPlane
from sie_runtime.process.lifecycle import spare_collections
from sie_schemas.entry import Entry

__all__ = ["exports", "group_commits", "sequential_writes"]

_ROUNDS = 3
"""The best of three: a neighbour on the disk disturbs one, seldom all."""


def sequential_writes(
    folder: Path, venv: Path | None, logs: Sequence[tuple[str, Path]], *, writes: int
) -> list[Figure]:
    """Writes per second of one client, one after another, on logs of different sizes."""
    figures: list[Figure] = []
    measured = {name: _our_rate(path, writes) for name, path in logs}
    with floor(folder) as server:
        empty, empty_us = _rate(server, writes)
    rates = {name: rate for name, (rate, _) in measured.items()}
    first, *others = rates
    figures.append(Figure(f"writes over HTTP, {first}", rates[first], "/s", 1500))
    figures.append(Figure("… processor time of the server for one", measured[first][1], "us"))
    for name in others:
        ratio = rates[name] / rates[first]
        figures.append(Figure(f"writes over HTTP, {name}", rates[name], "/s", 1500))
        figures.append(Figure(f"… of the rate of {first}", ratio, "", 0.9))
    figures.append(Figure("floor: a server that only commits such bodies", empty, "/s"))
    figures.append(Figure("… processor time of that server for one", empty_us, "us"))
    figures.append(Figure("floor: commits of such bodies to a bare table", _floor(folder), "/s"))
    if venv is not None:
        with ours(folder / "ours") as mine, peer(venv, folder / "peer", 200) as other:
            turns = _in_turns((mine, other), min(writes, 60))
        figures += _beside("write p50 at 200 models, no load", turns)
    return figures


def _our_rate(path: Path, writes: int) -> tuple[float, float]:
    with ours(path) as server:
        return _rate(server, writes)


def _rate(server: Server, writes: int) -> tuple[float, float]:
    """Writes per second, the best of some rounds, and microseconds of processor time for each."""
    best = 0.0
    client = Client(server.port)
    used = server.processor_s()
    for turn in range(_ROUNDS):
        began = time.perf_counter()
        for number in range(writes):
            client.create(server, f"seq/{turn}-{number}-{time.time_ns()}")
        best = max(best, writes / (time.perf_counter() - began))
    used = (server.processor_s() - used) / (writes * _ROUNDS)
    client.close()
    return best, used * 1e6


def _floor(folder: Path) -> float:
    body = b"x" * 800
    connection = bare_table(folder / "bare.sqlite")
    best = 0.0
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        for _ in range(300):
            connection.execute("INSERT INTO t (body) VALUES (?)", (body,))
        best = max(best, 300 / (time.perf_counter() - began))
    connection.close()
    return best


def _in_turns(servers: Sequence[Server], writes: int) -> dict[str, list[float]]:
    clients = {server.name: Client(server.port) for server in servers}
    took: dict[str, list[float]] = {server.name: [] for server in servers}
    for number in range(writes):
        for server in servers:
            took[server.name].append(clients[server.name].create(server, f"turn/m-{number}"))
    for client in clients.values():
        client.close()
    return took


def _beside(name: str, took: dict[str, list[float]], expected: float | None = None) -> list[Figure]:
    mine, other = (statistics.median(took[each]) * 1000 for each in ("ours", "peer"))
    return [
        Figure(f"{name}: ours", mine, "ms"),
        Figure(f"{name}: peer", other, "ms"),
        Figure(f"{name}: times faster", other / mine, "x", expected),
    ]


def exports(folder: Path, venv: Path | None, *, models: int, many: int) -> list[Figure]:
    """Exports, cold after a write and repeated, and writes while eight clients export."""
    figures: list[Figure] = []
    mine_path = make_log(folder / "export-ours", models, models)
    with ours(mine_path.parent) as mine:
        if venv is not None:
            with peer(venv, folder / "export-peer", models) as other:
                figures += _compared(mine, other, models)
        figures += _under_exports("ours", mine, models, 200, {})
    with ours(make_log(folder / "export-many", many, many).parent) as mine:
        cold = _exports_after_writes(mine, 5)
        figures.append(
            Figure(
                f"export of {many} models after a write",
                statistics.median(cold) * 1000,
                "ms",
                300,
                "below",
            )
        )
    return figures


def _compared(mine: Server, other: Server, models: int) -> list[Figure]:
    took: dict[str, list[float]] = {"ours": [], "peer": []}
    for _ in range(3):
        for server in (mine, other):
            took[server.name] += _exports_after_writes(server, 1)
    figures = _beside(f"export of {models} models after a write", took, 20)
    loaded: dict[str, list[float]] = {}
    for server, writes in ((mine, 60), (other, 8)):
        _under_exports(server.name, server, models, writes, loaded)
    return figures + _beside(f"write p50 at {models} models under 8 exporters", loaded, 100)


def _under_exports(
    name: str, server: Server, models: int, writes: int, into: dict[str, list[float]]
) -> list[Figure]:
    with exporting(server, 8):
        client = Client(server.port)
        took = [client.create(server, f"busy/{writes}-{number}") for number in range(writes)]
        client.close()
    into[name] = took
    return [
        Figure(
            f"write p99 at {models} models under 8 exporters: {name}",
            percentile(took, 0.99) * 1000,
            "ms",
        )
    ]


def _exports_after_writes(server: Server, count: int) -> list[float]:
    client = Client(server.port)
    took = []
    for _ in range(count):
        client.create(server, f"again/m-{time.time_ns()}")
        began = time.perf_counter()
        status, _ = client.request("GET", "/v1/configs/export")
        took.append(time.perf_counter() - began)
        if status != 200:
            raise RuntimeError(f"{server.name} exports with status {status}")
    client.close()
    return took


def group_commits(folder: Path, entries: Sequence[Entry], *, writes: int) -> list[Figure]:
    """Writes per second when many wait at once: at the store, and through the sequencer."""
    best = 0.0
    for turn in range(_ROUNDS):
        file = LogFile.open(folder / f"group-{turn}" / "log.sqlite")
        began = time.perf_counter()
        for start in range(0, len(entries), 256):
            file.append(entries[start : start + 256])
        best = max(best, len(entries) / (time.perf_counter() - began))
        file.close()
    spare_collections()  # as sie-config does: what a benchmark keeps alive is not its server's
    through = max(
        uvloop.run(_through_the_sequencer(folder / f"sequencer-{turn}", writes))
        for turn in range(_ROUNDS)
    )
    return [
        Figure("entries by group commit at the store", best, "/s", 8000),
        Figure("writes of 256 at once through the sequencer", through, "/s", 8000),
    ]


async def _through_the_sequencer(folder: Path, writes: int) -> float:
    plane = await ControlPlane.open(ConfigSettings(data_dir=folder, roll_call_s=0))
    stop = asyncio.Event()
    commands = [command_of(number) for number in range(writes)]
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(plane.run(stop))
        began = time.perf_counter()
        for start in range(0, writes, 256):
            await asyncio.gather(
                *(
                    plane.write(Write("bench", "", "r", (command,)))
                    for command in commands[start : start + 256]
                )
            )
        took = time.perf_counter() - began
        stop.set()
        await running
    await plane.close()
    return writes / took
