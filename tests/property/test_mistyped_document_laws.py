"""A thousand mistyped documents, fields and parameters at sie-config's REST: nothing is written.

The gateway's faces have the same law on a real cluster (`test_mistyped_options.py`).
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.config_writer import client_of, model, running

_CONFIGS = "/v1/configs"
_FULL = model(
    "org/full",
    source={"type": "hub", "id": "org/weights", "revision": "0" * 40},
    tasks={"encode": {"outputs": ["dense"]}},
    profiles={
        "default": {
            "backend": "transformer",
            "dtype": "fp32",
            "batch_cost_max": 512,
            "batch_items_max": 8,
            "batch_wait_ms": 1.5,
            "batch_invariant": True,
            "max_sequence_length": 64,
            "options": {"pooling": "mean", "normalize": True, "query_template": "q: {text}"},
        }
    },
    aliases=["org/other"],
    pool="default",
    description="all that a model may say",
)
_DOCUMENTS: dict[str, dict[str, Any]] = {
    "models": _FULL,
    "adapters": {
        "model_id": "org/m",
        "name": "legal",
        "source": {"type": "hub", "id": "org/adapter", "revision": "1" * 40},
        "description": "",
    },
    "bundles": {"name": "extra", "backends": ["transformer"], "priority": 20, "description": ""},
    "pools": {
        "name": "fast",
        "machine_profiles": ["cpu"],
        "workers_min": 0,
        "workers_max": 4,
        "pinned_models": [],
        "description": "",
    },
}
_PATHS = {
    "models": "org/full",
    "adapters": "org/m/legal",
    "bundles": "extra",
    "pools": "fast",
}
_FREE = {"profiles"}
"""Maps whose keys are names of one's own."""
_PARAMETERS = ("dry_run", "ack", "wait", "timeout", "reason", "prune", "force")
_PLAIN = {"content-type": "application/json"}
_MERGE = {"content-type": "application/merge-patch+json"}


def _misspelt(draw: random.Random, name: str) -> str:
    place = draw.randrange(len(name))
    letter = draw.choice("aeioxLR_-.")
    made = draw.choice(
        [
            name[:place] + name[place + 1 :],
            name[:place] + letter + name[place:],
            name[:place] + letter + name[place + 1 :],
            name.upper(),
            name.title(),
            name.replace("_", "-"),
            f"{name}s",
            name[::-1],
        ]
    )
    return f"{made}x" if made == name or not made else made


def _tables(document: dict[str, Any], name: str = "") -> Iterator[dict[str, Any]]:
    """The objects of a document whose keys are ours."""
    if name not in _FREE:
        yield document
    for key, value in document.items():
        if isinstance(value, dict):
            yield from _tables(value, key)


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copy(each) for name, each in value.items()}
    return [_copy(each) for each in value] if isinstance(value, list) else value


def _wrong(draw: random.Random, value: Any) -> Any:
    """A value of another type, or none that is allowed."""
    match value:
        case bool():
            return draw.choice(["true", 1, [], {}])
        case int() | float():
            return draw.choice([str(value), -1, [value], {}, 1e12])
        case str():
            return draw.choice([7, True, [value], {}])
        case list():
            return draw.choice([{}, 7, "x", [7], [{}], [[]]])
        case _:
            return draw.choice([[], 7, "x", True])


def _mistaken(draw: random.Random, document: dict[str, Any]) -> dict[str, Any]:
    """A copy of a document with one thing amiss."""
    made: dict[str, Any] = _copy(document)
    table = draw.choice([each for each in _tables(made) if each])
    name = draw.choice(sorted(table))
    if draw.random() < 0.7:
        value = table[name] if draw.random() < 0.5 else table.pop(name)
        table[_misspelt(draw, name)] = value
    else:
        table[name] = _wrong(draw, table[name])
    return made


def _request(draw: random.Random) -> tuple[str, str, Any, dict[str, str]]:
    """A write with one mistake."""
    kind = draw.choice(sorted(_DOCUMENTS))
    document = _DOCUMENTS[kind]
    where = f"{_CONFIGS}/{kind}/{_PATHS[kind]}"
    mistaken = _mistaken(draw, document)
    match draw.choice(["post", "put", "patch", "batch", "query", "revert"]):
        case "post":
            return "POST", f"{_CONFIGS}/{kind}", mistaken, _PLAIN
        case "put":
            return "PUT", where, mistaken, _PLAIN
        case "patch" if kind == "models":
            name = draw.choice(sorted(document))
            return "PATCH", where, {_misspelt(draw, name): document[name]}, _MERGE
        case "patch":
            return "PATCH", where, _wrong(draw, {}), _MERGE
        case "batch":
            operation = {"op": "put", "kind": kind[:-1], "document": mistaken}
            if draw.random() < 0.3:
                operation = {"op": "put", "kind": kind[:-1], "document": document}
                key = draw.choice(sorted(operation))
                operation[_misspelt(draw, key)] = operation.pop(key)
            return "POST", f"{_CONFIGS}/batch", {"operations": [operation]}, _PLAIN
        case "revert":
            return "POST", f"{_CONFIGS}/revert", {_misspelt(draw, "to"): 1}, _PLAIN
        case _:
            query = f"{_misspelt(draw, draw.choice(_PARAMETERS))}=true"
            return "PUT", f"{where}?{query}", document, _PLAIN


@pytest.mark.parametrize("seed", range(4))
async def test_no_mistyped_document_field_or_parameter_is_written(seed, tmp_path: Path):
    draw = random.Random(seed)
    async with running(tmp_path) as plane, client_of(plane) as client:
        made = await client.post(f"{_CONFIGS}/models", json=model("org/m"))
        assert made.status_code == 201, made.text
        for kind, document in _DOCUMENTS.items():
            answer = await client.post(f"{_CONFIGS}/{kind}?dry_run=true", json=document)
            assert answer.status_code in (200, 201), f"{kind} as it should be: {answer.text}"
        before = (await client.get(f"{_CONFIGS}/epoch")).json()
        for _ in range(250):
            method, path, body, headers = _request(draw)
            content = httpx.Request("POST", "/", json=body).content
            answer = await client.request(method, path, content=content, headers=headers)
            told = f"{method} {path} {body}: {answer.status_code} {answer.text}"
            assert 400 <= answer.status_code < 500, told
        assert (await client.get(f"{_CONFIGS}/epoch")).json() == before
