"""One run of a world that serves: load and faults from a seed, healing, and the judgement.

*shell.* `run_serving` is the whole of it. Promises the same result, trace and all, for the same
plan; a failure is a value with the story in it. About a third of the runs are calm. Nothing happens
in them that a client could notice, so that no error and no second run of a text has an excuse.
"""

import asyncio
import random
from collections.abc import Coroutine
from typing import Any, Final

from sie_testing.serving.faults import FAULTS, GENTLE, LOADS, MOVES, heal, inject_some
from sie_testing.serving.lessees import Lessee
from sie_testing.serving.load import FLOOD, QUIET, Clients
from sie_testing.serving.models import Place
from sie_testing.serving.waits import check_flood, check_waits
from sie_testing.serving.world import ServingWorld
from sie_testing.simulation import Plan
from sie_testing.stage.broken import Broken
from sie_testing.stage.run import Result, run_world

__all__ = ["KINDS", "run_serving"]

KINDS: Final = tuple(sorted({*FAULTS, *LOADS}))
_CALM_SHARE: Final = 0.35
"""In calm runs no error has an excuse, in the rest recovery is tried: neither may be rare."""
_START_S: Final = 4.0
"""In it every process is up, has connected and has been heard of."""
_CLIENTS: Final = 4
"""Two for each gateway at least: batches are shared, and a trace can still be read."""
_LESSEES: Final = 2
"""They may want more workers than `LEASABLE`: some leases are refused."""
_MOVING: Final = MOVES | {"leasing"}
_PLACES: Final = {
    "pool-moved": Place(pool="spare"),
    "bundle-moved": Place(bundle="wide"),
    "leasing": Place(pool="spare"),
}
"""The place of one more worker where a run has such faults: each costs time."""
_CROWDED: Final = 6.0
"""Times as long as usual a device takes where many wait for it, or nobody would have to."""
_END_S: Final = 45.0
"""The slowest client of 799 seeds was done 29 s after healing."""
_CALM_WAIT_S: Final = 8.0
"""A job that was lost comes again after `queue_ack_wait_s` (8 s), and calm runs lose none: their
longest wait of 799 seeds was 1.3 s."""
_CROWD_S: Final = 14.0
"""Longer than `_CROWDED_WAIT_S`: who starves waits for as long as the crowd is there."""
_CROWDED_WAIT_S: Final = 12.0
"""Behind a crowd, or in a flood, a slow device has older work: 11.2 s of it in 799 seeds."""
_HEALED_WAIT_S: Final = 25.0
"""Work of a worker that died comes back after `queue_ack_wait_s` (8 s). Behind it are a load, a
batch that hangs (6 s), and what waited meanwhile."""
_RECONNECT_S: Final = 8.0
"""A process that lost the broker tries again after a back-off; the last requests meet them all."""
_SETTLE_S: Final = 45.0
"""Past a gateway's limit (30 s), and past a job that is never confirmed: five deliveries of 8 s."""


def run_serving(plan: Plan) -> Result:
    """Run one plan to its end. `plan.replicas` is the most workers that there are."""
    drawn = _Drawn(plan)
    return run_world(drawn.world, plan.seed, _run(drawn))


class _Drawn:
    """All that a seed draws before anything runs."""

    def __init__(self, plan: Plan) -> None:
        rng = random.Random(f"{plan.seed}/serving/plan")
        stormy = sorted(set(plan.faults) & set(FAULTS))
        gentle = sorted(set(stormy) & GENTLE)
        self.calm = rng.random() < _CALM_SHARE or stormy == gentle
        known = gentle if self.calm else stormy
        self.kinds = [kind for kind in known if rng.random() < 0.5] or known
        loads = sorted(set(plan.faults) & LOADS)
        if self.calm:
            loads = [kind for kind in loads if kind != "lethal"]
        self.loads = frozenset(kind for kind in loads if rng.random() < 0.5)
        self.steps = plan.steps
        self.crowd = self.calm and rng.random() < 0.4
        self.flood = self.calm and not self.crowd and rng.random() < 0.7
        if not _MOVING.isdisjoint({*self.kinds, *self.loads}) and plan.seed % 3 == 1:
            # A crowd measures waits of models that are where they were: it has most seeds.
            self.crowd = self.flood = False
        workers = rng.randint(1, plan.replicas) if self.calm else max(2, plan.replicas)
        if self.crowd:
            # A crowd is one where it has to wait.
            workers = 1
        if self.crowd or self.flood:
            self.kinds = [each for each in self.kinds if each not in {*_MOVING, "device-slow"}]
            self.loads -= _MOVING
        drawn = {*self.kinds, *self.loads}
        places = [place for kind, place in _PLACES.items() if kind in drawn]
        self.world = ServingWorld(
            plan.seed,
            calm=self.calm,
            workers=workers,
            large_results=rng.random() < 0.4,
            places=list(dict.fromkeys(places)),
        )


async def _run(drawn: _Drawn) -> None:
    world = drawn.world
    world.leases.in_use = "leasing" in drawn.loads
    for process in world.processes:
        process.start()
    await asyncio.sleep(_START_S)
    clients = Clients(world, world.load_rng, drawn.loads)
    async with asyncio.TaskGroup() as tasks:
        asking = [tasks.create_task(each) for each in _load(drawn, clients)]
        if drawn.kinds:
            await inject_some(world, drawn.kinds, drawn.steps)
        heal(world)
        healed_at = world.loop.time()
        await _ended(world, asking)
    await asyncio.sleep(_RECONNECT_S)
    await clients.last_requests()
    await _settled(world)
    calm_s = _CROWDED_WAIT_S if drawn.crowd or drawn.flood else _CALM_WAIT_S
    longest_s = calm_s if drawn.calm else _HEALED_WAIT_S
    crowd_s = _CROWD_S if drawn.crowd or drawn.flood else 0.0
    check_waits(world.laws, longest_s, 0.0 if drawn.calm else healed_at, crowd_s=crowd_s)
    check_flood(world.laws, FLOOD, QUIET)


def _load(drawn: _Drawn, clients: Clients) -> list[Coroutine[Any, Any, None]]:
    """The lives of every client of a run."""
    world = drawn.world
    lives = [clients.send_some(drawn.steps, 0.8) for _ in range(_CLIENTS)]
    if "leasing" in drawn.loads:
        for number in range(_LESSEES):
            lessee = Lessee(world, world.load_rng, clients, f"lease-{number}")
            lives.append(lessee.lease_some(drawn.steps // 2))
    if drawn.crowd or drawn.flood:
        for execution in world.executions:
            execution.slow_down(_CROWDED)
    if drawn.crowd:
        until = world.loop.time() + _CROWD_S
        lives += [clients.crowd(until) for _ in range(8)]
        lives.append(clients.beside_the_crowd(until))
    if drawn.flood:
        lives.append(clients.flood(40))
    return lives


async def _ended(world: ServingWorld, asking: "list[asyncio.Task[None]]") -> None:
    """Wait until every client is done: no request hangs."""
    _, hanging = await asyncio.wait(asking, timeout=_END_S)
    if hanging:
        told = ", ".join(map(str, world.laws.open_requests()))
        raise Broken(f"{_END_S:g} s after healing there is no end of {told}")


async def _settled(world: ServingWorld) -> None:
    """Wait until nothing is left of any request."""
    until = world.loop.time() + _SETTLE_S
    while left := world.left_over():
        if world.loop.time() > until:
            raise Broken(f"{_SETTLE_S:g} s after the last request there are still {left}")
        await asyncio.sleep(0.5)
    world.laws.checks["nothing is left in queue or tables"] += 1
