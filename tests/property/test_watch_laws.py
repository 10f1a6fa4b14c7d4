"""Laws of the watch over convergence: the times it tells, and what it measures and waits for."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from tests.support.reports import bounded_reports, report_at

from sie_config.log.journal import Journal
from sie_config.replicas.convergence import Selector
from sie_config.replicas.convergence_watch import ConvergenceWatch
from sie_core.chain import position_of
from sie_core.registry import Registry
from sie_core.resolver import Resolver
from sie_runtime.process.waiting import Waits
from sie_testing.written_log import WrittenLog

KEPT = 3
"""Commits that are remembered."""
TTL_S = 10.0
LOG = WrittenLog()
for number in range(8):
    LOG.put("pool", f"p{number}", {"number": number})
HEAD = LOG.entries[-1].epoch
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["commit", "commit", "a", "b"]),
        st.integers(1, HEAD),
        st.sampled_from([0.25, 1.0, 4.0]),
    ),
    max_size=10,
)


class Watched:
    """A watch whose clock is given, over a log of which so much was committed."""

    def __init__(self) -> None:
        self.now = 100.0
        self.reports = bounded_reports(ttl_s=TTL_S, forget_s=1000.0, replicas_max=10)
        self.watch = ConvergenceWatch(
            self.reports,
            cast("Journal", SimpleNamespace(entry=self._entry)),
            clock=lambda: self.now,
            ttl_s=TTL_S,
            commits_max=KEPT,
            resolver=lambda _: Resolver.of(Registry.EMPTY, None),
            earlier=cast(Any, None),
        )

    async def _entry(self, epoch: int) -> Any:
        # The journal may have to read: more words come meanwhile.
        await asyncio.sleep(0)
        return LOG.entries[epoch - 1] if 1 <= epoch <= HEAD else None

    def report(self, name: str, epoch: int) -> None:
        data = report_at(position_of(LOG.entries[epoch - 1]), id=name)
        self.watch.heard(self.reports.receive(data, self.now))


def measured() -> tuple[float, float]:
    """The count of what was measured of gateways, and the seconds in all."""
    name, role = "sie_config_propagation_seconds", {"role": "gateway"}
    found = [REGISTRY.get_sample_value(f"{name}_{what}", role) or 0.0 for what in ("count", "sum")]
    return found[0], found[1]


@given(STEPS)
async def test_each_epoch_is_measured_once_of_each_replica_that_was_heard_before(steps):
    watched = Watched()
    began, (count, total) = watched.now, measured()
    committed: dict[int, float] = {}
    last: dict[str, int] = {}
    for what, epoch, pause in steps:
        if what == "commit":
            if len(committed) < HEAD:
                committed[len(committed) + 1] = watched.now
                watched.watch.committed(len(committed))
        elif epoch <= len(committed):
            watched.report(what, epoch)
            kept = [*committed][-KEPT:]
            newly = [each for each in kept if last.get(what, epoch) < each <= epoch]
            count += len(newly)
            total += sum(watched.now - committed[each] for each in newly)
            last[what] = epoch
        watched.now += pause
    told = measured()
    assert (told[0], round(told[1], 6)) == (count, round(total, 6))
    kept = [*committed][-KEPT:]
    for epoch in range(1, HEAD + 1):
        since = committed[epoch] if epoch in kept else began
        assert watched.watch.committed_at(epoch) == since
        if epoch in kept:
            # A replica lacks the entry after the one that it has.
            assert await watched.watch.lag_s(epoch - 1) == round(watched.now - since, 3)
    assert await watched.watch.lag_s(HEAD) is None, "it lacks nothing"


@given(
    st.lists(st.tuples(st.integers(1, HEAD), st.integers(0, 2)), min_size=1, max_size=4),
    st.sampled_from([1, 2]),
    st.integers(1, 4),
)
@example([(5, 0), (5, 1)], 2, 1)
@example([(5, 1), (5, 2)], 2, 1)
@example([(5, 2), (5, 2)], 2, 1)
async def test_a_wait_ends_with_the_word_that_reaches_it_and_with_none_before(said, quorum, goal):
    watched = Watched()
    for epoch in range(1, HEAD + 1):
        watched.watch.committed(epoch)
    waiting = asyncio.create_task(
        watched.watch.wait(
            LOG.entries[goal - 1],
            Selector(),
            "converged",
            quorum=quorum,
            replicas_min=1,
            timeout_s=600.0,
            waits=Waits(1),
            whose="",
        )
    )
    there: set[int] = set()
    for place, (epoch, turns) in enumerate(said):
        for _ in range(turns):
            await asyncio.sleep(0)
        assert not waiting.done() or len(there) >= quorum
        watched.report(f"g{place}", epoch)
        there |= {place} if epoch >= goal else set()
    # Of the loop, and no time: whoever missed a word would look again by the clock alone.
    for _ in range(50):
        await asyncio.sleep(0)
    assert waiting.done() == (len(there) >= quorum)
    if waiting.done():
        assert (await waiting).reached
    waiting.cancel()
