"""A slice of the chaos table on a real cluster, and the proof that it can fail.

The whole table is the business of `sie soak --chaos`; this cluster has short time constants.
"""

import time

import pytest

from sie_testing.chaos import FAULTS, Chaos, Row, broken, run_chaos
from sie_testing.chaos.scene import Fault, Scene
from sie_testing.processes.load import Acknowledged, Answered

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

SLICE = ("gateway killed", "sie-config killed")


async def lose_a_write(scene: Scene) -> None:
    """A client was told that this is stored, and it is not."""
    scene.strikes()
    lost = Acknowledged("planted", "0" * 32, 1, "0" * 64, time.monotonic())
    scene.load.acknowledged.append(lost)


async def answer_wrongly(scene: Scene) -> None:
    """A gateway answered with a revision that the log does not have there."""
    scene.strikes()
    position = scene.load.answered[-1].position
    scene.load.answered.append(Answered("gateway-0", "load/a", "0" * 64, position))


async def hang(scene: Scene) -> None:
    """A request came back long after the gateway's own limit."""
    scene.strikes()
    scene.load.hung.append("a request hung")


async def fail(scene: Scene) -> None:
    """Something that had to work did not."""
    scene.strikes()
    raise RuntimeError("SIGTERM was not obeyed")


PLANTED = {
    "a lost write": (lose_a_write, "1 acknowledged writes are lost"),
    "a wrong answer": (answer_wrongly, "1 answers are wrong"),
    "a hung request": (hang, "1 requests hung"),
    "a step that fails": (fail, "RuntimeError: SIGTERM was not obeyed"),
}


async def plant_everything(scene: Scene) -> None:
    for strike, _ in PLANTED.values():
        if strike is not fail:
            await strike(scene)
    await fail(scene)


def test_faults_cost_nothing_that_was_promised_and_what_is_planted_is_seen():
    faults = [fault for fault in FAULTS if fault.name in SLICE]
    planted = Fault(name="planted", done="what must not happen", strike=plant_everything)
    said: list[str] = []

    rows = {
        row.fault: row
        for row in run_chaos(Chaos(faults=[*faults, planted], shipped=False, say=said.append))
    }

    told = "\n".join(said)
    for name in SLICE:
        row: Row = rows[name]
        assert broken(row) == [], told
        assert row.acknowledged, told
        assert row.answered, told
    verdicts = broken(rows["planted"])
    for _, verdict in PLANTED.values():
        assert verdict in verdicts, told
    assert "BROKEN: 1 acknowledged writes are lost" in told
