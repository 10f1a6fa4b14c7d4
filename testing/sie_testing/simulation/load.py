"""The load of a simulated world: small writes that meet each other, from a seed or a history.

*pure.* Few names, few documents, so that a write meets an earlier one. Documents are admitted once
for the whole process: a simulation tests the log and not the schema.
"""

import contextlib
import functools
import random
from collections.abc import Sequence
from typing import Any, Final

from msgspec import UNSET, json

from sie_config.writer.draft import Write
from sie_config.writer.rules import Command, Delete, Put
from sie_schemas import canonical
from sie_schemas.documents import admit_document
from sie_schemas.entry import ENTITY_KINDS, Entry, Idempotency
from sie_schemas.errors import SIEError

__all__ = ["commands_of", "drawn_commands", "keyed", "sure_command", "told"]

_MODELS: Final = ("org/a", "org/b", "org/c", "org/d")
_POOLS: Final = ("default", "spare")
_VARIANTS: Final = 4
"""Few, so that drawn writes often say what is there already, or what was there before."""


def drawn_commands(rng: random.Random) -> tuple[Command, ...]:
    """One to three commands; the rules may refuse them."""
    return tuple(_drawn(rng) for _ in range(rng.choice((1, 1, 1, 2, 3))))


def sure_command() -> tuple[Command, ...]:
    """A command that every state of the log admits, and that is an entry in each: no drawn one
    writes this variant."""
    return (_pool("spare", _VARIANTS),)


def commands_of(entry: Entry) -> tuple[Command, ...]:
    """The commands that a client would send today for the changes of a recorded entry.

    A document that is not admitted any more is left out: the rules may have become stricter.
    """
    found: list[Command] = []
    for change in entry.changes:
        if change.entity_kind not in ENTITY_KINDS:
            continue
        if change.document is UNSET:
            found.append(Delete(change.entity_kind, change.key))
        else:
            with contextlib.suppress(SIEError):
                sent = json.decode(change.document)
                found.append(_put(change.entity_kind, change.key, sent))
    return tuple(found)


def keyed(commands: Sequence[Command], key: str) -> Write:
    """A write that may be sent again without being done twice."""
    fingerprint = f"{key}:{len(commands)}"
    return Write(
        "client", "because", f"request-{key}", tuple(commands), Idempotency(key, fingerprint)
    )


def told(command: Command) -> str:
    """A command in words, for a story."""
    if isinstance(command, Delete):
        return f"delete {command.kind} {command.key}"
    return f"put {command.kind} {command.key} ({command.document.get('description', '')})"


def _drawn(rng: random.Random) -> Command:
    shape = rng.random()
    if shape < 0.65:
        return _model(rng.choice(_MODELS), rng.randrange(_VARIANTS))
    if shape < 0.85:
        return Delete("model", rng.choice(_MODELS))
    if shape < 0.95:
        return _adapter(rng.choice(_MODELS), rng.randrange(_VARIANTS))
    return _pool(rng.choice(_POOLS), rng.randrange(_VARIANTS))


@functools.cache
def _model(model_id: str, variant: int) -> Put:
    document = {
        "model_id": model_id,
        "source": {"type": "hub", "id": "org/weights", "revision": "0" * 40},
        "tasks": {"encode": {}},
        "profiles": {"default": {"backend": "transformer"}},
        "description": f"variant {variant}",
    }
    return _put("model", model_id, document)


@functools.cache
def _adapter(model_id: str, variant: int) -> Put:
    document = {
        "model_id": model_id,
        "name": "legal",
        "source": {"type": "hub", "id": "org/adapter", "revision": f"{variant}" * 40},
    }
    return _put("adapter", f"{model_id}/legal", document)


@functools.cache
def _pool(name: str, variant: int) -> Put:
    return _put("pool", name, {"name": name, "description": f"variant {variant}"})


def _put(kind: str, key: str, sent: dict[str, Any]) -> Put:
    document = admit_document(kind, sent)
    return Put(kind, key, document, canonical.dumps(document))
