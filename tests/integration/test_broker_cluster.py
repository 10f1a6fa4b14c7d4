"""Three real brokers and streams with three copies: what a lost node does to requests in flight."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from tests.support.edge import Edge, bus_of, edge_on
from tests.support.nats import NatsCluster, nats_cluster
from tests.support.polling import until, until_told
from tests.support.worker_world import model_document, resolver_of, worker_world

from sie_schemas.errors import CODES

pytestmark = pytest.mark.integration

MODEL = "org/one"
RESOLVER = resolver_of(1, model_document(MODEL, cost_max=200_000))
PATH = f"/v1/encode/{MODEL}"
STREAM = "WORK_POOL_default"
CLIENTS = 16


@dataclass
class Load:
    """Clients that ask without a pause, and what each of their requests ended in."""

    edge: Edge
    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    longest_s: float = 0.0
    over: bool = False
    _number: int = 0

    async def run(self) -> None:
        """One client, until the load is over."""
        clock = asyncio.get_running_loop().time
        while not self.over:
            self._number += 1
            # The device answers a text with its length: only this request has this answer.
            length = self._number % 4000 + 1
            began = clock()
            answer = await self.edge.ask("POST", PATH, json={"items": [{"text": "x" * length}]})
            self.longest_s = max(self.longest_s, clock() - began)
            self._judge(answer, length)
            if answer.status_code != 200:
                # Sooner than it is told to: the load must not end with the first error.
                await asyncio.sleep(0.05)

    def _judge(self, answer: httpx.Response, length: int) -> None:
        if answer.status_code == 200:
            self.outcomes["answered"] += 1
            values = answer.json()["items"][0]["dense"]["values"]
            if set(values) != {float(length)}:
                self.wrong.append(f"{length}: {values}")
            return
        code = answer.json()["detail"]["code"]
        self.outcomes[code] += 1
        if CODES[code].retry_after_s is None or "retry-after" not in answer.headers:
            self.wrong.append(f"{answer.status_code} {code} cannot be acted on")

    @property
    def failed(self) -> int:
        """Requests that ended in an error."""
        return self.outcomes.total() - self.outcomes["answered"]

    async def answers(self, more: int) -> None:
        """Wait for so many more answers."""
        wanted = self.outcomes["answered"] + more
        await until(lambda: self.outcomes["answered"] >= wanted)


@asynccontextmanager
async def under_load(cluster: NatsCluster, folder: Path) -> AsyncIterator[Load]:
    """A gateway and a real sidecar on the cluster, and clients that never pause."""
    async with (
        worker_world(
            folder, brokers=cluster.url, nats_replicas=3, nats_reconnect_wait_s=0.02
        ) as world,
        bus_of(cluster.url, "gateway", nats_replicas=3) as bus,
        edge_on(bus, RESOLVER, request_timeout_s=4.0, queue_publish_timeout_s=1.0) as edge,
    ):
        world.advance(RESOLVER)
        await until(lambda: any(beat.ready for beat in edge.parts.watch.live()))
        load = Load(edge)
        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(load.run())
            await load.answers(50)
            yield load
            load.over = True


async def test_a_lost_leader_a_lost_quorum_and_their_return_never_hang_or_answer_wrongly(
    tmp_path: Path,
) -> None:
    async with nats_cluster(tmp_path) as cluster, under_load(cluster, tmp_path) as load:
        # The leader of the stream goes: the others choose another one.
        first = await cluster.leader_of(STREAM)
        await first.kill()
        await load.answers(100)
        second = await cluster.leader_of(STREAM)
        assert second is not first
        # Of the two that are left the leader goes too: nothing can be stored, and that is said.
        failed = load.failed
        await second.kill()
        await until(lambda: load.failed > failed + 10)
        await first.start()
        await second.start()
        await until_told(cluster.has_quorum)
        await load.answers(100)
    assert load.wrong == []
    # Its own deadline is 4 s, and a publish may take one more: the rest is for a machine that
    # stands still meanwhile.
    assert load.longest_s < 20.0
