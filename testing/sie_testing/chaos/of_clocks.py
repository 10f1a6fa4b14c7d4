"""Faults of clocks: the wall clock of a host leaps, and is set right again.

*shell.* Every row has a leap each way. Clocks that only measure go on: a step of time leaves them.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from sie_testing.chaos.scene import Fault, Scene

__all__ = ["FAULTS"]

_LEAP_S: Final = 2 * 3600.0
"""Far beyond every limit, lease and window of the cluster, as a wrong time zone is."""


def _leaps(ahead_s: float, *names: str) -> Callable[[Scene], Awaitable[None]]:
    async def strike(scene: Scene) -> None:
        scene.strikes()
        for name in names or scene.cluster.programs:
            scene.cluster.move_clock(name, ahead_s)

    return strike


async def _set_right(scene: Scene) -> None:
    scene.cluster.heal()


def _fault(name: str, done: str, ahead_s: float, *names: str) -> Fault:
    return Fault(
        name=name,
        done=f"{done}, and is set right after 6 s",
        strike=_leaps(ahead_s, *names),
        mend=_set_right,
        lasts_s=6,
        moves_clocks=True,
    )


FAULTS: Final = (
    _fault(
        "sie-config's clock ahead", "sie-config's clock leaps two hours ahead", _LEAP_S, "config"
    ),
    _fault(
        "sie-config's clock behind", "sie-config's clock falls two hours back", -_LEAP_S, "config"
    ),
    _fault(
        "a gateway's clock ahead", "gateway-0's clock leaps two hours ahead", _LEAP_S, "gateway-0"
    ),
    _fault(
        "a gateway's clock behind", "gateway-0's clock falls two hours back", -_LEAP_S, "gateway-0"
    ),
    _fault("a worker's clock ahead", "worker-0's clock leaps two hours ahead", _LEAP_S, "worker-0"),
    _fault("every clock ahead", "the clock of each of our programs leaps two hours ahead", _LEAP_S),
    _fault(
        "every clock behind", "the clock of each of our programs falls two hours back", -_LEAP_S
    ),
)
