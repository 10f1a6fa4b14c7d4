"""Traces of the application that calls: one span for each request, where it uses OpenTelemetry.

*shell* over OpenTelemetry's API, which is not imported here: where the application has not imported
it, nobody traces. The span is the parent of the cluster's own.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

__all__ = ["traced"]

_API: Final = "opentelemetry.trace"


@contextmanager
def traced(method: str, path: str, headers: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """Around one request: its headers, with the trace that it belongs to."""
    api = sys.modules.get(_API)
    if api is None:
        yield headers
        return
    tracer = api.get_tracer("sie_sdk")
    kind = api.SpanKind.CLIENT
    with tracer.start_as_current_span(f"{method} {path}", kind=kind) as span:
        named = span.get_span_context()
        if not named.is_valid:
            yield headers
            return
        trace, flags = f"{named.trace_id:032x}", int(named.trace_flags)
        yield {**headers, "traceparent": f"00-{trace}-{named.span_id:016x}-{flags:02x}"}
