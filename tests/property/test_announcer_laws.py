"""Laws of the announcer: bookmarks are of what the stream has, soon and twice and then rarely."""

import asyncio
import random
from itertools import pairwise
from math import inf
from types import SimpleNamespace
from typing import Any, cast

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from sie_config.keys.log_keys import LogKeys
from sie_config.stream.announcer import announce
from sie_config.stream.publisher import Publisher
from sie_core.chain import is_of_lineage
from sie_runtime.broker.bus import BusUnavailable
from sie_schemas.fleet import Head
from sie_testing.signing import WRITER_KEY
from sie_testing.stage.loop import SimulatedLoop
from sie_testing.written_log import WrittenLog

LOG = WrittenLog()
for term in range(3):
    LOG.begin_term()
    for number in range(3):
        LOG.put("model", f"m{number}", {"text": str(term)})
# The end of a group alone is signed in the log; a bookmark is signed wherever it stands.
ENTRIES = [
    entry if is_of_lineage(entry) else replace(entry, signature=None) for entry in LOG.entries
]
EVERY_S = 1.0
_NEAR_S = 1e-6
# However many are added up, no sum is a multiple of `EVERY_S`: nothing happens at one moment.
_STEP = st.tuples(
    st.sampled_from([0.037, 0.537, 1.037, 2.537, 4.537]),
    st.sampled_from(["commit", "commit", "publish", "publish", "publish", "trim", "bus"]),
)


class Heard:
    """A writer in memory, and what its bus is given to carry."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self.sequencer: Any = SimpleNamespace(
            log_keys=LogKeys(WRITER_KEY, filter(is_of_lineage, LOG.entries))
        )
        self.commit(4)
        self.mark = 1
        self.publisher = Publisher(
            cast(Any, None),
            cast(Any, self.sequencer),
            cast(Any, self),
            low_water=lambda: self.mark,
            retry_s=1,
            verify_s=1,
        )
        self.is_there = True
        self.published_at: list[tuple[float, int]] = []
        self.heads: list[tuple[float, str, Head, Head]] = []
        """Each with its time and subject, and with what was so then."""
        self._time = loop.time

    def commit(self, epoch: int) -> None:
        self.sequencer.position = LOG.position_at(epoch)
        self.sequencer.last = ENTRIES[epoch - 1]

    def publish_next(self) -> None:
        epoch = self.publisher.published + 1
        if epoch <= self.sequencer.position.epoch:
            self.publisher._set_published(epoch)
            self.published_at.append((self._time(), epoch))

    async def entry(self, epoch: int) -> Any:
        await asyncio.sleep(0)
        return ENTRIES[epoch - 1]

    async def publish(self, subject: str, data: bytes) -> None:
        last = LOG.entries[self.publisher.published - 1]
        is_so = Head(
            log_id=last.log_id,
            epoch=last.epoch,
            hash=last.hash,
            digest=last.state_digest,
            term=last.term,
            low_water=self.mark,
            signature=last.signature,
        )
        self.heads.append((self._time(), subject, msgspec.json.decode(data, type=Head), is_so))
        if not self.is_there:
            raise BusUnavailable("away")

    def live(self, what: str) -> None:
        if what == "commit":
            self.commit(min(self.sequencer.position.epoch + 1, LOG.epoch))
        elif what == "publish":
            self.publish_next()
        elif what == "trim":
            self.mark = min(self.mark + 2, self.sequencer.position.epoch + 1)
        else:
            self.is_there = not self.is_there

    def next_due(self, at: float, epoch: int, *, is_new: bool) -> float:
        """The time of the next bookmark, after one of this epoch."""
        # Once more after a pause, since one may be lost; then at half the pace, until news.
        quiet_s = EVERY_S if is_new else 2 * EVERY_S
        news = min((when for when, new in self.published_at if new > epoch), default=inf)
        return max(at + EVERY_S, min(at + quiet_s, news))


@given(st.lists(_STEP, max_size=12), st.integers(0, 3))
@settings(max_examples=60)
def test_a_bookmark_is_of_the_newest_entry_on_the_stream_soon_and_twice_and_then_rarely(
    steps, published
):
    loop = SimulatedLoop(random.Random(1))  # type: ignore[abstract]

    async def story() -> tuple[Heard, float]:
        one, stop = Heard(loop), asyncio.Event()
        for _ in range(published):
            one.publish_next()
        told = announce(
            cast(Any, one),
            one.publisher,
            one.sequencer,
            cast(Any, one),
            every_s=EVERY_S,
            stop=stop,
        )
        announcing = asyncio.create_task(told)
        for pause_s, what in steps:
            await asyncio.sleep(pause_s)
            one.live(what)
        ends = loop.time()
        stop.set()
        await announcing
        assert loop.time() - ends < _NEAR_S, "a writer that ends does not wait"
        await asyncio.sleep(_NEAR_S)
        return one, ends

    one, ends = loop.run_until_complete(story())
    for _, subject, told, is_so in one.heads:
        assert (subject, told) == (f"sie.config.head.{LOG.log_id}", is_so)
    said = [(at, told.epoch) for at, _, told, _ in one.heads]
    for when, _ in one.published_at[:1]:
        assert min([ends, *(at for at, _ in said)]) < when + EVERY_S + _NEAR_S
    before = 0
    for (at, epoch), (then, _) in pairwise([*said, (inf, 0)]):
        due = one.next_due(at, epoch, is_new=epoch != before)
        assert abs(then - due) < _NEAR_S if then < inf else ends < due + _NEAR_S
        before = epoch
