"""Placement: which models a worker pulls for, decided by every worker alone and alike.

*pure.* Weighted rendezvous hashing: each (worker, model) pair has a score that depends on nothing
else. A model's home is the worker with the highest. Promises:

- Every model has exactly one home while a worker lives.
- A worker that joins takes models only for itself; one that leaves gives up only its own.
- A worker holds a share near its share of the room.

What a worker already holds stays with it, so a model may have a home and other holders. Does not
decide who is alive: that is what `peers` reads from heartbeats.
"""

import hashlib
import math
from collections.abc import Collection, Iterable, Mapping

__all__ = ["home", "placed"]


def home(model_id: str, rooms: Mapping[str, float]) -> str | None:
    """The worker that a model belongs to, among live workers and their room (any unit).

    Workers that tell no room (0) count only where none does: then all count alike.
    """
    if not rooms:
        return None
    told = {worker: room for worker, room in rooms.items() if room > 0}
    weights = told or dict.fromkeys(rooms, 1.0)
    return max(weights, key=lambda worker: (_score(worker, model_id, weights[worker]), worker))


def placed(
    worker_id: str,
    *,
    rooms: Mapping[str, float],
    models: Iterable[str],
    held: Collection[str] = (),
) -> frozenset[str]:
    """The models that this worker pulls for: those it holds, and those it is home to."""
    return frozenset(model for model in models if model in held or home(model, rooms) == worker_id)


def _score(worker: str, model_id: str, weight: float) -> float:
    # A uniform draw u in (0, 1) for the pair; -w / ln(u) makes the highest score fall to a worker
    # with probability w over the sum (weighted rendezvous hashing).
    pair = f"{worker}\0{model_id}".encode()
    draw = int.from_bytes(hashlib.blake2b(pair, digest_size=8).digest(), "big")
    # 53 bits, which a float holds exactly: u stays away from 0 and from 1.
    return -weight / math.log(((draw >> 11) + 0.5) / 2**53)
