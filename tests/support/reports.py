"""Reports of replicas, as the tests' gateway g1 sends them, and whoever takes them."""

from typing import Any

import msgspec

from sie_config.replicas.reports import Reports
from sie_core.chain import Position
from sie_runtime.signing import SigningKey
from sie_schemas.fleet import Head, ReplicaReport

__all__ = ["bounded_reports", "report_at", "witness_of"]


def bounded_reports(**bounds: Any) -> Reports:
    """Reports with room for all that a test says, unless `bounds` leave less."""
    roomy = {"report_bytes_max": 262_144, "bytes_max": 67_108_864}
    return Reports(**(roomy | bounds))


def witness_of(position: Position | Head, key: SigningKey, **fields: Any) -> bytes:
    """The report of a replica that has the signature of a position."""
    signature = key.sign(position.log_id, position.epoch, position.hash, position.digest)
    return report_at(position, signature=signature, **fields)


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
