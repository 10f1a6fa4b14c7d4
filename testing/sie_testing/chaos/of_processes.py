"""Faults of programs: killed, stopped, starved of processor time.

*shell.*
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from sie_testing.chaos.scene import Fault, Scene

__all__ = ["FAULTS"]

_SLICE_S: Final = 0.5
"""Shorter than a heartbeat's time to live, so that a starved process is slow and never missing."""
_STOPPED_S: Final = 0.45
"""A tenth of the processor is left: what a neighbour that floods a machine leaves."""
_Step = Callable[[Scene], Awaitable[None]]


async def _nothing(scene: Scene) -> None:
    scene.strikes()


def _killed(*names: str) -> _Step:
    async def strike(scene: Scene) -> None:
        await scene.kill(*names)

    return strike


def _paused(*names: str) -> _Step:
    async def strike(scene: Scene) -> None:
        scene.strikes()
        for name in names:
            scene.cluster.programs[name].pause()

    return strike


async def _go_on(scene: Scene) -> None:
    scene.cluster.heal()


async def _worker_dies(scene: Scene) -> None:
    await scene.in_hand("worker-0")
    await scene.kill("worker-0", "execution-0", hold=True)


async def _execution_dies(scene: Scene) -> None:
    await scene.in_hand("worker-0")
    await scene.kill("execution-0")


async def _workers_die(scene: Scene) -> None:
    await scene.in_hand("worker-0")
    await scene.kill("worker-0", "worker-1", "execution-0", "execution-1")


async def _let_go(scene: Scene) -> None:
    scene.held.clear()


async def _config_away(scene: Scene) -> None:
    await scene.kill("config", hold=True)


def _starved(name: str) -> _Step:
    async def strike(scene: Scene) -> None:
        scene.strikes()
        program = scene.cluster.programs[name]

        async def starve() -> None:
            ends_at = time.monotonic() + 60
            while time.monotonic() < ends_at:
                program.pause()
                await asyncio.sleep(_STOPPED_S)
                program.resume()
                await asyncio.sleep(_SLICE_S - _STOPPED_S)

        task = asyncio.create_task(starve())

        async def stop() -> None:
            task.cancel()
            await asyncio.wait([task])
            program.resume()

        scene.own.push_async_callback(stop)

    return strike


async def _fed(scene: Scene) -> None:
    await scene.let_go()


FAULTS: Final = (
    Fault(
        name="nothing",
        done="no fault at all: what the load itself and the machine do to the figures",
        strike=_nothing,
        mend=_nothing,
        lasts_s=5,
    ),
    Fault(
        name="worker killed",
        done="worker-0 holds requests; SIGKILL to it and to its execution; it stays away",
        strike=_worker_dies,
        mend=_let_go,
        lasts_s=8,
        worker_dies=True,
    ),
    Fault(
        name="both workers killed",
        done="both hold requests; SIGKILL to both and to their execution",
        strike=_workers_die,
    ),
    Fault(
        name="execution killed",
        done="worker-0's execution holds requests; SIGKILL to it",
        strike=_execution_dies,
    ),
    Fault(
        name="worker stopped",
        done="SIGSTOP to worker-0, SIGCONT after 8 s",
        strike=_paused("worker-0"),
        mend=_go_on,
        lasts_s=8,
    ),
    Fault(
        name="execution stopped",
        done="SIGSTOP to worker-0's execution, SIGCONT after 5 s",
        strike=_paused("execution-0"),
        mend=_go_on,
        lasts_s=5,
    ),
    Fault(name="gateway killed", done="SIGKILL to gateway-0", strike=_killed("gateway-0")),
    Fault(
        name="gateway stopped",
        done="SIGSTOP to gateway-0, SIGCONT after 5 s",
        strike=_paused("gateway-0"),
        mend=_go_on,
        lasts_s=5,
    ),
    Fault(name="sie-config killed", done="SIGKILL to sie-config", strike=_killed("config")),
    Fault(
        name="sie-config stopped",
        done="SIGSTOP to sie-config, SIGCONT after 5 s",
        strike=_paused("config"),
        mend=_go_on,
        lasts_s=5,
    ),
    Fault(
        name="sie-config away",
        done="SIGKILL to sie-config, which stays away for 15 s; requests go on",
        strike=_config_away,
        mend=_let_go,
        lasts_s=15,
    ),
    Fault(name="broker killed", done="SIGKILL to the broker", strike=_killed("broker")),
    Fault(
        name="broker stopped",
        done="SIGSTOP to the broker, SIGCONT after 5 s",
        strike=_paused("broker"),
        mend=_go_on,
        lasts_s=5,
    ),
    Fault(
        name="everything killed",
        done="SIGKILL to every program at once",
        strike=_killed(
            *("broker", "config", "gateway-0", "gateway-1"),
            *("worker-0", "worker-1", "execution-0", "execution-1"),
        ),
    ),
    Fault(
        name="a gateway starved",
        done="gateway-0 runs for 50 ms of every 500 ms, for 6 s",
        strike=_starved("gateway-0"),
        mend=_fed,
        lasts_s=6,
    ),
    Fault(
        name="sie-config starved",
        done="sie-config runs for 50 ms of every 500 ms, for 6 s",
        strike=_starved("config"),
        mend=_fed,
        lasts_s=6,
    ),
)
