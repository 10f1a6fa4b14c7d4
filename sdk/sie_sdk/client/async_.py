"""The asynchronous client.

*shell.* Owns one pool of connections. Sends what `exchange` builds, waits as it says, and gives
back what it reads. Belongs to one event loop; the synchronous client is made of this module.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Final, Literal, Unpack, cast, overload

import httpx

from sie_schemas.errors import FixRequest, SIEError
from sie_sdk import exchange
from sie_sdk.attempts import Attempts, LastCall, progress, unseen
from sie_sdk.errors import asked_for
from sie_sdk.exchange import Defaults
from sie_sdk.leases import calls as leasing
from sie_sdk.leases.keeper import AsyncLeaseKeeper
from sie_sdk.patience import Retry
from sie_sdk.refusals import read_json
from sie_sdk.types import (
    CallOptions,
    CapacityInfo,
    ClusterStatusMessage,
    EncodeOptions,
    EncodeResult,
    ExtractOptions,
    ExtractResult,
    HealthResponse,
    ItemLike,
    Items,
    ModelInfo,
    PoolListItem,
    PoolResponse,
    ScoreResult,
)
from sie_sdk.wire.bounded_answers import PLAIN
from sie_sdk.wire.bounded_async import bounding_async
from sie_sdk.wire.call import Call, base_url_of
from sie_sdk.wire.per_loop import PerLoop, Unshared
from sie_sdk.wire.piece_runs import in_tasks
from sie_sdk.wire.transport import (
    ANSWER_BYTES_MAX,
    EXCHANGE_FAILURES,
    Tls,
    connection_error,
    edge_headers,
    limits_of,
    refuse_elsewhere,
    timeout_of,
    traced,
    verify_of,
)

__all__ = ["SIEAsyncClient"]

_CAPACITY_S: Final = 900.0
"""The reference SDK's default, too: a machine is ordered, starts, and fetches a model."""
_ROUNDS_MAX: Final = 3
"""The configuration may change while a long list is sent; seldom twice."""


class SIEAsyncClient(Unshared):
    """Talks to one gateway, or to a balancer before several. Close it, or use `async with`."""

    def __init__(
        self,
        base_url: str | None = None,
        *,
        timeout_s: float | None = None,
        api_key: str | None = None,
        gpu: str | None = None,
        options: Mapping[str, Any] | None = None,
        pool: str | None = None,
        max_connections: int | None = None,
        max_concurrency: int | None = None,
        control_plane_url: str | None = None,
        org: str | None = None,
        base_url_headers: Mapping[str, str] | None = None,
        connect_timeout_s: float | None = None,
        read_timeout_s: float | None = None,
        remote: Literal["forbid"] | None = None,
        http_client: httpx.AsyncClient | None = None,
        piece_items: int = 1024,
        pieces_at_once: int = 8,
        on_retry: Callable[[Retry], object] | None = None,
        tls: Tls | None = None,
        answer_bytes_max: int = ANSWER_BYTES_MAX,
    ) -> None:
        """`base_url` is else SIE_BASE_URL, `api_key` else SIE_API_KEY; an empty one sends none.
        `timeout_s` (150) bounds the wait for one response, `connect_timeout_s` (10) that for a
        connection; `gpu`, `pool` and `options` are the defaults of every call.

        A list of more than `piece_items` items is sent in pieces, `pieces_at_once` of them at a
        time; its results come in its order. `on_retry` is told before a request is sent again.
        `tls` are the files of this client for https, and `base_url_headers` what a proxy before the
        gateway wants. `http_client` is closed with this client; it is not for a process that forks,
        nor for two event loops. A lease is renewed as long as its loop runs.
        At most `max_connections` (100), or `max_concurrency`, requests are under way at once.
        An answer of more than `answer_bytes_max` bytes is an error.
        """
        refuse_elsewhere(control_plane_url=control_plane_url, org=org)
        headers = edge_headers(base_url_headers, remote)
        if http_client is not None and http_client.follow_redirects:
            raise ValueError("http_client follows redirects, and would take the key elsewhere")
        self.base_url = base_url_of(base_url, os.environ)
        self._defaults = Defaults(
            gpu, leasing.pool_named(pool), dict(options or {}), max(1, piece_items)
        )
        self._pieces_at_once = max(1, pieces_at_once)
        self._on_retry = on_retry
        self._was_reached = False
        self._last = LastCall()
        told = headers | exchange.client_headers(api_key, os.environ)
        if http_client is not None:
            http_client.headers.update(told)
        times = timeout_of(timeout_s, connect_timeout_s, read_timeout_s)
        bound = bounding_async(answer_bytes_max, timeout_s=times.read)
        self._given_http = http_client
        self._http = PerLoop(
            partial(
                httpx.AsyncClient,
                headers={**told, **PLAIN},
                timeout=times,
                event_hooks={"response": [bound]},
                limits=limits_of(max_connections, max_concurrency),
                verify=verify_of(self.base_url, tls),
            )
            if http_client is None
            else lambda: http_client
        )
        self._leases = PerLoop(lambda: AsyncLeaseKeeper(self.renew_pool))

    @property
    def last_retry_count(self) -> int:
        """The times that this thread's latest answer was asked for again."""
        return self._last.retries

    @property
    def last_model_revision(self) -> str | None:
        """The revision of the model that gave this thread's latest answer."""
        return self._last.model_revision

    @overload
    async def encode(  # type: ignore[overload-overlap]
        self, model: str, items: ItemLike, **told: Unpack[EncodeOptions]
    ) -> EncodeResult: ...

    @overload
    async def encode(
        self, model: str, items: Items, **told: Unpack[EncodeOptions]
    ) -> list[EncodeResult]: ...

    async def encode(
        self, model: str, items: ItemLike | Items, **told: Unpack[EncodeOptions]
    ) -> EncodeResult | list[EncodeResult]:
        """Vectors of one item, or of a list; keywords as in `types.EncodeOptions`.

        Raises `RequestError` for what the caller can mend, `ProvisioningError` when no worker came
        in time, else another `SIEError`.
        """
        calls = exchange.encode_calls(model, items, told, self._defaults)
        answers = await self._answers(model, calls, is_shown=told.get("show_progress", False))
        return exchange.read_encode(calls, answers)

    async def score(
        self, model: str, query: ItemLike, items: ItemLike | Items, **told: Unpack[CallOptions]
    ) -> ScoreResult:
        """The items ranked against the query, best first. Keywords as in `types.CallOptions`."""
        call = exchange.score_call(model, query, items, told, self._defaults)
        answer = await self._answer(call)
        self._last.note(answer)
        return exchange.read_score(call, answer)

    @overload
    async def extract(  # type: ignore[overload-overlap]
        self, model: str, items: ItemLike, **told: Unpack[ExtractOptions]
    ) -> ExtractResult: ...

    @overload
    async def extract(
        self, model: str, items: Items, **told: Unpack[ExtractOptions]
    ) -> list[ExtractResult]: ...

    async def extract(
        self, model: str, items: ItemLike | Items, **told: Unpack[ExtractOptions]
    ) -> ExtractResult | list[ExtractResult]:
        """Entities of one item, or of a list; keywords as in `types.ExtractOptions`."""
        calls = exchange.extract_calls(model, items, told, self._defaults)
        answers = await self._answers(model, calls, is_shown=told.get("show_progress", False))
        return exchange.read_extract(calls, answers)

    async def list_models(self) -> list[ModelInfo]:
        """Every model that the gateway knows, with its state."""
        return list((await self._json(exchange.get_call("/v1/models")))["models"])

    async def get_model(self, model: str) -> ModelInfo:
        """One model. Raises `RequestError` MODEL_NOT_FOUND."""
        return cast(ModelInfo, await self._json(exchange.get_call(exchange.model_path(model))))

    async def health(self) -> HealthResponse:
        """The cluster as the gateway sees it."""
        return cast(HealthResponse, await self._json(exchange.get_call("/health")))

    async def get_capacity(self, gpu: str | None = None) -> CapacityInfo:
        """The workers that are ready, of one machine profile or of all."""
        return exchange.capacity_of(await self.health(), gpu)

    async def wait_for_capacity(
        self,
        gpu: str,
        *,
        model: str | None = None,
        timeout_s: float | None = None,
        poll_interval_s: float = 5.0,
    ) -> CapacityInfo:
        """Wait until a worker of this machine profile is ready, and has `model` loaded if one is
        named; for 900 s where nothing is said. Only a model that is asked for makes workers come.
        Raises `ProvisioningError`."""
        timeout_s = _CAPACITY_S if timeout_s is None else timeout_s
        ends_at = time.monotonic() + timeout_s
        if model is not None:
            await self.encode(model, "warmup", gpu=gpu, provision_timeout_s=timeout_s)
        while True:
            capacity = await self.get_capacity(gpu)
            left_s = ends_at - time.monotonic()
            if capacity["worker_count"]:
                return capacity
            if left_s <= 0:
                raise exchange.no_capacity(gpu, timeout_s)
            await asyncio.sleep(min(poll_interval_s, left_s))

    async def watch(
        self, *, mode: Literal["auto", "cluster"] = "auto", interval_s: float = 1.0
    ) -> AsyncIterator[ClusterStatusMessage]:
        """The cluster as the gateway sees it, again and again; ends when nobody reads on."""
        if mode not in ("auto", "cluster"):
            raise ValueError(f"a gateway shows the cluster, and no {mode!r}")
        while True:
            seen = {"timestamp": time.time(), **await self.health()}
            yield cast(ClusterStatusMessage, seen)
            await asyncio.sleep(interval_s)

    async def create_pool(
        self,
        name: str,
        gpus: Mapping[str, int] | None = None,
        gpu_caps: Mapping[str, int] | None = None,
        bundle: str | None = None,
        minimum_worker_count: int | None = None,
        pinned_models: Sequence[str] | None = None,
        *,
        queue_pool: str | None = None,
        ttl_s: float | None = None,
    ) -> PoolResponse:
        """Lease a share of a pool, or change a lease. It is renewed until it is deleted, or this
        client is closed.

        `gpus` are the workers to count on by machine profile, `gpu_caps` the most to use; requests
        name the lease as `pool`, or as `gpu="name/profile"`. `pinned_models` are loaded before they
        are asked for, `minimum_worker_count` workers are kept. A lease isolates nothing: that is
        what pools of the configuration are for. Raises `Later` POOL_CAPACITY_UNAVAILABLE while the
        pool has no such share left.
        """
        call = leasing.create_call(
            name,
            gpus=gpus,
            gpu_caps=gpu_caps,
            bundle=bundle,
            minimum_worker_count=minimum_worker_count,
            pinned_models=pinned_models,
            queue_pool=queue_pool,
            ttl_s=ttl_s,
        )
        pool = cast(PoolResponse, await self._json(call))
        self._leases.here().hold(name, ttl_s=leasing.ttl_of(pool))
        return pool

    async def get_pool(self, name: str | None = None) -> PoolResponse | None:
        """A lease, or a pool of the configuration; None where there is none. Without a name it is
        the client's own `pool`."""
        call = leasing.pool_call("GET", leasing.named(name, self._defaults.pool))
        try:
            return cast(PoolResponse, await self._json(call))
        except FixRequest as error:
            if error.code == "POOL_NOT_FOUND":
                return None
            raise

    async def list_pools(self) -> list[PoolListItem]:
        """Every pool of the configuration and every lease, in short."""
        return list((await self._json(leasing.pools_call()))["pools"])

    async def renew_pool(self, name: str) -> None:
        """Let a lease last its whole time from now; what this client leased it renews itself."""
        await self._json(leasing.renew_call(name))

    async def delete_pool(self, name: str | None = None) -> bool:
        """End a lease; False where there was none any more. Without a name it is the client's own
        `pool`."""
        name = leasing.named(name, self._defaults.pool)
        # Before the lease ends: a renewal that finds it gone is told as a loss.
        self._leases.here().forget(name)
        try:
            await self._json(leasing.pool_call("DELETE", name))
        except FixRequest as error:
            if error.code == "POOL_NOT_FOUND":
                return False
            raise
        return True

    async def close(self) -> None:
        """Close the connections. Leases are renewed no more, and end by themselves."""
        # First, since the renewals go over the connections.
        await self._leases.close(AsyncLeaseKeeper.close)
        await self._http.close(httpx.AsyncClient.aclose)
        if self._given_http is not None:
            # Also where no loop has asked for it yet, or only one that is closed by now.
            await self._given_http.aclose()

    async def __aenter__(self) -> "SIEAsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _json(self, call: Call) -> Any:
        response = await self._send(call)
        try:
            return read_json(response.status_code, response.headers, response.content)
        except SIEError as error:
            asked_for(error, **call.asked)
            raise

    async def _answers(
        self, model: str, calls: Sequence[Call], *, is_shown: bool
    ) -> list[dict[str, Any]]:
        """The answers of all pieces, of one revision, in their order."""
        with progress(sum(call.count for call in calls), is_shown=is_shown) as done:
            if len(calls) == 1:
                answers = [await self._answer(calls[0])]
                self._last.note(*answers)
                done(calls[0].count)
                return answers
            found: dict[int, dict[str, Any]] = {}
            wanted, told = list(range(len(calls))), done
            for _ in range(_ROUNDS_MAX):
                await self._run_pieces(calls, wanted, found, told)
                answers = [found[index] for index in range(len(calls))]
                # Pieces that are sent again were counted the first time.
                wanted, told = exchange.older_pieces(answers), unseen
                if not wanted:
                    self._last.note(*answers)
                    return answers
        raise exchange.mixed_revisions(model)

    async def _run_pieces(
        self,
        calls: Sequence[Call],
        wanted: Sequence[int],
        found: dict[int, dict[str, Any]],
        done: Callable[[int], object],
    ) -> None:
        some = {index: calls[index] for index in wanted}
        async with aclosing(in_tasks(self._answer, some, self._pieces_at_once)) as answers:
            async for index, answer in answers:
                found[index] = answer
                done(calls[index].count)

    async def _answer(self, call: Call) -> dict[str, Any]:
        attempts = Attempts(call.patience, self._on_retry)
        while True:
            try:
                response = await self._send(call)
                answer = exchange.read_answer(
                    response.status_code, response.headers, response.content
                )
                answer["request"]["retries"] = attempts.failed
                return answer
            except SIEError as error:
                asked_for(error, **call.asked)
                pause_s = attempts.pause_after(error)
            await asyncio.sleep(pause_s)

    async def _send(self, call: Call) -> httpx.Response:
        try:
            with traced(call.method, call.path, call.headers) as headers:
                response = await self._http.here().request(
                    call.method, self.base_url + call.path, headers=headers, content=call.body
                )
        except EXCHANGE_FAILURES as error:
            raise connection_error(error, self.base_url, was_reached=self._was_reached) from error
        self._was_reached = True
        return response
