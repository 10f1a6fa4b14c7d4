"""The law of idempotency keys: a key stands for one write of one actor, and for its answer."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.config_writer import client_of, model, running

MODELS = "/v1/configs/models"
KEYS = st.sampled_from(["k1", "k2", ""])
ACTORS = st.sampled_from(["ann", "bob"])
MODEL_IDS = st.sampled_from(["m1", "m2"])
TEXTS = st.sampled_from(["a", "b", None])
"""The last is no text, and refused."""
ASKED = st.tuples(KEYS, ACTORS, MODEL_IDS, TEXTS, st.integers(1, 3))
"""The number is how often the same is sent at once."""


@given(st.lists(ASKED, min_size=1, max_size=6), st.integers(0, 6))
@settings(max_examples=8)
async def test_a_key_is_decided_once_and_answered_alike_whatever_came_between(asked, restart):
    first: dict[tuple[str, str], tuple[tuple[str, str | None], int, int]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for half in (asked[:restart], asked[restart:]):
            async with running(Path(folder, "log")) as plane, client_of(plane) as client:
                for key, actor, model_id, text, times in half:
                    before = plane.sequencer.position.epoch
                    headers = {"x-sie-actor": actor} | ({"idempotency-key": key} if key else {})
                    body = model(model_id, description=text)
                    answers = await asyncio.gather(
                        *(client.post(MODELS, json=body, headers=headers) for _ in range(times))
                    )
                    found = {(each.status_code, each.json().get("epoch")) for each in answers}
                    grown = plane.sequencer.position.epoch - before
                    if not key:
                        assert grown <= 1, "the same document again changes nothing"
                        continue
                    [(status, epoch)] = found
                    known = first.get((actor, key))
                    if known is None:
                        assert (status == 400) == (text is None)
                        assert grown <= 1
                        if text is not None:
                            # One that changed nothing stands for its answer too.
                            first[actor, key] = (model_id, text), status, epoch
                    elif known[0] == (model_id, text):
                        assert (status, epoch, grown) == (*known[1:], 0)
                    else:
                        assert (status, grown) == (422, 0), "a key of another write"
