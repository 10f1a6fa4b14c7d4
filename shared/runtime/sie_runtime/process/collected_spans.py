"""Collected spans: those of OpenTelemetry's library, on their way to a collector.

*shell.* Imported where traces are on and not before: it brings the library. What is sampled is
decided by `tracing`, before a span is made here, which costs more than all that is not. Promises
that no text leaves with a secret of a known shape, or longer than 256 characters.
"""

import random
import threading
from collections.abc import Mapping, Sequence
from typing import Final

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from sie_runtime.process.spans import Attribute, Kind, Parent
from sie_runtime.texts.printable import json_code
from sie_runtime.texts.secret_shapes import without_secrets
from sie_schemas.errors import escaped

__all__ = ["Collected", "CollectedSpan"]

_END_S: Final = 2.0
"""A collector that is there takes the rest in milliseconds. The library waits half a minute for one
that hangs, and a pod has less than that for its end."""
_TEXT_MAX: Final = 256
"""The longest name of a model is shorter. A collector cuts or drops what is much longer."""
_HALF_BITS: Final = 64
"""Of a trace's id. By the latter half it is sampled."""
_KINDS: Final = {
    "server": trace.SpanKind.SERVER,
    "consumer": trace.SpanKind.CONSUMER,
    "internal": trace.SpanKind.INTERNAL,
}


class _SampledIds(RandomIdGenerator):
    """Ids that a sampler by the trace's id takes, here and in every process that goes on with it.

    Any other id tore a trace apart: its root was sampled, and each span below it was judged anew.
    """

    def __init__(self, bound: int) -> None:
        self._bound = bound

    def generate_trace_id(self) -> int:
        """The latter half is below the bound; the first one is not 0, as an id must not be."""
        first = random.randrange(1, 1 << _HALF_BITS)
        return first << _HALF_BITS | random.randrange(self._bound)


class CollectedSpan:
    """A span that has begun."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        named = span.get_span_context()
        self.trace_id: Final = f"{named.trace_id:032x}"
        self.traceparent: Final = f"00-{self.trace_id}-{named.span_id:016x}-01"

    def tell(self, name: str, value: Attribute) -> None:
        """Note what is known of it."""
        self._span.set_attribute(name, _fit(value))

    def rename(self, name: str) -> None:
        """Give it another name."""
        self._span.update_name(name)

    def end(self, failed: str = "") -> None:
        """It is over; `failed` says with which error."""
        if failed:
            self._span.set_status(trace.StatusCode.ERROR, str(_fit(failed)))
        self._span.end()


class Collected:
    """The way to the collector that the environment names. One for each process."""

    def __init__(self, *, role: str, process_id: str, bound: int) -> None:
        """The latter half of a trace's id that begins here is below `bound`."""
        named = {"service.name": f"sie-{role}", "service.instance.id": process_id}
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=Resource.create(named),
            shutdown_on_exit=False,
            id_generator=_SampledIds(bound),
        )
        # Sent by a thread of its own: a collector that is away costs spans and no request.
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("sie")

    def begin(
        self,
        name: str,
        kind: Kind,
        parent: Parent | None,
        links: Sequence[Parent],
        attributes: Mapping[str, Attribute],
    ) -> CollectedSpan:
        """Begin a span; one without a parent begins a trace."""
        # A context of its own: nothing of ours is in the task's.
        around = context.Context()
        if parent is not None:
            above = trace.NonRecordingSpan(_context_of(parent))
            around = trace.set_span_in_context(above, around)
        return CollectedSpan(
            self._tracer.start_span(
                str(_fit(name)),
                context=around,
                kind=_KINDS[kind],
                attributes={key: _fit(value) for key, value in attributes.items()},
                links=[trace.Link(_context_of(each)) for each in links],
            )
        )

    def end(self, *, within_s: float = _END_S) -> None:
        """Send what is left, as far as it is taken in that time."""
        last = threading.Thread(target=self._provider.shutdown, daemon=True)
        last.start()
        last.join(within_s)


def _fit(value: Attribute) -> Attribute:
    """The same, of a text as it may be told: a client chose it, in a path or an id."""
    if not isinstance(value, str):
        return value
    # Before it is cut: half of a secret has no shape.
    return escaped(without_secrets(value), json_code)[:_TEXT_MAX]


def _context_of(named: Parent) -> trace.SpanContext:
    trace_id, span_id, _ = named
    return trace.SpanContext(int(trace_id, 16), int(span_id, 16), True, trace.TraceFlags(1))
