"""Holders: an answer that did not come says nothing, and nobody there is another thing."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sie_gateway.fleet.holders import Holders, Unheard
from sie_gateway.fleet.lives import Life
from sie_runtime.broker.bus import NoResponders
from sie_schemas.errors import TimeRanOut
from sie_schemas.fleet import HoldingAnswer, HoldingAsked, WorkerKind, holding_subject

KIND = WorkerKind("default", "cpu", "default")
JOBS = ("j1", "j2", "j3")
WAYS = ("answers", "answers", "silent", "gone", "garbage", "unnamed")


class Workers:
    """Lives that answer each in its own way: with what they hold, or not at all."""

    def __init__(self, ways: list[tuple[str, frozenset[str]]]) -> None:
        self.lives = [
            Life(f"w{number}", "" if way == "unnamed" else f"life{number}", KIND)
            for number, (way, _) in enumerate(ways)
        ]
        self._ways = {
            holding_subject(KIND.pool, life.name): way
            for life, way in zip(self.lives, ways, strict=True)
        }

    async def request(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        """The answer of one life. Raises `NoResponders`, `TimeRanOut`."""
        way, holds = self._ways[subject]
        asked = msgspec.msgpack.decode(data, type=HoldingAsked)
        match way:
            case "silent":
                raise TimeRanOut(f"nothing within {timeout_s:g} s")
            case "gone":
                raise NoResponders("nobody listens")
            case "garbage":
                return b"\xc1"
        found = tuple(job for job in asked.job_ids if job in holds)
        return msgspec.msgpack.encode(HoldingAnswer(job_ids=found))


WORKERS = st.lists(
    st.tuples(st.sampled_from(WAYS), st.frozensets(st.sampled_from(JOBS))), max_size=4
)


@given(WORKERS)
async def test_who_holds_what_is_known_only_where_everybody_has_said_it(
    ways: list[tuple[str, frozenset[str]]],
) -> None:
    workers = Workers(ways)

    with pytest.MonkeyPatch.context() as patch:
        # Three jobs are more than one question has.
        patch.setattr("sie_gateway.fleet.holders._IDS_MAX", 2)
        held = await Holders(workers, answer_s=0.1, queue_s=0.1).held(workers.lives, JOBS)

    if all(way == "answers" for way, _ in ways):
        assert held == frozenset().union(*(holds for _, holds in ways))
    else:
        assert held is None


@given(WORKERS)
async def test_gone_is_said_only_where_nobody_listens(
    ways: list[tuple[str, frozenset[str]]],
) -> None:
    workers = Workers([each for each in ways if each[0] != "unnamed"])
    holders = Holders(workers, answer_s=0.1, queue_s=0.1)
    for life, (way, holds) in zip(
        workers.lives, [each for each in ways if each[0] != "unnamed"], strict=True
    ):
        answer = await holders.ask(life, JOBS)
        told = {"gone": Unheard.GONE, "silent": Unheard.SILENT, "garbage": Unheard.SILENT}
        assert answer == told.get(way, holds)
