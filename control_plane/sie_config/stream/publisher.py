"""The publisher: puts entries on the stream, where sequence and epoch are one number.

*shell.* Follows the head on its own and starts from what the stream has. So a restart, a reconnect
and an ordinary write take the same path. Promises that the stream holds a contiguous range of this
log or is made anew, and that every message is signed. Another history under a key of this log stops
the writer instead of being overwritten. `published` is never taken from memory of an earlier
process: it is the stream's last sequence after its hash was verified. The log does not wait for it.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypedDict

from prometheus_client import Counter, Gauge

from sie_config.log.journal import Journal
from sie_config.log.witnesses import choices
from sie_config.stream.stream_witness import (
    Stream,
    entry_in,
    older_logs,
    signed_at,
    what_was_there,
)
from sie_config.stream.write_traces import WriteTraces
from sie_config.writer.sequencer import Sequencer
from sie_config.writer.writer_state import Recovery
from sie_runtime.process.tracing import task_span
from sie_runtime.process.waiting import first_of
from sie_runtime.streams.log_stream import StreamTip, WrongLastSequence
from sie_schemas.entry import (
    GENESIS_HASH,
    STUB_BYTES_MIN,
    Entry,
    Stub,
    log_id8,
    to_envelope,
    to_stub,
)
from sie_schemas.errors import SIEError, Untrusted

__all__ = ["Publisher"]

_LOG: Final = logging.getLogger(__name__)
_PAGE: Final = 200
"""Entries read at a time: what a publisher that is far behind has in memory."""
_PUBLISHED = Gauge("sie_config_published_epoch", "the newest epoch verified on the stream")
_LAG = Gauge(
    "sie_config_publish_lag_epochs", "committed epochs that are not verified on the stream yet"
)
_RECREATED = Counter("sie_config_stream_recreated_total", "times the stream held another log")
_FAILURES = Counter("sie_config_publish_failures_total", "passes that the bus did not let end")


class _Origin(TypedDict):
    first_epoch: int
    metadata: dict[str, str]


class Publisher:
    """The one who appends to the stream. Owns `published`.

    Invariant: every epoch up to `published` that the stream holds is this log's.
    """

    def __init__(
        self,
        stream: Stream,
        sequencer: Sequencer,
        journal: Journal,
        *,
        low_water: Callable[[], int],
        retry_s: float,
        verify_s: float,
        traces: WriteTraces | None = None,
    ) -> None:
        self._stream = stream
        self._sequencer = sequencer
        self._journal = journal
        self._low_water = low_water
        self._retry_s = retry_s
        self._verify_s = verify_s
        self._traces = traces or WriteTraces()
        self._verified = False
        self._waiting = False
        self._advanced = asyncio.Event()
        self.published = 0
        self.first = 1
        """The oldest epoch on the stream, as far as it was looked at."""
        _LAG.set_function(lambda: max(0, sequencer.position.epoch - self.published))

    @property
    def low_water(self) -> int:
        """The first epoch that is served as a delta."""
        return self._low_water()

    async def run(self, stop: asyncio.Event) -> None:
        """Publish until `stop`, and verify the stream again every `verify_s`."""
        loop = asyncio.get_running_loop()
        due = loop.time() + self._verify_s
        while not stop.is_set() and not isinstance(self._sequencer.state, Recovery):
            if loop.time() >= due:
                due = loop.time() + self._verify_s
                self.distrust()
            caught_up = await self.catch_up()
            if not caught_up:
                # Not woken by writes: each would try a broker that is away.
                await first_of(stop.wait(), timeout_s=self._retry_s)
            elif self.published >= self._sequencer.position.epoch:
                wait_s = due - loop.time()
                await first_of(self._sequencer.moved(), stop.wait(), timeout_s=wait_s)

    async def catch_up(self) -> bool:
        """Publish up to the head; False when something was in the way.

        Never raises `SIEError`: a bus that is away is tried again, and another writer on the stream
        puts this one into recovery.
        """
        try:
            await self._advance()
        except Untrusted as error:
            _LOG.error("the writer stops writing", extra={"reason": error.message})
            self._sequencer.enter(Recovery(error.message))
            return False
        except SIEError as error:
            _FAILURES.inc()
            self._verified = False
            if not self._waiting:
                # One line for each time that the broker is away, not one for each attempt.
                self._waiting = True
                _LOG.warning("entries wait for the stream", extra={"reason": error.message})
            return False
        if self._waiting:
            self._waiting = False
            _LOG.info("the stream is reached again", extra={"published": self.published})
        return True

    def distrust(self) -> None:
        """Verify the stream before the next append: after a reconnect, and every few seconds."""
        self._verified = False

    async def wait_published(self, epoch: int, *, timeout_s: float) -> bool:
        """Wait until an epoch is on the stream."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.published < epoch:
                    await self._advanced.wait()
        except TimeoutError:
            return False
        return True

    def moved(self) -> Coroutine[Any, Any, object]:
        """Ends when something is published, or found on the stream, after this call."""
        return self._advanced.wait()

    async def wait_trimmed(self, *, timeout_s: float) -> bool:
        """Verify the stream anew, and wait until it begins at the low water."""
        self.distrust()
        self._sequencer.wake_followers()
        try:
            async with asyncio.timeout(timeout_s):
                while self.first < min(self._low_water(), self.published):
                    await self._advanced.wait()
        except TimeoutError:
            return False
        return True

    async def _advance(self) -> None:
        if not self._verified:
            await self._verify()
        while self.published < (head := self._sequencer.position.epoch):
            for entry in await self._journal.page(self.published, head, _PAGE):
                await self._publish(entry)
                if self.published != entry.epoch:
                    # The stream went back or was made anew: read the page again from there.
                    break

    async def _verify(self) -> None:
        tip = await self._stream.tip()
        if tip is None:
            tip = await self._stream.ensure(**await self._origin())
        why = await self._strange(tip)
        if why:
            tip = await self._recreate(why)
        self._set_published(tip.last)
        # After the mark, never before it: who asks below it is sent to the snapshot.
        low_water = self._low_water()
        self.first = max(self.first, tip.first)
        if tip.bounded or tip.first < low_water:
            self.first = (await self._stream.trim(low_water)).first
            self._announce_progress()
        self._verified = True

    async def _publish(self, entry: Entry) -> None:
        # A group has one signature, at its end: with one for each message, a follower need not wait
        # for the end, and a crash in the middle leaves nothing on the stream that does not count.
        entry = self._sequencer.log_keys.signed(entry)
        data = to_stub(entry) if len(entry.body) >= STUB_BYTES_MIN else to_envelope(entry)
        try:
            with task_span("publish", entry.request_id, self._traces.of(entry.request_id)):
                # Each append names the sequence before it: the broker keeps a second writer out.
                await self._stream.append(entry.epoch, data)
        except WrongLastSequence:
            # It lost its tail, or has this entry already, or another: where it ends tells which.
            await self._verify()
        else:
            self._traces.forget(entry.request_id)
            self._set_published(entry.epoch)

    async def _strange(self, tip: StreamTip) -> str:
        """The reason why the stream must be made anew; empty where it holds a range of this log.

        Raises `Untrusted` where it holds another history of this log: that is never overwritten.
        """
        head = self._sequencer.position
        gone = what_was_there(tip, head)
        if gone is not None:
            raise Untrusted(
                f"{gone}, but this log ends at {head}, and the stream has none of them left. "
                f"{choices(head.epoch + 1, head)}",
                code="LOG_RECOVERY",
            )
        epoch = await self._first_other(tip, head.epoch)
        if epoch <= tip.last:
            keys = self._sequencer.log_keys
            found = await signed_at(self._stream, epoch, head.log_id, keys)
            if found is not None and await self._may_be_lost(found, tip.first):
                raise Untrusted(self._two_histories(found, tip.last), code="LOG_RECOVERY")
            return f"epoch {epoch} on it is not of this log"
        return "" if tip.sound else "its settings let entries be taken away or added"

    async def _first_other(self, tip: StreamTip, head: int) -> int:
        """The first sequence of the stream whose message is not ours; past its end if all are."""
        low, high = tip.first, min(tip.last, head)
        if low <= high and await self._is_ours(high):
            return high + 1
        # The entry at `high` is not ours; hashes are chained, so the first such one is bisected.
        while low < high:
            middle = (low + high) // 2
            if await self._is_ours(middle):
                low = middle + 1
            else:
                high = middle
        return low

    async def _may_be_lost(self, found: Entry | Stub, first: int) -> bool:
        """True if another writer of this log wrote it, or we did and lost it: it can follow ours.

        Where nothing before it is left on the stream it cannot be held against ours, and is
        believed. What is thrown away in doubt is gone.
        """
        before = await self._journal.entry(found.epoch - 1)
        if found.epoch > 1 and (found.epoch == first or before is None):
            return True
        prev_hash, term = (before.hash, before.term) if before is not None else (GENESIS_HASH, 0)
        # No lower a term than what it follows, and not "as new as ours": what a writer lost is
        # always older than its own term, and that rule once deleted acknowledged writes.
        return found.prev_hash == prev_hash and found.term >= term

    def _two_histories(self, found: Entry | Stub, last: int) -> str:
        ours = self._sequencer.position
        id8, first = log_id8(ours.log_id), found.epoch
        return (
            f"the stream holds {id8}.{first} to {id8}.{last} (term {found.term}), which are not in "
            f"this log, whose head is {ours} (term {ours.term}): another writer put them there, or "
            "this log lost them before it was written on. Nothing is overwritten. "
            f"{choices(first, ours)}"
        )

    async def _recreate(self, reason: str) -> StreamTip:
        _RECREATED.inc()
        _LOG.error("the stream is made anew from the log", extra={"reason": reason})
        tip = await self._stream.recreate(**await self._origin())
        self.first = tip.first
        return tip

    async def _origin(self) -> _Origin:
        low_water = self._low_water()
        base = await self._journal.entry(low_water - 1) if low_water > 1 else None
        position = self._sequencer.position
        return _Origin(
            first_epoch=low_water,
            metadata={
                "log_id": position.log_id,
                "base_epoch": str(low_water - 1),
                "base_hash": base.hash if base is not None else GENESIS_HASH,
                "supersedes": older_logs(self._sequencer.lineage),
            },
        )

    async def _is_ours(self, epoch: int) -> bool:
        found = entry_in(await self._stream.read(epoch))
        ours = await self._journal.entry(epoch)
        return found is not None and ours is not None and found.hash == ours.hash

    def _set_published(self, epoch: int) -> None:
        self.published = epoch
        _PUBLISHED.set(epoch)
        self._announce_progress()

    def _announce_progress(self) -> None:
        advanced, self._advanced = self._advanced, asyncio.Event()
        advanced.set()
