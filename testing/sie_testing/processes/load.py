"""The load of a real cluster: clients that write and clients that ask, and what each was told.

*shell.* Owns the clients. A write is sent again under its key until its outcome is known. A request
is sent once and waits for ever, so that one which hangs is seen. Remembers every acknowledgement
and every answer; what is wrong by itself is in `wrong` at once.
"""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from sie_schemas.errors import CODES
from sie_sdk.wire.transport import EXCHANGE_FAILURES
from sie_testing.processes.cluster import Cluster
from sie_testing.processes.echo_execution import echo_vector
from sie_testing.processes.programs import Program
from sie_testing.processes.writes import (
    ADAPTED,
    ADAPTER_REVISIONS,
    MODELS,
    REVISIONS,
    Call,
    drawn_write,
)

__all__ = [
    "Acknowledged",
    "Answered",
    "Ended",
    "Load",
    "wrong_answer",
]

_THINK_S: Final = 0.1
"""Between a client's calls: what a client is, and no wait for anything."""
_CLIENTS: Final = 2
"""That write, and that ask each gateway."""
_WRITE_TIMEOUT_S: Final = 2.0
_LATE_S: Final = 20.0
"""Beyond a gateway's own limit, before a request counts as hung: the machine may be busy."""
_TIMED_OUT_COUNTS: Final = 10
"""A call that ran into its limit is as much of a wait as so many that ended."""
_HEADERS: Final = {"X-SIE-Actor": "load", "X-SIE-Force": "a model that is loaded may go"}
_WORDS: Final = ("alpha", "beta", "gamma", "delta", "epsilon")


_NEVER: Final = frozenset({"INVALID_REQUEST", "INTERNAL_SERVER_ERROR"})
"""Nothing that this load sends, and nothing that the adversary does, is a reason for these."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A write that a client was told is stored."""

    key: str
    log_id: str
    epoch: int
    hash: str
    at: float = field(compare=False)
    """The moment at which the client was told, on the monotonic clock."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A right answer: which revision it was made with, and under which position."""

    gateway: str
    model: str
    revision: str
    position: str


@dataclass(frozen=True, slots=True)
class Ended:
    """One exchange that is over: with whom, from when to when, and whether it was served."""

    who: str
    began: float
    ended: float
    served: bool


class Load:
    """See the module. Owner: one run."""

    def __init__(
        self,
        cluster: Cluster,
        seed: int,
        *,
        askers: int = _CLIENTS,
        drawn: Callable[[random.Random, str], Call] | None = None,
    ) -> None:
        """`askers` ask each gateway; `drawn` is what a client writes next, under this key."""
        self.acknowledged: list[Acknowledged] = []
        self.answered: list[Answered] = []
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[str] = []
        """The answers that no fault excuses."""
        self.recoveries: list[str] = []
        """Writes that were refused because the log lacks something: what clients were told."""
        self.calls: list[Ended] = []
        self.open: dict[object, tuple[str, float]] = {}
        """With whom an exchange is under way, and since when."""
        self.hung: list[str] = []
        self._cluster = cluster
        self._seed = seed
        self._askers = askers
        self._drawn = drawn or drawn_write
        self._ended = 0
        self._moved = asyncio.Event()
        self._stopping = asyncio.Event()
        limits = httpx.Limits(max_keepalive_connections=0)
        self._http = httpx.AsyncClient(limits=limits, timeout=None, headers=cluster.headers)

    async def write_all(self) -> None:
        """Write until `stop`; then until the outcome of every write is known."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(_CLIENTS):
                tasks.create_task(self._write_on(number))

    async def ask_all(self) -> None:
        """Send requests until `stop`; then until every one has ended."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(self._askers):
                for gateway in self._cluster.gateways:
                    tasks.create_task(self._ask_on(gateway, number))

    def stop(self) -> None:
        """Begin no more calls."""
        self._stopping.set()

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def progress(self, calls: int) -> None:
        """Wait until so many more calls have ended, well or not."""
        until = self._ended + calls
        while self._ended < until:
            self._moved.clear()
            await self._moved.wait()

    @contextlib.contextmanager
    def _exchange(self, who: str) -> Iterator[Callable[[bool], None]]:
        """Note an exchange while it lasts, and how it ended; broken off is not served."""
        key, began, served = object(), time.monotonic(), False

        def over(told: bool) -> None:
            nonlocal served
            served = told

        self.open[key] = (who, began)
        try:
            yield over
        finally:
            del self.open[key]
            self.calls.append(Ended(who, began, time.monotonic(), served))

    def _count(self, outcome: str, calls: int = 1) -> None:
        self.outcomes[outcome] += 1
        self._ended += calls
        self._moved.set()

    # -- writes --

    async def _write_on(self, number: int) -> None:
        rng = random.Random(f"writes {number} of {self._seed}")
        sent = 0
        while not self._stopping.is_set():
            sent += 1
            call = self._drawn(rng, f"write-{number}-{sent}")
            await self.write(call)
            if rng.random() < 0.2:
                # A client that lost the answer asks again, and gets the same.
                await self.write(call)
            await asyncio.sleep(_THINK_S)

    async def write(self, call: Call) -> None:
        """Send a write until its outcome is known."""
        while True:
            with self._exchange("config") as over:
                response = await self._sent(call)
                over(response is not None and response.status_code < 500)
            if response is not None and response.status_code < 300:
                self._acknowledge(call, response.json())
                return
            if response is not None and response.status_code < 500:
                self._count(f"write refused: {_code(response)}")
                return
            await asyncio.sleep(_THINK_S)

    async def _sent(self, call: Call) -> httpx.Response | None:
        try:
            response = await self._http.request(
                call.method,
                f"{self._cluster.clients_config_url}/v1/configs/{call.path}",
                json=call.body,
                headers=_HEADERS | {"Idempotency-Key": call.key},
                timeout=_WRITE_TIMEOUT_S,
            )
        except httpx.TimeoutException:
            self._count("write unknown: no answer in time", _TIMED_OUT_COUNTS)
            return None
        except EXCHANGE_FAILURES:
            self._count("write unknown: no connection")
            return None
        if response.status_code >= 500:
            code = _code(response)
            self._count(f"write put off: {code}")
            if code == "LOG_RECOVERY":
                self.recoveries.append(response.json()["detail"]["message"])
            self._check_error("a write", response)
        return response

    def _acknowledge(self, call: Call, told: Mapping[str, Any]) -> None:
        one = Acknowledged(call.key, told["log_id"], told["epoch"], told["hash"], time.monotonic())
        self.acknowledged.append(one)
        self._count("write acknowledged")

    # -- requests --

    async def _ask_on(self, gateway: Program, number: int) -> None:
        rng = random.Random(f"requests {number} to {gateway.name} of {self._seed}")
        while not self._stopping.is_set():
            model = rng.choice(MODELS)
            lora = model == ADAPTED and rng.random() < 0.4
            texts = [" ".join(rng.choices(_WORDS, k=3)) for _ in range(rng.randint(1, 3))]
            await self.ask(gateway, model, texts, lora=lora)
            await asyncio.sleep(_THINK_S)

    async def ask(
        self, gateway: Program, model: str, texts: Sequence[str], *, lora: bool = False
    ) -> bool:
        """One request; whether it was answered with the right vectors."""
        with self._exchange(gateway.name) as over:
            right = await self._asked(gateway, model, texts, lora=lora)
            over(right)
        return right

    async def _asked(
        self, gateway: Program, model: str, texts: Sequence[str], *, lora: bool
    ) -> bool:
        began, deaths, answered = gateway.clock(), gateway.deaths, gateway.answered
        body: dict[str, Any] = {"items": [{"text": text} for text in texts]}
        if lora:
            body["params"] = {"options": {"lora": "legal"}}
        url = f"{self._cluster.url(gateway.name)}/v1/encode/{model}"
        try:
            response = await self._http.post(url, json=body)
        except EXCHANGE_FAILURES as error:
            self._count("request unanswered: the gateway is down")
            if answered and gateway.deaths == deaths:
                self.wrong.append(f"{gateway.name} lives and dropped a request: {error!r}")
            return False
        took = gateway.clock() - began
        if gateway.deaths == deaths:
            gateway.answered = True
        if took > self._cluster.request_timeout_s + _LATE_S:
            self.hung.append(f"a request to {gateway.name} hung for {took:.1f} s")
        return self._judge(gateway, model, texts, response, lora=lora)

    def _judge(
        self,
        gateway: Program,
        model: str,
        texts: Sequence[str],
        response: httpx.Response,
        *,
        lora: bool,
    ) -> bool:
        if response.status_code == 202:
            self._count("request put off: no worker is ready")
            return False
        if response.status_code != 200:
            self._count(f"request failed: {_code(response)}")
            self._check_error(f"a request to {gateway.name}", response)
            return False
        problem = wrong_answer(model, texts, response, lora=lora)
        if problem:
            self._count("request answered wrongly")
            self.wrong.append(f"{gateway.name}, {model}: {problem}")
            return False
        self._count("request answered")
        position = response.headers["x-sie-config-epoch"]
        revision = response.headers["x-sie-model-revision"]
        self.answered.append(Answered(gateway.name, model, revision, position))
        return True

    def _check_error(self, what: str, response: httpx.Response) -> None:
        """An error is one of the table, with its status."""
        code = _code(response)
        rule = CODES.get(code)
        if rule is None or rule.status != response.status_code or code in _NEVER:
            text = response.text[:200]
            self.wrong.append(f"{what} was answered with {response.status_code}: {text}")


def wrong_answer(model: str, texts: Sequence[str], response: httpx.Response, *, lora: bool) -> str:
    """The fault of an answer; empty when it is right."""
    revision = response.headers.get("x-sie-model-revision", "")
    adapter = response.headers.get("x-sie-adapter-revision", "")
    if revision not in REVISIONS[model]:
        return f"revision {revision[:8]} is none that was ever written"
    if (adapter in ADAPTER_REVISIONS) != lora or (adapter and not lora):
        return f"adapter revision {adapter[:8] or 'none'}, asked for {'one' if lora else 'none'}"
    items = response.json()["items"]
    if len(items) != len(texts):
        return f"{len(items)} answers for {len(texts)} texts"
    for text, item in zip(texts, items, strict=True):
        if "error" in item:
            if item["error"]["code"] not in CODES:
                return f"an item failed with {item['error']}"
        elif tuple(item["dense"]["values"]) != echo_vector(revision, adapter, text):
            return f"the vector of {text!r} is not that of revision {revision[:8]}"
    return ""


def _code(response: httpx.Response) -> str:
    try:
        return str(response.json()["detail"]["code"])
    except (ValueError, KeyError, TypeError):
        return f"no code, status {response.status_code}"
