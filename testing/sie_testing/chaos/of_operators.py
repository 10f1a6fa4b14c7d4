"""Faults of operators: changes of the configuration that take something away under requests.

*shell.*
"""

import asyncio
import contextlib
import time
from typing import Final

import httpx

from sie_runtime.access.access import AccessSettings
from sie_testing.chaos.observe import IN_TIME_S
from sie_testing.chaos.scene import GUEST, TOKENS, Fault, Scene
from sie_testing.processes.echo_execution import BACKEND
from sie_testing.processes.writes import MODELS

__all__ = ["FAULTS"]

_WAITING: Final = 4
"""Two for each worker: one that is in hand and one behind it."""
_WORKERS: Final = ("worker-0", "worker-1")
_PAUSE_S: Final = 0.05
"""Twenty questions a second: one is under way whenever the token is taken back."""
_SERVED_S: Final = 10.0
"""The first request of a model waits until a worker has loaded it."""
_ONE: Final = {"items": [{"text": "x"}]}
_AS_GUEST: Final = {"Authorization": f"Bearer {GUEST}"}
_AT_ONCE_S: Final = 5.0
"""In which a request has to end whose job nobody can take any more."""
_GIVE_UP_S: Final = 70.0
"""Longer than the 60 seconds of a gateway, whose own word is what is judged."""
_FORCE: Final = {"X-SIE-Force": "the fault"}
_SETTLES_S: Final = 1.0
"""In it a request reaches a queue, and a change of the log every worker."""
_NOTHING: Final = {"name": "default", "backends": ["nothing"]}
_EVERYTHING: Final = {"name": "default", "backends": [BACKEND]}


async def _bundle_changed(scene: Scene) -> None:
    """Requests wait for workers that are slow, and then nobody may run their model any more."""
    for name in _WORKERS:
        scene.cluster.programs[name].pause()
    url = f"{scene.cluster.url('gateway-0')}/v1/encode/{MODELS[0]}"
    asked = [asyncio.create_task(_timed(scene, url)) for _ in range(_WAITING)]
    await asyncio.sleep(_SETTLES_S)
    scene.strikes()
    await scene.written("PUT", "bundles/default", json=_NOTHING, headers=_FORCE)
    await asyncio.sleep(_SETTLES_S)
    for name in _WORKERS:
        scene.cluster.programs[name].resume()
    scene.kept["asked"] = (time.monotonic(), asked)


async def _timed(scene: Scene, url: str) -> float:
    with_timeout = httpx.Timeout(_GIVE_UP_S)
    with contextlib.suppress(httpx.TransportError):
        await scene.http.post(url, json=_ONE, timeout=with_timeout)
    return time.monotonic()


async def _bundle_back(scene: Scene) -> None:
    changed_at, asked = scene.kept["asked"]
    _, late = await asyncio.wait(asked, timeout=_AT_ONCE_S)
    await scene.written("PUT", "bundles/default", json=_EVERYTHING, headers=_FORCE)
    await scene.let_go()
    for task in late:
        task.cancel()
    if late:
        waited = time.monotonic() - changed_at
        raise RuntimeError(
            f"{len(late)} of {len(asked)} requests waited {waited:.0f} s for nothing"
        )


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


async def _token_revoked(scene: Scene) -> None:
    """A guest asks on and on; his token is taken back, and his last request is under way."""
    url = f"{scene.cluster.url('gateway-0')}/v1/encode/{MODELS[0]}"
    answers: list[tuple[float, int]] = []

    async def ask() -> None:
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer = await scene.http.post(url, json=_ONE, headers=_AS_GUEST)
                answers.append((time.monotonic(), answer.status_code))
            await asyncio.sleep(_PAUSE_S)

    scene.runs([asyncio.create_task(ask())])
    if not await scene.until(lambda: any(status == 200 for _, status in answers), _SERVED_S):
        raise RuntimeError("a guest with a token is not served")
    scene.strikes()
    scene.cluster.let_in(TOKENS[0])
    scene.kept["answers"] = answers


async def _token_given_back(scene: Scene) -> None:
    allowed = scene.struck_at + AccessSettings.auth_reload_s + IN_TIME_S
    late = [at for at, status in scene.kept["answers"] if status != 401 and at > allowed]
    refused = [at for at, status in scene.kept["answers"] if status == 401]
    scene.cluster.let_in(*TOKENS)
    await scene.let_go()
    if late or not refused:
        after = max(late, default=time.monotonic()) - scene.struck_at
        raise RuntimeError(f"a revoked token was let in {after:.1f} s later")


FAULTS: Final = (
    Fault(
        name="bundle changed under waiting requests",
        done=f"SIGSTOP to both workers, {_WAITING} requests wait for them; the bundle loses their "
        f"backend, with a reason; SIGCONT: each request has to end within {_AT_ONCE_S:g} s",
        strike=_bundle_changed,
        mend=_bundle_back,
        lasts_s=0.1,
    ),
    Fault(
        name="token revoked",
        done="a guest asks gateway-0 on and on, and his token is taken back: he is refused within "
        "the interval of the file, and nobody else",
        strike=_token_revoked,
        mend=_token_given_back,
    ),
    Fault(
        name="live models taken out",
        done="a new bundle takes the models to itself that are asked for, and no worker has it; no "
        "reason is given",
        strike=_taken_out,
        mend=_brought_back,
    ),
)
