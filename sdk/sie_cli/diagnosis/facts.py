"""Facts: all that a cluster's services and its folder say at one moment.

*shell.* Asks each service once, for a few seconds, and changes nothing. A service that does not
answer is a fact as well, with its cause in words. Nothing is asked of an address that was not given
or recorded. No token is sent to a service that it was not given for.
"""

import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import httpx

from sie_cli.access import state
from sie_cli.access.named_cluster import HERE, Target, target_of
from sie_cli.access.state import ClusterState
from sie_cli.local.logs import in_words
from sie_runtime.http.bounded_answers import ask
from sie_schemas.errors import FixRequest
from sie_sdk.wire.bearer import bearer_of
from sie_sdk.wire.transport import reason_of, verify_of

__all__ = ["UNANSWERED", "Answer", "Facts", "Place", "gather", "place_of"]

_TIMEOUT_S: Final = 5.0
"""Whoever says nothing for so long is not well, and that is a fact too."""
_Way: TypeAlias = Callable[[str], httpx.Response]
_ANSWER_BYTES_MAX: Final = 64 * 1024**2
"""Many times the figures of a process, and the places of 10,000 replicas."""
_ASKED_MAX: Final = 32
"""A service is asked two or three things, and a machine has some ten processes."""
UNANSWERED: Final = "no answer in time"
"""The error of a service that is connected to, and says nothing."""
_THROUGH: Final = "/console/gateway"
"""sie-config passes a few questions on to the gateway that it knows."""
_HOST: Final = "127.0.0.1"
_TAIL_BYTES: Final = 8192
"""The last words of a process: some fifty lines."""


@dataclass(frozen=True, slots=True)
class Place:
    """The cluster that is looked at. `record` is that of a local one."""

    config_url: str
    config_token: str | None = None
    gateway_url: str = ""
    gateway_token: str | None = None
    data: Path | None = None
    record: ClusterState | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of one path. `error` says in words why there is none; `status` 0 is no answer.

    `moment` is our own Unix time in the middle of the exchange.
    """

    url: str
    status: int = 0
    body: Any = None
    error: str = ""
    moment: float = 0.0

    @property
    def told(self) -> Mapping[str, Any]:
        """The object that was answered; an empty one where there was none."""
        return self.body if isinstance(self.body, dict) and not self.error else {}


@dataclass(frozen=True, slots=True)
class Facts:
    """All that was found. `parts` are the answers of local workers and executions, by role, and
    `part_metrics` their metrics.

    `tails` has the last lines of the logs of local processes that do not run.
    """

    place: Place
    config_ready: Answer
    replicas: Answer
    config_metrics: Answer
    gateway: Answer | None
    gateway_metrics: Answer | None
    parts: Mapping[str, Answer] = field(default_factory=dict)
    part_metrics: Mapping[str, Answer] = field(default_factory=dict)
    tails: Mapping[str, str] = field(default_factory=dict)


def place_of(
    url: str,
    data: Path | None,
    context: str,
    gateway_url: str,
    environ: Mapping[str, str] = os.environ,
) -> Place:
    """The cluster of a command. A local one is taken although nothing of it may run.

    Raises `FixRequest` where none is named.
    """
    key = environ.get("SIE_API_KEY") or None
    record = None if url or context else _record_of(data, environ)
    if data is not None and record is None and not (url or context):
        raise FixRequest(f"no cluster was started in {data.absolute()}", code="NOT_FOUND")
    if record is not None:
        target = Target(record.config_url)
    else:
        target = target_of(url, data, context, environ)
    return Place(
        config_url=target.url.rstrip("/"),
        config_token=target.token or environ.get("SIE_CONFIG_TOKEN") or key,
        gateway_url=(gateway_url or (record.gateway_url if record is not None else "")).rstrip("/"),
        # SIE_API_KEY is what clients send to gateways, and what the verdict says to set. A
        # context's token is for sie-config; clusters often take one token at both, so it is tried
        # where there is no key.
        gateway_token=key or target.token,
        data=(data or HERE).absolute() if record is not None else None,
        record=record,
    )


def _record_of(data: Path | None, environ: Mapping[str, str]) -> ClusterState | None:
    """The record of the local cluster that is meant; None where the environment names another."""
    if data is not None:
        return state.load(data.absolute())
    named = environ.get("SIE_CONFIG_URL", "")
    if not named:
        return None if environ.get("SIE_CONTEXT") else state.load(HERE.absolute())
    # Whose folder this is does not matter where another cluster is named.
    with suppress(FixRequest):
        record = state.load(HERE.absolute())
        if record is not None and record.config_url.rstrip("/") == named.rstrip("/"):
            return record
    return None


def gather(place: Place, *, timeout_s: float = _TIMEOUT_S) -> Facts:
    """Ask everybody once, each for at most `timeout_s`."""
    config, gateway, nobody = (
        _way(token, timeout_s) for token in (place.config_token, place.gateway_token, None)
    )
    base, way_in = place.config_url, place.gateway_url
    health_url = f"{way_in or base + _THROUGH}/health?models=false"
    # At once: several that hang cost the time of one.
    with ThreadPoolExecutor(_ASKED_MAX) as threads:
        health = threads.submit(_asked, gateway if way_in else config, health_url)
        metrics = threads.submit(_asked, gateway, f"{way_in}/metrics") if way_in else None
        ready = threads.submit(_asked, config, f"{base}/readyz")
        replicas = threads.submit(_asked, config, f"{base}/v1/configs/replicas")
        figures = threads.submit(_asked, config, f"{base}/metrics")
        urls = _part_urls(place.record)
        parts, part_metrics = (
            {role: threads.submit(_asked, nobody, f"{url}/{path}") for role, url in urls.items()}
            for path in ("readyz", "metrics")
        )
    seen = health.result()
    return Facts(
        place=place,
        config_ready=ready.result(),
        replicas=replicas.result(),
        config_metrics=figures.result(),
        # Through sie-config a 404 is that it knows no gateway, and nothing is wrong.
        gateway=seen if way_in or seen.status != httpx.codes.NOT_FOUND else None,
        gateway_metrics=metrics.result() if metrics is not None else None,
        parts={role: answer.result() for role, answer in parts.items()},
        part_metrics={role: answer.result() for role, answer in part_metrics.items()},
        tails=_tails(place.record),
    )


def _way(token: str | None, timeout_s: float) -> _Way:
    headers = {"Authorization": bearer_of(token)} if token else {}

    def way(url: str) -> httpx.Response:
        return ask(
            "GET",
            url,
            headers=headers,
            body_bytes_max=_ANSWER_BYTES_MAX,
            within_s=timeout_s,
            # Of the address: to read the authorities takes 30 ms, and `sie top` asks all the time.
            verify=verify_of(url, None),
        )

    return way


def _part_urls(record: ClusterState | None) -> dict[str, str]:
    """The address of each local worker and execution that runs."""
    if record is None:
        return {}
    return {
        each.role: f"http://{_HOST}:{each.port}"
        for each in record.processes
        # The port of one that is gone may be another process's by now.
        if each.alive and each.role.startswith(("server-", "worker-"))
    }


def _tails(record: ClusterState | None) -> dict[str, str]:
    processes = record.processes if record is not None else ()
    return {each.role: _tail(Path(each.log)) for each in processes if not each.alive}


def _tail(log: Path) -> str:
    """The last line of a log, in words; empty where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return in_words(lines[-1]) if lines else ""


def _asked(way: _Way, url: str) -> Answer:
    before = time.time()
    try:
        answer = way(url)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Answer(url, error=_in_words(error, url), moment=before)
    # The service read its clock somewhere between: half of the way is off by half at most.
    moment = (before + time.time()) / 2
    is_json = answer.headers.get("content-type", "").startswith("application/json")
    try:
        body = answer.json() if is_json else answer.text
    except (ValueError, RecursionError):
        return Answer(url, answer.status_code, error="its answer is no JSON", moment=moment)
    refusal = body.get("detail") if isinstance(body, dict) else None
    if answer.is_error and isinstance(refusal, dict):
        return Answer(url, answer.status_code, body, str(refusal.get("message", "")), moment)
    if answer.status_code in {401, 403, 404}:
        return Answer(url, answer.status_code, body, f"HTTP {answer.status_code}", moment)
    return Answer(url, answer.status_code, body, moment=moment)


def _in_words(error: Exception, url: str) -> str:
    match error:
        case httpx.ConnectTimeout() | httpx.ReadTimeout():
            return UNANSWERED
        case httpx.ConnectError() if _is_refused(error):
            return "nobody listens there"
        case _:
            return reason_of(error, url)


def _is_refused(error: BaseException | None) -> bool:
    """True where every attempt was refused. The client's own words are of attempts alone."""
    match error:
        case None:
            return False
        case ConnectionRefusedError():
            return True
        case BaseExceptionGroup():
            return all(map(_is_refused, error.exceptions))
        case _:
            return _is_refused(error.__cause__ or error.__context__)
