"""A worker dies with sixteen requests in its hands: each is answered by another within seconds.

Once each waited out its acknowledgement, half a minute, although the gateway knew from the
heartbeats that this life of the worker was over.
"""

import asyncio
import os
import signal
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import httpx
from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy, StreamConfig
from tests.integration.test_broker_roles import guarded, user
from tests.support.log_world import admin, connected
from tests.support.mortal_workers import Cluster, Pair, mortal_workers, texts_in_flight
from tests.support.polling import until, until_told
from tests.support.worker_world import model_document, resolver_of, worker_world

from sie_gateway.fleet.holders import Holders, Unheard
from sie_gateway.fleet.lives import Life
from sie_schemas.fleet import WorkerKind
from sie_schemas.jobs import stream_name, stream_subjects, subject
from sie_worker.intake.holding import Holding

COUNT = 16
SOON_S = 20.0
"""No request of a dead worker waits longer. By itself the queue would wait for 30 s; an idle
machine needs 3 s, and the rest is for one that stands still meanwhile."""


async def _answered(
    cluster: Cluster, asking: dict[str, "asyncio.Task[httpx.Response]"], began: float
) -> float:
    """Seconds until the last one has its right answer."""
    ended = dict(zip(asking, await asyncio.gather(*asking.values()), strict=True))
    took_s = time.monotonic() - began
    wrong = [text for text, response in ended.items() if not cluster.right(response, text)]
    assert wrong == [], [ended[text].text for text in wrong]
    return took_s


def _others(cluster: Cluster, dead: Pair) -> list[Pair]:
    return [pair for pair in cluster.pairs if pair is not dead]


async def _nothing_left(cluster: Cluster) -> None:
    async def nothing() -> bool:
        return await cluster.left() == (0, 0)

    await until_told(nothing)


async def test_what_a_killed_machine_held_is_answered_by_another_within_seconds(
    tmp_path: Path,
) -> None:
    """With the usual settings: the promise is theirs."""
    async with mortal_workers(tmp_path, 2) as cluster:
        flight = await texts_in_flight(cluster, COUNT)
        began = time.monotonic()
        await flight.holder.kill()
        for pair in _others(cluster, flight.holder):
            pair.execution.resume()
        took_s = await _answered(cluster, flight.asking, began)
        assert took_s < SOON_S
        given_back = await cluster.counted("sie_gateway_jobs_given_back_total", why="over")
        assert given_back == flight.held
        assert await cluster.counted("sie_gateway_results_dropped_total") == 0
        await _nothing_left(cluster)


QUICK_GATEWAY = {"worker-doubt-s": "0.4", "worker-dead-s": "1", "taker-look-s": "0.05"}
QUICK_WORKER = {
    "heartbeat-interval-s": "0.2",
    "peer-silence-s": "0.8",
    "placement-look-s": "0.1",
    "executor-handover-s": "0.2",
    "queue-pull-brisk-s": "0.5",
}


async def test_paused_without_execution_told_to_end_and_begun_anew_each_answers_once(
    tmp_path: Path,
) -> None:
    """One after the other, on one cluster; shorter silences, so that it is soon over."""
    async with mortal_workers(tmp_path, 2, gateway=QUICK_GATEWAY, worker=QUICK_WORKER) as cluster:
        # Stopped, it comes back: what it then makes of its jobs is confirmed, and dropped.
        flight = await texts_in_flight(cluster, COUNT)
        paused = flight.holder
        paused.sidecar.pause()
        await _resumed(cluster, _others(cluster, paused), flight.asking)
        paused.sidecar.resume()
        paused.execution.resume()
        await until_told(partial(_dropped, cluster, flight.held))
        await _nothing_left(cluster)
        late = await cluster.counted("sie_gateway_results_dropped_total")

        # Its execution is killed: the sidecar gives back what the other one can run.
        await cluster.ready(2)
        lame = await texts_in_flight(cluster, COUNT)
        await lame.holder.execution.kill()
        await _resumed(cluster, _others(cluster, lame.holder), lame.asking)
        await lame.holder.execution.start()

        # Told to end, it finishes what it holds.
        await cluster.ready(2)
        leaving = await texts_in_flight(cluster, COUNT)
        os.kill(leaving.holder.sidecar.pid, signal.SIGTERM)
        await _resumed(cluster, cluster.pairs, leaving.asking)
        await until_told(partial(_ended, leaving.holder))
        await leaving.holder.start()

        # All of them are killed, and one comes back: another life under the name of a dead one.
        await cluster.ready(2)
        all_dead = await texts_in_flight(cluster, COUNT)
        for pair in cluster.pairs:
            await pair.kill()
        await all_dead.holder.start()
        assert await _answered(cluster, all_dead.asking, time.monotonic()) < SOON_S

        await _nothing_left(cluster)
        assert await cluster.counted("sie_gateway_results_dropped_total") == late == flight.held


async def _resumed(
    cluster: Cluster, pairs: list[Pair], asking: dict[str, "asyncio.Task[httpx.Response]"]
) -> None:
    began = time.monotonic()
    for pair in pairs:
        pair.execution.resume()
    assert await _answered(cluster, asking, began) < SOON_S


async def _dropped(cluster: Cluster, count: int) -> bool:
    return await cluster.counted("sie_gateway_results_dropped_total") >= count


async def _ended(pair: Pair) -> bool:
    return not pair.sidecar.running


async def test_the_users_of_the_broker_may_do_what_a_death_needs(tmp_path: Path) -> None:
    """One worker took a job and is gone; another one of the pool gives it back when it is asked."""
    life, consumer = Life("two", "", WorkerKind("default", "cpu", "default")), "cpu_default_one"
    stream, to = stream_name("default"), subject("default", "cpu", "default", "one")
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(guarded(tmp_path / "nats"))
        jetstream = await stack.enter_async_context(admin(url, **user("config")))
        await jetstream.add_stream(
            StreamConfig(
                stream, subjects=[stream_subjects("default")], retention=RetentionPolicy.WORK_QUEUE
            )
        )
        await jetstream.add_consumer(
            stream,
            ConsumerConfig(consumer, filter_subject=to, ack_policy=AckPolicy.EXPLICIT, ack_wait=60),
        )
        gateway, one, two = [
            await stack.enter_async_context(connected(url, role, **user(role)))
            for role in ("gateway", "worker", "worker")
        ]
        for bus in (gateway, one, two):
            assert await bus.wait_connected(5)
        asked = Holding(two, pool="default", held=lambda ids: [], timeout_s=5.0)
        await asked.open()
        holders = Holders(gateway, answer_s=5.0, queue_s=5.0)
        living = replace(life, name=asked.life)

        stored = await gateway.client.jetstream().publish(to, b"job")
        pulls = await one.client.jetstream().pull_subscribe_bind(consumer, stream)
        [first] = await pulls.fetch(1, timeout=5)
        await one.close()
        assert await holders.ask(replace(life, name="nobody")) is Unheard.GONE
        out = await holders.handed_out(living, consumer)
        assert await holders.held([living], ["job"]) == frozenset()
        assert out is not None
        assert (out.last, out.unacknowledged) == (stored.seq, 1)
        await holders.give_back(living, consumer, [stored.seq], out)
        pulls = await two.client.jetstream().pull_subscribe_bind(consumer, stream)
        [again] = await pulls.fetch(1, timeout=5)
        assert (first.data, again.data) == (b"job", b"job")
        assert again.metadata.num_delivered == 2
        assert await holders.handed_out(living, "no_such_consumer") is None


async def test_a_worker_without_its_execution_takes_no_job_that_it_would_only_give_back(
    tmp_path: Path,
) -> None:
    """Each time would use up a delivery, until a job is given up that nothing is wrong with."""
    resolver = resolver_of(1, model_document("org/one"))
    async with worker_world(tmp_path, queue_deliveries_max=2) as world:
        world.advance(resolver)
        first = await world.publish(resolver, "org/one", "a")
        assert (await world.result_of(first)).failure is None
        await world.execution.die()
        await until(lambda: world.worker.state()["pulls_for"] == [])
        job = await world.publish(resolver, "org/one", "bbb")
        assert await world.jobs_on_queue() == 1
        await world.execution.start()
        assert (await world.result_of(job)).failure is None
