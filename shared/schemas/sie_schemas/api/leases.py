"""Leases: shares of a pool that clients hold for a while, as `/v1/pools` and the broker have them.

*types.* JSON in both places, so that an operator can read the bucket. A lease is no pool: it caps a
share of one, and ends by itself when nobody renews it. Only pools of the log promise isolation.
"""

from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta, Struct

__all__ = ["LEASE_DECODER", "LEASE_REQUEST_DECODER", "Lease", "LeaseRequest", "LeaseSpec"]

# Python's `$` stands before a last newline too, and a name is a part of a subject.
Name: TypeAlias = Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9_-]{0,62}[a-z0-9])?$(?!\n)")]
Count: TypeAlias = Annotated[int, Meta(ge=1, le=100_000)]
Counts: TypeAlias = Annotated[dict[str, Count], Meta(max_length=64)]


class LeaseSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The lease that a client asks for. `gpus` are the workers that it counts on, by machine
    profile. `gpu_caps` are the most whose capacity its requests may use. At least one of the two
    names one."""

    name: Name
    queue_pool: str = "default"
    """The pool of the log that this is a share of."""
    gpus: Counts = {}
    gpu_caps: Counts = {}
    bundle: str | None = None
    minimum_worker_count: Annotated[int, Meta(ge=0, le=100_000)] = 0
    """Workers that are kept although nothing is asked for."""
    pinned_models: Annotated[tuple[str, ...], Meta(max_length=64)] = ()
    """Models that are loaded before they are asked for: `id` or `id:profile`."""

    @property
    def share(self) -> dict[str, int]:
        """Workers of each machine profile that this takes of the pool."""
        return {**self.gpus, **self.gpu_caps}


class LeaseRequest(LeaseSpec, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /v1/pools`."""

    ttl_seconds: Annotated[float, Meta(ge=1)] | None = None
    """The seconds that it lasts without being renewed; absent leaves it to the gateway."""


class Lease(Struct, frozen=True, kw_only=True):
    """A lease as the broker holds it. Times are Unix seconds of the gateway that wrote them."""

    spec: LeaseSpec
    ttl_s: float
    created_at: float
    renewed_at: float


LEASE_DECODER: Final = msgspec.json.Decoder(Lease)
LEASE_REQUEST_DECODER: Final = msgspec.json.Decoder(LeaseRequest)
