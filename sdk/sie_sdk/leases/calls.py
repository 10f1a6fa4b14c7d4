"""Leases of pools: what the calls say, and when a lease is renewed.

*pure.* Both clients stand on this. `Renewals` promises that a lease is renewed well before it ends,
and soon again after a renewal that failed. Once the gateway says that it is gone, it is never
renewed again. What comes of a renewal says nothing of a lease that was given after it began. Time
is an argument, in seconds of one clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import quote

import msgspec

from sie_schemas.errors import FixRequest, Later, SIEError
from sie_sdk.wire.call import Call

__all__ = [
    "Failure",
    "Held",
    "Renewals",
    "create_call",
    "named",
    "pool_call",
    "pool_named",
    "pools_call",
    "renew_call",
    "ttl_of",
]

Failure: TypeAlias = Literal["again", "lost", "forgotten"]
"""A failed renewal comes to a next try, to the end of a lease, or to nothing that matters."""

_PATH: Final = "/v1/pools"
_RENEW_S_MAX: Final = 60.0
"""A gateway that lost its memory hears of a lease within a minute."""
_SHARE_OF_TTL: Final = 1 / 3
"""Two renewals may fail before a lease ends."""
_AGAIN_SHARE_OF_TTL: Final = 1 / 20
"""After a failure: six tries before the next regular one."""
_TTL_S: Final = 1200.0
"""The time that a gateway gives where nobody asks; an older one does not tell."""


def create_call(
    name: str,
    *,
    gpus: Mapping[str, int] | None,
    gpu_caps: Mapping[str, int] | None,
    bundle: str | None,
    minimum_worker_count: int | None,
    pinned_models: Sequence[str] | None,
    queue_pool: str | None,
    ttl_s: float | None,
) -> Call:
    """A request for a lease."""
    told = {
        "gpus": gpus,
        "gpu_caps": gpu_caps,
        "bundle": bundle,
        "minimum_worker_count": minimum_worker_count,
        "pinned_models": pinned_models,
        "queue_pool": queue_pool,
        "ttl_seconds": ttl_s,
    }
    body = {"name": name.lower()} | {key: value for key, value in told.items() if value is not None}
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    body_text = msgspec.json.encode(body)
    return Call("POST", _PATH, headers, body_text, asked={"pool_name": name})


def pool_named(pool: object) -> str | None:
    """The pool of a client's calls. Raises `TypeError` for the description of one."""
    if pool is None or isinstance(pool, str):
        return pool
    raise TypeError("pool is a name; what is to be leased is told to create_pool(name, gpus, ...)")


def named(name: str | None, own: str | None) -> str:
    """The pool that a call is about. Raises `ValueError` where there is none."""
    found = name or own
    if not found:
        raise ValueError("name a pool: this client was made without one of its own")
    return found


def pools_call() -> Call:
    """A request for the list."""
    return _plain("GET", _PATH)


def pool_call(method: str, name: str) -> Call:
    """A request for one lease, or for its end."""
    return _plain(method, f"{_PATH}/{quote(name.lower(), safe='')}", name)


def renew_call(name: str) -> Call:
    """A request to let a lease last."""
    return _plain("POST", f"{_PATH}/{quote(name.lower(), safe='')}/renew", name)


def _plain(method: str, path: str, name: str | None = None) -> Call:
    return Call(method, path, {"Accept": "application/json"}, asked={"pool_name": name})


def ttl_of(pool: Mapping[str, Any]) -> float:
    """The seconds that a lease lasts, as the answer to its creation tells."""
    return float(pool.get("spec", {}).get("ttl_seconds", _TTL_S))


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """A lease from when it was given, or renewed last. One that was given anew is another."""

    name: str
    ttl_s: float
    due_at: float


class Renewals:
    """The leases that one client renews. Owned by whoever renews them."""

    def __init__(self) -> None:
        self._held: dict[str, Held] = {}

    @property
    def names(self) -> list[str]:
        """The leases that are renewed."""
        return list(self._held)

    def hold(self, name: str, *, ttl_s: float, now: float) -> None:
        """A lease was given, or changed."""
        name = name.lower()
        self._held[name] = Held(name, ttl_s, now + min(_RENEW_S_MAX, ttl_s * _SHARE_OF_TTL))

    def forget(self, name: str) -> None:
        """It is renewed no more."""
        self._held.pop(name.lower(), None)

    def due(self, now: float) -> list[Held]:
        """Those to renew now, the most urgent first."""
        due = [held for held in self._held.values() if held.due_at <= now]
        return sorted(due, key=lambda held: (held.due_at, held.name))

    def wait_s(self, now: float) -> float | None:
        """The seconds in which nothing is due; None while nothing is held."""
        if not self._held:
            return None
        return max(0.0, min(held.due_at for held in self._held.values()) - now)

    def renewed(self, held: Held, *, now: float) -> None:
        """It lasts its whole time from now."""
        if self._is_held(held):
            self.hold(held.name, ttl_s=held.ttl_s, now=now)

    def failed(self, held: Held, error: SIEError, *, now: float) -> Failure:
        """A renewal did not succeed; "forgotten" where that lease is not held any more."""
        if not self._is_held(held):
            return "forgotten"
        # A 429 is both: the caller is at fault, and is taken later.
        if isinstance(error, FixRequest) and not isinstance(error, Later):
            self.forget(held.name)
            return "lost"
        again_at = now + min(_RENEW_S_MAX, max(0.05, held.ttl_s * _AGAIN_SHARE_OF_TTL))
        self._held[held.name] = replace(held, due_at=again_at)
        return "again"

    def _is_held(self, held: Held) -> bool:
        # Not by the name: it may have been ended and given anew while its renewal was under way.
        return self._held.get(held.name) is held
