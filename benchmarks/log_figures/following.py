"""Following: from a commit to the moment when the last of many replicas serves it.

*shell.* A real broker, a real sie-config, and the followers in one process. The time of an entry is
the one that its writer put into it, before the commit: what is measured includes commit, publish,
delivery, verification and the swap of the resolver; but for a signature's check (0.1 ms), which the
64 of one process share.
"""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from subprocess import DEVNULL, Popen

import uvloop

from log_figures.figures import Figure, percentile
from log_figures.processes import Client, Server, free_port, ours
from sie_runtime.broker.bus import Bus, BusSettings
from sie_runtime.follower.follower import Follower
from sie_runtime.follower.settings import FollowerSettings
from sie_runtime.process.lifecycle import spare_collections

__all__ = ["following"]

_REPLICAS = 64
"""The fleet that the design promises: 64 replicas behind one writer."""
_RATE = 20
"""An entry every 50 ms, twice the p99 that is wanted: entries seldom share a delivery."""


class _Forgetful:
    """A follower whose feed loses the delta that it is told to lose."""

    def __init__(self, follower: Follower) -> None:
        self.follower = follower
        self.lose = 0
        # The seam is private: what is lost here is lost by a broker, which takes no orders.
        feeds = vars(follower)["_feeds"]
        self._take: Callable[[int, bytes], bool] = feeds._delta
        vars(feeds)["_delta"] = self._delta

    def _delta(self, sequence: int, data: bytes) -> bool:
        return True if sequence == self.lose else self._take(sequence, data)


def following(folder: Path, *, seconds: float) -> list[Figure]:
    """The figures of 64 replicas."""
    with _broker(folder / "nats") as url, ours(folder / "config", nats_url=url) as server:
        applied, lost = uvloop.run(_measure(url, server, seconds))
    return [
        Figure(
            f"commit to applied on {_REPLICAS} replicas, {_RATE}/s: p50",
            percentile(applied, 0.5) * 1000,
            "ms",
        ),
        Figure(
            f"commit to applied on {_REPLICAS} replicas, {_RATE}/s: p99",
            percentile(applied, 0.99) * 1000,
            "ms",
            25,
            "below",
        ),
        Figure("after a lost delta, the last of the log: p50", percentile(lost, 0.5), "s"),
        Figure("after a lost delta, the last of the log: worst", max(lost), "s", 1, "below"),
    ]


async def _measure(url: str, server: Server, seconds: float) -> tuple[list[float], list[float]]:
    seen: dict[int, float] = {}
    behind: dict[int, int] = {}
    followers: list[Follower] = []
    stop = asyncio.Event()

    def arrived(epoch: int) -> None:
        behind[epoch] = behind.get(epoch, _REPLICAS) - 1
        if behind[epoch] == 0:
            seen[epoch] = time.time()

    async with asyncio.TaskGroup() as tasks:
        for number in range(_REPLICAS):
            follower = await _follower(url, server, number)
            follower.on_change(
                lambda resolver: arrived(resolver.position.epoch if resolver.position else 0)
            )
            followers.append(follower)
        forgetful = _Forgetful(followers[0])
        for follower in followers:
            tasks.create_task(follower.run(stop))
        client = await asyncio.to_thread(Client, server.port)
        await _all_at(followers, await _write(client, server, "warm"))
        # As gateways and workers do when they are up; one walk of 64 replicas takes a tenth of a
        # second, and each entry would risk it.
        spare_collections()
        applied = await _steady(client, server, followers, seen, seconds)
        lost = [await _lost(client, server, forgetful, number) for number in range(5)]
        stop.set()
    return applied, lost


async def _follower(url: str, server: Server, number: int) -> Follower:
    bus = await Bus.connect(BusSettings(nats_url=url), role="gateway", process_id=f"g{number}")
    settings = FollowerSettings(config_url=f"http://127.0.0.1:{server.port}")
    return Follower(settings, role="gateway", process_id=f"g{number}", bus=bus)


async def _write(client: Client, server: Server, name: str) -> int:
    body = server.body(f"follow/{name}")
    _, answer = await asyncio.to_thread(client.request, "POST", "/v1/configs/models", body)
    return int(json.loads(answer)["epoch"])


async def _steady(
    client: Client,
    server: Server,
    followers: list[Follower],
    seen: dict[int, float],
    seconds: float,
) -> list[float]:
    made: dict[int, float] = {}
    for number in range(int(seconds * _RATE)):
        body = server.body(f"follow/m-{number}")
        _, answer = await asyncio.to_thread(client.request, "POST", "/v1/configs/models", body)
        told = json.loads(answer)
        made[told["epoch"]] = datetime.fromisoformat(told["ts"]).timestamp()
        await asyncio.sleep(1 / _RATE)
    await _all_at(followers, max(made))
    # An entry that some replica took together with the next one was seen no later than that one.
    took, after = [], max(seen.values())
    for epoch in sorted(made, reverse=True):
        after = min(after, seen.get(epoch, after))
        took.append(after - made[epoch])
    return took


async def _lost(client: Client, server: Server, forgetful: _Forgetful, number: int) -> float:
    follower = forgetful.follower
    assert follower.position is not None
    forgetful.lose = follower.position.epoch + 1
    began = time.perf_counter()
    epoch = await _write(client, server, f"lost-{number}")
    await follower.wait_for_epoch(follower.position.log_id, epoch, timeout_s=30)
    return time.perf_counter() - began


async def _all_at(followers: list[Follower], epoch: int) -> None:
    async with asyncio.timeout(60):
        for follower in followers:
            # Their first position may take a moment; after it there is something to wait for.
            while (here := follower.position) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await follower.wait_for_epoch(here.log_id, epoch, timeout_s=60)


@contextlib.contextmanager
def _broker(folder: Path) -> Iterator[str]:
    folder.mkdir(parents=True)
    port = free_port()
    binary = Path(sys.executable).parent / "nats-server"
    command = [str(binary), "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(folder)]
    with Popen(command, stdout=DEVNULL, stderr=DEVNULL) as process:
        try:
            yield f"nats://127.0.0.1:{port}"
        finally:
            process.terminate()
