"""KEDA as its documents say it works, with real queries and workers of a test in place of pods.

The arithmetic: a trigger is active while its value is above `activationThreshold`. At zero, one
active trigger makes one replica. Above zero the desired number is the largest of value / threshold
over all triggers, rounded up, between one (or the minimum) and the maximum; when none was active
for `cooldownPeriod`, it is the minimum. The horizontal autoscaler's slow way down from n to fewer
is not played: from n it goes to the minimum.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from tests.support.prometheus import Prometheus

__all__ = ["Scaler"]


@dataclass
class Scaler:
    """One ScaledObject. `scale` is told how many replicas there are to be."""

    spec: dict[str, Any]
    prometheus: Prometheus
    scale: Callable[[int], Awaitable[None]]
    replicas: int = 0
    history: list[int] = field(default_factory=lambda: [0])
    looks: int = 0

    async def run(self) -> None:
        """Look until cancelled."""
        clock = asyncio.get_running_loop().time
        active_at = clock()
        while True:
            values = [await self._value(trigger) for trigger in self.spec["triggers"]]
            active = any(value > activation for value, _, activation in values)
            if active:
                active_at = clock()
            desired = max(ceil(value / threshold) for value, threshold, _ in values)
            idle = clock() - active_at >= self.spec["cooldownPeriod"]
            await self._to(self._wanted(active=active, idle=idle, desired=desired))
            self.looks += 1
            await asyncio.sleep(self.spec["pollingInterval"])

    def _wanted(self, *, active: bool, idle: bool, desired: int) -> int:
        least: int = self.spec["minReplicaCount"]
        most: int = self.spec["maxReplicaCount"]
        if self.replicas == 0:
            return max(1, least) if active else least
        if idle:
            return least
        return max(self.replicas, min(most, max(1, least, desired)))

    async def _to(self, wanted: int) -> None:
        if wanted != self.replicas:
            self.replicas = wanted
            self.history.append(wanted)
            await self.scale(wanted)

    async def _value(self, trigger: dict[str, Any]) -> tuple[float, float, float]:
        metadata = trigger["metadata"]
        found = await self.prometheus.value(metadata["query"])
        # `ignoreNullValues`, by default: nothing is 0.
        threshold, activation = metadata["threshold"], metadata["activationThreshold"]
        return found or 0.0, float(threshold), float(activation)
