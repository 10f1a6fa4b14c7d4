"""The synchronous client.

*shell.* Owns one pool of connections. Sends what `exchange` builds, waits as it says, and gives
back what it reads. May be used from several threads.
"""

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

    @overload
    def encode(
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
        self, model: str, query: ItemLike, items: Items, **told: Unpack[CallOptions]
    ) -> ScoreResult:
        """The items ranked against the query, best first. Keywords as in `types.CallOptions`."""
        call = exchange.score_call(model, query, items, told, self._defaults)
        return exchange.read_score(call, self._answer(call))

    @overload
    def extract(
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
        return list((self._get("/v1/models"))["models"])

    def get_model(self, model: str) -> dict[str, Any]:
        """One model. Raises `RequestError` MODEL_NOT_FOUND."""
        return dict(self._get(exchange.model_path(model)))

    def health(self) -> dict[str, Any]:
        """The cluster as the gateway sees it."""
        return dict(self._get("/health"))

    def close(self) -> None:
        """Close the connections."""
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

    def _get(self, path: str) -> Any:
        response = self._send(exchange.get_call(path))
        return exchange.read_json(response.status_code, response.headers, response.content)

    def _answer(self, call: Call) -> dict[str, Any]:
        started_at = time.monotonic()
        attempt = 0
        while True:
            try:
                response = self._send(call)
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
            time.sleep(delay)
            attempt += 1

    def _send(self, call: Call) -> httpx.Response:
        try:
            return self._http.request(
                call.method, call.path, headers=call.headers, content=call.body
            )
        except httpx.HTTPError as error:
            raise connection_error(error, self.base_url) from error
