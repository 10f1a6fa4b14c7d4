"""Laws of a lease's share: each lease has its own on each machine profile, and gets it back."""

import asyncio

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.gateway_world import echo_result, gateway_world, heartbeat
from tests.support.polling import until

CAPS = {"a": {"cpu": 1, "l4": 3}, "b": {"cpu": 2, "l4": 1}}
PER_WORKER = 2
REQUESTS = st.lists(
    st.tuples(st.sampled_from(sorted(CAPS)), st.sampled_from(["cpu", "l4"]), st.integers(1, 3)),
    min_size=3,
    max_size=14,
)


@given(requests=REQUESTS)
@settings(deadline=None, max_examples=15)
async def test_a_lease_is_refused_by_its_own_share_of_a_machine_profile_and_by_no_other(requests):
    async with (
        gateway_world(lease_items_per_worker=PER_WORKER, request_timeout_s=60.0) as world,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app=world.app), base_url="http://gateway"
        ) as http,
    ):
        await world.hear(heartbeat("w2", machine_profile="l4"))
        for name, caps in CAPS.items():
            made = await http.post("/v1/pools", json={"name": name, "gpu_caps": caps})
            assert made.status_code == 201
        world.echo.answer = lambda job: None
        asking: list[asyncio.Task[httpx.Response]] = []
        waiting: dict[tuple[str, str], int] = {}
        for name, profile, items in requests:
            seen = len(world.echo.seen)
            body = {"items": [{"text": "x"}] * items}
            headers = {"x-sie-pool": name, "x-sie-machine-profile": profile}
            sent = http.post("/v1/encode/org/dense", json=body, headers=headers)
            asked = asyncio.create_task(sent)
            await until(lambda seen=seen, asked=asked: asked.done() or len(world.echo.seen) > seen)
            before, most = waiting.get((name, profile), 0), CAPS[name][profile] * PER_WORKER
            if before and before + items > most:
                # One request alone is taken whatever its size.
                refused = asked.result()
                assert refused.status_code == 429
                assert f"lease {name!r} on {profile}" in refused.json()["detail"]["message"]
            else:
                assert not asked.done()
                waiting[name, profile] = before + items
                asking.append(asked)
        for job in list(world.echo.seen):
            await world.bus.deliver(echo_result(job))
        assert {answer.status_code for answer in await asyncio.gather(*asking)} == {200}
        world.echo.answer = echo_result
        for name, caps in CAPS.items():
            for profile, workers in caps.items():
                headers = {"x-sie-pool": name, "x-sie-machine-profile": profile}
                body = {"items": [{"text": "x"}] * (workers * PER_WORKER)}
                again = await http.post("/v1/encode/org/dense", json=body, headers=headers)
                assert again.status_code == 200
