"""The writes of a real cluster's clients: the documents, and what is drawn next.

*pure.* Every revision that a model or an adapter of the load may ever have is known beforehand. So
an answer of another one is told from a right one.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sie_schemas.documents import admit_document
from sie_schemas.revisions import adapter_revision, model_revision
from sie_testing.processes.echo_execution import BACKEND

__all__ = [
    "ADAPTED",
    "ADAPTER_REVISIONS",
    "MODELS",
    "REVISIONS",
    "Call",
    "drawn_write",
    "model_document",
    "quiet_write",
    "setup_writes",
]

MODELS: Final = ("load/a", "load/b", "load/c")
ADAPTED: Final = "load/a"
_VARIANTS: Final = 6
"""Few, so that a document comes back and its revision with it; many, so that most writes change
something."""


@dataclass(frozen=True, slots=True)
class Call:
    """A write as it is sent, again and again under one key."""

    key: str
    method: str
    path: str
    body: Mapping[str, Any] | None


def setup_writes() -> list[Call]:
    """The writes that every run needs: a bundle that can run the models, the models, an adapter."""
    bundle = {"name": "default", "backends": [BACKEND]}
    calls = [Call("setup-bundle", "PUT", "bundles/default", bundle)]
    calls += [
        Call(f"setup-{model}", "PUT", f"models/{model}", model_document(model, 0))
        for model in MODELS
    ]
    calls.append(Call("setup-adapter", "PUT", f"adapters/{ADAPTED}/legal", _adapter(0)))
    return calls


def model_document(model_id: str, variant: int) -> dict[str, Any]:
    """A model of this load; each variant has a revision of its own."""
    return {
        "model_id": model_id,
        "source": _source(variant),
        "tasks": {"encode": {}},
        "profiles": {"default": {"backend": BACKEND, "batch_wait_ms": 1.0}},
    }


def _adapter(variant: int) -> dict[str, Any]:
    return {"model_id": ADAPTED, "name": "legal", "source": _source(variant)}


def _source(variant: int) -> dict[str, Any]:
    return {
        "type": "package",
        "package": BACKEND,
        "distribution": BACKEND,
        "version": f"{variant}",
    }


REVISIONS: Final = {
    model: {
        model_revision(admit_document("model", model_document(model, variant)), "default")
        for variant in range(_VARIANTS)
    }
    for model in MODELS
}
ADAPTER_REVISIONS: Final = {
    adapter_revision(admit_document("adapter", _adapter(variant))) for variant in range(_VARIANTS)
}


def drawn_write(rng: random.Random, key: str) -> Call:
    """A write of any kind that the adversary's clients make."""
    variant = rng.randrange(_VARIANTS)
    shape = rng.random()
    if shape < 0.6:
        model = rng.choice(MODELS)
        return Call(key, "PUT", f"models/{model}", model_document(model, variant))
    if shape < 0.8:
        return Call(key, "PUT", f"adapters/{ADAPTED}/legal", _adapter(variant))
    if shape < 0.85:
        return Call(key, "DELETE", f"models/{MODELS[-1]}", None)
    pool = {"name": "spare", "description": f"variant {variant}"}
    return Call(key, "PUT", "pools/spare", pool)


def quiet_write(rng: random.Random, key: str) -> Call:
    """A write that leaves alone what is asked for, most of the time: no revision, no reload."""
    variant = rng.randrange(_VARIANTS)
    if rng.random() < 0.02:
        model = rng.choice(MODELS)
        return Call(key, "PUT", f"models/{model}", model_document(model, variant))
    pool = {"name": f"spare-{rng.randrange(20)}", "description": f"variant {key}"}
    return Call(key, "PUT", f"pools/{pool['name']}", pool)
