"""A thousand mistakes in requests to every route of sie-config: nothing is written.

The routes and the fields come from its own document. The gateway has the same law
(`test_mistyped_request_laws.py`).
"""

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.support.config_writer import client_of, model, running
from tests.support.mistakes import Route, mistaken_body, mistaken_query, routes

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
_KINDS = {f"{_CONFIGS}/{kind}": kind for kind in _DOCUMENTS}
_NEW: dict[str, dict[str, Any]] = {
    "models": {"model_id": "org/new", "aliases": []},
    "adapters": {"name": "new"},
    "bundles": {"name": "new"},
    "pools": {"name": "new"},
}
"""The fields that make another document of one that is there."""
_RIGHT: dict[str, Any] = {
    **{f"POST {_CONFIGS}/{kind}": each | _NEW[kind] for kind, each in _DOCUMENTS.items()},
    **{f"PUT {_CONFIGS}/{kind}/{{key}}": document for kind, document in _DOCUMENTS.items()},
    **{f"PATCH {_CONFIGS}/{kind}/{{key}}": document for kind, document in _DOCUMENTS.items()},
    f"POST {_CONFIGS}/batch": {
        "operations": [{"op": "put", "kind": "model", "document": _FULL}],
        "simultaneous": False,
    },
    f"POST {_CONFIGS}/revert": {
        "to": 1,
        "entities": [{"kind": "adapter", "key": "org/m/legal"}],
    },
    f"POST {_CONFIGS}/compact": {"keep": 1000},
    f"POST {_CONFIGS}/wait": {"epoch": 1, "min": 0, "timeout_s": 0, "until": "converged"},
    f"POST {_CONFIGS}/inspect": {"target": "org/m", "task": "encode"},
    "POST /v1/dead-letters/retry": {"number": 1, "within_s": 1.0},
    "POST /v1/dead-letters/drop": {"numbers": [1]},
    f"POST {_CONFIGS}/replicas/forget": {"role": "gateway", "id": "g"},
    f"POST {_CONFIGS}/replicas/resync": {"role": "gateway", "id": "g"},
}
_OPEN = {f"POST {_CONFIGS}/replicas"}
"""The report of a replica, in which a later release may say more."""
_COMPACT = {"type": "object", "additionalProperties": False, "properties": {"keep": {}}}
_ROUTES = routes("sie-config")


def _schema(route: Route) -> Mapping[str, Any]:
    """The form of a body: what changes a document has that of the document."""
    if route.path == f"{_CONFIGS}/compact":
        return _COMPACT
    of_kind = route.path.removesuffix("/{key}")
    if of_kind in _KINDS:
        [whole] = [each for each in _ROUTES if each.name == f"POST {of_kind}"]
        route = whole
    assert route.body is not None
    return route.body


def _path(route: Route) -> str:
    path = route.path.replace("{epoch}", "1")
    for kind, key in _PATHS.items():
        if path.startswith(f"{_CONFIGS}/{kind}/"):
            path = path.replace("{key}", key)
    return path


def _request(draw: random.Random, route: Route) -> tuple[str, bytes, str]:
    """A write with one mistake: its path, its body, and what is wrong."""
    right = _RIGHT[route.name]
    if route.path == f"{_CONFIGS}/batch" and draw.random() < 0.5:
        [document] = [each for each in _ROUTES if each.name == f"POST {_CONFIGS}/models"]
        inner = mistaken_body(draw, "sie-config", _schema(document), _FULL)
        if " twice" not in inner.told:
            wrong = {"op": "put", "kind": "model", "document": json.loads(inner.body)}
            return _path(route), json.dumps({"operations": [wrong]}).encode(), inner.told
    if draw.random() < 0.2:
        query = mistaken_query(draw, route)
        return f"{_path(route)}?{query}", json.dumps(right).encode(), query
    mistake = mistaken_body(draw, "sie-config", _schema(route), right)
    return _path(route), mistake.body, mistake.told


def test_every_route_with_a_body_has_one_that_is_right():
    taking = {route.name for route in _ROUTES if route.body is not None}
    assert taking == set(_RIGHT) | _OPEN


@pytest.mark.parametrize("seed", range(4))
async def test_no_mistyped_document_field_or_parameter_is_written(seed, tmp_path: Path):
    draw = random.Random(seed)
    async with running(tmp_path) as plane, client_of(plane) as client:
        made = await client.post(f"{_CONFIGS}/models", json=model("org/m"))
        assert made.status_code == 201, made.text
        for kind, document in _DOCUMENTS.items():
            answer = await client.post(f"{_CONFIGS}/{kind}", json=document)
            assert answer.status_code == 201, f"{kind} as it should be: {answer.text}"
        for name, right in _RIGHT.items():
            [route] = [each for each in _ROUTES if each.name == name]
            if "dry_run" in route.query:
                path, headers = f"{_path(route)}?dry_run=true", {"content-type": route.media}
                body = json.dumps(right).encode()
                answer = await client.request(route.method, path, content=body, headers=headers)
                assert answer.status_code in (200, 201), f"{name} as it should be: {answer.text}"
        before = (await client.get(f"{_CONFIGS}/epoch")).json()
        taking = [route for route in _ROUTES if route.name in _RIGHT]
        for turn in range(250):
            route = taking[turn % len(taking)]
            path, body, mistake = _request(draw, route)
            headers = {"content-type": route.media}
            answer = await client.request(route.method, path, content=body, headers=headers)
            told = f"{route.method} {path}: {mistake} in {body!r}: {answer.text}"
            assert answer.status_code in (400, 422), told
        assert (await client.get(f"{_CONFIGS}/epoch")).json() == before


@pytest.mark.parametrize("seed", range(2))
async def test_no_mistake_of_a_query_is_passed_over(seed, tmp_path: Path):
    draw = random.Random(seed)
    async with running(tmp_path) as plane, client_of(plane) as client:
        for route in _ROUTES:
            path = f"{_path(route)}?{mistaken_query(draw, route)}"
            body = _RIGHT.get(route.name)
            answer = await client.request(route.method, path, json=body)
            assert 400 <= answer.status_code < 500, f"{route.method} {path}: {answer.text}"
