"""The autoscaler of a local cluster: starts and stops its workers by the gateway's demand.

*shell.* One loop that reads the gateway's `/metrics`, the same signal that an autoscaler of a large
cluster reads. Decides nothing itself: see `scaling`. A gateway that does not answer changes
nothing.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable

import httpx
from prometheus_client.parser import text_string_to_metric_families

from sie_cli.access.operator_access import bearer
from sie_cli.plan.settings import ClusterSettings
from sie_cli.supervisor.child import StartFailed
from sie_cli.supervisor.let_in import check_let_in
from sie_cli.supervisor.scaling import Demand, Scaling, demand_of

__all__ = ["autoscale", "check_demand"]


async def autoscale(
    gateway_url: str,
    settings: ClusterSettings,
    *,
    start: Callable[[], Awaitable[None]],
    stop: Callable[[], Awaitable[None]],
    say: Callable[[str], None],
) -> None:
    """Scale until cancelled. The cluster has no worker when it begins."""
    clock = asyncio.get_running_loop().time
    scaling = Scaling(idle_s=settings.scale_idle_s, now=clock())
    running = False
    async with httpx.AsyncClient(timeout=settings.ready_s, headers=bearer()) as http:
        while True:
            demand = await _look(http, gateway_url)
            decision = (
                scaling.decide(demand, running=running, now=clock()) if demand is not None else None
            )
            if decision == "start":
                say("workers are wanted: starting")
                running = await _attempt(start, say)
                scaling.started(clock())
            elif decision == "stop":
                say(f"nothing was asked for {settings.scale_idle_s:g} s: stopping the workers")
                await stop()
                running = False
            await asyncio.sleep(settings.scale_look_s)


async def check_demand(gateway_url: str) -> None:
    """Raises `FixRequest` where a gateway with tokens would not tell the autoscaler its demand."""
    async with httpx.AsyncClient(headers=bearer()) as http:
        try:
            response = await http.get(f"{gateway_url}/metrics")
        except httpx.HTTPError:
            # It is looked at again and again; what is asked here is the token alone.
            return
    check_let_in(response.status_code, response.content, process="the gateway", role="metrics")


async def _attempt(start: Callable[[], Awaitable[None]], say: Callable[[str], None]) -> bool:
    try:
        await start()
    except StartFailed as failure:
        # The watch over each process starts it again; a later look sees whether it came.
        say(failure.message)
    return True


async def _look(http: httpx.AsyncClient, gateway_url: str) -> Demand | None:
    try:
        response = await http.get(f"{gateway_url}/metrics")
    except httpx.HTTPError:
        return None
    if response.status_code != httpx.codes.OK:
        return None
    sums: defaultdict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(response.text):
        for sample in family.samples:
            sums[sample.name] += sample.value
    return demand_of(sums)
