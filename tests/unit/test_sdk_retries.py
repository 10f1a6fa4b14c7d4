"""The table of retries, each row against a server that misbehaves on purpose."""

import asyncio
import contextlib
import json
import socketserver
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from socket import SO_LINGER, SOL_SOCKET
from typing import Any, TypeAlias

import httpx
import msgspec
import numpy as np
import pytest
from tests.support.served import served_application

from sie_schemas.arrays import to_wire
from sie_sdk import (
    FixRequest,
    GatewayTimeoutError,
    IncompleteBatchError,
    InputTooLongError,
    LoraLoadingError,
    ModelLoadFailedError,
    ModelLoadingError,
    ProvisioningError,
    RateLimitError,
    RequestError,
    ResourceExhaustedError,
    Retry,
    ServerError,
    SIEAsyncClient,
    SIEClient,
    SIEConnectionError,
    SIEError,
    TimeRanOut,
    UnavailableError,
)
from sie_sdk.patience import Patience, retry_delay_s
from sie_sdk.wire.transport import connection_error

GOOD = {"dense": {"dims": 1, "dtype": "float32", "values": to_wire(np.ones(1, np.float32))}}


class Script:
    """A server that answers in order as told, the last answer for ever."""

    def __init__(self) -> None:
        self.answers: list[Callable[[int], tuple[int, dict[str, str], bytes]]] = []
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI."""
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.bodies.append(body)
        count = len(msgspec.msgpack.decode(body)["items"]) if body else 0
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        status, headers, content = answer(count)
        told = [(name.encode(), value.encode()) for name, value in headers.items()]
        if status == 0:
            raise ConnectionAbortedError("the script says so")
        await send({"type": "http.response.start", "status": status, "headers": told})
        await send({"type": "http.response.body", "body": content})


def good(count: int) -> tuple[int, dict[str, str], bytes]:
    headers = {"X-SIE-Config-Epoch": "ab.7", "X-SIE-Model-Revision": "new"}
    return 200, headers, msgspec.msgpack.encode({"model": "m", "items": [GOOD] * count})


def bad(
    status: int, code: str | None = None, **headers: str
) -> Callable[[int], tuple[int, dict[str, str], bytes]]:
    body = {"detail": {"code": code, "message": "no", "field": "$.x"}} if code else {"detail": "no"}
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: (status, {"X-SIE-Request-Id": "r1", **told}, json.dumps(body).encode())


class Stop(Exception):
    """Raised by a callback: the pause is seen and not waited for."""


class Pauses(list[Retry]):
    """The retries that a client told of, and the end after the first where `once`."""

    def __init__(self, *, once: bool = False) -> None:
        super().__init__()
        self._once = once

    def __call__(self, retry: Retry) -> None:
        """Note a retry."""
        self.append(retry)
        if self._once:
            raise Stop


Served: TypeAlias = tuple[Script, str, bool]


@pytest.fixture(scope="module", params=[False, True], ids=["sync", "async"])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    """The script, its address, and whether it is asked by the asynchronous client."""
    script = Script()

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[Any]:
        yield script

    with served_application(opened) as url:
        yield script, url, request.param


def asked(
    served: Served, *answers: Any, once: bool = False, **told: Any
) -> tuple[Any, Pauses, int]:
    """The result or the error, the pauses, and how many requests there were."""
    script, url, is_async = served
    script.answers, script.bodies = list(answers), []
    pauses = Pauses(once=once)

    async def one() -> Any:
        async with SIEAsyncClient(url, on_retry=pauses) as client:
            return await client.encode("m", "a", **told)

    try:
        if is_async:
            found: Any = asyncio.run(one())
        else:
            with SIEClient(url, on_retry=pauses) as client:
                found = client.encode("m", "a", **told)
    except (SIEError, Stop) as error:
        found = error
    return found, pauses, len(script.bodies)


NOW = {"Retry_After": "0.001"}


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (bad(503, "PROVISIONING", **NOW), ProvisioningError),
        (bad(503, "provisioning", **NOW), ProvisioningError),
        (bad(202, "PROVISIONING", **NOW), ProvisioningError),
        (bad(503, "MODEL_LOADING", **NOW), ModelLoadingError),
        (bad(504, "GATEWAY_TIMEOUT", **NOW), GatewayTimeoutError),
        (bad(503, "QUEUE_FULL", **NOW), UnavailableError),
        (bad(503, "BILLING_CAPACITY_UNAVAILABLE", **NOW), UnavailableError),
        (bad(429, "RATE_LIMIT", **NOW), RateLimitError),
        (bad(429, "of_a_proxy", **NOW), RateLimitError),
        (bad(429, **NOW), RateLimitError),
    ],
)
def test_what_ends_when_capacity_comes_is_asked_for_until_the_time_is_over(
    served: Served, answer: Any, kind: type[SIEError]
) -> None:
    found, pauses, count = asked(served, answer, answer, answer, good)
    assert found["dense"].tolist() == [1.0]
    assert (len(pauses), count) == (3, 4)
    late, _, count = asked(served, answer, provision_timeout_s=0.01)
    assert isinstance(late, kind)
    assert count >= 1
    assert late.request_id == "r1"


def test_a_caller_may_refuse_to_wait_for_capacity(served: Served) -> None:
    for code in ("PROVISIONING", "MODEL_LOADING", "GATEWAY_TIMEOUT"):
        status = 504 if code == "GATEWAY_TIMEOUT" else 503
        found, pauses, count = asked(served, bad(status, code, **NOW), wait_for_capacity=False)
        assert (found.code, found.status_code, len(pauses), count) == (code, status, 0, 1)


@pytest.mark.parametrize(
    ("answer", "tries", "kind"),
    [
        (bad(503, "LORA_LOADING", **NOW), 10, LoraLoadingError),
        (bad(503, "RESOURCE_EXHAUSTED", **NOW), 3, ResourceExhaustedError),
        (bad(503, "REVISION_CHANGED", **NOW), 4, UnavailableError),
        (bad(503, "QUEUE_UNAVAILABLE", **NOW), 4, UnavailableError),
        (bad(503, "transport_failure", **NOW), 4, UnavailableError),
    ],
)
def test_the_rest_that_may_pass_is_asked_for_a_few_times(
    served: Served, answer: Any, tries: int, kind: type[SIEError]
) -> None:
    found, pauses, count = asked(served, answer)
    assert isinstance(found, kind)
    assert (len(pauses), count) == (tries, tries + 1)
    assert isinstance(found, ServerError) == (kind is not LoraLoadingError)


def test_the_tries_without_memory_are_the_callers(served: Served) -> None:
    answer = bad(503, "RESOURCE_EXHAUSTED", **NOW)
    assert asked(served, answer, max_oom_retries=0)[2] == 1


@pytest.mark.parametrize(
    ("answer", "least_s", "most_s"),
    [
        (bad(503, "PROVISIONING"), 5, 6.25),
        (bad(503, "MODEL_LOADING"), 2, 2.5),
        (bad(503, "LORA_LOADING"), 1, 1.25),
        (bad(503, "RESOURCE_EXHAUSTED"), 5, 6.25),
        (bad(503, "QUEUE_FULL"), 1, 1.25),
        (bad(503, "BILLING_CAPACITY_UNAVAILABLE"), 1, 1.25),
        (bad(429, "RATE_LIMIT"), 1, 1.25),
        (bad(429), 1, 1.25),
        (bad(503, "PROVISIONING", Retry_After="7"), 7, 8.75),
        (bad(503, "PROVISIONING", Retry_After="0.5"), 0.5, 0.625),
        (bad(429, Retry_After="3"), 3, 3.75),
        (bad(504, "GATEWAY_TIMEOUT"), 5, 6.25),
        *((bad(503, "QUEUE_FULL", Retry_After=odd), 1, 1.25) for odd in ("-1", "nan", "inf", "x")),
    ],
)
def test_the_pause_is_what_the_server_says_else_the_codes_own(
    served: Served, answer: Any, least_s: float, most_s: float
) -> None:
    _, [pause], _ = asked(served, answer, once=True)
    assert least_s <= pause.pause_s <= most_s
    assert pause.attempt == 1


def test_a_date_is_read_by_the_servers_own_clock(served: Served) -> None:
    now = {"Date": "Mon, 30 Nov 2026 10:00:00 GMT"}
    later = bad(503, "QUEUE_FULL", Retry_After="Mon, 30 Nov 2026 10:00:04 GMT", **now)
    _, [pause], _ = asked(served, later, once=True)
    assert 4 <= pause.pause_s <= 5
    past = bad(503, "QUEUE_FULL", Retry_After="Mon, 30 Nov 2026 09:00:00 GMT", **now)
    _, [pause], _ = asked(served, past, once=True)
    assert pause.pause_s == 0


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (bad(502, "MODEL_LOAD_FAILED", **NOW), ModelLoadFailedError),
        (bad(500, "INFERENCE_ERROR"), ServerError),
        (bad(500), ServerError),
        (bad(503), ServerError),
        (bad(503, "SOMETHING_NEW"), ServerError),
        (bad(503, "QUEUE_UNAVAILABLE"), UnavailableError),
        (bad(503, "transport_failure"), ServerError),
        (bad(400, "INVALID_REQUEST"), RequestError),
        (bad(400, "INPUT_TOO_LONG"), InputTooLongError),
        (bad(402), RequestError),
        (bad(402, "KEY_SPEND_LIMIT_EXCEEDED", **NOW), RequestError),
        (bad(403, "ACCOUNT_SUSPENDED"), RequestError),
        (bad(503, "ACCOUNT_STATE_UNAVAILABLE", **NOW), ServerError),
        (bad(503, "QUEUE_UNAVAILABLE", Retry_After="nan"), UnavailableError),
        (bad(503, **NOW), ServerError),
        (bad(403, "FORBIDDEN"), RequestError),
        (bad(307), ServerError),
        (lambda _: (200, {}, b"{}"), ServerError),
        (lambda _: (200, {}, msgspec.msgpack.encode({"items": []})), IncompleteBatchError),
    ],
)
def test_what_cannot_pass_is_raised_at_once(
    served: Served, answer: Any, kind: type[SIEError]
) -> None:
    found, pauses, count = asked(served, answer)
    assert isinstance(found, kind)
    assert (len(pauses), count) == (0, 1)


def test_an_error_tells_all_that_it_came_with(served: Served) -> None:
    found, _, _ = asked(served, bad(418, "INVALID_REQUEST"))
    assert isinstance(found, FixRequest)
    told = (found.status_code, found.code, found.field, found.request_id)
    assert told == (418, "INVALID_REQUEST", "$.x", "r1")


def test_a_connection_that_is_not_made_is_tried_again() -> None:
    pauses = Pauses(once=True)
    with SIEClient("http://127.0.0.1:1", on_retry=pauses) as client, pytest.raises(Stop):
        client.encode("m", "a")
    [pause] = pauses
    assert isinstance(pause.error, SIEConnectionError)
    assert pause.pause_s <= 0.25


class _Rude(socketserver.BaseRequestHandler):
    """Reads a request, and does as its server's next word says."""

    def handle(self) -> None:
        """One request, one deed."""
        self.server.asked.append(1)  # type: ignore[attr-defined]
        deed = self.server.deeds.pop(0)  # type: ignore[attr-defined]
        received = b""
        while deed != "reset" and b"\r\n\r\n" not in received:
            received += self.request.recv(65_536)
        match deed:
            case "answer":
                _, _, content = good(1)
                head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(content)}\r\n\r\n"
                self.request.sendall(head.encode() + content)
            case "half":
                self.request.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nx")
            case "nonsense":
                self.request.sendall(b"\0\1\2 no HTTP\r\n\r\n")
            case "reset":
                self.request.setsockopt(SOL_SOCKET, SO_LINGER, b"\1\0\0\0\0\0\0\0")
            case "silence":
                self.server.over.wait(20)  # type: ignore[attr-defined]


@contextlib.contextmanager
def rude(*deeds: str) -> Iterator[tuple[str, list[int]]]:
    """The address of a server that does these deeds, and a mark for each connection."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Rude) as server:
        asked_for: list[int] = []
        over = threading.Event()
        vars(server).update(deeds=list(deeds), asked=asked_for, over=over, daemon_threads=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked_for
        over.set()
        server.shutdown()


@pytest.mark.parametrize("deed", ["half", "nonsense", "reset", "hang up"])
async def test_a_connection_that_breaks_is_tried_again(deed: str) -> None:
    with rude(deed, "answer") as (url, marks), SIEClient(url) as client:
        assert client.encode("m", "a")["dense"].tolist() == [1.0]
        assert len(marks) == 2
    with rude(deed, "answer") as (url, marks):
        async with SIEAsyncClient(url) as other:
            assert (await other.encode("m", "a"))["dense"].tolist() == [1.0]
        assert len(marks) == 2


async def test_an_answer_that_comes_too_late_is_not_asked_for_again() -> None:
    with rude("silence", "answer") as (url, marks), SIEClient(url, timeout_s=0.2) as client:
        with pytest.raises(TimeRanOut, match="did not answer in time"):
            client.encode("m", "a")
        assert len(marks) == 1
    with rude("silence", "answer") as (url, marks):
        async with SIEAsyncClient(url, timeout_s=0.2) as other:
            with pytest.raises(TimeRanOut, match="did not answer in time"):
                await other.encode("m", "a")
        assert len(marks) == 1


def test_a_service_that_was_there_is_waited_for_while_it_starts_again() -> None:
    def pauses(was_reached: bool) -> list[float]:
        error = connection_error(httpx.ConnectError("no"), "http://x", was_reached=was_reached)
        told = (
            retry_delay_s(error, attempt=each, elapsed_s=0.0, patience=Patience(), chance=0.0)
            for each in range(1000)
        )
        return [each for each in told if each is not None]

    assert 25 < sum(pauses(True)) < 60
    assert sum(pauses(False)) < 5


def test_a_client_knows_that_it_has_reached_the_service() -> None:
    script = Script()
    script.answers = [good]

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[Any]:
        yield script

    pauses = Pauses(once=True)
    with contextlib.ExitStack() as serving:
        client = SIEClient(serving.enter_context(served_application(opened)), on_retry=pauses)
        client.encode("m", "a")
    with client, pytest.raises(Stop):
        client.encode("m", "a")
    [pause] = pauses
    assert isinstance(pause.error, SIEConnectionError)
    assert pause.error.was_reached


def epoch(number: int, revision: str) -> Callable[[int], tuple[int, dict[str, str], bytes]]:
    def answer(count: int) -> tuple[int, dict[str, str], bytes]:
        _, _, content = good(count)
        told = {"X-SIE-Config-Epoch": f"ab.{number}", "X-SIE-Model-Revision": revision}
        return 200, told, content

    return answer


async def test_pieces_of_an_older_revision_are_sent_again(served: Served) -> None:
    script, url, is_async = served
    script.answers = [epoch(7, "old"), epoch(8, "new"), epoch(7, "old"), epoch(8, "new")]
    script.bodies = []
    if is_async:
        async with SIEAsyncClient(url, piece_items=2, pieces_at_once=1) as client:
            results = await client.encode("m", list("abcde"))
    else:
        with SIEClient(url, piece_items=2, pieces_at_once=1) as client:
            results = client.encode("m", list("abcde"))
    assert [result["request"]["model_revision"] for result in results] == ["new"] * 5
    assert len(script.bodies) == 5
    script.answers = [epoch(7, "old"), *(epoch(number, f"r{number}") for number in range(8, 30))]
    with (
        SIEClient(url, piece_items=2, pieces_at_once=1) as client,
        pytest.raises(UnavailableError) as changed,
    ):
        client.encode("m", list("abcde"))
    assert changed.value.code == "REVISION_CHANGED"
