"""The threads of a device on a CPU: its own, and those that a batch is lent.

*device* over torch's setting, which the device's thread alone changes. Promises that a batch which
is lent threads gives them back however it ends, and that no more are used than allowed.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["Threads"]


class Threads:
    """`own` is what each batch has; up to `lent_max` may be lent (0: none)."""

    def __init__(self, own: int, *, lent_max: int = 0) -> None:
        self.own = own
        self.lent_max = lent_max
        torch.set_num_threads(own)

    @classmethod
    def of(cls, device: str, stated: int | None) -> "Threads":
        """The threads of a device: one, and on a CPU every core for a batch that is lent them. What
        an operator states (0: every core) is neither more nor less."""
        cores = len(os.sched_getaffinity(0))
        if stated is not None:
            return cls(stated or cores)
        return cls(1, lent_max=cores if device == "cpu" and cores > 1 else 0)

    @contextmanager
    def lent(self, threads: int) -> Iterator[None]:
        """Use so many, or as many as there are, if those are more than the device's own."""
        allowed = min(threads, self.lent_max)
        if allowed <= self.own:
            yield
            return
        torch.set_num_threads(allowed)
        try:
            yield
        finally:
            torch.set_num_threads(self.own)
