"""Laws of a lease's share: each lease has its own on each machine profile, and gets it back."""

import asyncio
from contextlib import ExitStack

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.gateway_world import echo_result, gateway_world, heartbeat
from tests.support.polling import until

from sie_gateway.request.admission import Caps, Shares
from sie_schemas.errors import Later

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

            def is_told(seen: int = seen, asked: asyncio.Task[httpx.Response] = asked) -> bool:
                return asked.done() or len(world.echo.seen) > seen

            await until(is_told)
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


@given(
    steps=st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(1, 4), st.integers(1, 9)), max_size=20
    ),
    ends=st.lists(st.integers(0, 30), max_size=30),
)
def test_each_has_what_is_in_flight_of_its_own_and_who_is_idle_is_forgotten(steps, ends):
    shares, caps = Shares(), Caps(6, 20)
    open_ones: list[tuple[str, int, int, ExitStack]] = []
    for number, (whose, items, size) in enumerate(steps):
        for place in ends[number : number + 1]:
            if open_ones:
                open_ones.pop(place % len(open_ones))[3].close()
        own = [each for each in open_ones if each[0] == whose]
        in_flight = sum(each[1] for each in own), sum(each[2] for each in own)
        fits = not own or (in_flight[0] + items <= 6 and in_flight[1] + size <= 20)
        stack = ExitStack()
        try:
            stack.enter_context(shares.taken(whose, caps, items=items, size=size))
        except Later as error:
            assert not fits
            assert error.code == "RATE_LIMIT"
        else:
            assert fits
            open_ones.append((whose, items, size, stack))
        assert len(shares) == len({each[0] for each in open_ones})
    for each in open_ones:
        each[3].close()
    assert len(shares) == 0
