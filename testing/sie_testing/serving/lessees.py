"""Clients that lease: each holds a share of a pool for a while, and sends requests under it.

*shell.* A lessee asks one gateway for a lease, and sends what it runs under it through any. It
renews the lease, or lets it end; sometimes it asks for more than there is. Each answer of a gateway
on a lease is judged against the table.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from sie_gateway.leases.lease_desk import LeaseDesk
from sie_schemas.api.leases import LeaseRequest
from sie_schemas.errors import SIEError
from sie_testing.serving.models import LEASABLE, PROFILE
from sie_testing.stage.broken import Broken

if TYPE_CHECKING:
    from sie_testing.serving.load import Clients
    from sie_testing.serving.processes import GatewayProcess
    from sie_testing.serving.world import ServingWorld

__all__ = ["LESSEE", "Lessee"]

LESSEE: Final = "lessee"
"""The tenant of every request under a lease."""
_TTL_S: Final = 4.0
"""Longer than a few requests, and short beside a run: a lease that nobody renews does end in it."""
_DONE: Final = "done"
_UNKNOWN: Final = "unknown"


class Lessee:
    """One client that leases again and again."""

    def __init__(
        self, world: "ServingWorld", rng: random.Random, clients: "Clients", name: str
    ) -> None:
        self._world = world
        self._rng = rng
        self._clients = clients
        self._who = name
        self._name = name
        """Of the lease of now: each has a name of its own."""
        self._held_since = 0.0
        """From then on the lease was there as far as this client was told."""

    async def lease_some(self, count: int) -> None:
        """So many leases, one after the other."""
        for number in range(count):
            await asyncio.sleep(self._rng.expovariate(1.0))
            self._name, self._held_since = f"{self._who}-{number}", 0.0
            if await self._leased():
                await self._used()

    async def _leased(self) -> bool:
        rng = self._rng
        request = LeaseRequest(
            name=self._name,
            queue_pool=rng.choice(self._world.pools),
            gpus={PROFILE: rng.randint(1, LEASABLE)},
            ttl_seconds=_TTL_S,
        )
        told = await self._told("is given", lambda desk: desk.create(request))
        return told == _DONE

    async def _used(self) -> None:
        """Requests under the lease, its renewals, and its end: by a word, or by itself."""
        rng = self._rng
        for _ in range(rng.randint(1, 4)):
            await self._clients.send_leased(LESSEE, self._name)
            if rng.random() < 0.5:
                await self._told("is renewed", lambda desk: desk.renew(self._name))
        if rng.random() < 0.5:
            await self._told("is given back", lambda desk: desk.delete(self._name))
        else:
            await asyncio.sleep(_TTL_S + 1.0)

    async def _told(self, what: str, ask: "Callable[[LeaseDesk], Awaitable[Any]]") -> str:
        """A gateway's word on the lease: `done`, the code of an error, or nothing."""
        world = self._world
        living = [each for each in world.gateways if each.parts is not None]
        if not living:
            return _UNKNOWN
        gateway = self._rng.choice(living)
        asked_at, since = world.loop.time(), self._held_since
        code = await self._answered(gateway, ask)
        world.trace.say("client", f"{self._name} {what} by {gateway.name}: {code}")
        try:
            self._judge(what, code, asked_at, since)
        except Broken as error:
            world.breaks(error)
        return code

    def _judge(self, what: str, code: str, asked_at: float, since: float) -> None:
        laws = self._world.laws
        match code:
            case "done":
                self._held_since = self._world.loop.time()
                self._world.took_effect("leasing")
            case "POOL_NOT_FOUND" if what != "is given":
                laws.lease_is_absent(self._name, since or asked_at)
            case "POOL_CAPACITY_UNAVAILABLE":
                laws.lease_is_refused(self._name, asked_at)
            case "QUEUE_UNAVAILABLE" | "NOT_READY" | "unknown":
                laws.lease_is_unheard(self._name, code)
            case _:
                raise Broken(f"lease {self._name} {what}: {code}")

    async def _answered(
        self, gateway: "GatewayProcess", ask: "Callable[[LeaseDesk], Awaitable[Any]]"
    ) -> str:
        host, parts = gateway.host, gateway.parts
        assert host is not None and parts is not None, "it was chosen because it lives"
        answering = self._world.loop.create_task(
            _awaited(ask, parts.desk), name=self._name, context=host.context
        )
        await asyncio.wait([answering])
        if answering.cancelled() or not host.alive:
            return _UNKNOWN
        error = answering.exception()
        if error is None:
            return _DONE
        if not isinstance(error, SIEError):
            raise error
        return error.code


async def _awaited(ask: "Callable[[LeaseDesk], Awaitable[Any]]", desk: "LeaseDesk") -> Any:
    return await ask(desk)
