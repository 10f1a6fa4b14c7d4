"""Asks the new cluster its first question, so that what `sie up` prints is known to work.

*shell.* Sends the very request that is printed as a curl line. A model that does not answer stops
nothing: the cluster is up, and the operator may be about to mend that model. So it is with a writer
that takes no writes, which is told.
"""

import asyncio
import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import httpx

from sie_cli.access.operator_access import bearer
from sie_cli.plan.settings import ClusterSettings
from sie_cli.supervisor.let_in import check_let_in
from sie_cli.supervisor.seeding import ADAPTED_MODEL
from sie_core.troubles import writer_troubles
from sie_runtime.http.bounded_answers import BoundedClient
from sie_schemas.errors import FixRequest

__all__ = ["curl_line", "wait_for_first_answer", "writer_line"]

_BODY: Final = {"items": [{"text": "hello"}]}
_REQUEST_TIMEOUT_S: Final = 30.0
"""A first answer loads a model; it is asked again until its own limit."""
_LOOK_S: Final = 2.0
"""The process answered to the supervisor a moment ago, and a new term is fenced by then."""
_LOOKS: Final = 30
"""At a writer that takes no writes yet: more than a second, with the pauses between."""
_LOOK_AGAIN_S: Final = 0.05
"""Between two looks: a pause at a start ends in some ten milliseconds."""
_READY_BYTES_MAX: Final = 65_536
"""Many times what sie-config says of itself."""


def _url(gateway_url: str) -> str:
    return f"{gateway_url}/v1/encode/{ADAPTED_MODEL}"


def curl_line(gateway_url: str) -> str:
    """One line for a terminal that gives a vector; a token is named, never shown."""
    is_closed = bearer() or os.environ.get("SIE_GATEWAY_AUTH_FILE")
    token = ' -H "authorization: Bearer $SIE_API_KEY"' if is_closed else ""
    media = "-H 'content-type: application/json'"
    return f"curl -s {_url(gateway_url)} {media}{token} -d '{json.dumps(_BODY)}'"


async def writer_line(config_url: str, *, within_s: float = _LOOK_S, looks: int = _LOOKS) -> str:
    """The reason why no writes are taken, in the words of `sie doctor`; empty where they are.

    A writer that takes none is asked again, `looks` times in all: a start has a short pause.
    Whatever answers, it takes no longer than `within_s` seconds.
    """
    last = f"sie-config does not answer: {config_url}/readyz: no answer in time"
    try:
        async with (
            asyncio.timeout(within_s),
            # Asked on this machine alone: the authorities of TLS are not read.
            BoundedClient(
                body_bytes_max=_READY_BYTES_MAX, body_s=within_s, timeout=within_s, verify=False
            ) as http,
        ):
            for look in range(looks):
                if look:
                    await asyncio.sleep(_LOOK_AGAIN_S)
                last = await _look(http, f"{config_url}/readyz")
                if not last:
                    break
    except TimeoutError:
        pass
    return last


async def _look(http: httpx.AsyncClient, url: str) -> str:
    try:
        told: Any = (await http.get(url)).json()
    except httpx.HTTPError as error:
        return f"sie-config does not answer: {url}: {str(error) or type(error).__name__}"
    except (ValueError, RecursionError):
        told = None
    writer = told.get("writer") if isinstance(told, Mapping) else None
    if not isinstance(writer, Mapping):
        return f"What answers there is not sie-config: {url}"
    found = (each for each in writer_troubles(writer, 0, None, ()) if each.id == "writer")
    return next((f"{each.what}: {each.evidence}" for each in found), "")


async def wait_for_first_answer(
    gateway_url: str, settings: ClusterSettings, *, say: Callable[[str], None]
) -> None:
    """Ask until there is an answer. Says so when there is none in time; never raises for it."""
    deadline = time.monotonic() + settings.first_answer_s
    last = "it was not asked"
    async with httpx.AsyncClient(timeout=_REQUEST_TIMEOUT_S, headers=bearer()) as http:
        while time.monotonic() < deadline:
            try:
                status, last = await _ask(http, gateway_url)
            except FixRequest as error:
                say(f"no first answer was seen: {error.message}")
                return
            if status in (httpx.codes.OK, httpx.codes.NOT_FOUND):
                return
            await asyncio.sleep(settings.poll_s)
    if settings.first_answer_s > 0:
        say(f"{ADAPTED_MODEL} has not answered in {settings.first_answer_s:g} s: {last}")


async def _ask(http: httpx.AsyncClient, gateway_url: str) -> tuple[int, str]:
    try:
        response = await http.post(_url(gateway_url), json=_BODY)
    except httpx.HTTPError as error:
        return 0, str(error)
    check_let_in(response.status_code, response.content, process="the gateway", role="infer")
    return response.status_code, response.text
