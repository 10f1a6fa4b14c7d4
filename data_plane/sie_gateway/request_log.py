"""What the log says of single requests: one line, with what finds the request again.

*shell* over the process's logger. A line names the request, the epoch and revisions that it was
made under, how it ended and how long it took; never what was in it.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeAlias

__all__ = ["RequestLog", "RequestsLogged"]

_LOG: Final = logging.getLogger(__name__)

RequestsLogged: TypeAlias = Literal["all", "failed", "none"]

_HEADERS: Final = {
    "X-SIE-Config-Epoch": "epoch",
    "X-SIE-Model-Revision": "model_revision",
    "X-SIE-Adapter-Revision": "adapter_revision",
    "X-SIE-Worker": "worker",
}


class RequestLog:
    """`failed` writes what this cluster could not answer: 5xx, less the 503 that say "again"."""

    def __init__(self, which: str, *, position: Callable[[], object]) -> None:
        """`which` is one of `RequestsLogged`; `position` is that of the registry now."""
        self._which = which
        self._position = position

    def note(
        self,
        *,
        request_id: str,
        operation: str,
        model: str,
        tenant: str,
        status: int,
        code: str,
        headers: Mapping[str, str],
        elapsed_ms: float,
    ) -> None:
        """A request ended."""
        failed = status >= 500 and status != 503
        if self._which == "none" or (self._which == "failed" and not failed):
            return
        found = {name: headers[header] for header, name in _HEADERS.items() if header in headers}
        _LOG.log(
            logging.WARNING if failed else logging.INFO,
            "%s answered %d",
            operation,
            status,
            extra={
                "request_id": request_id,
                "model": model,
                "tenant": tenant,
                "code": code,
                "elapsed_ms": round(elapsed_ms, 1),
                "epoch": str(self._position()),
                **found,
            },
        )
