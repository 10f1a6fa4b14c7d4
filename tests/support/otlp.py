"""A collector of traces in the process of a test: OTLP over HTTP, on loopback."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from gzip import decompress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

__all__ = ["Collector", "Told", "collector"]


@dataclass(frozen=True)
class Told:
    """One span as it came."""

    service: str
    name: str
    trace: str
    span: str
    parent: str
    links: tuple[str, ...]
    """The traces that it is linked to."""
    failed: bool
    attributes: dict[str, str]


@dataclass
class Collector:
    """The spans that came so far. `environment` is for the processes that send them."""

    environment: dict[str, str]
    spans: list[Told] = field(default_factory=list)

    def of(self, trace: str) -> dict[str, list[Told]]:
        """The spans of a trace by service and name."""
        found: dict[str, list[Told]] = {}
        for each in list(self.spans):
            if each.trace == trace:
                found.setdefault(f"{each.service} {each.name}", []).append(each)
        return found

    def take(self, data: bytes) -> None:
        """Keep what a process sent."""
        for of_process in ExportTraceServiceRequest.FromString(data).resource_spans:
            named = _values(of_process.resource.attributes)
            for scope in of_process.scope_spans:
                self.spans += [
                    Told(
                        service=named["service.name"],
                        name=span.name,
                        trace=span.trace_id.hex(),
                        span=span.span_id.hex(),
                        parent=span.parent_span_id.hex(),
                        links=tuple(link.trace_id.hex() for link in span.links),
                        failed=span.status.code == 2,
                        attributes=_values(span.attributes),
                    )
                    for span in scope.spans
                ]


@contextmanager
def collector() -> Iterator[Collector]:
    """Listen until the context ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                data = decompress(data)
            found.take(data)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Collector(
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _values(attributes: object) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in attributes:  # type: ignore[attr-defined]
        kind = each.value.WhichOneof("value")
        found[each.key] = str(getattr(each.value, kind))
    return found
