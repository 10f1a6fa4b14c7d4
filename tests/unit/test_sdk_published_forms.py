"""Forms of the published client's constructor and calls, on ours: what each sends, and refuses."""

import asyncio
import contextlib
import inspect
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
from tests.support.served import served_application

from sie_schemas.arrays import to_wire
from sie_sdk import (
    InsufficientCreditsError,
    Item,
    LoraLoadingError,
    ModelLoadingError,
    PoolError,
    ProvisioningError,
    RequestError,
    SIEAsyncClient,
    SIEClient,
)

_VECTOR = {"dims": 1, "dtype": "float32", "values": to_wire(np.ones(1, np.float32))}
_ANSWER = msgspec.msgpack.encode({"model": "m", "items": [{"dense": _VECTOR}]})
_NONE: dict[str, Any] = {
    "output_types": None,
    "instruction": None,
    "output_dtype": None,
    "is_query": None,
    "options": None,
    "gpu": None,
    "wait_for_capacity": None,
    "provision_timeout_s": None,
    "max_oom_retries": None,
}


class Echo:
    """A server that notes headers; it answers with a vector, or as told."""

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []
        self.answers: list[tuple[int, str]] = []
        self.at_once = self.most_at_once = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI."""
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self._answer(scope, receive, send)
        finally:
            self.at_once -= 1

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        more = True
        while more:
            more = (await receive()).get("more_body", False)
        self.headers.append({name.decode(): value.decode() for name, value in scope["headers"]})
        status, code = self.answers.pop(0) if self.answers else (200, "")
        told = json.dumps({"detail": {"code": code, "message": "no"}}).encode()
        headers = [(b"x-sie-model-revision", b"r7"), (b"x-sie-request-id", b"q1")]
        if code:
            headers.append((b"retry-after", b"0"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": told if code else _ANSWER})


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Echo, str]]:
    echo = Echo()

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[Any]:
        yield echo

    with served_application(opened) as url:
        yield echo, url


def _sent(served: tuple[Echo, str], **told: Any) -> dict[str, str]:
    """The headers of a request by a client that was made so."""
    echo, url = served
    with SIEClient(url, **told) as client:
        client.encode("m", "a")
    return echo.headers[-1]


def test_none_says_nothing_wherever_the_published_client_has_it_as_a_default(served):
    _, url = served
    names = inspect.signature(SIEClient).parameters
    told = {name: None for name, each in names.items() if each.default is None} | {"base_url": url}
    with SIEClient(**told) as client:
        assert client.encode("m", {"text": "a"}, **_NONE)["dense"].tolist() == [1.0]


def test_the_key_of_the_environment_is_sent_unless_an_empty_one_is_given(served, monkeypatch):
    monkeypatch.setenv("SIE_API_KEY", "secret")
    assert _sent(served)["authorization"] == "Bearer secret"
    assert _sent(served, api_key="other")["authorization"] == "Bearer other"
    assert "authorization" not in _sent(served, api_key="")


def test_what_an_edge_and_another_gateway_want_is_sent(served):
    sent = _sent(served, base_url_headers={"Modal-Key": "k"}, remote="forbid")
    assert (sent["modal-key"], sent["x-sie-remote"]) == ("k", "forbid")


@pytest.mark.parametrize(
    "told",
    [
        {"base_url_headers": {"Authorization": "x"}},
        {"base_url_headers": {"a b": "x"}},
        {"base_url_headers": {"a": "x\r\nb: y"}},
        {"remote": "allow"},
        {"control_plane_url": "http://elsewhere"},
        {"org": "acme"},
        {"http_client": httpx.Client(follow_redirects=True)},
    ],
    ids=lambda told: next(iter(told)),
)
def test_what_is_not_here_is_refused_by_its_name(told: dict[str, Any]):
    with pytest.raises(ValueError, match=next(iter(told))):
        SIEClient("http://here", **told)


def test_the_description_of_a_pool_is_no_pools_name():
    with pytest.raises(TypeError, match="create_pool"):
        SIEClient("http://here", pool={"name": "p", "gpus": {"cpu": 1}})  # type: ignore[arg-type]
    with SIEClient("http://here") as client, pytest.raises(ValueError, match="name a pool"):
        client.get_pool()


def test_a_client_of_ones_own_carries_the_requests_and_is_closed(served):
    echo, url = served
    own = httpx.Client(headers={"x-mine": "1"})
    with SIEClient(url, http_client=own) as client:
        client.encode("m", "a")
    assert echo.headers[-1]["x-mine"] == "1"
    assert echo.headers[-1]["x-sie-sdk-version"].startswith("sie-cluster/")
    assert own.is_closed


def test_the_last_answer_tells_its_retries_and_its_revision(served):
    echo, url = served
    with SIEClient(url) as client:
        assert (client.last_retry_count, client.last_model_revision) == (0, None)
        echo.answers = [(503, "MODEL_LOADING"), (503, "PROVISIONING")]
        result = client.encode("m", "a")
        assert (client.last_retry_count, client.last_model_revision) == (2, "r7")
        assert result["request"]["retries"] == 2
        client.encode("m", "a")
        assert client.last_retry_count == 0


@pytest.mark.parametrize(
    ("code", "kind", "attributes"),
    [
        ("PROVISIONING", ProvisioningError, {"gpu": "l4", "retry_after": 0.0}),
        ("MODEL_LOADING", ModelLoadingError, {"model": "m"}),
        ("LORA_LOADING", LoraLoadingError, {"model": "m", "lora": "legal"}),
        ("INSUFFICIENT_CREDITS", InsufficientCreditsError, {"param": None}),
    ],
)
def test_an_error_tells_what_its_caller_asked_for(served, code, kind, attributes):
    echo, url = served
    echo.answers = [(402 if code.startswith("I") else 503, code)] * 20
    asking = SIEClient(url, gpu="l4", options={"lora": "legal"})
    with asking as client, pytest.raises(kind) as refused:
        client.encode("m", "a", wait_for_capacity=False)
    echo.answers.clear()
    assert {name: getattr(refused.value, name) for name in attributes} == attributes
    assert refused.value.request == {"id": "q1"}


def test_an_error_of_a_pool_names_it(served):
    echo, url = served
    echo.answers = [(403, "POOL_OPERATION_FORBIDDEN")]
    with SIEClient(url) as client, pytest.raises(PoolError) as refused:
        client.delete_pool("Mine")
    assert (refused.value.pool_name, refused.value.state) == ("Mine", None)
    assert isinstance(refused.value, RequestError)


def test_an_item_can_be_read_as_the_mapping_that_it_is_there():
    item = Item(text="a", id="x")
    assert {**item} == {"text": "a", "id": "x"}
    assert (item["text"], item.get("images", 7), "id" in item, "image" in item) == (
        "a",
        7,
        True,
        False,
    )
    with pytest.raises(KeyError):
        item["image"]


async def test_a_bound_on_requests_at_once_is_kept(served):
    echo, url = served
    async with SIEAsyncClient(url, max_concurrency=2) as client:
        await asyncio.gather(*(client.encode("m", "a") for _ in range(20)))
    assert 0 < echo.most_at_once <= 2


def test_a_watch_of_a_single_worker_is_refused(served):
    _, url = served
    mode: Any = "worker"
    with SIEClient(url) as client, pytest.raises(ValueError, match="worker"):
        next(iter(client.watch(mode=mode)))
