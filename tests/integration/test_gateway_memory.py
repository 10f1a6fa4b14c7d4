"""Nothing of a request stays behind: the gateway on a real broker, over good and bad requests.

Gateway, worker and client share this process, and what is counted is every block of its allocator:
whatever is kept of a request is one at least. `benchmarks/edge_memory.py` looks at whole processes.
"""

import asyncio
import gc
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.support.edge import bus_of, edge_on
from tests.support.gateway_world import standard_resolver
from tests.support.nats import nats_server
from tests.support.queue_worker import QueueWorker, beat_until_heard, working

from sie_core.resolver import Resolver
from sie_gateway.http.rules import role_of
from sie_runtime.access.access import Access, AccessSettings
from sie_runtime.access.gate import Gate

pytestmark = pytest.mark.integration

PATH = "/v1/encode/org/dense"
ROUND = 2400
CLIENTS = 16
KINDS = 8
NAMES_KEPT = 4096


def request(number: int) -> tuple[str, bytes, dict[str, str], int]:
    """Path, body, headers and the status of a request; half of the kinds are refused."""
    good = json.dumps({"items": [{"text": f"{number}"}]}).encode()
    lora = {"items": [{"text": "a"}], "params": {"options": {"lora": f"x{number}"}}}
    kinds: tuple[tuple[str, bytes, dict[str, str], int], ...] = (
        (PATH, good, {}, 200),
        (PATH, good, {"x-sie-tenant": f"tenant-{number}"}, 200),
        (PATH, good, {"x-sie-machine-profile": "cpu", "accept": "application/msgpack"}, 200),
        ("/v1/embeddings", b'{"model":"org/dense","input":"a"}', {}, 200),
        (f"/v1/encode/no/model-{number}", good, {}, 404),
        (PATH, good[: len(good) // 2], {}, 400),
        (PATH, json.dumps(lora).encode(), {}, 404),
        (PATH, good, {"x-sie-pool": f"lease-{number}"}, 404),
    )
    return kinds[number % KINDS]


async def ask(app: Any, number: int) -> int:
    """The status that a request gets; no client library comes between, which would remember."""
    path, body, headers, _ = request(number)
    status = 0
    parts = iter([{"type": "http.request", "body": body}])

    async def receive() -> dict[str, Any]:
        for part in parts:
            return part
        # The client is there until it has its answer: who looks for its end waits.
        return await asyncio.Future()

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": path, "headers": raw}
    await app(scope, receive, send)
    return status


async def ask_all(app: Any, worker: QueueWorker, first: int) -> Counter[tuple[int, int]]:
    """Ask a round of requests; the kinds and statuses of those that were answered otherwise."""
    wrong: Counter[tuple[int, int]] = Counter()
    numbers = iter(range(first, first + ROUND))

    async def client() -> None:
        for number in numbers:
            status = await ask(app, number)
            if status != request(number)[-1]:
                wrong[number % KINDS, status] += 1

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    # What the worker of a test remembers.
    worker.seen.clear()
    worker.places.clear()
    worker.confirmed.clear()
    return wrong


def fill(resolver: Resolver) -> None:
    """A bounded cache of names that fills would look like growth."""
    for number in range(NAMES_KEPT):
        resolver.registry.get("adapter", f"org/dense/{number}")


def blocks_held() -> int:
    """The number of blocks that the allocator has given out."""
    gc.collect()
    return sys.getallocatedblocks()


async def test_memory_is_flat_over_thousands_of_good_and_bad_requests(tmp_path: Path) -> None:
    resolver = standard_resolver()
    async with (
        nats_server(tmp_path) as url,
        bus_of(url, "gateway") as gateway_bus,
        bus_of(url, "worker") as worker_bus,
        edge_on(gateway_bus, resolver, tenant_items_max=100) as edge,
        working(worker_bus) as worker,
    ):
        await beat_until_heard(worker_bus, edge)
        app = Gate(edge.app, Access(AccessSettings()), role_of)
        fill(resolver)
        assert not await ask_all(app, worker, 0)
        before = blocks_held()
        for turn in (1, 2):
            assert not await ask_all(app, worker, turn * ROUND)
        grown = blocks_held() - before
    # One block kept of each request of one kind would be `2 * ROUND / KINDS`.
    assert grown < 2 * ROUND / KINDS * 0.7
