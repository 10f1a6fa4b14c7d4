"""The past, asked for in every way at every epoch, around a low water at every epoch."""

import itertools
from typing import Any

import httpx
import pytest
from tests.support.config_writer import (
    LOG_ID,
    begun_log,
    client_of,
    new_file,
    put_model,
    running,
    sign,
    write,
)

from sie_config.documents.moments import format_ts, parse_ts
from sie_config.past.timeline import Timeline
from sie_config.start.opened_log import LOG_FILE
from sie_config.writer.rules import Delete
from sie_schemas.entry import Entry
from sie_schemas.errors import FixRequest

CONFIGS = "/v1/configs"
NAMES = ("org/a", "org/b")
State = dict[str, str]


def history() -> tuple[list[Entry], list[State]]:
    """A log in which two models come, change and go, and by epoch what there is; from 0 on."""
    draft = begun_log()
    states: list[State] = [{}, {}, {}, {}]
    for number, name in enumerate((*NAMES, *NAMES, *NAMES)):
        state: State = dict(states[-1])
        if number == 2:
            draft.write(write(Delete("model", name)))
            del state[name]
        else:
            draft.write(write(put_model(name, description=f"{number}")))
            state[name] = f"{number}"
        states.append(state)
    return sign(draft), states


ENTRIES, STATES = history()
HEAD = len(ENTRIES)


async def models_at(client: httpx.AsyncClient, at: str) -> State:
    """The models at a moment, all together and each alone: one answer, or the difference."""
    rows = (await client.get(f"{CONFIGS}/models", params={"at": at})).json()["models"]
    listed = {row["model_id"]: row["document"]["description"] for row in rows}
    for name in NAMES:
        alone = await client.get(f"{CONFIGS}/models/{name}", params={"at": at})
        found = alone.json()["document"]["description"] if alone.is_success else None
        assert found == listed.get(name), (name, at)
    return listed


@pytest.mark.parametrize("mark", range(1, HEAD + 1))
async def test_a_moment_is_read_and_reverted_to_alike(tmp_path, mark):
    new_file(tmp_path / LOG_FILE, ENTRIES).close()
    async with running(tmp_path) as plane, client_of(plane) as client:
        await plane.compact(mark)
        for epoch in range(1, HEAD + 1):
            assert await models_at(client, str(epoch)) == STATES[epoch], (mark, epoch)
            assert await models_at(client, ENTRIES[epoch - 1].ts) == STATES[epoch], (mark, epoch)
            exported = await client.get(f"{CONFIGS}/export", params={"at": str(epoch)})
            assert ENTRIES[epoch - 1].hash in exported.text
        for epoch in (mark - 1, mark, min(mark + 1, HEAD)):
            if epoch < 1:
                continue
            body: dict[str, Any] = {"to": epoch}
            forced = {"X-SIE-Force": "the law", "X-SIE-Reason": "the law"}
            answer = await client.post(f"{CONFIGS}/revert", json=body, headers=forced)
            assert answer.is_success, answer.text
            now = plane.sequencer.position.epoch
            assert await models_at(client, str(now)) == STATES[epoch], (mark, epoch)


@pytest.mark.parametrize("mark", range(1, HEAD + 2))
async def test_a_delta_is_served_from_the_low_water_on(tmp_path, mark):
    new_file(tmp_path / LOG_FILE, ENTRIES).close()
    async with running(tmp_path) as plane, client_of(plane) as client:
        await plane.compact(mark)
        head = plane.sequencer.position.epoch
        for after in range(head + 2):
            answer = await client.get(
                f"{CONFIGS}/log", params={"after": after, "log_id": LOG_ID, "limit": HEAD + 9}
            )
            wanted = 410 if after < mark - 1 else 409 if after > head else 200
            assert answer.status_code == wanted, (mark, after)
            if wanted == 200:
                epochs = [row["epoch"] for row in map(_body, answer.json()["entries"])]
                assert epochs == list(range(after + 1, head + 1)), (mark, after)


def _body(envelope: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = envelope["body"]
    return found


@pytest.mark.parametrize("late_us", [0, 1, 3_600_000_000])
async def test_a_stamp_of_the_log_names_its_entry(tmp_path, late_us):
    new_file(tmp_path / LOG_FILE, ENTRIES).close()
    async with running(tmp_path) as plane:
        last = plane.sequencer.last
        assert last is not None
        clock = itertools.repeat(parse_ts(last.ts) - late_us)
        timeline = Timeline(
            plane.store.path, plane.sequencer, registries_max=1, now_us=lambda: next(clock)
        )
        for entry in (*ENTRIES, last):
            assert await timeline.epoch_at(entry.ts) == entry.epoch
        with pytest.raises(FixRequest, match="in the future"):
            await timeline.epoch_at(format_ts(parse_ts(last.ts) + 1))
        await timeline.close()
