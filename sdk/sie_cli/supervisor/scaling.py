"""The decision when to start and when to stop workers of a local cluster.

*pure.* From two looks at a gateway's demand to start, stop or neither; time is an argument.
Promises:

- A request that found no worker starts them.
- They are stopped only after a time in which nothing was asked and nothing was in flight.
- Workers that a pool or a lease keeps warm start at once, and stay.

A counter that went back is that of a new gateway process: all that it counted is new.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

__all__ = ["Decision", "Demand", "Scaling", "demand_of"]

Decision: TypeAlias = Literal["start", "stop"] | None

_COLD: Final = "sie_gateway_cold_requests_total"
_ASKED: Final = "sie_gateway_kind_requests_total"
_IN_FLIGHT: Final = "sie_gateway_kind_in_flight_items"
_WARM: Final = "sie_gateway_pool_warm_workers"


@dataclass(frozen=True, slots=True)
class Demand:
    """One look at a gateway: requests that found no worker, all requests, items in flight, and
    workers that are kept although nothing is asked for."""

    cold: float = 0.0
    asked: float = 0.0
    in_flight: float = 0.0
    warm: float = 0.0


def demand_of(samples: Mapping[str, float]) -> Demand:
    """The demand in a gateway's metrics: the sum over kinds of worker by the name of the metric."""
    return Demand(*(samples.get(name, 0.0) for name in (_COLD, _ASKED, _IN_FLIGHT, _WARM)))


class Scaling:
    """The demand that was seen so far. Owned by the autoscaler."""

    def __init__(self, *, idle_s: float, now: float) -> None:
        self._idle_s = idle_s
        self._seen = Demand()
        self._busy_at = now

    def decide(self, demand: Demand, *, running: bool, now: float) -> Decision:
        """The action after a look. `running` tells whether workers are up or on their way."""
        cold = _grown(self._seen.cold, demand.cold)
        asked = _grown(self._seen.asked, demand.asked)
        self._seen = demand
        if cold or asked or demand.in_flight or demand.warm:
            self._busy_at = now
        if not running:
            return "start" if cold or demand.warm else None
        return "stop" if now - self._busy_at >= self._idle_s else None

    def started(self, now: float) -> None:
        """Workers are up: whoever waits for them needs time to ask again."""
        self._busy_at = now


def _grown(before: float, now: float) -> bool:
    return now > before or (now < before and now > 0)
