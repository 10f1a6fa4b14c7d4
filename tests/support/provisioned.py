"""The provisions that sie-config makes on the broker, for tests that have none."""

from collections.abc import Iterable
from typing import Any

from tests.support.polling import until_told

from sie_runtime.broker.bus import Bus, BusUnavailable
from sie_runtime.streams.provisions import Provisions, ProvisionSettings

__all__ = ["provide", "provided_consumer"]


async def provide(bus: Bus, pools: Iterable[str] = (), **changed: Any) -> Provisions:
    """Make what all pools share, and the queues of some; `changed` are settings.

    A broker that has just started may not have its store ready yet.
    """
    provisions = Provisions(bus, ProvisionSettings(**changed))
    wanted = list(pools)

    async def made() -> bool:
        try:
            await provisions.ensure_shared()
            for pool in wanted:
                await provisions.ensure_pool(pool)
        except BusUnavailable:
            return False
        return True

    await until_told(made)
    return provisions


async def provided_consumer(bus: Bus, lane: dict[str, str], **changed: Any) -> Provisions:
    """All that one lane needs: pool, machine profile, bundle and model id."""
    provisions = await provide(bus, [lane["pool"]], **changed)
    await provisions.ensure_consumer(**lane)
    return provisions
