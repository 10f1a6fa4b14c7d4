"""What a replica reports, as the tests' gateway g1 would."""

from typing import Any

import msgspec

from sie_core.chain import Position
from sie_schemas.fleet import Head, ReplicaReport

__all__ = ["report_at"]


def report_at(position: Position | Head, **fields: Any) -> bytes:
    """The encoded report of a replica that is fresh at a position; `fields` say what is else."""
    told: dict[str, Any] = {
        "role": "gateway",
        "id": "g1",
        "log_id": position.log_id,
        "epoch": position.epoch,
        "hash": position.hash,
        "digest": position.digest,
        "received": position.epoch,
        "state": "fresh",
    }
    return msgspec.json.encode(ReplicaReport(**(told | fields)))
