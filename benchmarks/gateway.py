"""A request's cost in the gateway's own code: uvicorn's protocol, gate, application, no socket.

*main.* `python benchmarks/gateway.py [--calls]`. 64 requests at a time are read, sent to a queue in
memory and answered from it, all in one thread; told is its processor time for a request, the least
and the middle of many windows, so that neighbours matter little. The caches are warm, unlike those
of a gateway that shares its cores: a figure to compare versions by, not what a request costs.
`--calls` tells what is called for a request, how often, and where the time goes under a profiler.
"""

import argparse
import asyncio
import cProfile
import logging
import pstats
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
import uvloop
from uvicorn.server import ServerState

from sie_core.chain import Position
from sie_core.registry import Entity, Registry
from sie_core.resolver import Resolver
from sie_gateway.application import build_app
from sie_gateway.fleet.kind_loads import KindLoads
from sie_gateway.http.rules import refusal_body, role_of
from sie_gateway.parts import opened_parts
from sie_gateway.settings import GatewaySettings
from sie_runtime.access.access import Access
from sie_runtime.access.gate import Gate
from sie_runtime.http.bounded_http import BoundedHttp
from sie_runtime.http.connections import HttpBounds
from sie_runtime.process import lifecycle
from sie_runtime.streams.lease_store import LeaseTable
from sie_schemas import canonical
from sie_schemas.documents import admit_document
from sie_schemas.fleet import Heartbeat
from sie_schemas.jobs import JOB_DECODER, JOB_ENCODER, JobResult, ResultBatch

_CLIENTS: Final = 64
"""The load at which `edge.py` judges the path, so that both tell of the same batches of results."""
_ROUNDS: Final = 10
"""640 requests a window: some tens of milliseconds, which a clock tells well."""
_WINDOWS: Final = 60
"""The least of sixty is one that no neighbour disturbed."""
_LOG_ID: Final = "ab" * 16
_SOURCE: Final = {"type": "package", "package": "e", "distribution": "e", "version": "1"}
_DOCUMENTS: Final[list[tuple[str, str, dict[str, Any]]]] = [
    (
        "model",
        "load/echo",
        {
            "model_id": "load/echo",
            "source": _SOURCE,
            "tasks": {"encode": {}},
            "profiles": {"default": {"backend": "echo"}},
        },
    ),
    ("bundle", "default", {"name": "default", "backends": ["echo"]}),
    ("pool", "default", {"name": "default", "machine_profiles": ["cpu"]}),
]


_STORED: Final = b'{"stream": "WORK_POOL_default", "seq": 1}'


class _Memory:
    """Bus, work queue and store of leases: what is sent waits for `answer`."""

    connected = True

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self._listening: dict[str, Callable[[Any], Awaitable[None] | None]] = {}

    async def subscribe(self, subject: str, callback: Callable[[Any], Any], /) -> "_Memory":
        self._listening[subject] = callback
        return self

    async def unsubscribe(self) -> None:
        return

    async def publish(self, subject: str, data: bytes, /) -> None:
        return

    async def open(self) -> None:
        return

    def send_job(self, *, subject: str, data: bytes, job_id: str, heard: Any, stored: Any) -> None:
        self.sent.append(data)
        stored(job_id, _STORED)
        heard(None)

    async def read(self) -> LeaseTable:
        return LeaseTable({}, 0)

    def hear(self, subject: str, data: bytes) -> None:
        """A message comes."""
        self._listening[subject](_Message(data))


class _Message:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def answer(self, data: bytes) -> None:
        return


class _Transport:
    """A socket that keeps what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.write = self.written.append

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 80) if name in {"sockname", "peername"} else default

    def resume_reading(self) -> None:
        return


def _resolver() -> Resolver:
    entities = [
        Entity(kind, key, 1, canonical.dumps(admit_document(kind, document)))
        for kind, key, document in _DOCUMENTS
    ]
    registry = Registry.of(entities)
    return Resolver.of(registry, Position(_LOG_ID, 1, "0" * 64, registry.digest, 1))


def _request() -> bytes:
    text = "000001 which of these small models should answer this one?"
    body = msgspec.msgpack.encode({"items": [{"text": text}]})
    head = (
        "POST /v1/encode/load/echo HTTP/1.1\r\nhost: localhost\r\n"
        "content-type: application/msgpack\r\naccept: application/msgpack\r\n"
        f"x-sie-sdk-version: sie-cluster/0.2.0\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _results(sent: list[bytes]) -> bytes:
    """One message for all jobs, as a worker sends it for a batch."""
    answer = msgspec.msgpack.encode({"dense": {"values": b"\0" * 256}})
    results = [
        JobResult(
            job_id=job.job_id,
            request_id=job.request_id,
            first_item=0,
            answers=(answer,),
            model_revision=job.model_revision,
            worker_id="w1",
        )
        for job in map(JOB_DECODER.decode, sent)
    ]
    return JOB_ENCODER.encode(ResultBatch(worker_id="w1", results=tuple(results)))


class _Clients:
    """Connections that ask all at once."""

    def __init__(self, app: Any, bus: _Memory) -> None:
        bounds = HttpBounds()
        config = lifecycle.HttpConfig(app, bounds=bounds, drain_s=10.0, websockets=False, tls=None)
        config.load()
        state, loop = ServerState(), asyncio.get_running_loop()
        self._bus = bus
        self._connections = [
            (BoundedHttp(config, state, {}, loop), _Transport()) for _ in range(_CLIENTS)
        ]
        for protocol, transport in self._connections:
            protocol.connection_made(transport)  # type: ignore[arg-type]
        self._request = _request()

    async def ask(self) -> float:
        """Seconds of processor time that a round took, without what a worker does."""
        clock = time.thread_time
        began = clock()
        for protocol, _ in self._connections:
            protocol.data_received(self._request)
        await _settled()
        used = clock() - began
        inbox = JOB_DECODER.decode(self._bus.sent[0]).reply_to
        results = _results(self._bus.sent)
        self._bus.sent.clear()
        began = clock()
        self._bus.hear(inbox, results)
        await _settled()
        used += clock() - began
        for _, transport in self._connections:
            written = b"".join(transport.written)
            if not written.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"not an answer: {written!r}")
            transport.written.clear()
        return used


async def _settled() -> None:
    # After three turns of the loop no job has been sent yet; answers take as many at most.
    for _ in range(4):
        await asyncio.sleep(0)


async def _measure(clients: _Clients) -> None:
    windows = []
    for _ in range(_WINDOWS):
        used = sum([await clients.ask() for _ in range(_ROUNDS)])
        windows.append(used / _ROUNDS / _CLIENTS * 1e6)
    sys.stdout.write(
        f"processor µs for a request: least {min(windows):.1f}, "
        f"middle {statistics.median(windows):.1f}\n"
    )


async def _count(clients: _Clients) -> None:
    profile = cProfile.Profile()
    with profile:
        for _ in range(_ROUNDS):
            await clients.ask()
    requests = _ROUNDS * _CLIENTS
    # What is called less than once a request is of a batch, or of the loop.
    stats: dict[tuple[str, int, str], Any] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    rows = [
        (calls / requests, own / requests * 1e6, f"{'/'.join(file.split('/')[-2:])}:{line} {name}")
        for (file, line, name), (_, calls, own, _, _) in stats.items()
        if calls >= requests
    ]
    sys.stdout.write("calls, own µs under the profiler, function\n")
    for row in sorted(rows, key=lambda row: -row[1]):
        sys.stdout.write("{:6.1f} {:7.2f}  {}\n".format(*row))


async def _run(*, calls: bool) -> None:
    settings = GatewaySettings(gateway_id="g1", fleet_ttl_s=3600.0)
    bus: Any = _Memory()
    resolver = _resolver()
    async with opened_parts(
        settings,
        bus,
        bus,
        asker=bus,
        gateway_id="g1",
        leases=bus,
        resolver=lambda: resolver,
    ) as parts:
        beat = Heartbeat(
            worker_id="w1",
            pool="default",
            machine_profile="cpu",
            bundle="default",
            ready=True,
            log_id=_LOG_ID,
            epoch=1,
        )
        bus.hear("sie.health.*", JOB_ENCODER.encode(beat))
        app = build_app(
            settings,
            parts,
            lambda: resolver,
            asyncio.Event(),
            replica_not_ready=str,
            reaches=(),
            asked_for=lambda _model_id, _adapter: None,
            loads=KindLoads(),
        )
        clients = _Clients(Gate(app, Access.open(settings), role_of, shape=refusal_body), bus)
        lifecycle.spare_collections()
        await clients.ask()
        await (_count(clients) if calls else _measure(clients))


def main() -> None:
    """Measure, and tell."""
    parser = argparse.ArgumentParser(description="What the gateway's own code costs a request.")
    parser.add_argument("--calls", action="store_true", help="what is called, and how often")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(calls=options.calls))


if __name__ == "__main__":
    main()
