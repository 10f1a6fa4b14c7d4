"""Telemetry: logs as JSON lines on stderr, metrics as Prometheus text.

*shell.* A log line holds time, level, role, logger, message and whatever was given as `extra`. No
secret and no payload is ever logged. Metrics are made where they are counted, with
`prometheus_client`, named `sie_<role>_<what>_<unit>`.
"""

import json
import logging
import sys
import time
from typing import Any, Final

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

__all__ = ["METRICS_CONTENT_TYPE", "configure_logs", "metrics_text"]

METRICS_CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_PLAIN: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


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
            "msg": record.getMessage(),
        }
        line |= {key: value for key, value in record.__dict__.items() if key not in _PLAIN}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure_logs(*, role: str, process_id: str, level: str) -> None:
    """Send every logger of the process to stderr as JSON lines."""
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(_JsonLines(role, process_id))
    root = logging.getLogger()
    root.handlers = [stream]
    root.setLevel(level.upper())
    for noisy in ("uvicorn.access", "httpx", "httpcore", "nats"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def metrics_text() -> bytes:
    """Every metric of the process in the Prometheus text format."""
    return generate_latest(REGISTRY)
