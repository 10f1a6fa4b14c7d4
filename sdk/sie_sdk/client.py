"""The synchronous client.

*shell.* Owns one pool of connections. Sends what `exchange` builds, waits as it says, and gives
back what it reads. May be used from several threads.
"""

import os
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Unpack, overload

import httpx

from sie_schemas.errors import FixRequest, SIEError
from sie_sdk import exchange, leasing
from sie_sdk.attempts import Attempts
from sie_sdk.exchange import Call, Defaults
from sie_sdk.lease_keeper import LeaseKeeper
from sie_sdk.transport import connection_error, limits_of, timeout_of
from sie_sdk.types import (
    CallOptions,
    EncodeOptions,
    EncodeResult,
    ExtractOptions,
    ExtractResult,
    ItemLike,
    Items,
    ScoreResult,
)

__all__ = ["SIEClient"]


class SIEClient:
    """Talks to one gateway, or to a balancer before several. Close it, or use `with`."""

    def __init__(
        self,
        base_url: str | None = None,
        *,
        api_key: str | None = None,
        gpu: str | None = None,
        pool: str | None = None,
        options: Mapping[str, Any] | None = None,
        timeout_s: float = 150.0,
        connect_timeout_s: float = 10.0,
        max_connections: int = 100,
    ) -> None:
        """`base_url` is else SIE_BASE_URL, `api_key` else SIE_API_KEY. `timeout_s` bounds the wait
        for one response; `gpu`, `pool` and `options` are the defaults of every call."""
        self.base_url = exchange.base_url_of(base_url, os.environ)
        self._defaults = Defaults(gpu, pool, dict(options or {}))
        self._http = httpx.Client(
            base_url=self.base_url,
            headers=exchange.client_headers(api_key, os.environ),
            timeout=timeout_of(timeout_s, connect_timeout_s),
            limits=limits_of(max_connections),
        )
        self._leases = LeaseKeeper(self.renew_pool)

    @overload
    def encode(  # type: ignore[overload-overlap]
        self, model: str, items: ItemLike, **told: Unpack[EncodeOptions]
    ) -> EncodeResult: ...

    @overload
    def encode(
        self, model: str, items: Items, **told: Unpack[EncodeOptions]
    ) -> list[EncodeResult]: ...

    def encode(
        self, model: str, items: ItemLike | Items, **told: Unpack[EncodeOptions]
    ) -> EncodeResult | list[EncodeResult]:
        """Vectors of one item, or of a list; keywords as in `types.EncodeOptions`.

        Raises `RequestError` for what the caller can mend, `ProvisioningError` when no worker came
        in time, else another `SIEError`.
        """
        call = exchange.encode_call(model, items, told, self._defaults)
        return exchange.read_encode(call, self._answer(call))

    def score(
        self, model: str, query: ItemLike, items: ItemLike | Items, **told: Unpack[CallOptions]
    ) -> ScoreResult:
        """The items ranked against the query, best first. Keywords as in `types.CallOptions`."""
        call = exchange.score_call(model, query, items, told, self._defaults)
        return exchange.read_score(call, self._answer(call))

    @overload
    def extract(  # type: ignore[overload-overlap]
        self, model: str, items: ItemLike, **told: Unpack[ExtractOptions]
    ) -> ExtractResult: ...

    @overload
    def extract(
        self, model: str, items: Items, **told: Unpack[ExtractOptions]
    ) -> list[ExtractResult]: ...

    def extract(
        self, model: str, items: ItemLike | Items, **told: Unpack[ExtractOptions]
    ) -> ExtractResult | list[ExtractResult]:
        """Entities of one item, or of a list; keywords as in `types.ExtractOptions`."""
        call = exchange.extract_call(model, items, told, self._defaults)
        return exchange.read_extract(call, self._answer(call))

    def list_models(self) -> list[dict[str, Any]]:
        """Every model that the gateway knows, with its state."""
        return list((self._json(exchange.get_call("/v1/models")))["models"])

    def get_model(self, model: str) -> dict[str, Any]:
        """One model. Raises `RequestError` MODEL_NOT_FOUND."""
        return dict(self._json(exchange.get_call(exchange.model_path(model))))

    def health(self) -> dict[str, Any]:
        """The cluster as the gateway sees it."""
        return dict(self._json(exchange.get_call("/health")))

    def create_pool(
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
    ) -> dict[str, Any]:
        """Lease a share of a pool, or change a lease; it is renewed until it is deleted or this
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
        pool = dict(self._json(call))
        self._leases.hold(name, ttl_s=leasing.ttl_of(pool))
        return pool

    def get_pool(self, name: str) -> dict[str, Any] | None:
        """A lease, or a pool of the configuration; None where there is none."""
        try:
            return dict(self._json(leasing.pool_call("GET", name)))
        except FixRequest as error:
            if error.code == "POOL_NOT_FOUND":
                return None
            raise

    def list_pools(self) -> list[dict[str, Any]]:
        """Every pool of the configuration and every lease, in short."""
        return list((self._json(leasing.pools_call()))["pools"])

    def renew_pool(self, name: str) -> None:
        """Let a lease last its whole time from now; what this client leased it renews itself."""
        self._json(leasing.renew_call(name))

    def delete_pool(self, name: str) -> bool:
        """End a lease; False where there was none any more."""
        self._leases.forget(name)
        try:
            self._json(leasing.pool_call("DELETE", name))
        except FixRequest as error:
            if error.code == "POOL_NOT_FOUND":
                return False
            raise
        return True

    def close(self) -> None:
        """Close the connections. Leases are renewed no more, and end by themselves."""
        self._leases.close()
        self._http.close()

    def __enter__(self) -> "SIEClient":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _json(self, call: Call) -> Any:
        response = self._send(call)
        return exchange.read_json(response.status_code, response.headers, response.content)

    def _answer(self, call: Call) -> dict[str, Any]:
        attempts = Attempts(call.patience)
        while True:
            try:
                response = self._send(call)
                return exchange.read_answer(
                    response.status_code, response.headers, response.content
                )
            except SIEError as error:
                pause_s = attempts.pause_after(error)
            time.sleep(pause_s)

    def _send(self, call: Call) -> httpx.Response:
        try:
            return self._http.request(
                call.method, call.path, headers=call.headers, content=call.body
            )
        except httpx.HTTPError as error:
            raise connection_error(error, self.base_url) from error
