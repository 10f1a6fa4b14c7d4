"""The log's lines on single requests: one each, with what finds the request again.

*shell* over the process's logger. A line names the request, the epoch and revisions that it was
made under, how it ended and how long it took. It never tells what was in it.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Final

from sie_gateway.settings import RequestsLogged
from sie_runtime.process.bounded_lines import EACH

__all__ = ["RequestLog"]

_LOG: Final = logging.getLogger(__name__)

_HEADERS: Final = {
    b"x-sie-config-epoch": "epoch",
    b"x-sie-model-revision": "model_revision",
    b"x-sie-adapter-revision": "adapter_revision",
    b"x-sie-worker": "worker",
}


class RequestLog:
    """`failed` writes what this cluster could not answer: 5xx, less the 503 that say "again"."""

    def __init__(self, which: RequestsLogged, *, position: Callable[[], object]) -> None:
        """`position` is that of the registry now."""
        self._which = which
        self._position = position

    def wants(self, status: int) -> bool:
        """True if a request that ended so gets a line."""
        return self._which == "all" or (self._which == "failed" and _failed(status))

    def note(
        self,
        *,
        request_id: str,
        operation: str,
        model: str,
        tenant: str,
        status: int,
        code: str,
        headers: Iterable[tuple[bytes, bytes]],
        elapsed_ms: float,
        told_id: str = "",
        trace_id: str = "",
    ) -> None:
        """A request ended. `headers` are those of its answer, `told_id` is what it named itself."""
        if not self.wants(status):
            return
        found = {
            _HEADERS[name]: value.decode("latin-1") for name, value in headers if name in _HEADERS
        }
        _LOG.log(
            logging.WARNING if _failed(status) else logging.INFO,
            "%s answered %d",
            operation,
            status,
            extra={
                **EACH,
                "request_id": request_id,
                "model": model,
                "tenant": tenant,
                "code": code,
                "elapsed_ms": round(elapsed_ms, 1),
                "epoch": str(self._position()),
                **({"client_request_id": told_id} if told_id else {}),
                **({"trace_id": trace_id} if trace_id else {}),
                **found,
            },
        )


def _failed(status: int) -> bool:
    return status >= 500 and status != 503
