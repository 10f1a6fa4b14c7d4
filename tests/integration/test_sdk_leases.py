"""The SDK's pool calls against a gateway and a real broker: a lease lives while its client does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.gateway_world import gateway_world
from tests.support.nats import nats_server
from tests.support.polling import until, until_told
from tests.support.provisioned import provide

from sie_runtime.broker.bus import Bus, BusSettings
from sie_runtime.process.lifecycle import serve_http
from sie_runtime.streams.lease_store import LeaseStore, LeaseStoreSettings
from sie_sdk import RequestError, SIEAsyncClient, SIEClient

pytestmark = pytest.mark.integration


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[str, LeaseStore]]:
    """A gateway on a port, and the store that its leases are in."""
    async with nats_server(folder) as url:
        bus = await Bus.connect(BusSettings(nats_url=url), role="gateway", process_id="one")
        assert await bus.wait_connected(5)
        await provide(bus)
        store = LeaseStore(bus, LeaseStoreSettings())
        stop, ports = asyncio.Event(), list[int]()
        async with gateway_world(leases=store) as world, asyncio.TaskGroup() as tasks:
            tasks.create_task(
                serve_http(
                    world.app, host="127.0.0.1", port=0, stop=stop, on_listening=ports.append
                )
            )
            await until(lambda: ports)
            yield f"http://127.0.0.1:{ports[0]}", store
            stop.set()
        await bus.close()


class Awaited:
    """The synchronous client with the face of the other one."""

    def __init__(self, url: str) -> None:
        self._client = SIEClient(url)

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)

        async def awaited(*arguments: Any, **named: Any) -> Any:
            return await asyncio.to_thread(call, *arguments, **named)

        return awaited


@pytest.mark.parametrize("make", [SIEAsyncClient, Awaited])
async def test_a_lease_is_renewed_while_its_client_lives_and_ends_after_it(
    tmp_path: Path, make: Any
) -> None:
    async with served(tmp_path) as (url, store):
        client = make(url)
        pool = await client.create_pool("Eval", {"cpu": 1}, gpu_caps={"cpu": 1}, ttl_s=3)
        assert pool["status"]["state"] == "active"
        made_at = pool["status"]["last_renewed"]

        async def was_renewed_beyond_its_time() -> bool:
            seen = await client.get_pool("eval")
            return bool(seen) and seen["status"]["last_renewed"] - made_at > 3.2

        await until_told(was_renewed_beyond_its_time)
        answer = await client.encode("org/dense", "abc", gpu="eval/cpu")
        assert answer["dense"][0] == 3.0
        assert "eval" in [each["name"] for each in await client.list_pools()]
        await client.close()

        async def is_gone() -> bool:
            return not (await store.read()).held

        await until_told(is_gone)


@pytest.mark.parametrize("make", [SIEAsyncClient, Awaited])
async def test_a_lease_that_is_deleted_is_gone_and_its_name_free(tmp_path: Path, make: Any) -> None:
    async with served(tmp_path) as (url, _):
        client = make(url)
        await client.create_pool("eval", {"cpu": 1})
        await client.renew_pool("eval")
        assert await client.delete_pool("eval") is True
        assert await client.delete_pool("eval") is False
        assert await client.get_pool("eval") is None
        with pytest.raises(RequestError) as refused:
            await client.renew_pool("eval")
        assert refused.value.code == "POOL_NOT_FOUND"
        with pytest.raises(RequestError) as forbidden:
            await client.create_pool("default", {"cpu": 1})
        assert forbidden.value.code == "POOL_OPERATION_FORBIDDEN"
        await client.close()
