"""Laws of a write that rests on what it read: it is applied to that ground or to none."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from tests.support.config_writer import put, put_model, running

from sie_config.http.writing import Writing
from sie_config.writer.draft import Outcome, Seen, Write
from sie_core.registry import Registry
from sie_schemas.api.writes import EntityDeleted
from sie_schemas.errors import Later

SCOPE: dict[str, Any] = {
    "type": "http",
    "method": "PATCH",
    "path": "/v1/configs/models/m",
    "query_string": b"",
    "headers": [],
}


@given(moves=st.integers(0, 7), rework_max=st.integers(1, 5))
@settings(max_examples=15, deadline=None)
async def test_it_is_worked_out_anew_a_bounded_number_of_times_and_never_on_older_ground(
    tmp_path_factory: pytest.TempPathFactory, moves: int, rework_max: int
) -> None:
    """`moves` is how often somebody else writes between its work and its judgement."""
    async with running(tmp_path_factory.mktemp("log"), rework_max=rework_max) as plane:
        await put(plane, "m")
        writing = Writing(plane, Request(SCOPE), b"", "model.patch")
        grounds: list[int] = []

        async def work(registry: Registry) -> Write:
            here = registry.get("model", "m")
            assert here is not None
            ground = here.modified_epoch
            grounds.append(ground)
            if len(grounds) <= moves:
                await put(plane, "m", description=f"move {len(grounds)}")
            return msgspec.structs.replace(
                writing.asked,
                commands=(put_model("m", description=f"on {ground}"),),
                basis=(Seen("model", "m", ground),),
            )

        def shown(outcome: Outcome, *, is_published: bool) -> EntityDeleted:
            raise NotImplementedError

        before = plane.sequencer.position.epoch
        if moves < rework_max:
            with pytest.raises(NotImplementedError):
                await writing.answer(work, shown)
            assert len(grounds) == moves + 1
            expected = f"on {before + moves}"
        else:
            with pytest.raises(Later):
                await writing.answer(work, shown)
            assert len(grounds) == rework_max
            expected = f"move {rework_max}"
        found = plane.sequencer.registry.get("model", "m")
        assert found is not None
        assert msgspec.json.decode(found.document)["description"] == expected
        assert found.modified_epoch == before + len(grounds)
