"""The law of idempotency keys: a key stands for one write of one actor, and for its answer."""

import asyncio
import random
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from tests.support.config_writer import client_of, model, running

MODELS = "/v1/configs/models"
KEYS = ("k1", "K1", "k2", "k3", "")
ACTORS = ("ann", "Ann", "bob")
TEXTS = ("a", "b", None)
"""The last is no text, and refused."""
_STEPS = 60
Asked: TypeAlias = tuple[str, str, Any]
"""Method, target and body."""


def _asked(drawn: random.Random) -> Asked:
    """A request: several differ from another one in the method, path, query or body alone."""
    name, text = drawn.choice(("m1", "M1")), drawn.choice(TEXTS)
    body = model(name, description=text)
    target, one = drawn.choice(("", "?ack=local")), f"{MODELS}/{name}"
    put = {"op": "put", "kind": "model", "document": body}
    forms: list[Asked] = [
        ("POST", f"{MODELS}{target}", body),
        ("PUT", f"{one}{target}", body),
        ("PATCH", f"{one}{target}", {"description": text}),
        ("DELETE", f"{one}{target}", None),
        ("DELETE", f"{one}{target.replace('?', '%3F')}", None),
        ("POST", f"/v1/configs/batch{target}", {"operations": [put]}),
    ]
    return drawn.choice(forms)


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_key_is_decided_once_and_answered_alike_whatever_came_between(
    tmp_path: Path, seed: int
) -> None:
    """An application takes a while to make, so that a run is long and there are few of them."""
    drawn = random.Random(seed)
    first: dict[tuple[str, str], tuple[Asked, int, dict[str, Any]]] = {}
    for _ in range(2):
        async with running(tmp_path) as plane, client_of(plane) as client:
            # No key is forgotten: neither by a restart nor with the entries that replicas may ask.
            await plane.compact(plane.sequencer.position.epoch)
            for _ in range(_STEPS):
                key, actor = drawn.choice(KEYS), drawn.choice(ACTORS)
                asked = _asked(drawn)
                method, target, body = asked
                before = plane.sequencer.position.epoch
                headers = {"x-sie-actor": actor} | ({"idempotency-key": key} if key else {})
                if method == "PATCH":
                    headers["content-type"] = "application/merge-patch+json"
                answers = await asyncio.gather(
                    *(
                        client.request(method, target, json=body, headers=headers)
                        for _ in range(drawn.randint(1, 3))
                    )
                )
                grown = plane.sequencer.position.epoch - before
                assert grown <= 1, "the same document again changes nothing"
                if not key:
                    continue
                [status] = {each.status_code for each in answers}
                told = answers[0].json()
                again = [each.headers.get("idempotency-replayed") == "true" for each in answers]
                known = first.get((actor, key))
                if known is None:
                    assert again.count(False) == (1 if status < 400 else len(again))
                    if status < 400:
                        # One that changed nothing stands for its answer too.
                        first[actor, key] = asked, status, told
                elif known[0] == asked:
                    assert (status, told, grown, set(again)) == (*known[1:], 0, {True})
                else:
                    assert (status, grown) == (422, 0), (asked, told)
                    assert told["detail"]["code"] == "IDEMPOTENCY_MISMATCH"
                assert status >= 400 or all(each.json() == told for each in answers)
    assert len(first) == len(ACTORS) * (len(KEYS) - 1)
