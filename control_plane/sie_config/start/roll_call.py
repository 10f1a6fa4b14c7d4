"""The roll call: at start, everybody who may have seen the log is asked before it is written.

*shell.* Hears replicas and the broker for a bounded time, and has the file judged by what they say.
Then it opens the tenure or puts the writer into recovery. Promises that a file which is behind
takes no write before what it lost was taken back. Hears nothing once the writer serves: claims that
come later are the control plane's.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, assert_never

from sie_config.log.head_file import HeadFile
from sie_config.log.journal import Journal
from sie_config.log.storage_faults import StorageFull
from sie_config.log.witnesses import (
    Behind,
    Claim,
    Confirmed,
    Forked,
    Verdict,
    choices,
    is_of_another_log,
    judge,
)
from sie_config.replicas.reports import Reports
from sie_config.start.questions import answer_of
from sie_config.start.recovery import reclaim
from sie_config.stream.stream_witness import Stream, newest_claim, superseded_at
from sie_config.writer.seed import FirstEntry
from sie_config.writer.sequencer import Sequencer
from sie_config.writer.writer_state import UNFENCED, ReadOnly, Recovery, Serving
from sie_core.chain import Position
from sie_runtime.broker.bus import Bus
from sie_runtime.streams.log_stream import log_streams
from sie_schemas.entry import log_id8
from sie_schemas.errors import SIEError, Untrusted

__all__ = ["RollCall"]

_LOG: Final = logging.getLogger(__name__)


class RollCall:
    """One start of one writer. Its owner subscribes `reports` to the bus before `listen`."""

    def __init__(
        self,
        sequencer: Sequencer,
        journal: Journal,
        reports: Reports,
        head_file: HeadFile,
        *,
        bus: Bus | None,
        stream_of: Callable[[str], Stream] | None,
        first: Callable[[], Sequence[FirstEntry]],
        listen_s: float,
        broker_wait_s: float,
    ) -> None:
        self._sequencer = sequencer
        self._journal = journal
        self._reports = reports
        self._head_file = head_file
        self._bus = bus
        self._stream_of = stream_of
        self._first = first
        self._listen_s = listen_s
        self._broker_wait_s = broker_wait_s

    async def listen(self) -> None:
        """Ask, and wait for reports: as long again as the broker may take to connect."""
        bus = self._bus
        if bus is None:
            return
        if not await bus.wait_connected(self._listen_s):
            return
        try:
            await bus.publish("sie.config.rollcall", b"{}")
        except SIEError as error:
            _LOG.warning("the roll call found no broker", extra={"reason": error.message})
        # A fixed time, because nobody knows how many replicas there are to wait for. It begins
        # here: a broker that connects at the last moment leaves nobody time to answer.
        await asyncio.sleep(self._listen_s)

    async def begin_log(self, *, new_log: bool) -> None:
        """Begin a log in an empty file.

        Raises `Untrusted` when somebody knows an older one, or a broker that is there does not say.
        """
        if not new_log:
            await self._check_that_none_is_known()
        # Before the log is there: one beside the head file of another is not written.
        self._head_file.remove()
        await self._begin(term=1, first=self._first(), reason="a new log", witnessed=False)

    async def _check_that_none_is_known(self) -> None:
        own = self._head_file.read()
        known = [str(claim) for claim in self._reports.claims()]
        known += [str(own)] if own is not None else []
        known += await self._streams_of_broker()
        if known:
            raise Untrusted(
                f"the log file is empty, but {'; '.join(known[:3])}. Restore the log file; or "
                "start with --new-log to begin a new log, and lose that configuration",
                code="LOG_RECOVERY",
            )

    async def _streams_of_broker(self) -> list[str]:
        """The broker's streams of logs, in words; nothing where no broker is there at all.

        Raises `Untrusted` after a bounded time if one is there and does not say: its silence is no
        evidence that there is none.
        """
        bus = self._bus
        if bus is None:
            return []
        try:
            # Where every address refuses, the log begins: a cluster has to work without a broker.
            # One that hangs, or has no JetStream just now, has said nothing, and a log that is
            # begun beside the one that it holds divides the cluster.
            streams = await answer_of(
                partial(log_streams, bus, timeout_s=self._broker_wait_s),
                wait_s=self._broker_wait_s,
                go_on=lambda: not bus.absent,
            )
        except SIEError as error:
            if bus.absent:
                return []
            raise Untrusted(
                "the log file is empty, and the broker is there but does not say whether "
                f"it holds an older log: {error.message}. Mend the broker (JetStream has "
                "to answer) or restore the log file, then start again; or start with "
                "--new-log to begin a new log, and lose what there may be",
                code="LOG_RECOVERY",
            ) from error
        return [f"the broker has stream CFG_{log_id}" for log_id in sorted(streams)]

    async def resume(self) -> None:
        """Go on with the log of the file, or enter the state that says why not."""
        # First of all: claims about another log say nothing of this one, so an old backup that was
        # put back by mistake would be served, and its writes lost without a word.
        until = asyncio.get_running_loop().time() + self._broker_wait_s
        newer = await self._superseding(until) or self._of_another_log()
        if newer:
            self._recover(newer)
            return
        verdict = await self._judged(until)
        if isinstance(verdict, Behind):
            # Before this tenure begins: its own entry would stand where the lost one was, and then
            # there are two histories.
            await self._reclaim(verdict.claim.epoch)
            verdict = await self._judged(until)
        try:
            await self._act_on(verdict)
        except StorageFull as error:
            # Reads are served meanwhile; the control plane tries again.
            self._sequencer.enter(ReadOnly(error.message, code=error.code))

    async def _act_on(self, verdict: Verdict) -> None:
        head = self._sequencer.position
        match verdict:
            case Confirmed(witnessed):
                try:
                    self._sequencer.log_keys.check(head.epoch)
                except Untrusted as error:
                    self._recover(error.message)
                    return
                term = self._sequencer.term + 1
                await self._begin(
                    term=term, first=(), reason="a writer started", witnessed=witnessed
                )
            case Behind(claim):
                self._recover(
                    f"{claim}, but the file ends at {head}: it was restored or has lost its tail, "
                    "and nobody gave the missing entries back. Bring up who has them; or give them "
                    f"up: `sie log backup`, and `sie log restore` that with --discard-after "
                    f"{head.epoch}, which begins a new log",
                    lacking=claim.epoch,
                )
            case Forked(claim):
                self._recover(
                    f"{claim} with another hash than this file has at that epoch. "
                    f"{choices(claim.epoch, head)}"
                )
            case _:
                assert_never(verdict)

    async def _begin(
        self, *, term: int, first: Sequence[FirstEntry], reason: str, witnessed: bool
    ) -> None:
        await self._sequencer.begin(term=term, first=first, reason=reason, witnessed=witnessed)
        # Until the broker has stored this term, another writer is not kept out: read-only till
        # then. Where the broker is away nothing could keep it out, and a cluster has to work
        # without one.
        fenced = self._bus is not None and self._bus.connected
        self._sequencer.enter(UNFENCED if fenced else Serving(witnessed))

    def _recover(self, reason: str, lacking: int | None = None) -> None:
        state = Recovery(reason, lacking)
        if state != self._sequencer.state:
            _LOG.error("the writer is in recovery", extra={"reason": reason})
        self._sequencer.enter(state)

    async def _judged(self, until: float) -> Verdict:
        head, keys = self._sequencer.position, self._sequencer.log_keys
        claims = [claim for claim in self._reports.claims() if keys.vouches_for(claim.proof)]
        claim = await self._claim_of_stream(head, until)
        if claim is not None:
            claims.append(claim)
        own = self._head_file.read()
        everybody = claims if own is None else [*claims, own]
        hashes: dict[int, str] = {}
        for epoch in {claim.epoch for claim in everybody if claim.epoch <= head.epoch}:
            entry = await self._journal.entry(epoch)
            if entry is not None:
                hashes[epoch] = entry.hash
        return judge(head, hashes.get, claims, own)

    async def _superseding(self, until: float) -> str:
        """The log of the broker that supersedes this one, in words; empty where none does."""
        bus = self._bus
        if bus is None or not bus.connected:
            return ""
        wait_s = self._left_s(until)
        head = self._sequencer.position
        try:
            streams = await answer_of(
                partial(log_streams, bus, timeout_s=wait_s),
                wait_s=wait_s,
                go_on=lambda: bus.connected,
            )
        except SIEError as error:
            _LOG.warning("the broker does not say its logs", extra={"reason": error.message})
            return ""
        for log_id, tip in sorted(streams.items()):
            epoch = superseded_at(tip, head.log_id)
            if epoch:
                return (
                    f"the broker has log {log_id8(log_id)}, which supersedes this one from "
                    f"{log_id8(head.log_id)}.{epoch} on: this file is of before that. Restore a "
                    "backup of that log; or give it up: `sie log backup`, and `sie log restore` "
                    f"that with --discard-after {head.epoch}, which begins a new log"
                )
        return ""

    def _of_another_log(self) -> str:
        """That the head file is another log's, in words; empty where it is this one's."""
        own, head = self._head_file.read(), self._sequencer.position
        if own is None or not is_of_another_log(own, self._sequencer.lineage):
            return ""
        return (
            f"{own}, but the log beside it is {head}, which does not continue that one: one of the "
            f"two files lies here by mistake. Restore a backup of log {log_id8(own.log_id)}; or "
            "keep this log: remove that head file, and start again"
        )

    async def _reclaim(self, until: int) -> None:
        stream = self._stream_of(self._sequencer.position.log_id) if self._stream_of else None
        await reclaim(
            self._sequencer,
            until=until,
            stream=stream,
            bus=self._bus,
            replicas=partial(self._reports.holders, self._sequencer.position.log_id),
            timeout_s=self._listen_s,
        )

    async def _claim_of_stream(self, head: Position, until: float) -> Claim | None:
        """The claim that the stream of this log makes."""
        if self._stream_of is None:
            return None
        stream, bus = self._stream_of(head.log_id), self._bus

        async def claim() -> Claim | None:
            tip = await stream.tip()
            if tip is None:
                return None
            return await newest_claim(stream, tip, head, self._sequencer.log_keys)

        try:
            return await answer_of(
                claim,
                wait_s=self._left_s(until),
                go_on=lambda: bus is not None and bus.connected,
            )
        except SIEError as error:
            _LOG.warning("the stream bears no witness", extra={"reason": error.message})
        return None

    def _left_s(self, until: float) -> float:
        """The seconds that a question has: after a slow one too it has some."""
        return max(until - asyncio.get_running_loop().time(), self._listen_s)
