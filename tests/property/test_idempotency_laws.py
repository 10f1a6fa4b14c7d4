"""The law of idempotency keys: a key stands for one write of one actor, and for its answer."""

import asyncio
import random
from pathlib import Path

import pytest
from tests.support.config_writer import client_of, model, running

MODELS = "/v1/configs/models"
KEYS = ("k1", "k2", "k3", "k4", "")
ACTORS = ("ann", "bob")
MODEL_IDS = ("m1", "m2")
TEXTS = ("a", "b", None)
"""The last is no text, and refused."""
_STEPS = 40


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_key_is_decided_once_and_answered_alike_whatever_came_between(
    tmp_path: Path, seed: int
) -> None:
    """An application takes a while to make, so that a run is long and there are few of them."""
    drawn = random.Random(seed)
    first: dict[tuple[str, str], tuple[tuple[str, str | None], int, int]] = {}
    for _ in range(2):
        async with running(tmp_path) as plane, client_of(plane) as client:
            for _ in range(_STEPS):
                key, actor = drawn.choice(KEYS), drawn.choice(ACTORS)
                model_id, text = drawn.choice(MODEL_IDS), drawn.choice(TEXTS)
                before = plane.sequencer.position.epoch
                headers = {"x-sie-actor": actor} | ({"idempotency-key": key} if key else {})
                body = model(model_id, description=text)
                answers = await asyncio.gather(
                    *(
                        client.post(MODELS, json=body, headers=headers)
                        for _ in range(drawn.randint(1, 3))
                    )
                )
                found = {(each.status_code, each.json().get("epoch")) for each in answers}
                grown = plane.sequencer.position.epoch - before
                if not key:
                    assert grown <= 1, "the same document again changes nothing"
                    continue
                [(status, epoch)] = found
                known = first.get((actor, key))
                if known is None:
                    assert (status == 422) == (text is None), answers[0].text
                    assert grown <= 1
                    if text is not None:
                        # One that changed nothing stands for its answer too.
                        first[actor, key] = (model_id, text), status, epoch
                elif known[0] == (model_id, text):
                    assert (status, epoch, grown) == (*known[1:], 0)
                else:
                    assert (status, grown) == (422, 0), "a key of another write"
    assert len(first) == len(ACTORS) * (len(KEYS) - 1)
