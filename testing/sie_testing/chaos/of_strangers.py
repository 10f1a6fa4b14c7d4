"""Faults of others: clients who flood, who never end, and messages that nobody of ours has sent.

*shell.* The broker of these clusters has no users, so a stranger on the bus may do whatever any
role might. What has to hold then are the signatures and bounds of the processes themselves.
"""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from sie_config.log.replay import step
from sie_config.offline.log_reader import LogReader
from sie_core.apply import preview
from sie_core.registry import Registry
from sie_runtime.streams.log_stream import entry_subject
from sie_schemas.entry import Entry, build_entry, put, to_envelope
from sie_testing.chaos.scene import Fault, Scene
from sie_testing.chaos.table import LONGER_S
from sie_testing.processes.echo_execution import BACKEND

__all__ = ["FAULTS"]

_FLOOD: Final = 2_000
"""Many times the fleet that the writer is made for, which has 64 replicas."""
_SLOW: Final = 200
"""Far more than clients of the load: a server that gives each a task or a thread shows it."""
_HEADER_BYTES: Final = 50_000_000
"""A server that kept them would have 400 MB after the four requests that it gets."""
_SPARSE_BYTES: Final = 60_000_000_000
"""To hash it takes 36 s of processor time (0.6 s a gigabyte): longer than a drain. It is sparse,
and takes no room."""
_DRY_RUNS: Final = 8
"""More than the threads that an event loop has for such work on two cores."""
_OBEYS_S: Final = 20.0
"""Four times the drain of sie-config (5 s), and less than one dry run takes (`_SPARSE_BYTES`)."""
_MANY_MODELS: Final = 1_500
"""A list of 0.9 MB, which takes 40 ms of processor time. Readers without a pause keep the gateway
busy, and requests must have their turns between the parts of a list."""
_READERS: Final = 10
"""The gateway is always making a list for one of them while the others wait."""
_AT_ONCE: Final = 50
"""Fewer than a connection pool's hundred: the flood is of reports, not of connections."""
_BACK_S: Final = 30.0
"""A restart, the replay of the log, and the claim of the lease that the killed one held."""


def _forged(scene: Scene) -> Entry:
    """An entry that follows the head of the file, as anybody can make one who can hash."""
    registry, last = Registry.EMPTY, None
    with LogReader.open(scene.cluster.log_file) as reader:
        for last in reader.entries():
            registry = step(registry, last)
    assert last is not None, "a log has an entry"
    changes = [put("pool", "forged", {"name": "forged", "description": "by a stranger"})]
    after = preview(registry, changes, last.epoch + 1)
    return build_entry(
        log_id=last.log_id,
        epoch=last.epoch + 1,
        term=last.term,
        writer=last.writer,
        ts=last.ts,
        actor="admin",
        reason="forged",
        request_id="forged",
        changes=changes,
        prev_hash=last.hash,
        state_digest=after.digest,
    )


async def _forge(scene: Scene) -> None:
    """While the writer is stopped, its next place on the stream is taken."""
    config = scene.cluster.programs["config"]
    config.pause()
    forged = await asyncio.to_thread(_forged, scene)
    scene.kept["forged"] = forged.hash
    async with scene.cluster.connected_bus() as bus:
        scene.strikes()
        await bus.request(entry_subject(forged.log_id), to_envelope(forged), timeout_s=5)
    config.resume()


async def _is_not_ours(scene: Scene) -> None:
    """Also after a restart: what a stranger wrote is nowhere in the log."""
    config = scene.cluster.programs["config"]
    await config.kill()
    await config.start()
    if not await scene.until(scene.writes, _BACK_S):
        raise RuntimeError(f"sie-config takes no write {_BACK_S:g} s after its restart")
    with LogReader.open(scene.cluster.log_file) as reader:
        if any(entry.hash == scene.kept["forged"] for entry in reader.entries()):
            raise RuntimeError("the forged entry is in the log")


def _report(number: int, head: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "role": "gateway",
        "id": f"stranger-{number}",
        "life": f"{number:08d}",
        "log_id": head["log_id"],
        "epoch": head["epoch"],
        "hash": head["hash"],
        "digest": head["digest"],
        "received": head["epoch"],
        "state": "fresh",
    } | more


async def _head(scene: Scene) -> dict[str, Any]:
    response = await scene.config("GET", "epoch")
    if response is None:
        raise RuntimeError("sie-config does not tell its head")
    told: dict[str, Any] = response.json()
    return told


async def _flood(scene: Scene) -> None:
    head = await _head(scene)
    scene.strikes()
    async with scene.cluster.connected_bus() as bus:
        for number in range(_FLOOD):
            report = json.dumps(_report(number, head)).encode()
            await bus.publish(f"sie.config.report.gateway.stranger-{number}", report)
    for begin in range(0, _FLOOD // 4, _AT_ONCE):
        reports = [_report(number, head) for number in range(begin, begin + _AT_ONCE)]
        await asyncio.gather(*(scene.config("POST", "replicas", json=report) for report in reports))


async def _says_nothing(scene: Scene) -> None:
    head = await _head(scene)
    forged = await asyncio.to_thread(_forged, scene)
    envelope = json.loads(to_envelope(forged))
    ahead = {"epoch": forged.epoch, "hash": forged.hash, "digest": forged.state_digest}
    scene.strikes()
    await scene.config("POST", "replicas", json=_report(1, head, speaks=["nothing"]))
    await scene.config("POST", "replicas", json=_report(2, head, **ahead, entry=envelope))


def _connections(
    send: Callable[[asyncio.StreamWriter], Awaitable[None]], count: int
) -> Callable[[Scene], Awaitable[None]]:
    """So many connections to gateway-0 and to sie-config, each of which sends on."""

    async def strike(scene: Scene) -> None:
        scene.strikes()
        urls = [scene.cluster.url(name) for name in ("gateway-0", "config")]
        ports = [int(url.rpartition(":")[2]) for url in urls]
        scene.runs([asyncio.create_task(_talk(port, send)) for port in ports for _ in range(count)])

    return strike


async def _talk(port: int, send: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> None:
    with contextlib.suppress(OSError):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await send(writer)
        finally:
            writer.transport.abort()


async def _slowly(writer: asyncio.StreamWriter) -> None:
    writer.write(b"POST /v1/encode/load/a HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n")
    while not writer.transport.is_closing():
        writer.write(b"{")
        await writer.drain()
        await asyncio.sleep(1)


async def _headers(writer: asyncio.StreamWriter) -> None:
    writer.write(b"GET /healthz HTTP/1.1\r\nhost: x\r\n")
    many = b"x-a: b\r\n" * 8_192
    for _ in range(_HEADER_BYTES // len(many)):
        writer.write(many)
        await writer.drain()
        if writer.transport.is_closing():
            return


async def _close(scene: Scene) -> None:
    await scene.let_go()


async def _dry_runs(scene: Scene) -> None:
    """Questions about a folder that takes longer to hash than sie-config may take to end."""
    folder = scene.cluster.weights / "large"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "model.safetensors").open("wb") as file:
        file.truncate(_SPARSE_BYTES)
    document = {
        "model_id": "large",
        "source": {"type": "path", "path": str(folder)},
        "tasks": {"encode": {}},
        "profiles": {"default": {"backend": BACKEND}},
    }
    scene.strikes()
    asked = (
        scene.config("POST", "models?dry_run=true", json=document, timeout=60)
        for _ in range(_DRY_RUNS)
    )
    scene.runs([asyncio.create_task(each) for each in asked])


async def _ends_when_asked(scene: Scene) -> None:
    """SIGTERM is obeyed while they run, and the export is given."""
    if (export := await scene.config("GET", "export")) is None or export.status_code != 200:
        raise RuntimeError("no export during the dry runs")
    config = scene.cluster.programs["config"]
    began = time.monotonic()
    os.kill(config.pid, signal.SIGTERM)
    if not await scene.until(lambda: not config.running, _OBEYS_S):
        await config.kill()
        raise RuntimeError(f"SIGTERM was not obeyed in {time.monotonic() - began:.0f} s")
    await scene.let_go()


async def _many_models(scene: Scene) -> None:
    """Many models, and readers of the whole list one after the other."""
    names = [f"many/{number}" for number in range(_MANY_MODELS)]
    document = {"tasks": {"encode": {}}, "profiles": {"default": {"backend": BACKEND}}}
    source = {"type": "package", "package": "echo", "distribution": "echo", "version": "0"}
    operations = [
        {"op": "put", "kind": "model", "document": {"model_id": name, "source": source} | document}
        for name in names
    ]
    await scene.written("POST", "batch", json={"operations": operations}, timeout=60)
    scene.kept["names"] = names
    scene.strikes()
    url = scene.cluster.url("gateway-0") + "/v1/models"

    async def read() -> None:
        while True:
            await scene.http.get(url, timeout=60)

    scene.runs([asyncio.create_task(read()) for _ in range(_READERS)])


async def _few_models(scene: Scene) -> None:
    operations = [{"op": "delete", "kind": "model", "key": name} for name in scene.kept["names"]]
    await scene.let_go()
    headers = {"X-SIE-Force": "the readers have gone"}
    await scene.written(
        "POST", "batch", json={"operations": operations}, headers=headers, timeout=60
    )


FAULTS: Final = (
    Fault(
        name="forged entry",
        done="a stranger on the bus publishes an entry that follows the head in every hash; "
        "sie-config is killed and started once more",
        strike=_forge,
        mend=_is_not_ours,
        serves_s=LONGER_S,
    ),
    Fault(
        name="forged reports",
        done="reports over HTTP in the name of replicas: one speaks no kind of change, one brings "
        "an invented entry ahead of the head",
        strike=_says_nothing,
    ),
    Fault(
        name="replica flood",
        done=f"{_FLOOD} reports of replicas that nobody knows, on the bus, and a quarter over HTTP",
        strike=_flood,
    ),
    Fault(
        name="slow connections",
        done=f"{_SLOW} connections each to gateway-0 and sie-config that send a byte a second, 6 s",
        strike=_connections(_slowly, _SLOW),
        mend=_close,
        lasts_s=6,
    ),
    Fault(
        name="header floods",
        done=f"four requests each to gateway-0 and sie-config with {_HEADER_BYTES // 1_000_000} MB "
        "of small headers",
        strike=_connections(_headers, 4),
        mend=_close,
        lasts_s=6,
    ),
    Fault(
        name="dry runs over a large folder",
        done=f"{_DRY_RUNS} dry runs of a model whose folder holds 60 GB; after 4 s an export, and "
        f"SIGTERM to sie-config, which has {_OBEYS_S:g} s to end",
        strike=_dry_runs,
        mend=_ends_when_asked,
    ),
    Fault(
        name="lists of many models",
        done=f"{_MANY_MODELS} models, and {_READERS} clients that read gateway-0's list again and "
        "again, for 6 s",
        strike=_many_models,
        mend=_few_models,
        lasts_s=6,
    ),
)
