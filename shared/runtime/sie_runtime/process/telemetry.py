"""Telemetry: logs as JSON lines on stderr, metrics as Prometheus text.

*shell.* A log line holds time, level, role, logger, message and whatever was given as `extra`. One
of a task that is about a request has its id and its trace. No secret and no payload is ever logged,
and no address with a password in it. Metrics are made where they are counted, with
`prometheus_client`, named `sie_<role>_<what>_<unit>`.
"""

import json
import logging
import platform
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Final, TextIO

from prometheus_client import REGISTRY, Gauge, disable_created_metrics
from prometheus_client.exposition import choose_encoder

from sie_runtime.process.bounded_lines import EACH, BoundedHandler, shortened
from sie_runtime.process.tracing import task_names
from sie_schemas.errors import without_password

__all__ = ["MetricsTexts", "configure_logs", "metrics_text"]

_SHARE: Final = 0.1
"""The most of its time that a loop makes texts of metrics for. One takes 3 ms, and its reader
nothing."""
_BURST_S: Final = 0.1
"""Processor time until then: some thirty readers that come at once are told the newest."""
# In OpenMetrics each counter and histogram would have a second series with its birth.
disable_created_metrics()  # type: ignore[no-untyped-call]

_BUILD: Final = Gauge(
    "sie_build_info", "1, with the release and the interpreter that run.", ["version", "python"]
)
_BUILD.labels(version("sie-cluster"), platform.python_version()).set(1)
_PLAIN: Final = frozenset(logging.makeLogRecord({}).__dict__) | {
    *("message", "asctime", "taskName"),
    # The message once more, as uvicorn colours it for a terminal.
    "color_message",
    *EACH,
}


class _JsonLines(logging.Formatter):
    """One line for each record."""

    def __init__(self, role: str, process_id: str) -> None:
        super().__init__()
        self._role = role
        self._process_id = process_id

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "ts": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "role": self._role,
            "id": self._process_id,
            "logger": record.name,
            "msg": shortened(record.getMessage()),
        }
        request_id, trace_id = task_names()
        if request_id:
            line["request_id"] = request_id
        if trace_id:
            line["trace_id"] = trace_id
        given = record.__dict__.items()
        line |= {key: shortened(value) for key, value in given if key not in _PLAIN}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return without_password(json.dumps(line, default=str))


def configure_logs(*, role: str, process_id: str, level: str, stream: TextIO | None = None) -> None:
    """Send every logger of the process to stderr, or a `stream`, as JSON lines."""
    handler = BoundedHandler(stream or sys.stderr)
    handler.setFormatter(_JsonLines(role, process_id))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for noisy in ("uvicorn.access", "httpx", "httpcore", "nats"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


class MetricsTexts:
    """The last texts of all metrics, and what was spent on them. Used on one thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._spent_s = 0.0
        self._looked = clock()
        self._texts: dict[str, bytes] = {}

    def text(self, accept: str) -> tuple[bytes, str]:
        """Metrics and their content type; those of before, where making them costs too much."""
        now = self._clock()
        self._spent_s = max(0.0, self._spent_s - (now - self._looked) * _SHARE)
        self._looked = now
        encode, form = choose_encoder(accept)
        if self._spent_s > _BURST_S:
            # Forms are without number, as versions are: what was not made comes in the plain one.
            encode, form = (encode, form) if form in self._texts else choose_encoder("")
            if form in self._texts:
                return self._texts[form], form
        began = time.thread_time()
        # The others are older now, and would be told later on.
        self._texts = {form: encode(REGISTRY)}
        self._spent_s += time.thread_time() - began
        return self._texts[form], form


_TEXTS: Final = MetricsTexts()


def metrics_text(accept: str) -> tuple[bytes, str]:
    """Every metric of the process, and the content type of the text.

    OpenMetrics where `accept` asks for it, which alone has exemplars; else Prometheus text. Readers
    that ask too often are given the same text, some hundredths of a second old.
    """
    try:
        return _TEXTS.text(accept)
    except (TypeError, ValueError):
        # The library compares the version that is asked for, and `1.0.0-rc` is no number.
        return _TEXTS.text("")
