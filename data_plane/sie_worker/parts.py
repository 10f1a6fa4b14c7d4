"""The parts of the sidecar that are made of its settings alone.

*main*: spells out which setting goes where, and holds no rule.
"""

from math import inf

from sie_worker.device.device import DeviceLimits
from sie_worker.execution.executor import Executor
from sie_worker.intake.intake import IntakeLimits
from sie_worker.scheduling.batching import Scheduler
from sie_worker.scheduling.gathering import Gathering
from sie_worker.settings import WorkerSettings

__all__ = ["device_limits", "intake_limits", "make_executor", "make_scheduler"]


def make_executor(settings: WorkerSettings, socket_path: str) -> Executor:
    """The connection to one execution process."""
    return Executor(
        socket_path,
        reconnect_s=settings.reconnect_s,
        ping_interval_s=settings.ping_interval_s,
        ping_timeout_s=settings.ping_timeout_s,
        load_timeout_s=settings.load_timeout_s,
        batch_timeout_s=settings.batch_timeout_s,
    )


def make_scheduler(settings: WorkerSettings, gathering: Gathering) -> Scheduler:
    """The scheduler of one device; what is gathered is all devices' together."""
    return Scheduler(
        ahead_max=settings.batches_ahead_max,
        tenant_quantum=settings.tenant_quantum_cost,
        handover_s=settings.batch_handover_ms / 1000,
        # 0 has no bound.
        slice_s=settings.tenant_slice_ms / 1000 or inf,
        gathering=gathering,
    )


def device_limits(settings: WorkerSettings) -> DeviceLimits:
    """The bounds of each device's loop."""
    return DeviceLimits(
        grace_s=settings.executor_grace_s,
        handover_s=settings.executor_handover_s,
        tick_s=settings.expiry_tick_s,
        retry_delay_s=settings.retry_delay_s,
        load_share=settings.load_share,
        isolation_passes_max=settings.isolation_passes_max,
    )


def intake_limits(settings: WorkerSettings) -> IntakeLimits:
    """The bounds of taking jobs in."""
    return IntakeLimits(
        catch_up_s=settings.catch_up_s,
        retry_delay_s=settings.retry_delay_s,
        alone_after_deliveries=settings.alone_after_deliveries,
        inline_characters_max=settings.inline_characters_max,
    )
