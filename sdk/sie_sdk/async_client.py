"""The asynchronous client.

*shell.* Owns one pool of connections. Sends what `exchange` builds, waits as it says, and gives
back what it reads. Belongs to one event loop.
"""

import asyncio
import os
import random
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Unpack, overload

import httpx

from sie_schemas.errors import SIEError
from sie_sdk import exchange
from sie_sdk.exchange import Call, Defaults
from sie_sdk.patience import retry_delay_s
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

__all__ = ["SIEAsyncClient"]


class SIEAsyncClient:
    """Talks to one gateway, or to a balancer before several. Close it, or use `async with`."""

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
        self._http = httpx.AsyncClient(
            base_url=self.base_url,
            headers=exchange.client_headers(api_key, os.environ),
            timeout=timeout_of(timeout_s, connect_timeout_s),
            limits=limits_of(max_connections),
        )

    @overload
    async def encode(
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
        call = exchange.encode_call(model, items, told, self._defaults)
        return exchange.read_encode(call, await self._answer(call))

    async def score(
        self, model: str, query: ItemLike, items: Items, **told: Unpack[CallOptions]
    ) -> ScoreResult:
        """The items ranked against the query, best first. Keywords as in `types.CallOptions`."""
        call = exchange.score_call(model, query, items, told, self._defaults)
        return exchange.read_score(call, await self._answer(call))

    @overload
    async def extract(
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
        call = exchange.extract_call(model, items, told, self._defaults)
        return exchange.read_extract(call, await self._answer(call))

    async def list_models(self) -> list[dict[str, Any]]:
        """Every model that the gateway knows, with its state."""
        return list((await self._get("/v1/models"))["models"])

    async def get_model(self, model: str) -> dict[str, Any]:
        """One model. Raises `RequestError` MODEL_NOT_FOUND."""
        return dict(await self._get(exchange.model_path(model)))

    async def health(self) -> dict[str, Any]:
        """The cluster as the gateway sees it."""
        return dict(await self._get("/health"))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> "SIEAsyncClient":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _get(self, path: str) -> Any:
        response = await self._send(exchange.get_call(path))
        return exchange.read_json(response.status_code, response.headers, response.content)

    async def _answer(self, call: Call) -> dict[str, Any]:
        started_at = time.monotonic()
        attempt = 0
        while True:
            try:
                response = await self._send(call)
                return exchange.read_answer(
                    response.status_code, response.headers, response.content
                )
            except SIEError as error:
                delay = retry_delay_s(
                    error,
                    attempt=attempt,
                    elapsed_s=time.monotonic() - started_at,
                    patience=call.patience,
                    chance=random.random(),
                )
                if delay is None:
                    raise
            await asyncio.sleep(delay)
            attempt += 1

    async def _send(self, call: Call) -> httpx.Response:
        try:
            return await self._http.request(
                call.method, call.path, headers=call.headers, content=call.body
            )
        except httpx.HTTPError as error:
            raise connection_error(error, self.base_url) from error
