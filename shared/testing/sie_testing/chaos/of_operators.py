"""Faults of operators: changes of the configuration that take something away under requests.

*shell.*
"""

import asyncio
import contextlib
import time
from typing import Any, Final

import httpx

from sie_testing.chaos.scene import Fault, Scene
from sie_testing.echo_execution import BACKEND
from sie_testing.processes.writes import model_document

__all__ = ["FAULTS"]

_COLD: Final = 4
_AT_ONCE_S: Final = 5.0
"""In which a request has to end whose job nobody can take any more."""
_GIVE_UP_S: Final = 70.0
_FORCE: Final = {"X-SIE-Force": "the fault"}
_SETTLES_S: Final = 1.0
_NOTHING: Final = {"name": "default", "backends": ["nothing"]}
_EVERYTHING: Final = {"name": "default", "backends": [BACKEND]}


async def _bundle_changed(scene: Scene) -> None:
    """First requests for a cold model wait for its load, and then nobody may run it."""
    await scene.written("PUT", "models/cold", json=model_document("cold", 0))
    await asyncio.sleep(_SETTLES_S)
    for name in ("execution-0", "execution-1"):
        scene.cluster.programs[name].pause()
    url = f"{scene.cluster.url('gateway-0')}/v1/encode/cold"
    asked = [asyncio.create_task(_timed(scene, url)) for _ in range(_COLD)]
    await asyncio.sleep(_SETTLES_S)
    scene.strikes()
    await scene.written("PUT", "bundles/default", json=_NOTHING, headers=_FORCE)
    scene.kept["asked"] = (time.monotonic(), asked)


async def _timed(scene: Scene, url: str) -> float:
    body: dict[str, Any] = {"items": [{"text": "x"}]}
    with_timeout = httpx.Timeout(_GIVE_UP_S)
    with contextlib.suppress(httpx.TransportError):
        await scene.http.post(url, json=body, timeout=with_timeout)
    return time.monotonic()


async def _bundle_back(scene: Scene) -> None:
    changed_at, asked = scene.kept["asked"]
    done, late = await asyncio.wait(asked, timeout=_AT_ONCE_S)
    await scene.written("PUT", "bundles/default", json=_EVERYTHING, headers=_FORCE)
    await scene.let_go()
    for task in late:
        task.cancel()
    if late:
        waited = time.monotonic() - changed_at
        raise RuntimeError(
            f"{len(late)} of {len(asked)} requests waited {waited:.0f} s for nothing"
        )
    del done


async def _taken_out(scene: Scene) -> None:
    """A bundle of a lower priority that can run the models, and that no worker has."""
    scene.strikes()
    bundle = {"name": "embed", "backends": [BACKEND], "priority": 5}
    response = await scene.config("PUT", "bundles/embed", json=bundle)
    scene.kept["taken"] = response is not None and response.status_code < 300


async def _brought_back(scene: Scene) -> None:
    if scene.kept["taken"]:
        await scene.config("DELETE", "bundles/embed", headers=_FORCE)
        raise RuntimeError("a change that takes out live models was made without a reason")


FAULTS: Final = (
    Fault(
        name="bundle changed under waiting requests",
        done=f"{_COLD} first requests wait for a cold model; its bundle loses the backend, with a "
        f"reason; each has to end within {_AT_ONCE_S:g} s",
        strike=_bundle_changed,
        mend=_bundle_back,
        lasts_s=0.1,
    ),
    Fault(
        name="live models taken out",
        done="a new bundle takes the models to itself that are asked for, and no worker has it; no "
        "reason is given",
        strike=_taken_out,
        mend=_brought_back,
    ),
)
