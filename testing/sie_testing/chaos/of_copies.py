"""Faults of copies: a second writer, on the same folder or on a copy of it.

*shell.* Whoever starts it believes that the first one is gone. Both may take writes for a moment,
and only one history can go on. What the other one was told is stored has to be named as given up.
"""

from typing import Any, Final

import httpx

from sie_config.offline.log_reader import LogReader
from sie_schemas.entry import ChangeKind
from sie_testing.chaos.scene import Fault, Scene
from sie_testing.chaos.table import LONGER_S

__all__ = ["FAULTS"]

_WRITES: Final = 5
"""More than one, so that a branch of entries has to be given up and not only its tip."""
_BEGINS_S: Final = 30.0
"""The copy replays the whole log of the run before it answers."""
_NOTICES_S: Final = 20.0
"""The first writer sees a newer term when it next looks at the stream, some seconds later."""
_ANSWERS_S: Final = 15.0
"""The copy may wait for the broker before it answers, and only a write that is told counts."""


async def _second_writer(scene: Scene) -> None:
    scene.strikes()
    second = scene.cluster.second_writer()
    await second.start()
    scene.own.push_async_callback(second.kill)


async def _second_gone(scene: Scene) -> None:
    await scene.let_go()


async def _copy_begins(scene: Scene) -> None:
    """It begins a term of its own, and somebody writes to it."""
    copy = await scene.cluster.copy_of_writer()
    scene.strikes()
    await copy.start()
    scene.own.push_async_callback(copy.kill)
    if not await scene.until(lambda: _status(scene, "copy"), _BEGINS_S):
        raise RuntimeError(f"the copy does not start: {copy.complaints()[-2:]}")
    scene.kept["told"] = [
        told
        for number in range(_WRITES)
        if (told := await _written(scene, f"copied-{number}")) is not None
    ]


async def _status(scene: Scene, name: str) -> bool:
    """True if a sie-config answers, whatever it says of itself."""
    try:
        return bool((await scene.http.get(f"{scene.cluster.url(name)}/readyz")).status_code)
    except httpx.TransportError:
        return False


async def _written(scene: Scene, pool: str) -> dict[str, Any] | None:
    """The answer of the copy to a write; nothing where it takes none."""
    url = f"{scene.cluster.url('copy')}/v1/configs/pools/{pool}"
    answer = await scene.http.put(url, json={"name": pool}, timeout=_ANSWERS_S)
    found: dict[str, Any] | None = answer.json() if answer.status_code < 300 else None
    return found


async def _copy_stopped(scene: Scene) -> None:
    """The copy is ended, and the operator keeps the first writer's history, as it tells him."""
    told = scene.kept["told"]
    await scene.let_go()

    async def is_in_recovery() -> bool:
        said: object = (await scene.judge.writer()).get("writer", {}).get("state")
        return said == "recovery"

    if told and await scene.until(is_in_recovery, _NOTICES_S):
        scene.held.add("config")
        await scene.cluster.give_up_the_rest(asks=True)
        scene.held.clear()
    unsaid = _unsaid(scene, told)
    if unsaid:
        raise RuntimeError(f"the copy was told that {unsaid[0]} is stored, and nobody names it")


def _unsaid(scene: Scene, told: list[dict[str, Any]]) -> list[str]:
    """The writes that the copy acknowledged and the log neither has nor names as given up."""
    with LogReader.open(scene.cluster.log_file) as reader:
        log = list(reader.entries())
    lost = [
        change.supersedes.lost
        for entry in log
        for change in entry.changes
        if change.kind == ChangeKind.LOG_BEGIN and change.supersedes and change.supersedes.lost
    ]
    held = {entry.hash for entry in log}
    return [
        f"epoch {one['epoch']}"
        for one in told
        if one["hash"] not in held
        and not any(first <= one["epoch"] <= last for first, last in lost)
    ]


FAULTS: Final = (
    Fault(
        name="second writer",
        done="a second sie-config is started on the same folder, for 6 s",
        strike=_second_writer,
        mend=_second_gone,
        lasts_s=6,
    ),
    Fault(
        name="a copy of the writer beside it",
        done="a second sie-config is started on a restored backup with the writer's key, and takes "
        "writes; after 4 s it is ended, and the operator keeps the first one's history",
        strike=_copy_begins,
        mend=_copy_stopped,
        serves_s=LONGER_S,
    ),
)
