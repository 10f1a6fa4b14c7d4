"""The hearing: what replicas report, and what the writer does about what it proves.

*shell.* A report is kept, counts for convergence, and may bear witness. A replica that is ahead of
the log, or holds another entry of it, stops the writer. Promises that nothing is stopped by what no
key of the log signed, whoever says it. Nothing is judged before the tenure has begun: that is the
roll call's matter.
"""

import logging
from collections.abc import Callable
from typing import Final

from prometheus_client import Counter, Gauge

from sie_config.log.journal import Journal
from sie_config.log.witnesses import Claim, choices
from sie_config.replicas.convergence_watch import ConvergenceWatch
from sie_config.replicas.report_door import check_speaker
from sie_config.replicas.reports import Reports
from sie_config.writer.sequencer import Sequencer
from sie_config.writer.writer_state import Recovery
from sie_runtime.access.access import Principal
from sie_runtime.broker.bus import Bus, Message
from sie_runtime.dated_counts import DatedCount
from sie_schemas.errors import FixRequest

__all__ = ["Hearing"]

_LOG: Final = logging.getLogger(__name__)
_FORGERIES = Counter(
    "sie_config_claims_forged_total", "claims to have seen what no key of the log signed"
)
_LAST_FORGERY = Gauge(
    "sie_config_claims_forged_last_timestamp_seconds", "when such a claim last came, in Unix time"
)
_FORGED = DatedCount(_FORGERIES, _LAST_FORGERY)
_FORKS = Counter("sie_config_forks_total", "reports of another entry than the log has")


class Hearing:
    """Takes every report. Owner: the control plane."""

    def __init__(
        self,
        reports: Reports,
        convergence: ConvergenceWatch,
        sequencer: Sequencer,
        journal: Journal,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._reports = reports
        self._convergence = convergence
        self._sequencer = sequencer
        self._journal = journal
        self._clock = clock

    async def listen(self, bus: Bus) -> None:
        """Hear what replicas say on the bus, from now on."""
        await bus.subscribe("sie.config.report.>", self._heard)

    async def _heard(self, message: Message) -> None:
        await self.hear(message.data, subject=message.subject)

    async def hear(self, data: bytes, *, subject: str = "") -> None:
        """Take a replica's report, act on what it bears witness to; a malformed one is counted."""
        await self._act_on(self._reports.receive(data, self._clock(), subject=subject))

    async def hear_over_http(self, data: bytes, speaker: Principal) -> None:
        """Take the report of whom a token names, or of anybody where none are in force.

        Raises `FixRequest`.
        """
        report = self._reports.read(data)
        try:
            check_speaker(report, speaker)
        except FixRequest:
            self._reports.refuse("another's name")
            raise
        claim = self._reports.take(report, self._clock(), size=len(data), is_known=speaker.is_known)
        await self._act_on(claim)

    async def _act_on(self, claim: Claim | None) -> None:
        self._convergence.heard(claim)
        if claim is not None:
            await self._weigh(claim)

    async def _weigh(self, claim: Claim) -> None:
        last = self._sequencer.last
        # Before the tenure has begun, claims are weighed by the roll call.
        if not self._sequencer.has_begun or last is None or claim.log_id != last.log_id:
            return
        ours = await self._journal.entry(claim.epoch) if claim.epoch <= last.epoch else None
        if ours is not None and ours.hash == claim.hash:
            return
        if not self._sequencer.log_keys.vouches_for(claim.proof):
            _FORGED.inc()
            _LOG.warning("a claim that no key of the log signed", extra={"claim": str(claim)})
            return
        if ours is not None:
            _FORKS.inc()
            _LOG.error("a replica has another entry than the log", extra={"claim": str(claim)})
        # A zombie's claim and that of an acknowledged entry which this file lost cannot be told
        # apart: an operator chooses. To go on meant once that nobody ever said what was lost.
        if not isinstance(self._sequencer.state, Recovery):
            head = self._sequencer.position
            what = "but" if ours is None else "with another hash, and"
            parted = min(claim.epoch, self._sequencer.begun_at)
            reason = f"{claim}, {what} this writer is at {head}. {choices(parted, head)}"
            _LOG.error("the writer stops writing", extra={"reason": reason})
            self._sequencer.enter(Recovery(reason))
