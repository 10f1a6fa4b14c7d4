"""Laws of what a gateway tells of itself: its document names each field of it, and no other."""

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.gateway_world import gateway_world, heartbeat
from tests.support.told_answers import check_answer, told_answers

STATES = st.fixed_dictionaries(
    {"state": st.sampled_from(["available", "loading", "loaded", "failed"])},
    optional={
        "reason": st.sampled_from(["", "no such file"]),
        "dims": st.fixed_dictionaries({}, optional={"dense": st.just(3), "sparse": st.just(9)}),
        "max_sequence_length": st.sampled_from([0, 512]),
        "revision": st.just("r"),
    },
)
WORKERS = st.fixed_dictionaries(
    {
        "ready": st.booleans(),
        "pool": st.sampled_from(["default", "night"]),
        "machine_profile": st.sampled_from(["cpu", "l4"]),
        "models": st.dictionaries(st.sampled_from(["org/dense", "ranker", "gone"]), STATES),
        "devices_ready": st.integers(0, 2),
        "devices_trouble": st.sampled_from(["", "cuda:1: silent"]),
    }
)
LEASE = {"name": "lease", "gpus": {"cpu": 1}, "bundle": "default"}
PLACES = {"spec": "org/dense", "model_id": "org/dense", "name": "default"}


MAKES_THE_LEASE = ("post", "/v1/pools")


def turn(answer: tuple[str, str, int]) -> int:
    """Its place in the life of a lease: made, seen, renewed, ended."""
    return 0 if answer[:2] == MAKES_THE_LEASE else ["get", "post", "delete"].index(answer[0]) + 1


@settings(max_examples=20)
@given(workers=st.lists(WORKERS, max_size=3))
async def test_each_answer_has_the_fields_that_the_document_names_and_no_other(workers):
    answers = sorted(told_answers("sie-gateway"), key=turn)
    assert len(answers) > 10
    async with gateway_world(warm=False) as world:
        for index, worker in enumerate(workers):
            await world.hear(heartbeat(f"w{index}", **worker))
        transport = httpx.ASGITransport(app=world.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as http:
            for method, path, status in answers:
                asked = path.format(**PLACES | ({"name": "lease"} if "pools" in path else {}))
                body = LEASE if (method, path) == MAKES_THE_LEASE else None
                answer = await http.request(method.upper(), asked, json=body)
                assert answer.status_code == status, (asked, answer.text)
                told = (asked, status, answer.content)
                assert check_answer("sie-gateway", method, *told), "some field is judged"
