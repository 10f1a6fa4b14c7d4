"""The clients of a world that serves: small requests, large ones, a flood, and some that leave.

*shell.* Each client sends one request after the other to a gateway that lives, and tells the laws
how each ended. A request of a client whose gateway dies is over with its connection.
"""

import asyncio
import random
from functools import partial
from typing import TYPE_CHECKING, Final

from sie_gateway.fleet.routing import Cold, Wanted
from sie_gateway.request.requests import Asked, Limits, check_request
from sie_gateway.request.responses import Answer
from sie_gateway.request.waiting import ClientGone
from sie_schemas.errors import SIEError
from sie_schemas.items import EncodeParams, EncodeRequest, Item
from sie_testing.serving.asking import Asking
from sie_testing.serving.execution import LETHAL, POISON
from sie_testing.serving.models import ADAPTERS, MODELS
from sie_testing.stage.broken import Broken

if TYPE_CHECKING:
    from sie_testing.serving.processes import GatewayProcess
    from sie_testing.serving.world import ServingWorld

__all__ = ["CROWD", "FLOOD", "QUIET", "Clients"]

CROWD: Final = "crowd"
FLOOD: Final = "flood"
QUIET: Final = "quiet"
_TENANTS: Final = ("red", "green", "blue")
_LIMITS: Final = Limits(items_max=64, chars_max=1_000_000, payload_bytes_max=1_000_000)
_LONG: Final = 1800
"""Characters of a long text: a job of a few of them is larger than a message."""


class Clients:
    """All of them. `kinds` are the kinds of request that a run has beside plain ones."""

    def __init__(self, world: "ServingWorld", rng: random.Random, kinds: frozenset[str]) -> None:
        self._world = world
        self._rng = rng
        self._kinds = kinds
        self._count = 0

    async def send_some(self, count: int, between_s: float) -> None:
        """One client: so many requests, with pauses between."""
        rng = self._rng
        for _ in range(count):
            await asyncio.sleep(rng.expovariate(1 / between_s))
            await self._send(rng.choice(_TENANTS), self._drawn_texts())

    async def crowd(self, until: float) -> None:
        """One client of a crowd: the next request at once, on one lane."""
        while self._world.loop.time() < until:
            await self._send(CROWD, ("",) * 3, model=MODELS[0], adapter="")
            await asyncio.sleep(0.001)

    async def beside_the_crowd(self, until: float) -> None:
        """One client of the same tenant, with a lane that is nearly always empty."""
        while self._world.loop.time() < until:
            await self._send(CROWD, ("",), model=MODELS[1], adapter=ADAPTERS[0])
            await asyncio.sleep(0.5)

    async def flood(self, count: int) -> None:
        """A tenant sends much at once; another one sends a little into it."""
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(self._send(FLOOD, ("",) * 3, model=MODELS[0], adapter=""))
            for _ in range(3):
                await asyncio.sleep(0.3)
                group.create_task(self._send(QUIET, ("",), model=MODELS[0], adapter=""))

    async def last_requests(self) -> None:
        """One of each model and adapter through every gateway. Raises `Broken` unless answered."""
        for gateway in self._world.gateways:
            for model in MODELS:
                for adapter in ("", *ADAPTERS):
                    asking = await self._send("last", ("",), model, adapter, gateway)
                    if asking is None or asking.end != "answered":
                        raise Broken(f"after healing {asking} ends as {asking and asking.end}")
                    self._world.laws.checks["after healing every request is answered"] += 1

    async def send_leased(self, tenant: str, lease: str) -> None:
        """One request under a lease."""
        await self._send(tenant, self._drawn_texts(), lease=lease)

    def _drawn_texts(self) -> tuple[str, ...]:
        """The beginning of each text, and `long` where it is."""
        rng = self._rng
        words = [""] * rng.choice((1, 1, 2, 3, 5, 7, 20))
        if "poison" in self._kinds and rng.random() < 0.1:
            words[rng.randrange(len(words))] = POISON
            self._world.took_effect("poison")
        if "lethal" in self._kinds and rng.random() < 0.04:
            words[rng.randrange(len(words))] = LETHAL
            self._world.took_effect("lethal")
        if "long" in self._kinds and rng.random() < 0.15:
            words = [f"{word} long" for word in words]
            self._world.took_effect("long")
        return tuple(words)

    async def _send(
        self,
        tenant: str,
        words: tuple[str, ...],
        model: str = "",
        adapter: str | None = None,
        through: "GatewayProcess | None" = None,
        lease: str = "",
    ) -> Asking | None:
        """The request, ended; None where no gateway lives."""
        world, rng = self._world, self._rng
        chosen = world.gateways if through is None else [through]
        living = [each for each in chosen if each.inference is not None]
        model = model or rng.choice(MODELS)
        adapter = rng.choice(("", *ADAPTERS)) if adapter is None else adapter
        leaves_s = 0.0
        if "leaving" in self._kinds and tenant in (*_TENANTS, FLOOD) and rng.random() < 0.15:
            leaves_s = 0.02 + rng.expovariate(2.0)
        if not living:
            return None
        gateway = rng.choice(living)
        self._count += 1
        texts = tuple(_text(word, self._count, place) for place, word in enumerate(words))
        following = gateway.following
        assert following is not None, "a gateway that takes requests follows the log"
        epoch = following.position.epoch if following.position is not None else 0
        now = world.loop.time()
        name = gateway.name
        asking = Asking(self._count, tenant, model, adapter, texts, name, epoch, now, lease)
        world.laws.begins(asking)
        await self._ask(gateway, asking, leaves_s)
        return asking

    async def _ask(self, gateway: "GatewayProcess", asking: Asking, leaves_s: float) -> None:
        """Wait for the end, on the client's side."""
        world, host, inference = self._world, gateway.host, gateway.inference
        assert host is not None and inference is not None, "it was chosen because it lives"
        answering = world.loop.create_task(
            inference.answer(
                _asked(asking),
                Wanted(
                    asking.model,
                    "encode",
                    pool=asking.lease or None,
                    lora=asking.adapter or None,
                ),
                request_id=asking.request_id,
                tenant=asking.tenant,
                until_gone=partial(asyncio.sleep, leaves_s) if leaves_s else None,
            ),
            name=asking.request_id,
            context=host.context,
        )
        await asyncio.wait([answering])
        error = asyncio.CancelledError() if answering.cancelled() else answering.exception()
        self._note(asking, answering, error if host.alive else asyncio.CancelledError())
        world.trace.say("client", f"{asking} is {asking.end}")

    def _note(
        self, asking: Asking, answering: "asyncio.Task[Answer | Cold]", error: BaseException | None
    ) -> None:
        laws = self._world.laws
        match error:
            case None:
                found = answering.result()
                if isinstance(found, Cold):
                    laws.went_cold(asking, found.route.kind)
                else:
                    laws.answered(asking, found)
            case asyncio.CancelledError():
                laws.lost(asking)
            case ClientGone():
                self._world.took_effect("leaving")
                laws.left(asking)
            case SIEError():
                laws.failed(asking, error)
            case _:
                raise error


def _asked(asking: Asking) -> Asked:
    options = {"lora": asking.adapter} if asking.adapter else {}
    items = tuple(Item(text=text, id=text[:24]) for text in asking.texts)
    request = EncodeRequest(items=items, params=EncodeParams(options=options))
    return check_request("encode", request, _LIMITS)


def _text(word: str, number: int, place: int) -> str:
    """A text that no other request has; its first 24 characters name it."""
    name = f"{word.removesuffix(' long').strip()} {number}/{place} ".lstrip().ljust(24, ".")
    return name + "x" * (_LONG if word.endswith("long") else 8)
