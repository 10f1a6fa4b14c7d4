"""A scheduler, of which a test says only what it is about."""

from math import inf
from typing import Any

from sie_worker.scheduling.batching import Scheduler

__all__ = ["scheduler_with"]


def scheduler_with(**changed: Any) -> Scheduler:
    """One that lets two batches out, gathers nothing and slices nothing."""
    chosen = {
        "ahead_max": 2,
        "tenant_quantum": 64,
        "handover_s": 0.0,
        "slice_s": inf,
        "gathering": None,
    }
    return Scheduler(**{**chosen, **changed})
