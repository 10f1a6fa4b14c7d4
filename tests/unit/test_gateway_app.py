"""The gateway's HTTP face, request by request, over a bus in memory."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest
from prometheus_client import REGISTRY
from tests.support.gateway_world import (
    MemoryBus,
    World,
    echo_result,
    gateway_world,
    heartbeat,
    standard_resolver,
)
from tests.support.polling import until

from sie_gateway.fleet.fleet import WORKERS_MAX
from sie_gateway.fleet.lives import Lives
from sie_gateway.fleet.watch import FleetWatch
from sie_schemas.errors import Later
from sie_schemas.jobs import ItemFailure, Job, JobFailure, JobResult

ONE = {"items": [{"text": "four", "id": "a"}]}


@asynccontextmanager
async def _http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=world.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client


async def _post(world: World, path: str, body: Any, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with _http(world) as http:
        if isinstance(body, bytes):
            return await http.post(path, content=body, headers=named)
        return await http.post(path, json=body, headers=named)


@pytest.mark.parametrize(
    "path",
    ["/v1/encode/org/dense", "/v1/encode/org%2Fdense", "/v1/encode/dense"],
)
async def test_encode_answers_in_json_by_id_escaped_id_and_alias(path: str) -> None:
    async with gateway_world() as world:
        response = await _post(world, path, ONE)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert body["model"] == "org/dense"
    assert world.asked_for == ["org/dense"], "traffic is of the model, whatever name it was given"
    assert body["items"] == [
        {"id": "a", "dense": {"dims": 3, "dtype": "float32", "values": [4.0, 0.0, 0.0]}}
    ]
    assert body["usage"] == {"input_tokens": 3}
    assert body["timing"]["inference_ms"] == 2.0


async def test_an_answer_tells_the_configuration_that_it_was_made_under() -> None:
    async with gateway_world() as world:
        body = ONE | {"params": {"options": {"lora": "legal"}}}
        response = await _post(world, "/v1/encode/org/dense:fast", body)
        model = world.resolver.resolve("org/dense:fast")
        adapter = world.resolver.adapter("org/dense", "legal")
        [job] = world.echo.seen
    headers = response.headers
    assert response.json()["model"] == "org/dense:fast"
    assert headers["X-SIE-Config-Epoch"] == "abababab.7"
    assert headers["X-SIE-Model-Revision"] == model.revision
    assert headers["X-SIE-Adapter-Revision"] == adapter.revision
    assert headers["X-SIE-Worker"] == "w1"
    assert headers["X-Inference-Time"] == "2.0"
    assert headers["X-SIE-Units-Input-Tokens"] == "3"
    assert len(headers["X-SIE-Request-Id"]) == 32
    assert headers["X-SIE-Server-Version"].startswith("0.10."), "published clients compare it"
    assert (job.profile, job.adapter and job.adapter.name, job.options) == ("fast", "legal", {})
    assert (job.log_id, job.epoch) == ("ab" * 16, 7)
    assert world.asked_for == ["org/dense/legal"], "an adapter's traffic is its own"


async def test_msgpack_in_and_out_carries_arrays_as_numpy() -> None:
    async with gateway_world() as world:
        response = await _post(
            world,
            "/v1/encode/org/dense",
            msgspec.msgpack.encode(ONE),
            content_type="application/x-msgpack",
            accept="application/msgpack",
        )
    assert response.headers["content-type"] == "application/x-msgpack"
    # To the letter what published clients read: keys of bytes, a type, an empty kind, C order.
    [entry] = msgspec.msgpack.decode(response.content)["items"]
    assert entry["dense"] == {
        "dims": 3,
        "dtype": "float32",
        "values": {
            b"nd": True,
            b"type": "<f4",
            b"kind": b"",
            b"shape": [3],
            b"data": struct.pack("<3f", 4, 0, 0),
        },
    }


async def test_score_ranks_across_jobs_and_names_items_without_an_id() -> None:
    async with gateway_world(job_items_max=2) as world:
        body = {"query": {"text": "q", "id": "q1"}, "items": [{"text": "x" * n} for n in range(5)]}
        response = await _post(world, "/v1/score/ranker", body)
        assert len(world.echo.seen) == 3
    assert response.json()["query_id"] == "q1"
    assert [entry["item_id"] for entry in response.json()["scores"]] == [
        f"item-{n}" for n in (4, 3, 2, 1, 0)
    ]


async def test_extract_gives_entities() -> None:
    async with gateway_world() as world:
        response = await _post(world, "/v1/extract/finder", ONE)
    assert response.json()["items"][0]["entities"][0]["text"] == "four"


BAD_BODIES = [
    ("encode/org/dense", b"{", 400, "INVALID_REQUEST", "$"),
    ("encode/org/dense", b'{"items": []}', 400, "INVALID_REQUEST", "$.items"),
    ("encode/org/dense", b"{}", 400, "INVALID_REQUEST", "$.items"),
    ("encode/org/dense", b'{"items":[{"text":1}]}', 400, "INVALID_REQUEST", "$.items[0].text"),
    ("encode/org/dense", b'{"items":[{"id":"a"}]}', 400, "INVALID_REQUEST", "$.items[0].text"),
    ("encode/org/dense", b'{"items":[{"txt":"a"}]}', 400, "INVALID_REQUEST", "$.items[0].txt"),
    (
        "encode/org/dense",
        b'{"items":[{"images":[{"data":"AAAA"}]}]}',
        400,
        "INVALID_REQUEST",
        "$.items[0].images",
    ),
    (
        "encode/org/dense",
        b'{"items":[{"text":"a"}],"params":{"options":{"lora":7}}}',
        400,
        "INVALID_REQUEST",
        "$.params.options.lora",
    ),
    (
        "encode/org/dense",
        b'{"items":[{"text":"a"}],"params":{"options":{"lora":"nobody"}}}',
        404,
        "ADAPTER_NOT_FOUND",
        "options.lora",
    ),
    (
        "encode/org/dense",
        b'{"items":[{"text":"a"}],"params":{"output_types":["sparse"]}}',
        400,
        "INVALID_REQUEST",
        "$.params.output_types[0]",
    ),
    (
        "extract/finder",
        b'{"items":[{"text":"a"}],"params":{"output_schema":{}}}',
        400,
        "INVALID_REQUEST",
        "$.params.output_schema",
    ),
    ("encode/nobody", b'{"items":[{"text":"a"}]}', 404, "MODEL_NOT_FOUND", "model"),
    ("encode/dense:slow", b'{"items":[{"text":"a"}]}', 404, "PROFILE_NOT_FOUND", "model"),
    ("encode/ranker", b'{"items":[{"text":"a"}]}', 400, "UNSUPPORTED_OPERATION", None),
    ("score/ranker", b'{"query":{"text":"q"},"items":[]}', 400, "INVALID_REQUEST", "$.items"),
    (
        "encode/org/dense",
        b'{"items":[{"text":"a","metadata":{"n":' + b"9" * 30 + b"}}]}",
        400,
        "INVALID_REQUEST",
        "$.items[0]",
    ),
]


@pytest.mark.parametrize(("path", "body", "status", "code", "field"), BAD_BODIES)
async def test_a_bad_request_is_refused_with_a_code_and_the_field(
    path: str, body: bytes, status: int, code: str, field: str | None
) -> None:
    async with gateway_world() as world:
        response = await _post(world, f"/v1/{path}", body)
        assert world.echo.seen == []
    detail = response.json()["detail"]
    assert (response.status_code, detail["code"], detail.get("field")) == (status, code, field)
    assert response.headers["X-SIE-Error-Code"] == code
    assert response.headers["X-SIE-Request-Id"]


async def test_malformed_msgpack_is_refused_and_an_empty_body_called_empty() -> None:
    async with gateway_world() as world:
        empty = await _post(world, "/v1/encode/org/dense", b"")
        assert (empty.status_code, empty.json()["detail"]["field"]) == (400, "$")
        assert "the body is empty" in empty.json()["detail"]["message"]
        response = await _post(
            world, "/v1/encode/org/dense", b"\xc1", content_type="application/msgpack"
        )
    assert response.status_code == 400
    assert "MessagePack" in response.json()["detail"]["message"]


async def test_limits_hold_for_bodies_items_characters_and_the_queue() -> None:
    async with gateway_world(
        body_bytes_max=200_000, request_chars_max=120_000, request_items_max=3
    ) as world:
        path = "/v1/encode/org/dense"
        fine = await _post(world, path, {"items": [{"text": "x" * 100_000}]})
        body = await _post(world, path, {"items": [{"text": "x" * 250_000}]})
        chars = await _post(world, path, {"items": [{"text": "x" * 130_000}]})
        items = await _post(world, path, {"items": [{"text": "x"}] * 4})
    assert fine.status_code == 200
    assert (body.status_code, body.headers["X-SIE-Error-Code"]) == (413, "PAYLOAD_TOO_LARGE")
    assert (chars.status_code, chars.headers["X-SIE-Error-Code"]) == (400, "INPUT_TOO_LONG")
    assert items.json()["detail"]["field"] == "$.items"
    async with gateway_world(payload_bytes_max=5000, object_bytes_max=0) as world:
        item = await _post(world, "/v1/encode/org/dense", {"items": [{"text": "x" * 5000}]})
    assert (item.status_code, item.json()["detail"]["field"]) == (413, "$.items[0]")


async def test_a_body_without_a_length_is_cut_off_at_the_limit() -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 1000

    async with gateway_world(body_bytes_max=10_000) as world, _http(world) as http:
        response = await http.post("/v1/encode/org/dense", content=endless())
    assert response.status_code == 413


async def test_a_cold_pool_answers_202_and_queues_nothing() -> None:
    place = {"pool": "default", "machine_profile": "cpu", "bundle": "default"}
    before = REGISTRY.get_sample_value("sie_gateway_cold_requests_total", place) or 0
    async with gateway_world(warm=False, provisioning_retry_after_s=0.25) as world:
        plain = await _post(world, "/v1/encode/org/dense", ONE)
        own = await _post(world, "/v1/encode/dense", ONE, x_sie_sdk_version="sie-cluster/9.9")
        assert world.bus.jobs.empty()
    assert plain.status_code == own.status_code == 202
    body = plain.json()
    assert body.pop("message")
    assert body == {
        "status": "provisioning",
        **place,
        "model": "org/dense",
        "retry_after_s": 0.25,
    }
    assert (plain.headers["Retry-After"], plain.headers["Retry-After-Ms"]) == ("1", "250")
    after = REGISTRY.get_sample_value("sie_gateway_cold_requests_total", place)
    assert after == before + 2


async def test_no_worker_is_an_alarm_where_one_is_asked_for_or_could_not_be_heard() -> None:
    async def tone(world: World) -> str:
        async with _http(world) as http:
            told = (await http.get("/health")).json()["troubles"]
        [trouble] = [each for each in told if each["id"] == "workers"]
        return str(trouble["tone"])

    async with gateway_world(warm=False) as world:
        assert await tone(world) == "warn"
        world.bus.connected = False
        assert await tone(world) == "bad", "without the broker silence says nothing"
        world.bus.connected = True
        assert (await _post(world, "/v1/encode/org/dense", ONE)).status_code == 202
        assert await tone(world) == "bad"
    async with gateway_world(warm=False) as world:
        await world.hear(heartbeat(ready=False))
        assert await tone(world) == "bad", "it is heard, and not ready"


async def test_a_cold_request_that_prefers_to_wait_is_answered_when_a_worker_comes() -> None:
    place = {"pool": "default", "machine_profile": "cpu", "bundle": "default"}

    def shown(name: str) -> float:
        return REGISTRY.get_sample_value(f"sie_gateway_kind_{name}", place) or 0

    async with gateway_world(warm=False) as world:
        asking = asyncio.create_task(_post(world, "/v1/encode/org/dense", ONE, prefer="wait=60"))
        await until(lambda: shown("in_flight_items") == 1)
        assert shown("wanted") == 1, "workers are started for what waits"
        assert world.bus.jobs.empty()
        await world.hear(heartbeat())
        response = await asking
        assert shown("in_flight_items") == 0
    assert response.status_code == 200
    assert response.json()["items"][0]["dense"]["values"] == [4.0, 0.0, 0.0]


async def test_a_cold_request_waits_no_longer_than_it_prefers_nor_than_any_request_may() -> None:
    async with gateway_world(warm=False) as world:
        assert (await _post(world, "/v1/encode/org/dense", ONE, prefer="wait=0")).status_code == 202
        other = await _post(world, "/v1/encode/org/dense", ONE, prefer="respond-async")
        assert other.status_code == 202, "another preference is passed over"
        for wrong in ("wait=soon", "wait", "wait=-1", "wait=1e3"):
            refused = await _post(world, "/v1/encode/org/dense", ONE, prefer=wrong)
            assert (refused.status_code, refused.json()["detail"]["field"]) == (400, "Prefer")
    async with gateway_world(warm=False, request_timeout_s=0.3) as world:
        late = await _post(world, "/v1/encode/org/dense", ONE, prefer="wait=600")
    assert late.status_code == 202


async def test_another_sdk_gets_503_provisioning_instead_of_202() -> None:
    async with gateway_world(warm=False) as world:
        response = await _post(world, "/v1/encode/org/dense", ONE, x_sie_sdk_version="0.10.1")
    assert response.status_code == 503
    assert response.json()["detail"]["code"] == "PROVISIONING"
    assert response.headers["Retry-After"] == "5"


async def test_a_worker_that_leaves_makes_its_pool_cold_at_once() -> None:
    async with gateway_world() as world:
        await world.hear(heartbeat(leaving=True))
        response = await _post(world, "/v1/encode/org/dense", ONE)
    assert response.status_code == 202


async def test_silence_is_no_demand_before_the_workers_could_be_heard_nor_without_the_broker() -> (
    None
):
    place = {"pool": "default", "machine_profile": "cpu", "bundle": "default"}

    def cold() -> float:
        return REGISTRY.get_sample_value("sie_gateway_cold_requests_total", place) or 0

    before = cold()
    async with gateway_world(warm=False, fleet_settle_s=600.0) as world:
        early = await _post(world, "/v1/encode/org/dense", ONE)
        world.bus.connected = False
        deaf = await _post(world, "/v1/encode/org/dense", ONE)
        world.bus.connected = True
        await world.hear(heartbeat())
        heard = await _post(world, "/v1/encode/org/dense", ONE)
    assert (early.status_code, early.headers["X-SIE-Error-Code"]) == (503, "PROVISIONING")
    assert (deaf.status_code, deaf.headers["X-SIE-Error-Code"]) == (503, "QUEUE_UNAVAILABLE")
    assert (early.headers["Retry-After"], deaf.headers["Retry-After"]) == ("1", "2")
    assert heard.status_code == 200
    assert cold() == before


async def test_after_the_broker_came_back_workers_have_their_time_to_be_heard_again() -> None:
    lives = Lives(doubt_s=1.5, dead_s=3.0)
    watch = FleetWatch(MemoryBus(), ttl_s=6.0, settle_s=0.1, lives=lives)

    def hears() -> bool:
        try:
            watch.check_hearing()
        except Later as error:
            assert error.code == "PROVISIONING"
            return False
        return True

    assert not hears()
    watch.begin()
    await until(hears)
    assert watch.settled
    watch.begin()
    assert not hears()
    assert watch.settled, "a broker that blinks makes no gateway unready"


async def test_the_pool_and_the_machine_profile_of_the_headers_are_used() -> None:
    async with gateway_world() as world:
        await world.hear(heartbeat("w2", machine_profile="l4"))
        await _post(world, "/v1/encode/org/dense", ONE, x_sie_machine_profile="L4")
        assert world.echo.subjects[-1].startswith("sie.work.default.l4.default.")
        night = await _post(world, "/v1/encode/org/dense", ONE, x_sie_pool="night")
        nowhere = await _post(world, "/v1/encode/org/dense", ONE, x_sie_pool="nowhere")
        wrong = await _post(world, "/v1/encode/org/dense", ONE, x_sie_machine_profile="h100")
    assert night.status_code == 202
    assert (nowhere.status_code, nowhere.headers["X-SIE-Error-Code"]) == (404, "POOL_NOT_FOUND")
    assert wrong.json()["detail"]["field"] == "X-SIE-MACHINE-PROFILE"


async def test_a_failed_item_has_an_error_and_its_neighbours_have_answers() -> None:
    def half(job: Job) -> JobResult:
        good = echo_result(job)
        failure = ItemFailure(1, "INFERENCE_ERROR", "poison")
        return echo_result(job, answers=(good.answers[0], b""), item_failures=(failure,))

    async with gateway_world() as world:
        world.echo.answer = half
        body = {"items": [{"text": "a"}, {"text": "b", "id": "bad"}]}
        encoded = await _post(world, "/v1/encode/org/dense", body)
        scored = await _post(world, "/v1/score/ranker", body | {"query": {"text": "q"}})
    assert encoded.status_code == 200
    assert encoded.json()["items"][1] == {
        "id": "bad",
        "error": {"code": "INFERENCE_ERROR", "message": "poison"},
    }
    assert scored.status_code == 500
    assert scored.json()["detail"]["details"][0]["item_index"] == 1


async def test_a_worker_that_says_later_makes_the_whole_request_wait() -> None:
    async with gateway_world() as world:
        world.echo.answer = lambda job: echo_result(
            job, answers=(), failure=JobFailure("MODEL_LOADING", "soon", 3.0)
        )
        response = await _post(world, "/v1/encode/org/dense", ONE)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "3")
    assert response.json()["detail"]["code"] == "MODEL_LOADING"


async def test_too_few_answers_are_an_error_and_never_a_gap() -> None:
    async with gateway_world() as world:
        world.echo.answer = lambda job: echo_result(job, answers=())
        response = await _post(world, "/v1/encode/org/dense", ONE)
    assert response.status_code == 500


async def test_an_adapter_that_was_not_applied_is_never_answered_with_base_weights() -> None:
    async with gateway_world() as world:
        world.echo.answer = lambda job: echo_result(job, adapter=None)
        body = ONE | {"params": {"options": {"lora": "legal"}}}
        response = await _post(world, "/v1/encode/org/dense", body)
        assert len(world.echo.seen) == 2
    assert response.json()["detail"]["code"] == "REVISION_CHANGED"


async def test_a_revision_that_changes_under_a_request_costs_one_more_run_of_all_of_it() -> None:
    async with gateway_world(job_items_max=1) as world:

        def change(job: Job) -> JobResult:
            if len(world.echo.seen) == 2:
                world.resolver = standard_resolver(epoch=8, generation=2)
                failure = JobFailure("REVISION_CHANGED", "replaced")
                return echo_result(job, answers=(), failure=failure)
            return echo_result(job)

        world.echo.answer = change
        items = {"items": [{"text": "a"}, {"text": "bb"}]}
        response = await _post(world, "/v1/encode/org/dense", items)
        new = world.resolver.resolve("org/dense").revision
        assert len(world.echo.seen) == 4
        assert len({job.job_id for job in world.echo.seen}) == 4
    assert response.status_code == 200
    assert response.headers["X-SIE-Model-Revision"] == new
    assert response.headers["X-SIE-Config-Epoch"].endswith(".8")


async def test_a_gateway_behind_its_workers_runs_a_request_again_when_it_has_caught_up() -> None:
    newer = standard_resolver(epoch=8, generation=2)
    revision = newer.resolve("org/dense").revision
    async with gateway_world() as world:

        def refuse(job: Job) -> JobResult:
            if job.model_revision == revision:
                return echo_result(job)
            asyncio.get_running_loop().call_later(0.05, setattr, world, "resolver", newer)
            failure = JobFailure("REVISION_CHANGED", "not at that revision here")
            return echo_result(job, answers=(), failure=failure)

        world.echo.answer = refuse
        response = await _post(world, "/v1/encode/org/dense", ONE)
        assert len(world.echo.seen) == 2
    assert response.status_code == 200, response.text


async def test_silence_ends_in_504_and_the_workers_are_told() -> None:
    async with gateway_world(request_timeout_s=0.05) as world:
        world.echo.answer = lambda job: None
        response = await _post(world, "/v1/encode/org/dense", ONE)
        request_id = response.headers["X-SIE-Request-Id"]
        assert (f"sie.cancel.{request_id}", b"") in world.bus.published
        # What comes now is confirmed, so that the worker can forget it, and is dropped.
        [late] = world.echo.seen
        assert await world.bus.deliver(echo_result(late)) == (late.job_id,)
    assert (response.status_code, response.headers["Retry-After"]) == (504, "5")


async def test_a_lost_bus_is_503_at_once_and_leaves_nothing_in_flight() -> None:
    async with gateway_world(in_flight_items_max=1) as world:
        world.bus.connected = False
        lost = await _post(world, "/v1/encode/org/dense", {"items": [{"text": "a"}] * 200})
        world.bus.connected = True
        again = await _post(world, "/v1/encode/org/dense", ONE)
    assert (lost.status_code, lost.headers["X-SIE-Error-Code"]) == (503, "QUEUE_UNAVAILABLE")
    assert again.status_code == 200


async def test_a_full_gateway_refuses_and_takes_again_when_there_is_room() -> None:
    async with gateway_world(in_flight_items_max=1) as world:
        world.echo.answer = lambda job: None
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(_post(world, "/v1/encode/org/dense", ONE))
            await until(lambda: world.echo.seen)
            full = await _post(world, "/v1/encode/org/dense", ONE)
            world.echo.answer = echo_result
            await world.bus.deliver(echo_result(world.echo.seen[0]))
        after = await _post(world, "/v1/encode/org/dense", ONE)
    assert (full.status_code, full.headers["X-SIE-Error-Code"]) == (503, "QUEUE_FULL")
    assert first.result().status_code == after.status_code == 200


async def test_bytes_that_wait_fill_a_gateway_as_items_do_and_are_given_back() -> None:
    large = {"items": [{"text": "x" * 30_000}]}
    async with gateway_world(in_flight_bytes_max=50_000) as world:
        world.echo.answer = lambda job: None
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(_post(world, "/v1/encode/org/dense", large))
            await until(lambda: world.echo.seen)
            full = await _post(world, "/v1/encode/org/dense", large)
            world.echo.answer = echo_result
            small = await _post(world, "/v1/encode/org/dense", ONE)
            await world.bus.deliver(echo_result(world.echo.seen[0]))
        world.echo.answer = lambda job: None
        async with asyncio.TaskGroup() as tasks:
            # An idle gateway takes what is above its bound: another one waits meanwhile.
            seen = len(world.echo.seen)
            beside = tasks.create_task(_post(world, "/v1/encode/org/dense", ONE))
            await until(lambda: len(world.echo.seen) > seen)
            world.echo.answer = echo_result
            after = await _post(world, "/v1/encode/org/dense", large)
            await world.bus.deliver(echo_result(world.echo.seen[seen]))
    assert beside.result().status_code == 200
    assert (full.status_code, full.headers["X-SIE-Error-Code"]) == (503, "QUEUE_FULL")
    assert full.headers["Retry-After"] == "1"
    assert [first.result().status_code, small.status_code, after.status_code] == [200] * 3


async def test_requests_at_the_same_time_each_get_their_own_answer() -> None:
    async with gateway_world(job_items_max=3) as world, _http(world) as http:

        async def one(number: int) -> list[float]:
            texts = [{"text": "x" * (number + n)} for n in range(7)]
            response = await http.post("/v1/encode/org/dense", json={"items": texts})
            return [entry["dense"]["values"][0] for entry in response.json()["items"]]

        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(one(number)) for number in range(50)]
    assert [task.result() for task in running] == [
        [float(number + n) for n in range(7)] for number in range(50)
    ]


async def test_only_post_is_taken_on_inference_routes() -> None:
    async with gateway_world() as world, _http(world) as http:
        response = await http.get("/v1/encode/org/dense")
    assert (response.status_code, response.headers["Allow"]) == (405, "POST")


async def test_the_rest_has_one_shape_of_error_too() -> None:
    async with gateway_world() as world, _http(world) as http:
        nothing = await http.get("/v1/nothing")
        method = await http.put("/health")
    assert (nothing.status_code, nothing.json()["detail"]["code"]) == (404, "NOT_FOUND")
    assert (method.status_code, method.json()["detail"]["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert method.headers["Allow"] == "GET"


async def test_a_defect_in_the_rest_is_told_in_the_one_shape_and_not_in_its_own_words() -> None:
    async with gateway_world() as world:
        world.resolver = None  # type: ignore[assignment]
        transport = httpx.ASGITransport(app=world.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            answer = await http.get("/v1/models")
    assert (answer.status_code, answer.headers["X-SIE-Error-Code"]) == (
        500,
        "INTERNAL_SERVER_ERROR",
    )
    assert answer.json()["detail"]["code"] == "INTERNAL_SERVER_ERROR"
    assert "NoneType" not in answer.text


async def test_the_registry_can_be_read_here_and_for_the_rest_the_writer_is_named() -> None:
    async with gateway_world(config_public_url="http://config:8081") as world, _http(world) as http:
        bundles = (await http.get("/v1/configs/bundles")).json()["bundles"]
        one = (await http.get("/v1/configs/bundles/default")).json()
        unknown = await http.get("/v1/configs/bundles/nobody")
        elsewhere = await http.get("/v1/configs/pools")
        head = await http.head("/healthz")
    assert bundles == [one]
    assert (one["name"], one["document"]["backends"]) == ("default", ["echo"])
    assert (unknown.status_code, unknown.json()["detail"]["code"]) == (404, "BUNDLE_NOT_FOUND")
    assert (elsewhere.status_code, elsewhere.json()["detail"]["code"]) == (404, "NOT_FOUND")
    assert "http://config:8081/v1/configs/pools" in elsewhere.json()["detail"]["message"]
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_config_write_is_answered_with_the_writers_address(method: str) -> None:
    async with (
        gateway_world(config_public_url="http://config:8081/") as world,
        _http(world) as http,
    ):
        response = await http.request(method, "/v1/configs/models", json={})
    assert response.status_code == 405
    assert response.headers["Location"] == "http://config:8081/v1/configs/models"
    assert "http://config:8081" in response.json()["detail"]["message"]


async def test_ready_means_a_registry_and_a_fleet_that_was_heard_and_no_stop() -> None:
    async with gateway_world(warm=False, fleet_settle_s=600.0) as world, _http(world) as http:
        unheard = await http.get("/readyz")
        await world.hear(heartbeat())
        ready = await http.get("/readyz")
        known, world.resolver = (
            world.resolver,
            type(world.resolver).of(type(world.resolver.registry).EMPTY, None),
        )
        empty = await http.get("/readyz")
        early = await http.post("/v1/encode/org/dense", json=ONE)
        world.resolver = known
        world.stop.set()
        stopping = await http.get("/readyz")
        alive = await http.get("/healthz")
    assert (unheard.status_code, ready.status_code, empty.status_code) == (503, 200, 503)
    assert early.json()["detail"]["code"] == "NOT_READY"
    assert (stopping.status_code, alive.status_code) == (503, 200)


async def test_health_is_told_with_its_models_or_without_and_refuses_another_word() -> None:
    async with gateway_world() as world, _http(world) as http:
        long, short = await http.get("/health"), await http.get("/health?models=false")
        refused = await http.get("/health?models=junk")
    assert long.json()["models"]
    assert "models" not in short.json()
    assert refused.status_code == 422
    assert refused.json()["detail"]["field"] == "models"


async def test_models_and_health_tell_what_the_workers_report() -> None:
    revision = standard_resolver().resolve("org/dense").revision
    loaded = {"org/dense": {"state": "loaded", "revision": revision}}
    async with gateway_world() as world, _http(world) as http:
        await world.hear(heartbeat(models=loaded, queue_depth=3, answered_per_s=1.5))
        await world.hear(
            heartbeat(
                "w2",
                machine_profile="l4",
                devices=2,
                devices_ready=1,
                devices_trouble="device 1: no answer for 4 s",
                pending_cost=96,
                batches_running=3,
                answered_per_s=2.0,
            )
        )
        listed = (await http.get("/v1/models")).json()
        one = (await http.get("/v1/models/org/dense")).json()
        alias = (await http.get("/v1/models/dense:fast")).json()
        unknown = await http.get("/v1/models/nobody")
        health = (await http.get("/health")).json()
        config = (await http.get("/v1/configs/models/org/dense")).json()
        configs = (await http.get("/v1/configs/models")).json()
        epoch = (await http.get("/v1/configs/epoch")).json()
        metrics = (await http.get("/metrics")).text
    assert [entry["name"] for entry in listed["models"]][:2] == ["finder", "finder:fast"]
    assert (one["state"], one["loaded"], one["revision"]) == ("loaded", True, revision)
    assert one["capabilities"]["lora_adapters"] == ["legal"]
    assert alias["id"] == "dense:fast"
    assert unknown.status_code == 404
    assert (health["type"], health["status"]) == ("gateway", "healthy")
    assert health["cluster"] == {
        "worker_count": 2,
        "gpu_count": 2,
        "models_loaded": 1,
        "total_qps": 3.5,
    }
    assert health["pending_generation"] == {"total": 0, "groups": []}
    one_cpu, two_gpus = health["workers"]
    assert (one_cpu["queue_depth"], one_cpu["gpu_count"], one_cpu["ready_gpu_slots"]) == (3, 0, 0)
    assert (two_gpus["gpu_count"], two_gpus["ready_gpu_slots"]) == (2, 1)
    assert (two_gpus["pending_cost"], two_gpus["inflight_batches"]) == (96, 3)
    assert (two_gpus["devices"], two_gpus["devices_ready"]) == (2, 1)
    [silent] = [each for each in health["troubles"] if each["id"] == "worker w2"]
    assert silent["what"] == "worker w2 works with 1 of 2 devices"
    assert silent["evidence"] == "device 1: no answer for 4 s"
    assert config["document"]["aliases"] == ["dense"]
    assert len(configs["models"]) == 3
    assert (epoch["epoch"], epoch["log_id"]) == (7, "ab" * 16)
    assert "sie_gateway_requests_total" in metrics


async def test_a_message_that_cannot_be_read_is_counted_and_harms_nothing() -> None:
    def count() -> float:
        name = "sie_gateway_malformed_messages_total"
        return REGISTRY.get_sample_value(name, {"kind": "heartbeat"}) or 0

    async with gateway_world() as world:
        before = count()
        await world.bus.publish("sie.health.w9", b"\xc1")
        assert (await _post(world, "/v1/encode/org/dense", ONE)).status_code == 200
        inbox = world.bus.inbox_of(world.echo.seen[0].job_id)
        assert await world.bus.request(inbox, b"\xc1") == []
        assert count() == before + 1
        assert (await _post(world, "/v1/encode/org/dense", ONE)).status_code == 200


async def test_a_worker_too_many_is_counted_as_that_and_not_as_a_message_that_nobody_can_read() -> (
    None
):
    def counts() -> tuple[float, float]:
        refused = REGISTRY.get_sample_value("sie_gateway_workers_refused_total") or 0
        malformed = "sie_gateway_malformed_messages_total"
        return refused, REGISTRY.get_sample_value(malformed, {"kind": "heartbeat"}) or 0

    bus = MemoryBus()
    watch = FleetWatch(bus, ttl_s=600.0, settle_s=0.1, lives=Lives(doubt_s=1, dead_s=3))
    await watch.open()
    for number in range(WORKERS_MAX):
        await bus.publish(f"sie.health.w{number}", msgspec.msgpack.encode(heartbeat(f"w{number}")))
    refused, malformed = counts()
    await bus.publish("sie.health.late", msgspec.msgpack.encode(heartbeat("late")))
    assert counts() == (refused + 1, malformed)
    assert "late" not in watch.fleet.seen
    await watch.close()


@pytest.mark.parametrize(("log_requests", "lines"), [("failed", 1), ("all", 2), ("none", 0)])
async def test_a_request_that_failed_has_a_line_that_finds_it_again(
    caplog: pytest.LogCaptureFixture, log_requests: str, lines: int
) -> None:
    def failing(job: Job) -> JobResult:
        failure = JobFailure("INFERENCE_ERROR", "the device said no")
        return echo_result(job, answers=(), failure=failure)

    caplog.set_level("INFO", logger="sie_gateway.http.request_log")
    async with gateway_world(log_requests=log_requests) as world:
        await _post(world, "/v1/encode/org/unknown", ONE)
        world.echo.answer = failing
        response = await _post(world, "/v1/encode/org/dense", ONE)
    assert response.status_code == 500
    assert len(caplog.records) == lines
    for line in caplog.records[-1:]:
        said = vars(line)
        assert said["request_id"] == response.headers["x-sie-request-id"]
        assert (said["model"], said["code"]) == ("org/dense", "INFERENCE_ERROR")
        assert said["epoch"] == str(world.resolver.position)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/encode/org/dense", ONE | {"params": {"options": {"lora": "legal"}}}),
        (
            "/v1/embeddings",
            {"model": "org/dense", "input": "four", "options": {"lora": "legal"}},
        ),
    ],
)
async def test_a_line_of_a_request_names_what_it_ran_on_whatever_the_api(
    caplog: pytest.LogCaptureFixture, path: str, body: dict[str, Any]
) -> None:
    caplog.set_level("INFO", logger="sie_gateway.http.request_log")
    async with gateway_world(log_requests="all") as world:
        response = await _post(world, path, body)
        refused = await _post(world, path, body | {"no_such_field": 1})
    assert (response.status_code, refused.status_code) == (200, 400)
    line, of_refused = (vars(record) for record in caplog.records)
    assert line["model"] == "org/dense"
    assert line["request_id"] == response.headers["X-SIE-Request-Id"]
    assert line["epoch"] == response.headers["X-SIE-Config-Epoch"]
    assert line["model_revision"] == response.headers["X-SIE-Model-Revision"]
    assert line["adapter_revision"] == response.headers["X-SIE-Adapter-Revision"]
    assert line["worker"] == "w1"
    assert "four" not in str(line), "what was in a request is never written"
    assert (of_refused["code"], of_refused["epoch"]) == ("INVALID_REQUEST", str(line["epoch"]))


async def test_a_defect_of_the_gateway_is_answered_in_the_shape_of_the_table(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with gateway_world() as world:
        world.echo.answer = lambda job: echo_result(job, answers=(b"\xc1",))
        response = await _post(world, "/v1/encode/org/dense", ONE)
        again = await _post(world, "/v1/embeddings", {"model": "org/dense", "input": "x"})
    assert response.status_code == again.status_code == 500
    assert response.json()["detail"]["code"] == response.headers["x-sie-error-code"]
    assert again.json()["error"]["message"]
    assert response.headers["x-sie-request-id"] in {
        vars(line).get("request_id") for line in caplog.records
    }
