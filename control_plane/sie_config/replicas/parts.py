"""The parts of the writer that deal with replicas, wired to each other.

*shell*: each owns its own state; here is what they tell each other.
"""

from collections.abc import Awaitable, Callable

from sie_config.log.journal import Journal
from sie_config.replicas.convergence_watch import ConvergenceWatch
from sie_config.replicas.hearing import Hearing
from sie_config.replicas.life_signs import LifeSigns
from sie_config.replicas.living import LiveReplicas
from sie_config.replicas.replica_requests import ReplicaRequests
from sie_config.replicas.reports import Reports
from sie_config.settings import ConfigSettings
from sie_config.writer.sequencer import Sequencer
from sie_core.registry import Entity
from sie_runtime.broker.bus import Bus

__all__ = ["ReplicaParts"]


class ReplicaParts:
    """All that hears replicas and asks them something. Owner: the control plane."""

    def __init__(
        self,
        settings: ConfigSettings,
        sequencer: Sequencer,
        journal: Journal,
        *,
        bus: Bus | None,
        earlier: Callable[[str, str, int], Awaitable[Entity | None]],
        clock: Callable[[], float],
    ) -> None:
        """`earlier` gives an entity as it was at an epoch; `clock` dates the reports."""
        self.reports = Reports(
            ttl_s=settings.report_ttl_s,
            forget_s=settings.report_forget_s,
            replicas_max=settings.replicas_max,
            report_bytes_max=settings.report_bytes_max,
            bytes_max=settings.reports_bytes_max,
        )
        self.live = LiveReplicas(self.reports, settings.report_ttl_s, clock)
        self.convergence = ConvergenceWatch(
            self.reports,
            journal,
            clock=clock,
            ttl_s=settings.report_ttl_s,
            commits_max=settings.commits_remembered,
            resolver=sequencer.resolver,
            earlier=earlier,
        )
        self.hearing = Hearing(self.reports, self.convergence, sequencer, journal, clock=clock)
        self.requests = ReplicaRequests(
            bus,
            self.reports,
            resync_wait_s=settings.ack_wait_s,
            recount_wait_s=settings.self_check_ask_s,
        )
        self.life_signs = LifeSigns(bus, self.reports, clock=clock)
